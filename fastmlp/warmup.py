"""Compile everything now, so that nothing is compiled later."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from fastmlp.kernels import epoch, jit
from fastmlp.threads import resolve
from fastmlp.train import train


def compile_side_by_side() -> None:
    """Where nothing is compiled yet, have a second process compile one half of what training needs, into the cache,
    while this one compiles the other."""
    if jit.CACHE_FOLDER is None or jit.is_cached():
        return
    code = "from fastmlp.kernels import epoch; epoch.back_region.address; epoch.cross_entropy_rows.address"
    with subprocess.Popen([sys.executable, "-c", code]):
        epoch.ahead_region.address  # noqa: B018, which compiles it


def warmup() -> None:
    """Compile every kernel, or load it from the cache: train and use small networks that reach them all."""
    compile_side_by_side()
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (256, 64), np.uint8), np.arange(256) % 2
    for threads in {1, resolve(None)}:  # steps large enough to be worth two threads
        model = train(x, y, hidden=(64,), epochs=1, validation=0.5, threads=threads, progress=False)
    model.predict_proba(x)
