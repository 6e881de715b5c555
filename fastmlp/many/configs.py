"""The settings of many training runs: what each has, and what all have."""

from __future__ import annotations

import copy
import inspect
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from fastmlp.train import train
from fastmlp.training.events import EVENTS

# What a training run of many can't choose for itself: they share the data and the threads.
SHARED = frozenset({"x", "y", "threads", "progress", "shuffle_buffer"})
DEFAULTS = {name: each.default for name, each in inspect.signature(train).parameters.items()}

Config = Mapping[str, Any]


def check_configs(configs: Iterable[Config], common: Config) -> list[Config]:
    """Return the settings that each training run has beside the common ones.

    Callbacks and schedules that several of them hold are copied, so that each run has its own.

    Raises
    ------
    ValueError, TypeError
        If a name is none of `fastmlp.train`'s arguments, or one that a run of many can't have, or if several runs have
        the same folder for checkpoints.
    """
    _check_names(common, "train_many", {"shuffle_buffer"})
    if isinstance(configs, (str, Mapping)) or not isinstance(configs, Iterable):
        raise TypeError(f"configs must be a list of dicts of fastmlp.train's settings, got {type(configs).__name__}")
    checked = []
    for index, config in enumerate(configs):
        if not isinstance(config, Mapping):
            raise TypeError(f"configs[{index}] must be a dict of fastmlp.train's settings, got {config!r}")
        _check_names(config, f"configs[{index}]")
        checked.append(with_listed_callbacks(config))  # a copy, as a generator may change its dict and yield it again
    _check_checkpoints(checked, common)
    holders = Counter(key for config in checked for key in {id(each) for each in _stateful(config)})
    several = {key for key, count in holders.items() if count > 1}
    return [_with_copies(config, several) for config in checked]


def with_listed_callbacks(settings: Config) -> dict[str, Any]:
    """Return a copy of settings whose callbacks, which may be an iterator, can be gone through more than once."""
    return {**settings, "callbacks": _callbacks(settings)} if "callbacks" in settings else dict(settings)


def merge(config: Config, common: Config) -> dict[str, Any]:
    """Return all settings of a training run that are not defaults; what has a state is copied from the common ones."""
    used = {name: value for name, value in common.items() if name not in config}
    return {**_with_copies(used, {id(each) for each in _stateful(used)}), **config}


def _check_names(settings: Config, owner: str, allowed: Iterable[str] = ()) -> None:
    for name in settings:
        if name not in DEFAULTS:
            raise TypeError(f"{owner} must hold settings of fastmlp.train, got {name!r}")
        if name in SHARED and name not in allowed:
            raise ValueError(f"{owner} must not hold {name!r}, which all networks share")
        if name == "communicator" and settings[name] is not None:
            raise ValueError(f"{owner} must not hold 'communicator', as each network is trained by one process")


def _check_checkpoints(configs: Iterable[Config], common: Config) -> None:
    """Refuse a folder that several training runs would write their checkpoints to."""
    owners: dict[Any, int] = {}
    for index, config in enumerate(configs):
        folder = config.get("checkpoint", common.get("checkpoint"))
        if not isinstance(folder, (str, os.PathLike)):
            continue
        path = os.path.abspath(folder)
        if path in owners:
            raise ValueError(
                f"configs[{index}] must have a checkpoint folder of its own, got {os.fspath(folder)!r}, which is that "
                f"of configs[{owners[path]}]"
            )
        owners[path] = index


def _callbacks(config: Config) -> list:
    callbacks = config.get("callbacks", ())
    return list(callbacks) if isinstance(callbacks, Iterable) else [callbacks]


def _stateful(config: Config) -> list:
    """Return the callbacks and schedules that may change during training."""
    candidates = [*_callbacks(config), config.get("learning_rate")]
    return [each for each in candidates if any(hasattr(each, event) for event in EVENTS)]


def _with_copies(config: Config, ids: set[int]) -> Config:
    """Return settings in which the objects with these ids are copies."""
    if not ids:
        return config
    memo: dict[int, Any] = {}  # of all copies, so that callbacks that refer to each other still do

    def own(value):
        return copy.deepcopy(value, memo) if id(value) in ids else value

    changed = dict(config)
    if "callbacks" in config:
        changed["callbacks"] = [own(each) for each in _callbacks(config)]
    if "learning_rate" in config:
        changed["learning_rate"] = own(config["learning_rate"])
    return changed


def name_config(error: BaseException, index: int) -> None:
    """Have an error say which of the configs it is of."""
    if len(error.args) == 1 and isinstance(error.args[0], str):
        error.args = (f"configs[{index}]: {error.args[0]}",)
    elif hasattr(error, "add_note"):
        error.add_note(f"in configs[{index}]")
