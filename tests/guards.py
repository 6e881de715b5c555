"""Buffers with guard zones: memory around every array that kernels write to, which has to stay as it was.

`guarded` has the library allocate its buffers here while a test runs.  Scratch memory holds NaN, and lists hold
nonsense, wherever nothing has been written.
"""

from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import numpy as np

from fastmlp.engine.executor import Executor
from fastmlp.engine.workspace import PANEL
from fastmlp.kernels.ops.grouped import LIST_CAPACITY

ZONE = 1 << 12  # bytes on each side: more than the widest vector, whole panels of a row, and a page
ALIGNMENT = 1 << 6
PATTERN = 0xFF  # NaN as floats, -1 as integers


class Guards:
    """Allocates arrays, and remembers the zones around them."""

    def __init__(self):
        self.blocks = []

    def zeros(self, shape, dtype=np.float64):
        """What `numpy.zeros` returns, between two zones."""
        dtype = np.dtype(dtype)
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        raw = np.full(size + 2 * ZONE + ALIGNMENT, PATTERN, np.uint8)
        start = ZONE + -(raw.ctypes.data + ZONE) % ALIGNMENT
        raw[start : start + size] = 0
        self.blocks.append((raw, start, start + size))
        return raw[start : start + size].view(dtype).reshape(shape)

    def aligned_zeros(self, size):
        return self.zeros(int(size), np.float32)

    def paged_zeros(self, size, dtype=np.float32):
        return self.zeros(int(size), dtype)

    def check(self):
        """Every zone is untouched."""
        for raw, start, end in self.blocks:
            for side, zone in (("before", raw[:start]), ("behind", raw[end:])):
                touched = np.flatnonzero(zone != PATTERN)
                assert touched.size == 0, f"byte {touched[0]} {side} a buffer of {end - start} bytes was written to"


class _NumPy:
    """NumPy, with another `zeros`."""

    def __init__(self, zeros):
        self.zeros = zeros

    def __getattr__(self, name):
        return getattr(np, name)


def spoil(run):
    """Put nonsense wherever a run's kernels write before they read."""
    run.lists.count[:], run.lists.words[:] = LIST_CAPACITY, 2**32 - 1
    run.entries.feature[:], run.entries.value[:], run.entries.sample_offset[:] = 2**31 - 1, np.nan, 2**31 - 1


@contextmanager
def guarded():
    """Have everything that is allocated for kernels lie between guard zones; they are checked at the end."""
    guards = Guards()
    made, given = Executor.__init__, Executor.set_data

    def init(self, *arguments, **options):
        made(self, *arguments, **options)
        at, workspace = self.network.layout, self.network.workspace
        kept = workspace[at.zeros : at.zeros + PANEL].copy()
        workspace[:] = np.nan
        workspace[at.zeros : at.zeros + PANEL] = kept

    def set_data(self, *arguments, **options):
        given(self, *arguments, **options)
        spoil(self)

    with ExitStack() as stack:
        for module in (
            "engine.parameters",
            "engine.workspace",
            "engine.data_reader",
            "engine.executor",
            "data.encoding",
            "data.targets",
        ):
            stack.enter_context(patch(f"fastmlp.{module}.np", _NumPy(guards.zeros)))
        for name in (
            "engine.parameters.aligned_zeros",
            "engine.workspace.aligned_zeros",
            "engine.workspace.paged_zeros",
        ):
            stack.enter_context(patch(f"fastmlp.{name}", getattr(guards, name.split(".")[-1])))
        stack.enter_context(patch.object(Executor, "__init__", init))
        stack.enter_context(patch.object(Executor, "set_data", set_data))
        yield guards
        guards.check()
