"""One step of training."""

from __future__ import annotations

from .activations import SLOPE, finish_forward, keeps_slope
from .layers import bias_update, dense_backward_input, dense_forward, dense_update
from .losses import compute_loss, weigh
from .optimizers import scale_rule
from .regularization import NO_REGULARIZATION, deferred_update, keep_lanes


def forward_for_training(x, weights, biases, activations, regularization, update):
    """Return the outputs of all layers, the input first, and the code of each for the backward pass, and its slope."""
    dtype, n = x.dtype.type, len(x)
    if regularization.input_dropout:
        x = x * keep_lanes(regularization.seed, update, -1, regularization.input_dropout, *x.shape).astype(dtype)
    outputs, codes, slopes = [x], [None], [None]
    for layer, (weight, bias, activation) in enumerate(zip(weights, biases, activations)):
        rate = regularization.dropout[layer] if layer < len(regularization.dropout) else 0
        if rate or keeps_slope(activation):
            kept = keep_lanes(regularization.seed, update, layer, rate, n, len(bias)).astype(dtype) if rate else 1
            out, slope = finish_forward(outputs[-1] @ weight + bias, activation, kept)
            activation = SLOPE
        else:
            out, slope = dense_forward(outputs[-1], weight, bias, activation), None
        outputs.append(out)
        codes.append(activation)
        slopes.append(slope)
    return outputs, codes, slopes


def layer_rules(rule, factors):
    """Return the rules of every layer: for its weights and for its biases, which do not decay."""
    return [
        (scale_rule(rule, *of_weights), scale_rule(rule, of_biases, 1.0, 0.0)) for *of_weights, of_biases in factors
    ]


def train_step(
    x, target, weights, biases, velocities, activations, loss, rule, update_biases=True,
    sample_weights=None, regularization=NO_REGULARIZATION, update=1, smoothing=0.0, delta=1.0, factors=None, scale=None,
):  # fmt: skip
    """Make one step, the update-th, in place; return the samples' losses and their predicted classes."""
    outputs, codes, slopes = forward_for_training(x, weights, biases, activations, regularization, update)
    losses, predicted, dout = compute_loss(outputs[-1], target, loss, delta, smoothing)
    if sample_weights is not None:
        losses, dout = weigh(losses, dout, sample_weights)
    rules = layer_rules(rule, factors or [(1.0, 1.0, 1.0, 1.0)] * len(weights))
    if scale is not None:
        scale = scale._replace(rule=scale_rule(rule, scale.rate, 1.0, 0.0))
    needs_full_gradient = (
        scale is not None
        or regularization.l1
        or regularization.l2
        or regularization.clip_norm
        or regularization.max_norm
    )
    gradients = []
    for layer in reversed(range(len(weights))):
        inp = outputs[layer]
        if layer > 0:  # from the weights before their update
            dinp = dense_backward_input(inp, dout, weights[layer], codes[layer], slopes[layer])
        if needs_full_gradient:
            gradients.insert(0, (inp.T @ dout, dout.sum(axis=0)))
        else:
            dense_update(inp, dout, weights[layer], velocities[layer][0], rules[layer][0])
            if update_biases:
                bias_update(dout, biases[layer], velocities[layer][1], rules[layer][1])
        if layer > 0:
            dout = dinp
    if needs_full_gradient:
        deferred_update(weights, biases, velocities, gradients, rules, update_biases, regularization, scale)
    return losses, predicted
