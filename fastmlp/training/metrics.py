"""Metrics that `fastmlp.train` records after every epoch, besides loss and accuracy."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp.data.targets import check_labels, encode_labels

if TYPE_CHECKING:
    from fastmlp.model import MLP

Metric = Callable[["MLP", Any, np.ndarray], float]


def top_k(k: int) -> Metric:
    """Return a metric: the fraction of samples whose label is among the k classes with the largest outputs."""

    def metric(model, x, y):
        outputs = model.predict_proba(x)
        labels = encode_labels(check_labels(y, len(outputs)), model.classes).labels
        chosen = np.argpartition(-outputs, k - 1, axis=1)[:, :k] if k < outputs.shape[1] else None
        return 1.0 if chosen is None else float((chosen == labels[:, None]).any(axis=1).mean())

    return metric


def mae(model: MLP, x, y) -> float:
    """Return the mean absolute error over samples and outputs."""
    predicted = model.predict(x)
    return float(np.abs(predicted.astype(np.float64) - np.reshape(y, predicted.shape)).mean())


def r2(model: MLP, x, y) -> float:
    """Return the coefficient of determination, averaged over outputs.

    An output whose targets are constant counts 1 if they are predicted exactly, else 0.
    """
    predicted = model.predict(x).astype(np.float64)
    y = np.reshape(y, predicted.shape).astype(np.float64)
    residual, total = ((y - predicted) ** 2).sum(axis=0), ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    unexplained = np.divide(residual, total, out=np.where(residual > 0, 1.0, 0.0), where=total > 0)
    return float((1 - unexplained).mean())


def _from_predictions(function: Callable) -> Metric:
    return lambda model, x, y: float(function(y, model.predict(x)))


def _name(metric) -> str:
    return metric if isinstance(metric, str) else getattr(metric, "__name__", type(metric).__name__)


def _check_name(metric, given: dict[str, Any]) -> None:
    """Refuse a metric whose name is taken; `given` holds the earlier ones and is extended."""
    name = _name(metric)
    if callable(metric) and name in ("loss", "accuracy"):
        raise ValueError(f"metrics: a function must not be called {name!r}, because train_{name} is always recorded")
    if given.setdefault(name, metric) is not metric and not given[name] == metric:
        raise ValueError(
            f"metrics must have different names, got two called {name!r}; use functions made with def, or set __name__"
        )


def check_metrics(metrics: Any, n_classes: int | None) -> dict[str, Metric]:
    """Return the metrics by name.

    Each of `metrics` is "top_5" (or any other number) for a classifier, "mae" or "r2" for a regression, or a function
    of the targets and the predictions.
    """
    if isinstance(metrics, str) or not isinstance(metrics, Iterable):
        metrics = [metrics]
    found: dict[str, Metric] = {}
    given: dict[str, Any] = {}
    for metric in metrics:
        _check_name(metric, given)
        wanted = f'metrics must be names ("top_5", "mae", "r2") or functions of (y, predictions), got {metric!r}'
        if callable(metric):
            found[_name(metric)] = _from_predictions(metric)
        elif not isinstance(metric, str):
            raise TypeError(wanted)
        elif re.fullmatch(r"top_[1-9]\d*", metric):
            if n_classes is None:
                raise ValueError(f"metrics: {metric!r} needs class labels, which this loss does not have")
            found[metric] = top_k(int(metric[4:]))
        elif metric in ("mae", "r2"):
            if n_classes is not None:
                raise ValueError(f"metrics: {metric!r} needs a regression, but these targets are labels")
            found[metric] = {"mae": mae, "r2": r2}[metric]
        else:
            raise ValueError(wanted)
    return found
