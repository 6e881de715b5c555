"""Every mask of what packs lists on this processor, compiled and by its Python twin."""

import numba
import numpy as np
import pytest
from numba.core import config

from fastmlp.kernels.ops.grouped import BLOCK, LIST_CAPACITY
from fastmlp.kernels.simd import packing
from fastmlp.kernels.simd.processors import LANES, NARROW
from fastmlp.kernels.simd.vector import load

ALL_MASKS = 1 << int(NARROW)
FEW = 997  # every 997th of them without compiled code
UNTOUCHED = 0xDEADBEEF

NUMBERS = np.arange(1, 17, dtype=np.float32)
SPECIAL = np.tile(np.array([np.nan, -np.inf, 1e-45, -np.nan], np.float32), 4)  # 1e-45: not zero, but not normal


def nonzeros_of(append, load):
    def append_all(x, numbers, values, ends, room, first):
        """Append each 16 of `x` to a list of its own; lists are `room` apart, and start in the middle of that."""
        for i in range(ends.size):
            ends[i] = append(load(x, 16 * i), numbers, values, room * i + room // 2, first)

    return append_all


def words_of(append, n, masks):
    """`n`: LANES as a Python int; `masks`: how many there are of them"""

    def append_all(step, data, offsets, count, words):
        """Make blocks of n samples and n groups whose columns together go through all masks, pack them, and compare.

        Returns how many columns were seen, and the first mask whose list is wrong, or -1.
        """
        seen = 0
        for m in range(0, masks, step):
            first, group = m * n % BLOCK, m % 2 * n
            data[:], words[:] = 0, UNTOUCHED
            for k in range(n):
                offsets[first + k] = 5 + k * 200
                for g in range(n):
                    if (m ^ (g * 40503 % masks)) >> k & 1:  # a column goes through all masks, in an order of its own
                        data[5 + k * 200 + 3 * (group + g) + (k + g + m) % 3] = 1 + (7 * k + g + m) % 255
            for g in range(n):
                count[group + g] = (m + 5 * g) % (BLOCK - n)
            append(data, offsets, first, group, count, words, 0, LIST_CAPACITY)
            for g in range(n):
                mask, at = m ^ (g * 40503 % masks), (group + g) * LIST_CAPACITY
                start = (m + 5 * g) % (BLOCK - n)
                end = start
                for k in range(n):
                    if mask >> k & 1:
                        byte = 1 + (7 * k + g + m) % 255
                        if words[at + end] != (first + k) | byte << (8 * ((k + g + m) % 3 + 1)):
                            return seen, mask
                        end += 1
                if count[group + g] != end:
                    return seen, mask
                for p in range(start):
                    if words[at + p] != UNTOUCHED:
                        return seen, mask
                for p in range(start + n, LIST_CAPACITY):
                    if words[at + p] != UNTOUCHED:
                        return seen, mask
                seen += 1
        return seen, -1

    return append_all


@pytest.fixture(params=["compiled", "python"])
def compiled(request):
    if request.param == "compiled" and config.DISABLE_JIT:
        pytest.skip("without compiled code")
    return request.param == "compiled"


@pytest.mark.parametrize("lanes", [NUMBERS, SPECIAL], ids=["numbers", "special"])
def test_every_mask_of_nonzeros(compiled, lanes):
    masks = np.arange(0, ALL_MASKS, 1 if compiled else FEW)
    full = (masks[:, None] >> np.arange(16) & 1).astype(bool)
    zeros = np.where(np.arange(16) % 3 == 0, np.float32(-0.0), np.float32(0.0))
    x = np.where(full, lanes, zeros)
    room, first = 64, 1000
    numbers = np.full((masks.size, room), UNTOUCHED, np.uint32)
    values, ends = numbers.copy(), np.zeros(masks.size, np.int64)
    append_all = nonzeros_of(packing._append_nonzeros_python, lambda x, at: x[at : at + 16])
    if compiled:
        append_all = numba.njit(nonzeros_of(packing.append_nonzeros, load))
    arguments = numbers.ravel().view(np.int32), values.ravel().view(np.float32), ends, room, first
    append_all(x.ravel(), *arguments)
    counts = full.sum(axis=1)
    np.testing.assert_array_equal(ends, np.arange(masks.size) * room + room // 2 + counts)
    order = np.argsort(~full, axis=1, kind="stable")  # lanes that are full first
    listed = np.arange(16) < counts[:, None]
    own = slice(room // 2, room // 2 + 16)
    np.testing.assert_array_equal(numbers[:, own][listed], (first + order)[listed])
    want = np.take_along_axis(x, order, axis=1).view(np.uint32)  # bits, as NaN is not NaN
    np.testing.assert_array_equal(values[:, own][listed], want[listed])
    for lists in (numbers, values):
        assert (lists[:, : room // 2] == UNTOUCHED).all()
        assert (lists[:, room // 2 + 16 :] == UNTOUCHED).all()


def test_every_mask_of_words(compiled):
    n = int(LANES)
    masks, step = 1 << n, 1 if compiled else max(1, FEW * (1 << n) // ALL_MASKS)
    append_all = words_of(packing.append_words if compiled else packing._append_words_python, n, masks)
    if compiled:
        append_all = numba.njit(append_all)
    count, offsets = np.zeros(2 * n, np.int64), np.zeros(int(BLOCK), np.int64)
    words = np.zeros(2 * n * int(LIST_CAPACITY), np.uint32)
    seen, wrong = append_all(step, np.zeros(5 + 200 * n, np.uint8), offsets, count, words)
    assert wrong == -1
    assert seen == n * len(range(0, masks, step))
