"""The activations and their derivatives; `fastmlp.kernels.ops.activations` has the same ones in compiled code.

To add one: two functions and a row of ACTIVATIONS.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772  # Klambauer et al. 2017
LEAKY_SLOPE = 0.01


def _sigmoid(z):
    return 1 / (1 + np.exp(-z))


def _where_positive(out, positive, other):
    """Return `positive` where out > 0, else `other`, in the dtype of `out`."""
    dtype = out.dtype.type
    return np.where(out > 0, dtype(positive), other if isinstance(other, np.ndarray) else dtype(other))


_erf = np.vectorize(math.erf, otypes=[np.float64])


def _gelu(z):
    """Return GELU(z) (Hendrycks and Gimpel 2016) and its derivative."""
    cdf = ((1 + _erf(z / math.sqrt(2))) / 2).astype(z.dtype)
    return z * cdf, cdf + z * np.exp(-z * z / 2) / z.dtype.type(math.sqrt(2 * math.pi))


def _gelu_tanh(z):
    """Return the approximation of GELU(z) by tanh, and its derivative."""
    scale = z.dtype.type(math.sqrt(2 / math.pi))
    t = np.tanh(scale * (z + z.dtype.type(0.044715) * z**3))
    inner = scale * (1 + z.dtype.type(3 * 0.044715) * z * z)
    return z * (1 + t) / 2, (1 + t) / 2 + z * (1 - t * t) * inner / 2


def _silu(z):
    """Return z * sigmoid(z) and its derivative."""
    sigmoid = _sigmoid(z)
    return z * sigmoid, sigmoid * (1 + z * (1 - sigmoid))


def _mish(z):
    """Return z * tanh(softplus(z)) (Misra 2019) and its derivative."""
    t = np.tanh(np.logaddexp(0, z))
    return z * t, t + z * (1 - t * t) / (1 + np.exp(-z))


class Activation(NamedTuple):
    """A row of the table.  Either the derivative is a function of the output, or it is kept from the forward pass.

    Attributes
    ----------
    forward : callable, optional
        activation(z)
    backward : callable, optional
        Takes dout and out; the gradient of z.
    with_slope : callable, optional
        activation(z) and activation'(z), where the derivative is no function of the output.
    """

    forward: Callable | None = None
    backward: Callable | None = None
    with_slope: Callable | None = None


ACTIVATIONS = {
    "identity": Activation(lambda z: z, lambda dout, out: dout),
    "relu": Activation(lambda z: np.maximum(z, 0), lambda dout, out: dout * (out > 0)),
    "leaky_relu": Activation(
        lambda z: np.where(z > 0, z, LEAKY_SLOPE * z), lambda dout, out: dout * _where_positive(out, 1, LEAKY_SLOPE)
    ),
    "elu": Activation(
        lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
        lambda dout, out: dout * _where_positive(out, 1, out + 1),
    ),
    "selu": Activation(
        lambda z: SELU_SCALE * np.where(z > 0, z, SELU_ALPHA * np.expm1(np.minimum(z, 0))),
        lambda dout, out: dout * _where_positive(out, SELU_SCALE, out + SELU_SCALE * SELU_ALPHA),
    ),
    "softplus": Activation(lambda z: np.logaddexp(0, z), lambda dout, out: dout * -np.expm1(-out)),
    "sigmoid": Activation(_sigmoid, lambda dout, out: dout * (out * (1 - out))),
    "hard_sigmoid": Activation(
        lambda z: np.clip(z / 6 + 0.5, 0, 1), lambda dout, out: dout * ((out > 0) & (out < 1)) / 6
    ),
    "tanh": Activation(np.tanh, lambda dout, out: dout * (1 - out * out)),
    "gelu": Activation(with_slope=_gelu),
    "gelu_tanh": Activation(with_slope=_gelu_tanh),
    "silu": Activation(with_slope=_silu),
    "mish": Activation(with_slope=_mish),
}

# Not an activation, but the code for the backward pass through one whose slope was kept, in the place of the output.
SLOPE = "slope"


def _row(activation) -> Activation:
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(map(repr, ACTIVATIONS))}, got {activation!r}")
    return ACTIVATIONS[activation]


def keeps_slope(activation):
    """Return whether the forward pass keeps the derivative because it is not a function of the output."""
    return _row(activation).with_slope is not None


def activation_forward(z, activation):
    """Return activation(z), (batch_size, n)."""
    row = _row(activation)
    if row.forward is not None:
        return row.forward(z)
    return row.with_slope(z)[0]


def forward_and_slope(z, activation):
    """Return activation(z) and activation'(z) for an activation that keeps its slope."""
    row = _row(activation)
    if row.with_slope is None:
        raise ValueError(f"activation must be one that keeps its slope, got {activation!r}")
    return row.with_slope(z)


def activation_backward(dout, out, activation):
    """Return the gradient of z from that of out = activation(z), (batch_size, n).

    For the code "slope", `out` is activation'(z), as the forward pass kept it.
    """
    if activation == SLOPE:
        return dout * out
    row = _row(activation)
    if row.backward is None:
        raise ValueError(f"the derivative of {activation!r} is not a function of its output")
    return row.backward(dout, out)


def finish_forward(z, activation, kept=1):
    """Return kept * activation(z) and the derivative of that."""
    if keeps_slope(activation):
        out, slope = forward_and_slope(z, activation)
    else:
        out = activation_forward(z, activation)
        slope = activation_backward(np.ones_like(out), out, activation)
    return out * kept, slope * kept
