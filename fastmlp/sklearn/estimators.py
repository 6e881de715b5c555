"""`MLPClassifier` and `MLPRegressor`, to be used instead of those of scikit-learn."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_matrix, issparse
from scipy.special import log_softmax, xlogy
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d, compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels

from fastmlp import checks
from fastmlp.data.targets import check_by_elements
from fastmlp.losses import LOSSES, OUTPUTS, output_of
from fastmlp.model import MLP
from fastmlp.optimizers import OPTIMIZERS
from fastmlp.sklearn.base import BaseMLP, scale_of

CLASSIFIER_LOSSES = tuple(name for name, row in LOSSES.items() if row.has_accuracy and row.output != "batch_softmax")
REGRESSOR_LOSSES = ("squared_error", *(name for name, row in LOSSES.items() if not row.has_accuracy))

# What both classes' arguments, attributes and notes are.
_PARAMETERS = """
    activation : {"identity", "logistic", "tanh", "relu", ...} or sequence of str, default="relu"
        Of the hidden layers; "logistic" is the sigmoid.  All others of `fastmlp.train` too, and one per hidden layer.
    solver : {solvers}, default="adam"
        The optimizer.  "lbfgs" is not there.
    alpha : float, default=0.0001
        Strength of the L2 penalty on weights, ``alpha / 2 * (W**2).sum()`` over the weight of the batch's samples; of
        "adamw", its decoupled weight decay as in PyTorch.
    batch_size : int or "auto", default="auto"
        Samples of a step; "auto" is ``min(200, n_samples)``.
    learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
        How the rate changes after an epoch, with the solver "sgd": not; to ``learning_rate_init / (t_ + 1)**power_t``;
        or to a fifth whenever neither loss nor score gets better (see `n_iter_no_change`), and training ends at 1e-6.
    learning_rate_init : float, default=0.001
        The rate of the first epoch.
    power_t : float, default=0.5
        Of "invscaling".
    max_iter : int, default=200
        The number of epochs, at most.
    shuffle : bool or "replacement", default=True
        Whether every epoch takes the samples in a new order, or draws them.
    random_state : int, RandomState instance or None, default=None
        Of the start, of the validation set, of the samples' order, and of dropout.
    tol : float, default=1e-4
        By how much the loss, or the score on the validation set, must be better to count.
    verbose : bool, default=False
        Whether to print the loss of every epoch.
    warm_start : bool, default=False
        Whether `fit` goes on from the parameters of the fit before.
    momentum : float, default=0.9
        Of the solver "sgd"; at least 0 and less than 1.
    nesterovs_momentum : bool, default=True
        Whether that is Nesterov's.
    early_stopping : bool, default=False
        Whether to hold out a part of the samples, look at their score instead of the loss, and keep the parameters of
        the best epoch.
    validation_fraction : float, default=0.1
        The share of the samples that is held out.
    beta_1, beta_2 : float, default=0.9 and 0.999
        Of the solvers "adam" and "adamw".
    epsilon : float, default=1e-8
        Of the solvers other than "sgd".
    n_iter_no_change : int or inf, default=10
        Training ends when loss or score have not got better by `tol` for more epochs in a row.
    init : str, list of (weight, bias), MLP or None, default=None
        What to start from, as in `fastmlp.train`; None draws weights and biases as scikit-learn does (Glorot and Bengio
        2010): the same `random_state` is the same start.
    input_scale : float, array-like, "auto" or "standardize", default=1.0
        What the features are multiplied by, as in `fastmlp.train`.
    sparse : bool or "auto", default="auto"
        Whether to leave out products with zeros, as in `fastmlp.train`.
    threads : int or None, default=1
        How many to use at most; None for one per physical core, which is faster for wide networks if no other process,
        and no other fit, works on these.
    dropout : float or sequence of float, default=0.0
        The share of its units that a hidden layer leaves out in a step.
    input_dropout : float, default=0.0
        The share of the features that is left out.
    clip_norm : float or None, default=None
        The norm of all gradients together, at most.
    max_norm : float or None, default=None
        The norm of the weights into a unit, at most.
"""

_ATTRIBUTES = """
    model_ : fastmlp.MLP
        The network, which can be saved; its targets are encoded as numbers.
    coefs_, intercepts_ : list of ndarray of float32
        Weights (n_in, n_out) and biases (n_out,) of every layer; views, so that writing to them changes the model.
    loss_, best_loss_ : float
        Of the last epoch, and the least (None with `early_stopping`).
    loss_curve_ : list of float
        The loss of every epoch, with the L2 penalty.
    validation_scores_, best_validation_score_ : list of float and float, or None
        With `early_stopping`: {score} of every epoch, and the best.
    n_iter_, t_ : int
        Epochs of the last fit, and samples that have been trained on, one epoch after the other.
    n_layers_, n_outputs_ : int
        Numbers of layers, with the input's and the output's, and of outputs.
    out_activation_ : str
        {activations}
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Where all features have names.
"""

_NOTES = """
    The same as in scikit-learn: the arguments down to `n_iter_no_change`, with their defaults; what is drawn at the
    start and what is held out, for the same `random_state`; gradients, steps and the sizes of batches; when the
    learning rate falls and when training ends; and the attributes.

    Different from it:

    - Arithmetic is in float32, so that not every digit is the same; predictions are float64 unless `X` is
      float32, as there.  Features of uint8 stay bytes.
    - The order of the samples comes from another generator.
    - The penalty of a short last batch is that of a whole one, and of weighted samples that of the mean weight.  The
      penalty that is part of the recorded loss is that of the weights at the end of the epoch.
    - Adam's `epsilon` is added to the corrected root, as in its paper's algorithm 1.
    - Where the learning rate changes, momentum goes on with what it has of gradients, not of steps, as in PyTorch.
    - Weights of samples are at least 0.  There is no ``solver="lbfgs"``, and no `max_fun`.

"""


def choices(names) -> str:
    """Names as a docstring lists what an argument can be."""
    return "{" + ", ".join(f'"{name}"' for name in names) + "}"


def _document(text: str, **words: str) -> str:
    """A docstring with what both classes have."""
    shared = {"PARAMETERS": _PARAMETERS, "ATTRIBUTES": _ATTRIBUTES, "NOTES": _NOTES}
    for name, part in shared.items():
        text = text.replace(f"    <{name}>\n", part.lstrip("\n"))
    for name, word in {"solvers": choices(OPTIMIZERS), **words}.items():
        text = text.replace(f"{{{name}}}", word)
    return text


def _store(estimator, arguments: dict[str, Any]) -> None:
    """All arguments of a constructor as attributes, as scikit-learn wants it."""
    for name, value in arguments.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)


class MLPClassifier(ClassifierMixin, BaseMLP):
    __doc__ = _document(
        """A multilayer perceptron that tells classes, with the arguments and attributes of scikit-learn's.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(100,)
        Widths of the hidden layers; ``()`` is a linear model.
    <PARAMETERS>
    loss : {losses} or None, default=None
        None is the binary cross-entropy for two classes, with one output, and for several labels at once; else the
        cross-entropy.  The other losses have an output for each class.
    class_weight : dict, "balanced" or None, default=None
        Weights by label, multiplied by those of the samples.
    label_smoothing : float, default=0.0
        The share of the target that is spread evenly over the classes; of "cross_entropy".

    Attributes
    ----------
    classes_ : ndarray
        The labels, sorted; for several labels at once their numbers.
    <ATTRIBUTES>

    Notes
    -----
    <NOTES>
    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> import fastmlp
    >>> X, y = load_digits(return_X_y=True)
    >>> fastmlp.MLPClassifier(random_state=0).fit(X[:1500], y[:1500]).score(X[1500:], y[1500:]) > 0.9
    True
    """,
        score="the accuracy on the validation set",
        activations='"softmax" or "logistic".',
        losses=choices(CLASSIFIER_LOSSES),
    )

    _y_checks: ClassVar[dict[str, Any]] = {}

    def __init__(
        self,
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
        loss=None,
        class_weight=None,
        label_smoothing=0.0,
        init=None,
        input_scale=1.0,
        sparse="auto",
        threads=1,
        dropout=0.0,
        input_dropout=0.0,
        clip_norm=None,
        max_norm=None,
    ):
        _store(self, locals())

    @property
    def _loss(self) -> str:
        if self.loss is None:
            return "cross_entropy" if self._kind == "multiclass" else "binary_cross_entropy"
        checks.check_choice(self.loss, "loss", CLASSIFIER_LOSSES)
        if self._kind != "binary" and (self.loss == "binary_cross_entropy") == (self._kind == "multiclass"):
            raise ValueError(f"loss={self.loss!r} is not for {self._kind} targets")
        return self.loss

    def _loss_settings(self) -> dict[str, float]:
        return {"label_smoothing": self.label_smoothing}

    def _out_activation(self) -> str:
        return OUTPUTS[output_of(self._loss)].sklearn

    def _check_y(self, y, first: bool, incremental: bool) -> np.ndarray:
        """Labels as numbers from 0 on, (n_samples,); or 0 and 1 for each of several labels, (n_samples, n_labels)."""
        if not issparse(y) and y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y")
        if kind == "multiclass-multioutput":
            raise ValueError("Unknown label type: several labels a sample must each be 0 or 1")
        several = kind == "multilabel-indicator"
        if first and not incremental:
            self.classes_ = unique_labels(y)
        if first:
            self._kind = kind if several else "multiclass" if len(self.classes_) > 2 else "binary"
            self._sparse_output = issparse(y)
        if several != (self._kind == "multilabel-indicator"):
            raise ValueError(f"y must hold {self._kind} targets, as before, got {kind} ones")
        if several:
            y = (y.toarray() if issparse(y) else y).astype(np.float32)
            if y.shape[1] != len(self.classes_):
                raise ValueError(f"y must have {len(self.classes_)} labels, as before, got {y.shape[1]}")
            return y
        classes = np.unique(y)
        if self.warm_start and not incremental and set(classes) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                f"Previously got {self.classes_}, `y` has {classes}"
            )
        if len(np.setdiff1d(classes, self.classes_)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
            )
        return np.searchsorted(self.classes_, y)

    def _targets(self, y: np.ndarray, sample_weight, incremental: bool):
        """Targets for `fastmlp.train`, and weights."""
        loss = self._loss
        if self.class_weight is not None:
            if y.ndim == 2:
                raise ValueError("class_weight is for one label a sample, not for several")
            if incremental and isinstance(self.class_weight, str):
                raise ValueError("class_weight='balanced' is not for partial_fit, which does not see all samples")
            by_class = compute_class_weight(self.class_weight, classes=self.classes_, y=self.classes_[y])
            sample_weight = by_class[y] if sample_weight is None else sample_weight * by_class[y]
        if loss == "binary_cross_entropy" and y.ndim == 1:
            y = y[:, None].astype(np.float32)
        return y, sample_weight

    def _stratify(self, targets: np.ndarray):
        return targets if targets.ndim == 2 and targets.shape[1] == 1 else None  # as scikit-learn does

    def _score(self, model: MLP, X, targets: np.ndarray, sample_weight) -> float:
        right = model.predict(X) == targets
        return float(np.average(right if right.ndim == 1 else right.all(axis=1), weights=sample_weight))

    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """Train once through samples, for data that arrive in pieces; the optimizer goes on from where it was.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
        sample_weight : array-like of shape (n_samples,), default=None
        classes : array-like of shape (n_classes,), default=None
            All labels there are; needed in the first call.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If an argument is not as described.
        """
        if not hasattr(self, "classes_"):
            if classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            self.classes_ = unique_labels(classes)
        elif classes is not None and not np.array_equal(self.classes_, unique_labels(classes)):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {self.classes_!r}"
            )
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X):
        """Labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), or (n_samples, n_labels) with 0 and 1 for several labels at once
        """
        X = self._check_X(X)
        predicted = self.model_.predict(X)
        if self._kind == "multilabel-indicator":
            return csr_matrix(predicted) if self._sparse_output else predicted
        if predicted.ndim == 2:
            predicted = np.minimum(predicted[:, 0], len(self.classes_) - 1)  # there may be one class alone
        return self.classes_[predicted]

    def predict_proba(self, X):
        """Probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        X = self._check_X(X)
        probabilities = self.model_.predict_proba(X).astype(self._precision(X), copy=False)
        if self._kind != "binary" or self.model_.loss != "binary_cross_entropy":
            return probabilities
        if len(self.classes_) == 1:
            return np.ones_like(probabilities)
        return np.hstack([1 - probabilities, probabilities])

    def predict_log_proba(self, X):
        """Logarithms of the probabilities, exact where these are too small for a number.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        X = self._check_X(X)
        logits = self.model_._outputs(X)[1].astype(np.float64)
        if self.model_.loss != "binary_cross_entropy":
            return log_softmax(logits, axis=1)
        if self._kind != "binary":
            return -np.logaddexp(0, -logits)
        if len(self.classes_) == 1:
            return np.zeros_like(logits)
        return -np.logaddexp(0, np.hstack([logits, -logits]))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class MLPRegressor(RegressorMixin, BaseMLP):
    __doc__ = _document(
        """A multilayer perceptron that predicts numbers, with the arguments and attributes of scikit-learn's.

    Parameters
    ----------
    loss : {losses}, default="squared_error"
        "squared_error" and "poisson" are scikit-learn's: half the squares, and the deviance, of which gradients are
        sums over the outputs; the outputs of "poisson" are logarithms.  The others are means over the outputs, as in
        `fastmlp.train`.
    hidden_layer_sizes : int or sequence of int, default=(100,)
        Widths of the hidden layers; ``()`` is a linear model.
    <PARAMETERS>
    delta : float, default=1.0
        Where "huber" goes over from squares to absolute values.

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
    >>> model = fastmlp.MLPRegressor(random_state=0, learning_rate_init=0.01, max_iter=500, tol=0.1)
    >>> model.fit(X[:200], y[:200]).score(X[200:], y[200:]) > 0.9
    True
    """,
        score="R2 on the validation set",
        activations='"identity", or "exp" of the loss "poisson".',
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
    ):
        _store(self, locals())

    @property
    def _loss(self) -> str:
        checks.check_choice(self.loss, "loss", REGRESSOR_LOSSES)
        return self.loss

    def _loss_settings(self) -> dict[str, float]:
        return {"delta": self.delta}

    def _out_activation(self) -> str:
        return OUTPUTS[output_of(scale_of(self._loss, 1).loss)].sklearn

    def _check_y(self, y, first: bool, incremental: bool) -> np.ndarray:
        """Targets (n_samples, n_outputs)"""
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return y[:, None] if y.ndim == 1 else y

    def _targets(self, y: np.ndarray, sample_weight, incremental: bool):
        """Targets for `fastmlp.train`, and weights."""
        check = check_by_elements(scale_of(self._loss, 1).loss)
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
        """Train once through samples, for data that arrive in pieces; the optimizer goes on from where it was.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
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
        """Numbers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

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
