"""From what a user passes to batches: targets, weights, the input's scale, the order of samples."""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from .layers import gather, gather_standardized, prepare_rows
from .losses import LOSSES

# What `train` trains on: the samples' numbers, and the whole data set.  `validation` is (x, y), or with weights.
Data = namedtuple("Data", "x target weights samples validation input_scale loss classes n_out")

# Smooth clipping of (x - offset) * factor, with an offset and a factor for each feature.
RobustScale = namedtuple("RobustScale", "offset factor")


def prepare_data(x, y, loss, classes, sample_weight, class_weight, validation, input_scale, split_rng, dtype):
    """Return the arguments of `train` that are about data as a Data."""
    x, y = np.asarray(x), np.asarray(y)
    loss = default_loss(y) if loss is None else loss
    has_labels = LOSSES[loss].has_labels
    classes = np.unique(y if classes is None else classes) if has_labels else None
    target = encode_target(y, classes, dtype)
    weights = weigh_samples(sample_weight, class_weight, classes, target)
    samples = np.arange(len(x))
    if isinstance(validation, float):
        shuffled = split_rng.permutation(len(x))
        n_validation = round(len(x) * validation)
        samples, held_out = np.sort(shuffled[n_validation:]), np.sort(shuffled[:n_validation])
        validation = x[held_out], y[held_out]
        if weights is not None:
            validation = (*validation, weights[held_out])
    if isinstance(input_scale, str) and input_scale == "standardize":
        input_scale = standard_scale(x[samples])
    elif isinstance(input_scale, str) and input_scale == "robust":
        input_scale = robust_scale(x[samples])
    elif np.ndim(input_scale) == 1:
        input_scale = np.zeros(x.shape[1], np.float32), np.asarray(input_scale, np.float32)
    n_out = len(classes) if has_labels else target.shape[1]
    return Data(x, target, weights, samples, validation, input_scale, loss, classes, n_out)


def default_loss(y):
    """Return the loss that suits the targets."""
    if y.dtype.kind == "f":
        return "mse"
    return "binary_cross_entropy" if y.ndim == 2 and y.shape[1] > 1 else "cross_entropy"


def encode_target(y, classes, dtype):
    """Return labels as the indices of their classes, or targets (n, n_out) of a dtype if there are no classes."""
    y = np.asarray(y)
    if classes is None:
        return y.reshape(len(y), -1).astype(dtype)
    return np.searchsorted(classes, y)


def weigh_samples(sample_weight, class_weight, classes, target):
    """Return the weight of every sample, or None."""
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


def scaled_rows(x, samples, input_scale, dtype):
    """Return the rows of a batch, multiplied by a number, or each feature by its own: (offset, factor)."""
    if type(input_scale).__name__ == "RobustScale":
        z = (x[samples].astype(np.float64) - input_scale.offset) * input_scale.factor
        return (z / np.sqrt(1 + (z / 3) ** 2)).astype(np.float32).astype(dtype)
    if isinstance(input_scale, tuple):
        offset, factor = (np.asarray(part) for part in input_scale)
        if np.any(offset):
            return gather_standardized(x, samples, offset, factor, dtype)
        return prepare_rows(gather(x, samples, 1, dtype), factor.astype(dtype))
    if isinstance(input_scale, str):
        if input_scale != "auto":
            raise ValueError(f"input_scale must be one of 'auto', 'standardize', 'robust', got {input_scale!r}")
        input_scale = 1 / 255 if x.dtype == np.uint8 else 1.0
    return gather(x, samples, input_scale, dtype)


def standard_scale(x):
    """Return the offset and factor for mean 0 and variance 1; constant features become 0."""
    first, x = x[0].astype(np.float64), x.astype(np.float64)
    mean, deviation = first + (x - first).mean(axis=0), (x - first).std(axis=0)
    with np.errstate(divide="ignore", over="ignore"):
        factor = (1 / deviation).astype(np.float32)
    constant = (deviation <= 1e-15 * np.abs(mean)) | np.isinf(factor)
    return mean, np.where(constant, np.float32(1), factor)


def robust_scale(x):
    """Return the median and inverse interquartile range; half of the range where that is 0, 0 for constant features."""
    least, low, median, high, largest = np.quantile(x.astype(np.float64), [0, 0.25, 0.5, 0.75, 1], axis=0)
    factor = np.zeros(x.shape[1])
    for width in ((largest - least) / 2, high - low):  # the second one where it is not 0
        with np.errstate(divide="ignore"):
            inverse = 1 / width
        factor = np.where(inverse <= np.finfo(np.float32).max, inverse, factor)
    return RobustScale(median, factor)


def epoch_order(samples, shuffle, rng):
    """Return the samples of one epoch in training order."""
    if shuffle == "replacement":
        return samples[rng.integers(0, len(samples), len(samples))]
    return rng.permutation(samples) if shuffle else samples
