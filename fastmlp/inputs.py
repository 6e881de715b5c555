"""The one place where arrays, labels and settings are checked and brought to the kernels' layout.

Kernels have no checks of their own: what comes out of here is what they rely on.
"""

from __future__ import annotations

import numbers
from collections import namedtuple

import numpy as np

from fastmlp.kernels.context import Targets
from fastmlp.kernels.gather import CACHE_LINE, CODED, CSR, KINDS, WORDS, Rows
from fastmlp.kernels.processors import NARROW
from fastmlp.kernels.sparse import GROUP, HASH, encode, make_words
from fastmlp.losses import LOSSES
from fastmlp.parameters import round_up

_LABELS_AT_ONCE = 1 << 20
_CHECK_BYTES = 1 << 22  # how much of x is checked for NaN at a time: the answer's own memory stays small


def _describe(value) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    return repr(value)


def as_array(value, name: str) -> np.ndarray:
    """`value` as an array; errors name the argument."""
    _check_collected(value, name)
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


def _check_collected(value, name: str) -> None:
    """`value` is not a LazyFrame of Polars, which has no numbers yet."""
    if type(value).__name__ == "LazyFrame":
        raise TypeError(f"{name} must be an array or a data frame, got a LazyFrame; pass {name}.collect()")


def feature_names(x, name: str = "x") -> list[str] | None:
    """The names of the columns of a data frame, of pandas or Polars; None for anything else."""
    _check_collected(x, name)
    columns = getattr(x, "columns", None)
    if columns is None or not all(isinstance(column, str) for column in columns):
        return None
    return list(columns)


def _check_names(names: list[str], wanted: list[str], name: str) -> None:
    """The columns of a data frame are those that a model was trained on."""
    if names == wanted:
        return
    missing, unknown = ([c for c in a if c not in set(b)] for a, b in ((wanted, names), (names, wanted)))
    parts = [f"{kind} {_shorten(found)}" for kind, found in (("without", missing), ("with", unknown)) if found]
    raise ValueError(
        f"{name} must have the columns that the model was trained on, {_shorten(wanted)}, "
        f"got a frame {' and '.join(parts) or 'in another order'}"
    )


def _is_frame(x) -> bool:
    """Whether `x` is a data frame, whatever the names of its columns are."""
    return hasattr(x, "columns") and hasattr(x, "dtypes")


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
        _check_names(columns, names, name)
    if _is_frame(x):
        x = _frame_array(x, name)
    elif not is_csr(x):
        x = as_array(x, name)
    if x.dtype.kind not in "buif":
        raise TypeError(f"{name} must hold numbers (uint8, float32 or float64), got {_describe(x)}")
    if x.ndim != 2:
        hint = f"; for one sample pass {name}[None, :]" if x.ndim == 1 else ""
        raise ValueError(f"{name} must have two dimensions (n_samples, n_features), got {_describe(x)}{hint}")
    if x.shape[0] == 0 or x.shape[1] == 0:
        raise ValueError(f"{name} must have at least one sample and one feature, got {_describe(x)}")
    if n_features is not None and x.shape[1] != n_features:
        raise ValueError(f"{name} must have {n_features} features, as the model has inputs, got {_describe(x)}")
    if is_csr(x):
        return _check_csr(x, name)
    if x.dtype != row_dtype(x.dtype):
        x = x.astype(row_dtype(x.dtype))
    if x.strides[1] != x.itemsize or x.strides[0] < x.shape[1] * x.itemsize:
        x = np.ascontiguousarray(x)
    if x.dtype.kind == "f":
        _check_finite(x, name, columns=columns)
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
            _check_finite(x.data[: x.nnz], name)
        except ValueError:
            raise ValueError(f"{name} must be finite (in float32), got NaN, infinity or too large a number") from None
    return x


def _check_finite(x: np.ndarray, name: str, first: int = 0, columns: list[str] | None = None) -> None:
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


# What is subtracted from every feature, and what it is multiplied by then: (n_features,) float64, and float32.
InputScale = namedtuple("InputScale", "offset factor")


def resolve_scale(input_scale, dtype: np.dtype) -> float:
    """The factor of the input: "auto" is 1/255 for uint8, 1 otherwise."""
    if isinstance(input_scale, str):
        return 1 / 255 if dtype == np.uint8 else 1.0
    return float(input_scale)


_NO_INDICES, _NO_STARTS = np.zeros(0, np.uint8), np.zeros(0, np.int64)


def rows_of(x, input_scale) -> Rows:
    """A checked array, or CSR matrix, as the kernels see it."""
    if is_csr(x):
        return _csr_rows(x, input_scale)
    size = (x.shape[0] - 1) * x.strides[0] + x.shape[1] * x.itemsize
    # read-only, whatever the user's array is: Numba compiles once more for another kind of array
    data = np.lib.stride_tricks.as_strided(x[:, :1].view(np.uint8), (size,), (1,), writeable=False)
    scale = np.float32(resolve_scale(input_scale, x.dtype))
    row_bytes = x.shape[1] * x.itemsize
    return Rows(data, KINDS[x.dtype], x.itemsize, row_bytes, x.strides[0], scale, _NO_INDICES, 0, _NO_STARTS)


def _csr_rows(x, input_scale) -> Rows:
    """A checked CSR matrix as the kernels see it; its arrays are copied if their types are not the kernels' own."""
    values = x.data if x.dtype in (np.float32, np.float64) and x.dtype.isnative else x.data.astype(np.float32)
    indices = x.indices if x.indices.dtype in (np.int32, np.int64) and x.indices.dtype.isnative else None
    if indices is None:
        indices = x.indices.astype(np.int64)
    itemsize, index_itemsize = values.itemsize, indices.itemsize
    values, indices = (
        np.require(array[: x.nnz], requirements=["C", "A"]).view(np.uint8) for array in (values, indices)
    )
    values.flags.writeable = indices.flags.writeable = False
    scale = np.float32(resolve_scale(input_scale, x.dtype))
    return Rows(
        values, CSR, itemsize, 0, 0, scale, indices, index_itemsize, x.indptr.astype(np.int64),
    )  # fmt: skip


def coded_rows(x: np.ndarray, input_scale) -> tuple[Rows, np.ndarray] | None:
    """A checked array as rows for the sparse kernels, and the table (256,) float32 of what their bytes stand for.

    Rows are padded to whole cache lines, and there is a row of zeros behind the last.  None for floats that have more
    than 256 values.
    """
    n, n_features = x.shape
    # the kernels read 64 bytes from the first of every 48 on
    stride = round_up(round_up(n_features, 48) + 16, int(CACHE_LINE))
    raw = np.zeros((n + 1) * stride + int(CACHE_LINE), np.uint8)
    data = raw[-raw.ctypes.data % int(CACHE_LINE) :][: (n + 1) * stride]
    if x.dtype == np.uint8:
        data.reshape(n + 1, stride)[:n, :n_features] = x
        values = np.arange(256, dtype=np.float32)
    else:
        encoder = _Encoder()
        for start in range(0, n, 1024):  # no second copy of the whole in float32
            if not encoder.encode(data, start * stride, x[start : start + 1024], stride):
                return None
        values = encoder.values
    table = values * np.float32(resolve_scale(input_scale, x.dtype))
    return Rows(data, CODED, 1, n_features, stride, np.float32(1), _NO_INDICES, 0, _NO_STARTS), table


def coded_words(x, input_scale) -> tuple[Rows, np.ndarray] | None:
    """A checked CSR matrix as words for the sparse kernels, and the table (256,) float32 of what their bytes stand for;
    None where there are more than 256 values."""
    rows = rows_of(x, input_scale)
    values = rows.data.view(np.float32 if rows.itemsize == 4 else np.float64)
    encoder = _Encoder()
    codes = np.zeros(len(values), np.uint8)
    for start in range(0, len(values), 1 << 16):
        if not encoder.encode(codes, start, values[None, start : start + (1 << 16)], 0):
            return None
    words, starts = np.zeros(len(values), np.int64), np.zeros(len(rows.starts), np.int64)
    make_words(words, starts, codes, rows.starts, rows.indices, rows.index_itemsize)
    data = words[: starts[-1]].copy().view(np.uint8)
    return Rows(data, WORDS, 8, 0, 0, np.float32(1), _NO_INDICES, 0, starts), encoder.values * rows.scale


class _Encoder:
    """Gives numbers from 1 to 255 to the float32 values that it is shown, and 0 to 0.0."""

    def __init__(self):
        self.keys, self.codes = np.zeros(HASH, np.uint32), np.zeros(HASH, np.uint8)
        self.bits, self.count = np.zeros(256, np.uint32), 1

    def encode(self, out: np.ndarray, first: int, x: np.ndarray, stride: int) -> bool:
        """Write the codes of (n, m) numbers to `out`, rows `stride` apart; False if there are too many values."""
        bits = np.ascontiguousarray(x, np.float32).view(np.uint32).reshape(-1)
        self.count = encode(out, first, stride, bits, x.shape[1], self.keys, self.codes, self.bits, self.count)
        return self.count <= 256

    @property
    def values(self) -> np.ndarray:
        """What the codes stand for, (256,)"""
        return self.bits.view(np.float32)


# The kernels for inputs that are mostly zero are taken where less than this share of the features of a sample, or of
# its groups of features, are not zero.
_SPARSE_BELOW = {1: 0.35, int(GROUP): 0.6}
_SAMPLED_ROWS = 256


def is_sparse(x: np.ndarray, group: int = 1) -> bool:
    """Whether sparse kernels that take `group` features at a time are faster on checked rows, judged by some."""
    sample = x[:: -(-len(x) // _SAMPLED_ROWS)]
    padded = np.zeros((len(sample), round_up(x.shape[1], group)), bool)
    padded[:, : x.shape[1]] = sample != 0
    groups = np.logical_or.reduce([padded[:, k::group] for k in range(group)])
    return int(np.count_nonzero(groups)) < _SPARSE_BELOW[group] * groups.size


def check_labels(y, n_samples: int, name: str = "y") -> np.ndarray:
    """`y` as a one-dimensional array of integers or strings."""
    y = as_array(y, name)
    if y.dtype == object and y.size:
        y = _typed_labels(y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.dtype.kind not in "biuUS":
        raise TypeError(
            f"{name} must hold labels (integers or strings) for this loss, got {_describe(y)}; "
            'floating-point targets need loss="mse"'
        )
    if y.ndim != 1:
        raise ValueError(f"{name} must have one dimension (n_samples,), got {_describe(y)}")
    _check_length(y, n_samples, name)
    return y


def _typed_labels(y: np.ndarray) -> np.ndarray:
    """An array of objects that are all strings, or all integers, as an array of these; any other as it is."""
    labels = y.ravel().tolist()
    if all(isinstance(label, str) for label in labels):
        return y.astype(str)
    if all(isinstance(label, numbers.Integral) and not isinstance(label, bool) for label in labels):
        for dtype in (np.int64, np.uint64):
            if np.iinfo(dtype).min <= min(labels) and max(labels) <= np.iinfo(dtype).max:
                return y.astype(dtype)
    return y


def _check_length(y: np.ndarray, n_samples: int, name: str) -> None:
    if len(y) != n_samples:
        raise ValueError(f"{name} must have as many samples as x, {n_samples}, got {_describe(y)}")


def find_classes(y: np.ndarray, name: str = "y") -> np.ndarray:
    """The classes among checked labels, sorted."""
    classes = np.unique(y)
    if len(classes) < 2:
        raise ValueError(f"{name} must hold at least two classes, got only {classes[0]!r}")
    return classes


def encode_labels(y: np.ndarray, classes: np.ndarray, name: str = "y") -> Targets:
    """Checked labels as the indices of their classes."""
    if (y.dtype.kind in "US") != (classes.dtype.kind in "US"):
        raise ValueError(f"{name} must hold labels like the model's classes {_shorten(classes)}, got {_describe(y)}")
    codes = np.empty(len(y), np.int32)
    for start in range(0, len(y), _LABELS_AT_ONCE):
        part = y[start : start + _LABELS_AT_ONCE]
        known = part
        if part.dtype.kind not in "US":  # NumPy compares int64 with uint64 as float64, which rounds them
            known = part.astype(classes.dtype)
        index = np.minimum(np.searchsorted(classes, known), len(classes) - 1)
        unseen = classes[index] != known
        if known.dtype != part.dtype:
            unseen |= (known.astype(part.dtype) != part) | ((known < 0) != (part < 0))
        if unseen.any():
            raise ValueError(f"{name} holds labels that the model has not seen: {_shorten(np.unique(part[unseen]))}")
        codes[start : start + _LABELS_AT_ONCE] = index
    return _targets(codes, np.zeros(0, np.float32))


def _shorten(values: np.ndarray | list) -> str:
    shown = ", ".join(repr(v) for v in np.asarray(values)[:5].tolist())
    return f"[{shown}, ...]" if len(values) > 5 else f"[{shown}]"


def check_targets(y, n_samples: int, n_outputs: int | None = None, name: str = "y") -> np.ndarray:
    """Targets of a regression as an array (n_samples, n_outputs) float32."""
    y = as_array(y, name)
    if y.dtype.kind not in "buif":
        raise TypeError(f"{name} must hold numbers for a regression, got {_describe(y)}")
    if y.ndim not in (1, 2):
        raise ValueError(f"{name} must have the shape (n_samples,) or (n_samples, n_outputs), got {_describe(y)}")
    _check_length(y, n_samples, name)
    if y.ndim == 1:
        y = y[:, None]
    if y.shape[1] == 0 or (n_outputs is not None and y.shape[1] != n_outputs):
        raise ValueError(f"{name} must have {n_outputs or 'at least one'} outputs, got {_describe(y)}")
    _check_finite(y, name)
    return np.require(y, np.float32, ["C", "A"])


def take_targets(targets: Targets, samples: np.ndarray, n_outputs: int) -> Targets:
    """The targets of some samples."""
    values = targets.values
    if values.size:
        rows = values[: (values.size - int(NARROW)) // n_outputs * n_outputs].reshape(-1, n_outputs)[samples]
        values = np.concatenate([rows.reshape(-1), np.zeros(int(NARROW), np.float32)])
    labels, weights = (part[samples] if part.size else part for part in (targets.labels, targets.weights))
    for part in (labels, values):  # of the type that kernels are compiled for
        part.flags.writeable = False
    return Targets(labels, values, weights)


def encode_targets(y: np.ndarray) -> Targets:
    """Checked targets of a regression as the kernels see them: whole vectors can be read from the last ones too."""
    values = np.zeros(y.size + int(NARROW), np.float32)
    values[: y.size] = y.reshape(-1)
    return _targets(np.zeros(0, np.int32), values)


def _targets(labels: np.ndarray, values: np.ndarray) -> Targets:
    labels, values = labels.view(), values.view()
    labels.flags.writeable = values.flags.writeable = False
    return Targets(labels, values, np.zeros(0, np.float32))


def check_integer(value, name: str, minimum: int) -> int:
    """`value` as an int of at least `minimum`."""
    wanted = f"{name} must be an integer of at least {minimum}, got {value!r}"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(wanted)
    if value < minimum:
        raise ValueError(wanted)
    return int(value)


_LARGEST = float(np.finfo(np.float32).max)  # kernels compute in float32
_SMALLEST = float(np.finfo(np.float32).smallest_subnormal)


def _check_real(value, wanted: str, least: float, most: float) -> float:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{wanted}, got {value!r}")
    try:
        number = float(value)
    except OverflowError:  # an int too large for any float
        number = float("nan")
    if not least <= number <= most:
        raise ValueError(f"{wanted}, got {value!r}")
    return number


def check_positive(value, name: str) -> float:
    """`value` as a finite float greater than 0."""
    return _check_real(value, f"{name} must be a finite number greater than 0", _SMALLEST, _LARGEST)


def check_number(value, name: str) -> float:
    """`value` as a finite float of at least 0."""
    return _check_real(value, f"{name} must be a finite number of at least 0", 0.0, _LARGEST)


def check_share(value, name: str) -> float:
    """`value` as a float of at least 0 and less than 1, in float32 too."""
    wanted = f"{name} must be a number of at least 0 and less than 1"
    number = _check_real(value, wanted, 0.0, float(np.nextafter(1.0, 0.0)))
    if np.float32(number) == 1:
        raise ValueError(f"{wanted}, got {value!r}, which is 1 in float32")
    return number


def check_choice(value, name: str, choices) -> None:
    """`value` is one of `choices`."""
    if not any(value is choice or (isinstance(value, str) and value == choice) for choice in choices):
        known = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {known}, got {value!r}")


def check_hidden(hidden, name: str = "hidden") -> tuple[int, ...]:
    """Widths of hidden layers; one number stands for one layer."""
    if isinstance(hidden, numbers.Integral) and not isinstance(hidden, bool):
        hidden = (hidden,)
    try:
        widths = tuple(hidden)
    except TypeError:
        raise TypeError(f"{name} must be a sequence of widths, like (128,), got {hidden!r}") from None
    return tuple(check_integer(width, f"{name}: every width", 1) for width in widths)


def check_activations(activation, n_hidden: int, known) -> list[str]:
    """The activation of every hidden layer."""
    try:
        names = [activation] * n_hidden if isinstance(activation, str) else list(activation)
    except TypeError:
        raise TypeError(f"activation must be one name, or one per hidden layer, got {activation!r}") from None
    if isinstance(activation, str):
        check_choice(activation, "activation", known)
    for name in names:
        check_choice(name, "activation", known)
    if len(names) != n_hidden:
        raise ValueError(f"activation must be one name, or one per hidden layer ({n_hidden}), got {activation!r}")
    return names


def check_input_scale(input_scale, n_features: int):
    """ "auto", "standardize", a number, or an InputScale of checked arrays."""
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
            raise TypeError(f"input_scale must hold numbers, got {_describe(array)}")
        if array.shape != (n_features,):
            raise ValueError(
                f"input_scale must be a number, or one for each of {n_features} features, got {_describe(array)}"
            )
        if not (np.abs(array.astype(np.float64)) <= _LARGEST).all():
            raise ValueError("input_scale must be finite, in float32 too")
        arrays.append(np.array(array, np.float64))
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


def check_multilabel(y, n_samples: int, n_outputs: int | None = None, name: str = "y") -> np.ndarray:
    """Targets of the binary cross-entropy, (n_samples, n_outputs) float32 from 0 to 1."""
    y = check_targets(y, n_samples, n_outputs, name)
    if y.min() < 0 or y.max() > 1:
        raise ValueError(f"{name} must hold 0 and 1, or probabilities, for the loss binary_cross_entropy")
    return y


def check_counts(y, n_samples: int, n_outputs: int | None = None, name: str = "y") -> np.ndarray:
    """Targets of a Poisson regression."""
    y = check_targets(y, n_samples, n_outputs, name)
    if y.min() < 0:
        raise ValueError(f"{name} must hold numbers of at least 0 for the loss poisson, got {float(y.min())!r}")
    return y


def check_sample_weight(sample_weight, n_samples: int, name: str = "sample_weight") -> np.ndarray:
    """Weights of samples as an array (n_samples,) float32, over a power of two that leaves the largest below 1.

    Losses and gradients are weighted means, which that does not change; tiny weights do not become 0 in float32, nor
    losses infinite by large ones.
    """
    weights = as_array(sample_weight, name)
    if weights.dtype.kind not in "buif":
        raise TypeError(f"{name} must hold numbers of at least 0, got {_describe(weights)}")
    if weights.shape != (n_samples,):
        raise ValueError(f"{name} must have one number for each of {n_samples} samples, got {_describe(weights)}")
    if not (weights.min() >= 0 and weights.max() <= _LARGEST):
        raise ValueError(f"{name} must hold finite numbers of at least 0")
    if not weights.any():
        raise ValueError(f"{name} must not be 0 for every sample")
    weights = weights.astype(np.float64)
    return np.ldexp(weights, -int(np.frexp(weights.max())[1])).astype(np.float32)


def check_not_weightless(weights: np.ndarray | None, samples: np.ndarray, purpose: str) -> None:
    """Not all of some samples have the weight 0; `weights` is empty, or None, where all samples have the same."""
    if weights is not None and len(weights) and not weights[samples].any():
        raise ValueError(
            f"sample_weight must not be 0 for every sample that is {purpose}, of which there are {len(samples)}"
        )


def class_weights(class_weight, classes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The weight of every class: from "balanced", n_samples / (n_classes * its samples), or a dict of labels."""
    if isinstance(class_weight, str):
        check_choice(class_weight, "class_weight", ("balanced",))
        counts = np.bincount(labels, minlength=len(classes))
        return len(labels) / (len(classes) * np.maximum(counts, 1))
    if not isinstance(class_weight, dict):
        raise TypeError(f'class_weight must be "balanced" or a dict of labels and numbers, got {class_weight!r}')
    weights = np.ones(len(classes))
    for label, weight in class_weight.items():
        index = np.flatnonzero(classes == label)
        if index.size != 1:
            raise ValueError(f"class_weight holds {label!r}, which is not among the classes {_shorten(classes)}")
        weights[index[0]] = check_number(weight, f"class_weight of {label!r}")
    return weights


_TARGET_CHECKS = {"fractions": check_multilabel, "counts": check_counts, "numbers": check_targets}


def check_by_elements(loss: str):
    """What checks the targets of a loss that has one for each output."""
    kind = LOSSES[loss].targets
    if kind not in _TARGET_CHECKS:
        raise ValueError(f"targets of the loss {loss!r} must be one of {', '.join(_TARGET_CHECKS)}, got {kind!r}")
    return _TARGET_CHECKS[kind]


def check_classes(classes) -> np.ndarray:
    """All labels there are, sorted."""
    classes = as_array(classes, "classes")
    return find_classes(check_labels(classes, len(np.atleast_1d(classes)), "classes"), "classes")


def check_field(owner, name, minimum=0.0, exclusive=False):
    """A number that a schedule, or an optimizer, has under a name."""
    value = getattr(owner, name)
    bound = f"greater than {minimum:g}" if exclusive else f"at least {minimum:g}"
    wanted = f"{type(owner).__name__}: {name} must be a finite number {bound}, got {value!r}"
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(wanted)
    if not abs(value) <= _LARGEST or value < minimum or (exclusive and value == minimum):
        raise ValueError(wanted)
