"""The loss of a network and its whole gradient, for optimizers that need both at once."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

from fastmlp.data.targets import total_weight, weighted_mean
from fastmlp.engine.executor import Executor
from fastmlp.engine.workspace import packed_views
from fastmlp.kernels.ops.losses import NOTEBOOK
from fastmlp.kernels.ops.optimizers import DEFER
from fastmlp.optimizers import Optimizer


@dataclass(frozen=True)
class StoreGradient(Optimizer):
    """Leave the parameters as they are, and the gradient of the step in the state."""

    rule: ClassVar[int] = DEFER
    n_state_arrays: ClassVar[int] = 1
    learning_rate: ClassVar[float] = 0.0

    def settings(self) -> dict[str, float]:
        return {}


class LossAndGradient:
    """Compute the mean loss over all samples and its gradient, for given parameters.

    The samples go through the kernels a batch at a time, in float32; the batches' gradients are added up in float64.

    Parameters
    ----------
    executor : Executor
        With the optimizer `StoreGradient`, and its data set.
    n_samples : int
    weights : ndarray of float32, optional
        Weights of the samples, the same that the targets of the executor have.
    """

    def __init__(self, executor: Executor, n_samples: int, weights: np.ndarray | None = None):
        if not isinstance(executor.arguments["optimizer"], StoreGradient):
            raise ValueError(f"executor must store the gradient, got {executor.arguments['optimizer']!r}")
        if executor.loss == NOTEBOOK and executor.batch_size < n_samples:
            raise ValueError(
                f"the loss 'notebook' is that of a whole batch, and the batch size is {executor.batch_size} "
                f"for {n_samples} samples"
            )
        self.executor, self.samples = executor, np.arange(n_samples)
        self.weights = np.zeros(0, np.float32) if weights is None else weights
        self.total_weight = total_weight(self.weights, self.samples, n_samples)
        self.shapes = [array.shape for array in (*executor.parameters.weights, *executor.parameters.biases)]
        self.size = sum(int(np.prod(shape)) for shape in self.shapes)
        self._sum = np.zeros(executor.network.parameters.size)  # over the batches, laid out like the gradient
        self._gradient = np.zeros(self.size)
        network: Any = executor.network._replace(parameters=self._sum)
        self._views = packed_views(network, SimpleNamespace(**self._named(self._gradient)))  # type: ignore[arg-type]

    def split(self, flat: np.ndarray) -> list[np.ndarray]:
        """Return views of a vector of `size` numbers: the weights of all layers, then the biases of all layers."""
        ends = np.cumsum([np.prod(shape) for shape in self.shapes])[:-1]
        return [part.reshape(shape) for part, shape in zip(np.split(flat, ends), self.shapes)]

    def _named(self, flat: np.ndarray) -> dict[str, list[np.ndarray]]:
        arrays, n_layers = self.split(flat), len(self.shapes) // 2
        return {"weights": arrays[:n_layers], "biases": arrays[n_layers:]}

    def parameters(self) -> np.ndarray:
        """Return the executor's parameters as a vector of float64."""
        parameters = self.executor.parameters
        return np.concatenate([array.ravel() for array in (*parameters.weights, *parameters.biases)]).astype(np.float64)

    def set_parameters(self, flat: np.ndarray) -> None:
        """Round a vector to float32, and make it the executor's parameters."""
        parameters = self.executor.parameters
        with np.errstate(over="ignore"):  # infinities make the loss not finite
            arrays = self._named(np.asarray(flat, np.float32))
        with parameters.lock.writing():
            parameters.set(**arrays)
        self.executor.pack()

    def __call__(self, flat: np.ndarray) -> tuple[float, np.ndarray]:
        """Set the parameters, and return the loss and the gradient (size,) float64, which is the caller's own.

        If the loss is not finite, all of the gradient is NaN.
        """
        self.set_parameters(flat)
        executor, loss = self.executor, 0.0
        gradient = executor.gradient
        self._sum[:] = 0
        for start in range(0, len(self.samples), executor.batch_size):
            batch = self.samples[start : start + executor.batch_size]
            loss += executor.train(batch, np.zeros(1, np.float32))[0, 0]
            if not np.isfinite(loss):
                return loss, np.full(self.size, np.nan)
            weight = total_weight(self.weights, batch, len(batch))
            self._sum += np.multiply(gradient, weight / self.total_weight, dtype=np.float64)
        for packed, plain in self._views:
            plain[:] = packed
        return weighted_mean(loss, self.total_weight), self._gradient.copy()
