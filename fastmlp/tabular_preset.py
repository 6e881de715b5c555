"""`tabular`: RealMLP-TD-S, a network for tables whose settings were tuned on many of them."""

from __future__ import annotations

import dataclasses
import numbers
from typing import Any, Literal, overload

import numpy as np

from fastmlp import checks
from fastmlp.callbacks import RestoreBest
from fastmlp.data.arrays import as_array, is_csr
from fastmlp.data.columns import is_table, needs_encoding, read_table
from fastmlp.data.frames import MAX_LEVELS, FrameEncoder, NumberColumn
from fastmlp.data.order import check_samples, split
from fastmlp.data.scaling import SCALES
from fastmlp.data.target_scale import TargetScale, target_scale
from fastmlp.data.targets import check_labels, check_not_weightless, check_sample_weight
from fastmlp.errors import DivergenceError
from fastmlp.losses import LOSSES
from fastmlp.many.ensemble import Ensemble
from fastmlp.many.training import train_many
from fastmlp.model import MLP
from fastmlp.optimizers import Adam
from fastmlp.schedules import CosineLog
from fastmlp.train import train
from fastmlp.training.shared import default_loss

# Of Holzmüller, Grinsztajn and Steinwart (2024), "Better by default: Strong pre-tuned MLPs and boosted trees on tabular
# data", arXiv 2407.04491, section 3 and its appendix on RealMLP-TD-S.
SETTINGS: dict[str, Any] = {
    "hidden": (256, 256, 256),
    "init": "realmlp",
    "weight_rate_factors": "ntk",
    "bias_rate_factor": 0.1,
    "scale_rate_factor": 6.0,
    "optimizer": Adam(betas=(0.9, 0.95)),
    "batch_size": 256,
    "epochs": 256,
}
CLASSIFICATION: dict[str, Any] = {"activation": "selu", "learning_rate": 0.04, "label_smoothing": 0.1}
REGRESSION: dict[str, Any] = {"activation": "mish", "learning_rate": 0.07}
VALIDATION = 0.2


@overload
def tabular(
    x, y, *, validation: Any = ..., seed: int | None = ..., n_members: Literal[1] = ..., **overrides: Any
) -> MLP: ...


@overload
def tabular(
    x, y, *, validation: Any = ..., seed: int | None = ..., n_members: int, **overrides: Any
) -> MLP | Ensemble: ...


def tabular(
    x, y, *, validation: Any = VALIDATION, seed: int | None = None, n_members: int = 1, **overrides: Any
) -> MLP | Ensemble:
    """Train a network on a table by a recipe that needs no tuning: RealMLP-TD-S.

    The recipe is that of Holzmüller, Grinsztajn and Steinwart (2024), arXiv 2407.04491: numbers are scaled robustly and
    clipped smoothly, categories become features of their own, and these are scaled in the same way; a factor is learnt
    for every feature; three hidden layers of 256 units, SELU for labels and Mish for regressions, under the NTK
    parametrization; Adam with a learning rate of 0.04 or 0.07 that goes up and down four times in 256 epochs; label
    smoothing; regression targets with mean 0 and variance 1; and the weights of the epoch that is best on the
    validation set.

    Unlike the authors' code it trains on a short last batch too, missing numbers become medians with an indicator, and
    several targets are divided by one number, not each by its own.

    Parameters
    ----------
    x : data frame or array_like (n_samples, n_features)
        In memory, and not sparse.
    y : array_like (n_samples,) or (n_samples, n_outputs)
        As in `fastmlp.train`.
    validation : float or (x, y)
        The fraction of the samples, or other samples, by which the best epoch is chosen.
    seed : int, optional
        Seed of all random numbers, those that choose the fraction too.
    n_members : int
        Number of networks to average.  Network k has the seed ``seed + k``, and all have the same validation set.
        `threads` of them are trained at once.
    **overrides
        Any other arguments of `fastmlp.train`, which replace those of the recipe.  A number as `learning_rate` is the
        highest one of the schedule; `callbacks` are added.  These, `checkpoint` and functions in `metrics` see what is
        trained on: encoded features, and targets with mean 0 and variance 1.  With initial weights as `init`, targets
        are trained on as they are.

    Returns
    -------
    MLP
        With the weights of the best epoch, unless an `EarlyStopping` among the callbacks restores another.  The losses
        in its history are in the units of the targets.  ``model.partial_fit`` of a regression begins anew, with
        plain SGD.  With several members, an `Ensemble` of such models.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.
    DivergenceError
        If the loss or a weight becomes NaN or infinite.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.datasets import load_wine
    >>> frame = load_wine(as_frame=True).frame
    >>> model = fastmlp.tabular(frame.drop(columns="target"), frame["target"], epochs=20, seed=0)
    >>> model.evaluate(frame.drop(columns="target"), frame["target"]).accuracy > 0.9
    True
    """
    seed = None if seed is None else checks.check_integer(seed, "seed", 0)
    n_members = checks.check_integer(n_members, "n_members", 1)
    x, y, encoder, validation, settings = _split(x, y, validation, seed, _settings(y, overrides))
    scale = target_scale(np.asarray(y), settings)
    if scale is not None:
        y, validation = scale.apply(y), (validation[0], scale.apply(validation[1]), *validation[2:])
        if settings["loss"] == "huber":
            settings["delta"] = checks.check_positive(settings.get("delta", 1.0), "delta") / scale.factor
    settings["validation"] = validation
    try:
        if n_members == 1:
            return _finish(train(x, y, seed=seed, **settings), scale, encoder)
        models = _train_members(x, y, seed, n_members, settings)
    except DivergenceError as error:
        _finish(error.model, scale, encoder)
        raise
    return Ensemble([_finish(model, scale, encoder) for model in models])


def _settings(y, overrides: dict[str, Any]) -> dict[str, Any]:
    """Return the recipe's arguments of `train` for such targets, some of them replaced."""
    loss = overrides.get("loss") or default_loss(y)
    checks.check_choice(loss, "loss", LOSSES)
    has_labels = LOSSES[loss].has_accuracy
    settings = {**SETTINGS, **(CLASSIFICATION if has_labels else REGRESSION)}
    if not LOSSES[loss].smooths:
        settings.pop("label_smoothing", None)
    settings |= {**overrides, "loss": loss}
    if isinstance(settings["learning_rate"], numbers.Real):
        settings["learning_rate"] = CosineLog(checks.check_positive(settings["learning_rate"], "learning_rate"))
    callbacks = settings.get("callbacks", ())
    callbacks = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
    # the loss of a regression falls with its root, the authors' metric; of several best epochs they take the last one
    best = RestoreBest("validation_accuracy" if has_labels else "validation_loss", ties="last")
    return {**settings, "callbacks": [best, *callbacks]}


def _train_members(x, y, seed: int | None, n_members: int, settings: dict[str, Any]) -> list[MLP]:
    """Return networks that differ in their seeds."""
    for name in ("checkpoint", "communicator"):
        if settings.get(name) is not None:
            raise ValueError(f"{name} must be None with n_members={n_members}, got {settings[name]!r}")
    common = {name: value for name, value in settings.items() if name != "progress"}
    threads = common.pop("threads", None)
    models = train_many(
        [{"seed": None if seed is None else seed + k} for k in range(n_members)], x, y, threads=threads, **common
    )
    for model in models:
        model.threads = threads
    return models


def _finish(model: MLP, scale: TargetScale | None, encoder: FrameEncoder | None) -> MLP:
    """Return a model of scaled targets and encoded features as one of the targets and the frame themselves."""
    if scale is not None:
        scale.put_into(model)
        model._training_state = None  # it is that of other targets
    if encoder is not None:
        model.encoder, model.feature_names = encoder, encoder.names
    return model


def _split(x, y, validation, seed: int | None, settings: dict[str, Any]):
    """Return samples and targets to train on, the encoder of a data frame, the validation set, and the settings."""
    if is_csr(x):
        raise ValueError("x must be a data frame or an array, whose numbers are scaled by medians, got a sparse matrix")
    is_frame = needs_encoding(x)
    x = read_table(x) if is_frame else x if is_table(x) else as_array(x, "x")
    y = as_array(y, "y")
    n_samples, settings = x.shape[0] if is_frame else len(x), dict(settings)
    if len(y) != n_samples:
        raise ValueError(f"x and y must have equally many samples, got {n_samples} and {len(y)}")
    part, weights = np.arange(n_samples), settings.pop("sample_weight", None)
    if settings.get("samples") is not None:
        part = check_samples(settings.pop("samples"), n_samples, "samples")
    if weights is not None:
        weights = check_sample_weight(weights, n_samples)
    if isinstance(validation, (float, np.floating)):
        if not 0 < validation < 1 or not 0 < round(len(part) * validation) < len(part):
            raise ValueError(
                "validation, as a fraction, must be in (0, 1) and leave samples in both parts, got "
                f"{validation!r} of {len(part)} samples"
            )
        if settings.get("checkpoint") is not None and seed is None:
            raise ValueError("seed must be given with a checkpoint, or resuming would hold out other samples, got None")
        kept, held_out = split(len(part), float(validation), np.random.default_rng(seed))
        part, held_out = part[kept], part[held_out]
        check_not_weightless(weights, held_out, "held out for validation")
        validation = (_take(x, held_out), y[held_out], *(() if weights is None else (weights[held_out],)))
    elif not isinstance(validation, (tuple, list)) or len(validation) not in (2, 3):
        raise TypeError(f"validation must be (x, y) or a fraction like 0.2, got {checks.describe(validation)}")
    if weights is not None:
        check_not_weightless(weights, part, "trained on")
        settings["sample_weight"] = weights[part]
    settings.setdefault("input_scale", "robust")
    if LOSSES[settings["loss"]].has_labels and settings.get("classes") is None:
        y = check_labels(y, n_samples)
        settings["classes"] = np.unique(y)  # a rare one may be held out
    encoder = None
    if is_frame:
        encoder = _learn_encoder(x, part, settings)
        validation = (encoder.transform(validation[0], "validation x"), *validation[1:])
        x = encoder.transform(x)
        if settings["input_scale"] not in SCALES:
            settings["input_scale"] = 1.0  # the encoder has multiplied by it
    return _take(x, part), y[part], encoder, tuple(validation), settings


def _learn_encoder(table, rows: np.ndarray, settings: dict[str, Any]) -> FrameEncoder:
    """Return an encoder that scales numbers, but leaves clipping to the scale of all features that comes behind it."""
    encoder = FrameEncoder.learn(
        table, rows, input_scale=settings["input_scale"], missing=settings.pop("missing", "indicator"),
        max_levels=settings.pop("max_levels", MAX_LEVELS),
    )  # fmt: skip
    columns = (dataclasses.replace(c, clips=False) if isinstance(c, NumberColumn) else c for c in encoder.columns)
    return dataclasses.replace(encoder, columns=tuple(columns))


def _take(x, rows: np.ndarray):
    """Return some rows of a data frame, a Table or an array."""
    if hasattr(x, "iloc"):
        return x.iloc[rows]
    return x[rows]
