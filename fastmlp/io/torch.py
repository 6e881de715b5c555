"""Networks of PyTorch: layers of a module or a state dict, and a module of a model's state.

PyTorch is imported when a module is given or made.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fastmlp import checks
from fastmlp.activations import ACTIVATIONS
from fastmlp.data.scaling import RobustScale
from fastmlp.io.stack import Layer, build, look_up, refusal
from fastmlp.io.state import ModelState, offset_and_scale
from fastmlp.losses import OUTPUTS, output_of
from fastmlp.optional import require

# Modules of PyTorch: class, settings, and the activation.  Flatten is for what comes before the first layer, where rows
# of features are flat already; Dropout does nothing in prediction.
_TORCH: list[tuple[str, dict[str, Any], str]] = [
    *((*row.torch, name) for name, row in ACTIVATIONS.items()),
    ("Flatten", {"start_dim": 1, "end_dim": -1}, "identity"),
    ("Dropout", {}, "identity"),
    ("AlphaDropout", {}, "identity"),
    ("Softmax", {"dim": 1}, "softmax"),
    ("Softmax", {"dim": -1}, "softmax"),
    ("LogSoftmax", {"dim": 1}, "softmax"),
    ("LogSoftmax", {"dim": -1}, "softmax"),
    ("Exp", {}, "exp"),
]


def from_torch(module_or_state_dict, classes, input_scale, activation) -> ModelState:
    """Return the state of a model that computes what a PyTorch network does; see `fastmlp.from_torch`."""
    if isinstance(module_or_state_dict, Mapping):
        return build(_state_dict_layers(module_or_state_dict, activation), classes, input_scale)
    nn = require("torch", "torch").nn
    if not isinstance(module_or_state_dict, nn.Module):
        raise TypeError(f"module_or_state_dict must be that of a torch.nn.Sequential, got {module_or_state_dict!r}")
    return build(_torch_layers(module_or_state_dict, nn), classes, input_scale)


def _torch_layers(module, nn, prefix: str = "") -> Iterator[Layer]:
    """The layers of a module, or of a Sequential whose name is `prefix`."""
    if prefix == "":
        _check_calls(f"module {type(module).__name__}", module, nn)
    stack = [module] if prefix == "" and _kind(module, nn) != "Sequential" else module
    for index, layer in enumerate(stack):  # unlike named_children, this has a module again that is there twice
        where, kind = f"layer {prefix}{index}, {type(layer).__name__}", _kind(layer, nn)
        _check_calls(where, layer, nn)
        if kind == "Sequential":
            yield from _torch_layers(layer, nn, f"{prefix}{index}.")
        elif kind == "Linear":
            yield where, _linear(where, layer)
        elif kind is None:
            raise refusal(where, "it has a forward of its own; its state_dict(), with activation=, may do")
        else:
            yield where, look_up(where, layer, kind, _TORCH, "Linear, Dropout and activations")


def _check_calls(where: str, module, nn) -> None:
    """Refuse a module whose call does something beside its class's `forward`."""
    shared = nn.modules.module
    if module._forward_hooks or module._forward_pre_hooks:
        raise refusal(where, "it has forward hooks, as weight_norm, spectral_norm and pruning leave; remove them first")
    if shared._global_forward_hooks or shared._global_forward_pre_hooks:
        raise refusal(where, "PyTorch has forward hooks for all modules; remove them first")
    if "forward" in vars(module):
        raise refusal(where, "its forward has been replaced")
    if type(module).__call__ is not nn.Module.__call__:
        raise refusal(where, "it has a __call__ of its own")


def _kind(module, nn) -> str | None:
    """The name of the class of torch.nn whose forward it is that a module has."""
    if type(module).__module__ == "fastmlp.torch_modules":
        return type(module).__name__
    for base in type(module).__mro__:
        if getattr(nn, base.__name__, None) is base:
            # as the classes have it: TorchScript's modules compute theirs
            own, known = (inspect.getattr_static(cls, "forward") for cls in (type(module), base))
            return base.__name__ if own is known else None
    return None


def _linear(where: str, layer) -> tuple[np.ndarray, np.ndarray | None]:
    """Weight (n_in, n_out) and bias of a Linear in evaluation."""
    parametrizations = getattr(layer, "parametrizations", None)
    # spectral_norm, for one, goes on with its iteration when the weight is asked for in training
    training = [] if parametrizations is None else [part for part in parametrizations.modules() if part.training]
    for part in training:
        part.training = False
    try:
        weight, bias = _array(layer.weight, where), None if layer.bias is None else _array(layer.bias, where)
    finally:
        for part in training:
            part.training = True
    if weight.ndim != 2 or (bias is not None and bias.shape != weight.shape[:1]):
        shapes = f"{weight.shape} and {None if bias is None else bias.shape}"
        raise refusal(where, f"weight and bias must have the shapes (n_out, n_in) and (n_out,), got {shapes}")
    return weight.T, bias


def _array(tensor, where: str) -> np.ndarray:
    """A tensor of PyTorch, or what NumPy makes an array of, as real numbers."""
    if hasattr(tensor, "detach"):
        if tensor.is_meta:
            raise refusal(where, "its weights have no values: they are on the device 'meta'")
        if tensor.is_complex():
            raise refusal(where, "its weights are complex numbers")
        tensor = tensor.detach().cpu()
        tensor = tensor.dequantize() if tensor.is_quantized else tensor
        return tensor.to_dense().float().numpy()
    try:
        array = np.asarray(tensor)
    except ValueError as error:
        raise refusal(where, str(error)) from None
    if array.dtype.kind not in "biuf":
        raise refusal(where, f"it must hold real numbers, got {array.dtype}")
    return array


def _state_dict_layers(state: Mapping, activation) -> Iterator[Layer]:
    arrays = {str(key): _array(value, repr(str(key))) for key, value in state.items()}
    names = [key.rpartition("weight")[0] for key, value in arrays.items() if key.rpartition(".")[2] == "weight"]
    for key, value in arrays.items():
        name, _, kind = key.rpartition(".")
        name = name + "." if name else ""
        if name not in names or kind not in ("weight", "bias") or value.ndim != (2 if kind == "weight" else 1):
            raise refusal(f"{key!r}, of shape {value.shape}", "only weights and biases of Linear can")
        if kind == "bias" and value.shape != arrays[f"{name}weight"].shape[:1]:
            raise refusal(f"{key!r}, of shape {value.shape}", f"it doesn't fit {name}weight")
    parts = [name.split(".") for name in names]
    if len({tuple(part for part in name if not part.isdigit()) for name in parts}) == 1:
        # all are numbers in one stack; files may have sorted them as strings, 10 before 2
        names.sort(key=lambda name: [int(part) for part in name.split(".") if part.isdigit()])
    activations = checks.check_activations(activation, max(len(names) - 1, 0), ACTIVATIONS)
    for name, after in zip(names, [*activations, "identity"]):
        bias = arrays.get(f"{name}bias")
        yield f"{name}weight", (arrays[f"{name}weight"].T, bias)
        yield f"activation after {name}weight", after


def to_torch(state: ModelState):
    """Return a PyTorch network with the outputs of a model; see `fastmlp.to_torch`."""
    torch = require("torch", "torch")
    nn = torch.nn
    weights, biases = [*state.weights], [*state.biases]
    weights[0], biases[0] = _first_layer(state)
    layers: list[Any] = []
    if isinstance(state.input_scale, RobustScale):
        from fastmlp import torch_modules

        layers.append(torch_modules.RobustScale(*map(torch.tensor, state.input_scale)))
    for index, (weight, bias) in enumerate(zip(weights, biases)):
        has_bias = state.has_bias or bool(bias.any())
        linear = nn.Linear(*weight.shape, bias=has_bias, device="meta")  # which draws no random numbers
        linear.weight = nn.Parameter(torch.tensor(np.ascontiguousarray(weight.T)))
        if has_bias:
            linear.bias = nn.Parameter(torch.tensor(bias))
        layers.append(linear)
        if index < len(state.activations):
            layers.append(_torch_module(nn, ACTIVATIONS[state.activations[index]].torch))
    output = OUTPUTS[output_of(state.loss)].torch
    if output is not None:
        layers.append(_torch_module(nn, output))
    return nn.Sequential(*layers)


def _torch_module(nn, row: tuple[str, dict[str, Any]]):
    """The module of a class's name and settings."""
    kind, settings = row
    if hasattr(nn, kind):
        return getattr(nn, kind)(**settings)
    from fastmlp import torch_modules

    return getattr(torch_modules, kind)(**settings)


def _first_layer(state: ModelState) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias with the input's scale and offset: ((x - offset) * scale) @ W = x @ (scale * W) - offset @ ..."""
    offset, scale = offset_and_scale(state, np.dtype(np.float32))
    weight = np.broadcast_to(np.asarray(scale, np.float64), state.widths[0])[:, None] * state.weights[0]
    bias = state.biases[0] if offset is None else state.biases[0] - np.asarray(offset, np.float64) @ weight
    return weight.astype(np.float32), np.asarray(bias, np.float32)
