"""`MLP`, the trained network: owns the parameters, predicts, evaluates."""

from __future__ import annotations

import os
from collections import namedtuple

import numpy as np

from fastmlp import inputs
from fastmlp.kernels import predict as kernels
from fastmlp.kernels.losses import LOSSES
from fastmlp.parameters import Parameters
from fastmlp.workspace import CHUNK, prediction_network, set_table, sparse_lists

Metrics = namedtuple("Metrics", "loss accuracy")
Metrics.__doc__ = """Mean loss per sample, and the share of right predictions (NaN for a regression)."""


class MLP:
    """A multilayer perceptron; made by `fastmlp.train` and `fastmlp.load`.

    Attributes
    ----------
    weights, biases : list of ndarray of float32
        Views into the model's parameters, (n_in, n_out) and (n_out,); writing to them changes the model.
    activations : tuple of str
        Of every hidden layer.
    loss : str
    classes : ndarray or None
        The labels, sorted, in the order of the outputs; None for a regression.
    input_scale : float or "auto"
        What the input is multiplied by; "auto" is 1/255 for uint8, 1 otherwise.
    history : dict of list
        What training recorded, a value an epoch: ``epoch``, ``seconds`` (of that epoch's training alone),
        ``train_loss`` and ``train_accuracy`` (over the epoch's batches, each before its step), ``validation_loss``,
        ``validation_accuracy``, and ``learning_rate`` (of the epoch's first step).
    """

    def __init__(self, parameters: Parameters, activations, loss: str, classes, input_scale, has_bias: bool = True):
        self._parameters = parameters
        self.activations: tuple[str, ...] = tuple(activations)
        self.loss = loss
        self.classes: np.ndarray | None = classes
        self.input_scale: float | str = input_scale
        self.has_bias = has_bias
        self.history: dict[str, list] = {}

    @property
    def weights(self) -> list[np.ndarray]:
        return self._parameters.weights

    @property
    def biases(self) -> list[np.ndarray]:
        return self._parameters.biases

    @property
    def widths(self) -> tuple[int, ...]:
        """Number of inputs, of units of every hidden layer, and of outputs."""
        return self._parameters.widths

    @property
    def n_features(self) -> int:
        return self.widths[0]

    def __repr__(self) -> str:
        return f"<fastmlp.MLP {'-'.join(map(str, self.widths))}, {self.loss}>"

    def _outputs(self, x):
        """Network and outputs (n, n_out) of the last layer, a view into the network's workspace."""
        x = inputs.check_features(x, self.n_features)
        network, outputs = prediction_network(self._parameters, (*self.activations, "identity"), len(x))
        sparse = x.dtype == np.uint8 and len(x) >= CHUNK
        lists = sparse_lists(x.shape[1] if sparse else 0, CHUNK)
        coded = inputs.coded_buffer(CHUNK, x.shape[1] if sparse else 0)
        if sparse:
            set_table(network, inputs.coded_table(self.input_scale, x.dtype))
        kernels.predict_logits(network, inputs.rows_of(x, self.input_scale), lists, coded, np.arange(len(x)))
        return network, outputs

    def predict_proba(self, x) -> np.ndarray:
        """Probabilities of the classes.

        Parameters
        ----------
        x : array_like (n, n_features)

        Returns
        -------
        ndarray (n, n_classes) of float32
            In the order of `classes`.  With ``loss="notebook"`` each *column* sums to one, over the samples of `x`.

        Raises
        ------
        ValueError, TypeError
            If `x` is not such an array, or the model is a regression.
        """
        if self.classes is None:
            raise ValueError("predict_proba needs a classifier; this model is a regression, use predict")
        network, outputs = self._outputs(x)
        kernels.probabilities(network, len(outputs), LOSSES[self.loss])
        return outputs.copy()

    def predict(self, x) -> np.ndarray:
        """Labels (n,) of a classifier, or outputs (n, n_outputs) float32 of a regression.

        Parameters
        ----------
        x : array_like (n, n_features)

        Raises
        ------
        ValueError, TypeError
            If `x` is not such an array.
        """
        if self.classes is None:
            return self._outputs(x)[1].copy()
        if self.loss == "notebook":  # the classes' scales differ, each is normalised over the samples
            return self.classes[self.predict_proba(x).argmax(axis=1)]
        return self.classes[self._outputs(x)[1].argmax(axis=1)]

    def evaluate(self, x, y) -> Metrics:
        """Mean loss and accuracy.

        Parameters
        ----------
        x : array_like (n, n_features)
        y : array_like (n,), or (n, n_outputs) for a regression

        Returns
        -------
        Metrics
            ``loss``, the mean over samples, and ``accuracy`` (NaN for a regression).

        Raises
        ------
        ValueError, TypeError
            If `x` or `y` are not such arrays, or `y` holds a label that is not among `classes`.
        """
        n = len(np.asarray(y)) if not hasattr(x, "shape") else x.shape[0]
        targets = self._encode(y, n)
        network, outputs = self._outputs(x)
        records = np.zeros((1, 3))
        kernels.evaluate_losses(network, len(outputs), LOSSES[self.loss], targets, np.arange(len(outputs)), records)
        loss, correct, _ = records[0] / len(outputs)
        return Metrics(float(loss), float("nan") if self.classes is None else float(correct))

    def _encode(self, y, n_samples: int, name: str = "y"):
        if self.classes is None:
            return inputs.encode_targets(inputs.check_targets(y, n_samples, self.widths[-1], name))
        return inputs.encode_labels(inputs.check_labels(y, n_samples, name), self.classes, name)

    def save(self, path: str | os.PathLike) -> None:
        """Write the model to a safetensors file; `fastmlp.load` reads it.

        Parameters
        ----------
        path : str or path
            A file that is there is replaced, once the new one is whole.
        """
        from fastmlp.files import save

        save(self, path)
