"""Checkpoints of a training run: everything that later epochs depend on, in one safetensors file per epoch.

A checkpoint is a model file with additional contents, so `fastmlp.load` reads it too.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastmlp.io.safetensors import read, write
from fastmlp.io.state import ModelState
from fastmlp.training.identity import ADDED

PREFIX = "training."  # of the tensors that are not the model's
KEPT = 2  # number of checkpoints that are kept: if the last one is damaged, there is one before it


class Checkpoint(NamedTuple):
    """What a checkpoint holds: the model, the state of its training run as JSON types, and as arrays."""

    model: ModelState
    state: dict[str, Any]
    arrays: dict[str, np.ndarray]

    @property
    def entropy(self) -> int:
        """What all random numbers of the training run derive from."""
        return int(self.state["entropy"])


class Checkpoints:
    """The checkpoints in a folder.

    Parameters
    ----------
    folder : str or path
        Created if it does not exist.
    identity : dict
        What identifies the training run, as `fastmlp.training.identity` describes it.
    """

    def __init__(self, folder: str | os.PathLike, identity: dict[str, Any]):
        try:
            self.folder = Path(os.fspath(folder))
        except TypeError:
            raise TypeError(f"checkpoint must be the path of a folder, got {folder!r}") from None
        self.identity = json.loads(json.dumps(identity))  # as it will be read
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise ValueError(f"checkpoint must be the path of a folder, got the file {folder!r}") from None

    def _paths(self) -> list[Path]:
        """Return the paths of all checkpoints, newest first."""
        found = [path for path in self.folder.iterdir() if re.fullmatch(r"epoch-\d+\.safetensors", path.name)]
        return sorted(found, key=lambda path: int(path.name[6:].split(".")[0]), reverse=True)

    def save(self, model: ModelState, state: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Write a checkpoint to a new file, which is renamed into place once it is complete."""
        header = {"identity": self.identity, "state": state}
        tensors = {PREFIX + name: array for name, array in arrays.items()}
        write(model, self.folder / f"epoch-{state['done']:06d}.safetensors", {"training": json.dumps(header)}, tensors)
        for path in self._paths()[KEPT:]:
            with contextlib.suppress(OSError):
                path.unlink()

    def load(self) -> Checkpoint | None:
        """Return the newest one that is complete, or None."""
        for path in self._paths():
            try:
                model, metadata, tensors = read(path)
                header = json.loads(metadata["training"])
                identity, state = header.get("identity"), dict(header["state"])
                identity = identity if identity is None else dict(identity)
            except (ValueError, TypeError, KeyError, RecursionError, OSError):  # damaged: try the one before it
                continue
            self._check(identity)
            arrays = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
            return Checkpoint(model, state, arrays)
        return None

    def _check(self, found: dict[str, Any] | None) -> None:
        """Refuse a checkpoint of another training run."""
        folder = f"checkpoint {os.fspath(self.folder)!r}"
        found, own = found and {**ADDED, **found}, {**ADDED, **self.identity}
        if found is None or found.keys() != own.keys():
            raise ValueError(
                f"{folder} was written by another version of fastmlp, and can't be resumed by this one; take another "
                "folder, or remove it (fastmlp.load reads the models in it)"
            )
        for name, value in found.items():
            if own[name] != value:
                raise ValueError(
                    f"{folder} holds a training with another {name}: {value!r} there, {own[name]!r} here; "
                    "take another folder, or remove it"
                )


def pack_state(callbacks: Iterable) -> tuple[dict, dict[str, np.ndarray]]:
    """Return what callbacks have to keep (their `state_dict`), as JSON types and as arrays."""
    states: dict[str, dict] = {}
    arrays: dict[str, np.ndarray] = {}
    for name, callback in _named(callbacks):
        state = callback.state_dict()
        arrays.update({f"{name}.{key}": value for key, value in state.items() if isinstance(value, np.ndarray)})
        states[name] = {key: value for key, value in state.items() if not isinstance(value, np.ndarray)}
    return states, arrays


def unpack_state(callbacks: Iterable, states: dict, arrays: dict[str, np.ndarray]) -> None:
    """Give callbacks back what `pack_state` returned (by `load_state_dict`)."""
    for name, callback in _named(callbacks):
        if name in states:
            own = {key.removeprefix(f"{name}."): a for key, a in arrays.items() if key.startswith(f"{name}.")}
            callback.load_state_dict({**states[name], **own})


def _named(callbacks: Iterable) -> Iterator[tuple[str, Any]]:
    """Yield the callbacks that keep a state, with names: their class and a number."""
    count: dict[str, int] = {}
    for callback in callbacks:
        if hasattr(callback, "state_dict"):
            kind = type(callback).__name__
            count[kind] = count.get(kind, 0) + 1
            yield f"callback.{kind}.{count[kind]}", callback
