"""`preset="tabular"` of the estimators: `fastmlp.tabular` with scikit-learn's interface."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight

from fastmlp import checks
from fastmlp.data.columns import Table
from fastmlp.data.targets import check_not_weightless, check_sample_weight
from fastmlp.errors import DivergenceError
from fastmlp.many.ensemble import Ensemble
from fastmlp.model import MLP
from fastmlp.sklearn.members import average
from fastmlp.sklearn.progress import NOT_FINITE
from fastmlp.sklearn.scaling import scale_of
from fastmlp.tabular_preset import tabular

PRESETS = (None, "tabular")


def check_preset(estimator: Any, first: bool) -> None:
    """Raise an error if a fit without a preset would continue one with it."""
    fitted_by = vars(estimator).get("_fitted_by")
    if not first and fitted_by is not None:
        raise ValueError(f"preset must stay {fitted_by!r}, got None: call fit, without warm_start, to begin anew")
    estimator._fitted_by = None


def fit_preset(estimator: Any, X, y, sample_weight, incremental: bool) -> None:
    """Fit an estimator by `fastmlp.tabular`."""
    checks.check_choice(estimator.preset, "preset", PRESETS)
    if incremental or estimator.warm_start:
        what = "partial_fit" if incremental else "warm_start=True"
        raise ValueError(f"{what} is not for preset={estimator.preset!r}, whose schedule is that of a whole run")
    n_members = checks.check_integer(estimator.n_members, "n_members", 1)
    validation = checks.check_fraction(estimator.validation_fraction, "validation_fraction")
    X, y = estimator._check_data(X, y, True, False)
    if not 0 < round(X.shape[0] * validation) < X.shape[0]:
        raise ValueError(
            f"validation_fraction must leave samples in both parts with preset={estimator.preset!r}, "
            f"got {validation} of {X.shape[0]} samples"
        )
    if sample_weight is not None:
        sample_weight = _check_sample_weight(sample_weight, X, dtype=np.float64)
        check_sample_weight(sample_weight, X.shape[0])
    targets, weights = estimator._targets(y, sample_weight, False)
    check_not_weightless(weights, np.arange(X.shape[0]), "trained on")
    classes = np.arange(len(estimator.classes_)) if targets.ndim == 1 else None
    if not hasattr(estimator, "classes_"):  # what is made float32 there is scaled in float64 first
        targets = y
    more = {"missing": estimator.missing, "max_levels": estimator.max_levels} if isinstance(X, Table) else {}
    try:
        model = tabular(
            X, targets, validation=validation, loss=scale_of(estimator._loss, 1).loss, classes=classes,
            sample_weight=weights, threads=estimator.threads, progress=False,
            seed=int(check_random_state(estimator.random_state).randint(2**31 - 1)), n_members=n_members, **more,
        )  # fmt: skip
    except DivergenceError as error:
        raise ValueError(NOT_FINITE) from error
    estimator._fitted_by = estimator.preset
    vars(estimator).pop("estimators_", None)
    n_trained = X.shape[0] - round(X.shape[0] * validation)
    if not isinstance(model, Ensemble):
        _record(estimator, model, n_trained)
        return
    members = [copy.copy(estimator).set_params(n_members=1) for _ in model.models]
    for member, own in zip(members, model.models):
        _record(member, own, n_trained)
    estimator._reset(model.models[0].widths)
    estimator.estimators_, estimator.model_ = members, model
    average(estimator, members)


def _record(estimator: Any, model: MLP, n_trained: int) -> None:
    """Set an estimator's model, and what scikit-learn's estimators record."""
    estimator._reset(model.widths)
    estimator.model_, history = model, model.history
    estimator.n_iter_ = len(history["epoch"])
    estimator.t_ = estimator.n_iter_ * n_trained
    estimator.loss_curve_ = list(history["train_loss"])
    estimator.loss_, estimator.best_loss_ = estimator.loss_curve_[-1], min(estimator.loss_curve_)
    if model.has_accuracy:
        estimator.validation_scores_ = list(history["validation_accuracy"])
        estimator.best_validation_score_ = max(estimator.validation_scores_)
