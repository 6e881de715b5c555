"""Files of several models, in safetensors format: the tensors of each have its number in front of their names."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

import numpy as np

from fastmlp.io.atomic_write import replace_file
from fastmlp.io.safetensors import contents, dump, header_and_tensors, model_state, state_of
from fastmlp.io.state import ModelState

KEY = "fastmlp.ensemble"  # metadata key of the JSON
FORMAT = 1


def save(states: Sequence[ModelState], weights: np.ndarray, path) -> None:
    """Write models and their weights to `path` atomically."""
    from safetensors.numpy import save as pack

    from fastmlp import __version__

    headers, tensors = [], {}
    for k, state in enumerate(states):
        header, own = header_and_tensors(state)
        headers.append(header)
        tensors.update({f"{k}.{name}": tensor for name, tensor in own.items()})
    header = {"format": FORMAT, "version": __version__, "weights": weights.tolist(), "models": headers}
    replace_file(path, pack(tensors, metadata={KEY: dump(header)}))


def read(path) -> tuple[list[ModelState], np.ndarray | None]:
    """Return the models in a file and their weights; of a file of one model, that one, and None."""
    path = os.fspath(path)
    metadata, tensors = contents(path)
    if KEY not in metadata:
        return [model_state(path, metadata, tensors)[0]], None
    try:
        return _states(json.loads(metadata[KEY]), tensors)
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a fastmlp ensemble that this version can read: {error}") from None


def _states(header: dict, tensors: dict[str, np.ndarray]) -> tuple[list[ModelState], np.ndarray]:
    if header["format"] > FORMAT:
        raise ValueError(f"it has format {header['format']}, of fastmlp {header['version']}; format {FORMAT} is known")
    headers = header["models"]
    if type(headers) is not list or not headers:
        raise TypeError(f"models must be a list of at least one, got {str(headers)[:100]}")
    states = []
    for k, each in enumerate(headers):
        prefix = f"{k}."
        own = {name: tensors.pop(name) for name in list(tensors) if name.startswith(prefix)}
        states.append(state_of(each, {name.removeprefix(prefix): tensor for name, tensor in own.items()}))
    if tensors:
        raise ValueError(f"unknown tensors {sorted(tensors)}")
    return states, np.array(header["weights"], np.float64)
