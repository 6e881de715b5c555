"""Write models as ONNX files, for onnxruntime and other readers.

The input is "x" (n, n_features).  Outputs are float32 unless stated otherwise:

- A classifier has "label" (n,), int64 or strings, and "probabilities" (n, n_classes), in the order of
  ``model.classes``.  With ``loss="notebook"`` each class is normalized over the n samples, as in `MLP.predict_proba`.
- With ``loss="binary_cross_entropy"``, "label" (n, n_outputs) is int64, 1 where the probability is above 0.5, and
  "probabilities" is (n, n_outputs).
- A regression has "prediction" (n, n_outputs).
"""

from __future__ import annotations

import os

import numpy as np

from fastmlp.activations import ACTIVATIONS
from fastmlp.checks import check_choice
from fastmlp.io.atomic_write import replace_file
from fastmlp.io.state import ModelState, offset_and_scale
from fastmlp.losses import LOSSES, OUTPUTS
from fastmlp.optional import require

# The oldest version that has all operators used here, and its file format: onnxruntime reads both from 1.12 on.
# Gelu and Swish became operators later.
OPSET, IR_VERSION = 17, 8

_TYPES = {"float32": "FLOAT", "uint8": "UINT8"}


def to_onnx(state: ModelState, path: str | os.PathLike, dtype: str = "float32") -> None:
    """Write a model to an ONNX file; see `MLP.to_onnx`."""
    onnx = require("onnx", "onnx")
    from fastmlp import __version__

    check_choice(dtype, "dtype", _TYPES)
    graph = _Graph(onnx)
    outputs = _outputs(graph, _logits(graph, state, dtype), state)
    proto = onnx.helper.make_model(
        graph.proto(state, dtype, outputs),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="fastmlp",
        producer_version=__version__,
    )
    onnx.checker.check_model(proto)
    replace_file(path, proto.SerializeToString())


class _Graph:
    """Collect operations, in the order of computation, and constants."""

    def __init__(self, onnx):
        self.onnx = onnx
        self.nodes = []
        self.constants = {}

    def add(self, operation: str, *arguments: str, name: str | None = None, **attributes) -> str:
        """Add an operation, and return the name of its output."""
        name = name or f"{operation.lower()}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operation, arguments, [name], **attributes))
        return name

    def constant(self, value, name: str | None = None) -> str:
        """Add an array, or a number as float32, and return its name."""
        value = np.asarray(value, np.float32) if np.ndim(value) == 0 else np.ascontiguousarray(value)
        name = name or f"constant_{len(self.constants)}"
        if value.dtype.kind in "US":
            texts = [text if isinstance(text, bytes) else text.encode() for text in value.tolist()]
            tensor = self.onnx.helper.make_tensor(name, self.onnx.TensorProto.STRING, value.shape, texts)
        else:
            tensor = self.onnx.numpy_helper.from_array(value, name)
        self.constants[name] = tensor
        return name

    def proto(self, state: ModelState, dtype: str, outputs: dict):
        """Return the graph with its input and `outputs`: names, types and shapes."""
        make, types = self.onnx.helper.make_tensor_value_info, self.onnx.TensorProto
        return self.onnx.helper.make_graph(
            self.nodes,
            "fastmlp",
            [make("x", getattr(types, _TYPES[dtype]), ["n", state.widths[0]])],
            [make(name, getattr(types, kind), shape) for name, (kind, shape) in outputs.items()],
            list(self.constants.values()),
        )


def _logits(graph: _Graph, state: ModelState, dtype: str) -> str:
    """Add all layers, and return the name of the last layer's sums."""
    h, float32 = "x", graph.onnx.TensorProto.FLOAT
    if dtype == "uint8":
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
    """Add the outputs to the graph, and return their names with types and shapes."""
    shape, row = ["n", state.widths[-1]], LOSSES[state.loss]
    add_output = OUTPUTS[row.output].onnx
    if not row.has_accuracy:
        add_output(graph, logits, "prediction")
        return {"prediction": ("FLOAT", shape)}
    probabilities = add_output(graph, logits, "probabilities")
    if not row.has_labels:
        positive = graph.add("Greater", logits, graph.constant(0.0))  # as `predict` has it
        graph.add("Cast", positive, to=graph.onnx.TensorProto.INT64, name="label")
        return {"label": ("INT64", shape), "probabilities": ("FLOAT", shape)}
    index = graph.add("ArgMax", probabilities if row.whole_batch else logits, axis=1, keepdims=0)
    if state.classes is None:
        raise ValueError(f"a model with the loss {state.loss!r} must have classes, got None")
    text = state.classes.dtype.kind in "US"
    classes = state.classes if text else state.classes.astype(np.int64)
    if not text and classes.min() < 0 <= state.classes.min():
        raise ValueError(f"classes must fit into int64, got {state.classes!r}")
    graph.add("Gather", graph.constant(classes, "classes"), index, name="label")
    return {"label": ("STRING" if text else "INT64", ["n"]), "probabilities": ("FLOAT", shape)}
