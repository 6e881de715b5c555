"""Check samples: arrays, data frames and sparse matrices."""

from __future__ import annotations

import numpy as np

from fastmlp.checks import describe, shorten
from fastmlp.kernels.ops.gather import KINDS

_CHECK_BYTES = 1 << 22  # how much of x is checked for NaN at a time: the answer's own memory stays small


def as_array(value, name: str) -> np.ndarray:
    """`value` as an array; errors name the argument."""
    check_collected(value, name)
    if isinstance(value, np.ma.MaskedArray):
        if np.ma.is_masked(value):
            raise ValueError(
                f"{name} must not be masked, got a masked array of shape {value.shape}; leave the masked samples out, "
                f"or replace masked values by {name}.filled(...)"
            )
        value = value.data
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be an array, or lists of equal lengths: {error}") from None
    except (TypeError, RuntimeError) as error:  # a tensor of PyTorch that has a gradient raises the second
        raise TypeError(f"{name} must be an array, got {type(value).__name__}: {error}") from None


def check_collected(value, name: str) -> None:
    """`value` is not a LazyFrame of Polars, which has no numbers yet."""
    if type(value).__name__ == "LazyFrame":
        raise TypeError(f"{name} must be an array or a data frame, got a LazyFrame; pass {name}.collect()")


def feature_names(x, name: str = "x") -> list[str] | None:
    """The names of the columns of a data frame, of pandas or Polars; None for anything else."""
    check_collected(x, name)
    columns = getattr(x, "columns", None)
    if columns is None or not all(isinstance(column, str) for column in columns):
        return None
    return list(columns)


def check_names(names: list[str], wanted: list[str], name: str) -> None:
    """The columns of a data frame are those that a model was trained on."""
    if names == wanted:
        return
    missing, unknown = ([c for c in a if c not in set(b)] for a, b in ((wanted, names), (names, wanted)))
    parts = [f"{kind} {shorten(found)}" for kind, found in (("without", missing), ("with", unknown)) if found]
    raise ValueError(
        f"{name} must have the columns that the model was trained on, {shorten(wanted)}, "
        f"got a frame {' and '.join(parts) or 'in another order'}"
    )


def is_frame(x) -> bool:
    """Whether `x` is a data frame, whatever the names of its columns are."""
    # asking a LazyFrame for its columns warns; it is refused elsewhere
    return type(x).__name__ != "LazyFrame" and hasattr(x, "columns") and hasattr(x, "dtypes")


def _frame_array(frame, name: str) -> np.ndarray:
    """A data frame's numbers."""
    array = as_array(frame, name)
    if array.dtype.kind in "buif":
        return array
    columns = []  # numbers of several kinds, or with pandas' NA
    for k, (column, dtype) in enumerate(zip(frame.columns, frame.dtypes)):
        series = frame.iloc[:, k] if hasattr(frame, "iloc") else frame[column]
        values = as_array(series, name)
        if values.dtype.kind not in "buif":
            missing = ", which has missing values" if hasattr(series, "isna") and series.isna().any() else ""
            raise TypeError(f"{name} must hold numbers, got the column {column!r} of dtype {dtype}{missing}")
        columns.append(values.astype(np.float64))
    return np.stack(columns, axis=1)


def check_features(x, n_features: int | None = None, name: str = "x", names: list[str] | None = None) -> np.ndarray:
    """`x` as a two-dimensional array of uint8, float32 or float64 whose rows are contiguous.

    Arrays of these types are not copied if their rows are contiguous; `row_dtype` tells what others become.  Sparse
    matrices of SciPy come back as a CSR matrix in canonical form, of whatever numbers they hold.  The columns of a data
    frame must have the `names` that a model has.
    """
    columns = feature_names(x, name)
    if columns is not None and names is not None:
        check_names(columns, names, name)
    if is_frame(x):
        x = _frame_array(x, name)
    elif not is_csr(x):
        x = as_array(x, name)
    if x.dtype.kind not in "buif":
        raise TypeError(f"{name} must hold numbers (uint8, float32 or float64), got {describe(x)}")
    if x.ndim != 2:
        hint = f"; for one sample pass {name}[None, :]" if x.ndim == 1 else ""
        raise ValueError(f"{name} must have two dimensions (n_samples, n_features), got {describe(x)}{hint}")
    if x.shape[0] == 0 or x.shape[1] == 0:
        raise ValueError(f"{name} must have at least one sample and one feature, got {describe(x)}")
    if n_features is not None and x.shape[1] != n_features:
        raise ValueError(f"{name} must have {n_features} features, as the model has inputs, got {describe(x)}")
    if is_csr(x):
        return _check_csr(x, name)
    if x.dtype != row_dtype(x.dtype):
        x = x.astype(row_dtype(x.dtype))
    if x.strides[1] != x.itemsize or x.strides[0] < x.shape[1] * x.itemsize:
        x = np.ascontiguousarray(x)
    if x.dtype.kind == "f":
        check_finite(x, name, columns=columns)
    return x


def row_dtype(dtype: np.dtype) -> np.dtype:
    """What kernels read numbers of a dtype as: themselves, or the smaller one of float32 and float64 that has all their
    digits, as an input scale may subtract a large number from them."""
    dtype = dtype.newbyteorder("=")
    if dtype in KINDS:
        return dtype
    return np.dtype(np.float64 if dtype.kind in "iuf" and dtype.itemsize >= 4 else np.float32)


def memmap_of(array) -> np.memmap | None:
    """The memmap that an array is, or is a view of; None if it is in memory, as sums of memmaps are."""
    base = array if isinstance(array, np.ndarray) else None
    while base is not None and not (isinstance(base, np.memmap) and getattr(base, "_mmap", None) is not None):
        base = getattr(base, "base", None)
    return base


def is_csr(x) -> bool:
    """Whether `x` is a sparse matrix of SciPy, which is not imported for it."""
    return hasattr(x, "tocsr")


def _check_csr(x, name: str):
    """A sparse matrix as CSR in canonical form, with finite values and with indices that are in range."""
    x = x.tocsr()
    n, n_features = x.shape
    starts, indices = x.indptr, x.indices
    if n_features >= 2**31:
        raise ValueError(f"{name} must have less than 2**31 features, got {n_features}")
    # kernels rely on all of this, whatever has been done to the matrix's arrays
    if not (
        len(starts) == n + 1 and starts[0] == 0 and (starts[1:] >= starts[:-1]).all()
        and starts[-1] <= min(len(indices), len(x.data))
        and (starts[-1] == 0 or 0 <= indices[: starts[-1]].min() <= indices[: starts[-1]].max() < n_features)
    ):  # fmt: skip
        raise ValueError(f"{name} is not a valid CSR matrix: its indptr or indices are out of range")
    x = type(x)((x.data, indices, starts), shape=x.shape)  # a new one: it knows nothing of the order yet
    if not x.has_canonical_format:
        x = x.copy()
        x.sum_duplicates()
    if x.dtype.kind == "f":
        try:
            check_finite(x.data[: x.nnz], name)
        except ValueError:
            raise ValueError(f"{name} must be finite (in float32), got NaN, infinity or too large a number") from None
    return x


def check_finite(x: np.ndarray, name: str, first: int = 0, columns: list[str] | None = None) -> None:
    """All of x, the rows of an array from `first` on, is finite, in float32 too; errors name the one of the columns."""
    largest = np.finfo(np.float32).max
    step = max(1, _CHECK_BYTES // max(1, x[:1].nbytes))
    for start in range(0, len(x), step):
        part = x[start : start + step]
        # NaN fails every comparison, and both bounds refuse infinity and what is infinite in float32
        if not (part.min() >= -largest and part.max() <= largest):
            row, column = np.argwhere(~(np.abs(part.reshape(len(part), -1)) <= largest))[0]
            where = f"row {first + start + row}" + ("" if columns is None else f", column {columns[column]!r}")
            raise ValueError(f"{name} must be finite (in float32), got NaN, infinity or too large a number in {where}")
