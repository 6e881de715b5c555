"""The arguments of `fastmlp.train`, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastmlp import checks
from fastmlp.activations import ACTIVATIONS
from fastmlp.data.arrays import is_csr
from fastmlp.data.columns import Table
from fastmlp.data.frames import MISSING, check_number_scale
from fastmlp.data.order import SHUFFLES, check_samples
from fastmlp.data.scaling import check_input_scale
from fastmlp.data.targets import check_sample_weight, class_weights
from fastmlp.engine.threads import resolve
from fastmlp.kernels.step.record import Targets
from fastmlp.losses import LOSSES, check_smoothing
from fastmlp.optimizers import OPTIMIZERS, Optimizer
from fastmlp.rate_factors import RateFactors, check_rate_factors
from fastmlp.regularization import Regularization, check_regularization
from fastmlp.training.events import check_callbacks
from fastmlp.training.metrics import Metric, check_metrics
from fastmlp.training.ranks import check_communicator
from fastmlp.training.shared import SharedData


@dataclass(frozen=True)
class TrainingSettings:
    """The checked arguments of `fastmlp.train`.

    Attributes
    ----------
    data : SharedData
        The samples and the targets.
    samples : ndarray of int64 or None
        Indices of those to train on; None: all.
    targets : Targets
        What kernels read of `y`, with the weights of the samples.
    n_outputs : int
    activations : list of str
        One per hidden layer.
    classes : ndarray or None
        None if `y` does not hold labels.
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

    data: SharedData
    samples: np.ndarray | None
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
    rate_factors: RateFactors
    label_smoothing: float
    delta: float
    metrics: dict[str, Metric]
    shuffle_buffer: int | None
    missing: str
    max_levels: int
    average_every: int
    given: Mapping[str, Any]

    def comparable(self) -> dict[str, Any]:
        """Return all arguments by name, in a form that is the same however they were given: for checkpoints."""
        checked = {name: value for name, value in vars(self).items() if name in self.given}
        targets = [self.targets.labels, self.targets.values]
        own = {"activation": self.activations, "metrics": list(self.metrics), "x": self.data.x, "y": targets}
        return {**self.given, **checked, **self.regularization._asdict(), **self.rate_factors._asdict(), **own}


def check_settings(arguments: Mapping[str, Any], data: SharedData | None = None) -> TrainingSettings:
    """Check the arguments of `fastmlp.train`, all of them, by name.

    Parameters
    ----------
    arguments : Mapping
    data : SharedData, optional
        What `x` and `y` became for an earlier training run.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described there.
    """
    given = dict(arguments)
    get = given.__getitem__
    data = (data or SharedData(get("x"), get("y"), get("shuffle_buffer"))).for_initial(get("init"))
    x, is_stream = data.x, data.is_stream
    samples = None if get("samples") is None else check_samples(get("samples"), x.shape[0], "samples")
    if samples is not None and is_stream:
        raise ValueError("samples needs x in memory, but x is a memmap or a folder that is read in parts")
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
    rate_factors = check_rate_factors(len(hidden) + 1, *(get(name) for name in RateFactors._fields))
    if rate_factors.scale_rate_factor is not None and regularization.max_norm:
        raise ValueError("max_norm must be None with a scale_rate_factor, got both")
    label_smoothing = checks.check_fraction(get("label_smoothing"), "label_smoothing")
    delta = checks.check_positive(get("delta"), "delta")
    seed, buffer = (
        None if get(name) is None else checks.check_integer(get(name), name, minimum)
        for name, minimum in (("seed", 0), ("shuffle_buffer", 1))
    )
    average_every, several = _check_several(get, is_stream, rate_factors, regularization)
    n_threads = resolve(1 if several and get("threads") is None else get("threads"))
    callbacks = check_callbacks(get("callbacks"))
    if hasattr(learning_rate, "on_epoch_end") and getattr(learning_rate, "is_callback", True):
        callbacks.append(learning_rate)
    loss = data.default_loss if get("loss") is None else get("loss")
    checks.check_choice(loss, "loss", LOSSES)
    check_smoothing(loss, label_smoothing)
    if several and LOSSES[loss].whole_batch:
        raise ValueError(f"communicator needs a loss of single samples, but {loss!r} is that of a whole batch")
    classes, targets, n_outputs = data.targets(loss, get("classes"))
    targets = _weighted(targets, classes, x.shape[0], samples, get("sample_weight"), get("class_weight"))
    metrics = check_metrics(get("metrics"), None if classes is None else len(classes))
    if metrics and is_stream:
        raise ValueError("metrics need the training set in memory, but x is a memmap or a folder that is read in parts")
    return TrainingSettings(
        data=data, samples=samples, targets=targets, n_outputs=n_outputs, hidden=hidden, activations=activations,
        loss=loss, classes=classes, optimizer=optimizer, learning_rate=learning_rate, batch_size=batch_size,
        epochs=epochs, shuffle=get("shuffle"), input_scale=input_scale, sparse=get("sparse"), seed=seed,
        n_threads=n_threads, callbacks=callbacks, progress=get("progress"), regularization=regularization,
        rate_factors=rate_factors, label_smoothing=label_smoothing, delta=delta, metrics=metrics,
        shuffle_buffer=buffer, missing=get("missing"), max_levels=max_levels, average_every=average_every, given=given,
    )  # fmt: skip


def _check_several(get, is_stream: bool, rate_factors: RateFactors, regularization: Regularization) -> tuple[int, bool]:
    """Return the number of steps between two averages, and whether several processes train together."""
    average_every = checks.check_integer(get("average_every"), "average_every", 1)
    several = check_communicator(get("communicator")) is not None
    if several and is_stream:
        raise ValueError("communicator needs x in memory, but x is a memmap or a folder that is read in parts")
    if several and (rate_factors.scale_rate_factor is not None or regularization.ema_decay):
        name, only = ("ema_decay", 0) if regularization.ema_decay else ("scale_rate_factor", None)
        raise ValueError(f"{name} must be {only} with a communicator of several processes, got {get(name)!r}")
    return average_every, several


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


def _weighted(targets, classes, n_samples: int, samples, sample_weight, class_weight):
    """Return the targets with weights; "balanced" ones are of the `samples` that are trained on (None: all)."""
    if sample_weight is None and class_weight is None:
        return targets
    weights = np.ones(n_samples, np.float32)
    if sample_weight is not None:
        weights = check_sample_weight(sample_weight, n_samples)
    if class_weight is not None:
        if classes is None:
            raise ValueError("class_weight needs labels, which these targets are not")
        labels = targets.labels if samples is None else targets.labels[samples]
        by_class = class_weights(class_weight, classes, labels)
        weights = check_sample_weight(weights * by_class[targets.labels], n_samples, "class_weight")
    return targets._replace(weights=weights)
