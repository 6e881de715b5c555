"""The table of activations: their names here and elsewhere, and what training with them needs.

To add one: a code and the arithmetic in `fastmlp.kernels.ops.activations`, a row here, and the same in NumPy in
`fastmlp.reference`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastmlp.kernels.ops import activations as kernels

# Adds an activation to an ONNX graph, see `fastmlp.io.onnx`: takes the graph and the name of a value, returns another.
Onnx = Callable[[Any, str], str]


class Activation(NamedTuple):
    """A row of the table.

    Attributes
    ----------
    code : int
        The kernels' code.
    torch : (str, dict)
        The class of `torch.nn`, and the settings with which it is this activation.
    onnx : callable
        See `Onnx`.
    keras : str, optional
        The function of `keras.activations`.
    keras_layer : (str, dict), optional
        The class of `keras.layers`, and its settings.
    sklearn : str, optional
        The name in scikit-learn's estimators, where that is another than here.
    keeps_slope : bool
        Whether the derivative is no function of the output, so that forward keeps it.
    """

    code: int
    torch: tuple[str, dict[str, Any]]
    onnx: Onnx
    keras: str | None = None
    keras_layer: tuple[str, dict[str, Any]] | None = None
    sklearn: str | None = None
    keeps_slope: bool = False


def _operator(name: str, **attributes) -> Onnx:
    return lambda graph, z: graph.add(name, z, **attributes)


def _times(function: Onnx) -> Onnx:
    """z * function(z)"""
    return lambda graph, z: graph.add("Mul", z, function(graph, z))


def _gelu(graph, z: str) -> str:
    """z * (1 + erf(z / sqrt(2))) / 2"""
    return _half_of(graph, z, graph.add("Erf", graph.add("Mul", z, graph.constant(0.5**0.5))))


def _gelu_tanh(graph, z: str) -> str:
    """z * (1 + tanh(sqrt(2 / pi) * (z + 0.044715 z ** 3))) / 2"""
    cube = graph.add("Mul", graph.add("Mul", z, z), z)
    inner = graph.add("Add", z, graph.add("Mul", cube, graph.constant(0.044715)))
    return _half_of(graph, z, graph.add("Tanh", graph.add("Mul", inner, graph.constant((2 / np.pi) ** 0.5))))


def _half_of(graph, z: str, sign: str) -> str:
    """z * (1 + sign) / 2"""
    return graph.add("Mul", z, graph.add("Mul", graph.add("Add", sign, graph.constant(1.0)), graph.constant(0.5)))


def _tanh_of_softplus(graph, z: str) -> str:
    return graph.add("Tanh", graph.add("Softplus", z))


_SELU = {"alpha": float(kernels.SELU_ALPHA), "gamma": float(kernels.SELU_SCALE)}

ACTIVATIONS = {
    "relu": Activation(
        kernels.RELU,
        torch=("ReLU", {}),
        onnx=_operator("Relu"),
        keras="relu",
        keras_layer=("ReLU", {"negative_slope": 0.0, "max_value": None, "threshold": 0.0}),
    ),
    "leaky_relu": Activation(
        kernels.LEAKY_RELU,
        torch=("LeakyReLU", {"negative_slope": 0.01}),
        onnx=_operator("LeakyRelu", alpha=float(kernels.LEAK)),
        keras_layer=("LeakyReLU", {"negative_slope": 0.01}),  # the function of Keras has a slope of 0.2
    ),
    "elu": Activation(
        kernels.ELU,
        torch=("ELU", {"alpha": 1.0}),
        onnx=_operator("Elu", alpha=1.0),
        keras="elu",
        keras_layer=("ELU", {"alpha": 1.0}),
    ),
    "selu": Activation(kernels.SELU, torch=("SELU", {}), onnx=_operator("Selu", **_SELU), keras="selu"),
    "gelu": Activation(
        kernels.GELU, torch=("GELU", {"approximate": "none"}), onnx=_gelu, keras="gelu", keeps_slope=True
    ),
    "gelu_tanh": Activation(
        kernels.GELU_TANH, torch=("GELU", {"approximate": "tanh"}), onnx=_gelu_tanh, keeps_slope=True
    ),
    "silu": Activation(
        kernels.SILU, torch=("SiLU", {}), onnx=_times(_operator("Sigmoid")), keras="silu", keeps_slope=True
    ),
    "mish": Activation(
        kernels.MISH, torch=("Mish", {}), onnx=_times(_tanh_of_softplus), keras="mish", keeps_slope=True
    ),
    "softplus": Activation(
        kernels.SOFTPLUS,
        torch=("Softplus", {"beta": 1.0, "threshold": 20.0}),  # beyond 20 it is z, to float32's precision
        onnx=_operator("Softplus"),
        keras="softplus",
    ),
    "sigmoid": Activation(
        kernels.SIGMOID, torch=("Sigmoid", {}), onnx=_operator("Sigmoid"), keras="sigmoid", sklearn="logistic"
    ),
    "hard_sigmoid": Activation(
        kernels.HARD_SIGMOID,
        torch=("Hardsigmoid", {}),
        onnx=_operator("HardSigmoid", alpha=1 / 6, beta=0.5),
        keras="hard_sigmoid",
    ),
    "tanh": Activation(kernels.TANH, torch=("Tanh", {}), onnx=_operator("Tanh"), keras="tanh"),
    "identity": Activation(
        kernels.IDENTITY,
        torch=("Identity", {}),
        onnx=lambda graph, z: z,
        keras="linear",
        keras_layer=("Identity", {}),
    ),
}

CODES = {name: row.code for name, row in ACTIVATIONS.items()}
FROM_SKLEARN = {row.sklearn: name for name, row in ACTIVATIONS.items() if row.sklearn is not None}
