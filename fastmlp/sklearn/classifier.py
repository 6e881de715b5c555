"""`MLPClassifier`, a drop-in replacement for scikit-learn's."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_matrix, issparse
from scipy.special import expit, log_softmax, softmax
from sklearn.base import ClassifierMixin
from sklearn.utils import column_or_1d, compute_class_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels

from fastmlp import checks
from fastmlp.data.frames import MAX_LEVELS
from fastmlp.losses import LOSSES, OUTPUTS, output_of
from fastmlp.many.ensemble import Ensemble
from fastmlp.model import MLP
from fastmlp.sklearn.base import BaseMLP, store
from fastmlp.sklearn.documentation import choices, document
from fastmlp.sklearn.lbfgs import has_epochs

CLASSIFIER_LOSSES = tuple(name for name, row in LOSSES.items() if row.has_accuracy and not row.whole_batch)


class MLPClassifier(ClassifierMixin, BaseMLP):
    __doc__ = document(
        """Classify with a multilayer perceptron that has the arguments and attributes of scikit-learn's.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(100,)
        Widths of the hidden layers; ``()`` makes a linear model.
    <PARAMETERS>
    loss : {losses} or None, default=None
        None stands for the binary cross-entropy for two classes, with one output, and for several labels per sample;
        otherwise for the cross-entropy.  The other losses have one output per class.
    class_weight : dict, "balanced" or None, default=None
        Weights by label, which multiply those of the samples.
    label_smoothing : float, default=0.0
        Fraction of the target that is spread evenly over the classes, for "cross_entropy" only.

    Attributes
    ----------
    classes_ : ndarray
        The labels, sorted; with several labels per sample, their indices.
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
        max_fun=15000,
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
        missing="indicator",
        max_levels=MAX_LEVELS,
        preset=None,
        n_members=1,
    ):
        store(self, locals())

    @property
    def _loss(self) -> str:
        if self.loss is None:
            one_output = self._kind == "binary" and self.preset is None
            return "binary_cross_entropy" if one_output or self._kind == "multilabel-indicator" else "cross_entropy"
        checks.check_choice(self.loss, "loss", CLASSIFIER_LOSSES)
        if self._kind != "binary" and (self.loss == "binary_cross_entropy") == (self._kind == "multiclass"):
            raise ValueError(f"loss={self.loss!r} is not for {self._kind} targets")
        return self.loss

    def _loss_settings(self) -> dict[str, float]:
        return {"label_smoothing": self.label_smoothing}

    def _out_activation(self) -> str:
        return OUTPUTS[output_of(self._loss)].sklearn

    def _check_y(self, y, first: bool, incremental: bool) -> np.ndarray:
        """Return labels as indices (n_samples,), or as 0 and 1 for each of several labels (n_samples, n_labels)."""
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
        """Return targets for `fastmlp.train`, and weights."""
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
        # as in scikit-learn, whose message of an error has them as booleans
        return targets.astype(bool) if targets.ndim == 2 and targets.shape[1] == 1 else None

    def _score(self, model: MLP, X, targets: np.ndarray, sample_weight) -> float:
        right = model.predict(X) == targets
        return float(np.average(right if right.ndim == 1 else right.all(axis=1), weights=sample_weight))

    @available_if(has_epochs)
    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """Train on more samples for one epoch, for data that arrive in pieces; the optimizer keeps its state.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
        sample_weight : array-like of shape (n_samples,), default=None
        classes : array-like of shape (n_classes,), default=None
            All labels; required in the first call.

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
        """Return the predicted labels.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), or (n_samples, n_labels) with 0 and 1 for several labels per sample
        """
        X = self._check_X(X)
        predicted = self.model_.predict(X)
        if self._kind == "multilabel-indicator":
            return csr_matrix(predicted) if self._sparse_output else predicted
        if predicted.ndim == 2:
            predicted = np.minimum(predicted[:, 0], len(self.classes_) - 1)  # there may be only one class
        return self.classes_[predicted]

    def predict_proba(self, X):
        """Return the probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        X = self._check_X(X)
        if self._precision(X) is np.float32 or isinstance(self.model_, Ensemble):
            probabilities = self.model_.predict_proba(X)
        else:  # those near 1 differ, as their logarithms do
            logits = self.model_._sums(X).astype(np.float64)
            binary = self.model_.loss == "binary_cross_entropy"
            probabilities = expit(logits) if binary else softmax(logits, axis=1)
        if self._kind != "binary" or self.model_.loss != "binary_cross_entropy":
            return probabilities
        if len(self.classes_) == 1:
            return np.ones_like(probabilities)
        return np.hstack([1 - probabilities, probabilities])

    def predict_log_proba(self, X):
        """Return the logarithms of the probabilities, which are exact even if a probability is too small for a float.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        X = self._check_X(X)
        logits = self.model_._sums(X).astype(np.float64)
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
