"""The arguments of `fastmlp.train`, checked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastmlp import checks
from fastmlp.activations import ACTIVATIONS
from fastmlp.data.arrays import as_array, check_features, feature_names, is_csr, memmap_of
from fastmlp.data.columns import Table, is_table, needs_encoding, read_table
from fastmlp.data.frames import MISSING, check_number_scale
from fastmlp.data.order import SHUFFLES
from fastmlp.data.scaling import check_input_scale
from fastmlp.data.targets import (
    check_classes,
    check_labels,
    check_sample_weight,
    class_weights,
    encode_labels,
    encode_targets,
    find_classes,
    target_validator,
)
from fastmlp.engine.threads import resolve
from fastmlp.kernels.step.record import Targets
from fastmlp.losses import ELEMENTWISE, LOSSES, check_smoothing
from fastmlp.optimizers import OPTIMIZERS, Optimizer
from fastmlp.regularization import Regularization, check_regularization
from fastmlp.training.data import BUFFER_BYTES
from fastmlp.training.events import check_callbacks
from fastmlp.training.metrics import Metric, check_metrics
from fastmlp.training.ranks import check_communicator


@dataclass(frozen=True)
class TrainingSettings:
    """The checked arguments of `fastmlp.train`.

    Attributes
    ----------
    x : ndarray, CSR matrix, Stream, or Table of a data frame that has to be encoded
    y : array_like
        As given, or read into memory.
    targets : Targets
        What kernels read of `y`, with the weights of the samples.
    n_outputs : int
    activations : list of str
        One per hidden layer.
    classes : ndarray or None
        None if `y` does not hold labels.
    feature_names : list of str or None
        The columns of a data frame.
    n_threads : int
        What `threads` stands for on this machine.
    callbacks : list
        With the schedule, if it is one.
    metrics : dict
        Functions by name.
    given : Mapping
        All arguments by name: as they were given.

    The other attributes are the arguments of these names.
    """

    x: Any
    y: Any
    targets: Targets
    n_outputs: int
    hidden: tuple[int, ...]
    activations: list[str]
    loss: str
    classes: np.ndarray | None
    optimizer: Optimizer
    learning_rate: Any
    batch_size: int
    epochs: int
    shuffle: bool | str
    input_scale: Any
    sparse: bool | str
    seed: int | None
    n_threads: int
    callbacks: list
    progress: bool | str
    regularization: Regularization
    label_smoothing: float
    delta: float
    metrics: dict[str, Metric]
    shuffle_buffer: int | None
    missing: str
    max_levels: int
    average_every: int
    feature_names: list[str] | None
    given: Mapping[str, Any]

    @property
    def is_stream(self) -> bool:
        """Whether `x` is read in parts."""
        return hasattr(self.x, "windows")

    def comparable(self) -> dict[str, Any]:
        """Return all arguments by name, in a form that is the same however they were given: for checkpoints."""
        checked = {name: value for name, value in vars(self).items() if name in self.given}
        targets = [self.targets.labels, self.targets.values]
        own = {"activation": self.activations, "metrics": list(self.metrics), "y": targets}
        return {**self.given, **checked, **self.regularization._asdict(), **own}


def check_settings(arguments: Mapping[str, Any]) -> TrainingSettings:
    """Check the arguments of `fastmlp.train`, all of them, by name.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described there.
    """
    given = dict(arguments)
    get = given.__getitem__
    x, y = _open(get("x"), get("y"), get("shuffle_buffer"), getattr(get("init"), "encoder", None) is not None)
    is_stream = hasattr(x, "windows")
    hidden = checks.check_hidden(get("hidden"))
    activations = checks.check_activations(get("activation"), len(hidden), ACTIVATIONS)
    optimizer = check_optimizer(get("optimizer"))
    learning_rate = check_learning_rate(get("learning_rate"), optimizer)
    batch_size = checks.check_integer(get("batch_size"), "batch_size", 1)
    epochs = checks.check_integer(get("epochs"), "epochs", 1)
    checks.check_choice(get("shuffle"), "shuffle", (True, False) if is_stream else SHUFFLES)
    checks.check_choice(get("progress"), "progress", ("auto", True, False))
    checks.check_choice(get("sparse"), "sparse", ("auto", True, False))
    if get("sparse") is False and is_csr(x):
        raise ValueError("sparse=False needs an array, but x is a sparse matrix, which is never made dense")
    if isinstance(x, Table):
        input_scale = check_number_scale(get("input_scale"))
    else:
        input_scale = check_input_scale(get("input_scale"), x.shape[1])
    checks.check_choice(get("missing"), "missing", MISSING)
    max_levels = checks.check_integer(get("max_levels"), "max_levels", 2)
    regularization = check_regularization(len(hidden), *(get(name) for name in Regularization._fields))
    label_smoothing = checks.check_fraction(get("label_smoothing"), "label_smoothing")
    delta = checks.check_positive(get("delta"), "delta")
    seed, buffer = (
        None if get(name) is None else checks.check_integer(get(name), name, minimum)
        for name, minimum in (("seed", 0), ("shuffle_buffer", 1))
    )
    average_every = checks.check_integer(get("average_every"), "average_every", 1)
    several = check_communicator(get("communicator")) is not None
    if several and is_stream:
        raise ValueError("communicator needs x in memory, but x is a memmap or a folder that is read in parts")
    n_threads = resolve(1 if several and get("threads") is None else get("threads"))
    callbacks = check_callbacks(get("callbacks"))
    if hasattr(learning_rate, "on_epoch_end"):
        callbacks.append(learning_rate)
    loss = _default_loss(y) if get("loss") is None else get("loss")
    checks.check_choice(loss, "loss", LOSSES)
    check_smoothing(loss, label_smoothing)
    if several and LOSSES[loss].whole_batch:
        raise ValueError(f"communicator needs a loss of single samples, but {loss!r} is that of a whole batch")
    classes, targets, n_outputs = _check_y(y, x.shape[0], loss, get("classes"))
    targets = _weighted(targets, classes, x.shape[0], get("sample_weight"), get("class_weight"))
    metrics = check_metrics(get("metrics"), None if classes is None else len(classes))
    if metrics and is_stream:
        raise ValueError("metrics need the training set in memory, but x is a memmap or a folder that is read in parts")
    return TrainingSettings(
        x=x, y=y, targets=targets, n_outputs=n_outputs, hidden=hidden, activations=activations, loss=loss,
        classes=classes, optimizer=optimizer, learning_rate=learning_rate, batch_size=batch_size, epochs=epochs,
        shuffle=get("shuffle"), input_scale=input_scale, sparse=get("sparse"), seed=seed, n_threads=n_threads,
        callbacks=callbacks, progress=get("progress"), regularization=regularization,
        label_smoothing=label_smoothing, delta=delta, metrics=metrics, shuffle_buffer=buffer,
        missing=get("missing"), max_levels=max_levels, average_every=average_every,
        feature_names=list(x.names) if isinstance(x, Table) else feature_names(get("x")), given=given,
    )  # fmt: skip


def _open(x, y, shuffle_buffer, has_encoder: bool):
    """Return checked features, or a stream of those that do not fit into its buffer, and targets in memory.

    Data frames that have to be encoded become Tables; with `has_encoder`, all do.
    """
    feature_names(x)  # refuses what has not been collected
    if all(not isinstance(data, (str, os.PathLike)) and memmap_of(data) is None for data in (x, y)):
        return _check_in_memory(x, has_encoder), y
    from fastmlp.data.streams import load_targets, open_stream

    stream, y = open_stream(x), load_targets(y)
    if stream is None:
        return _check_in_memory(x, has_encoder), y
    if shuffle_buffer is None and stream.nbytes <= BUFFER_BYTES:
        return check_features(stream.rows(0, stream.shape[0])), y
    return stream, y


def _check_in_memory(x, has_encoder: bool):
    return read_table(x) if needs_encoding(x) or (has_encoder and is_table(x)) else check_features(x)


def check_optimizer(optimizer) -> Optimizer:
    """Return the optimizer for the argument `optimizer`, a name or an optimizer."""
    if isinstance(optimizer, str):
        checks.check_choice(optimizer, "optimizer", OPTIMIZERS)
        return OPTIMIZERS[optimizer]()
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be a name ({', '.join(OPTIMIZERS)}) or fastmlp.SGD(...), got {optimizer!r}")
    return optimizer


def check_learning_rate(learning_rate, optimizer: Optimizer):
    """Return the learning rate: a number, a schedule, or a function of the step number."""
    if learning_rate is None:
        return optimizer.learning_rate
    if isinstance(learning_rate, type) or not (hasattr(learning_rate, "rate") or callable(learning_rate)):
        return checks.check_positive(learning_rate, "learning_rate")
    return learning_rate


def _default_loss(y) -> str:
    """Return the loss that suits the targets."""
    y = as_array(y, "y")
    if y.dtype.kind == "f":
        return "mse"
    return "binary_cross_entropy" if y.ndim == 2 and y.shape[1] > 1 and y.dtype.kind in "bui" else "cross_entropy"


def _check_y(y, n_samples: int, loss: str, classes):
    """Return the classes (None if targets are not labels), the encoded targets, and the number of outputs."""
    if loss in ELEMENTWISE:
        if classes is not None:
            raise ValueError(f"classes needs labels, which the loss {loss!r} does not have")
        y = target_validator(loss)(y, n_samples)
        return None, encode_targets(y), y.shape[1]
    labels = check_labels(y, n_samples)
    found = find_classes(labels) if classes is None else check_classes(classes)
    return found, encode_labels(labels, found), len(found)


def _weighted(targets, classes, n_samples: int, sample_weight, class_weight):
    """Return the targets with weights for the samples."""
    if sample_weight is None and class_weight is None:
        return targets
    weights = np.ones(n_samples, np.float32)
    if sample_weight is not None:
        weights = check_sample_weight(sample_weight, n_samples)
    if class_weight is not None:
        if classes is None:
            raise ValueError("class_weight needs labels, which these targets are not")
        by_class = class_weights(class_weight, classes, targets.labels)
        weights = check_sample_weight(weights * by_class[targets.labels], n_samples, "class_weight")
    return targets._replace(weights=weights)
