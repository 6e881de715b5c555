"""Trained models."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np

from .data import encode_target, scaled_rows
from .layers import forward
from .losses import LOSSES, compute_loss, count_correct

Metrics = namedtuple("Metrics", "loss accuracy")


class MLP:
    """What `train` returns: the parameters and the history, with the methods of `fastmlp.MLP`."""

    def __init__(self, weights, biases, activations, loss, classes, input_scale, history: dict[str, list], delta=1.0):
        self.weights, self.biases, self.activations, self.delta = weights, biases, activations, delta
        self.loss, self.classes, self.input_scale, self.history = loss, classes, input_scale, history

    def _outputs(self, x, chunk=4096):
        dtype = self.weights[0].dtype.type
        chunks = [
            scaled_rows(x, slice(start, start + chunk), self.input_scale, dtype) for start in range(0, len(x), chunk)
        ]
        return np.concatenate([forward(rows, self.weights, self.biases, self.activations)[-1] for rows in chunks])

    def predict_proba(self, x: Any) -> np.ndarray:
        """Return the probabilities of the classes, (n, n_classes)."""
        probabilities = LOSSES[self.loss].probabilities
        if probabilities is None:
            raise ValueError(f"predict_proba needs a classifier, got a model with the loss {self.loss!r}")
        return probabilities(self._outputs(np.asarray(x)))

    def predict(self, x: Any) -> np.ndarray:
        """Return labels (n,), or what a regression predicts, (n, n_outputs)."""
        row = LOSSES[self.loss]
        if row.predict is not None:
            return row.predict(self._outputs(np.asarray(x)))
        return self.classes[self.predict_proba(x).argmax(axis=1)]

    def evaluate(self, x: Any, y: Any, sample_weight: Any = None) -> Metrics:
        """Return the mean loss and the accuracy."""
        target = encode_target(y, self.classes, self.weights[0].dtype)
        losses, predicted, _ = compute_loss(self._outputs(np.asarray(x)), target, self.loss, self.delta)
        loss = float(np.average(np.asarray(losses, np.float64), weights=sample_weight))
        return Metrics(loss, float(count_correct(predicted, target, self.loss) / len(target)))
