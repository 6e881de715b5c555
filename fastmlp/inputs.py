"""The one place where arrays, labels and settings are checked and brought to the kernels' layout.

Kernels have no checks of their own: what comes out of here is what they rely on.
"""

from __future__ import annotations

import numbers

import numpy as np

from fastmlp.kernels.epoch import Targets
from fastmlp.kernels.gather import CACHE_LINE, CODED, KINDS, Rows
from fastmlp.kernels.sparse import GROUP, HASH, encode
from fastmlp.parameters import round_up

_CHECK_BYTES = 1 << 22  # how much of x is checked for NaN at a time: the answer's own memory stays small


def _describe(value) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    return repr(value)


def as_array(value, name: str) -> np.ndarray:
    """`value` as an array; the error for nested lists of unequal lengths names the argument."""
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be an array, or lists of equal lengths: {error}") from None


def check_features(x, n_features: int | None = None, name: str = "x") -> np.ndarray:
    """`x` as a two-dimensional array of uint8, float32 or float64 whose rows are contiguous.

    Arrays of these types are not copied if their rows are contiguous; other numbers become float32.
    """
    if hasattr(x, "tocsr"):
        raise TypeError(f"{name} is a sparse matrix, which is not supported yet; pass {name}.toarray()")
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
    if x.dtype not in KINDS or not x.dtype.isnative:
        x = x.astype(np.float64 if x.dtype.kind == "f" and x.dtype.itemsize >= 8 else np.float32)
    if x.strides[1] != x.itemsize or x.strides[0] < x.shape[1] * x.itemsize:
        x = np.ascontiguousarray(x)
    if x.dtype.kind == "f":
        _check_finite(x, name)
    return x


def _check_finite(x: np.ndarray, name: str) -> None:
    """All of x is finite, in float32 too."""
    largest = np.finfo(np.float32).max
    step = max(1, _CHECK_BYTES // max(1, x[:1].nbytes))
    for start in range(0, len(x), step):
        part = x[start : start + step]
        # NaN fails every comparison, and both bounds refuse infinity and what is infinite in float32
        if not (part.min() >= -largest and part.max() <= largest):
            row = start + int(np.flatnonzero(~(np.abs(part.reshape(len(part), -1)) <= largest).all(axis=1))[0])
            raise ValueError(
                f"{name} must be finite (in float32), got NaN, infinity or too large a number in row {row}"
            )


def resolve_scale(input_scale, dtype: np.dtype) -> float:
    """The factor of the input: "auto" is 1/255 for uint8, 1 otherwise."""
    if isinstance(input_scale, str):
        return 1 / 255 if dtype == np.uint8 else 1.0
    return float(input_scale)


def rows_of(x: np.ndarray, input_scale) -> Rows:
    """A checked array as the kernels see it."""
    size = (x.shape[0] - 1) * x.strides[0] + x.shape[1] * x.itemsize
    # read-only, whatever the user's array is: Numba compiles once more for another kind of array
    data = np.lib.stride_tricks.as_strided(x[:, :1].view(np.uint8), (size,), (1,), writeable=False)
    scale = np.float32(resolve_scale(input_scale, x.dtype))
    return Rows(data, KINDS[x.dtype], x.itemsize, x.shape[1] * x.itemsize, x.strides[0], scale)


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
        keys, codes, bits = np.zeros(HASH, np.uint32), np.zeros(HASH, np.uint8), np.zeros(256, np.uint32)
        count = 1
        for start in range(0, n, 1024):  # no second copy of the whole in float32
            part = np.ascontiguousarray(x[start : start + 1024], np.float32).view(np.uint32).reshape(-1)
            count = encode(data, start * stride, stride, part, n_features, keys, codes, bits, count)
            if count > 256:
                return None
        values = bits.view(np.float32)
    table = values * np.float32(resolve_scale(input_scale, x.dtype))
    return Rows(data, CODED, 1, n_features, stride, np.float32(1)), table


# The sparse kernels are taken where less than this share of the groups of features of a sample hold a non-zero one.
SPARSE_BELOW = 0.6
_SAMPLED_ROWS = 256


def is_sparse(x: np.ndarray) -> bool:
    """Whether the sparse kernels are faster on a checked array, judged by some of its rows."""
    sample = x[:: -(-len(x) // _SAMPLED_ROWS)]
    padded = np.zeros((len(sample), -(-x.shape[1] // int(GROUP)) * int(GROUP)), bool)
    padded[:, : x.shape[1]] = sample != 0
    groups = padded[:, 0::3] | padded[:, 1::3] | padded[:, 2::3]
    return int(np.count_nonzero(groups)) < SPARSE_BELOW * groups.size


def check_labels(y, n_samples: int, name: str = "y") -> np.ndarray:
    """`y` as a one-dimensional array of integers or strings."""
    y = as_array(y, name)
    if y.dtype == object and y.size and all(isinstance(label, str) for label in y.ravel()):
        y = y.astype(str)
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
    index = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
    unseen = classes[index] != y
    if unseen.any():
        raise ValueError(f"{name} holds labels that the model has not seen: {_shorten(np.unique(y[unseen]))}")
    return _targets(index.astype(np.int32), np.zeros(0, np.float32))


def _shorten(values: np.ndarray) -> str:
    shown = ", ".join(repr(v) for v in values[:5].tolist())
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


def encode_targets(y: np.ndarray) -> Targets:
    """Checked targets of a regression as the kernels see them."""
    return _targets(np.zeros(0, np.int32), y.reshape(-1))


def _targets(labels: np.ndarray, values: np.ndarray) -> Targets:
    labels, values = labels.view(), values.view()
    labels.flags.writeable = values.flags.writeable = False
    return Targets(labels, values)


def check_integer(value, name: str, minimum: int) -> int:
    """`value` as an int of at least `minimum`."""
    wanted = f"{name} must be an integer of at least {minimum}, got {value!r}"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(wanted)
    if value < minimum:
        raise ValueError(wanted)
    return int(value)


def check_positive(value, name: str) -> float:
    """`value` as a finite float greater than 0."""
    wanted = f"{name} must be a finite number greater than 0, got {value!r}"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(wanted)
    try:
        number = float(value)
    except OverflowError:  # an int too large for any float
        raise ValueError(wanted) from None
    if not 0 < number <= float(np.finfo(np.float32).max):  # kernels compute in float32
        raise ValueError(wanted)
    return number


def check_choice(value, name: str, choices) -> None:
    """`value` is one of `choices`."""
    if not any(value is choice or (isinstance(value, str) and value == choice) for choice in choices):
        known = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {known}, got {value!r}")


def check_hidden(hidden) -> tuple[int, ...]:
    """Widths of hidden layers; one number stands for one layer."""
    if isinstance(hidden, numbers.Integral) and not isinstance(hidden, bool):
        hidden = (hidden,)
    try:
        widths = tuple(hidden)
    except TypeError:
        raise TypeError(f"hidden must be a sequence of widths, like (128,), got {hidden!r}") from None
    return tuple(check_integer(width, "hidden: every width", 1) for width in widths)


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


def check_input_scale(input_scale):
    """ "auto" or a number."""
    if isinstance(input_scale, str):
        check_choice(input_scale, "input_scale", ("auto",))
        return input_scale
    return check_positive(input_scale, "input_scale")
