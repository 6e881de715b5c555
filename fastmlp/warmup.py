"""Compile everything now, so that nothing is compiled later."""

from __future__ import annotations

import numpy as np

from fastmlp.threads import resolve
from fastmlp.train import train


def warmup() -> None:
    """Compile every kernel, or load it from the cache: train and use small networks that reach them all."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (256, 64), np.uint8), np.arange(256) % 2
    for threads in {1, resolve(None)}:  # steps large enough to be worth two threads
        model = train(x, y, hidden=(64,), epochs=1, validation=0.5, threads=threads, progress=False)
    model.predict_proba(x)
