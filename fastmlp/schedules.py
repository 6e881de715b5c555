"""Learning rates that change in the course of training.

A schedule has one method, ``rate(epoch, epochs)``: the rate when `epoch` of `epochs` epochs are done.  `epoch` is an
array of float64, one value a step: step 3 of 10 in the second epoch has 1.3.  Instead of a schedule, `fastmlp.train`
takes any function of the number of the step, from 0 on.  A schedule that is a callback as well is told of every epoch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastmlp.inputs import check_field
from fastmlp.metrics import rises


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
        check_field(self, "start", exclusive=True)
        check_field(self, "end")

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
        check_field(self, "start", exclusive=True)
        check_field(self, "end")

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
        check_field(self, "start", exclusive=True)
        check_field(self, "every", minimum=1)
        if not isinstance(self.every, (int, np.integer)):
            raise TypeError(f"Step: every must be an integer of at least 1, got {self.every!r}")
        check_field(self, "factor", exclusive=True)

    def rate(self, epoch: np.ndarray, epochs: int) -> np.ndarray:
        return self.start * self.factor ** (epoch // self.every)


@dataclass(frozen=True)
class Exponential:
    """`start`, multiplied by `factor` in the course of every epoch, a little with every step.

    Parameters
    ----------
    start : float
        Learning rate of the first step.
    factor : float
        What the rate is multiplied by in an epoch.
    """

    start: float
    factor: float = 0.9

    def __post_init__(self):
        check_field(self, "start", exclusive=True)
        check_field(self, "factor", exclusive=True)

    def rate(self, epoch: np.ndarray, epochs: int) -> np.ndarray:
        return self.start * self.factor ** np.asarray(epoch, float)


@dataclass(frozen=True)
class OneCycle:
    """From `peak` / `divide` up to `peak` along half a cosine, and down to `peak` / `divide_end` along another (Smith
    and Topin 2018, as in PyTorch's OneCycleLR).

    Parameters
    ----------
    peak : float
        The largest learning rate.
    rising : float
        The share of the training in which it rises, between 0 and 1.
    divide, divide_end : float
        What `peak` is divided by for the first rate, and for the last.
    """

    peak: float
    rising: float = 0.3
    divide: float = 25.0
    divide_end: float = 25e4

    def __post_init__(self):
        for name in ("peak", "rising", "divide", "divide_end"):
            check_field(self, name, exclusive=True)
        if self.rising >= 1:
            raise ValueError(f"OneCycle: rising must be less than 1, got {self.rising!r}")

    def rate(self, epoch: np.ndarray, epochs: int) -> np.ndarray:
        done = np.asarray(epoch, float) / epochs
        first, last = self.peak / self.divide, self.peak / self.divide_end
        up = first + (self.peak - first) * (1 - np.cos(np.pi * done / self.rising)) / 2
        down = last + (self.peak - last) * (1 + np.cos(np.pi * (done - self.rising) / (1 - self.rising))) / 2
        return np.where(done < self.rising, up, down)


@dataclass(frozen=True)
class Warmup:
    """Before any schedule, a rise in a straight line from 0; the schedule has what is left of the training.

    Parameters
    ----------
    then : float or schedule
        What follows.
    epochs : float
        How long it rises, in epochs.
    """

    then: Any
    epochs: float = 1.0

    def __post_init__(self):
        check_field(self, "epochs", exclusive=True)
        if not hasattr(self.then, "rate"):
            check_field(self, "then", exclusive=True)

    def rate(self, epoch: np.ndarray, epochs: int) -> np.ndarray:
        epoch = np.asarray(epoch, float)
        return self._then(np.maximum(epoch - self.epochs, 0), epochs) * np.minimum(epoch / self.epochs, 1)

    def on_train_begin(self, model) -> None:
        if hasattr(self.then, "on_train_begin"):
            self.then.on_train_begin(model)

    def on_epoch_end(self, model) -> None:
        if hasattr(self.then, "on_epoch_end"):
            self.then.on_epoch_end(model)

    def state_dict(self) -> dict:
        return self.then.state_dict() if hasattr(self.then, "state_dict") else {}

    def load_state_dict(self, state: dict) -> None:
        if state:
            self.then.load_state_dict(state)

    def _then(self, epoch, epochs):
        if not hasattr(self.then, "rate"):
            return np.full(np.shape(epoch), self.then)
        return np.asarray(self.then.rate(epoch, max(epochs - self.epochs, 1e-9)), float)


@dataclass
class ReduceOnPlateau:
    """`start`, multiplied by `factor` whenever a recorded metric has not got better for a while, as in PyTorch.

    Parameters
    ----------
    start : float
        Learning rate of the first epochs.
    factor : float
        What the rate is multiplied by; less than 1.
    patience : int
        How many epochs without a better value are waited for.
    metric : str
        A name in the model's history.  Accuracies, top-k and R2 are to rise, all else to fall.
    threshold : float
        By which share of itself a value must be better to count.
    smallest : float
        The rate does not fall below it.
    """

    start: float
    factor: float = 0.1
    patience: int = 10
    metric: str = "validation_loss"
    threshold: float = 1e-4
    smallest: float = 0.0

    def __post_init__(self):
        for name in ("start", "factor"):
            check_field(self, name, exclusive=True)
        for name in ("patience", "threshold", "smallest"):
            check_field(self, name)
        if self.factor >= 1:
            raise ValueError(f"ReduceOnPlateau: factor must be less than 1, got {self.factor!r}")

    def on_train_begin(self, model) -> None:
        if self.metric not in model.history:
            raise ValueError(f"metric must be one of {', '.join(model.history)}, got {self.metric!r}")
        self._rate, self._best, self._waited = float(self.start), math.inf, 0

    def state_dict(self) -> dict:
        return {"rate": self._rate, "best": None if math.isinf(self._best) else self._best, "waited": self._waited}

    def load_state_dict(self, state: dict) -> None:
        self._rate, self._waited = state["rate"], state["waited"]
        self._best = math.inf if state["best"] is None else state["best"]

    def rate(self, epoch: np.ndarray, epochs: int) -> np.ndarray:
        return np.full(np.shape(epoch), self._rate)

    def on_epoch_end(self, model) -> None:
        value = model.history[self.metric][-1]
        if math.isnan(value):
            raise ValueError(f"metric {self.metric!r} has no value: does train() have validation= ?")
        value = 1 / max(value, 1e-300) if rises(self.metric) else value  # whose share is to fall
        if value < self._best * (1 - self.threshold):
            self._best, self._waited = value, 0
            return
        self._waited += 1
        if self._waited > self.patience:
            self._rate, self._waited = max(self._rate * self.factor, self.smallest), 0
