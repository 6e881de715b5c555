"""Compile everything now, so that nothing is compiled later."""

from __future__ import annotations

import numpy as np

from fastmlp.train import train


def warmup() -> None:
    """Compile every kernel, or load it from the cache: train and use small networks that reach them all."""
    x = np.random.default_rng(0).random((20, 3), np.float32)
    model = train(x, np.arange(20) % 2, hidden=(2,), epochs=1, batch_size=8, validation=0.5, progress=False)
    model.predict_proba(x)
