"""Encode checked samples as the rows that kernels read."""

from __future__ import annotations

import numpy as np

from fastmlp.data.arrays import is_csr
from fastmlp.data.once import Once
from fastmlp.data.scaling import RobustScale, resolve_scale
from fastmlp.kernels.ops.gather import CACHE_LINE, CODED, CSR, KINDS, WORDS, Rows
from fastmlp.kernels.ops.grouped import GROUP, HASH_SIZE, encode, make_words
from fastmlp.memory import round_up

_NO_INDICES, _NO_STARTS = np.zeros(0, np.uint8), np.zeros(0, np.int64)


class Encodings:
    """A checked array or CSR matrix in the forms that kernels read.

    Each form is made when it is asked for first, and then shared by all executors, in any thread: none changes it.
    """

    def __init__(self, x):
        self.x = x
        self._made = Once()

    def scaled(self, scale: RobustScale) -> Encodings:
        """Return the encodings of the scaled copy."""
        key = tuple(part.tobytes() for part in scale)
        return self._made.get(key, lambda: Encodings(scale.apply(self.x)))

    def is_sparse(self, group: int = 1) -> bool:
        """See `is_sparse`."""
        return self._made.get(("is_sparse", group), lambda: is_sparse(self.x, group))

    def rows(self, input_scale) -> Rows:
        """See `rows_of`."""
        rows = self._made.get("rows", lambda: rows_of(self.x, 1.0))
        return rows._replace(scale=np.float32(resolve_scale(input_scale, self.x.dtype)))

    def coded(self, input_scale) -> tuple[Rows, np.ndarray] | None:
        """See `coded_rows`, and for a CSR matrix `coded_words`."""
        encode = coded_words if is_csr(self.x) else coded_rows
        coded = self._made.get("coded", lambda: encode(self.x, 1.0))
        return coded and (coded[0], coded[1] * np.float32(resolve_scale(input_scale, self.x.dtype)))


def rows_of(x, input_scale) -> Rows:
    """Return a checked array, or CSR matrix, as kernels read it."""
    if is_csr(x):
        return _csr_rows(x, input_scale)
    size = (x.shape[0] - 1) * x.strides[0] + x.shape[1] * x.itemsize
    # read-only, whatever the user's array is: Numba compiles once more for another kind of array
    data = np.lib.stride_tricks.as_strided(x[:, :1].view(np.uint8), (size,), (1,), writeable=False)
    scale = np.float32(resolve_scale(input_scale, x.dtype))
    row_bytes = x.shape[1] * x.itemsize
    return Rows(data, KINDS[x.dtype], x.itemsize, row_bytes, x.strides[0], scale, _NO_INDICES, 0, _NO_STARTS)


def _csr_rows(x, input_scale) -> Rows:
    """Return a checked CSR matrix as kernels read it; arrays of other types than theirs are copied."""
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
    """Return a checked array as rows of bytes for the grouped sparse kernels, and a table of their values, (256,).

    Rows are padded to whole cache lines, and a row of zeros follows the last.  Return None for floats with more than
    256 different values.
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
    """Return a checked CSR matrix as words for the grouped sparse kernels, and a table of their values, (256,).

    Return None if there are more than 256 different values.
    """
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
    """Encodes float32 values as bytes: 0.0 as 0, and the others as 1 to 255 in order of appearance."""

    def __init__(self):
        self.keys, self.codes = np.zeros(HASH_SIZE, np.uint32), np.zeros(HASH_SIZE, np.uint8)
        self.bits, self.count = np.zeros(256, np.uint32), 1

    def encode(self, out: np.ndarray, first: int, x: np.ndarray, stride: int) -> bool:
        """Write the codes of (n, m) numbers to `out`, rows `stride` apart; return whether there are codes enough."""
        bits = np.ascontiguousarray(x, np.float32).view(np.uint32).reshape(-1)
        self.count = encode(out, first, stride, bits, x.shape[1], self.keys, self.codes, self.bits, self.count)
        return self.count <= 256

    @property
    def values(self) -> np.ndarray:
        """The values of the codes, (256,)."""
        return self.bits.view(np.float32)


# Inputs count as sparse if less than this fraction of the features, or of the groups of features, is not zero.
_SPARSE_BELOW = {1: 0.35, int(GROUP): 0.6}

_SAMPLED_ROWS = 256


def is_sparse(x: np.ndarray, group: int = 1) -> bool:
    """Return whether sparse kernels that read `group` features at a time are faster, judged by some of the rows."""
    sample = x[:: -(-len(x) // _SAMPLED_ROWS)]
    padded = np.zeros((len(sample), round_up(x.shape[1], group)), bool)
    padded[:, : x.shape[1]] = sample != 0
    groups = np.logical_or.reduce([padded[:, k::group] for k in range(group)])
    return int(np.count_nonzero(groups)) < _SPARSE_BELOW[group] * groups.size
