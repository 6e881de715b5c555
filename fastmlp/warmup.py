"""Compile everything now, so that nothing is compiled later."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from fastmlp.kernels import epoch, jit
from fastmlp.kernels.losses import LOSSES
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
    x, y = np.eye(256, 64, dtype=np.float32), np.arange(256) % 2  # floats that the sparse kernels take
    for loss in LOSSES:
        for threads in {1, resolve(None)}:  # steps large enough to be worth two threads
            model = train(x, y, hidden=(64,), loss=loss, epochs=1, threads=threads, progress=False)
        if model.classes is not None:
            model.predict_proba(x)
