"""Models as safetensors files: parameters as tensors, everything else needed to predict as JSON in the metadata."""

from __future__ import annotations

import json
import os
import tempfile

import numpy as np

from fastmlp.inputs import InputScale, check_input_scale, check_positive
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.losses import BY_ELEMENTS, LOSSES
from fastmlp.model import MLP
from fastmlp.parameters import Parameters

KEY = "fastmlp"  # of the metadata
FORMAT = 1


def save(model: MLP, path) -> None:
    """Write `model` to `path`: a new file, renamed into place once it is whole."""
    write(model, path, {}, {})


def write(model: MLP, path, more: dict[str, str], tensors: dict[str, np.ndarray]) -> None:
    """The same with more metadata, and more tensors."""
    from safetensors.numpy import save as to_bytes

    from fastmlp import __version__

    classes = model.classes
    header = {
        "format": FORMAT,
        "version": __version__,
        "widths": list(model.widths),
        "activations": list(model.activations),
        "loss": model.loss,
        "classes": None if classes is None else _as_text(classes).tolist(),
        "classes_dtype": None if classes is None else classes.dtype.str,
        "input_scale": "features" if isinstance(model.input_scale, InputScale) else model.input_scale,
        "delta": model.delta,
        "feature_names": model.feature_names,
        "has_bias": model.has_bias,
        "history": model.history,
    }
    tensors = dict(tensors)
    if isinstance(model.input_scale, InputScale):
        tensors["input.offset"], tensors["input.factor"] = model.input_scale
    for layer, (weight, bias) in enumerate(zip(model.weights, model.biases)):
        tensors[f"layers.{layer}.weight"] = np.ascontiguousarray(weight)
        tensors[f"layers.{layer}.bias"] = np.ascontiguousarray(bias)
    replace(path, to_bytes(tensors, metadata={KEY: json.dumps(header, default=_plain), **more}))


def _as_text(classes: np.ndarray) -> np.ndarray:
    """Labels as JSON can hold them: bytes as the characters of the same numbers."""
    return np.char.decode(classes, "latin-1") if classes.dtype.kind == "S" else classes


def _plain(value):
    """NumPy's numbers and arrays, which a callback may put into the history, as JSON can hold them."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"a model's history must hold numbers, strings and lists, got {value!r}")


def replace(path, data: bytes) -> None:
    """Write `data` to a new file, and rename it to `path` once it is whole."""
    path = os.path.abspath(os.fspath(path))
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".fastmlp-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # what a file opened in the ordinary way would have
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def load(path: str | os.PathLike) -> MLP:
    """Read a model that `MLP.save` wrote.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    MLP

    Raises
    ------
    ValueError
        If it is not a whole file of this kind, or its tensors do not fit its architecture.
    OSError
        If it can't be read.
    """
    return read(path)[0]


def read(path) -> tuple[MLP, dict[str, str], dict[str, np.ndarray]]:
    """A model, the file's metadata, and those of its tensors that belong to a training."""
    from safetensors import SafetensorError, safe_open

    path = os.fspath(path)
    with open(path, "rb"):  # the operating system's own error where it can't be read
        pass
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file, or is cut short: {error}") from None
    if KEY not in metadata:
        raise ValueError(f"{path} is a safetensors file, but not a fastmlp model: its metadata has no {KEY!r}")
    training = {name: tensors.pop(name) for name in list(tensors) if name.startswith("training.")}
    try:
        return _model(json.loads(metadata[KEY]), tensors), metadata, training
    except (KeyError, TypeError, ValueError, AttributeError, MemoryError) as error:
        raise ValueError(f"{path} is not a fastmlp model that this version can read: {error}") from None


def _model(header: dict, tensors: dict) -> MLP:
    if header["format"] > FORMAT:
        raise ValueError(f"it has format {header['format']}, of fastmlp {header['version']}; format {FORMAT} is known")
    parameters = Parameters(header["widths"])
    if len(header["activations"]) != len(parameters.widths) - 2:
        raise ValueError(f"{len(header['activations'])} activations do not fit the widths {parameters.widths}")
    for name, known in [(header["loss"], LOSSES), *((name, ACTIVATIONS) for name in header["activations"])]:
        if name not in known:
            raise ValueError(f"unknown name {name!r}")
    scale = header["input_scale"]
    if scale == "features":
        scale = InputScale(tensors.pop("input.offset"), tensors.pop("input.factor"))
    scale = check_input_scale(scale, parameters.widths[0])
    for layer in range(len(parameters.weights)):
        for kind, target in (("weight", parameters.weights[layer]), ("bias", parameters.biases[layer])):
            name = f"layers.{layer}.{kind}"
            tensor = tensors.pop(name, None)
            if tensor is None or tensor.shape != target.shape or tensor.dtype != np.float32:
                got = "none" if tensor is None else f"{tensor.dtype} of shape {tensor.shape}"
                raise ValueError(f"tensor {name} must be float32 of shape {target.shape}, got {got}")
            if not np.isfinite(tensor).all():
                raise ValueError(f"tensor {name} holds NaN or infinity")
            target[:] = tensor
    if tensors:
        raise ValueError(f"unknown tensors {sorted(tensors)}")
    classes = header["classes"]
    if classes is not None:
        dtype = np.dtype(header["classes_dtype"])
        classes = np.char.encode(classes, "latin-1").astype(dtype) if dtype.kind == "S" else np.array(classes, dtype)
        if classes.shape != (parameters.widths[-1],):
            raise ValueError(f"{classes.size} classes do not fit {parameters.widths[-1]} outputs")
        if not (classes[1:] > classes[:-1]).all():
            raise ValueError(f"the classes {classes.tolist()} are not different and sorted")
        if header["loss"] in BY_ELEMENTS:
            raise ValueError(f"the loss {header['loss']!r} has no classes")
    elif header["loss"] not in BY_ELEMENTS:
        raise ValueError(f"the loss {header['loss']!r} needs classes")
    model = MLP(parameters, header["activations"], header["loss"], classes, scale, bool(header["has_bias"]))
    model.history = dict(header["history"])
    model.delta = check_positive(header.get("delta", 1.0), "delta")
    names = header.get("feature_names")
    if names is not None and [*map(type, names)] != [str] * parameters.widths[0]:
        raise ValueError(f"{len(names)} names do not fit {parameters.widths[0]} features")
    model.feature_names = names
    return model
