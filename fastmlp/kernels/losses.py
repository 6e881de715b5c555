"""Losses with their gradients, in place: logits go in, their gradients come out.

Each takes the rows first..last-1 of a batch, `logits` (batch_size, n_outputs) a Matrix in `workspace`, and `rows`, the
place of three vectors of `capacity` floats there: LOSS (the sample's loss), PREDICTED (its predicted class), and SUM
(of exponentials).  Sums run over vectors of NARROW classes, then over their lanes, halves first.
"""

import numpy as np

from fastmlp.kernels.dense import place
from fastmlp.kernels.functions import exp, log
from fastmlp.kernels.jit import inlined, kernel
from fastmlp.kernels.vector import (
    NARROW,
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
)

CROSS_ENTROPY, SOFTMAX_MSE, NOTEBOOK, MSE = range(4)
LOSSES = {"cross_entropy": CROSS_ENTROPY, "softmax_mse": SOFTMAX_MSE, "notebook": NOTEBOOK, "mse": MSE}

LOSS, PREDICTED, SUM = range(3)


@inlined
def load_row(workspace, matrix, i, j, fill):
    """Columns j..j+NARROW-1 of row i, and `fill` from the last column on."""
    return first_lanes(load(workspace, place(matrix, i, j)), matrix.columns - j, fill)


@inlined
def row_maximum(workspace, logits, i):
    """The largest element of row i, and the first class that has it; NaN where the row holds NaN"""
    largest = splat(np.float32(-np.inf))
    for j in range(0, logits.columns, NARROW):
        largest = maximum(largest, load_row(workspace, logits, i, j, np.float32(-np.inf)))
    top = max_lanes(largest)
    for j in range(0, logits.columns, NARROW):
        lane = first_equal(load(workspace, place(logits, i, j)), top)
        if lane < NARROW:
            return top, j + lane
    return np.float32(np.nan), 0


@inlined
def softmax_row(workspace, logits, i):
    """Row i = its exponentials, scaled by exp(-its maximum); returns the maximum, its class, and the row's sum."""
    top, predicted = row_maximum(workspace, logits, i)
    total = splat(np.float32(0))
    for j in range(0, logits.columns, NARROW):
        at = place(logits, i, j)
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
            at = place(logits, i, j)
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
            at = place(logits, i, j)
            e = exp(sub(load(workspace, at), splat(top)))
            store(e, workspace, at)
            total = add(total, e)
        for i in range(logits.rows):
            at = place(logits, i, j)
            store(div(load(workspace, at), total), workspace, at)


@kernel
def cross_entropy(workspace, logits, labels, samples, start, rows, capacity, first, last):
    """loss = -log softmax(logits)[label]; dlogits = (softmax(logits) - onehot) / batch_size

    logits   (batch_size, n_classes)   overwritten by dlogits
    labels   (n_samples,)              read: sample i of the batch has labels[samples[start + i]]
    """
    inverse = np.float32(1) / np.float32(logits.rows)
    for i in range(first, last):
        at_label = place(logits, i, np.int64(labels[samples[start + i]]))
        logit = workspace[at_label]
        top, predicted, total = softmax_row(workspace, logits, i)
        scale = splat(inverse / total)
        for j in range(0, logits.columns, NARROW):
            at = place(logits, i, j)
            p = mul(load(workspace, at), scale)
            store(first_lanes(p, logits.columns - j, np.float32(0)), workspace, at)
        workspace[at_label] -= inverse
        workspace[rows + LOSS * capacity + i] = top - logit
        workspace[rows + PREDICTED * capacity + i] = predicted
        workspace[rows + SUM * capacity + i] = total
    for i in range(first, last, NARROW):  # callers cut the batch at multiples of NARROW, so that none of them meet
        at = rows + LOSS * capacity + i
        store(add(load(workspace, at), log(load(workspace, rows + SUM * capacity + i))), workspace, at)


@inlined
def square_backward(workspace, logits, i, label, scale):
    """Row i of probabilities p = scale * (p - onehot) * p * (1 - p); returns the sum of (p - onehot) ** 2."""
    at_label = place(logits, i, label)
    p_label = workspace[at_label]
    one, factor, total = splat(np.float32(1)), splat(scale), splat(np.float32(0))
    for j in range(0, logits.columns, NARROW):
        at = place(logits, i, j)
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
            at = place(logits, i, j)
            store(mul(load(workspace, at), scale), workspace, at)
        twice = np.float32(2) / np.float32(logits.rows)
        loss = square_backward(workspace, logits, i, np.int64(labels[samples[start + i]]), twice)
        workspace[rows + LOSS * capacity + i] = loss
        workspace[rows + PREDICTED * capacity + i] = predicted


@kernel
def notebook(workspace, logits, labels, samples, start, rows, capacity):
    """The same with the softmax over the batch: each class's column sums to one.  Takes all rows at once."""
    batch_softmax(workspace, logits)
    twice = np.float32(2) / np.float32(logits.rows)
    for i in range(logits.rows):
        _, predicted = row_maximum(workspace, logits, i)
        loss = square_backward(workspace, logits, i, np.int64(labels[samples[start + i]]), twice)
        workspace[rows + LOSS * capacity + i] = loss
        workspace[rows + PREDICTED * capacity + i] = predicted


@kernel
def mse(workspace, logits, targets, samples, start, rows, capacity, first, last):
    """loss = mean over outputs of (out - target) ** 2; dout = 2 (out - target) / (batch_size * n_outputs)

    logits   (batch_size, n_outputs)      overwritten by dout
    targets  (n_samples * n_outputs,)     read: row samples[start + i] is sample i's
    """
    n_outputs = logits.columns
    scale = np.float32(2) / np.float32(logits.rows * n_outputs)
    for i in range(first, last):
        target = samples[start + i] * n_outputs
        total = np.float32(0)
        for j in range(n_outputs):
            at = place(logits, i, j)
            difference = workspace[at] - targets[target + j]
            workspace[at] = scale * difference
            total += difference * difference
        workspace[rows + LOSS * capacity + i] = total / np.float32(n_outputs)
        workspace[rows + PREDICTED * capacity + i] = np.float32(0)
