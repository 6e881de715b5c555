"""A model evaluated on labeled data, sample by sample: what pictures and reports are made of."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp.report.statistics import (
    ClassScores,
    Interval,
    class_scores,
    confusion_matrix,
    mean_interval,
    wilson_interval,
)

if TYPE_CHECKING:
    from fastmlp.model import MLP


@dataclass
class Evaluation:
    """What a model makes of labeled data.

    Attributes
    ----------
    kind : {"classes", "labels", "regression"}
        One label per sample, several, or numbers.
    names : list of str
        Of the classes, or of the outputs.
    losses : ndarray (n,)
        The loss of every sample.
    actual, predicted : ndarray
        Indices of classes (n,); or zeros and ones, or numbers, (n, n_outputs).
    probabilities : ndarray (n, n_outputs) or None
    right : ndarray (n,) of bool, or None
        Whether all of a sample's labels are right.
    seconds : float
        Time that predicting all samples took.
    """

    kind: str
    names: list[str]
    losses: np.ndarray
    actual: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray | None
    right: np.ndarray | None
    seconds: float

    @property
    def n_samples(self) -> int:
        return len(self.losses)

    def loss(self) -> Interval:
        """Return the mean loss with its confidence interval."""
        return mean_interval(self.losses)

    def accuracy(self) -> Interval:
        """Return the accuracy with its confidence interval; of several labels per sample, the mean over labels."""
        assert self.right is not None
        if self.kind == "classes":
            return wilson_interval(int(self.right.sum()), self.n_samples)
        return mean_interval((self.actual == self.predicted).mean(axis=1))

    def all_right(self) -> Interval:
        """Return the fraction of samples of which every label is right."""
        assert self.right is not None
        return wilson_interval(int(self.right.sum()), self.n_samples)

    def confusion(self) -> np.ndarray:
        """Return the confusion matrix, rows for the actual class and columns for the predicted one."""
        return confusion_matrix(self.actual, self.predicted, len(self.names))

    def scores(self) -> ClassScores:
        """Return precision, recall and F1 of every class, or of every label."""
        if self.kind == "classes":
            counts = self.confusion()
            return class_scores(counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1))
        both = ((self.actual == 1) & (self.predicted == 1)).sum(axis=0)
        return class_scores(both, self.predicted.sum(axis=0), self.actual.sum(axis=0))

    def worst(self, n: int) -> np.ndarray:
        """Return up to `n` samples with the highest loss, highest first; of classifiers, those that are wrong."""
        order = np.argsort(-self.losses, kind="stable")
        return order[:n] if self.right is None else order[~self.right[order]][:n]


def evaluate(model: MLP, x, y) -> Evaluation:
    """Evaluate `model` on labeled data, sample by sample.

    Raises
    ------
    ValueError, TypeError
        If `x` or `y` do not suit the model, as in `MLP.evaluate`.
    """
    from fastmlp.reference import compute_loss

    model.evaluate(x, y)  # refuses bad data
    model.predict(x)  # compiles what is timed
    start = time.perf_counter()
    predicted = model.predict(x)
    seconds = time.perf_counter() - start
    outputs = model._outputs(x)[1].astype(np.float64)
    target = np.asarray(y)
    if model.classes is not None:
        target = np.searchsorted(model.classes, target.reshape(-1))
    else:
        target = target.reshape(outputs.shape).astype(np.float64)
    with np.errstate(all="ignore"):  # a model may have diverged
        losses = compute_loss(outputs, target, model.loss, model.delta)[0]
    if model.classes is not None:
        names = [str(label) for label in model.classes.tolist()]
        index = np.searchsorted(model.classes, predicted)
        return Evaluation(
            "classes", names, losses, target, index, model.predict_proba(x), index == target, seconds
        )  # fmt: skip
    names = [f"output {i}" for i in range(outputs.shape[1])]
    if not model.has_accuracy:
        return Evaluation("regression", names, losses, target, predicted, None, None, seconds)
    target = (target > 0.5).astype(np.int64)
    names = [f"label {i}" for i in range(outputs.shape[1])]
    right = (target == predicted).all(axis=1)
    return Evaluation("labels", names, losses, target, predicted, model.predict_proba(x), right, seconds)


def sample_shape(model: MLP, given: Any = "auto") -> tuple[int, ...] | None:
    """Return the shape of a sample as a picture, or None if samples are no pictures.

    "auto" takes 8 x 8 or more features for a square picture, unless they have names.
    """
    n = model.n_features
    if given is None:
        return None
    if isinstance(given, str) and given == "auto":
        side = math.isqrt(n)
        has_names = model.feature_names is not None or model.encoder is not None
        return (side, side) if side >= 8 and side * side == n and not has_names else None
    shape = tuple(given) if isinstance(given, (tuple, list)) else ()
    if len(shape) not in (2, 3) or not all(isinstance(side, int) and side > 0 for side in shape):
        raise ValueError(f'image_shape must be "auto", None, (height, width) or (height, width, 3), got {given!r}')
    if math.prod(shape) != n or shape[2:] not in ((), (1,), (3,)):
        raise ValueError(f"image_shape must have {n} pixels, as the model has features, got {given!r}")
    return shape[:2] if shape[2:] == (1,) else shape


def input_names(model: MLP) -> list[str]:
    """Return the names of the features that the network sees."""
    if model.encoder is not None:
        return model.encoder.feature_names
    return model.feature_names or [f"feature {i}" for i in range(model.n_features)]


def rows(x, samples: np.ndarray) -> np.ndarray:
    """Return some samples of an array, a data frame or a sparse matrix as an array, with a frame's own columns."""
    if hasattr(x, "iloc"):
        return x.iloc[samples].to_numpy()
    if hasattr(x, "toarray"):
        return x[samples].toarray()
    return np.asarray(x)[samples]
