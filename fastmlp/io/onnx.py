"""Models as ONNX files, for onnxruntime and whatever else reads them.

The input is "x" (n, n_features).  A model with an encoder has an input (n, 1) for each column of the data frame
instead.  It has the column's name, with a number behind it where that is empty or the name of an output.  Columns of
text are strings; all others are float64: numbers, booleans (0 and 1) and categories that are numbers.  A missing value
is NaN, or one of the texts "", "nan", "NaN", "None" and "<NA>", which NumPy makes of missing values, unless that is a
level.  With pandas or Polars::

    session = onnxruntime.InferenceSession("model.onnx")
    inputs = {
        column.name: frame[[column.name]].to_numpy().astype(str if "string" in column.type else float)
        for column in session.get_inputs()
    }
    session.run(["probabilities"], inputs)

(pandas' nullable dtypes become float64 by ``to_numpy(float, na_value=numpy.nan)``).

The outputs are, in float32 where nothing else is said:

- of a classifier "label" (n,), of int64 or strings, and "probabilities" (n, n_classes), in the order of
  ``model.classes``; with ``loss="notebook"`` over the n samples, as in `MLP.predict_proba`;
- with ``loss="binary_cross_entropy"`` "label" (n, n_outputs) of int64, 1 where the probability is above 0.5, and
  "probabilities" (n, n_outputs);
- of a regression "prediction" (n, n_outputs).
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from fastmlp.activations import ACTIVATIONS
from fastmlp.checks import check_choice
from fastmlp.data.scaling import RobustScale
from fastmlp.io.atomic_write import replace_file
from fastmlp.io.onnx_frames import ML_DOMAIN, ML_OPSET, encode_columns, input_names, is_text, robust
from fastmlp.io.state import ModelState, offset_and_scale
from fastmlp.losses import output_of
from fastmlp.optional import require

# The oldest version that has all operators used here, and the format that came with it: both are read by onnxruntime
# from 1.12 on.  Gelu and Swish became operators of their own later.
OPSET, IR_VERSION = 17, 8

_TYPES = {"float32": "FLOAT", "uint8": "UINT8"}
_OUTPUT_NAMES = ("label", "probabilities", "prediction")


def to_onnx(state: ModelState, path: str | os.PathLike, dtype: str = "float32") -> None:
    """Write a model to an ONNX file; see `MLP.to_onnx`."""
    onnx = require("onnx", "onnx")
    from fastmlp import __version__

    check_choice(dtype, "dtype", _TYPES)
    if state.encoder is not None and dtype != "float32":
        raise ValueError(
            f"dtype must be 'float32' for a model with an encoder, whose inputs are columns, got {dtype!r}"
        )
    graph = _Graph(onnx, _inputs(state, dtype))
    outputs = _outputs(graph, _logits(graph, state, dtype), state)
    opsets = [("", OPSET)] if state.encoder is None else [("", OPSET), (ML_DOMAIN, ML_OPSET)]
    proto = onnx.helper.make_model(
        graph.proto(outputs),
        opset_imports=[onnx.helper.make_opsetid(domain, version) for domain, version in opsets],
        ir_version=IR_VERSION,
        producer_name="fastmlp",
        producer_version=__version__,
    )
    onnx.checker.check_model(proto)
    replace_file(path, proto.SerializeToString())


class _Graph:
    """Operations in the order in which they are computed, and constants.

    Parameters
    ----------
    onnx : module
    inputs : dict
        Types and shapes by name.  Operations and constants get other names.
    """

    def __init__(self, onnx, inputs: dict[str, tuple[str, list]]):
        self.onnx, self.inputs = onnx, inputs
        self.nodes: list = []
        self.constants: dict[str, Any] = {}

    def add(self, operation: str, *arguments: str, name: str | None = None, **attributes) -> str:
        """Add an operation; returns the name of its output."""
        name = self._free(name or f"{operation.lower()}_{len(self.nodes)}")
        self.nodes.append(self.onnx.helper.make_node(operation, arguments, [name], **attributes))
        return name

    def constant(self, value, name: str | None = None) -> str:
        """Add an array, or a number in float32; returns its name."""
        value = np.asarray(value, np.float32) if np.ndim(value) == 0 else np.ascontiguousarray(value)
        name = self._free(name or f"constant_{len(self.constants)}")
        if value.dtype.kind in "US":
            texts = [text if isinstance(text, bytes) else text.encode() for text in value.tolist()]
            tensor = self.onnx.helper.make_tensor(name, self.onnx.TensorProto.STRING, value.shape, texts)
        else:
            tensor = self.onnx.numpy_helper.from_array(value, name)
        self.constants[name] = tensor
        return name

    def _free(self, name: str) -> str:
        """Return a name that no input has."""
        while name in self.inputs:
            name += "_"
        return name

    def proto(self, outputs: dict):
        """All of it, with the inputs and with `outputs`: types and shapes by name."""
        make, types = self.onnx.helper.make_tensor_value_info, self.onnx.TensorProto
        return self.onnx.helper.make_graph(
            self.nodes,
            "fastmlp",
            [make(name, getattr(types, kind), shape) for name, (kind, shape) in self.inputs.items()],
            [make(name, getattr(types, kind), shape) for name, (kind, shape) in outputs.items()],
            list(self.constants.values()),
        )


def _inputs(state: ModelState, dtype: str) -> dict[str, tuple[str, list]]:
    """Return types and shapes of the inputs by name."""
    if state.encoder is None:
        return {"x": (_TYPES[dtype], ["n", state.widths[0]])}
    names = input_names(state.encoder, _OUTPUT_NAMES)
    return {
        name: ("STRING" if is_text(column) else "DOUBLE", ["n", 1])
        for name, column in zip(names, state.encoder.columns)
    }


def _logits(graph: _Graph, state: ModelState, dtype: str) -> str:
    """The outputs of the last layer, before any function of them."""
    h, float32 = "x", graph.onnx.TensorProto.FLOAT
    if state.encoder is not None:
        h = encode_columns(graph, state.encoder, list(graph.inputs))
    if isinstance(state.input_scale, RobustScale):
        h = robust(graph, h, state.input_scale)
    elif dtype == "uint8":
        h = graph.add("Cast", h, to=float32)
    offset, scale = offset_and_scale(state, np.dtype(dtype))
    if offset is not None:
        h = graph.add("Sub", h, graph.constant(np.asarray(offset, np.float32), "input_offset"))
    if np.any(np.asarray(scale) != 1):
        h = graph.add("Mul", h, graph.constant(np.asarray(scale, np.float32), "input_scale"))
    for layer, (weight, bias) in enumerate(zip(state.weights, state.biases)):
        weight_name, bias_name = graph.constant(weight, f"weight_{layer}"), graph.constant(bias, f"bias_{layer}")
        h = graph.add("Gemm", h, weight_name, bias_name)
        if layer < len(state.activations):
            h = ACTIVATIONS[state.activations[layer]].onnx(graph, h)
    return h


def _outputs(graph: _Graph, logits: str, state: ModelState) -> dict[str, tuple[str, list]]:
    """Adds the outputs to the graph; returns their names with types and shapes."""
    shape, output = ["n", state.widths[-1]], output_of(state.loss)
    if output == "sigmoid":
        graph.add("Sigmoid", logits, name="probabilities")
        positive = graph.add("Greater", logits, graph.constant(0.0))  # as `predict` has it
        graph.add("Cast", positive, to=graph.onnx.TensorProto.INT64, name="label")
        return {"label": ("INT64", shape), "probabilities": ("FLOAT", shape)}
    if output in ("exp", "identity"):
        graph.add("Exp" if output == "exp" else "Identity", logits, name="prediction")
        return {"prediction": ("FLOAT", shape)}
    if output == "batch_softmax":
        index = graph.add("ArgMax", _batch_softmax(graph, logits), axis=1, keepdims=0)
    elif output == "softmax":
        graph.add("Softmax", logits, axis=1, name="probabilities")
        index = graph.add("ArgMax", logits, axis=1, keepdims=0)
    else:
        raise ValueError(f"ONNX files have no output {output!r}, which the loss {state.loss!r} has")
    if state.classes is None:
        raise ValueError(f"a model with the loss {state.loss!r} must have classes, got None")
    text = state.classes.dtype.kind in "US"
    classes = state.classes if text else state.classes.astype(np.int64)
    if not text and classes.min() < 0 <= state.classes.min():
        raise ValueError(f"classes must fit into int64, got {state.classes!r}")
    graph.add("Gather", graph.constant(classes, "classes"), index, name="label")
    return {"label": ("STRING" if text else "INT64", ["n"]), "probabilities": ("FLOAT", shape)}


def _batch_softmax(graph: _Graph, logits: str) -> str:
    """exp(logits - their maximum), each class divided by its sum over the samples"""
    below = graph.add("Sub", logits, graph.add("ReduceMax", logits, keepdims=0))
    # as far as the kernels' exp goes down: the sum over a class whose logits are all far below is not 0
    e = graph.add("Exp", graph.add("Max", below, graph.constant(-87.0)))
    axes = graph.constant(np.array([0], np.int64))
    return graph.add("Div", e, graph.add("ReduceSum", e, axes, keepdims=1), name="probabilities")
