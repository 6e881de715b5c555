"""Whether the sparse kernels pack lists correctly on this processor: tried once, before they are used.

Compilers have got this wrong before: on ARM with SVE, LLVM 20 and 22 compile a packing instruction to code that
mixes up most lists (see `fastmlp.kernels.simd.packing`).  Nothing fails then; the sums are wrong.  So lists are made
of a few hundred patterns and compared with NumPy's.  The result is kept beside the compiled code that it holds for.
"""

from __future__ import annotations

import contextlib
import functools
import warnings

import numpy as np
from numba.core import config

from fastmlp.data.encoding import coded_rows, rows_of
from fastmlp.engine.workspace import lists_for, nonzeros_for
from fastmlp.kernels import jit
from fastmlp.kernels.ops.grouped import BLOCK, GROUP, LIST_CAPACITY, make_lists
from fastmlp.kernels.ops.sparse import find_nonzeros
from fastmlp.kernels.simd.processors import NARROW

# 256 lists of 16 lanes of groups, 768 of entries, from nearly empty to nearly full.
_SAMPLES, _FEATURES = int(BLOCK), 2 * int(NARROW * GROUP)


@functools.cache
def packs_correctly(input_path: str) -> bool:
    """Return whether lists for an input path, "grouped sparse" or "sparse", come out right; warn if not.

    CSR matrices need no check: their lists are copied, not packed.
    """
    if config.DISABLE_JIT:
        return True
    marker = None if jit.CACHE_FOLDER is None else jit.CACHE_FOLDER / f"packing-{input_path.replace(' ', '-')}"
    result = ""
    if marker is not None:
        with contextlib.suppress(OSError):
            result = marker.read_text()
    if result not in ("right", "wrong"):
        is_right = {"grouped sparse": _groups_are_right, "sparse": _nonzeros_are_right}[input_path]
        result = "right" if is_right() else "wrong"
        if marker is not None:
            with contextlib.suppress(OSError):
                marker.write_text(result)
    if result == "wrong":
        _warn()
    return result == "right"


@functools.cache  # once, whichever path is tried first
def _warn() -> None:
    warnings.warn(
        f"fastmlp's sparse kernels give wrong results on this processor ({jit.CPU_NAME}), so its dense kernels are "
        "used: results are right, but training on data that are mostly zero is slower. Please report this.",
        RuntimeWarning,
        stacklevel=3,
    )


def _pattern() -> np.ndarray:
    """Return bytes (_SAMPLES, _FEATURES) in blocks of 16 x 48 that are filled more and more."""
    rng = np.random.default_rng(0)
    filled = np.linspace(0.02, 0.98, _SAMPLES // 16 * 2).reshape(-1, 2).repeat(16, axis=0).repeat(48, axis=1)
    return (rng.integers(1, 256, filled.shape) * (rng.random(filled.shape) < filled)).astype(np.uint8)


def _groups_are_right() -> bool:
    x = _pattern()
    coded = coded_rows(x, 1.0)
    assert coded is not None  # bytes always have a code
    rows = coded[0]
    lists = lists_for(_FEATURES, _SAMPLES)
    lists.offsets[:] = np.arange(_SAMPLES) * rows.stride
    make_lists(lists, rows, _SAMPLES, np.int64(0), np.int64(lists.groups))
    bytes_of_word = np.zeros((_SAMPLES, lists.groups, 4), np.uint32)
    bytes_of_word[:, :, 0] = np.arange(_SAMPLES)[:, None]
    bytes_of_word[:, :, 1:] = x.reshape(_SAMPLES, -1, int(GROUP))
    words = np.bitwise_or.reduce(bytes_of_word << np.arange(0, 32, 8, dtype=np.uint32), axis=2)
    for g in range(lists.groups):
        got = lists.words[g * int(LIST_CAPACITY) :][: lists.count[g]]
        if not np.array_equal(got, words[words[:, g] > 255, g]):
            return False
    return True


def _nonzeros_are_right() -> bool:
    x = _pattern()
    for dtype in (np.uint8, np.float32, np.float64):  # each has a loop of its own
        entries = nonzeros_for(_FEATURES, _SAMPLES, _FEATURES)
        rows = rows_of(x.astype(dtype), 1.0)
        find_nonzeros(entries, rows, np.arange(_SAMPLES), np.int64(0), np.int64(0), np.int64(_SAMPLES))
        for sample, begin, end in zip(x, entries.begin, entries.end):
            features = np.flatnonzero(sample)
            if not np.array_equal(entries.feature[begin:end], features):
                return False
            if not np.array_equal(entries.value[begin:end], sample[features]):
                return False
    return True
