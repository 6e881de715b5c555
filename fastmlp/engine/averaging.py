"""What several processes exchange to train one network: sums of one flat vector, over all of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from fastmlp.engine.executor import Executor
from fastmlp.engine.workspace import packed_views

DIVERGED, FAILED = -2, -1  # flags at the end of the vector


class Averager:
    """Average the gradients, or else the parameters and the optimizer's state, of the executors of all processes.

    Parameters
    ----------
    executor : Executor
        If it splits updates, the gradients are averaged, and the update follows; else the parameters and the state.
    communicator : mpi4py.MPI.Comm, or an object with its `Allreduce`
    """

    def __init__(self, executor: Executor, communicator: Any):
        self.executor, self.communicator = executor, communicator
        network: Any = executor.network
        size = network.parameters.size
        if executor.splits_update:
            arrays = [executor.gradient]
        else:
            state = executor.optimizer_state
            arrays = [network.parameters, *(state[start : start + size] for start in range(0, state.size, size))]
        shapes = [array.shape for array in (*executor.parameters.weights, *executor.parameters.biases)]
        n_numbers = sum(int(np.prod(shape)) for shape in shapes)
        self.vector = np.zeros(len(arrays) * n_numbers + 2, np.float32)
        self._sum = np.zeros_like(self.vector)
        self._sent: list[tuple[np.ndarray, np.ndarray]] = []  # pairs of packed and flat arrays
        self._received: list[tuple[np.ndarray, np.ndarray]] = []
        for vector, pairs in ((self.vector, self._sent), (self._sum, self._received)):
            for i, array in enumerate(arrays):
                parts = _split(vector[i * n_numbers : (i + 1) * n_numbers], shapes)
                half = len(shapes) // 2
                plain: Any = SimpleNamespace(weights=parts[:half], biases=parts[half:])
                pairs += packed_views(network._replace(parameters=array), plain)

    def average(self, fraction: float, diverged: bool = False, failed: bool = False) -> tuple[bool, bool]:
        """Exchange, and return whether any of the processes has diverged, and whether any has failed.

        If one has, nothing is updated.

        Parameters
        ----------
        fraction : float
            Weight of this process in the average; those of all add up to 1.
        """
        if not (diverged or failed):
            for packed, flat in self._sent:
                np.multiply(packed, np.float32(fraction), out=flat)
        self.vector[DIVERGED], self.vector[FAILED] = diverged, failed
        self.communicator.Allreduce(self.vector, self._sum)
        anywhere = bool(self._sum[DIVERGED] > 0), bool(self._sum[FAILED] > 0)
        if not any(anywhere):
            for packed, flat in self._received:
                packed[:] = flat
            if self.executor.splits_update:
                self.executor.update()
        return anywhere


def _split(flat: np.ndarray, shapes) -> list[np.ndarray]:
    ends = np.cumsum([np.prod(shape) for shape in shapes])[:-1]
    return [part.reshape(shape) for part, shape in zip(np.split(flat, ends), shapes)]
