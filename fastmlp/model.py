"""`MLP`, the trained network: it owns the parameters, predicts and evaluates."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from fastmlp import checks
from fastmlp.data.arrays import check_features, is_csr
from fastmlp.data.scaling import check_input_scale
from fastmlp.data.targets import check_by_elements, check_labels, check_sample_weight, encode_labels, encode_targets
from fastmlp.engine.executor import Executor, SingleRow, padded_outputs
from fastmlp.engine.parameters import Parameters
from fastmlp.engine.threads import resolve
from fastmlp.engine.workspace import pack
from fastmlp.kernels.ops.activations import SIGMOID, activate
from fastmlp.kernels.ops.dense import Matrix
from fastmlp.kernels.ops.gather import KINDS
from fastmlp.kernels.ops.losses import batch_softmax, softmax
from fastmlp.kernels.simd.processors import NARROW, PANEL
from fastmlp.kernels.step import record as places
from fastmlp.losses import LOSSES, output_of

# Samples per step of prediction: their activations in one panel take 32 KB, which fits into the first-level cache.
CHUNK = 128
# Samples copied as bytes at a time for the sparse kernels: a few MB, which fit into the last-level cache.
SLICE = 32 * CHUNK


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
    input_scale : float, "auto" or InputScale
        Factor of the input; "auto" is 1/255 for uint8 and 1 otherwise.  An InputScale has two arrays, `offset` and
        `factor`, for ``(x - offset) * factor``.
    threads : int or None
        Maximum number of threads for predictions, as given to `fastmlp.train`; None: as many as the process may use
        physical cores.  The result does not depend on it.
    interrupted : bool
        Whether Ctrl-C ended training.
    delta : float
        Setting of the loss "huber", as in `fastmlp.train`.
    feature_names : list of str or None
        Columns of the data frame that the model was trained on; other data frames must have the same.
    history : dict of list
        What training recorded, one value per epoch: ``epoch``, ``seconds`` (of training, without validation),
        ``train_loss`` and ``train_accuracy`` (over the batches, each before its step), ``validation_loss``,
        ``validation_accuracy``, and ``learning_rate`` (of the first step).
    """

    def __init__(self, parameters: Parameters, activations, loss: str, classes, input_scale, has_bias: bool = True):
        self._parameters = parameters
        self.activations: tuple[str, ...] = tuple(activations)
        self.loss = loss
        self.classes: np.ndarray | None = classes
        self._singles: dict[np.dtype, SingleRow] = {}  # for predicting one sample, by dtype, made on first use
        self.input_scale = input_scale
        self.has_bias = has_bias
        self.threads: int | None = None
        self.interrupted = False
        self.delta = 1.0
        self.feature_names: list[str] | None = None
        self._pause: Any = None  # state from which `partial_fit` continues
        self.history: dict[str, list] = {}

    @property
    def input_scale(self) -> Any:
        return self._input_scale

    @input_scale.setter
    def input_scale(self, value) -> None:
        if isinstance(value, str):
            checks.check_choice(value, "input_scale", ("auto",))
        self._input_scale = check_input_scale(value, self.n_features)
        self._singles = {}

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

    @property
    def _over_batch(self) -> bool:
        """Whether the softmax normalizes each class over the samples, so that it takes all of them at once."""
        return output_of(self.loss) == "batch_softmax"

    def __repr__(self) -> str:
        return f"<fastmlp.MLP {'-'.join(map(str, self.widths))}, {self.loss}>"

    def _run(self, x: np.ndarray, batch_size: int) -> Executor:
        """Return an Executor of this model for checked features; for few samples it does not copy the weights."""
        packed, threads = x.shape[0] >= CHUNK, resolve(self.threads)
        return Executor(
            self._parameters, self.activations, self.loss, batch_size, packed=packed, threads=threads,
            settings={places.DELTA: self.delta},
        )  # fmt: skip

    def _check_features(self, x, name: str = "x") -> np.ndarray:
        return check_features(x, self.n_features, name, self.feature_names)

    @staticmethod
    def _sparse(x) -> bool | None:
        """Return `sparse` for `Executor.set_data`: False for few samples, whose weights are not packed."""
        return None if is_csr(x) or x.shape[0] >= CHUNK else False

    def _single_outputs(self, x) -> np.ndarray | None:
        """Return outputs (1, n_out) for a single sample in an array that needs no conversion, else None."""
        if type(x) is not np.ndarray or x.shape != (1, self.n_features) or x.dtype not in KINDS:
            return None
        single = self._singles.get(x.dtype)
        if single is None:
            run = Executor(self._parameters, self.activations, self.loss, 1, packed=False)
            single = self._singles[x.dtype] = SingleRow(run, x.dtype, self.input_scale)
        return single.predict(x)

    def __getstate__(self) -> dict:
        with self._parameters.lock.reading():  # a pickle is written later, while another thread may train
            parameters = copy.copy(self._parameters)
        history = {name: copy.copy(values) for name, values in list(self.history.items())}
        return {**self.__dict__, "_parameters": parameters, "history": history, "_singles": {}, "_pause": None}

    def _unchanged(self, n_samples: int) -> contextlib.AbstractContextManager[None]:
        """Keep other threads from changing the parameters during a prediction that does not copy them."""
        return self._parameters.lock.reading() if n_samples < CHUNK else contextlib.nullcontext()

    def _outputs(self, x) -> tuple[np.ndarray, np.ndarray]:
        """Return the outputs of the last layer: a flat array with padded rows, and a view of it as (n, n_out)."""
        x = self._check_features(x)
        run = self._run(x, min(x.shape[0], CHUNK))
        flat, outputs = padded_outputs(x.shape[0], self.widths[-1])
        row = len(flat) // x.shape[0]
        with self._unchanged(x.shape[0]):
            for part, rows in _parts(x, SLICE):
                run.set_data(rows, self.input_scale, sparse=self._sparse(x), repeated=False)
                run.predict(part.stop - part.start, flat[part.start * row :])
        return flat, outputs

    def predict_proba(self, x) -> np.ndarray:
        """Return the probabilities of the classes, or of every label with the loss "binary_cross_entropy".

        Parameters
        ----------
        x : array_like (n, n_features)

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
        output = output_of(self.loss)
        if output == "sigmoid":
            activate(flat, SIGMOID)
        elif output == "batch_softmax":
            batch_softmax(flat, _matrix(flat, outputs))
        elif output == "softmax":
            softmax(flat, _matrix(flat, outputs), 0, len(outputs))
        else:
            raise ValueError(f"the loss {self.loss!r} must have probabilities, got the output {output!r}")
        return outputs.copy()

    def predict(self, x) -> np.ndarray:
        """Return the predicted labels, or the outputs of a regression.

        Parameters
        ----------
        x : array_like (n, n_features)

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
        outputs = None if self._over_batch else self._single_outputs(x)
        return self._decide(*self._outputs(x)) if outputs is None else self._decide(outputs, outputs)

    def _decide(self, flat: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Return labels, or outputs of a regression, from the results of `_outputs`, which are overwritten."""
        output = output_of(self.loss)
        if output == "sigmoid":
            return (outputs > 0).astype(np.int64)
        if output == "exp":
            with np.errstate(over="ignore"):
                return np.exp(outputs)
        if output == "identity":
            return outputs.copy()
        if output == "batch_softmax":
            batch_softmax(flat, _matrix(flat, outputs))
        elif output != "softmax":
            raise ValueError(f"the loss {self.loss!r} has the unknown output {output!r}")
        if self.classes is None:
            raise ValueError(f"a model with the loss {self.loss!r} must have classes, got None")
        return self.classes[outputs.argmax(axis=1)]

    def evaluate(self, x, y, sample_weight=None) -> Metrics:
        """Return the mean loss and the accuracy on labeled data.

        Parameters
        ----------
        x : array_like (n, n_features)
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
        targets = self._encode(y, x.shape[0])
        total_weight = float(x.shape[0])
        if sample_weight is not None:
            targets = targets._replace(weights=check_sample_weight(sample_weight, x.shape[0]))
            total_weight = float(targets.weights.sum(dtype=np.float64))
        whole = self._over_batch
        run = self._run(x, x.shape[0] if whole else min(x.shape[0], CHUNK))
        total = np.zeros(3)
        with self._unchanged(x.shape[0]):
            for part, rows in _parts(x, x.shape[0] if whole else SLICE):
                run.set_data(rows, self.input_scale, self._part(targets, part), self._sparse(x), repeated=False)
                total += run.evaluate(part.stop - part.start)
        loss, correct, _ = total
        return Metrics(float(loss / total_weight), float(correct / x.shape[0]) if self.has_accuracy else float("nan"))

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
        from fastmlp.training.trainer import partial_fit

        return partial_fit(self, x, y, sample_weight, learning_rate, batch_size)

    def _part(self, targets, part: slice):
        """Return the targets of a slice of the samples."""
        targets = targets._replace(weights=targets.weights[part])
        if self.classes is not None:
            return targets._replace(labels=targets.labels[part])
        n_out = self.widths[-1]
        return targets._replace(values=targets.values[part.start * n_out : part.stop * n_out + int(NARROW)])

    def _encode(self, y, n_samples: int, name: str = "y"):
        """Check targets and encode them for the kernels."""
        if self.classes is None:
            check = check_by_elements(self.loss)
            return encode_targets(check(y, n_samples, self.widths[-1], name))
        return encode_labels(check_labels(y, n_samples, name), self.classes, name)

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

        save(copy.copy(self), path)  # the copy does not change while it is written

    def to_onnx(self, path: str | os.PathLike, dtype: str = "float32") -> None:
        """Write the model to an ONNX file; see `fastmlp.io.onnx.to_onnx`."""
        from fastmlp.io.onnx import to_onnx

        to_onnx(copy.copy(self), path, dtype)

    def to_torch(self):
        """Return a ``torch.nn.Sequential`` that computes the model's outputs; see `fastmlp.to_torch`."""
        from fastmlp.io.convert import to_torch

        return to_torch(copy.copy(self))

    def plot_history(self):
        """Return a matplotlib figure of the history; see `fastmlp.plots.history`."""
        from fastmlp.plots import history

        return history(self)


def _parts(x, size: int):
    """Split `x` into pairs of a slice of `size` samples and its rows, so that the sparse kernels' copy stays small.

    A CSR matrix is not copied, and stays in one part.
    """
    n = x.shape[0]
    if is_csr(x):
        return [(slice(0, n), x)]
    slices = [slice(start, min(start + size, n)) for start in range(0, n, size)]
    return [(part, x[part]) for part in slices]


def _matrix(flat: np.ndarray, outputs: np.ndarray) -> Matrix:
    """Return a description of padded outputs for the kernels."""
    return Matrix(0, int(PANEL), len(flat) // len(outputs), *outputs.shape)


class Predictor:
    """Predicts the same samples repeatedly while a model is trained; input is prepared once.

    Parameters
    ----------
    model : MLP
    x : array_like (n, n_features), n >= CHUNK
    """

    def __init__(self, model: MLP, x):
        x = model._check_features(x)
        self.model, self.run = model, model._run(x, CHUNK)
        self.run.set_data(x, model.input_scale)
        self.flat, self.outputs = padded_outputs(x.shape[0], model.widths[-1])

    def predict(self) -> np.ndarray:
        """Return the predictions of the model as it is now."""
        pack(self.run.network, self.model._parameters)
        self.run.predict(len(self.outputs), self.flat)
        return self.model._decide(self.flat, self.outputs)
