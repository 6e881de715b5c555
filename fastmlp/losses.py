"""The table of losses: what their targets and outputs are, and their names elsewhere.

To add one: a code and the arithmetic in `fastmlp.kernels.ops.losses`, a row here, and the same in NumPy in
`fastmlp.reference.losses`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastmlp.kernels.ops import losses as kernels
from fastmlp.kernels.ops.activations import SIGMOID, activate


class Output(NamedTuple):
    """What a trained model makes of its last layer's sums.

    Attributes
    ----------
    torch : (str, dict), optional
        The class of `torch.nn`, or else of `fastmlp.torch_modules`, and its settings.
    sklearn : str
        Its name in `out_activation_` of scikit-learn's estimators.
    to_sums : callable
        Takes probabilities, or else predictions, float32, and returns sums that have them: the inverse.
    onnx : callable
        Adds it to an ONNX graph, see `fastmlp.io.onnx`: takes the graph, the sums and a name, and returns the result.
    to_probabilities : callable, optional
        Turns sums into probabilities in place; takes the flat array and a description of it, `Matrix`.  None if there
        are no probabilities.
    to_predictions : callable, optional
        Takes sums (n, n_outputs) and returns predictions.  None if they are the labels of the largest probabilities.
    whole_batch : bool
        Whether it depends on all samples of a batch, so that a batch can't be computed in parts.
    """

    torch: tuple[str, dict[str, Any]] | None
    sklearn: str
    to_sums: Callable[[np.ndarray], np.ndarray]
    onnx: Callable[[Any, str, str], str]
    to_probabilities: Callable[[np.ndarray, Any], None] | None = None
    to_predictions: Callable[[np.ndarray], np.ndarray] | None = None
    whole_batch: bool = False


def _softmax(flat, matrix) -> None:
    kernels.softmax(flat, matrix, 0, matrix.rows)


def _sigmoid(flat, matrix) -> None:
    activate(flat, SIGMOID)


def _exp(outputs):
    with np.errstate(over="ignore"):
        return np.exp(outputs)


_TINY = np.finfo(np.float32).tiny  # the smallest normal number, instead of 0, which has no logarithm


def _log(values: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(values, _TINY))


def _logit(probabilities: np.ndarray) -> np.ndarray:
    # in float64: 1 - p has no digits to lose there
    p = np.clip(probabilities.astype(np.float64), _TINY, 1 - 2.0**-53)
    return (np.log(p) - np.log1p(-p)).astype(np.float32)


def _batch_softmax_onnx(graph, sums: str, name: str) -> str:
    """Add exp(sums - their maximum), each class divided by its sum over the samples."""
    below = graph.add("Sub", sums, graph.add("ReduceMax", sums, keepdims=0))
    # as far as the kernels' exp goes down: the sum over a class whose sums are all far below is not 0
    e = graph.add("Exp", graph.add("Max", below, graph.constant(-87.0)))
    axes = graph.constant(np.array([0], np.int64))
    return graph.add("Div", e, graph.add("ReduceSum", e, axes, keepdims=1), name=name)


OUTPUTS = {
    "softmax": Output(
        ("Softmax", {"dim": 1}),
        "softmax",
        _log,
        onnx=lambda graph, sums, name: graph.add("Softmax", sums, axis=1, name=name),
        to_probabilities=_softmax,
    ),
    "batch_softmax": Output(  # over the samples, as in the notebook
        ("Softmax", {"dim": 0}),
        "softmax",
        _log,
        onnx=_batch_softmax_onnx,
        to_probabilities=lambda flat, matrix: kernels.batch_softmax(flat, matrix),
        whole_batch=True,
    ),
    "sigmoid": Output(
        ("Sigmoid", {}),
        "logistic",
        _logit,
        onnx=lambda graph, sums, name: graph.add("Sigmoid", sums, name=name),
        to_probabilities=_sigmoid,
        to_predictions=lambda outputs: (outputs > 0).astype(np.int64),
    ),
    "exp": Output(
        ("Exp", {}),
        "exp",
        _log,
        onnx=lambda graph, sums, name: graph.add("Exp", sums, name=name),
        to_predictions=_exp,
    ),
    "identity": Output(
        None,
        "identity",
        lambda predictions: predictions,
        onnx=lambda graph, sums, name: graph.add("Identity", sums, name=name),
        to_predictions=lambda outputs: outputs.copy(),
    ),
}


class Loss(NamedTuple):
    """A row of the table.

    Attributes
    ----------
    code : int
        The kernels' code.
    output : str
        One of OUTPUTS.
    targets : {"labels", "fractions", "counts", "numbers"}
        Labels, one per sample; or, for every output, numbers from 0 to 1, numbers >= 0, or any.
    smooths : bool
        Whether it takes label smoothing.
    sums_in_sklearn : bool
        Whether scikit-learn has the sum over the outputs where this is their mean.
    torch, keras, sklearn : str, optional
        The class of `torch.nn` and of `keras.losses`, and the name in scikit-learn's estimators: for the documentation.
    """

    code: int
    output: str
    targets: str
    smooths: bool = False
    sums_in_sklearn: bool = False
    torch: str | None = None
    keras: str | None = None
    sklearn: str | None = None

    @property
    def has_labels(self) -> bool:
        """Whether targets are labels, else one number for every output."""
        return self.targets == "labels"

    @property
    def has_accuracy(self) -> bool:
        """Whether predictions are right or wrong."""
        return self.targets in ("labels", "fractions")

    @property
    def whole_batch(self) -> bool:
        """Whether outputs depend on all samples of a batch."""
        return OUTPUTS[self.output].whole_batch


# Of the losses with the same output, the first is the one that a network from elsewhere gets.
LOSSES = {
    "cross_entropy": Loss(
        kernels.CROSS_ENTROPY,
        "softmax",
        "labels",
        smooths=True,
        torch="CrossEntropyLoss",
        keras="SparseCategoricalCrossentropy",
        sklearn="log_loss",
    ),
    "binary_cross_entropy": Loss(
        kernels.BINARY_CROSS_ENTROPY,
        "sigmoid",
        "fractions",
        sums_in_sklearn=True,
        torch="BCEWithLogitsLoss",
        keras="BinaryCrossentropy",
        sklearn="log_loss",
    ),
    "mse": Loss(kernels.MSE, "identity", "numbers", torch="MSELoss", keras="MeanSquaredError", sklearn="squared_error"),
    "mae": Loss(kernels.MAE, "identity", "numbers", torch="L1Loss", keras="MeanAbsoluteError"),
    "huber": Loss(kernels.HUBER, "identity", "numbers", torch="HuberLoss", keras="Huber"),
    "poisson": Loss(
        kernels.POISSON,
        "exp",
        "counts",
        sums_in_sklearn=True,
        torch="PoissonNLLLoss",
        keras="Poisson",
        sklearn="poisson",
    ),
    "softmax_mse": Loss(kernels.SOFTMAX_MSE, "softmax", "labels"),
    "notebook": Loss(kernels.NOTEBOOK, "batch_softmax", "labels"),
}

CODES = {name: row.code for name, row in LOSSES.items()}
OF_LABELS = tuple(name for name, row in LOSSES.items() if row.has_labels)
ELEMENTWISE = tuple(name for name, row in LOSSES.items() if not row.has_labels)


def output_of(loss: str) -> str:
    """Return the output, one of OUTPUTS, of a loss."""
    return LOSSES[loss].output


def loss_of(output: str) -> str | None:
    """Return the loss that a network from elsewhere gets, by its output; None for an output that fastmlp lacks."""
    return next((name for name, row in LOSSES.items() if row.output == output), None)


def check_smoothing(loss: str, label_smoothing: float) -> None:
    """Raise an error if there is label smoothing and the loss does not take it."""
    if label_smoothing and not LOSSES[loss].smooths:
        smoothing = " or ".join(f"loss={name!r}" for name, row in LOSSES.items() if row.smooths)
        raise ValueError(f"label_smoothing needs {smoothing}, got {loss!r}")
