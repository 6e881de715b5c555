"""Write models as ONNX files, for onnxruntime and other readers.

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

Outputs are float32 unless stated otherwise:

- A classifier has "label" (n,), int64 or strings, and "probabilities" (n, n_classes), in the order of
  ``model.classes``.  With ``loss="notebook"`` each class is normalized over the n samples, as in `MLP.predict_proba`.
- With ``loss="binary_cross_entropy"``, "label" (n, n_outputs) is int64, 1 where the probability is above 0.5, and
  "probabilities" is (n, n_outputs).
- A regression has "prediction" (n, n_outputs).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastmlp.activations import ACTIVATIONS
from fastmlp.checks import check_choice
from fastmlp.data.scaling import RobustScale
from fastmlp.io.atomic_write import replace_file
from fastmlp.io.onnx_frames import ML_DOMAIN, ML_OPSET, encode_columns, input_names, is_text, robust
from fastmlp.io.state import ModelState, offset_and_scale
from fastmlp.losses import LOSSES, OUTPUTS, output_of
from fastmlp.optional import require

# The oldest version that has all operators used here, and its file format: onnxruntime reads both from 1.12 on.
# Gelu and Swish became operators later.
OPSET, IR_VERSION = 17, 8

_TYPES = {"float32": "FLOAT", "uint8": "UINT8"}
_OUTPUT_NAMES = ("label", "probabilities", "prediction")


def to_onnx(state: ModelState, path: str | os.PathLike, dtype: str = "float32") -> None:
    """Write a model to an ONNX file; see `MLP.to_onnx`."""
    graph = _new_graph(state, dtype)
    _write(graph, _outputs(graph, _logits(graph, state, dtype), state), state, path)


def ensemble_to_onnx(states: Sequence[ModelState], weights: np.ndarray, path, dtype: str = "float32") -> None:
    """Write models whose predictions are averaged to an ONNX file, with the inputs and outputs of one."""
    first = states[0]
    graph, wanted = _new_graph(first, dtype), _inputs(first, dtype)
    add_output = OUTPUTS[output_of(first.loss)].onnx
    parts = []
    for k, (state, weight) in enumerate(zip(states, weights)):
        found = _inputs(state, dtype)
        if found != wanted:
            raise ValueError(f"all models must read the same columns, got {found} in models[{k}], not {wanted}")
        graph.prefix = f"models_{k}_"
        outputs = add_output(graph, _logits(graph, state, dtype), "outputs")
        parts.append(graph.add("Mul", outputs, graph.constant(weight)))
    graph.prefix = ""
    name = "probabilities" if LOSSES[first.loss].has_accuracy else "prediction"
    _write(graph, _labeled(graph, graph.add("Sum", *parts, name=name), 0.5, first), first, path)


def _new_graph(state: ModelState, dtype: str) -> _Graph:
    onnx = require("onnx", "onnx")
    check_choice(dtype, "dtype", _TYPES)
    if state.encoder is not None and dtype != "float32":
        raise ValueError(
            f"dtype must be 'float32' for a model with an encoder, whose inputs are columns, got {dtype!r}"
        )
    return _Graph(onnx, _inputs(state, dtype))


def _write(graph: _Graph, outputs: dict, state: ModelState, path) -> None:
    """Write a graph with these outputs to a file."""
    from fastmlp import __version__

    onnx = graph.onnx
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
    """Collect operations, in the order of computation, and constants.

    Parameters
    ----------
    onnx : module
    inputs : dict
        Types and shapes by name.  Operations and constants get other names.

    Attributes
    ----------
    prefix : str
        What the given names of operations and constants begin with.
    """

    prefix = ""

    def __init__(self, onnx, inputs: dict[str, tuple[str, list]]):
        self.onnx, self.inputs = onnx, inputs
        self.nodes: list = []
        self.constants: dict[str, Any] = {}

    def add(self, operation: str, *arguments: str, name: str | None = None, **attributes) -> str:
        """Add an operation, and return the name of its output."""
        name = self._free(self.prefix + name if name else f"{operation.lower()}_{len(self.nodes)}")
        self.nodes.append(self.onnx.helper.make_node(operation, arguments, [name], **attributes))
        return name

    def constant(self, value, name: str | None = None) -> str:
        """Add an array, or a number as float32, and return its name."""
        value = np.asarray(value, np.float32) if np.ndim(value) == 0 else np.ascontiguousarray(value)
        name = self._free(self.prefix + name if name else f"constant_{len(self.constants)}")
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
        """Return the graph with its inputs and `outputs`: types and shapes by name."""
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
    """Add all layers, and return the name of the last layer's sums."""
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
    """Add the outputs to the graph, and return their names with types and shapes."""
    add_output = OUTPUTS[output_of(state.loss)].onnx
    row = LOSSES[state.loss]
    if not row.has_accuracy:
        add_output(graph, logits, "prediction")
        return _labeled(graph, logits, 0.0, state)
    probabilities = add_output(graph, logits, "probabilities")
    return _labeled(graph, probabilities if row.whole_batch else logits, 0.0, state)


def _labeled(graph: _Graph, scores: str, threshold: float, state: ModelState) -> dict[str, tuple[str, list]]:
    """Add labels, and return the names of all outputs with types and shapes.

    Labels are those of the highest of the `scores`; of several labels per sample those above the threshold.
    """
    shape, row = ["n", state.widths[-1]], LOSSES[state.loss]
    if not row.has_accuracy:
        return {"prediction": ("FLOAT", shape)}
    if not row.has_labels:
        positive = graph.add("Greater", scores, graph.constant(threshold))  # as `predict` has it
        graph.add("Cast", positive, to=graph.onnx.TensorProto.INT64, name="label")
        return {"label": ("INT64", shape), "probabilities": ("FLOAT", shape)}
    index = graph.add("ArgMax", scores, axis=1, keepdims=0)
    if state.classes is None:
        raise ValueError(f"a model with the loss {state.loss!r} must have classes, got None")
    text = state.classes.dtype.kind in "US"
    classes = state.classes if text else state.classes.astype(np.int64)
    if not text and classes.min() < 0 <= state.classes.min():
        raise ValueError(f"classes must fit into int64, got {state.classes!r}")
    graph.add("Gather", graph.constant(classes, "classes"), index, name="label")
    return {"label": ("STRING" if text else "INT64", ["n"]), "probabilities": ("FLOAT", shape)}
