"""What scikit-learn's MLPs do after every epoch: record, lower the learning rate, stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from fastmlp.model import MLP
from fastmlp.monitor import Best

if TYPE_CHECKING:
    from fastmlp.sklearn.base import BaseMLP

SLOWEST = 1e-6  # the learning rate from which on "adaptive" stops instead of dividing by five

DIVERGED = "The loss became NaN or infinite in iteration {}. The best one before that is kept."

# scikit-learn's words
NOT_CONVERGED = "Stochastic Optimizer: Maximum iterations ({}) reached and the optimization hasn't converged yet."
NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)


class Progress:
    """Record, lower the learning rate and stop by the rules of scikit-learn's estimators.

    An instance is both a callback and a schedule of `fastmlp.train`.

    Parameters
    ----------
    estimator : BaseMLP
        Its attributes are kept up to date.
    n_samples : int
        Number of samples per epoch.
    rate_factor : float
        Learning rate of `fastmlp.train` for a learning rate of 1 in the estimator.
    loss_of : function of the model and its loss
        Returns the loss as scikit-learn defines it.
    score_of : function of the model, optional
        Returns the score on the validation set.  With it, the parameters of the best epoch are restored in the end.
    """

    def __init__(
        self,
        estimator: BaseMLP,
        n_samples: int,
        rate_factor: float,
        loss_of: Callable[[MLP, float], float],
        score_of: Callable[[MLP], float] | None,
    ):
        self.estimator, self.n_samples, self.rate_factor = estimator, n_samples, rate_factor
        self.loss_of, self.score_of, self.stopped = loss_of, score_of, False

    def rate(self, epoch: np.ndarray, epochs: int) -> np.ndarray:
        return np.full(np.shape(epoch), self.estimator._rate * self.rate_factor)

    def on_train_begin(self, model: MLP) -> None:
        self._keep(model)

    def on_epoch_end(self, model: MLP) -> bool:
        self.record(model, model.history["train_loss"][-1])
        return self.stopped

    def on_train_end(self, model: MLP) -> None:
        if self.score_of is not None:
            for target, value in zip(model.weights + model.biases, self._best):
                target[:] = value

    def record(self, model: MLP, loss: float) -> None:
        """Record an epoch that has ended with this loss."""
        estimator = self.estimator
        estimator.n_iter_ += 1
        estimator.loss_ = self.loss_of(model, loss)
        estimator.t_ += self.n_samples
        estimator.loss_curve_.append(estimator.loss_)
        self._say(f"Iteration {estimator.n_iter_}, loss = {estimator.loss_:.8f}")
        best = self._update_best(model)
        estimator._no_improvement_count = best.waited
        if estimator.solver == "sgd" and estimator.learning_rate == "invscaling":
            estimator._rate = estimator.learning_rate_init / (estimator.t_ + 1) ** estimator.power_t
        if best.is_patience_over:
            self._stop_or_slow_down()

    def record_divergence(self, model: MLP) -> None:
        """Record an epoch whose loss was not finite, and restore the parameters of the best one."""
        estimator = self.estimator
        estimator.n_iter_ += 1
        estimator.t_ += self.n_samples
        estimator.loss_ = float("nan")
        estimator.loss_curve_.append(estimator.loss_)
        estimator.validation_scores_.append(float("nan"))
        self.on_train_end(model)

    def _update_best(self, model: MLP) -> Best:
        """Compare the epoch's validation score, or else its loss, with the best one."""
        estimator, score_of = self.estimator, self.score_of
        value = estimator.best_loss_ if score_of is None else estimator.best_validation_score_
        best = Best(
            higher_is_better=score_of is not None, min_delta=estimator.tol, patience=estimator.n_iter_no_change,
            keeps_any_gain=True, value=value, waited=estimator._no_improvement_count,
        )  # fmt: skip
        if score_of is None:
            best.update(estimator.loss_)
            estimator.best_loss_ = best.value
            return best
        score = score_of(model)
        estimator.validation_scores_.append(score)
        self._say(f"Validation score: {score:f}")
        if best.update(score):
            estimator.best_validation_score_ = score
            self._keep(model)
        return best

    def _keep(self, model: MLP) -> None:
        if self.score_of is not None:
            self._best = [array.copy() for array in model.weights + model.biases]

    def _stop_or_slow_down(self) -> None:
        estimator = self.estimator
        what = "Training loss" if self.score_of is None else "Validation score"
        patience = estimator.n_iter_no_change
        message = f"{what} did not improve more than tol={estimator.tol:f} for {patience} consecutive epochs."
        if estimator.solver != "sgd" or estimator.learning_rate != "adaptive":
            self.stopped = True
            self._say(f"{message} Stopping.")
        elif estimator._rate <= SLOWEST:
            self.stopped = True
            self._say(f"{message} Learning rate too small. Stopping.")
        else:
            estimator._rate /= 5
            estimator._no_improvement_count = 0
            self._say(f"{message} Setting learning rate to {estimator._rate:f}")

    def _say(self, message: str) -> None:
        if self.estimator.verbose:
            print(message)
