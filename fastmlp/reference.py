"""The same network in NumPy alone: the oracle of the tests and the baseline of the benchmarks.

Functions have the names of the kernels that they check, and take ordinary arrays.  They work in the dtype of their
arguments, float32 or float64.  This module imports nothing of fastmlp.

>>> import numpy as np
>>> from fastmlp import reference
>>> x, y = np.random.default_rng(0).random((100, 4), np.float32), np.arange(100) % 2
>>> model = reference.train(x, y, hidden=(8,), epochs=2, seed=0)
>>> model.predict(x).shape
(100,)
"""

from __future__ import annotations

import math
import time
from collections import namedtuple
from typing import Any

import numpy as np

Metrics = namedtuple("Metrics", "loss accuracy")
Rule = namedtuple(
    "Rule",
    "rule learning_rate momentum weight_decay beta epsilon step_size correction",
    defaults=(0.0, 0.0, 0.0, 1.0),
)

# ---------------------------------------------------------------------------------------------- layers


SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772  # Klambauer et al. 2017


def activation_forward(z, activation):
    """activation(z), (batch_size, n)"""
    if activation == "relu":
        return np.maximum(z, 0)
    if activation == "sigmoid":
        return 1 / (1 + np.exp(-z))
    if activation == "tanh":
        return np.tanh(z)
    if activation == "leaky_relu":
        return np.where(z > 0, z, 0.01 * z)
    if activation == "elu":
        return np.where(z > 0, z, np.expm1(np.minimum(z, 0)))
    if activation == "selu":
        return SELU_SCALE * np.where(z > 0, z, SELU_ALPHA * np.expm1(np.minimum(z, 0)))
    if activation == "softplus":
        return np.logaddexp(0, z)
    if activation == "hard_sigmoid":
        return np.clip(z / 6 + 0.5, 0, 1)
    if activation == "identity":
        return z
    return forward_and_slope(z, activation)[0]


def keeps_slope(activation):
    """Whether the derivative is no function of the output"""
    return activation in ("gelu", "gelu_tanh", "silu", "mish")


_erf = np.vectorize(math.erf, otypes=[np.float64])


def forward_and_slope(z, activation):
    """GELU (Hendrycks and Gimpel 2016) exactly, or by tanh, SiLU, and Mish (Misra 2019); and their derivatives"""
    if activation == "silu":
        share = 1 / (1 + np.exp(-z))
        return z * share, share * (1 + z * (1 - share))
    if activation == "mish":
        t = np.tanh(np.logaddexp(0, z))
        return z * t, t + z * (1 - t * t) / (1 + np.exp(-z))
    if activation == "gelu":
        share = ((1 + _erf(z / math.sqrt(2))) / 2).astype(z.dtype)
        return z * share, share + z * np.exp(-z * z / 2) / z.dtype.type(math.sqrt(2 * math.pi))
    if activation == "gelu_tanh":
        scale = z.dtype.type(math.sqrt(2 / math.pi))
        t = np.tanh(scale * (z + z.dtype.type(0.044715) * z**3))
        inner = scale * (1 + z.dtype.type(3 * 0.044715) * z * z)
        return z * (1 + t) / 2, (1 + t) / 2 + z * (1 - t * t) * inner / 2
    raise ValueError(f"unknown activation {activation!r}")


def activation_backward(dout, out, activation):
    """Gradient of z from that of out = activation(z), (batch_size, n)"""
    if activation == "relu":
        return dout * (out > 0)
    if activation == "sigmoid":
        return dout * (out * (1 - out))
    if activation == "tanh":
        return dout * (1 - out * out)
    if activation == "leaky_relu":
        return dout * np.where(out > 0, 1, 0.01)
    if activation == "elu":
        return dout * np.where(out > 0, 1, out + 1)
    if activation == "selu":
        return dout * np.where(out > 0, SELU_SCALE, out + SELU_SCALE * SELU_ALPHA)
    if activation == "softplus":
        return dout * -np.expm1(-out)
    if activation == "hard_sigmoid":
        return dout * ((out > 0) & (out < 1)) / 6
    if activation == "slope":  # which forward kept, and is in the place of the output
        return dout * out
    if activation == "identity":
        return dout
    raise ValueError(f"unknown activation {activation!r}")


def gather(data, samples, scale, dtype=np.float32):
    """Rows of a batch, (len(samples), n_in), multiplied by scale"""
    rows = data[samples]
    if rows.dtype == dtype:
        return rows if scale == 1 else rows * dtype(scale)
    return np.multiply(rows, dtype(scale), dtype=dtype, casting="unsafe")


def gather_standardized(data, samples, offset, factor, dtype=np.float32):
    """(x - offset) * factor of the rows of a batch, (len(samples), n_in), in float64 and then rounded"""
    return ((data[samples].astype(np.float64) - offset) * factor).astype(dtype)


def dense_forward(inp, weight, bias, activation):
    """activation(inp @ weight + bias): (batch_size, n_in), (n_in, n_out), (n_out,) -> (batch_size, n_out)"""
    z = inp @ weight
    z += bias
    return activation_forward(z, activation)


dense_forward_row = dense_forward


def dense_backward_input(inp, dout, weight, activation, slope=None):
    """(dout @ weight.T) * activation'(inp), where inp (batch_size, n_in) is the output of `activation`; or, for the
    code "slope", * slope"""
    return activation_backward(dout @ weight.T, inp if slope is None else slope, activation)


def dense_backward_row(inp, dout, weight, velocity, activation, rule, slope=None):
    """Gradient of inp (1, n_in), itself the output of `activation`, from the weights before their update, in place"""
    dinp = dense_backward_input(inp, dout, weight, activation, slope)
    dense_update(inp, dout, weight, velocity, rule)
    return dinp


def transpose(weight):
    """weight.T, (n_out, n_in)"""
    return np.ascontiguousarray(weight.T)


def dense_update(inp, dout, weight, velocity, rule):
    """weight -= the optimizer's step for dweight = inp.T @ dout, in place"""
    optimizer_update(weight, velocity, inp.T @ dout, rule)


def bias_update(dout, bias, velocity, rule):
    """bias -= the optimizer's step for the sum of dout's rows, in place"""
    optimizer_update(bias, velocity, dout.sum(axis=0), rule)


def optimizer_update(parameter, state, gradient, rule):
    """An optimizer's step, in place; `state` is an array like the parameter, or two of them"""
    update = sgd_update if rule.rule in ("plain", "momentum", "nesterov") else adaptive_update
    update(parameter, state, gradient, rule)


def sgd_update(parameter, velocity, gradient, rule):
    """SGD in place, in PyTorch's form: v = momentum * v + g; the step is g + momentum * v with Nesterov, else v"""
    dtype = parameter.dtype.type
    if rule.weight_decay:
        gradient = gradient + dtype(rule.weight_decay) * parameter
    if rule.rule != "plain":
        velocity *= dtype(rule.momentum)
        velocity += gradient
        gradient = gradient + dtype(rule.momentum) * velocity if rule.rule == "nesterov" else velocity
    parameter -= dtype(rule.learning_rate) * gradient


def adaptive_update(parameter, state, gradient, rule):
    """Adam, AdamW, NAdam, RMSprop and Adagrad in place, as in PyTorch; `state` holds Adam's mean of gradients, or
    RMSprop's velocity, and the mean of squares, or is Adagrad's sum of squares"""
    dtype = parameter.dtype.type
    if rule.rule not in OPTIMIZERS or rule.rule == "sgd":
        raise ValueError(f"unknown update rule {rule.rule!r}")
    mean, squares = (state, state) if rule.rule == "adagrad" else state
    if rule.rule == "adamw":
        parameter *= dtype(1 - rule.learning_rate * rule.weight_decay)
    elif rule.weight_decay:
        gradient = gradient + dtype(rule.weight_decay) * parameter
    if rule.rule == "adagrad":
        squares += gradient * gradient
    else:
        squares *= dtype(rule.beta)
        squares += dtype(1 - rule.beta) * gradient * gradient
    if rule.rule == "nadam":
        mean += dtype(1 - rule.momentum) * (gradient - mean)
        step = dtype(rule.learning_rate) * gradient + dtype(rule.step_size) * mean
        parameter -= step / (np.sqrt(squares) * dtype(rule.correction) + dtype(rule.epsilon))
        return
    if rule.rule in ("adam", "adamw"):
        mean += dtype(1 - rule.momentum) * (gradient - mean)
        step = mean / (np.sqrt(squares) * dtype(rule.correction) + dtype(rule.epsilon))
    else:
        step = gradient / (np.sqrt(squares) + dtype(rule.epsilon))
        if rule.rule == "rmsprop":
            mean *= dtype(rule.momentum)
            mean += step
            step = mean
    parameter -= dtype(rule.step_size) * step


def set_rate(rule, rate, t, rate_decay=0.0):
    """A rule in the t-th update since training began, counted from 1"""
    step_size, correction = rate, 1.0
    if rule.rule in ("adam", "adamw"):
        step_size, correction = rate / (1 - rule.momentum**t), 1 / np.sqrt(1 - rule.beta**t)
    elif rule.rule == "adagrad":
        step_size = rate / (1 + (t - 1) * rate_decay)
    elif rule.rule == "nadam":  # whose learning_rate is that of the gradient, and step_size that of the mean
        momenta = rule.momentum * (1 - 0.5 * 0.96 ** (np.arange(1, t + 2) * rate_decay))
        products = np.cumprod(momenta)
        step_size, correction = rate * momenta[-1] / (1 - products[-1]), 1 / np.sqrt(1 - rule.beta**t)
        rate = rate * (1 - momenta[-2]) / (1 - products[-2])
    return rule._replace(learning_rate=rate, step_size=step_size, correction=correction)


def penalize(weight, gradient, l1, l2):
    """gradient += l2 * weight + l1 * sign(weight), in place; returns the sum of the gradient's squares"""
    gradient += l2 * weight + l1 * np.sign(weight)
    return float((gradient * gradient).sum(dtype=np.float64))


def update_strip(parameter, state, gradient, factor, rule):
    """An optimizer's step for factor * gradient, in place"""
    optimizer_update(parameter, state, gradient * parameter.dtype.type(factor), rule)


def limit_norms(weight, largest):
    """Columns whose norm is above `largest` scaled down to it, in place"""
    norms = np.sqrt((weight * weight).sum(axis=0))
    weight *= np.where(norms > largest, largest / np.maximum(norms, largest), 1).astype(weight.dtype)


# ---------------------------------------------------------------------------------------------- dropout


def mix(x):
    """32 bits from 32 bits, each of which depends on all (Wellons 2018)"""
    x = x ^ x >> 16
    x = (x * 0x21F0AAAD) & 0xFFFFFFFF
    x = x ^ x >> 15
    x = (x * 0x735A2D97) & 0xFFFFFFFF
    return x ^ x >> 15


def keep_lanes(seed, update, layer, share, rows, columns):
    """What a layer's units (-1: the input) are multiplied by in the update-th update: 0, or 1 / (1 - share)"""
    threshold = min(round(share * 2**32), 2**32 - 1)
    first = mix((mix(((seed & 0xFFFFFFFF) + update) & 0xFFFFFFFF) + layer + 1) & 0xFFFFFFFF)
    second = mix(mix(((seed >> 31) + update) & 0xFFFFFFFF) ^ (layer + 1))
    counter = np.arange(rows * columns, dtype=np.int64).reshape(rows, columns)
    bits = mix(mix((counter + first) & 0xFFFFFFFF) ^ second)
    return np.where(bits >= threshold, np.float32(2**32 / (2**32 - threshold)), np.float32(0))


def finish_forward(z, activation, kept=1):
    """kept * activation(z), and the derivative of that"""
    if keeps_slope(activation):
        out, slope = forward_and_slope(z, activation)
    else:
        out = activation_forward(z, activation)
        slope = activation_backward(np.ones_like(out), out, activation)
    return out * kept, slope * kept


def prepare_rows(inp, factor, kept=1):
    """inp * factor * kept"""
    return inp * factor * kept


def prepare_entries(entries, factor, kept):
    """The same for entries"""
    return [(features, values * factor[features] * kept[i][features]) for i, (features, values) in enumerate(entries)]


# ---------------------------------------------------------------------------------------------- sparse inputs


def encode(x):
    """Floats as bytes, 0 for 0.0 and another number for every other value, as they come; and the values"""
    values = list(dict.fromkeys([0.0, *x.ravel().tolist()]))
    return np.array([[values.index(v) for v in row] for row in x.tolist()], np.uint8), np.array(values, np.float32)


def make_lists(x, group=3):
    """For every group of neighbouring features, the samples where one of them is not zero, and their values: pairs of
    (n,) and (n, group), the last group filled up with zeros"""
    padded = np.pad(x, ((0, 0), (0, -x.shape[1] % group)))
    lists = []
    for start in range(0, padded.shape[1], group):
        values = padded[:, start : start + group]
        samples = np.flatnonzero(values.any(axis=1))
        lists.append((samples, values[samples]))
    return lists


def make_words(x, group=3):
    """For every sample, the groups that are not empty and their values: pairs of (n,) and (n, group)"""
    padded = np.pad(x, ((0, 0), (0, -x.shape[1] % group))).reshape(len(x), -1, group)
    return [(groups, row[groups]) for row in padded for groups in [np.flatnonzero(row.any(axis=1))]]


def place_words(words, n_groups, group=3):
    """The lists of `make_lists` from what `make_words` gives"""
    lists = [([], []) for _ in range(n_groups)]
    for sample, (groups, values) in enumerate(words):
        for g, value in zip(groups, values):
            lists[g][0].append(sample)
            lists[g][1].append(value)
    return [(np.array(samples, np.int64), np.array(values).reshape(-1, group)) for samples, values in lists]


def sparse_start(out, bias):
    """out = bias in every row, in place"""
    out[:] = bias


def sparse_add(out, lists, weight):
    """out += inp @ weight, in place, from the lists of inp"""
    for g, (samples, values) in enumerate(lists):
        rows = weight[g * values.shape[1] : (g + 1) * values.shape[1]]
        out[samples] += values[:, : len(rows)] @ rows


def sparse_finish(out, activation):
    """out = activation(out), in place"""
    out[:] = activation_forward(out, activation)


def sparse_update(dout, lists, weight, velocity, rule):
    """weight -= the optimizer's step for dweight = inp.T @ dout, in place, from the lists of inp"""
    gradient = np.zeros_like(weight)
    for g, (samples, values) in enumerate(lists):
        rows = gradient[g * values.shape[1] : (g + 1) * values.shape[1]]
        rows += (values.T @ dout[samples])[: len(rows)]
    optimizer_update(weight, velocity, gradient, rule)


def find_nonzeros(x):
    """For every sample, the features that are not zero and their values"""
    return [(np.flatnonzero(row), row[np.flatnonzero(row)]) for row in x]


def copy_nonzeros(values, features, starts, samples, scale):
    """The same from a CSR matrix"""
    return [(features[starts[i] : starts[i + 1]], values[starts[i] : starts[i + 1]] * scale) for i in samples]


def sort_nonzeros(entries, n_features):
    """For every feature, the samples where it is not zero and its values"""
    samples = np.repeat(np.arange(len(entries)), [len(features) for features, _ in entries])
    features, values = (np.concatenate(part) for part in zip(*entries))
    return [(samples[features == feature], values[features == feature]) for feature in range(n_features)]


def nonzeros_forward(entries, weight, bias, activation):
    """activation(inp @ weight + bias), from the entries of inp"""
    return activation_forward(np.stack([values @ weight[features] + bias for features, values in entries]), activation)


def nonzeros_update(dout, by_feature, weight, velocity, rule):
    """weight -= the optimizer's step for dweight = inp.T @ dout, in place, from the sorted entries of inp"""
    gradient = np.stack([values @ dout[samples] for samples, values in by_feature])
    optimizer_update(weight, velocity, gradient, rule)


def nonzeros_update_row(dout, entries, weight, learning_rate):
    """The same for a batch of one sample, by plain SGD"""
    ((features, values),) = entries
    weight[features] -= learning_rate * np.outer(values, dout[0])


# ---------------------------------------------------------------------------------------------- losses
#
# Each returns the losses of the samples (batch_size,), the predicted classes (batch_size,), and dlogits.


def softmax(logits):
    """exp(logits) over its sum, row by row"""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def batch_softmax(logits):
    """exp(logits - their maximum), each class over its sum over the batch"""
    e = np.exp(logits - logits.max())
    return e / e.sum(axis=0)


def cross_entropy(logits, labels, smoothing=0.0):
    """loss = -sum of q log softmax(logits); dlogits = (softmax(logits) - q) / batch_size

    q is smoothing / n_classes for every class (Szegedy et al. 2016, section 7), and 1 - smoothing more for the label.
    """
    n = len(logits)
    rows = np.arange(n)
    predicted = logits.argmax(axis=1)
    shifted = logits - logits[rows, predicted][:, None]
    e = np.exp(shifted)
    total = e.sum(axis=1)
    loss = np.log(total) - shifted[rows, labels]
    e /= total[:, None]
    if smoothing:
        dtype = logits.dtype.type
        loss = dtype(1 - smoothing) * loss + dtype(smoothing) * (np.log(total) - shifted.mean(axis=1))
        e -= dtype(smoothing / logits.shape[1])
    e[rows, labels] -= e.dtype.type(1 - smoothing)
    e /= n
    return loss, predicted, e


def _square_backward(p, labels):
    onehot = np.zeros_like(p)
    onehot[np.arange(len(p)), labels] = 1
    difference = p - onehot
    dlogits = 2 * difference / len(p) * p * (1 - p)
    return (difference * difference).sum(axis=1), p.argmax(axis=1), dlogits


def softmax_mse(logits, labels):
    """loss = the sum over classes of (p - onehot)**2; dlogits = 2 (p - onehot) / batch_size * p * (1 - p)

    p = softmax(logits).  Only the diagonal of the softmax's Jacobian enters, as in the notebook.
    """
    return _square_backward(softmax(logits), labels)


def notebook(logits, labels):
    """softmax_mse with the softmax over the batch, as in the notebook"""
    return _square_backward(batch_softmax(logits), labels)


def mse(out, targets, delta=1.0):
    """loss = the mean over outputs of (out - target)**2; dout = 2 (out - target) / (batch_size * n_outputs)"""
    difference = out - targets
    return (difference * difference).mean(axis=1), np.zeros(len(out)), difference * (2 / difference.size)


def mae(out, targets, delta=1.0):
    """loss = the mean over outputs of |out - target|"""
    difference = out - targets
    return np.abs(difference).mean(axis=1), np.zeros(len(out)), np.sign(difference) / difference.size


def huber(out, targets, delta=1.0):
    """loss = the mean over outputs of d**2 / 2, or delta (|d| - delta / 2) where |d| > delta (Huber 1964)"""
    difference = out - targets
    size = np.abs(difference)
    loss = np.where(size > delta, delta * (size - delta / 2), difference * difference / 2)
    return loss.mean(axis=1), np.zeros(len(out)), np.clip(difference, -delta, delta) / difference.size


def poisson(out, targets, delta=1.0):
    """loss = the mean over outputs of exp(out) - target * out"""
    mean = np.exp(out)
    return (mean - targets * out).mean(axis=1), np.zeros(len(out)), (mean - targets) / out.size


def binary_cross_entropy(out, targets, delta=1.0):
    """loss = the mean over outputs of -log sigmoid(out) or -log (1 - sigmoid(out)), as the target is 1 or 0"""
    loss = np.logaddexp(0, out) - targets * out
    right = ((out > 0) == (targets > 0.5)).mean(axis=1)
    return loss.mean(axis=1), right, (1 / (1 + np.exp(-out)) - targets) / out.size


def by_elements(out, targets, loss, delta):
    """The losses that are a mean over outputs; what they return for the predicted class is the share that is right"""
    return LOSSES[loss](out, targets, delta)


def weigh(losses, dlogits, weights):
    """Losses times the samples' weights, and gradients times these over their mean"""
    total = weights.sum(dtype=np.float64)
    factor = weights * (len(weights) / total if total > 0 else 0)
    return losses * weights, dlogits * factor[:, None].astype(dlogits.dtype)


LOSSES = {
    "cross_entropy": cross_entropy, "softmax_mse": softmax_mse, "notebook": notebook, "mse": mse, "mae": mae,
    "huber": huber, "poisson": poisson, "binary_cross_entropy": binary_cross_entropy,
}  # fmt: skip
BY_ELEMENTS = ("mse", "mae", "huber", "poisson", "binary_cross_entropy")

# ---------------------------------------------------------------------------------------------- network


def forward(x, weights, biases, activations):
    """Outputs of all layers for one batch, the input first"""
    outputs = [x]
    for weight, bias, activation in zip(weights, biases, activations):
        outputs.append(dense_forward(outputs[-1], weight, bias, activation))
    return outputs


# What restrains training, beside the optimizer's weight decay: shares dropped of every hidden layer and of the input,
# the penalties' factors, the largest norm of the gradient and of a unit's weights (0: any), and the seed of dropout.
Restraint = namedtuple(
    "Restraint", "dropout input_dropout l1 l2 clip_norm max_norm seed", defaults=((), 0.0, 0.0, 0.0, 0.0, 0.0, 0)
)
_UNRESTRAINED = Restraint()


def _forward_for_training(x, weights, biases, activations, restraint, update):
    """Outputs of all layers, the input first, and for each the activation's code on the way back and its slope"""
    dtype, n = x.dtype.type, len(x)
    if restraint.input_dropout:
        x = x * keep_lanes(restraint.seed, update, -1, restraint.input_dropout, *x.shape).astype(dtype)
    outputs, codes, slopes = [x], [None], [None]
    for layer, (weight, bias, activation) in enumerate(zip(weights, biases, activations)):
        share = restraint.dropout[layer] if layer < len(restraint.dropout) else 0
        if share or keeps_slope(activation):
            kept = keep_lanes(restraint.seed, update, layer, share, n, len(bias)).astype(dtype) if share else 1
            out, slope = finish_forward(outputs[-1] @ weight + bias, activation, kept)
            activation = "slope"
        else:
            out, slope = dense_forward(outputs[-1], weight, bias, activation), None
        outputs.append(out)
        codes.append(activation)
        slopes.append(slope)
    return outputs, codes, slopes


def train_step(
    x, target, weights, biases, velocities, activations, loss, rule, update_biases=True,
    sample_weights=None, restraint=_UNRESTRAINED, update=1, smoothing=0.0, delta=1.0,
):  # fmt: skip
    """One step of SGD, the update-th, in place; returns the samples' losses and their predicted classes"""
    outputs, codes, slopes = _forward_for_training(x, weights, biases, activations, restraint, update)
    if loss in BY_ELEMENTS:
        losses, predicted, dout = by_elements(outputs[-1], target, loss, delta)
    elif smoothing:
        losses, predicted, dout = cross_entropy(outputs[-1], target, smoothing)
    else:
        losses, predicted, dout = LOSSES[loss](outputs[-1], target)
    if sample_weights is not None:
        losses, dout = weigh(losses, dout, sample_weights)
    bias_rule = rule._replace(weight_decay=0)
    stores = restraint.l1 or restraint.l2 or restraint.clip_norm or restraint.max_norm
    gradients = []
    for layer in reversed(range(len(weights))):
        inp = outputs[layer]
        if layer > 0:  # from the weights before their update
            dinp = dense_backward_input(inp, dout, weights[layer], codes[layer], slopes[layer])
        if stores:
            gradients.insert(0, (inp.T @ dout, dout.sum(axis=0)))
        else:
            dense_update(inp, dout, weights[layer], velocities[layer][0], rule)
            if update_biases:
                bias_update(dout, biases[layer], velocities[layer][1], bias_rule)
        if layer > 0:
            dout = dinp
    if stores:
        _stored_update(weights, biases, velocities, gradients, rule, bias_rule, update_biases, restraint)
    return losses, predicted


def _stored_update(weights, biases, velocities, gradients, rule, bias_rule, update_biases, restraint):
    """Everything updated from its gradient: penalties, clipping, the optimizer, and max-norm, in this order"""
    squares = 0.0
    for weight, bias, (dweight, dbias) in zip(weights, biases, gradients):
        squares += penalize(weight, dweight, restraint.l1, restraint.l2)
        squares += penalize(bias, dbias, 0.0, 0.0) if update_biases else 0.0
    clip_norm = restraint.clip_norm
    factor = min(1.0, clip_norm / (math.sqrt(squares) + 1e-6)) if clip_norm else 1.0  # as in PyTorch
    for weight, bias, velocity, (dweight, dbias) in zip(weights, biases, velocities, gradients):
        update_strip(weight, velocity[0], dweight, factor, rule)
        if update_biases:
            update_strip(bias, velocity[1], dbias, factor, bias_rule)
        if restraint.max_norm:
            limit_norms(weight, restraint.max_norm)


def initialize(widths, init, rng):
    """Weights (n_in, n_out) and biases (n_out,) in float32

    "he": normal with variance 2 / n_in (He et al. 2015); "glorot_normal": 2 / (n_in + n_out) (Glorot and Bengio 2010);
    "lecun": 1 / n_in (LeCun et al. 1998).  "he_uniform", "glorot" and "lecun_uniform": uniform with the same variance.
    "orthogonal": orthonormal rows or columns (Saxe et al. 2014).  "notebook": uniform in [-1, 1) / sqrt(n_in * n_out).
    Biases are zero, and with "zeros" the weights are too.
    """
    weights = []
    for n_in, n_out in zip(widths, widths[1:]):
        shape = n_in, n_out
        if init == "zeros":
            weight = np.zeros(shape)
        elif init == "orthogonal":
            q, r = np.linalg.qr(rng.standard_normal((max(shape), min(shape))))
            q *= np.sign(np.diag(r))
            weight = q if n_in >= n_out else q.T
        elif init in ("he", "glorot_normal", "lecun"):
            variance = {"he": 2 / n_in, "glorot_normal": 2 / (n_in + n_out), "lecun": 1 / n_in}[init]
            weight = rng.standard_normal(shape) * np.sqrt(variance)
        elif init == "notebook":
            weight = rng.uniform(-1, 1, shape) / np.sqrt(n_in * n_out)
        else:
            square = {"he_uniform": 6 / n_in, "glorot": 6 / (n_in + n_out), "lecun_uniform": 3 / n_in}[init]
            weight = rng.uniform(-1, 1, shape) * np.sqrt(square)
        weights.append(weight.astype(np.float32))
    return weights, [np.zeros(n_out, np.float32) for n_out in widths[1:]]


def epoch_order(samples, shuffle, rng):
    """The samples of one epoch, in the order of training"""
    if shuffle == "replacement":
        return samples[rng.integers(0, len(samples), len(samples))]
    return rng.permutation(samples) if shuffle else samples


class MLP:
    """What `train` returns: the parameters and the history, with the methods of `fastmlp.MLP`"""

    def __init__(self, weights, biases, activations, loss, classes, input_scale, history: dict[str, list], delta=1.0):
        self.weights, self.biases, self.activations, self.delta = weights, biases, activations, delta
        self.loss, self.classes, self.input_scale, self.history = loss, classes, input_scale, history

    def _outputs(self, x, chunk=4096):
        dtype = self.weights[0].dtype.type
        logits = [
            forward(_rows(x, slice(i, i + chunk), self.input_scale, dtype), self.weights, self.biases, self.activations)
            for i in range(0, len(x), chunk)
        ]
        return np.concatenate([outputs[-1] for outputs in logits])

    def predict_proba(self, x: Any) -> np.ndarray:
        logits = self._outputs(np.asarray(x))
        if self.loss == "binary_cross_entropy":
            return 1 / (1 + np.exp(-logits))
        return batch_softmax(logits) if self.loss == "notebook" else softmax(logits)

    def predict(self, x: Any) -> np.ndarray:
        if self.loss in BY_ELEMENTS:
            outputs = self._outputs(np.asarray(x))
            if self.loss == "binary_cross_entropy":
                return (outputs > 0).astype(np.int64)
            return np.exp(outputs) if self.loss == "poisson" else outputs
        return self.classes[self.predict_proba(x).argmax(axis=1)]

    def evaluate(self, x: Any, y: Any, sample_weight: Any = None) -> Metrics:
        target = _target(y, self.classes, self.weights[0].dtype)
        outputs = self._outputs(np.asarray(x))
        if self.loss in BY_ELEMENTS:
            losses, predicted, _ = by_elements(outputs, target, self.loss, self.delta)
        else:
            losses, predicted, _ = LOSSES[self.loss](outputs, target)
        loss = float(np.average(np.asarray(losses, np.float64), weights=sample_weight))
        return Metrics(loss, float(_n_right(predicted, target, self.loss) / len(target)))


def _n_right(predicted, target, loss):
    """How many predictions of a batch are right; NaN for a regression"""
    if loss in BY_ELEMENTS:
        return float(predicted.sum()) if loss == "binary_cross_entropy" else float("nan")
    return int((predicted == target).sum())


def _rows(x, samples, input_scale, dtype):
    """Rows of a batch, multiplied by the scale, or each feature by its own: (offset, factor)"""
    if type(input_scale).__name__ == "RobustScale":
        z = (x[samples].astype(np.float64) - input_scale.offset) * input_scale.factor
        return (z / np.sqrt(1 + (z / 3) ** 2)).astype(np.float32).astype(dtype)
    if isinstance(input_scale, tuple):
        offset, factor = (np.asarray(part) for part in input_scale)
        if np.any(offset):
            return gather_standardized(x, samples, offset, factor, dtype)
        return prepare_rows(gather(x, samples, 1, dtype), factor.astype(dtype))
    if isinstance(input_scale, str):
        input_scale = 1 / 255 if x.dtype == np.uint8 else 1.0
    return gather(x, samples, input_scale, dtype)


def _standard_scale(x):
    """Offset and factor for the mean 0 and the variance 1; what is constant becomes 0"""
    first, x = x[0].astype(np.float64), x.astype(np.float64)
    mean, deviation = first + (x - first).mean(axis=0), (x - first).std(axis=0)
    with np.errstate(divide="ignore", over="ignore"):
        factor = (1 / deviation).astype(np.float32)
    constant = (deviation <= 1e-15 * np.abs(mean)) | np.isinf(factor)
    return mean, np.where(constant, np.float32(1), factor)


# Smooth clipping of (x - offset) * factor, with an offset and a factor for each feature.
RobustScale = namedtuple("RobustScale", "offset factor")


def _robust_scale(x):
    """Median and inverse interquartile range; half of the range where that is 0, 0 of what is constant"""
    least, low, median, high, largest = np.quantile(x.astype(np.float64), [0, 0.25, 0.5, 0.75, 1], axis=0)
    factor = np.zeros(x.shape[1])
    for width in ((largest - least) / 2, high - low):  # the second where it can be had
        with np.errstate(divide="ignore"):
            inverse = 1 / width
        factor = np.where(inverse <= np.finfo(np.float32).max, inverse, factor)
    return RobustScale(median, factor)


def _target(y, classes, dtype):
    y = np.asarray(y)
    if classes is None:
        return y.reshape(len(y), -1).astype(dtype)
    return np.searchsorted(classes, y)


def _weights_of(sample_weight, class_weight, classes, target):
    """The weight of every sample, or None"""
    if sample_weight is None and class_weight is None:
        return None
    weights = np.ones(len(target), np.float32) if sample_weight is None else np.array(sample_weight, np.float32)
    if class_weight is not None:
        counts = np.bincount(target, minlength=len(classes))
        if class_weight == "balanced":
            by_class = len(target) / (len(classes) * np.maximum(counts, 1))
        else:
            by_class = np.array([class_weight.get(label, 1.0) for label in classes.tolist()])
        weights *= by_class[target].astype(np.float32)
    return weights


def rule_of(optimizer):
    """Rule, arrays of state, decay of the rate, and default rate of an optimizer: a name, or one of fastmlp's"""
    if isinstance(optimizer, str):
        kind = optimizer
        settings = {"weight_decay": 0.01} if optimizer == "adamw" else {}
    else:
        kind, settings = type(optimizer).__name__.lower(), vars(optimizer)
    rate_decay = settings.get("momentum_decay", 0.004) if kind == "nadam" else settings.get("lr_decay", 0)
    default_rate = {"sgd": 0.1, "adam": 0.001, "adamw": 0.001, "nadam": 0.002}.get(kind, 0.01)
    momentum, beta = settings.get("momentum", 0), settings.get("alpha", 0.99)
    if kind in ("adam", "adamw", "nadam"):
        momentum, beta = settings.get("betas", (0.9, 0.999))
    epsilon = settings.get("eps", 1e-10 if kind == "adagrad" else 1e-8)
    slots = 1 if kind in ("sgd", "adagrad") else 2
    if kind == "sgd":
        kind = "plain" if momentum == 0 else "nesterov" if settings.get("nesterov") else "momentum"
    return Rule(kind, None, momentum, settings.get("weight_decay", 0), beta, epsilon), slots, rate_decay, default_rate


def initial_state(parameter, slots):
    """What an optimizer knows of a parameter before the first step: zeros, one or two arrays of them"""
    return np.zeros_like(parameter) if slots == 1 else (np.zeros_like(parameter), np.zeros_like(parameter))


ACTIVATIONS = (
    "identity", "relu", "leaky_relu", "elu", "selu", "softplus", "sigmoid", "hard_sigmoid", "tanh", "gelu", "gelu_tanh",
    "silu", "mish",
)  # fmt: skip
OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop", "adagrad", "nadam")
INITS = (
    "he", "he_uniform", "lecun", "lecun_uniform", "glorot", "glorot_normal", "orthogonal", "zeros", "notebook",
)  # fmt: skip


def _check_names(loss, optimizer, activation, init, shuffle):
    """Refuse names that nothing has: a branch that knows none of them would compute something else."""
    activations = [activation] if isinstance(activation, str) else list(activation)
    for name, values, known in (
        ("loss", [] if loss is None else [loss], tuple(LOSSES)),
        ("optimizer", [optimizer if isinstance(optimizer, str) else type(optimizer).__name__.lower()], OPTIMIZERS),
        ("activation", activations, ACTIVATIONS),
        ("init", [init] if isinstance(init, str) else [], INITS),
        ("shuffle", [shuffle], (True, False, "replacement")),
    ):
        for value in values:
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}")


def train(
    x: Any,
    y: Any,
    *,
    hidden=(128,),
    activation="relu",
    loss=None,
    optimizer="sgd",
    learning_rate=None,
    batch_size=128,
    epochs=10,
    shuffle=True,
    validation=None,
    init="he",
    input_scale="auto",
    sparse="auto",
    seed=None,
    threads=None,
    callbacks=(),
    progress="auto",
    dropout=0.0,
    input_dropout=0.0,
    l1=0.0,
    l2=0.0,
    clip_norm=None,
    max_norm=None,
    label_smoothing=0.0,
    delta=1.0,
    sample_weight=None,
    class_weight=None,
    classes=None,
    dtype: Any = np.float32,
) -> MLP:
    """Train a multilayer perceptron in NumPy, with the arguments of `fastmlp.train` and the same random numbers.

    Parameters
    ----------
    dtype : float32 or float64
        What to compute in.  The other arguments are those of `fastmlp.train`, as far as they are here; callbacks are
        functions of the model; `sparse`, `threads` and `progress` are accepted and have no effect (NumPy's BLAS has its
        own threads).

    Returns
    -------
    MLP
        With `weights`, `biases`, `history`, `predict`, `predict_proba` and `evaluate`.

    Raises
    ------
    ValueError
        If a loss, an optimizer, an activation, or the name of an initial state is not known.
    """
    _check_names(loss, optimizer, activation, init, shuffle)
    x, y = np.asarray(x), np.asarray(y)
    if loss is None:
        several = y.ndim == 2 and y.shape[1] > 1
        loss = "mse" if y.dtype.kind == "f" else "binary_cross_entropy" if several else "cross_entropy"
    dtype = np.dtype(dtype).type
    classes = None if loss in BY_ELEMENTS else np.unique(y if classes is None else classes)
    target = _target(y, classes, dtype)
    n_out = target.shape[1] if loss in BY_ELEMENTS else len(classes)
    weights_of_samples = _weights_of(sample_weight, class_weight, classes, target)

    streams = np.random.SeedSequence(seed).spawn(4)
    init_rng, split_rng, order_rng, dropout_rng = (np.random.default_rng(s) for s in streams)
    samples = np.arange(len(x))
    if isinstance(validation, float):
        shuffled = split_rng.permutation(len(x))
        n_validation = round(len(x) * validation)
        samples, held_out = np.sort(shuffled[n_validation:]), np.sort(shuffled[:n_validation])
        validation = x[held_out], y[held_out]
        if weights_of_samples is not None:
            validation = (*validation, weights_of_samples[held_out])
    if isinstance(input_scale, str) and input_scale == "standardize":
        input_scale = _standard_scale(x[samples])
    elif isinstance(input_scale, str) and input_scale == "robust":
        input_scale = _robust_scale(x[samples])
    elif np.ndim(input_scale) == 1:
        input_scale = np.zeros(x.shape[1], np.float32), np.asarray(input_scale, np.float32)

    hidden = (hidden,) if isinstance(hidden, int) else tuple(hidden)
    widths = (x.shape[1], *hidden, n_out)
    names = [activation] * len(hidden) if isinstance(activation, str) else list(activation)
    activations = [*names, "identity"]
    shares = tuple(dropout) if isinstance(dropout, (list, tuple)) else (dropout,) * len(hidden)
    restraint = Restraint(
        shares, input_dropout, l1, l2, clip_norm or 0.0, max_norm or 0.0, int(dropout_rng.integers(0, 2**62))
    )
    update_biases = True
    if hasattr(init, "weights"):
        init = list(zip(init.weights, init.biases))
    if isinstance(init, str):
        update_biases = init != "notebook"
        weights, biases = initialize(widths, init, init_rng)
    else:
        weights, biases = zip(*init)
    weights = [np.array(w, dtype, order="C") for w in weights]
    biases = [np.array(b, dtype) for b in biases]
    rule, slots, rate_decay, default_rate = rule_of(optimizer)
    learning_rate = default_rate if learning_rate is None else learning_rate
    states = [[initial_state(a, slots) for a in pair] for pair in zip(weights, biases)]

    recorded = ("epoch", "seconds", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
    history: dict[str, list] = {name: [] for name in (*recorded, "learning_rate")}
    model = MLP(weights, biases, activations, loss, classes, input_scale, history, delta)
    steps = -(-len(samples) // batch_size)
    for epoch in range(epochs):
        start = time.perf_counter()
        order = epoch_order(samples, shuffle, order_rng)
        progress_of_steps = epoch + np.arange(steps) / steps
        if hasattr(learning_rate, "rate"):
            rates = learning_rate.rate(progress_of_steps, epochs)
        elif callable(learning_rate):
            rates = [learning_rate(step) for step in range(epoch * steps, (epoch + 1) * steps)]
        else:
            rates = np.full(steps, learning_rate)
        total_loss, total_weight, correct = 0.0, 0.0, 0.0
        for step in range(steps):
            batch, update = order[step * batch_size : (step + 1) * batch_size], epoch * steps + step + 1
            batch_weights = None if weights_of_samples is None else weights_of_samples[batch]
            losses, predicted = train_step(
                _rows(x, batch, input_scale, dtype), target[batch], weights, biases, states, activations, loss,
                set_rate(rule, np.float32(rates[step]), update, rate_decay), update_biases, batch_weights,
                restraint, update, label_smoothing, delta,
            )  # fmt: skip
            total_loss += float(losses.sum(dtype=np.float64))
            total_weight += len(batch) if batch_weights is None else float(batch_weights.sum(dtype=np.float64))
            correct += _n_right(predicted, target[batch], loss)
        history["epoch"].append(epoch + 1)
        history["seconds"].append(time.perf_counter() - start)
        history["train_loss"].append(total_loss / total_weight)
        history["train_accuracy"].append(correct / len(order))
        metrics = Metrics(float("nan"), float("nan")) if validation is None else model.evaluate(*validation)
        history["validation_loss"].append(metrics.loss)
        history["validation_accuracy"].append(metrics.accuracy)
        history["learning_rate"].append(float(rates[0]))
        for callback in callbacks:
            callback(model)
    return model


def reproduce(x, y, x_validation, y_validation, iterations=10_000, corrected=False):
    """Repeat the notebook's run (see `fastmlp.reproduce`) on a given split, from the notebook's own random numbers.

    The baseline of `fastmlp.reproduce`'s time.

    Parameters
    ----------
    x, y, x_validation, y_validation : ndarray
        Raw pixels (n, 784) uint8, and labels (n,).
    iterations : int
        Steps of 128 samples drawn with replacement.
    corrected : bool
        Take the softmax over the classes, not over the batch.

    Returns
    -------
    train_accuracy, train_loss, validation_accuracy : list of float
        The three curves, as in `fastmlp.reproduce`.
    """
    loss = "softmax_mse" if corrected else "notebook"
    random = np.random.RandomState(42)
    weights, biases = initialize((784, 128, 10), "notebook", random)
    model = MLP(weights, biases, ["sigmoid", "identity"], loss, np.arange(10), 1.0, {})
    rule = Rule("plain", np.float32(0.001), 0, 0)
    train_accuracy, train_loss, validation_accuracy = [], [], []
    done = 0
    while done < iterations:
        steps = min(1 if done == 0 else 100, iterations - done)
        for _ in range(steps):
            batch = random.randint(0, len(x), size=128)
            target = y[batch]
            _, predicted = train_step(
                gather(x, batch, 1.0), target, weights, biases, [(None, None)] * 2, model.activations, loss, rule,
                update_biases=False,
            )  # fmt: skip
            difference = predicted - target.astype(np.int64)
            train_accuracy.append(float(np.mean(difference == 0)))
            train_loss.append(float(np.mean(difference * difference)))
        done += steps
        validation_accuracy.append(float(np.mean(model.predict(x_validation) == y_validation)))
    return train_accuracy, train_loss, validation_accuracy
