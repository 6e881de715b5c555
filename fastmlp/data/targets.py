"""Check labels, targets and sample weights, and encode them for the kernels."""

from __future__ import annotations

import numbers

import numpy as np

from fastmlp.checks import LARGEST, check_choice, check_number, describe, shorten
from fastmlp.data.arrays import as_array, check_finite
from fastmlp.kernels.simd.processors import NARROW
from fastmlp.kernels.step.record import Targets
from fastmlp.losses import LOSSES

_LABELS_AT_ONCE = 1 << 20


def check_labels(y, n_samples: int, name: str = "y") -> np.ndarray:
    """Return `y` as a one-dimensional array of integers or strings."""
    y = as_array(y, name)
    if y.dtype == object and y.size and y.ndim:
        y = _typed_labels(y, name)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.dtype.kind not in "biuUS":
        raise TypeError(
            f"{name} must hold labels (integers or strings) for this loss, got {describe(y)}; "
            'floating-point targets need loss="mse"'
        )
    if y.ndim != 1:
        raise ValueError(f"{name} must have one dimension (n_samples,), got {describe(y)}")
    _check_length(y, n_samples, name)
    return y


def _typed_labels(y: np.ndarray, name: str) -> np.ndarray:
    """Return an array of objects that are all strings, or all integers, as an array of these."""
    labels = y.ravel().tolist()
    if all(isinstance(label, str) for label in labels):
        return y.astype(str)
    if all(isinstance(label, numbers.Integral) and not isinstance(label, bool) for label in labels):
        for dtype in (np.int64, np.uint64):
            if np.iinfo(dtype).min <= min(labels) and max(labels) <= np.iinfo(dtype).max:
                return y.astype(dtype)
    kind = str if isinstance(labels[0], str) else numbers.Integral
    odd = (k for k, label in enumerate(labels) if not isinstance(label, kind) or isinstance(label, bool))
    k = next(odd, 0)  # or one is too large
    raise TypeError(
        f"{name} must hold labels that are all strings, or all integers of 64 bits, got {describe(y)} with "
        f"{labels[k]!r} in row {k // (y.size // len(y))}"
    )


def _check_length(y: np.ndarray, n_samples: int, name: str) -> None:
    if len(y) != n_samples:
        raise ValueError(f"{name} must have as many samples as x, {n_samples}, got {describe(y)}")


def find_classes(y: np.ndarray, name: str = "y") -> np.ndarray:
    """Return the classes among checked labels, sorted."""
    classes = np.unique(y)
    if len(classes) < 2:
        raise ValueError(f"{name} must hold at least two classes, got only {classes[0]!r}")
    return classes


def encode_labels(y: np.ndarray, classes: np.ndarray, name: str = "y") -> Targets:
    """Return checked labels as the indices of their classes."""
    if (y.dtype.kind in "US") != (classes.dtype.kind in "US"):
        raise ValueError(f"{name} must hold labels like the model's classes {shorten(classes)}, got {describe(y)}")
    codes = np.empty(len(y), np.int32)
    for start in range(0, len(y), _LABELS_AT_ONCE):
        part = y[start : start + _LABELS_AT_ONCE]
        known = part
        if part.dtype.kind not in "US":  # NumPy compares int64 with uint64 as float64, which rounds them
            known = part.astype(classes.dtype)
        index = np.minimum(np.searchsorted(classes, known), len(classes) - 1)
        unseen = classes[index] != known
        if known.dtype != part.dtype:
            unseen |= (known.astype(part.dtype) != part) | ((known < 0) != (part < 0))
        if unseen.any():
            raise ValueError(f"{name} holds labels that the model has not seen: {shorten(np.unique(part[unseen]))}")
        codes[start : start + _LABELS_AT_ONCE] = index
    return _targets(codes, np.zeros(0, np.float32))


def check_targets(y, n_samples: int, n_outputs: int | None = None, name: str = "y") -> np.ndarray:
    """Return the targets of a regression as an array (n_samples, n_outputs) float32."""
    y = as_array(y, name)
    if y.dtype.kind not in "buif":
        raise TypeError(f"{name} must hold numbers for a regression, got {describe(y)}")
    if y.ndim not in (1, 2):
        raise ValueError(f"{name} must have the shape (n_samples,) or (n_samples, n_outputs), got {describe(y)}")
    _check_length(y, n_samples, name)
    if y.ndim == 1:
        y = y[:, None]
    if y.shape[1] == 0 or (n_outputs is not None and y.shape[1] != n_outputs):
        raise ValueError(f"{name} must have {n_outputs or 'at least one'} outputs, got {describe(y)}")
    check_finite(y, name)
    return np.require(y, np.float32, ["C", "A"])


def take_targets(targets: Targets, samples: np.ndarray, n_outputs: int) -> Targets:
    """Return the targets of some samples."""
    values = targets.values
    if values.size:
        rows = values[: (values.size - int(NARROW)) // n_outputs * n_outputs].reshape(-1, n_outputs)[samples]
        values = np.concatenate([rows.reshape(-1), np.zeros(int(NARROW), np.float32)])
    labels, weights = (part[samples] if part.size else part for part in (targets.labels, targets.weights))
    for part in (labels, values):  # of the type that kernels are compiled for
        part.flags.writeable = False
    return Targets(labels, values, weights)


def slice_targets(targets: Targets, part: slice, n_outputs: int) -> Targets:
    """Return the targets of a slice of the samples, as views."""
    labels, values, weights = targets
    if labels.size:
        labels = labels[part]
    else:
        values = values[part.start * n_outputs : part.stop * n_outputs + int(NARROW)]
    return Targets(labels, values, weights[part])


def encode_targets(y: np.ndarray) -> Targets:
    """Return checked targets of a regression as kernels read them: padded, so that vectors may reach past the end."""
    values = np.zeros(y.size + int(NARROW), np.float32)
    values[: y.size] = y.reshape(-1)
    return _targets(np.zeros(0, np.int32), values)


def _targets(labels: np.ndarray, values: np.ndarray) -> Targets:
    labels, values = labels.view(), values.view()
    labels.flags.writeable = values.flags.writeable = False
    return Targets(labels, values, np.zeros(0, np.float32))


def check_multilabel(y, n_samples: int, n_outputs: int | None = None, name: str = "y") -> np.ndarray:
    """Return the targets of the binary cross-entropy, (n_samples, n_outputs) float32 from 0 to 1."""
    y = check_targets(y, n_samples, n_outputs, name)
    if y.min() < 0 or y.max() > 1:
        raise ValueError(f"{name} must hold 0 and 1, or probabilities, for the loss binary_cross_entropy")
    return y


def check_counts(y, n_samples: int, n_outputs: int | None = None, name: str = "y") -> np.ndarray:
    """Return the targets of a Poisson regression, (n_samples, n_outputs) float32 >= 0."""
    y = check_targets(y, n_samples, n_outputs, name)
    if y.min() < 0:
        raise ValueError(f"{name} must hold numbers >= 0 for the loss poisson, got {float(y.min())!r}")
    return y


def check_sample_weight(sample_weight, n_samples: int, name: str = "sample_weight") -> np.ndarray:
    """Return the weights of samples as an array (n_samples,) float32, divided by a power of two so that all are < 1.

    This does not change losses and gradients, which are weighted means.  It keeps tiny weights from becoming 0 in
    float32, and large ones from making losses infinite.
    """
    weights = as_array(sample_weight, name)
    if weights.dtype.kind not in "buif":
        raise TypeError(f"{name} must hold numbers >= 0, got {describe(weights)}")
    if weights.shape != (n_samples,):
        raise ValueError(f"{name} must have one number for each of {n_samples} samples, got {describe(weights)}")
    if not (weights.min() >= 0 and weights.max() <= LARGEST):
        raise ValueError(f"{name} must hold finite numbers >= 0")
    if not weights.any():
        raise ValueError(f"{name} must not be 0 for every sample")
    weights = weights.astype(np.float64)
    return np.ldexp(weights, -int(np.frexp(weights.max())[1])).astype(np.float32)


def total_weight(weights: np.ndarray, samples: np.ndarray | slice, n_samples: int) -> float:
    """Return the total weight of some samples, of which there are `n_samples`; empty `weights` stand for 1 each."""
    return float(weights[samples].sum(dtype=np.float64)) if weights.size else float(n_samples)


def weighted_mean(total: float, weight: float) -> float:
    """Return the mean of something with this sum and total weight; NaN if the weight is 0."""
    return float(total / weight) if weight > 0 else float("nan")


def check_not_weightless(weights: np.ndarray | None, samples: np.ndarray, purpose: str) -> None:
    """Raise an error if all of some samples have the weight 0; `weights` is empty or None if all weigh the same."""
    if weights is not None and len(weights) and not weights[samples].any():
        raise ValueError(f"sample_weight must not be 0 for all {len(samples)} samples that are {purpose}")


def class_weights(class_weight, classes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the weight of every class: "balanced" is n_samples / (n_classes * count); or by a dict of labels."""
    if isinstance(class_weight, str):
        check_choice(class_weight, "class_weight", ("balanced",))
        counts = np.bincount(labels, minlength=len(classes))
        return len(labels) / (len(classes) * np.maximum(counts, 1))
    if not isinstance(class_weight, dict):
        raise TypeError(f'class_weight must be "balanced" or a dict of labels and numbers, got {class_weight!r}')
    weights = np.ones(len(classes))
    for label, weight in class_weight.items():
        index = np.flatnonzero(classes == label)
        if index.size != 1:
            raise ValueError(f"class_weight holds {label!r}, which is not among the classes {shorten(classes)}")
        weights[index[0]] = check_number(weight, f"class_weight of {label!r}")
    return weights


_VALIDATORS = {"fractions": check_multilabel, "counts": check_counts, "numbers": check_targets}


def target_validator(loss: str):
    """Return the function that checks the targets of a loss that has one for each output."""
    kind = LOSSES[loss].targets
    if kind not in _VALIDATORS:
        raise ValueError(f"targets of the loss {loss!r} must be one of {', '.join(_VALIDATORS)}, got {kind!r}")
    return _VALIDATORS[kind]


def encode_like(y, n_samples: int, loss: str, classes: np.ndarray | None, n_outputs: int, name: str = "y") -> Targets:
    """Check and encode targets for a model that has this loss and these classes (None: no labels)."""
    if classes is None:
        return encode_targets(target_validator(loss)(y, n_samples, n_outputs, name))
    return encode_labels(check_labels(y, n_samples, name), classes, name)


def check_classes(classes) -> np.ndarray:
    """Return all labels there are, sorted."""
    classes = as_array(classes, "classes")
    return find_classes(check_labels(classes, len(np.atleast_1d(classes)), "classes"), "classes")
