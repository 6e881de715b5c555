"""The scale of a regression's targets: they are trained on with mean 0 and variance 1; the last layer turns that back.

The learning rate that suits a network's weights suits targets of that size alone.  With one factor for all outputs, the
loss that is minimized is the same but for a constant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from fastmlp.initializers import INITS

# How a loss, or a metric of the history, grows with the targets: by this power of their factor.
_POWERS = {"mse": 2, "huber": 2, "mae": 1}


class TargetScale(NamedTuple):
    """Targets are ``offset + factor * scaled``.

    Attributes
    ----------
    offset : ndarray (n_outputs,)
    factor : float
    loss : str
    """

    offset: np.ndarray
    factor: float
    loss: str

    def apply(self, y: np.ndarray) -> np.ndarray:
        """Return scaled targets."""
        return (np.asarray(y, np.float64) - self.offset) / self.factor

    def factors(self) -> dict[str, float]:
        """Return what the values in the history of training on scaled targets are multiplied by."""
        loss = self.factor ** _POWERS[self.loss]
        mae = self.factor
        parts = ("train", "validation")
        return {f"{part}_loss": loss for part in parts} | {f"{part}_mae": mae for part in parts}

    def put_into(self, model) -> None:
        """Make a model of scaled targets one of the targets themselves, and its history likewise."""
        model.weights[-1] *= np.float32(self.factor)
        model.biases[-1][:] = model.biases[-1] * self.factor + self.offset
        if self.loss == "huber":  # which was trained with delta / factor
            model.delta *= self.factor
        for name, factor in self.factors().items():
            if name in model.history:
                model.history[name] = [value * factor for value in model.history[name]]

    def view(self, model) -> SimpleNamespace:
        """Return what a callback needs of a model that is trained on scaled targets: its history in their own units."""
        factors = self.factors()
        history = {
            name: _Multiplied(values, factors[name]) if name in factors else values
            for name, values in model.history.items()
        }
        return SimpleNamespace(history=history)

    def callback(self, callback: Any) -> Any:
        """Return a callback that shows such a view to another one, which writes down what it sees."""
        return _OwnUnits(callback, self)


def target_scale(y: np.ndarray, arguments: dict[str, Any]) -> TargetScale | None:
    """Return the scale for the targets of `fastmlp.train`; None where there is none, as for labels.

    Nor is there one with initial weights that are given, which are those for targets as they are.
    """
    loss = arguments["loss"] or ("mse" if y.dtype.kind == "f" else None)
    init = INITS.get(arguments["init"]) if isinstance(arguments["init"], str) else None
    if loss not in _POWERS or init is None or not init.has_bias or y.dtype.kind not in "buif":
        return None
    y = np.asarray(y, np.float64)
    offset = np.atleast_1d(y.mean(axis=0))
    factor = float(np.sqrt(((y - offset) ** 2).mean()))
    if not np.isfinite(factor) or not 1e-30 < factor < 1e30:
        return None  # train refuses what is not finite; what is constant needs no scale
    return TargetScale(offset, factor, loss)


class _Multiplied(Sequence):
    """A list of numbers, each multiplied by a factor when it is asked for."""

    def __init__(self, values: Sequence[float], factor: float):
        self.values, self.factor = values, factor

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, i):
        return self.values[i] * self.factor


class _OwnUnits:
    """See `TargetScale.callback`."""

    def __init__(self, callback: Any, scale: TargetScale):
        self.callback, self.scale = callback, scale

    def on_train_begin(self, model) -> None:
        self._call(getattr(self.callback, "on_train_begin", None), model)

    def on_epoch_end(self, model) -> Any:
        return self._call(getattr(self.callback, "on_epoch_end", self.callback), model)

    def _call(self, method: Callable | None, model) -> Any:
        return None if method is None else method(self.scale.view(model))
