"""Models of Keras 3 as layers for `fastmlp.io.stack`; Keras is imported when a model is given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastmlp.activations import ACTIVATIONS
from fastmlp.io.stack import Layer, build, look_up, refusal
from fastmlp.io.state import ModelState
from fastmlp.optional import require

# Classes of keras.layers, their settings, and the activation.
_LAYERS: list[tuple[str, dict[str, Any], str]] = [
    *((*row.keras_layer, name) for name, row in ACTIVATIONS.items() if row.keras_layer is not None),
    ("InputLayer", {}, "identity"),
    ("Flatten", {"data_format": "channels_last"}, "identity"),  # which takes numbers in the order of memory
    ("Dropout", {}, "identity"),
    ("AlphaDropout", {}, "identity"),
    ("GaussianDropout", {}, "identity"),
    ("GaussianNoise", {}, "identity"),
    ("Softmax", {"axis": -1}, "softmax"),
    ("Softmax", {"axis": 1}, "softmax"),
]
# Functions of keras.activations.
_FUNCTIONS = {
    **{row.keras: name for name, row in ACTIVATIONS.items() if row.keras is not None},
    "softmax": "softmax",
    "log_softmax": "softmax",
    "exponential": "exp",
}


def from_keras(model, classes, input_scale) -> ModelState:
    """Return the state of a model that computes what a Keras model does; see `fastmlp.from_keras`."""
    keras = require("keras", "keras")
    if not isinstance(model, keras.Model):
        raise TypeError(f"model must be a keras.Model of Keras 3, got {type(model).__module__}.{type(model).__name__}")
    return build(_layers(model, keras), classes, input_scale)


def _layers(model, keras, prefix: str = "") -> Iterator[Layer]:
    """The layers of a Keras model; `keras` is the imported package."""
    functional = type(model).__name__ == "Functional"
    if not functional and type(model) is not keras.Sequential:
        raise refusal(f"model {type(model).__name__}", "only Sequential and plain functional models can")
    if not model.built:
        raise ValueError("model must be built: give it an Input, or call it once")
    previous: Any = None
    for index, layer in enumerate(model.layers):
        where = f"layer {prefix}{index}, {type(layer).__name__}"
        if functional and previous is not None and layer.input is not previous.output:
            raise refusal(where, "its input must be the output of the layer before it alone")
        previous = layer
        if type(layer) is keras.Sequential:
            yield from _layers(layer, keras, f"{prefix}{index}.")
        elif type(layer) is keras.layers.Dense:
            if len(layer.input.shape) != 2 or layer.quantization_mode is not None:
                raise refusal(where, "only a Dense of floats can, on rows of features")
            bias = keras.ops.convert_to_numpy(layer.bias) if layer.use_bias else None
            yield where, (keras.ops.convert_to_numpy(layer.kernel), bias)
            yield where, _activation(where, layer.activation, keras)
        elif type(layer) is keras.layers.Activation:
            yield where, _activation(where, layer.activation, keras)
        else:
            yield where, _activation(where, layer, keras)
    if functional and model.output is not previous.output:
        raise refusal(f"output of model {model.name}", "it must be that of the last layer alone")


def _activation(where: str, activation, keras) -> str:
    """The activation that a function or a layer of Keras is."""
    if isinstance(activation, keras.Layer):
        kind = type(activation).__name__
        known = getattr(keras.layers, kind, None) is type(activation)
        return look_up(where, activation, kind if known else "", _LAYERS, "Dense, Dropout and activations")
    for name, ours in _FUNCTIONS.items():
        if activation is getattr(keras.activations, name, None):  # some are in later versions of Keras alone
            return ours
    if activation is keras.activations.leaky_relu:
        slope = "fastmlp has 0.01 only, which is keras.layers.LeakyReLU(negative_slope=0.01)"
        raise refusal(where, f"leaky_relu has a slope of 0.2 there; {slope}")
    raise refusal(where, f"its activation {getattr(activation, '__name__', activation)!r} is none of fastmlp's")
