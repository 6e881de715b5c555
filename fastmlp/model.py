"""`MLP`, the trained network: owns the parameters, predicts, evaluates."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from fastmlp import inputs
from fastmlp.kernels import context as places
from fastmlp.kernels.activations import SIGMOID, activate
from fastmlp.kernels.dense import Matrix
from fastmlp.kernels.gather import KINDS
from fastmlp.kernels.losses import batch_softmax, softmax
from fastmlp.kernels.processors import NARROW, PANEL
from fastmlp.losses import LOSSES, output_of
from fastmlp.parameters import Parameters
from fastmlp.run import Run, SingleRow, padded_outputs
from fastmlp.threads import resolve
from fastmlp.workspace import pack

# Samples of a step of prediction: their activations in one panel are 32 KB, and stay in the first-level cache.
CHUNK = 128
# Samples whose bytes are copied at a time for the sparse kernels: a few MB, which stay in the last-level cache.
SLICE = 32 * CHUNK


class Metrics(NamedTuple):
    """Mean loss per sample, and the share of right predictions (NaN for a regression)."""

    loss: float
    accuracy: float


class MLP:
    """A multilayer perceptron; made by `fastmlp.train` and `fastmlp.load`.

    Python threads may share a model: predictions run side by side, `partial_fit` runs in one thread at a time, and
    whoever predicts or saves sees the parameters from before a call of `partial_fit` or from after it.

    Attributes
    ----------
    weights, biases : list of ndarray of float32
        Views into the model's parameters, (n_in, n_out) and (n_out,); writing to them changes the model.  Arrays that
        are assigned, as in ``model.weights[0] = array`` or ``model.weights = arrays``, are copied into the model.
    activations : tuple of str
        Of every hidden layer.
    loss : str
    classes : ndarray or None
        The labels, sorted, in the order of the outputs; None for a regression.
    input_scale : float, "auto" or InputScale
        What the input is multiplied by; "auto" is 1/255 for uint8, 1 otherwise.  An InputScale has two arrays, `offset`
        and `factor`, for ``(x - offset) * factor``.
    threads : int or None
        How many threads predictions take at most, as given to `fastmlp.train`; None: as many as the process may use
        physical cores.  The result does not depend on it.
    interrupted : bool
        Whether training ended by Ctrl-C.
    delta : float
        Of the loss "huber".
    feature_names : list of str or None
        The columns of the data frame that the model was trained on; other frames are checked for them.
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
        self._singles: dict[np.dtype, SingleRow] = {}  # for predictions of one sample, made when first asked for
        self.input_scale = input_scale
        self.has_bias = has_bias
        self.threads: int | None = None
        self.interrupted = False
        self.delta = 1.0
        self.feature_names: list[str] | None = None
        self._pause: Any = None  # what `partial_fit` goes on with
        self.history: dict[str, list] = {}

    @property
    def input_scale(self) -> Any:
        return self._input_scale

    @input_scale.setter
    def input_scale(self, value) -> None:
        if isinstance(value, str):
            inputs.check_choice(value, "input_scale", ("auto",))
        self._input_scale = inputs.check_input_scale(value, self.n_features)
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
        """Number of inputs, of units of every hidden layer, and of outputs."""
        return self._parameters.widths

    @property
    def n_features(self) -> int:
        return self.widths[0]

    @property
    def has_accuracy(self) -> bool:
        """Whether predictions are right or wrong: of labels, one or several a sample."""
        return LOSSES[self.loss].has_accuracy

    @property
    def _over_batch(self) -> bool:
        """Whether the softmax normalizes each class over the samples, so that it takes all of them at once."""
        return output_of(self.loss) == "batch_softmax"

    def __repr__(self) -> str:
        return f"<fastmlp.MLP {'-'.join(map(str, self.widths))}, {self.loss}>"

    def _run(self, x: np.ndarray, batch_size: int) -> Run:
        """What computes with this model on checked features: for a few samples without copying the weights."""
        packed, threads = x.shape[0] >= CHUNK, resolve(self.threads)
        return Run(
            self._parameters, self.activations, self.loss, batch_size, packed=packed, threads=threads,
            settings={places.DELTA: self.delta},
        )  # fmt: skip

    def _check_features(self, x, name: str = "x") -> np.ndarray:
        return inputs.check_features(x, self.n_features, name, self.feature_names)

    @staticmethod
    def _sparse(x) -> bool | None:
        """For `Run.set_data`: few samples, for which the weights are not packed, are not worth lists."""
        return None if inputs.is_csr(x) or x.shape[0] >= CHUNK else False

    def _single_outputs(self, x) -> np.ndarray | None:
        """Outputs (1, n_out) for a single sample in an array that needs no conversion; None for anything else."""
        if type(x) is not np.ndarray or x.shape != (1, self.n_features) or x.dtype not in KINDS:
            return None
        single = self._singles.get(x.dtype)
        if single is None:
            run = Run(self._parameters, self.activations, self.loss, 1, packed=False)
            single = self._singles[x.dtype] = SingleRow(run, x.dtype, self.input_scale)
        return single.predict(x)

    def __getstate__(self) -> dict:
        with self._parameters.lock.reading():  # a pickle is written later, when another thread may train
            parameters = copy.copy(self._parameters)
        history = {name: copy.copy(values) for name, values in list(self.history.items())}
        return {**self.__dict__, "_parameters": parameters, "history": history, "_singles": {}, "_pause": None}

    def _unchanged(self, n_samples: int) -> contextlib.AbstractContextManager[None]:
        """Keep the parameters as they are for a prediction that does not copy them."""
        return self._parameters.lock.reading() if n_samples < CHUNK else contextlib.nullcontext()

    def _outputs(self, x) -> tuple[np.ndarray, np.ndarray]:
        """Outputs of the last layer: a flat array with padded rows, and a view of it as (n, n_out)."""
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
        """Probabilities of the classes, or of every label with the loss "binary_cross_entropy".

        Parameters
        ----------
        x : array_like (n, n_features)

        Returns
        -------
        ndarray (n, n_outputs) of float32
            In the order of `classes`.  With ``loss="notebook"`` each *column* sums to one, over the samples of `x`.

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
        """Labels (n,) of a classifier, 0 or 1 for each of several labels (n, n_outputs), or outputs (n, n_outputs)
        float32 of a regression; those of the loss "poisson" are means, not their logarithms.

        Parameters
        ----------
        x : array_like (n, n_features)

        Raises
        ------
        ValueError, TypeError
            If `x` is not such an array.
        """
        outputs = None if self._over_batch else self._single_outputs(x)
        return self._decide(*self._outputs(x)) if outputs is None else self._decide(outputs, outputs)

    def _decide(self, flat: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Labels, or the outputs of a regression, from what `_outputs` gives, which is overwritten."""
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
        """Mean loss and accuracy.

        Parameters
        ----------
        x : array_like (n, n_features)
        y : array_like (n,), or (n, n_outputs) for several labels or a regression
        sample_weight : array_like (n,), optional
            Weights of the losses.

        Returns
        -------
        Metrics
            ``loss``, the mean over samples, and ``accuracy``, of several labels the mean over these (NaN for a
            regression).

        Raises
        ------
        ValueError, TypeError
            If `x` or `y` are not such arrays, or `y` holds a label that is not among `classes`.
        """
        x = self._check_features(x)
        targets = self._encode(y, x.shape[0])
        total_weight = float(x.shape[0])
        if sample_weight is not None:
            targets = targets._replace(weights=inputs.check_sample_weight(sample_weight, x.shape[0]))
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
        """Train on more data, once through them in random order, for data that arrive in pieces.

        The optimizer goes on from where it was after the last piece, or after `fastmlp.train`.  A model that comes from
        elsewhere, such as a file, is trained with plain SGD.  Calls from several Python threads wait for each other.

        Parameters
        ----------
        x, y : array_like
            As in `fastmlp.train`; labels are among `classes`.
        sample_weight : array_like (n,), optional
        learning_rate : float, optional
            By default the number that `fastmlp.train` was given, or the largest rate of its last epoch where that was a
            schedule.
        batch_size : int, optional
            By default that of `fastmlp.train`.

        Returns
        -------
        Metrics
            Mean loss and accuracy over the batches, each before its step.

        Raises
        ------
        ValueError, TypeError
            If an argument is not as described.
        DivergenceError
            If the loss, or a weight, becomes NaN or infinite; model and optimizer are as they were before.
        """
        from fastmlp.course import partial_fit

        return partial_fit(self, x, y, sample_weight, learning_rate, batch_size)

    def _part(self, targets, part: slice):
        """The targets of a slice of the samples."""
        targets = targets._replace(weights=targets.weights[part])
        if self.classes is not None:
            return targets._replace(labels=targets.labels[part])
        n_out = self.widths[-1]
        return targets._replace(values=targets.values[part.start * n_out : part.stop * n_out + int(NARROW)])

    def _encode(self, y, n_samples: int, name: str = "y"):
        if self.classes is None:
            check = inputs.check_by_elements(self.loss)
            return inputs.encode_targets(check(y, n_samples, self.widths[-1], name))
        return inputs.encode_labels(inputs.check_labels(y, n_samples, name), self.classes, name)

    def save(self, path: str | os.PathLike) -> None:
        """Write the model to a safetensors file; `fastmlp.load` reads it.

        Parameters
        ----------
        path : str or path
            A file that is there is replaced, once the new one is whole.
        """
        from fastmlp.files import save

        save(copy.copy(self), path)  # in which nothing changes while it is written

    def to_onnx(self, path: str | os.PathLike, dtype: str = "float32") -> None:
        """Write the model to an ONNX file, as `fastmlp.onnx.to_onnx` describes it."""
        from fastmlp.onnx import to_onnx

        to_onnx(copy.copy(self), path, dtype)

    def to_torch(self):
        """A ``torch.nn.Sequential`` with the model's outputs, as `fastmlp.to_torch` describes it."""
        from fastmlp.convert import to_torch

        return to_torch(copy.copy(self))


def _parts(x, size: int):
    """Parts of `x` of `size` samples, so that the sparse kernels' copy of their bytes stays small: slices, and what is
    in them.  A CSR matrix is not copied, and makes one part."""
    n = x.shape[0]
    if inputs.is_csr(x):
        return [(slice(0, n), x)]
    slices = [slice(start, min(start + size, n)) for start in range(0, n, size)]
    return [(part, x[part]) for part in slices]


def _matrix(flat: np.ndarray, outputs: np.ndarray) -> Matrix:
    """Padded outputs as the kernels see them."""
    return Matrix(0, int(PANEL), len(flat) // len(outputs), *outputs.shape)


class Predictor:
    """Predicts the same samples again and again, as a model learns: their lists' bytes are made once.

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
        """What the model predicts now."""
        pack(self.run.network, self.model._parameters)
        self.run.predict(len(self.outputs), self.flat)
        return self.model._decide(self.flat, self.outputs)
