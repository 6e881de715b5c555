"""What ensembles are made of: members that fit together, their weights, and the folds that each is trained on."""

from __future__ import annotations

import numpy as np

from fastmlp.checks import describe
from fastmlp.model import MLP


def outputs_of(model: MLP, x) -> np.ndarray:
    """Return the probabilities of a classifier, or the outputs of a regression, (n, n_outputs)."""
    return model.predict_proba(x) if model.has_accuracy else model.predict(x)


def check_models(models: list) -> None:
    if not models:
        raise ValueError("models must hold at least one MLP, got none")
    for model in models:
        if not isinstance(model, MLP):
            raise TypeError(f"models must hold fastmlp.MLP, got {model!r}")
    first = models[0]
    for k, model in enumerate(models):
        for name, one, other in (
            ("loss", first.loss, model.loss),
            ("delta", first.delta, model.delta),
            ("classes", _as_list(first.classes), _as_list(model.classes)),
            ("number of outputs", first.widths[-1], model.widths[-1]),
            ("columns", first.feature_names, model.feature_names),
            ("kind of features", first.encoder is None, model.encoder is None),
            ("number of features", *(m.n_features if m.encoder is None else None for m in (first, model))),
        ):
            if one != other:
                raise ValueError(
                    f"models must have the same {name}, got {one!r} in models[0] and {other!r} in models[{k}]"
                )


def _as_list(classes: np.ndarray | None) -> list | None:
    return None if classes is None else classes.tolist()


def check_weights(weights, n_models: int) -> np.ndarray:
    """Return weights with a sum of 1."""
    if weights is None:
        return np.full(n_models, 1 / n_models)
    weights = np.asarray(weights)
    if weights.dtype.kind not in "buif":
        raise TypeError(f"weights must hold numbers, got {describe(weights)}")
    if weights.shape != (n_models,):
        raise ValueError(f"weights must have one number for each of {n_models} models, got {describe(weights)}")
    with np.errstate(over="ignore", invalid="ignore"):
        total = weights.sum(dtype=np.float64)
    if not (np.isfinite(total) and weights.min() >= 0 and weights.max() > 0):
        raise ValueError(f"weights must be finite and >= 0, and not all 0, with a finite sum, got {weights!r}")
    return weights.astype(np.float64) / total


def folds_of(n: int, codes: np.ndarray, n_folds: int, n_repeats: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return the samples of each fold, ascending; each has its fraction of every label among `codes`, if there are."""
    if n_folds > n:
        raise ValueError(f"n_folds must be an integer <= {n}, the number of samples, got {n_folds}")
    folds = []
    for _ in range(n_repeats):
        order = np.lexsort((rng.random(n), codes)) if codes.size else rng.permutation(n)
        fold_of = np.empty(n, np.int64)
        fold_of[order] = np.arange(n) % n_folds
        folds += [np.flatnonzero(fold_of == k) for k in range(n_folds)]
    return folds
