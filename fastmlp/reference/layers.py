"""Dense layers, forward and backward, and the rows of a batch that the first one reads."""

from __future__ import annotations

import numpy as np

from .activations import activation_backward, activation_forward
from .optimizers import optimizer_update


def gather(data, samples, scale, dtype=np.float32):
    """Return the rows of a batch, (len(samples), n_in), multiplied by `scale`."""
    rows = data[samples]
    if rows.dtype == dtype:
        return rows if scale == 1 else rows * dtype(scale)
    return np.multiply(rows, dtype(scale), dtype=dtype, casting="unsafe")


def gather_standardized(data, samples, offset, factor, dtype=np.float32):
    """Return (x - offset) * factor for the rows of a batch, (len(samples), n_in): in float64, then rounded."""
    return ((data[samples].astype(np.float64) - offset) * factor).astype(dtype)


def prepare_rows(inp, factor, kept=1):
    """Return inp * factor * kept."""
    return inp * factor * kept


def dense_forward(inp, weight, bias, activation):
    """Return activation(inp @ weight + bias): (batch_size, n_in), (n_in, n_out), (n_out,) -> (batch_size, n_out)."""
    z = inp @ weight
    z += bias
    return activation_forward(z, activation)


dense_forward_row = dense_forward


def dense_backward_input(inp, dout, weight, activation, slope=None):
    """Return (dout @ weight.T) * activation'(inp), where inp (batch_size, n_in) is the output of `activation`.

    For the code "slope", return (dout @ weight.T) * slope.
    """
    return activation_backward(dout @ weight.T, inp if slope is None else slope, activation)


def dense_backward_row(inp, dout, weight, velocity, activation, rule, slope=None):
    """Return the gradient of inp (1, n_in), itself the output of `activation`, and update the weights in place.

    The gradient is taken with the weights from before their update.
    """
    dinp = dense_backward_input(inp, dout, weight, activation, slope)
    dense_update(inp, dout, weight, velocity, rule)
    return dinp


def transpose(weight):
    """Return weight.T, (n_out, n_in), contiguous."""
    return np.ascontiguousarray(weight.T)


def dense_update(inp, dout, weight, velocity, rule):
    """Subtract the optimizer's step for dweight = inp.T @ dout from `weight`, in place."""
    optimizer_update(weight, velocity, inp.T @ dout, rule)


def bias_update(dout, bias, velocity, rule):
    """Subtract the optimizer's step for the sum of dout's rows from `bias`, in place."""
    optimizer_update(bias, velocity, dout.sum(axis=0), rule)


def forward(x, weights, biases, activations):
    """Return the outputs of all layers for one batch, the input first."""
    outputs = [x]
    for weight, bias, activation in zip(weights, biases, activations):
        outputs.append(dense_forward(outputs[-1], weight, bias, activation))
    return outputs
