"""From a stack of dense layers and activations, as other libraries have them, to the state of a model.

A layer is a pair of where it is, such as "layer 3, Linear", and what it is: the name of an activation, or its weight
(n_in, n_out) and its bias (n_out,) or None.  "identity" stands for whatever does nothing in prediction.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fastmlp import checks
from fastmlp.data.arrays import as_array
from fastmlp.data.scaling import check_input_scale
from fastmlp.engine.parameters import Parameters
from fastmlp.io.state import ModelState
from fastmlp.losses import LOSSES, loss_of

Dense = tuple[np.ndarray, "np.ndarray | None"]
Layer = tuple[str, "str | Dense"]


def refusal(where: str, reason: str) -> ValueError:
    """The error for a layer that is no part of a multilayer perceptron."""
    return ValueError(f"{where}, can't be represented: {reason}")


def look_up(where: str, layer, kind: str, table, allowed: str) -> str:
    """The activation that a layer object is.

    `table` has rows of a class's name, the settings that it must have, and the activation that it then is.
    """
    rows = [(settings, name) for known, settings, name in table if known == kind]
    if not rows:
        raise refusal(where, f"only {allowed} can")
    for settings, name in rows:
        if all(getattr(layer, key) == value for key, value in settings.items()):
            return name
    key = next(key for key in rows[0][0] if all(getattr(layer, key) != settings[key] for settings, _ in rows))
    wanted = " or ".join(dict.fromkeys(repr(settings[key]) for settings, _ in rows))
    raise refusal(where, f"it has {key}={getattr(layer, key)!r}, and fastmlp {wanted} only")


def build(layers: Iterable[Layer], classes, input_scale) -> ModelState:
    """Return the state of a model that computes what the layers do, one after the other."""
    names, dense, after = _pair(layers)
    last, name = after.pop()
    if np.size(classes) == 2 and dense[-1][0].shape[1] == 1 and name in ("sigmoid", "identity"):
        dense[-1], name = _two_outputs(*dense[-1]), "softmax"
    loss, labels = _output(last, name, dense[-1][0].shape[1], classes)
    if labels is not None:  # labels are looked up among sorted classes
        order, (weight, bias) = np.argsort(labels), dense[-1]
        labels, dense[-1] = labels[order], (weight[:, order], None if bias is None else bias[order])
    parameters = Parameters([len(dense[0][0]), *(weight.shape[1] for weight, _ in dense)])
    with np.errstate(over="ignore"):  # what is infinite in float32 is refused below
        parameters.set([weight for weight, _ in dense], [0 if bias is None else bias for _, bias in dense])
    for where, weight, bias in zip(names, parameters.weights, parameters.biases):
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise refusal(where, "its weights must be finite (in float32), got NaN, infinity or too large a number")
    has_bias = any(bias is not None for _, bias in dense)
    if isinstance(input_scale, str):
        checks.check_choice(input_scale, "input_scale", ("auto",))
    scale = check_input_scale(input_scale, parameters.widths[0])
    return ModelState(parameters, tuple(name for _, name in after), loss, labels, scale, has_bias)


def _pair(layers: Iterable[Layer]) -> tuple[list[str], list[Dense], list[tuple[str, str]]]:
    """Where the dense layers are, what they are, and what comes after each: where it is, and which activation."""
    names: list[str] = []
    dense: list[Dense] = []
    after: list[tuple[str, str]] = []
    for where, layer in layers:
        if isinstance(layer, str):
            if layer == "identity":
                continue
            if not dense:
                raise refusal(where, "it comes before the first layer with weights")
            if after[-1][1] != "identity":
                raise refusal(where, f"it comes right after another activation, {after[-1][1]}")
            after[-1] = where, layer
            continue
        if after and after[-1][1] in ("softmax", "exp"):
            raise refusal(after[-1][0], f"fastmlp has {after[-1][1]} on outputs only")
        n_in, n_out = layer[0].shape
        if dense and dense[-1][0].shape[1] != n_in:
            raise refusal(where, f"it has {n_in} inputs, and the layer before it {dense[-1][0].shape[1]} outputs")
        if n_in == 0 or n_out == 0:
            raise refusal(where, f"it must have inputs and outputs, got {n_in} and {n_out}")
        names.append(where)
        dense.append(layer)
        after.append((where, "identity"))
    if not dense:
        raise ValueError("the network must have a layer with weights, got none")
    return names, dense, after


def _two_outputs(weight: np.ndarray, bias: np.ndarray | None) -> Dense:
    """The layer with an output of zero before its only one z: softmax([0, z]) = [1 - sigmoid(z), sigmoid(z)]."""
    bias = None if bias is None else np.concatenate([np.zeros_like(bias), bias])
    return np.concatenate([np.zeros_like(weight), weight], axis=1), bias


def _output(last: str, name: str, n_outputs: int, classes) -> tuple[str, np.ndarray | None]:
    """The loss, and the labels in the order of the outputs."""
    loss = loss_of(name)
    if loss is None:
        raise refusal(last, f"outputs can have softmax or sigmoid, not {name}")
    if name == "identity" and classes is not None:
        loss = "cross_entropy"
    wanted = 2 if name != "softmax" and n_outputs == 1 else n_outputs
    if not LOSSES[loss].has_labels:
        if classes is not None:
            hint = f", or {wanted} for one output" if wanted > n_outputs and name == "sigmoid" else ""
            raise ValueError(f"classes must be None for outputs with {name}{hint}, got {classes!r}")
        return loss, None
    if n_outputs == 1 and name == "softmax":
        raise refusal(last, "the softmax of one output is always 1")
    if classes is None:
        return loss, np.arange(n_outputs)
    labels = as_array(classes, "classes")
    if labels.dtype == object and all(isinstance(label, str) for label in labels.ravel()):
        labels = labels.astype(str)
    if labels.dtype.kind not in "biuUS" or labels.shape != (n_outputs,) or len(np.unique(labels)) < wanted:
        raise ValueError(f"classes must be {wanted} different integers or strings, got {classes!r}")
    return loss, labels
