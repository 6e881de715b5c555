"""The order in which samples are trained on, and the split into training and validation set."""

from __future__ import annotations

import numpy as np

SHUFFLES = (True, False, "replacement")


def epoch_order(samples: np.ndarray, shuffle, rng: np.random.Generator) -> np.ndarray:
    """Return the samples of one epoch in training order, (n,) int64.

    `shuffle` is True for a random permutation, False for the given order, or "replacement" for n uniform draws.
    """
    if shuffle == "replacement":
        return samples[rng.integers(0, len(samples), len(samples))]
    return rng.permutation(samples) if shuffle else samples


def split(n_samples: int, fraction: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the samples for training and for validation, each ascending; `fraction` of them are for validation."""
    shuffled = rng.permutation(n_samples)
    n_validation = round(n_samples * fraction)
    return np.sort(shuffled[n_validation:]), np.sort(shuffled[:n_validation])
