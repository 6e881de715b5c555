"""Model files in safetensors format: parameters are tensors, everything else is JSON in the metadata."""

from __future__ import annotations

import functools
import json
import os
import stat
import zlib
from typing import Any

import numpy as np

from fastmlp.activations import ACTIVATIONS
from fastmlp.checks import check_positive
from fastmlp.data.frames import FrameEncoder
from fastmlp.data.scaling import InputScale, RobustScale, check_input_scale
from fastmlp.engine.parameters import Parameters
from fastmlp.io.atomic_write import replace_file, rescue_file
from fastmlp.io.state import ModelState
from fastmlp.losses import ELEMENTWISE, LOSSES

KEY = "fastmlp"  # metadata key of the JSON
CHECKSUM = "crc32"  # metadata key of the checksum that checkpoints have
FORMAT = 2  # with an encoder or a RobustScale, which versions that know format 1 only would overlook; else 1
_SCALES: dict[str, Any] = {"features": InputScale, "robust": RobustScale}  # by their names in the header


def save(state: ModelState, path) -> None:
    """Write a model to `path` atomically: to a new file, which is renamed into place once it is complete."""
    write(state, path, {}, {})


def save_somewhere(state: ModelState, path) -> None:
    """Write a model to `path`; if that fails, write it to another file, which the error names."""
    data = to_bytes(state, {}, {})
    try:
        replace_file(path, data)
    except OSError as error:
        raise OSError(f"{error}; the model is in {rescue_file(path, data)}") from error


def write(state: ModelState, path, more: dict[str, str], tensors: dict[str, np.ndarray]) -> None:
    """Write a model with additional metadata and tensors."""
    replace_file(path, to_bytes(state, more, tensors))


def to_bytes(state: ModelState, more: dict[str, str], tensors: dict[str, np.ndarray]) -> bytes:
    """Return the contents of a model file."""
    from safetensors.numpy import save as pack

    header, own = header_and_tensors(state)
    tensors = {**tensors, **own}
    metadata = {KEY: dump(header), **more}
    if more:  # resuming uses all of it, and would not notice damage
        metadata[CHECKSUM] = _checksum(metadata, tensors)
    return pack(tensors, metadata=metadata)


def header_and_tensors(state: ModelState) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return what a file holds of a model: the header, for `dump`, and the tensors."""
    from fastmlp import __version__

    classes, scale = state.classes, state.input_scale
    header = {
        "format": 1 if state.encoder is None and not isinstance(state.input_scale, RobustScale) else FORMAT,
        "version": __version__,
        "widths": list(state.widths),
        "activations": list(state.activations),
        "loss": state.loss,
        "classes": None if classes is None else _classes_to_json(classes),
        "classes_dtype": None if classes is None else classes.dtype.str,
        "input_scale": next((name for name, kind in _SCALES.items() if isinstance(scale, kind)), scale),
        "delta": state.delta,
        "feature_names": state.feature_names,
        "encoder": None if state.encoder is None else state.encoder.to_json(),
        "has_bias": state.has_bias,
        "history": state.history,
    }
    tensors = {}
    if isinstance(scale, (InputScale, RobustScale)):
        tensors["input.offset"], tensors["input.factor"] = scale
    for layer, (weight, bias) in enumerate(zip(state.weights, state.biases)):
        tensors[f"layers.{layer}.weight"] = np.ascontiguousarray(weight)
        tensors[f"layers.{layer}.bias"] = np.ascontiguousarray(bias)
    return header, tensors


def dump(header: dict[str, Any]) -> str:
    """Return a header as JSON."""
    return json.dumps(header, default=_plain)


def _plain(value):
    """Convert NumPy numbers and arrays, which callbacks may put into the history, to JSON types."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"a model's history must hold numbers, strings and lists, got {value!r}")


def _checksum(metadata: dict[str, str], tensors: dict[str, np.ndarray]) -> str:
    """Return a checksum of metadata and tensors that does not depend on their order."""
    parts: list[bytes | memoryview] = [metadata[name].encode() for name in sorted(metadata) if name != CHECKSUM]
    parts += [f"{name} {tensors[name].shape} {tensors[name].dtype.str}".encode() for name in sorted(tensors)]
    parts += [np.ascontiguousarray(tensors[name]).data.cast("B") for name in sorted(tensors) if tensors[name].size]
    return str(functools.reduce(lambda crc, part: zlib.crc32(part, crc), parts, 0))


def read(path) -> tuple[ModelState, dict[str, str], dict[str, np.ndarray]]:
    """Return the state of a model, the metadata of its file, and the tensors of its training state."""
    path = os.fspath(path)
    return model_state(path, *contents(path))


def model_state(
    path: str, metadata: dict[str, str], tensors: dict[str, np.ndarray]
) -> tuple[ModelState, dict[str, str], dict[str, np.ndarray]]:
    """Return what `read` does, from the contents of a file."""
    if KEY not in metadata:
        raise ValueError(f"{path} is a safetensors file, but not a fastmlp model: its metadata has no {KEY!r}")
    if CHECKSUM in metadata and metadata[CHECKSUM] != _checksum(metadata, tensors):
        raise ValueError(f"{path} is damaged: its checksum does not match")
    training = {name: tensors.pop(name) for name in list(tensors) if name.startswith("training.")}
    try:
        return state_of(json.loads(metadata[KEY]), tensors), metadata, training
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a fastmlp model that this version can read: {error}") from None


def contents(path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Return the metadata and the tensors of a safetensors file."""
    from safetensors import safe_open

    with open(path, "rb", opener=_open_without_waiting) as file:  # raises the OS's own error if it can't be read
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError(f"{path} is not a file but a pipe or a device")
    try:
        with safe_open(path, framework="numpy") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no dict
    except OSError:
        raise
    except BaseException as error:
        # safetensors raises errors of many kinds; a panic of its Rust code is no subclass of Exception
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ValueError(f"{path} is not a safetensors file, or is cut short: {error}") from None


def _open_without_waiting(path, flags: int) -> int:
    """Open a file without blocking, even if it is a pipe that nobody writes to."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def state_of(header: dict, tensors: dict[str, np.ndarray]) -> ModelState:
    """Return the state of a model from its header and all of its tensors, once they are known to fit together."""
    if header["format"] > FORMAT:
        raise ValueError(f"it has format {header['format']}, of fastmlp {header['version']}; format {FORMAT} is known")
    widths = _list_of(header, "widths", int)
    if len(widths) < 2 or min(widths) < 1:
        raise ValueError(f"widths must be at least two integers >= 1, got {widths}")
    activations = _list_of(header, "activations", str)
    if len(activations) != len(widths) - 2:
        raise ValueError(f"{len(activations)} activations do not fit the widths {tuple(widths)}")
    for name, known in [(header["loss"], [*LOSSES]), *((name, [*ACTIVATIONS]) for name in activations)]:
        if name not in known:
            raise ValueError(f"unknown name {name!r}")
    scale = header["input_scale"]
    if scale in _SCALES:
        scale = _SCALES[scale](tensors.pop("input.offset"), tensors.pop("input.factor"))
    scale = check_input_scale(scale, widths[0])
    parameters = _parameters(widths, tensors)
    if tensors:
        raise ValueError(f"unknown tensors {sorted(tensors)}")
    classes = header["classes"]
    if classes is not None:
        classes = _classes_from_json(_list_of(header, "classes"), header["classes_dtype"])
        if classes.shape != (widths[-1],):
            raise ValueError(f"{classes.size} classes do not fit {widths[-1]} outputs")
        if not (classes[1:] > classes[:-1]).all():
            raise ValueError(f"the classes {classes.tolist()} are not different and sorted")
        if header["loss"] in ELEMENTWISE:
            raise ValueError(f"the loss {header['loss']!r} has no classes")
    elif header["loss"] not in ELEMENTWISE:
        raise ValueError(f"the loss {header['loss']!r} needs classes")
    names = None if header.get("feature_names") is None else _list_of(header, "feature_names", str)
    encoder = None if header.get("encoder") is None else FrameEncoder.from_json(header["encoder"])
    if encoder is not None and (encoder.n_features != widths[0] or names != encoder.names):
        raise ValueError(f"an encoder of {encoder.n_features} features does not fit {widths[0]} inputs and {names}")
    if encoder is None and names is not None and len(names) != widths[0]:
        raise ValueError(f"{len(names)} names do not fit {widths[0]} features")
    return ModelState(
        parameters, tuple(activations), header["loss"], classes, scale, bool(header["has_bias"]),
        history={name: _list_of(header["history"], name) for name in dict(header["history"])},
        delta=check_positive(header.get("delta", 1.0), "delta"),
        feature_names=names,
        encoder=encoder,
    )  # fmt: skip


def _list_of(header: dict, name: str, kind: type = object) -> list[Any]:
    """Return a list from JSON after checking the type of its elements."""
    values = header[name]
    if type(values) is not list or not all(kind is object or type(value) is kind for value in values):
        wanted = "" if kind is object else f" of {kind.__name__}"
        raise TypeError(f"{name} must be a list{wanted}, got {str(values)[:100]}")
    return values


def _parameters(widths: list[int], tensors: dict) -> Parameters:
    """Take the parameters out of `tensors`; memory is allocated only once all of them are known to be there."""
    found: list[np.ndarray] = []
    for kind in ("weight", "bias"):
        for layer, weight_shape in enumerate(zip(widths, widths[1:])):
            shape = weight_shape if kind == "weight" else weight_shape[1:]
            name = f"layers.{layer}.{kind}"
            tensor = tensors.pop(name, None)
            if tensor is None or tensor.shape != shape or tensor.dtype != np.float32:
                got = "none" if tensor is None else f"{tensor.dtype} of shape {tensor.shape}"
                raise ValueError(f"tensor {name} must be float32 of shape {shape}, got {got}")
            if not np.isfinite(tensor).all():
                raise ValueError(f"tensor {name} holds NaN or infinity")
            found.append(tensor)
    parameters = Parameters(widths)
    parameters.set(found, [])
    return parameters


def _classes_to_json(classes: np.ndarray) -> list:
    return [label.decode("latin-1") for label in classes.tolist()] if classes.dtype.kind == "S" else classes.tolist()


def _classes_from_json(labels: list, dtype: str) -> np.ndarray:
    kind = np.dtype(dtype).kind
    if kind not in "biufUSO":
        raise TypeError(f"classes can't have the type {dtype!r}")
    if kind == "S":
        labels = [label.encode("latin-1") for label in labels]
    # strings get the length of the longest: the file may claim any other
    return np.array(labels, kind if kind in "US" else dtype)
