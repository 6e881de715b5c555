"""The order in which samples are trained on, and the split into training and validation set."""

from __future__ import annotations

import numpy as np

from fastmlp.checks import describe
from fastmlp.data.arrays import as_array

SHUFFLES = (True, False, "replacement")


def epoch_order(samples: np.ndarray, shuffle, rng: np.random.Generator) -> np.ndarray:
    """Return the samples of one epoch in training order, (n,) int64.

    `shuffle` is True for a random permutation, False for the given order, or "replacement" for n uniform draws.
    """
    if shuffle == "replacement":
        return samples[rng.integers(0, len(samples), len(samples))]
    return rng.permutation(samples) if shuffle else samples


def check_samples(samples, n_samples: int, name: str) -> np.ndarray:
    """Return indices of some of `n_samples` samples as an array of int64; one may occur several times."""
    samples = as_array(samples, name)
    if samples.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers, the indices of samples, got {describe(samples)}")
    if samples.ndim != 1 or samples.size == 0:
        raise ValueError(f"{name} must have one dimension and at least one index, got {describe(samples)}")
    if not 0 <= samples.min() <= samples.max() < n_samples:
        raise ValueError(
            f"{name} must be >= 0 and < {n_samples}, the number of samples, got {samples.min()} to {samples.max()}"
        )
    return samples.astype(np.int64)


def split(n_samples: int, fraction: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the samples for training and for validation, each ascending; `fraction` of them are for validation."""
    shuffled = rng.permutation(n_samples)
    n_validation = round(n_samples * fraction)
    return np.sort(shuffled[n_validation:]), np.sort(shuffled[:n_validation])
