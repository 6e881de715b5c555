"""The table of losses: what their targets and outputs are, and their names elsewhere.

To add one: a code and the arithmetic in `fastmlp.kernels.ops.losses`, a row here, and the same in NumPy in
`fastmlp.reference`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastmlp.kernels.ops import losses as kernels


class Output(NamedTuple):
    """What a trained model makes of its last layer's sums.

    Attributes
    ----------
    torch : (str, dict), optional
        The class of `torch.nn`, or else of `fastmlp.torch_modules`, and its settings.
    sklearn : str
        Its name in `out_activation_` of scikit-learn's estimators.
    """

    torch: tuple[str, dict[str, Any]] | None
    sklearn: str


OUTPUTS = {
    "softmax": Output(("Softmax", {"dim": 1}), "softmax"),
    "batch_softmax": Output(("Softmax", {"dim": 0}), "softmax"),  # over the samples, as in the notebook
    "sigmoid": Output(("Sigmoid", {}), "logistic"),
    "exp": Output(("Exp", {}), "exp"),
    "identity": Output(None, "identity"),
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
        Labels, one a sample; or, for every output, numbers from 0 to 1, numbers of at least 0, or any.
    sums_in_sklearn : bool
        Whether scikit-learn has the sum over the outputs where this is their mean.
    """

    code: int
    output: str
    targets: str
    sums_in_sklearn: bool = False

    @property
    def has_labels(self) -> bool:
        """Whether targets are labels, else one number for every output."""
        return self.targets == "labels"

    @property
    def has_accuracy(self) -> bool:
        """Whether predictions are right or wrong."""
        return self.targets in ("labels", "fractions")


# Of the losses with the same output, the first is the one that a network from elsewhere gets.
LOSSES = {
    "cross_entropy": Loss(kernels.CROSS_ENTROPY, "softmax", "labels"),
    "binary_cross_entropy": Loss(kernels.BINARY_CROSS_ENTROPY, "sigmoid", "fractions", sums_in_sklearn=True),
    "mse": Loss(kernels.MSE, "identity", "numbers"),
    "mae": Loss(kernels.MAE, "identity", "numbers"),
    "huber": Loss(kernels.HUBER, "identity", "numbers"),
    "poisson": Loss(kernels.POISSON, "exp", "counts", sums_in_sklearn=True),
    "softmax_mse": Loss(kernels.SOFTMAX_MSE, "softmax", "labels"),
    "notebook": Loss(kernels.NOTEBOOK, "batch_softmax", "labels"),
}

CODES = {name: row.code for name, row in LOSSES.items()}
OF_LABELS = tuple(name for name, row in LOSSES.items() if row.has_labels)
ELEMENTWISE = tuple(name for name, row in LOSSES.items() if not row.has_labels)


def output_of(loss: str) -> str:
    """The output, one of OUTPUTS, of a loss."""
    return LOSSES[loss].output


def loss_of(output: str) -> str | None:
    """The loss that a network from elsewhere gets, by its output; None for an output that fastmlp does not have."""
    return next((name for name, row in LOSSES.items() if row.output == output), None)
