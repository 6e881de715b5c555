"""Learning-rate schedules, and the table of them.

A schedule has one method, ``rate(epoch, epochs)``, which returns the learning rates at the times `epoch` of a training
run of `epochs` epochs.  `epoch` is an array of float64 with one value per step: how many epochs are done before it, so
step 3 of 10 in the second epoch has 1.3.  `fastmlp.train` also takes any function of the step number, counted from 0.
A schedule that is a callback as well is called after every epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastmlp.checks import check_field
from fastmlp.deprecation import renamed
from fastmlp.monitor import Best, higher_is_better

MAX_CYCLES = 1000  # of CosineLog, of which 2**cycles is finite in float64


@dataclass(frozen=True)
class LinearDecay:
    """Decrease linearly from `start` to `end`, which is reached one step after the last.

    Parameters
    ----------
    start, end : float
        Learning rates.

    Examples
    --------
    >>> fastmlp.LinearDecay(0.8).rate(np.array([0.0, 1.0, 2.0, 3.0]), 4).round(3)
    array([0.8, 0.6, 0.4, 0.2])
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
    """Anneal from `start` to `end` along half a cosine (Loshchilov and Hutter 2017, eq. 5, without restarts).

    Parameters
    ----------
    start, end : float
        Learning rates.

    Examples
    --------
    >>> fastmlp.Cosine(0.1).rate(np.array([0.0, 1.0, 2.0, 3.0]), 4).round(3)
    array([0.1  , 0.085, 0.05 , 0.015])
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
    """Multiply the learning rate by `factor` every `every` epochs.

    Parameters
    ----------
    start : float
        Learning rate of the first epochs.
    every : int
        Number of epochs between two changes.
    factor : float
        Factor of each change.

    Examples
    --------
    >>> fastmlp.Step(0.1, every=2).rate(np.array([0.0, 1.0, 2.0, 3.0]), 4).round(3)
    array([0.1 , 0.1 , 0.01, 0.01])
    """

    start: float
    every: int
    factor: float = 0.1

    def __post_init__(self):
        check_field(self, "start", exclusive=True)
        check_field(self, "every", minimum=1)
        if not isinstance(self.every, (int, np.integer)):
            raise TypeError(f"Step: every must be an integer >= 1, got {self.every!r}")
        check_field(self, "factor", exclusive=True)

    def rate(self, epoch: np.ndarray, epochs: int) -> np.ndarray:
        return self.start * self.factor ** (epoch // self.every)


@dataclass(frozen=True)
class Exponential:
    """Decay exponentially, a little at every step, by `factor` per epoch.

    Parameters
    ----------
    start : float
        Learning rate of the first step.
    factor : float
        Factor by which the rate changes within an epoch.

    Examples
    --------
    >>> fastmlp.Exponential(0.1, 0.5).rate(np.array([0.0, 1.0, 2.0, 3.0]), 4).round(3)
    array([0.1  , 0.05 , 0.025, 0.012])
    """

    start: float
    factor: float = 0.9

    def __post_init__(self):
        check_field(self, "start", exclusive=True)
        check_field(self, "factor", exclusive=True)

    def rate(self, epoch: np.ndarray, epochs: int) -> np.ndarray:
        return self.start * self.factor ** np.asarray(epoch, float)


@renamed(peak="max_lr", rising="pct_start", divide="div_factor", divide_end="final_div_factor")
@dataclass(frozen=True)
class OneCycle:
    """Increase to `max_lr` along half a cosine, then decrease along another (Smith and Topin 2018).

    The arguments are those of PyTorch's OneCycleLR, but the last rate is ``max_lr / final_div_factor``, which PyTorch
    divides by `div_factor` too.

    Parameters
    ----------
    max_lr : float
        Highest learning rate.
    pct_start : float
        Fraction of the steps in which the rate increases, between 0 and 1.
    div_factor : float
        The first rate is ``max_lr / div_factor``.
    final_div_factor : float
        The last rate is ``max_lr / final_div_factor``.

    Examples
    --------
    >>> fastmlp.OneCycle(0.1).rate(np.array([0.0, 1.0, 2.0, 3.0]), 4).round(3)
    array([0.004, 0.094, 0.081, 0.028])
    """

    max_lr: float
    pct_start: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 25e4

    def __post_init__(self):
        for name in ("max_lr", "pct_start", "div_factor", "final_div_factor"):
            check_field(self, name, exclusive=True)
        if self.pct_start >= 1:
            raise ValueError(f"OneCycle: pct_start must be < 1, got {self.pct_start!r}")

    def rate(self, epoch: np.ndarray, epochs: int) -> np.ndarray:
        done = np.asarray(epoch, float) / epochs
        first, last = self.max_lr / self.div_factor, self.max_lr / self.final_div_factor
        up = first + (self.max_lr - first) * (1 - np.cos(np.pi * done / self.pct_start)) / 2
        down = last + (self.max_lr - last) * (1 + np.cos(np.pi * (done - self.pct_start) / (1 - self.pct_start))) / 2
        return np.where(done < self.pct_start, up, down)


@dataclass(frozen=True)
class CosineLog:
    """Oscillate between 0 and `max_lr`, in cycles of which each is about twice as long as the one before.

    At the fraction t of the training run, ``max_lr * (1 - cos(2 * pi * log2(1 + (2**cycles - 1) * t))) / 2``: the
    schedule "coslog4" of RealMLP (Holzmüller, Grinsztajn and Steinwart 2024, arXiv 2407.04491).

    Parameters
    ----------
    max_lr : float
        Highest learning rate.
    cycles : int
        Number of cycles, at most 1000.

    Examples
    --------
    >>> fastmlp.CosineLog(0.1).rate(np.array([0.0, 1.0, 2.0, 3.0]), 4).round(3)
    array([0.   , 0.049, 0.007, 0.088])
    """

    max_lr: float
    cycles: int = 4

    def __post_init__(self):
        check_field(self, "max_lr", exclusive=True)
        check_field(self, "cycles", minimum=1)
        if not isinstance(self.cycles, (int, np.integer)):
            raise TypeError(f"CosineLog: cycles must be an integer >= 1, got {self.cycles!r}")
        if self.cycles > MAX_CYCLES:
            raise ValueError(f"CosineLog: cycles must be at most {MAX_CYCLES}, got {self.cycles!r}")

    def rate(self, epoch: np.ndarray, epochs: int) -> np.ndarray:
        done = np.asarray(epoch, float) / epochs
        longest = 2.0 ** int(self.cycles)  # NumPy's integers would overflow
        return self.max_lr * (1 - np.cos(2 * np.pi * np.log2(1 + (longest - 1) * done))) / 2


@renamed(then="schedule")
@dataclass(frozen=True)
class Warmup:
    """Increase the learning rate linearly from 0, then follow another schedule over the remaining epochs.

    Parameters
    ----------
    schedule : float or schedule
        Learning rate, or schedule, after the warm-up.
    epochs : float
        Length of the warm-up in epochs.

    Examples
    --------
    >>> fastmlp.Warmup(fastmlp.LinearDecay(0.8), epochs=1).rate(np.array([0.0, 1.0, 2.0, 3.0]), 4).round(3)
    array([0.   , 0.8  , 0.533, 0.267])
    """

    schedule: Any
    epochs: float = 1.0

    def __post_init__(self):
        check_field(self, "epochs", exclusive=True)
        if not hasattr(self.schedule, "rate"):
            check_field(self, "schedule", exclusive=True)

    def rate(self, epoch: np.ndarray, epochs: int) -> np.ndarray:
        epoch = np.asarray(epoch, float)
        return self._scheduled(np.maximum(epoch - self.epochs, 0), epochs) * np.minimum(epoch / self.epochs, 1)

    @property
    def is_callback(self) -> bool:
        """Whether the schedule in it is one that is called after every epoch."""
        return hasattr(self.schedule, "on_epoch_end") and getattr(self.schedule, "is_callback", True)

    def on_train_begin(self, model) -> None:
        if hasattr(self.schedule, "on_train_begin"):
            self.schedule.on_train_begin(model)

    def on_epoch_end(self, model) -> None:
        if hasattr(self.schedule, "on_epoch_end"):
            self.schedule.on_epoch_end(model)

    def state_dict(self) -> dict:
        return self.schedule.state_dict() if hasattr(self.schedule, "state_dict") else {}

    def load_state_dict(self, state: dict) -> None:
        if state:
            self.schedule.load_state_dict(state)

    def _scheduled(self, epoch, epochs):
        if not hasattr(self.schedule, "rate"):
            return np.full(np.shape(epoch), self.schedule)
        return np.asarray(self.schedule.rate(epoch, max(epochs - self.epochs, 1e-9)), float)


@renamed(smallest="min_lr")
@dataclass
class ReduceOnPlateau:
    """Reduce the learning rate when a recorded metric stops improving, like PyTorch's ReduceLROnPlateau.

    Parameters
    ----------
    start : float
        Learning rate of the first epochs.
    factor : float
        Factor of each reduction; less than 1.
    patience : int
        Number of epochs without improvement after which the rate is kept; it is reduced after one more.
    metric : str
        A name in the model's history.  Accuracies, top-k and R2 should increase, everything else should decrease.
    threshold : float
        Smallest improvement that counts, as a fraction of the best value.
    min_lr : float
        Lower limit of the learning rate.

    Examples
    --------
    >>> x, y = [[0.0], [1.0], [2.0], [3.0]], [0, 1, 1, 0]
    >>> schedule = fastmlp.ReduceOnPlateau(0.1, patience=0, metric="train_accuracy")
    >>> model = fastmlp.train(x, y, learning_rate=schedule, hidden=(), epochs=10, seed=0)
    >>> model.history["learning_rate"][-1] < 0.1
    True
    """

    start: float
    factor: float = 0.1
    patience: int = 10
    metric: str = "validation_loss"
    threshold: float = 1e-4
    min_lr: float = 0.0

    def __post_init__(self):
        for name in ("start", "factor"):
            check_field(self, name, exclusive=True)
        for name in ("patience", "threshold", "min_lr"):
            check_field(self, name)
        if self.factor >= 1:
            raise ValueError(f"ReduceOnPlateau: factor must be < 1, got {self.factor!r}")

    def on_train_begin(self, model) -> None:
        if self.metric not in model.history:
            raise ValueError(f"metric must be one of {', '.join(model.history)}, got {self.metric!r}")
        self._rate = float(self.start)
        self._best = Best(higher_is_better(self.metric), self.threshold, self.patience, relative=True)

    def state_dict(self) -> dict:
        return {"rate": self._rate, **self._best.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self._rate = state["rate"]
        if "best" in state:  # of an earlier version, which kept 1 / value where higher is better
            best = state["best"]
            value = best if best is None or not self._best.higher_is_better else 1 / best
            state = {"value": value, "waited": state["waited"]}
        self._best.load_state_dict(state)

    def rate(self, epoch: np.ndarray, epochs: int) -> np.ndarray:
        return np.full(np.shape(epoch), self._rate)

    def on_epoch_end(self, model) -> None:
        value = model.history[self.metric][-1]
        if math.isnan(value):
            raise ValueError(f"metric {self.metric!r} has no value; pass validation= to train()")
        self._best.update(value)
        if self._best.is_patience_over:
            self._rate, self._best.waited = max(self._rate * self.factor, self.min_lr), 0


@dataclass(frozen=True)
class Schedule:
    """A row of the table: a schedule by name, which the command line makes from a learning rate alone.

    Attributes
    ----------
    kind : callable
        The class; takes the learning rate, and `settings`.
    settings : dict
        Arguments of the class, by name.
    torch, keras : str, optional
        The class of `torch.optim.lr_scheduler`, and of `keras.optimizers.schedules` or `keras.callbacks`, that comes
        closest: for the documentation.
    """

    kind: Callable[..., Any]
    settings: dict[str, Any] = field(default_factory=dict)
    torch: str | None = None
    keras: str | None = None

    def make(self, learning_rate: float) -> Any:
        """Return the schedule with this learning rate, which is its highest."""
        return self.kind(learning_rate, **self.settings)


# To add one: a class above, its row here, and its name in `fastmlp.__init__`.
SCHEDULES = {
    "linear": Schedule(LinearDecay, torch="LinearLR", keras="PolynomialDecay"),
    "cosine": Schedule(Cosine, torch="CosineAnnealingLR", keras="CosineDecay"),
    "one-cycle": Schedule(OneCycle, torch="OneCycleLR"),
    "cosine-log": Schedule(CosineLog),
    "exponential": Schedule(Exponential, torch="ExponentialLR", keras="ExponentialDecay"),
    "step": Schedule(Step, {"every": 5}, torch="StepLR", keras="PiecewiseConstantDecay"),
    "plateau": Schedule(ReduceOnPlateau, {"patience": 2}, torch="ReduceLROnPlateau", keras="ReduceLROnPlateau"),
    "constant": Schedule(float, torch="ConstantLR"),
}
