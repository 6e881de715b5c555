"""Models from PyTorch, Keras and scikit-learn, and to PyTorch.

None of these packages is imported before it is needed.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fastmlp import checks
from fastmlp.activations import ACTIVATIONS, FROM_SKLEARN
from fastmlp.data.scaling import resolve_scale
from fastmlp.io.keras_layers import keras_layers
from fastmlp.io.stack import Layer, build, look_up, refusal
from fastmlp.losses import OUTPUTS, output_of
from fastmlp.model import MLP
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


def from_torch(module_or_state_dict, *, classes=None, input_scale="auto", activation="relu") -> MLP:
    """The model that computes what a PyTorch network does in evaluation.

    Parameters
    ----------
    module_or_state_dict : torch.nn.Sequential, or dict of str to tensor or array
        A stack of ``Linear``, ``Dropout``, ``Flatten``, activations and further such stacks; or the state dict of one,
        whose 2-dimensional weights are the layers in their order, under whatever names.  A last ``Softmax`` or
        ``LogSoftmax`` over the outputs makes a classifier ("cross_entropy"), a last ``Sigmoid`` one of several labels
        a sample ("binary_cross_entropy"), anything else a regression ("mse").
    classes : sequence of int or str, optional
        What the outputs stand for, in their order; makes a classifier ("cross_entropy") of a network that ends in
        logits, as those trained with ``CrossEntropyLoss`` do, and of a single logit or sigmoid, which is the second
        of two classes.  A model's classes are sorted, and its outputs with them.  By default a classifier has the
        classes 0, 1, 2, ...
    input_scale : float, array_like (n_features,), InputScale or "auto"
        What the input is multiplied by before the first layer; "auto" is 1/255 for uint8, 1 otherwise.
    activation : str or sequence of str
        For a state dict, which does not have them: one name, or one per hidden layer.

    Returns
    -------
    MLP
        With copies of the weights, in float32.

    Raises
    ------
    ValueError, TypeError
        If a layer can't be represented, which names it, or the arguments do not fit.
    ImportError
        If PyTorch is missing; state dicts of arrays do without it.
    """
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


def from_keras(model, *, classes=None, input_scale="auto") -> MLP:
    """The model that computes what a Keras model does in inference.

    Parameters
    ----------
    model : keras.Sequential, or keras.Model of layers one after the other
        Of Keras 3, built: ``Dense``, ``Dropout``, ``Activation``, ``ReLU`` and the like, ``Flatten`` and further such
        stacks.  Last activations are as in `from_torch`; "exponential" makes a regression ("poisson").
    classes, input_scale
        As in `from_torch`.

    Returns
    -------
    MLP
        With copies of the weights, in float32.

    Raises
    ------
    ValueError, TypeError
        If a layer can't be represented, which names it, or the arguments do not fit.
    ImportError
        If Keras is missing.
    """
    keras = require("keras", "keras")
    if not isinstance(model, keras.Model):
        raise TypeError(f"model must be a keras.Model of Keras 3, got {type(model).__module__}.{type(model).__name__}")
    return build(keras_layers(model, keras), classes, input_scale)


def from_sklearn(mlp, *, input_scale="auto") -> MLP:
    """The model that computes what an MLP of scikit-learn does.

    Parameters
    ----------
    mlp : MLPClassifier or MLPRegressor, fitted
        A classifier of two classes, which has one output, gets two.  One of several labels a sample has the loss
        "binary_cross_entropy" and no classes, a regression "mse", or "poisson" if that is its loss.  The classes are
        its own; those that are floats, but whole numbers, become integers.
    input_scale
        As in `from_torch`.

    Returns
    -------
    MLP
        With copies of the weights, in float32.

    Raises
    ------
    ValueError, TypeError
        If it is not such an estimator, or is not fitted.
    ImportError
        If scikit-learn is missing.
    """
    network = require("sklearn.neural_network", "sklearn")
    if not isinstance(mlp, (network.MLPClassifier, network.MLPRegressor)):
        raise TypeError(f"mlp must be an MLPClassifier or MLPRegressor, got {type(mlp).__name__}")
    if not hasattr(mlp, "coefs_"):
        raise ValueError(f"mlp must be fitted, got {mlp!r}")
    classes = getattr(mlp, "classes_", None)
    if mlp.out_activation_ == "logistic" and mlp.n_outputs_ > 1:
        classes = None
    if classes is not None and classes.dtype.kind == "f" and (classes == np.rint(classes)).all():
        classes = classes.astype(np.int64)
    layers: list[Layer] = []
    activations = [mlp.activation] * (len(mlp.coefs_) - 1) + [mlp.out_activation_]
    for index, (weight, bias, name) in enumerate(zip(mlp.coefs_, mlp.intercepts_, activations)):
        layers += [
            (f"layer {index}", (weight, bias)),
            (f"activation of layer {index}, {name}", FROM_SKLEARN.get(name, name)),
        ]
    return build(layers, classes, input_scale)


def to_torch(model: MLP):
    """A PyTorch network with the outputs of a model.

    Parameters
    ----------
    model : MLP

    Returns
    -------
    torch.nn.Sequential
        With copies of the weights.  It takes float32 (n, n_features) and returns what `predict_proba` does for a
        classifier, by a last ``Softmax`` or ``Sigmoid``, and `predict` for a regression.  The scale of the input, and
        its offset, are in the first layer's weights and bias.  With ``input_scale="auto"`` there is none: bytes go
        in as ``x.float() / 255``.  It does not know the labels: output k is ``model.classes[k]``.

    Raises
    ------
    ImportError
        If PyTorch is missing.
    TypeError
        If `model` is not an `MLP`.
    """
    if not isinstance(model, MLP):
        raise TypeError(f"model must be a fastmlp.MLP, got {model!r}")
    torch = require("torch", "torch")
    nn = torch.nn
    weights, biases = [*model.weights], [*model.biases]
    weights[0], biases[0] = _first_layer(model)
    layers: list[Any] = []
    for index, (weight, bias) in enumerate(zip(weights, biases)):
        has_bias = model.has_bias or bool(bias.any())
        linear = nn.Linear(*weight.shape, bias=has_bias, device="meta")  # which draws no random numbers
        linear.weight = nn.Parameter(torch.tensor(np.ascontiguousarray(weight.T)))
        if has_bias:
            linear.bias = nn.Parameter(torch.tensor(bias))
        layers.append(linear)
        if index < len(model.activations):
            layers.append(_torch_module(nn, ACTIVATIONS[model.activations[index]].torch))
    output = OUTPUTS[output_of(model.loss)].torch
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


def _first_layer(model: MLP) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias with the input's scale and offset: ((x - offset) * scale) @ W = x @ (scale * W) - offset @ ..."""
    offset, scale = offset_and_scale(model, np.dtype(np.float32))
    weight = np.broadcast_to(np.asarray(scale, np.float64), model.n_features)[:, None] * model.weights[0]
    bias = model.biases[0] if offset is None else model.biases[0] - np.asarray(offset, np.float64) @ weight
    return weight.astype(np.float32), np.asarray(bias, np.float32)


def offset_and_scale(model: MLP, dtype: np.dtype) -> tuple[np.ndarray | None, Any]:
    """What is subtracted from input of a dtype, None for nothing, and what it is multiplied by then: numbers or arrays
    (n_features,)."""
    scale: Any = model.input_scale
    if hasattr(scale, "factor"):  # one for each feature
        return scale.offset, scale.factor
    if isinstance(scale, str):
        scale = resolve_scale(scale, dtype)
    return None, scale
