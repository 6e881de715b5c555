"""Statistics of predictions: confidence intervals, confusion matrix, precision and recall."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

Z = 1.959963984540054  # the normal distribution's quantile for an interval of 95%
RESAMPLES = 2000
MOST_RESAMPLED = 20_000  # samples; with more, a mean is normally distributed for all that matters here


class Interval(NamedTuple):
    """An estimate with its 95% confidence interval, and the method's name."""

    value: float
    low: float
    high: float
    method: str


def wilson_interval(successes: float, n: int) -> Interval:
    """Return a fraction with Wilson's score interval.

    E. B. Wilson (1927), Probable inference, the law of succession, and statistical inference, JASA 22, 209-212.
    """
    p, z2 = successes / n, Z * Z
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return Interval(p, max(0.0, min(middle - half, p)), min(1.0, max(middle + half, p)), "Wilson 1927")


def mean_interval(values: np.ndarray, seed: int = 0) -> Interval:
    """Return a mean with its interval: the bootstrap's percentiles, or the normal distribution's for many values.

    B. Efron (1979), Bootstrap methods: another look at the jackknife, Annals of Statistics 7, 1-26.
    """
    values = np.asarray(values, np.float64)
    n, mean = len(values), float(values.mean())
    if not np.isfinite(mean):
        return Interval(mean, math.nan, math.nan, "none: not finite")
    if n > MOST_RESAMPLED:
        half = Z * float(values.std(ddof=1)) / math.sqrt(n)
        return Interval(mean, mean - half, mean + half, "normal distribution")
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(0, n, n)].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(mean, float(low), float(high), "bootstrap, Efron 1979")


def confusion_matrix(actual: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Return how many samples of each class (rows) were predicted as each class (columns), from indices of classes."""
    counts = np.bincount(actual.astype(np.int64) * n_classes + predicted, minlength=n_classes * n_classes)
    return counts.reshape(n_classes, n_classes)


class ClassScores(NamedTuple):
    """Precision, recall and F1 of every class, NaN where they are 0 / 0, and how many samples belong to it."""

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray


def class_scores(right: np.ndarray, predicted: np.ndarray, actual: np.ndarray) -> ClassScores:
    """Return scores from three counts of each class: predicted rightly, predicted, and actual."""
    with np.errstate(invalid="ignore"):
        return ClassScores(right / predicted, right / actual, 2 * right / (predicted + actual), actual)


def regression_scores(targets: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """Return mean absolute error, root of the mean squared error and R² of every output (n_outputs,)."""
    error = predicted.astype(np.float64) - targets
    total = ((targets - targets.mean(axis=0)) ** 2).sum(axis=0)
    squares = (error**2).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        r2 = np.where(total > 0, 1 - squares / total, np.nan)
    return {"MAE": np.abs(error).mean(axis=0), "RMSE": np.sqrt(squares / len(error)), "R²": r2}
