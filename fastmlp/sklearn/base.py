"""The base class of `MLPClassifier` and `MLPRegressor`: from scikit-learn's arguments to those of `fastmlp.train`."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    _check_sample_weight,
    _check_y,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from fastmlp import checks
from fastmlp.activations import FROM_SKLEARN
from fastmlp.data.arrays import is_csr, is_frame
from fastmlp.data.columns import Table, needs_encoding, read_table
from fastmlp.data.frames import MISSING, FrameEncoder
from fastmlp.data.targets import check_not_weightless, check_sample_weight
from fastmlp.errors import DivergenceError
from fastmlp.many.ensemble import Ensemble
from fastmlp.model import MLP
from fastmlp.optimizers import OPTIMIZERS, Optimizer
from fastmlp.sklearn import lbfgs
from fastmlp.sklearn.members import check_members, fit_members
from fastmlp.sklearn.preset import check_preset, fit_preset
from fastmlp.sklearn.progress import DIVERGED, NOT_CONVERGED, NOT_FINITE, Progress
from fastmlp.sklearn.scaling import Scale, initial_network, optimizer_for, scale_of
from fastmlp.train import train

DTYPES = (np.float64, np.float32, np.uint8)  # kept as they are; anything else is converted to the first one
SOLVERS = ("lbfgs", *OPTIMIZERS)
OF_EPOCHS = ("t_", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_")
LEARNING_RATES = ("constant", "invscaling", "adaptive")


class Weights(list):
    """Arrays of a model; values that are assigned are copied into them."""

    def __setitem__(self, index, value):
        for array, new in zip(self[index], value) if isinstance(index, slice) else [(self[index], value)]:
            array[:] = new


def store(estimator, arguments: dict[str, Any]) -> None:
    """Make all arguments of a constructor attributes, as scikit-learn requires."""
    for name, value in arguments.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)


class BaseMLP(BaseEstimator):
    """Fit; derived classes handle the targets."""

    model_: Any  # MLP, or Ensemble if there are several members
    estimators_: list[Any]
    loss_: float
    loss_curve_: list[float]
    best_loss_: Any  # None with early_stopping; the next two are None without
    validation_scores_: Any
    best_validation_score_: Any

    @property
    def coefs_(self) -> list[np.ndarray]:
        return Weights(self._fitted("coefs_").weights)

    @coefs_.setter
    def coefs_(self, values) -> None:
        self.coefs_[:] = values

    @property
    def intercepts_(self) -> list[np.ndarray]:
        return Weights(self._fitted("intercepts_").biases)

    @intercepts_.setter
    def intercepts_(self, values) -> None:
        self.intercepts_[:] = values

    def _fitted(self, name: str) -> MLP:
        if "model_" not in vars(self):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r} before it is fitted")
        if isinstance(self.model_, Ensemble):
            raise AttributeError(f"{name} is an attribute of each of `estimators_`, {len(self.model_)} networks")
        return self.model_

    def fit(self, X, y, sample_weight=None):
        """Train on samples.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            A data frame may have categories, text, booleans and missing values, as in `fastmlp.train`.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels, or 0 and 1 for each of several labels, of a classifier; numbers of a regressor.
        sample_weight : array-like of shape (n_samples,), default=None
            At least 0.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If an argument is not as described.
        """
        return self._fit(X, y, sample_weight, incremental=False)

    def _fit(self, X, y, sample_weight, incremental: bool):
        if self.preset is not None:
            fit_preset(self, X, y, sample_weight, incremental)
            return self
        hidden = self._check_parameters()
        first = "model_" not in vars(self) or not (self.warm_start or incremental)
        check_preset(self, first)
        check_members(self, first)
        if incremental and self._stops_early:
            raise ValueError("partial_fit does not support early_stopping=True")
        X, y = self._check_data(X, y, first, incremental)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=np.float64)
            check_sample_weight(sample_weight, X.shape[0])
        targets, weights = self._targets(y, sample_weight, incremental)
        check_not_weightless(weights, np.arange(X.shape[0]), "trained on")
        random = check_random_state(self.random_state)
        held_out, encoder = None, None
        if isinstance(X, Table):  # encoded as is learnt from what is trained on, so it is split first
            if self._stops_early:
                X, targets, weights, held_out = self._split(X, targets, weights, sample_weight, random)
            encoder = (None if first else self.model_.encoder) or self._new_encoder(X)
            X = encoder.transform(X, "X")
            held_out = None if held_out is None else (encoder.transform(held_out[0], "X"), *held_out[1:])
        widths = (X.shape[1], *hidden, targets.shape[1] if targets.ndim == 2 else len(self.classes_))
        init: Any = self._initial(widths, random) if first else self.model_
        if first or "loss_curve_" not in vars(self):
            self._reset(widths)
        elif self._stops_early != (self.validation_scores_ is not None):
            self._reset_best()
        score_of = None
        if self._stops_early:
            if held_out is None:
                X, targets, weights, held_out = self._split(X, targets, weights, sample_weight, random)
            score_of = lambda model: self._score(model, *held_out)  # noqa: E731
        if first or not incremental:
            self._rate = float(self.learning_rate_init)
        self.n_iter_ = 0
        try:
            if self.n_members > 1:
                fit_members(self, X, targets, weights, widths, init, score_of, random, first, incremental, encoder)
            elif first or not incremental:
                self._train(X, targets, weights, widths, init, score_of, random, incremental, encoder)
            else:
                self._continue(X, targets, weights, widths)
        except DivergenceError as error:
            raise ValueError(NOT_FINITE) from error
        return self

    def _train(
        self, X, targets, weights, widths, init, score_of, random, incremental: bool, encoder: FrameEncoder | None
    ) -> None:
        """Train a new model; for one epoch if `incremental`.  `encoder` has made the features, and scaled them."""
        scale = scale_of(self._loss, widths[-1])
        if self.solver == "lbfgs":
            total = float(len(targets) if weights is None else weights.sum())
            objective = lbfgs.Objective(self.alpha / total, scale, self._constant(targets, weights))
            arguments = self._network_settings(scale, targets, weights, widths, init, random, encoder)
            self.model_ = lbfgs.fit(self, X, targets, {**arguments, "threads": self.threads}, objective)
        else:
            settings, progress = self._settings(targets, weights, widths, init, score_of, random, incremental, encoder)
            self._train_in_steps(X, targets, settings, progress, score_of, incremental)
        if encoder is not None:
            self.model_.encoder, self.model_.feature_names = encoder, encoder.names

    def _train_in_steps(self, X, targets, settings, progress: Progress, score_of, incremental: bool) -> None:
        """Train a new model by a stochastic solver."""
        warning = NOT_CONVERGED.format(self.max_iter)
        try:
            self.model_ = train(X, targets, threads=self.threads, progress=False, **settings)
        except DivergenceError as error:
            if score_of is None:
                raise
            self.model_ = error.model
            progress.record_divergence(self.model_)
            warning = DIVERGED.format(self.n_iter_)
        if self.model_.interrupted:
            warnings.warn("Training interrupted by user.", stacklevel=5)
        elif not incremental and not progress.stopped:
            warnings.warn(warning, ConvergenceWarning, stacklevel=5)

    def _network_settings(self, scale: Scale, targets, weights, widths, init, random, encoder) -> dict[str, Any]:
        """Return the settings of `fastmlp.train` that are not about steps."""
        return {
            "hidden": widths[1:-1], "activation": self._activation(), "loss": scale.loss, "init": init,
            "input_scale": self.input_scale if encoder is None else 1.0, "sparse": self.sparse,
            "seed": int(random.randint(2**31 - 1)), "sample_weight": weights,
            "classes": np.arange(widths[-1]) if targets.ndim == 1 else None, **self._loss_settings(),
        }  # fmt: skip

    def _settings(
        self, targets, weights, widths, init, score_of, random, incremental: bool, encoder: FrameEncoder | None
    ) -> tuple[dict[str, Any], Progress]:
        """Return settings of `fastmlp.train` for a stochastic solver, and what follows its progress."""
        scale = scale_of(self._loss, widths[-1])
        batch_size, optimizer, progress = self._plan(scale, targets, weights, score_of)
        settings = {
            **self._network_settings(scale, targets, weights, widths, init, random, encoder), "optimizer": optimizer,
            "learning_rate": progress, "batch_size": batch_size, "epochs": 1 if incremental else self.max_iter,
            "shuffle": self._shuffle, "dropout": self.dropout, "input_dropout": self.input_dropout,
            "max_norm": self.max_norm, "clip_norm": self.clip_norm and self.clip_norm / scale.gradient,
        }  # fmt: skip
        return settings, progress

    def _continue(self, X, targets, weights, widths) -> None:
        """Train the model for another epoch, on other samples."""
        batch_size, optimizer, progress = self._plan(scale_of(self._loss, widths[-1]), targets, weights, None)
        metrics = self.model_._partial_fit(
            X, targets, weights, self._rate * progress.rate_factor, batch_size, optimizer=optimizer,
            shuffle=self._shuffle,
        )  # fmt: skip
        progress.record(self.model_, metrics.loss)

    def _plan(self, scale: Scale, targets, weights, score_of) -> tuple[int, Optimizer, Progress]:
        """Return what makes steps and recorded values those of scikit-learn."""
        n_samples = len(targets)
        batch_size = self._batch_size(n_samples)
        total = float(n_samples if weights is None else weights.sum())
        optimizer = optimizer_for(self, scale, total / n_samples * batch_size)
        decoupled = OPTIMIZERS[self.solver].decoupled
        penalty = 0.0 if decoupled else self.alpha / 2 * math.ceil(n_samples / batch_size) / total
        constant = self._constant(targets, weights)

        def loss_of(model: MLP, loss: float) -> float:
            squares = sum(float(np.einsum("ij,ij", weight, weight)) for weight in model.weights) if penalty else 0.0
            return loss * scale.value + constant + penalty * squares

        rate_factor = scale.gradient if self.solver == "sgd" else 1.0
        return batch_size, optimizer, Progress(self, n_samples, rate_factor, loss_of, score_of)

    def _check_parameters(self) -> tuple[int, ...]:
        """Check the arguments that `fastmlp.train` does not check under the same name, and return the hidden widths."""
        checks.check_choice(self.solver, "solver", SOLVERS)
        if self.solver == "lbfgs":
            lbfgs.check_options(self)
        checks.check_choice(self.learning_rate, "learning_rate", LEARNING_RATES)
        for name in ("learning_rate_init", "epsilon"):
            checks.check_positive(getattr(self, name), name)
        for name in ("alpha", "power_t", "tol"):
            checks.check_number(getattr(self, name), name)
        for name in ("momentum", "validation_fraction", "beta_1", "beta_2"):
            checks.check_fraction(getattr(self, name), name)
        checks.check_integer(self.max_iter, "max_iter", 1)
        checks.check_integer(self.max_fun, "max_fun", 1)
        checks.check_integer(self.n_members, "n_members", 1)
        if self.n_iter_no_change != math.inf:
            checks.check_integer(self.n_iter_no_change, "n_iter_no_change", 1)
        if not isinstance(self.batch_size, str):
            checks.check_integer(self.batch_size, "batch_size", 1)
        elif self.batch_size != "auto":
            raise ValueError(f"batch_size must be 'auto' or an integer >= 1, got {self.batch_size!r}")
        if self.clip_norm is not None:
            checks.check_positive(self.clip_norm, "clip_norm")
        checks.check_choice(self.missing, "missing", MISSING)
        checks.check_integer(self.max_levels, "max_levels", 2)
        return checks.check_hidden(self.hidden_layer_sizes, "hidden_layer_sizes")

    def _check_data(self, X, y, first: bool, incremental: bool):
        """Return `X` in memory, in a form for `fastmlp.train`, and `y` as an array."""
        if needs_encoding(X) if first else self._encodes(X):
            validate_data(self, X, y, reset=first, skip_check_array=True)  # names of columns, and their number
            y = _check_y(y, multi_output=True, estimator=self, **self._y_checks)
            check_consistent_length(X, y)
            return read_table(X, "X"), self._check_y(y, first, incremental)
        X, y = validate_data(
            self, X, y, reset=first, accept_sparse="csr", dtype=list(DTYPES), multi_output=True, **self._y_checks,
        )  # fmt: skip
        return self._in_memory(X), self._check_y(y, first, incremental)

    def _new_encoder(self, table: Table) -> FrameEncoder:
        return FrameEncoder.learn(
            table, input_scale=self.input_scale, missing=self.missing, max_levels=self.max_levels
        )  # fmt: skip

    def _encodes(self, X) -> bool:
        """Return whether the fitted model encodes data frames."""
        encoder = self.model_.encoder
        if encoder is not None and not is_frame(X):
            raise TypeError(
                f"X must be a data frame with the columns {checks.shorten(encoder.names)}, as in fit, "
                f"got {type(X).__name__}"
            )
        return encoder is not None

    @staticmethod
    def _in_memory(X):
        # `fastmlp.train` takes a memmap, or a view of one, for data that do not fit into memory
        return X if is_csr(X) else np.asarray(memoryview(X))

    def _check_X(self, X):
        """Return checked samples for prediction."""
        check_is_fitted(self)
        if self._encodes(X):
            validate_data(self, X, reset=False, skip_check_array=True)
            return self.model_._check_features(X, "X")
        return self._in_memory(validate_data(self, X, reset=False, accept_sparse="csr", dtype=list(DTYPES)))

    @staticmethod
    def _precision(X) -> type:
        """Return the type of predictions, as in scikit-learn."""
        return np.float32 if X.dtype == np.float32 else np.float64

    @property
    def _stops_early(self) -> bool:
        return bool(self.early_stopping) and self.solver != "lbfgs"

    @property
    def _shuffle(self) -> bool | str:
        return self.shuffle if isinstance(self.shuffle, str) else bool(self.shuffle)

    def _activation(self):
        if isinstance(self.activation, str):
            return FROM_SKLEARN.get(self.activation, self.activation)
        return [FROM_SKLEARN.get(name, name) if isinstance(name, str) else name for name in self.activation]

    def _initial(self, widths, random) -> Any:
        """Return `init`, or weights and biases from scikit-learn's distribution, drawn in the same order."""
        if self.init is not None:
            return self.init
        return initial_network(widths, 2.0 if self._activation() == "sigmoid" else 6.0, random)

    def _reset(self, widths) -> None:
        """Set everything that later fits continue from to its initial value."""
        self.n_outputs_, self.n_layers_, self.out_activation_ = widths[-1], len(widths), self._out_activation()
        if self.solver == "lbfgs":  # which has no epochs
            for name in OF_EPOCHS:
                self.__dict__.pop(name, None)
            return
        self.t_, self.loss_curve_ = 0, []
        self._reset_best()

    def _reset_best(self) -> None:
        self._no_improvement_count = 0
        self.best_loss_ = None if self._stops_early else math.inf
        self.validation_scores_ = [] if self._stops_early else None
        self.best_validation_score_ = -math.inf if self._stops_early else None

    def _split(self, X, targets, weights, sample_weight, random):
        """Return samples, targets and weights to train on, and those to validate with, for `_score`."""
        part, held_out = train_test_split(
            np.arange(X.shape[0]), random_state=random, test_size=self.validation_fraction,
            stratify=self._stratify(targets),
        )  # fmt: skip
        if len(held_out) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        check_not_weightless(weights, part, "trained on")
        check_not_weightless(sample_weight, held_out, "held out for early_stopping")
        held = X[held_out], targets[held_out], None if sample_weight is None else sample_weight[held_out]
        return X[part], targets[part], None if weights is None else weights[part], held

    def _batch_size(self, n_samples: int) -> int:
        if isinstance(self.batch_size, str):
            return min(200, n_samples)
        if self.batch_size > n_samples:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=6
            )
        return min(self.batch_size, n_samples)

    def _constant(self, targets, weights) -> float:
        """Return the part of scikit-learn's loss that depends only on the targets."""
        return 0.0

    def __getstate__(self):
        state = dict(super().__getstate__())
        if "model_" in state:  # whose own pickles leave this out
            state["_training_state"] = getattr(state["model_"], "_training_state", None)
        return state

    def __setstate__(self, state):
        training_state = state.pop("_training_state", None)
        super().__setstate__(state)
        if training_state is not None:
            self.model_._training_state = training_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
