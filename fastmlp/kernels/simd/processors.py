"""What depends on the processor: the sizes of tiles, and how lists are packed.  One row of one table a processor.

A tile is ROWS rows of WIDE or NARROW columns of accumulators.  It has to leave registers for a row of weights and a
broadcast, and it takes at least 8 accumulators to hide the latency of an FMA (4 cycles, two a cycle), 10 where that
takes 5.  A sparse kernel holds GROUP rows of STRIP columns, with GROUP broadcasts and one vector beside them.

Sizes are NumPy integers because Numba gives a Python int the type of its value, and compiles a function once more for
every value that it is called with.
"""

import platform
from typing import NamedTuple

import numpy as np

from fastmlp.kernels.jit import CPU_FEATURES


class Processor(NamedTuple):
    """The choices for one kind of processor.

    lanes    float32 of a register; blocks of lanes x lanes are transposed in registers
    rows     rows of a tile
    wide     columns of a wide tile, a multiple of NARROW
    strip    columns that a sparse kernel takes at once, a multiple of `wide`
    panel    columns of a panel, a multiple of `rows` and of `strip`
    packing  how lists are packed, see `fastmlp.kernels.simd.packing`
    """

    lanes: int
    rows: int
    wide: int
    strip: int
    panel: int
    packing: str


PROCESSORS = {
    # 32 registers.  On one core of Zen 4 (peak 118 GFLOP/s) the tiles 8 x 32, 6 x 64 and 16 x 16 reach 117, 114 and 117
    # forward and 113, 114 and 113 in the weight gradient; 8 x 32 reads the fewest bytes of weights per FMA of the three
    # that need at most one load per FMA, and divides a batch of 128 and a panel of 64 without a rest.
    "avx512": Processor(lanes=16, rows=8, wide=32, strip=64, panel=64, packing="compress"),
    # 16 registers: 12 accumulators, 2 vectors, 1 broadcast.  On Zen 3 (peak 103) 6 x 16 reaches 89 to 99, 4 x 16 85 to
    # 93, and less where an FMA takes 5 cycles (Haswell, Zen 2).
    "avx2": Processor(lanes=8, rows=6, wide=16, strip=32, panel=96, packing="permute"),
    # 32 registers: 16 accumulators, 4 vectors, broadcasts.  8 x 12 and 6 x 16 spill (by the machine code).
    "neon": Processor(lanes=4, rows=4, wide=16, strip=32, panel=64, packing="table"),
    # Anything else: right, and not made to be fast.
    "other": Processor(lanes=4, rows=2, wide=16, strip=16, panel=64, packing="scalar"),
}


def choose(features: set[str], machine: str) -> str:
    """Return the row of PROCESSORS for a set of LLVM's features and a name of `platform.machine`."""
    if "+avx512f" in features and "+avx512bw" in features and "+avx512vl" in features:
        return "avx512"
    if "+avx2" in features and "+fma" in features:
        return "avx2"
    return "neon" if machine.lower() in ("aarch64", "arm64") else "other"


NAME = choose(set(CPU_FEATURES.split(",")), platform.machine())
PROCESSOR = PROCESSORS[NAME]

NARROW = np.int64(16)  # columns of a narrow tile, and lanes of elementwise vectors
LANES = np.int64(PROCESSOR.lanes)
ROWS = np.int64(PROCESSOR.rows)
WIDE = np.int64(PROCESSOR.wide)
STRIP = np.int64(PROCESSOR.strip)
PANEL = np.int64(PROCESSOR.panel)
