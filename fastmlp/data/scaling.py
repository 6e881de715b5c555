"""The scale of the input: a factor, or an offset and a factor for each feature, with smooth clipping or without."""

from __future__ import annotations

import numbers
from collections import namedtuple
from typing import NamedTuple

import numpy as np

from fastmlp.checks import _LARGEST, check_choice, check_positive, describe
from fastmlp.data.arrays import as_array, is_csr

# What is subtracted from every feature, and what it is multiplied by then: (n_features,) float64, and float32.
InputScale = namedtuple("InputScale", "offset factor")

# The bound that smooth clipping approaches.
CLIP = 3.0
_AT_ONCE = 1 << 18  # numbers scaled at a time, in float64: they stay in the second-level cache
_QUARTILES_AT_ONCE = 1 << 22  # numbers copied at a time to find quartiles


class RobustScale(NamedTuple):
    """The scale of ``input_scale="robust"``: ``smooth_clip((x - offset) * factor)``.

    Attributes
    ----------
    offset, factor : ndarray (n_features,) of float64
        Median, and the inverse of the interquartile range; see `robust_scale`.
    """

    offset: np.ndarray
    factor: np.ndarray

    def apply(self, x: np.ndarray, name: str = "x") -> np.ndarray:
        """Return the scaled samples, computed in float64, as a new array (n, n_features) of float32."""
        if is_csr(x):
            raise ValueError(
                f"{name} must be an array with input_scale='robust', which moves zeros, got a sparse matrix; pass "
                f"{name}.toarray(), or train with input_scale='standardize'"
            )
        out = np.empty(x.shape, np.float32)
        step = max(1, _AT_ONCE // x.shape[1])
        for start in range(0, len(x), step):
            out[start : start + step] = smooth_clip((x[start : start + step] - self.offset) * self.factor)
        return out


def smooth_clip(z: np.ndarray) -> np.ndarray:
    """Return z / sqrt(1 + (z / 3)**2): nearly z around 0, and bounded by -3 and 3.

    From Holzmüller, Grinsztajn and Steinwart (2024), "Better by default: Strong pre-tuned MLPs and boosted trees on
    tabular data", arXiv 2407.04491.
    """
    return z / np.sqrt(1 + (z / CLIP) ** 2)


SCALES = ("auto", "standardize", "robust")


def resolve_scale(input_scale, dtype: np.dtype) -> float:
    """The factor of the input: "auto" is 1/255 for uint8, 1 otherwise."""
    if isinstance(input_scale, str):
        return 1 / 255 if dtype == np.uint8 else 1.0
    return float(input_scale)


def check_input_scale(input_scale, n_features: int):
    """Return "auto", "standardize", "robust", a number, or an InputScale or RobustScale of checked arrays."""
    if isinstance(input_scale, str):
        check_choice(input_scale, "input_scale", SCALES)
        return input_scale
    if not isinstance(input_scale, (InputScale, RobustScale)):
        if isinstance(input_scale, numbers.Real) or as_array(input_scale, "input_scale").ndim == 0:
            return check_positive(input_scale, "input_scale")
        input_scale = InputScale(np.zeros(n_features), input_scale)
    arrays = []
    for part in input_scale:
        array = as_array(part, "input_scale")
        if array.dtype.kind not in "buif":
            raise TypeError(f"input_scale must hold numbers, got {describe(array)}")
        if array.shape != (n_features,):
            raise ValueError(
                f"input_scale must be a number, or one for each of {n_features} features, got {describe(array)}"
            )
        if not (np.abs(array.astype(np.float64)) <= _LARGEST).all():
            raise ValueError("input_scale must be finite, in float32 too")
        arrays.append(np.array(array, np.float64))
    scale: InputScale | RobustScale
    if isinstance(input_scale, RobustScale):
        scale = RobustScale(*arrays)
    else:
        scale = InputScale(arrays[0], arrays[1].astype(np.float32))
    for part in scale:  # what a model has is replaced as a whole, and then checked
        part.flags.writeable = False
    return scale


def standard_scale(x, samples: np.ndarray | None = None) -> InputScale:
    """What brings every feature of a checked array to the mean 0 and the variance 1 over `samples` (all by default);
    those that are constant become 0.  CSR matrices stay sparse: their features are divided by their deviation alone."""
    n_features = x.shape[1]
    total, squares, shift, count = np.zeros(n_features), np.zeros(n_features), np.zeros(n_features), 0
    stored = np.zeros(n_features, np.int64)
    for part in _chunks(x, samples):
        # sums around the first sample: large numbers that differ by little keep their digits, and the difference of
        # constant ones is 0
        if count == 0:
            shift = _first_row(part)
        if is_csr(part):
            values = part.data[: part.nnz].astype(np.float64) - shift[part.indices]
            total += np.bincount(part.indices, values, n_features)
            squares += np.bincount(part.indices, values * values, n_features)
            stored += np.bincount(part.indices, minlength=n_features)
        else:
            values = np.asarray(part, np.float64) - shift
            total += values.sum(axis=0)
            squares += (values * values).sum(axis=0)
            stored += len(part)
        count += part.shape[0]
    zeros = count - stored
    mean = (total - zeros * shift) / count
    deviation = np.sqrt(np.maximum((squares + zeros * shift * shift) / count - mean * mean, 0))
    with np.errstate(divide="ignore", over="ignore"):
        factor = (1 / deviation).astype(np.float32)
    # differences in the last digits of float64 are those of rounding
    constant = (deviation <= 1e-15 * np.abs(mean + shift)) | np.isinf(factor)
    offset = np.zeros(n_features) if is_csr(x) else mean + shift
    return check_input_scale(InputScale(offset, np.where(constant, np.float32(1), factor)), n_features)


def robust_scale(x, samples: np.ndarray | None = None) -> RobustScale:
    """Return the median of every feature of a checked array over `samples` (all by default), and the inverse of its
    interquartile range.

    Where that range is 0, it is half of the range from the least to the largest; the factor of a constant feature is 0.
    So it is in RealMLP, see `smooth_clip`.
    """
    if is_csr(x) or not isinstance(x, np.ndarray):
        raise ValueError(
            "input_scale='robust' needs medians of an array in memory, got x as a "
            + ("sparse matrix; take input_scale='standardize'" if is_csr(x) else "memmap or folder read in parts")
        )
    n_features = x.shape[1]
    quartiles = np.empty((5, n_features))
    n = len(x) if samples is None else len(samples)
    step = max(1, _QUARTILES_AT_ONCE // n)
    for start in range(0, n_features, step):  # the copies of a few features at a time
        part = x[:, start : start + step]
        part = np.ascontiguousarray(part.T if samples is None else part[samples].T)
        quartiles[:, start : start + step] = _quartiles(part)
    least, low, median, high, largest = quartiles
    with np.errstate(divide="ignore"):
        factors = 1 / (high - low), 2 / (largest - least)
    usable = [factor <= _LARGEST for factor in factors]
    return check_input_scale(RobustScale(median, np.select(usable, factors, 0.0)), n_features)


def _quartiles(features: np.ndarray) -> np.ndarray:
    """Return minimum, quartiles and maximum of contiguous rows, (5, n) float64, interpolated linearly between values.

    In float64, unlike those of `numpy.quantile`.
    """
    positions = (features.shape[1] - 1) * np.array([0, 0.25, 0.5, 0.75, 1])
    below, above = np.floor(positions).astype(int), np.ceil(positions).astype(int)
    ordered = np.partition(features, np.union1d(below, above), axis=1).astype(np.float64, copy=False)
    below_values, above_values = ordered[:, below], ordered[:, above]
    return (below_values + (positions - below) * (above_values - below_values)).T


def _first_row(x) -> np.ndarray:
    """The first row of an array or CSR matrix, (n_features,) float64."""
    if not is_csr(x):
        return np.array(x[0], np.float64)
    row = np.zeros(x.shape[1])
    row[x.indices[: x.indptr[1]]] = x.data[: x.indptr[1]]
    return row


def _chunks(x, samples):
    """Some of a checked array's rows after the other, not too many at a time."""
    n = x.shape[0] if samples is None else len(samples)
    step = max(1, (1 << 22) // max(1, x.shape[1]))
    for start in range(0, n, step):
        end = min(start + step, n)
        if hasattr(x, "rows"):  # a stream
            yield x.rows(start, end)
        else:
            yield x[start:end] if samples is None else x[samples[start:end]]
