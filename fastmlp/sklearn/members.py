"""Estimators of several networks: each is an estimator of its own, and their predictions are averaged."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fastmlp.errors import DivergenceError
from fastmlp.many.ensemble import Ensemble
from fastmlp.many.training import train_many
from fastmlp.sklearn.progress import DIVERGED, NOT_CONVERGED

if TYPE_CHECKING:
    from fastmlp.sklearn.base import BaseMLP


def check_members(estimator: BaseMLP, first: bool) -> None:
    """Raise an error if a fit continues with another number of members; forget the members where it does not."""
    if estimator.n_members > 1 and estimator.solver == "lbfgs":
        raise ValueError(f"n_members must be 1 with solver='lbfgs', got {estimator.n_members}")
    found = len(vars(estimator).get("estimators_", [None]))
    if first and hasattr(estimator, "estimators_"):
        del estimator.estimators_
    elif not first and found != estimator.n_members:
        raise ValueError(f"n_members must stay {found} to continue training, got {estimator.n_members}")


def fit_members(
    estimator: BaseMLP, X, targets, weights, widths, init, score_of, random, first: bool, incremental: bool, encoder
) -> None:
    """Train all members, and have the estimator average them; `init` is the first one's initial network."""
    members: list[Any] = estimator.estimators_ if not first else []
    for _ in range(estimator.n_members if first else 0):
        member = copy.copy(estimator)
        member.n_members = 1
        member._reset(widths)
        members.append(member)
    for member in members:
        member.set_params(**{**estimator.get_params(deep=False), "n_members": 1})  # which may have changed since
        member.n_iter_ = 0
        if first or not incremental:
            member._rate = estimator._rate
        if not first and bool(estimator.early_stopping) != (member.validation_scores_ is not None):
            member._reset_best()
    if incremental and not first:
        for member in members:
            member._continue(X, targets, weights, widths)
    else:
        _train(estimator, members, X, targets, weights, widths, init, score_of, random, first, incremental, encoder)
    estimator.estimators_ = members
    estimator.model_ = Ensemble([member.model_ for member in members])
    average(estimator, members)


def _train(
    estimator: BaseMLP, members: list, X, targets, weights, widths, init, score_of, random, first: bool,
    incremental: bool, encoder,
) -> None:  # fmt: skip
    configs, watched = [], []
    for k, member in enumerate(members):
        if first and k:
            init = estimator._initial(widths, random)
        own = init if first else member.model_
        settings, progress = member._settings(targets, weights, widths, own, score_of, random, incremental, encoder)
        configs.append(settings)
        watched.append(progress)
    diverged = []
    on_error = "raise" if score_of is None else "return"
    models = train_many(configs, X, targets, threads=estimator.threads, on_error=on_error)
    for member, progress, model in zip(members, watched, models):
        if isinstance(model, DivergenceError):  # its best epoch is kept, as of a single network
            model = model.model
            progress.record_divergence(model)
            diverged.append(member.n_iter_)
        elif isinstance(model, Exception):
            raise model
        member.model_, model.threads = model, estimator.threads
        if encoder is not None:
            model.encoder, model.feature_names = encoder, encoder.names
    if diverged:
        warnings.warn(DIVERGED.format(", ".join(map(str, sorted(set(diverged))))), ConvergenceWarning, stacklevel=5)
    elif not incremental and not all(progress.stopped for progress in watched):
        warnings.warn(NOT_CONVERGED.format(estimator.max_iter), ConvergenceWarning, stacklevel=5)


def average(estimator: BaseMLP, members: list) -> None:
    """Set what scikit-learn's estimators record."""
    estimator.n_iter_, estimator.t_ = max(m.n_iter_ for m in members), max(m.t_ for m in members)
    estimator.loss_ = float(np.mean([member.loss_ for member in members]))
    estimator.loss_curve_ = _mean_curve([member.loss_curve_ for member in members])
    if members[0].validation_scores_ is not None:
        estimator.validation_scores_ = _mean_curve([member.validation_scores_ for member in members])
        estimator.best_validation_score_ = float(np.mean([member.best_validation_score_ for member in members]))
    else:
        estimator.best_loss_ = float(np.mean([member.best_loss_ for member in members]))


def _mean_curve(curves: list[list[float]]) -> list[float]:
    """Return the mean in every epoch over the members that were trained in it."""
    longest = max(map(len, curves))
    return [float(np.mean([curve[k] for curve in curves if k < len(curve)])) for k in range(longest)]
