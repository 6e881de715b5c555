"""Learning rates that change in the course of training.

A schedule has one method, ``rate(epoch, epochs)``: the rate when `epoch` of `epochs` epochs are done.  `epoch` is an
array of float64, one value a step: step 3 of 10 in the second epoch has 1.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


def _check_number(schedule, name, minimum=0.0, exclusive=False):
    value = getattr(schedule, name)
    bound = f"greater than {minimum:g}" if exclusive else f"at least {minimum:g}"
    wanted = f"{type(schedule).__name__}: {name} must be a finite number {bound}, got {value!r}"
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(wanted)
    if not math.isfinite(value) or value < minimum or (exclusive and value == minimum):
        raise ValueError(wanted)


@dataclass(frozen=True)
class LinearDecay:
    """From `start` in a straight line to `end`, reached one step after the last.

    Parameters
    ----------
    start, end : float
        Learning rates.
    """

    start: float
    end: float = 0.0

    def __post_init__(self):
        _check_number(self, "start", exclusive=True)
        _check_number(self, "end")

    def rate(self, epoch: np.ndarray, epochs: int) -> np.ndarray:
        return self.start + (self.end - self.start) * (epoch / epochs)


@dataclass(frozen=True)
class Cosine:
    """From `start` to `end` along half a cosine (Loshchilov and Hutter 2017, eq. 5, without restarts).

    Parameters
    ----------
    start, end : float
        Learning rates.
    """

    start: float
    end: float = 0.0

    def __post_init__(self):
        _check_number(self, "start", exclusive=True)
        _check_number(self, "end")

    def rate(self, epoch: np.ndarray, epochs: int) -> np.ndarray:
        return self.end + (self.start - self.end) * (1 + np.cos(np.pi * epoch / epochs)) / 2


@dataclass(frozen=True)
class Step:
    """`start`, multiplied by `factor` after every `every` epochs.

    Parameters
    ----------
    start : float
        Learning rate of the first epochs.
    every : int
        Epochs between two changes.
    factor : float
        What the rate is multiplied by.
    """

    start: float
    every: int
    factor: float = 0.1

    def __post_init__(self):
        _check_number(self, "start", exclusive=True)
        _check_number(self, "every", minimum=1)
        if not isinstance(self.every, (int, np.integer)):
            raise TypeError(f"Step: every must be an integer of at least 1, got {self.every!r}")
        _check_number(self, "factor", exclusive=True)

    def rate(self, epoch: np.ndarray, epochs: int) -> np.ndarray:
        return self.start * self.factor ** (epoch // self.every)


def learning_rates(learning_rate, epoch: int, epochs: int, n_steps: int) -> np.ndarray:
    """The rates (n_steps,) float32 of the steps of one epoch."""
    if not hasattr(learning_rate, "rate"):
        return np.full(n_steps, learning_rate, np.float32)
    return np.asarray(learning_rate.rate(epoch + np.arange(n_steps) / n_steps, epochs), np.float32)
