"""Losses with their gradients, in place: logits go in, their gradients come out.

Each takes the rows first..last-1 of a batch, `logits` (batch_size, n_outputs) a Matrix in `workspace`, and `rows`, the
place of three vectors of `capacity` floats there: LOSS (the sample's loss), PREDICTED (its predicted class), and SUM
(of exponentials).  Sums run over vectors of NARROW classes, then over their lanes, halves first.
"""

import numpy as np

from fastmlp.kernels.jit import inline_llvm, kernel
from fastmlp.kernels.ops.dense import element_offset
from fastmlp.kernels.simd.functions import exp, log
from fastmlp.kernels.simd.processors import NARROW
from fastmlp.kernels.simd.vector import (
    add,
    div,
    first_equal,
    first_lanes,
    load,
    max_lanes,
    maximum,
    mul,
    splat,
    store,
    sub,
    sum_lanes,
    where_positive,
)

# The codes; `fastmlp.losses` has their names.  Those from MSE on are sums over outputs that have a target each, instead
# of a label.
CROSS_ENTROPY, SOFTMAX_MSE, NOTEBOOK, MSE, MAE, HUBER, POISSON, BINARY_CROSS_ENTROPY = range(8)
ELEMENTWISE = (MSE, MAE, HUBER, POISSON, BINARY_CROSS_ENTROPY)

LOSS, PREDICTED, SUM = range(3)


@inline_llvm
def load_row(workspace, matrix, i, j, fill):
    """Columns j..j+NARROW-1 of row i, and `fill` from the last column on."""
    return first_lanes(load(workspace, element_offset(matrix, i, j)), matrix.columns - j, fill)


@inline_llvm
def row_maximum(workspace, logits, i):
    """Return the largest element of row i, and the first class that has it; NaN where the row holds NaN"""
    largest = splat(np.float32(-np.inf))
    for j in range(0, logits.columns, NARROW):
        largest = maximum(largest, load_row(workspace, logits, i, j, np.float32(-np.inf)))
    top = max_lanes(largest)
    for j in range(0, logits.columns, NARROW):
        lane = first_equal(load(workspace, element_offset(logits, i, j)), top)
        if lane < NARROW:
            return top, j + lane
    return np.float32(np.nan), 0


@inline_llvm
def softmax_row(workspace, logits, i):
    """Row i = its exponentials, scaled by exp(-its maximum); returns the maximum, its class, and the row's sum."""
    top, predicted = row_maximum(workspace, logits, i)
    total = splat(np.float32(0))
    for j in range(0, logits.columns, NARROW):
        at = element_offset(logits, i, j)
        e = exp(sub(load(workspace, at), splat(top)))
        store(e, workspace, at)
        total = add(total, first_lanes(e, logits.columns - j, np.float32(0)))
    return top, predicted, sum_lanes(total)


@kernel
def softmax(workspace, logits, first, last):
    """logits = softmax(logits), row by row"""
    for i in range(first, last):
        _, _, total = softmax_row(workspace, logits, i)
        scale = splat(np.float32(1) / total)
        for j in range(0, logits.columns, NARROW):
            at = element_offset(logits, i, j)
            store(mul(load(workspace, at), scale), workspace, at)


@kernel
def batch_softmax(workspace, logits):
    """logits = exp(logits - their maximum), each class divided by its sum over the batch (NOTEBOOK's softmax)"""
    top = np.float32(-np.inf)
    for i in range(logits.rows):
        row_top, _ = row_maximum(workspace, logits, i)
        top = max(top, row_top)
    for j in range(0, logits.columns, NARROW):
        total = splat(np.float32(0))
        for i in range(logits.rows):
            at = element_offset(logits, i, j)
            e = exp(sub(load(workspace, at), splat(top)))
            store(e, workspace, at)
            total = add(total, e)
        for i in range(logits.rows):
            at = element_offset(logits, i, j)
            store(div(load(workspace, at), total), workspace, at)


@inline_llvm
def mean_of_row(workspace, logits, i):
    total = splat(np.float32(0))
    for j in range(0, logits.columns, NARROW):
        total = add(total, load_row(workspace, logits, i, j, np.float32(0)))
    return sum_lanes(total) / np.float32(logits.columns)


@kernel
def cross_entropy(workspace, logits, labels, samples, start, rows, capacity, first, last, smoothing):
    """loss = -sum of q log softmax(logits); dlogits = (softmax(logits) - q) / batch_size

    q is 1 for the label, or with label smoothing (Szegedy et al. 2016, section 7) 1 - smoothing, and smoothing /
    n_classes more for every class.

    logits   (batch_size, n_classes)   overwritten by dlogits
    labels   (n_samples,)              read: sample i of the batch has labels[samples[start + i]]
    """
    inverse = np.float32(1) / np.float32(logits.rows)
    for_label = np.float32(1) - smoothing
    for_all = splat(inverse * (smoothing / np.float32(logits.columns)))
    for i in range(first, last):
        at_label = element_offset(logits, i, np.int64(labels[samples[start + i]]))
        logit = workspace[at_label]
        if smoothing > 0:
            logit = for_label * logit + smoothing * mean_of_row(workspace, logits, i)
        top, predicted, total = softmax_row(workspace, logits, i)
        scale = splat(inverse / total)
        for j in range(0, logits.columns, NARROW):
            at = element_offset(logits, i, j)
            p = sub(mul(load(workspace, at), scale), for_all)
            store(first_lanes(p, logits.columns - j, np.float32(0)), workspace, at)
        workspace[at_label] -= for_label * inverse
        workspace[rows + LOSS * capacity + i] = top - logit
        workspace[rows + PREDICTED * capacity + i] = predicted
        workspace[rows + SUM * capacity + i] = total
    for i in range(first, last, NARROW):  # callers cut the batch at multiples of NARROW, so that none of them meet
        at = rows + LOSS * capacity + i
        store(add(load(workspace, at), log(load(workspace, rows + SUM * capacity + i))), workspace, at)


@inline_llvm
def square_backward(workspace, logits, i, label, scale):
    """Row i of probabilities p = scale * (p - onehot) * p * (1 - p); returns the sum of (p - onehot) ** 2."""
    at_label = element_offset(logits, i, label)
    p_label = workspace[at_label]
    one, factor, total = splat(np.float32(1)), splat(scale), splat(np.float32(0))
    for j in range(0, logits.columns, NARROW):
        at = element_offset(logits, i, j)
        p = first_lanes(load(workspace, at), logits.columns - j, np.float32(0))
        square = mul(p, p)
        total = add(total, square)
        store(mul(factor, mul(square, sub(one, p))), workspace, at)
    miss = p_label - np.float32(1)
    workspace[at_label] = scale * miss * (p_label * (np.float32(1) - p_label))
    return sum_lanes(total) + (miss * miss - p_label * p_label)


@kernel
def softmax_mse(workspace, logits, labels, samples, start, rows, capacity, first, last):
    """loss = sum over classes of (p - onehot) ** 2, p = softmax(logits);
    dlogits = 2 (p - onehot) / batch_size * p * (1 - p)

    The arguments are those of `cross_entropy`.
    """
    for i in range(first, last):
        _, predicted, total = softmax_row(workspace, logits, i)
        scale = splat(np.float32(1) / total)
        for j in range(0, logits.columns, NARROW):
            at = element_offset(logits, i, j)
            store(mul(load(workspace, at), scale), workspace, at)
        twice = np.float32(2) / np.float32(logits.rows)
        loss = square_backward(workspace, logits, i, np.int64(labels[samples[start + i]]), twice)
        workspace[rows + LOSS * capacity + i] = loss
        workspace[rows + PREDICTED * capacity + i] = predicted


@kernel
def notebook(workspace, logits, labels, samples, start, rows, capacity):
    """Do the same with the softmax over the batch: each class's column sums to one.  Takes all rows at once."""
    batch_softmax(workspace, logits)
    twice = np.float32(2) / np.float32(logits.rows)
    for i in range(logits.rows):
        _, predicted = row_maximum(workspace, logits, i)
        loss = square_backward(workspace, logits, i, np.int64(labels[samples[start + i]]), twice)
        workspace[rows + LOSS * capacity + i] = loss
        workspace[rows + PREDICTED * capacity + i] = predicted


@inline_llvm
def magnitude_of(x):
    return maximum(x, sub(splat(np.float32(0)), x))


@inline_llvm
def element_loss(out, target, loss, delta):
    """Return the loss of one vector of outputs, and its derivative; NaN for an unknown code."""
    zero, one, half = splat(np.float32(0)), splat(np.float32(1)), splat(np.float32(0.5))
    difference = sub(out, target)
    if loss == MSE:
        return mul(difference, difference), add(difference, difference)
    if loss == MAE or loss == HUBER:  # noqa: SIM109, Numba
        magnitude = magnitude_of(difference)
        sign = where_positive(difference, one, where_positive(sub(zero, difference), sub(zero, one), difference))
        if loss == MAE:
            return magnitude, sign
        bound = splat(delta)
        far, outside = mul(bound, sub(magnitude, mul(half, bound))), sub(magnitude, bound)
        return (
            where_positive(outside, far, mul(half, mul(difference, difference))),
            where_positive(outside, mul(bound, sign), difference),
        )
    if loss == POISSON:
        mean = exp(out)
        return sub(mean, mul(target, out)), sub(mean, target)
    if loss == BINARY_CROSS_ENTROPY:
        e = exp(sub(zero, magnitude_of(out)))
        sigmoid = div(where_positive(out, one, e), add(one, e))  # without a difference that cancels
        return add(sub(maximum(zero, out), mul(out, target)), log(add(one, e))), sub(sigmoid, target)
    return splat(np.float32(np.nan)), splat(np.float32(np.nan))


@kernel
def elementwise(workspace, logits, targets, samples, start, rows, capacity, first, last, loss, delta):
    """Compute the losses MSE, MAE, HUBER (Huber 1964, with `delta`), POISSON (outputs are the logarithm of the mean;
    without the term that the targets alone make) and BINARY_CROSS_ENTROPY (outputs are logits), means over outputs

    logits   (batch_size, n_outputs)      overwritten by dlogits, which are over batch_size * n_outputs
    targets  (n_samples * n_outputs,)     read: row samples[start + i] is sample i's; whole vectors
    rows     PREDICTED becomes, for BINARY_CROSS_ENTROPY, the fraction of the outputs that are right, else 0
    """
    n_outputs = logits.columns
    scale, inverse = splat(np.float32(1) / np.float32(logits.rows * n_outputs)), np.float32(1) / np.float32(n_outputs)
    zero, one, half = splat(np.float32(0)), splat(np.float32(1)), splat(np.float32(0.5))
    for i in range(first, last):
        target_at = samples[start + i] * n_outputs
        total, right = zero, zero
        for j in range(0, n_outputs, NARROW):
            at = element_offset(logits, i, j)
            out, target = load(workspace, at), load(targets, target_at + j)
            value, derivative = element_loss(out, target, loss, delta)
            total = add(total, first_lanes(value, n_outputs - j, np.float32(0)))
            store(first_lanes(mul(scale, derivative), n_outputs - j, np.float32(0)), workspace, at)
            if loss == BINARY_CROSS_ENTROPY:
                guess = where_positive(out, sub(target, half), sub(half, target))
                right = add(right, first_lanes(where_positive(guess, one, zero), n_outputs - j, np.float32(0)))
        workspace[rows + LOSS * capacity + i] = inverse * sum_lanes(total)
        workspace[rows + PREDICTED * capacity + i] = inverse * sum_lanes(right)


@kernel
def weigh(workspace, dlogits, weights, samples, start, rows, capacity, first, last):
    """Losses and gradients multiplied by the samples' weights, the gradients over the mean weight of the batch

    dlogits  (batch_size, n_outputs)   updated in place: 0 where all weights are 0
    weights  (n_samples,)              read: sample i of the batch has weights[samples[start + i]]
    rows     LOSS is updated in place
    """
    total = 0.0
    for i in range(dlogits.rows):
        total += weights[samples[start + i]]
    inverse = dlogits.rows / total if total > 0 else 0.0
    for i in range(first, last):
        weight = weights[samples[start + i]]
        factor = splat(np.float32(weight * inverse))
        for j in range(0, dlogits.columns, NARROW):
            at = element_offset(dlogits, i, j)
            store(mul(factor, load(workspace, at)), workspace, at)
        workspace[rows + LOSS * capacity + i] *= weight
