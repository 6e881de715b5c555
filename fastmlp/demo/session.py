"""What the demo computes: how a network sees a drawing, and what it learns from a correction."""

from __future__ import annotations

import copy
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastmlp.datasets.digit_image import SIZE, digit_image
from fastmlp.losses import LOSSES

if TYPE_CHECKING:
    from fastmlp.model import MLP

# Learning rates to try for a correction, smallest first.  Of 32 careless drawings that the demo's own network misread,
# all were learnt at 0.0025 to 0.01, which cost 0.02 points of MNIST's test accuracy in the mean, and 0.14 at most; a
# fixed rate of 0.05 costs 5 points, 0.1 costs 17.
LEARNING_RATES = tuple(0.0025 * 2**i for i in range(10))
LEARNT = 0.5  # probability from which on a correction counts as learnt

SHOWN_UNITS = 512  # of a layer


class Answer(NamedTuple):
    """What a network makes of a drawing.

    Attributes
    ----------
    seen : ndarray (784,) of uint8
        The network's input.
    units : list of ndarray
        Outputs of every hidden layer's units, up to SHOWN_UNITS each.
    probabilities : ndarray (n_classes,)
    """

    seen: np.ndarray
    units: list[np.ndarray]
    probabilities: np.ndarray

    def as_json(self) -> dict[str, Any]:
        """Return the answer in JSON types."""
        return {
            "seen": self.seen.tolist(),
            "units": [np.nan_to_num(units).round(4).tolist() for units in self.units],
            "probabilities": np.nan_to_num(self.probabilities).round(6).tolist(),
        }


def check_model(model: MLP) -> None:
    """Raise a ValueError if a model does not tell pictures of 28 x 28 pixels apart."""
    if model.classes is None or model.n_features != SIZE * SIZE or LOSSES[model.loss].whole_batch:
        kind = "labels" if model.classes is not None else "no labels"
        raise ValueError(
            f"the demo needs a classifier of {SIZE} x {SIZE} pixels, which are {SIZE * SIZE} features; "
            f"this model has {model.n_features} features, {kind} and the loss {model.loss!r}"
        )


class Session:
    """A network that answers to drawings, and learns from corrections.

    Parameters
    ----------
    model : MLP
        It is not changed: what learns is a copy.
    """

    def __init__(self, model: MLP):
        check_model(model)
        assert model.classes is not None
        self.labels = [str(label) for label in model.classes.tolist()]
        self._classes = model.classes
        self._original = copy.copy(model)
        self._model = self._original
        self._lock = threading.Lock()  # one correction at a time

    def answer(self, drawing: np.ndarray) -> Answer:
        """Return what the network makes of a drawing (height, width) of uint8."""
        return _answer(self._model, digit_image(drawing))

    def learn(self, drawing: np.ndarray, label: int) -> tuple[Answer, Answer, float]:
        """Take one step of `partial_fit` towards a label, given by its index.

        Of LEARNING_RATES, the smallest is taken with which the label becomes probable, so that the network forgets
        little of what it knew.

        Returns
        -------
        before, after : Answer
        learning_rate : float
        """
        from fastmlp import DivergenceError

        seen = digit_image(drawing)
        with self._lock:
            before = _answer(self._model, seen)
            chosen, after, rate = self._model, before, 0.0
            for learning_rate in LEARNING_RATES:
                trial = copy.copy(self._model)
                try:
                    trial.partial_fit(seen[None], self._classes[[label]], learning_rate=learning_rate)
                except DivergenceError:
                    break
                answer = _answer(trial, seen)
                if not np.isfinite(answer.probabilities).all():
                    break
                chosen, after, rate = trial, answer, learning_rate
                if after.probabilities[label] >= LEARNT:
                    break
            self._model = chosen
        return before, after, rate

    def forget(self) -> None:
        """Go back to the network as it was before all corrections."""
        with self._lock:
            self._model = self._original


def _answer(model: MLP, seen: np.ndarray) -> Answer:
    return Answer(seen, hidden_units(model, seen), model.predict_proba(seen[None])[0])


def hidden_units(model: MLP, seen: np.ndarray) -> list[np.ndarray]:
    """Return the outputs of the hidden layers' units for one sample, computed in NumPy."""
    from fastmlp.reference import forward

    scale = model.input_scale
    if hasattr(scale, "offset"):
        x = (seen - scale.offset) * scale.factor
    else:
        x = seen * (1 / 255 if isinstance(scale, str) else scale)
    outputs = forward(x[None].astype(np.float32), model.weights[:-1], model.biases[:-1], model.activations)
    return [units[0][:SHOWN_UNITS] for units in outputs[1:]]
