"""The losses; `fastmlp.kernels.ops.losses` has the same ones in compiled code.

Each returns the losses of the samples (batch_size,), the predicted classes (batch_size,), and dlogits; those that are a
mean over outputs have, instead of a class, the fraction of the outputs that is right.

To add one: a function and a row of LOSSES.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .notebook_loss import batch_softmax, notebook, softmax_mse
from .outputs import sigmoid, softmax


def cross_entropy(logits, labels, smoothing=0.0):
    """Return loss = -sum of q log softmax(logits); dlogits = (softmax(logits) - q) / batch_size.

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


def mse(out, targets, delta=1.0):
    """Return the mean over outputs of (out - target)**2; dout = 2 (out - target) / (batch_size * n_outputs)."""
    difference = out - targets
    return (difference * difference).mean(axis=1), np.zeros(len(out)), difference * (2 / difference.size)


def mae(out, targets, delta=1.0):
    """Return the mean over outputs of |out - target|."""
    difference = out - targets
    return np.abs(difference).mean(axis=1), np.zeros(len(out)), np.sign(difference) / difference.size


def huber(out, targets, delta=1.0):
    """Return the mean over outputs of d**2 / 2, or delta (|d| - delta / 2) where |d| > delta (Huber 1964)."""
    difference = out - targets
    size = np.abs(difference)
    loss = np.where(size > delta, delta * (size - delta / 2), difference * difference / 2)
    return loss.mean(axis=1), np.zeros(len(out)), np.clip(difference, -delta, delta) / difference.size


def poisson(out, targets, delta=1.0):
    """Return the mean over outputs of exp(out) - target * out."""
    mean = np.exp(out)
    return (mean - targets * out).mean(axis=1), np.zeros(len(out)), (mean - targets) / out.size


def binary_cross_entropy(out, targets, delta=1.0):
    """Return the mean over outputs of -log sigmoid(out) or -log (1 - sigmoid(out)), for the target 1 or 0."""
    loss = np.logaddexp(0, out) - targets * out
    right = ((out > 0) == (targets > 0.5)).mean(axis=1)
    return loss.mean(axis=1), right, (sigmoid(out) - targets) / out.size


class Loss(NamedTuple):
    """A row of the table.

    Attributes
    ----------
    function : callable
    has_labels : bool
        Whether targets are labels, else one number for every output.
    probabilities : callable, optional
        Takes the last layer's sums; None for a regression.
    predict : callable, optional
        What predictions are for targets that are not labels; takes the last layer's sums.
    smooths : bool
        Whether it takes label smoothing.
    """

    function: Callable
    has_labels: bool
    probabilities: Callable | None = None
    predict: Callable | None = None
    smooths: bool = False


def _same(out):
    return out


def _above_zero(out):
    return (out > 0).astype(np.int64)


LOSSES = {
    "cross_entropy": Loss(cross_entropy, True, softmax, smooths=True),
    "softmax_mse": Loss(softmax_mse, True, softmax),
    "notebook": Loss(notebook, True, batch_softmax),
    "binary_cross_entropy": Loss(binary_cross_entropy, False, sigmoid, _above_zero),
    "mse": Loss(mse, False, predict=_same),
    "mae": Loss(mae, False, predict=_same),
    "huber": Loss(huber, False, predict=_same),
    "poisson": Loss(poisson, False, predict=np.exp),
}
ELEMENTWISE = tuple(name for name, row in LOSSES.items() if not row.has_labels)


def elementwise(out, targets, loss, delta):
    """Return the losses that are a mean over outputs, the fraction of outputs that is right, and dlogits."""
    return LOSSES[loss].function(out, targets, delta)


def compute_loss(logits, target, loss, delta=1.0, smoothing=0.0):
    """Return the losses of the samples, the predicted classes or the fraction that is right, and dlogits."""
    row = LOSSES[loss]
    if not row.has_labels:
        return elementwise(logits, target, loss, delta)
    if not smoothing:
        return row.function(logits, target)
    if not row.smooths:
        raise ValueError(f"label smoothing needs the loss 'cross_entropy', got {loss!r}")
    return row.function(logits, target, smoothing)


def count_correct(predicted, target, loss):
    """Return how many predictions of a batch are right, from what a loss returns; NaN for a regression."""
    row = LOSSES[loss]
    if row.has_labels:
        return int((predicted == target).sum())
    return float(predicted.sum()) if row.probabilities is not None else float("nan")


def weigh(losses, dlogits, weights):
    """Return losses times the samples' weights, and gradients times these over their mean."""
    total = weights.sum(dtype=np.float64)
    factor = weights * (len(weights) / total if total > 0 else 0)
    return losses * weights, dlogits * factor[:, None].astype(dlogits.dtype)
