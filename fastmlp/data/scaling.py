"""The scale of the input: a factor, or an offset and a factor for each feature."""

from __future__ import annotations

import numbers
from collections import namedtuple

import numpy as np

from fastmlp.checks import LARGEST, check_choice, check_positive, describe
from fastmlp.data.arrays import as_array, is_csr

# The number subtracted from every feature, float64, and the factor it is multiplied by, float32: (n_features,) each.
InputScale = namedtuple("InputScale", "offset factor")


def resolve_scale(input_scale, dtype: np.dtype) -> float:
    """Return the factor of the input: "auto" is 1/255 for uint8, 1 otherwise."""
    if isinstance(input_scale, str):
        return 1 / 255 if dtype == np.uint8 else 1.0
    return float(input_scale)


def check_input_scale(input_scale, n_features: int):
    """Return "auto", "standardize", a number, or an InputScale of checked arrays."""
    if isinstance(input_scale, str):
        check_choice(input_scale, "input_scale", ("auto", "standardize"))
        return input_scale
    if not isinstance(input_scale, InputScale):
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
        if not (np.abs(array.astype(np.float64)) <= LARGEST).all():
            raise ValueError("input_scale must be finite, in float32 too")
        arrays.append(np.array(array, np.float64))
    scale = InputScale(arrays[0], arrays[1].astype(np.float32))
    for part in scale:  # what a model has is replaced as a whole, and then checked
        part.flags.writeable = False
    return scale


def standard_scale(x, samples: np.ndarray | None = None) -> InputScale:
    """Return the scale with which every feature of a checked array has mean 0 and variance 1 over `samples`.

    Constant features become 0.  CSR matrices stay sparse: their features are only divided by their deviation.
    """
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


def _first_row(x) -> np.ndarray:
    """Return the first row of an array or CSR matrix, (n_features,) float64."""
    if not is_csr(x):
        return np.array(x[0], np.float64)
    row = np.zeros(x.shape[1])
    row[x.indices[: x.indptr[1]]] = x.data[: x.indptr[1]]
    return row


def _chunks(x, samples):
    """Yield the rows of a checked array in parts that are not too large."""
    n = x.shape[0] if samples is None else len(samples)
    step = max(1, (1 << 22) // max(1, x.shape[1]))
    for start in range(0, n, step):
        end = min(start + step, n)
        if hasattr(x, "rows"):  # a stream
            yield x.rows(start, end)
        else:
            yield x[start:end] if samples is None else x[samples[start:end]]
