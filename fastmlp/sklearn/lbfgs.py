"""The solver "lbfgs": SciPy's L-BFGS-B minimizes the loss over all samples, whose gradient the kernels compute."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.optimize import minimize
from sklearn.utils.optimize import _check_optimize_result

from fastmlp.engine.gradient import LossAndGradient, StoreGradient
from fastmlp.model import MLP
from fastmlp.sklearn.progress import NOT_FINITE
from fastmlp.sklearn.scaling import Scale
from fastmlp.train import train
from fastmlp.training.settings import check_settings
from fastmlp.training.trainer import Trainer

if TYPE_CHECKING:
    from fastmlp.sklearn.base import BaseMLP

# Samples that go through the kernels at a time: enough to make adding up their gradients cheap, and few enough for
# their activations to stay in cache.
BATCH_SIZE = 1024

# Of steps, of which this solver has none.
OF_STEPS = {"dropout": 0.0, "input_dropout": 0.0, "clip_norm": None, "max_norm": None}


def has_epochs(estimator) -> bool:
    """Return whether there is a `partial_fit`; else raise the error that says why not."""
    if estimator.solver == "lbfgs":
        raise AttributeError(
            f"partial_fit is only available for stochastic optimizers. {estimator.solver} is not stochastic."
        )
    return True


class Objective(NamedTuple):
    """What is minimized: ``scale.gradient`` times the loss of `fastmlp.train`, a constant, and the penalty.

    Attributes
    ----------
    alpha : float
        Strength of the penalty ``alpha / 2 * (W**2).sum()``.
    scale : Scale
        From the loss of `fastmlp.train` to that of scikit-learn.
    constant : float
    """

    alpha: float
    scale: Scale
    constant: float


def check_options(estimator: BaseMLP) -> None:
    """Refuse arguments that only solvers with steps have."""
    for name, without in OF_STEPS.items():
        value = getattr(estimator, name)
        if value is not None and np.any(value):
            raise ValueError(f"{name} must be {without} with solver='lbfgs', which takes all samples, got {value!r}")


LINE_SEARCH_FAILED = 2  # SciPy's status of L-BFGS-B


def _is_exact(result) -> bool:
    """Return whether no step can lower the loss by more than it is rounded, in float32.

    A line search fails then, before the gradient is as small as `tol` asks for.
    """
    decrease = result.jac @ result.hess_inv(result.jac) / 2  # of a Newton step
    return bool(decrease <= np.finfo(np.float32).eps * abs(result.fun))


def fit(estimator: BaseMLP, X, y, arguments: dict[str, Any], objective: Objective) -> MLP:
    """Return a network trained on all samples, and set the estimator's `n_iter_` and `loss_`.

    Parameters
    ----------
    arguments : dict
        Arguments of `fastmlp.train`, as far as they are not about steps.
    """
    defaults = {name: parameter.default for name, parameter in inspect.signature(train).parameters.items()}
    settings = check_settings(
        {**defaults, **arguments, "x": X, "y": y, "optimizer": StoreGradient(), "batch_size": BATCH_SIZE}
    )
    trainer = Trainer(settings, settings.seed)
    function = LossAndGradient(trainer.executor, X.shape[0], settings.targets.weights)
    n_weights = sum(weight.size for weight in trainer.model.weights)
    last: dict[str, float] = {}  # the losses of the last parameters, as scikit-learn defines them

    def evaluate(flat: np.ndarray) -> tuple[float, np.ndarray]:
        loss, gradient = function(flat)
        weights = flat[:n_weights]
        penalty = objective.constant + objective.alpha / 2 * float(weights @ weights)
        last["loss"] = loss * objective.scale.value + penalty
        gradient *= objective.scale.gradient
        gradient[:n_weights] += objective.alpha * weights
        return loss * objective.scale.gradient + penalty, gradient

    n_reported = 0

    def report(_) -> None:
        nonlocal n_reported
        n_reported += 1
        print(f"Iteration {n_reported}, loss = {last['loss']:.8f}")

    result = minimize(
        evaluate, function.parameters(), method="L-BFGS-B", jac=True, callback=report if estimator.verbose else None,
        options={"maxfun": estimator.max_fun, "maxiter": estimator.max_iter, "gtol": estimator.tol},
    )  # fmt: skip
    evaluate(result.x)
    if not np.isfinite(last["loss"]):
        raise ValueError(NOT_FINITE)
    if result.status == LINE_SEARCH_FAILED and _is_exact(result):
        result.status = 0  # scikit-learn warns of others
    estimator.n_iter_ = _check_optimize_result("lbfgs", result, estimator.max_iter)
    estimator.loss_ = last["loss"]
    return trainer.model
