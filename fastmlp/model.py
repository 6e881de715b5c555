"""`MLP`, the trained network: it owns the parameters, predicts and evaluates."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from fastmlp import checks
from fastmlp.data.arrays import check_features
from fastmlp.data.columns import is_table
from fastmlp.data.frames import FrameEncoder
from fastmlp.data.order import epoch_order
from fastmlp.data.scaling import check_input_scale
from fastmlp.data.targets import check_sample_weight, encode_like, total_weight, weighted_mean
from fastmlp.engine.executor import Executor
from fastmlp.engine.inference import compute_outputs, compute_totals, to_predictions, to_probabilities
from fastmlp.engine.parameters import Parameters
from fastmlp.engine.predictors import Predictors
from fastmlp.engine.threads import resolve
from fastmlp.engine.training_state import TrainingState
from fastmlp.errors import DivergenceError
from fastmlp.io.state import ModelState
from fastmlp.losses import LOSSES
from fastmlp.optimizers import Optimizer


class Metrics(NamedTuple):
    """Mean loss per sample, and the fraction of correct predictions (NaN for a regression)."""

    loss: float
    accuracy: float


class MLP:
    """A multilayer perceptron, as `fastmlp.train` and `fastmlp.load` return it.

    Python threads may share a model.  Predictions run in parallel, and `partial_fit` runs in one thread at a time.
    Predicting or saving during a call of `partial_fit` uses the parameters from before or after it, never a mixture.

    Attributes
    ----------
    weights, biases : list of ndarray of float32
        Views of the model's parameters, (n_in, n_out) and (n_out,); writing to them changes the model.  Arrays that are
        assigned, as in ``model.weights[0] = array`` or ``model.weights = arrays``, are copied into the model.
    activations : tuple of str
        Activation of every hidden layer.
    loss : str
        Name of the loss.
    classes : ndarray or None
        The labels, sorted, in the order of the outputs; None if the targets are not labels.
    input_scale : float, "auto", InputScale or RobustScale
        Factor of the input; "auto" is 1/255 for uint8 and 1 otherwise.  The others have arrays `offset` and `factor`
        for ``(x - offset) * factor``; a RobustScale clips smoothly after that.
    threads : int or None
        Maximum number of threads for predictions, as given to `fastmlp.train`; None: as many as the process may use
        physical cores.  The result does not depend on it.
    interrupted : bool
        Whether Ctrl-C ended training.
    delta : float
        Setting of the loss "huber", as in `fastmlp.train`.
    feature_names : list of str or None
        Columns of the data frame that the model was trained on; other data frames must have the same.
    encoder : FrameEncoder or None
        For a data frame with more than numbers: ``encoder.transform(frame)`` returns the array (n, n_features) that the
        network sees, ``encoder.feature_names`` the names of its columns.
    history : dict of list
        What training recorded, one value per epoch: ``epoch``, ``seconds`` (of training, without validation; the mean
        of short epochs that are trained at once), ``train_loss`` and ``train_accuracy`` (over the batches, each before
        its step), ``validation_loss``, ``validation_accuracy``, and ``learning_rate`` (of the first step).
    """

    def __init__(self, parameters: Parameters, activations, loss: str, classes, input_scale, has_bias: bool = True):
        self._parameters = parameters
        self.activations: tuple[str, ...] = tuple(activations)
        self.loss = loss
        self.classes: np.ndarray | None = classes
        self._predictors = Predictors(parameters)
        self.input_scale = input_scale
        self.has_bias = has_bias
        self.threads: int | None = None
        self.interrupted = False
        self.delta = 1.0
        self.feature_names: list[str] | None = None
        self.encoder: FrameEncoder | None = None
        self._training_state: TrainingState | None = None  # from which `partial_fit` continues
        self.history: dict[str, list] = {}

    @property
    def input_scale(self) -> Any:
        return self._input_scale

    @input_scale.setter
    def input_scale(self, value) -> None:
        if isinstance(value, str):
            checks.check_choice(value, "input_scale", ("auto",))
        self._input_scale = check_input_scale(value, self.n_features)
        self._predictors.forget_scale()

    @property
    def weights(self) -> list[np.ndarray]:
        return self._parameters.weights

    @weights.setter
    def weights(self, values: Iterable[Any]) -> None:
        self._parameters.weights[:] = values

    @property
    def biases(self) -> list[np.ndarray]:
        return self._parameters.biases

    @biases.setter
    def biases(self, values: Iterable[Any]) -> None:
        self._parameters.biases[:] = values

    @property
    def widths(self) -> tuple[int, ...]:
        """Numbers of inputs, of units in every hidden layer, and of outputs."""
        return self._parameters.widths

    @property
    def n_features(self) -> int:
        """Number of inputs."""
        return self.widths[0]

    @property
    def has_accuracy(self) -> bool:
        """Whether predictions can be correct: True for one or several labels per sample, False for a regression."""
        return LOSSES[self.loss].has_accuracy

    def __repr__(self) -> str:
        return f"<fastmlp.MLP {'-'.join(map(str, self.widths))}, {self.loss}>"

    def state(self) -> ModelState:
        """Return a copy of all that makes up the model, which further training does not change."""
        parameters, history = self._copies()
        return ModelState(
            parameters, self.activations, self.loss, self.classes, self.input_scale, self.has_bias, history,
            self.delta, self.feature_names, self.threads, self.encoder,
        )  # fmt: skip

    @classmethod
    def from_state(cls, state: ModelState) -> MLP:
        """Return the model with this state, which it takes over without copying."""
        model = cls(state.parameters, state.activations, state.loss, state.classes, state.input_scale, state.has_bias)
        model.history, model.delta = state.history, state.delta
        model.feature_names, model.threads, model.encoder = state.feature_names, state.threads, state.encoder
        return model

    def _copies(self) -> tuple[Parameters, dict[str, list]]:
        """Return copies of the parameters and the history as they are now; other threads may train meanwhile."""
        with self._parameters.lock.reading():
            parameters = copy.copy(self._parameters)
        return parameters, {name: copy.copy(values) for name, values in list(self.history.items())}

    def __getstate__(self) -> dict:
        parameters, history = self._copies()
        own = {"_predictors": Predictors(parameters), "_training_state": None}
        return {**self.__dict__, "_parameters": parameters, "history": history, **own}

    def _executor(self, n_samples: int, whole_batch: bool = False) -> contextlib.AbstractContextManager[Executor]:
        """Make an Executor of this model for checked features; see `Predictors.executor`."""
        return self._predictors.executor(n_samples, self.activations, self.loss, self.delta, self.threads, whole_batch)

    def _check_features(self, x, name: str = "x") -> np.ndarray:
        if self.encoder is not None and is_table(x):
            x = self.encoder.transform(x, name)
        return check_features(x, self.n_features, name, self.feature_names)

    def _outputs(self, x) -> tuple[np.ndarray, np.ndarray]:
        """Return the outputs of the last layer: a flat array with padded rows, and a view of it as (n, n_out)."""
        single = self._predictors.single_outputs(x, self.activations, self.loss, self.input_scale)
        if single is not None:
            return single
        x = self._check_features(x)
        with self._executor(x.shape[0]) as executor:
            return compute_outputs(executor, x, self.input_scale)

    def _sums(self, x) -> np.ndarray:
        return self._outputs(x)[1]

    def predict_proba(self, x) -> np.ndarray:
        """Return the probabilities of the classes, or of every label with the loss "binary_cross_entropy".

        Parameters
        ----------
        x : array_like (n, n_features), or data frame

        Returns
        -------
        ndarray (n, n_outputs) of float32
            Columns are in the order of `classes`.  With ``loss="notebook"``, each *column* sums to one over the samples
            of `x`.

        Raises
        ------
        ValueError, TypeError
            If `x` is not such an array, or the model is a regression.
        """
        if not self.has_accuracy:
            raise ValueError("predict_proba needs a classifier; this model is a regression, use predict")
        flat, outputs = self._outputs(x)
        to_probabilities(self.loss, flat, outputs)
        return outputs.copy()

    def predict(self, x) -> np.ndarray:
        """Return the predicted labels, or the outputs of a regression.

        Parameters
        ----------
        x : array_like (n, n_features), or data frame

        Returns
        -------
        ndarray
            Labels (n,) of a classifier; 0 or 1 for each of several labels per sample, (n, n_outputs) int64; or outputs
            of a regression, (n, n_outputs) float32.  With the loss "poisson", outputs are means, not their logarithms.

        Raises
        ------
        ValueError, TypeError
            If `x` is not such an array.
        """
        flat, outputs = self._outputs(x)
        return to_predictions(self.loss, self.classes, flat, outputs)

    def evaluate(self, x, y, sample_weight=None) -> Metrics:
        """Return the mean loss and the accuracy on labeled data.

        Parameters
        ----------
        x : array_like (n, n_features), or data frame
        y : array_like (n,), or (n, n_outputs) for several labels or a regression
        sample_weight : array_like (n,), optional
            Weights of the samples in the loss.

        Returns
        -------
        Metrics
            ``loss``, the mean over samples, and ``accuracy``: for several labels per sample the mean over the labels,
            for a regression NaN.

        Raises
        ------
        ValueError, TypeError
            If `x` or `y` are not such arrays, or `y` holds a label that is not among `classes`.
        """
        x = self._check_features(x)
        targets = self._encode(y, x.shape[0], sample_weight=sample_weight)
        whole_batch = LOSSES[self.loss].whole_batch
        with self._executor(x.shape[0], whole_batch) as executor:
            loss, correct, _ = compute_totals(executor, x, targets, self.input_scale, whole=whole_batch)
        weight = total_weight(targets.weights, np.s_[:], x.shape[0])
        return Metrics(float(loss / weight), float(correct / x.shape[0]) if self.has_accuracy else float("nan"))

    def partial_fit(self, x, y, *, sample_weight=None, learning_rate=None, batch_size=None) -> Metrics:
        """Train on more data for one epoch, in random order, for data that arrive in pieces.

        The optimizer continues with its state from the last call, or from `fastmlp.train`.  A model from elsewhere,
        such as a file, is trained with plain SGD.  Calls from several Python threads wait for each other.

        Parameters
        ----------
        x, y : array_like
            As in `fastmlp.train`; all labels must be among `classes`.
        sample_weight : array_like (n,), optional
            Weights of the samples in losses and gradients.
        learning_rate : float, optional
            By default the number that was given to `fastmlp.train`, or, if that was a schedule, the highest rate of the
            last epoch.
        batch_size : int, optional
            Number of samples per step; by default as in `fastmlp.train`.

        Returns
        -------
        Metrics
            Mean loss and accuracy over the batches, each before its step.

        Raises
        ------
        ValueError, TypeError
            If an argument is not as described.
        DivergenceError
            If the loss or a weight becomes NaN or infinite; model and optimizer are left unchanged.
        """
        return self._partial_fit(x, y, sample_weight, learning_rate, batch_size)

    def _partial_fit(
        self, x, y, sample_weight=None, learning_rate=None, batch_size=None, optimizer: Optimizer | None = None,
        shuffle: bool | str = True,
    ) -> Metrics:  # fmt: skip
        """See `partial_fit`; `optimizer` as in `TrainingState.executor_for`, `shuffle` as in `fastmlp.train`."""
        x = self._check_features(x)
        targets = self._encode(y, x.shape[0], sample_weight=sample_weight)
        if learning_rate is not None:
            learning_rate = checks.check_positive(learning_rate, "learning_rate")
        if batch_size is not None:
            batch_size = checks.check_integer(batch_size, "batch_size", 1)
        with self._parameters.training.held():  # an executor has one place for its data, and one for its parameters
            state = self._training_state or TrainingState.plain(self.has_bias, resolve(self.threads), self.delta)
            self._training_state = state
            rate = learning_rate or state.learning_rate or state.arguments["optimizer"].learning_rate
            executor = state.executor_for(
                self._parameters, self.activations, self.loss, x.shape[0], batch_size, optimizer
            )
            with state.restored_after_errors(self._parameters):
                executor.set_data(x, self.input_scale, targets, repeated=False)
                order = epoch_order(np.arange(x.shape[0]), shuffle, state.rng)
                records = executor.train(order, np.full(executor.n_steps(len(order)), rate, np.float32))
                total_loss, correct, _ = records.sum(axis=0)
                if not np.isfinite(total_loss):
                    raise DivergenceError(None, rate, self)
                executor.flush_subnormals()
        accuracy = float(correct / len(order)) if self.has_accuracy else float("nan")
        return Metrics(weighted_mean(total_loss, total_weight(targets.weights, order, len(order))), accuracy)

    def _encode(self, y, n_samples: int, name: str = "y", sample_weight=None):
        """Check targets and their weights, and encode them for the kernels."""
        targets = encode_like(y, n_samples, self.loss, self.classes, self.widths[-1], name)
        given = {} if sample_weight is None else {"weights": check_sample_weight(sample_weight, n_samples)}
        return targets._replace(**given)

    def save(self, path: str | os.PathLike) -> None:
        """Write the model to a safetensors file; `fastmlp.load` reads it.

        Parameters
        ----------
        path : str or path
            An existing file is replaced once the new one is complete.

        Raises
        ------
        OSError
            If the file can't be written; an existing file is left as it was.
        """
        from fastmlp.io.safetensors import save

        save(self.state(), path)

    def to_onnx(self, path: str | os.PathLike, dtype: str = "float32") -> None:
        """Write the model to an ONNX file; its inputs and outputs are described in `fastmlp.io.onnx`.

        Parameters
        ----------
        path : str or path
            An existing file is replaced once the new one is complete.
        dtype : "float32" or "uint8"
            Type of the input.  With ``input_scale="auto"``, the file multiplies uint8 by 1/255, and not float32.

        Raises
        ------
        ValueError
            If `dtype` is none of these, or a class does not fit into int64.
        ImportError
            If the package onnx is missing.
        """
        from fastmlp.io.onnx import to_onnx

        to_onnx(self.state(), path, dtype)

    def to_torch(self):
        """Return a ``torch.nn.Sequential`` that computes the model's outputs; see `fastmlp.to_torch`."""
        from fastmlp.io.torch import to_torch

        return to_torch(self.state())

    def plot_history(self):
        """Return a matplotlib figure of the history; see `fastmlp.plots.history`."""
        from fastmlp.plots import history

        return history(self)
