"""Compile everything now, so that nothing is compiled later."""

from __future__ import annotations

import numpy as np

from fastmlp.data.encoding import rows_of
from fastmlp.engine.compilation import compile_regions
from fastmlp.engine.packing_check import packs_correctly
from fastmlp.engine.threads import resolve
from fastmlp.kernels import jit
from fastmlp.kernels.ops.grouped import make_words
from fastmlp.kernels.step import regions
from fastmlp.train import train


def warmup() -> None:
    """Compile every kernel, or load it from the cache, and try whether lists are packed correctly."""
    compile_regions([region.name for region in vars(regions).values() if isinstance(region, jit.entry)])
    x, y = np.eye(256, 64, dtype=np.float32), np.arange(256) % 2  # floats that are mostly zero
    for threads in {1, resolve(None)}:  # steps large enough to be worth two threads
        train(x, y, hidden=(64,), epochs=1, threads=threads, progress=False).predict_proba(x)
    for loss in ("notebook", "binary_cross_entropy"):
        train(x, y, loss=loss, epochs=1, progress=False).predict_proba(x)
    nothing, start = np.zeros(0, np.uint8), np.zeros(1, np.int64)
    make_words(start[:0], start, nothing, start, rows_of(x, 1.0).data[:0], 4)
    for input_path in ("grouped sparse", "sparse"):
        packs_correctly(input_path)
