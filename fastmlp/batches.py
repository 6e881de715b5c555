"""The order of the samples."""

from __future__ import annotations

import numpy as np

SHUFFLES = (True, False, "replacement")


def epoch_order(samples: np.ndarray, shuffle, rng: np.random.Generator) -> np.ndarray:
    """The samples of one epoch in the order of training, (n,) int64.

    `shuffle`: True for a permutation, False for the order given, "replacement" for as many uniform draws.
    """
    if shuffle == "replacement":
        return samples[rng.integers(0, len(samples), len(samples))]
    return rng.permutation(samples) if shuffle else samples


def split(n_samples: int, fraction: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Samples for training and for validation, each in ascending order; `fraction` are for validation."""
    shuffled = rng.permutation(n_samples)
    n_validation = round(n_samples * fraction)
    return np.sort(shuffled[n_validation:]), np.sort(shuffled[:n_validation])
