"""`MLPRegressor`, a drop-in replacement for scikit-learn's."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy.special import xlogy
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d

from fastmlp import checks
from fastmlp.data.frames import MAX_LEVELS
from fastmlp.data.targets import target_validator
from fastmlp.losses import LOSSES, OUTPUTS, output_of
from fastmlp.model import MLP
from fastmlp.sklearn.base import BaseMLP, store
from fastmlp.sklearn.documentation import choices, document
from fastmlp.sklearn.scaling import scale_of

REGRESSOR_LOSSES = ("squared_error", *(name for name, row in LOSSES.items() if not row.has_accuracy))


class MLPRegressor(RegressorMixin, BaseMLP):
    __doc__ = document(
        """Predict numbers with a multilayer perceptron that has the arguments and attributes of scikit-learn's.

    Parameters
    ----------
    loss : {losses}, default="squared_error"
        "squared_error" (half of the squares) and "poisson" (the deviance) are those of scikit-learn, whose gradients
        are sums over the outputs; the network of "poisson" computes logarithms.  The others are means over the outputs,
        as in `fastmlp.train`.
    hidden_layer_sizes : int or sequence of int, default=(100,)
        Widths of the hidden layers; ``()`` makes a linear model.
    <PARAMETERS>
    delta : float, default=1.0
        Error at which "huber" changes from squared to absolute.

    Attributes
    ----------
    <ATTRIBUTES>

    Notes
    -----
    <NOTES>
    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> import fastmlp
    >>> X, y = make_regression(n_samples=300, n_features=10, random_state=0)
    >>> model = fastmlp.MLPRegressor(random_state=0, learning_rate_init=0.01, max_iter=1000, tol=1)
    >>> model.fit(X[:200], y[:200]).score(X[200:], y[200:]) > 0.9
    True
    """,
        score="R2 on the validation set",
        activations='"identity", or "exp" with the loss "poisson".',
        losses=choices(REGRESSOR_LOSSES),
    )

    _y_checks: ClassVar[dict[str, Any]] = {"y_numeric": True}

    def __init__(
        self,
        loss="squared_error",
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        delta=1.0,
        init=None,
        input_scale=1.0,
        sparse="auto",
        threads=1,
        dropout=0.0,
        input_dropout=0.0,
        clip_norm=None,
        max_norm=None,
        missing="indicator",
        max_levels=MAX_LEVELS,
        preset=None,
    ):
        store(self, locals())

    @property
    def _loss(self) -> str:
        checks.check_choice(self.loss, "loss", REGRESSOR_LOSSES)
        return self.loss

    def _loss_settings(self) -> dict[str, float]:
        return {"delta": self.delta}

    def _out_activation(self) -> str:
        return OUTPUTS[output_of(scale_of(self._loss, 1).loss)].sklearn

    def _check_y(self, y, first: bool, incremental: bool) -> np.ndarray:
        """Return targets (n_samples, n_outputs)."""
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return y[:, None] if y.ndim == 1 else y

    def _targets(self, y: np.ndarray, sample_weight, incremental: bool):
        """Return targets for `fastmlp.train`, and weights."""
        check = target_validator(scale_of(self._loss, 1).loss)
        return check(y, len(y)), sample_weight

    def _constant(self, targets: np.ndarray, weights) -> float:
        if self._loss != "poisson":
            return 0.0
        return float(np.average(xlogy(targets, targets) - targets, axis=0, weights=weights).sum())

    def _stratify(self, targets: np.ndarray):
        return None

    def _score(self, model: MLP, X, targets: np.ndarray, sample_weight) -> float:
        predicted = model.predict(X)
        return r2_score(targets, predicted, sample_weight=sample_weight) if np.isfinite(predicted).all() else np.nan

    def partial_fit(self, X, y, sample_weight=None):
        """Train on more samples for one epoch, for data that arrive in pieces; the optimizer keeps its state.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If an argument is not as described.
        """
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X):
        """Return the predicted numbers.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        X = self._check_X(X)
        predicted = self.model_.predict(X).astype(self._precision(X), copy=False)
        return predicted[:, 0] if predicted.shape[1] == 1 else predicted

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
