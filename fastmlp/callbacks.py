"""Callbacks for `fastmlp.train`: early stopping, time limits, logging and saving.

A callback is an object with any of the methods ``on_train_begin(model)``, ``on_epoch_end(model)`` and
``on_train_end(model)``.  The model's `history` holds what has been recorded so far.  Training ends when
``on_epoch_end`` returns True.  A callback that keeps state from epoch to epoch should define ``state_dict()``, which
returns a dict of numbers, strings and arrays, and ``load_state_dict(state)``, so that training runs with
``checkpoint=`` can be resumed.
"""

from __future__ import annotations

import math
import os
import time

from fastmlp import checks
from fastmlp.deprecation import renamed
from fastmlp.model import MLP
from fastmlp.monitor import Best
from fastmlp.monitor import higher_is_better as should_increase


class RestoreBest:
    """Train for all epochs, and restore the weights of the best one at the end.

    Parameters
    ----------
    metric : str
        A name in the model's history.  Accuracies, top-k and R2 should increase, everything else should decrease.
    ties : "first" or "last"
        Which of several epochs with the same best value is the best one.
    higher_is_better : bool, optional
        Whether the metric should increase; needed for metrics of your own that should.

    Attributes
    ----------
    best_epoch : int or None
        Number of the epoch with the best value, counted from 1.

    Examples
    --------
    >>> mnist = fastmlp.load_mnist()
    >>> x, y = mnist.x_train[:1000], mnist.y_train[:1000]
    >>> best = fastmlp.callbacks.RestoreBest("validation_accuracy", ties="last")
    >>> model = fastmlp.train(x, y, validation=0.2, epochs=5, callbacks=best, seed=0)
    >>> model.history["validation_accuracy"][best.best_epoch - 1] == max(model.history["validation_accuracy"])
    True
    """

    def __init__(self, metric: str = "validation_loss", *, ties: str = "first", higher_is_better: bool | None = None):
        if not isinstance(metric, str):
            raise TypeError(f"metric must be the name of a recorded metric, got {metric!r}")
        checks.check_choice(ties, "ties", ("first", "last"))
        self.metric, self.ties = metric, ties
        self.higher_is_better = should_increase(metric) if higher_is_better is None else higher_is_better
        self.restore_best = True

    def _new_best(self) -> Best:
        return Best(self.higher_is_better, takes_ties=self.ties == "last")

    def on_train_begin(self, model: MLP) -> None:
        if self.metric not in model.history:
            raise ValueError(f"metric must be one of {', '.join(model.history)}, got {self.metric!r}")
        self._best = self._new_best()
        self.best_epoch: int | None = None
        self._parameters: list | None = None

    def on_epoch_end(self, model: MLP) -> bool:
        value, epoch = model.history[self.metric][-1], model.history["epoch"][-1]
        if math.isnan(value):
            raise ValueError(f"metric {self.metric!r} has no value; pass validation= to train()")
        if self._best.update(value):
            self.best_epoch = epoch
            if self.restore_best:
                self._parameters = [array.copy() for array in model.weights + model.biases]
        elif self.best_epoch is not None:
            self._best.waited = epoch - self.best_epoch  # checkpoints of earlier versions have no count
        return self._best.is_patience_over

    def state_dict(self) -> dict:
        arrays = {f"parameter.{i}": array for i, array in enumerate(self._parameters or [])}
        return {**self._best.state_dict(), "best_epoch": self.best_epoch, "n_parameters": len(arrays), **arrays}

    def load_state_dict(self, state: dict) -> None:
        self.best_epoch = state["best_epoch"]
        if "best" in state:  # of an earlier version, negative where lower is better
            best = state["best"]
            state = {**state, "value": best if best is None or self.higher_is_better else -best, "waited": 0}
        self._best.load_state_dict(state)
        arrays = [state[f"parameter.{i}"] for i in range(state["n_parameters"])]
        self._parameters = arrays or None

    def on_train_end(self, model: MLP) -> None:
        if self._parameters is not None:
            for target, value in zip(model.weights + model.biases, self._parameters):
                target[:] = value


@renamed(rises="higher_is_better")
class EarlyStopping(RestoreBest):
    """End training when a recorded metric stops improving, and restore the weights of the best epoch.

    Parameters
    ----------
    metric : str
        A name in the model's history.  Accuracies, top-k and R2 should increase, everything else should decrease.
    patience : int
        Number of epochs without improvement that are tolerated; training ends after one more.
    min_delta : float, >= 0
        Smallest improvement that counts.
    restore_best : bool
        Whether to restore the weights of the best epoch at the end.
    higher_is_better : bool, optional
        Whether the metric should increase; needed for metrics of your own that should.

    Attributes
    ----------
    best_epoch : int or None
        Number of the epoch with the best value, counted from 1.

    Examples
    --------
    >>> mnist = fastmlp.load_mnist()
    >>> x, y = mnist.x_train[:1000], mnist.y_train[:1000]
    >>> stopping = fastmlp.callbacks.EarlyStopping("validation_accuracy", patience=2)
    >>> model = fastmlp.train(x, y, validation=0.2, epochs=100, callbacks=stopping, seed=0)
    >>> len(model.history["epoch"]) - stopping.best_epoch
    3
    """

    def __init__(
        self,
        metric: str = "validation_loss",
        *,
        patience: int = 5,
        min_delta: float = 0.0,
        restore_best: bool = True,
        higher_is_better: bool | None = None,
    ):
        super().__init__(metric, higher_is_better=higher_is_better)
        self.restore_best = restore_best
        self.patience = checks.check_integer(patience, "patience", 0)
        if isinstance(min_delta, bool) or not isinstance(min_delta, (int, float)):
            raise TypeError(f"min_delta must be a finite number >= 0, got {min_delta!r}")
        if not 0 <= min_delta < math.inf:
            raise ValueError(f"min_delta must be a finite number >= 0, got {min_delta!r}")
        self.min_delta = min_delta

    def _new_best(self) -> Best:
        return Best(self.higher_is_better, self.min_delta, self.patience)


class TimeBudget:
    """End training after the epoch in which a time limit is reached.

    Parameters
    ----------
    seconds : float, > 0
        Time limit, measured from the start of training.

    Examples
    --------
    >>> mnist = fastmlp.load_mnist()
    >>> x, y = mnist.x_train[:1000], mnist.y_train[:1000]
    >>> model = fastmlp.train(x, y, epochs=10**9, callbacks=fastmlp.callbacks.TimeBudget(0.1))
    >>> len(model.history["epoch"]) >= 1
    True
    """

    def __init__(self, seconds: float):
        self.seconds = checks.check_positive(seconds, "seconds")

    def on_train_begin(self, model: MLP) -> None:
        self._start = time.monotonic()

    def on_epoch_end(self, model: MLP) -> bool:
        return time.monotonic() - self._start >= self.seconds

    def state_dict(self) -> dict:
        return {"elapsed": time.monotonic() - self._start}

    def load_state_dict(self, state: dict) -> None:
        self._start = time.monotonic() - state["elapsed"]


class CSVLog:
    """Write the history to a CSV file, one line per epoch.

    Parameters
    ----------
    path : str or path
        An existing file is overwritten when training begins.

    Examples
    --------
    >>> mnist = fastmlp.load_mnist()
    >>> x, y = mnist.x_train[:1000], mnist.y_train[:1000]
    >>> model = fastmlp.train(x, y, epochs=2, callbacks=fastmlp.callbacks.CSVLog("history.csv"))
    >>> from pathlib import Path
    >>> len(Path("history.csv").read_text().splitlines())
    3
    """

    def __init__(self, path: str | os.PathLike):
        self.path = path

    def _write(self, mode: str, row) -> None:
        import csv

        with open(self.path, mode, newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(row)

    def on_train_begin(self, model: MLP) -> None:
        self._names, self._written = list(model.history), 0
        self._write("w", self._names)

    def on_epoch_end(self, model: MLP) -> None:
        n = len(model.history["epoch"])
        for i in range(self._written, n):  # after a resume, earlier epochs too
            self._write("a", [model.history[name][i] for name in self._names])
        self._written = n


class Checkpoint:
    """Save the model after every epoch, or only after those that are the best so far.

    Parameters
    ----------
    path : str or path
        An existing file is replaced, once the new one is complete.
    best : str, optional
        A name in the model's history: save only after epochs in which it is the best so far.

    Examples
    --------
    >>> mnist = fastmlp.load_mnist()
    >>> x, y = mnist.x_train[:1000], mnist.y_train[:1000]
    >>> best = fastmlp.callbacks.Checkpoint("best.safetensors", best="validation_loss")
    >>> model = fastmlp.train(x, y, validation=0.2, epochs=5, callbacks=best, seed=0)
    >>> fastmlp.load("best.safetensors").predict(x).shape
    (1000,)
    """

    def __init__(self, path: str | os.PathLike, best: str | None = None):
        self.path, self.best = path, best

    def on_train_begin(self, model: MLP) -> None:
        if self.best is not None and self.best not in model.history:
            raise ValueError(f"best must be one of {', '.join(model.history)}, got {self.best!r}")
        self._best = Best(should_increase(self.best or ""))
        self._seen = 0  # epochs

    def on_epoch_end(self, model: MLP) -> None:
        is_best = self.best is None
        if self.best is not None:
            values = model.history[self.best]
            for value in values[self._seen :]:  # after a resume, those of earlier epochs too
                is_best = self._best.update(value)
            self._seen = len(values)
        if is_best:
            model.save(self.path)
