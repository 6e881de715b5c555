"""What a worker of an executor does: it keeps the data, and trains the networks of a task."""

from __future__ import annotations

import pickle
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

from fastmlp.many.configs import Config
from fastmlp.many.local import Outcome, outcome_of
from fastmlp.training.shared import SharedData

KEPT = 2  # data sets that a worker keeps


class Payload(NamedTuple):
    """What all networks have: the arguments of `SharedData`, and the common settings."""

    x: Any
    y: Any
    shuffle_buffer: int | None
    common: Config


class Result(NamedTuple):
    """The outcomes of a task, by the indices of its configs, and how many seconds they took."""

    outcomes: list[tuple[int, Outcome]]
    seconds: float


class NeedData:
    """A worker's answer to a task whose data it does not have."""


class WrongData(NamedTuple):
    """A worker's answer to data that are refused."""

    error: BaseException


_data: OrderedDict[str, tuple[SharedData, Config]] = OrderedDict()
_lock = threading.Lock()  # a worker of Dask runs tasks in several threads


def run_task(
    number: int, key: str, payload: bytes | Payload | None, configs: Sequence[tuple[int, Config]]
) -> Result | NeedData | WrongData:
    """Train the networks of a task.

    Parameters
    ----------
    number : int
        A different one for each task, as Dask takes calls with equal arguments for one.
    key : str
        Identifies the payload.
    payload : Payload, or bytes of a pickled one, optional
        Left out where the worker may have it already.
    configs : sequence of (int, dict)
        Index and settings of each network.
    """
    try:
        found = _shared_data(key, payload)
    except (TypeError, ValueError) as error:
        return WrongData(_as_pickle(error))
    if found is None:
        return NeedData()
    data, common = found
    start = time.perf_counter()
    outcomes = []
    for index, config in configs:
        outcome = outcome_of(config, common, data)
        outcomes.append((index, _as_pickle(outcome) if isinstance(outcome, BaseException) else outcome))
        if isinstance(outcome, KeyboardInterrupt):  # terminals send Ctrl-C to all processes
            break
    return Result(outcomes, time.perf_counter() - start)


def _shared_data(key: str, payload: bytes | Payload | None) -> tuple[SharedData, Config] | None:
    """Return the data under a key and the common settings, made from the payload the first time."""
    with _lock:
        if key not in _data:
            if payload is None:
                return None
            unpacked = pickle.loads(payload) if isinstance(payload, bytes) else Payload(*payload)
            shared = SharedData(unpacked.x, unpacked.y, unpacked.shuffle_buffer)
            _data[key] = shared, unpacked.common
        _data.move_to_end(key)
        while len(_data) > KEPT:
            _data.popitem(last=False)
        return _data[key]


def _as_pickle(error: BaseException) -> BaseException:
    """Return an error, or one with the same message if it can't be sent to another process."""
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
