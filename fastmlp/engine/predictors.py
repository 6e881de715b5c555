"""The executors that a model predicts with, which are kept from one prediction to the next."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastmlp.engine.executor import Executor
from fastmlp.engine.inference import CHUNK
from fastmlp.engine.parameters import Parameters
from fastmlp.engine.single_row import SingleRow
from fastmlp.engine.thread_tuner import ThreadTuner
from fastmlp.engine.threads import resolve
from fastmlp.kernels.ops.gather import KINDS

# Memory of an executor that is kept, at most: making one takes 0.1 ms, in which larger ones do much of their work.
KEPT_BYTES = 1 << 19


class Predictors:
    """Executors for predictions with `parameters`; several threads may predict at the same time.

    Parameters
    ----------
    parameters : Parameters
    """

    def __init__(self, parameters: Parameters):
        self._parameters = parameters
        self._singles: dict[np.dtype, SingleRow] = {}  # by the dtype of the sample
        self._idle: list[tuple[tuple, Executor]] = []  # for few samples, with their settings
        # of predictions in whole chunks, but those under way; one alone may be too short to choose between threads
        self.tuners: list[ThreadTuner] = []

    def __reduce__(self):
        return Predictors, (self._parameters,)

    def forget_scale(self) -> None:
        """Take another scale of the input from now on."""
        self._singles = {}

    def single_outputs(self, x, activations, loss: str, input_scale: Any) -> tuple[np.ndarray, np.ndarray] | None:
        """Return what `compute_outputs` does for a single sample in an array that needs no conversion, else None."""
        if type(x) is not np.ndarray or x.shape != (1, self._parameters.widths[0]) or x.dtype not in KINDS:
            return None
        single = self._singles.get(x.dtype)
        if single is None:
            executor = Executor(self._parameters, activations, loss, 1, packed=False)
            single = self._singles[x.dtype] = SingleRow(executor, x.dtype, input_scale)
        return single.predict(x)

    @contextlib.contextmanager
    def executor(
        self, n_samples: int, activations, loss: str, delta: float, threads: int | None, whole_batch: bool = False
    ) -> Iterator[Executor]:
        """Yield an Executor for checked features; nobody changes weights meanwhile that it has not copied.

        It works in batches of CHUNK samples, or in one of all of them if these are fewer, or if `whole_batch`.
        """
        if n_samples < CHUNK:
            with (
                self._parameters.lock.reading(),
                self._small_executor(n_samples, activations, loss, delta, threads) as executor,
            ):
                yield executor
            return
        executor = self._new(n_samples if whole_batch else CHUNK, activations, loss, delta, threads)
        tuners = [] if whole_batch else self.tuners
        with contextlib.suppress(IndexError):
            executor.tuner = tuners.pop()
        yield executor
        tuners.append(executor.tuner)

    @contextlib.contextmanager
    def _small_executor(self, n_samples: int, *settings) -> Iterator[Executor]:
        """Yield an Executor that works on the weights themselves: the one of the last call, if it serves."""
        found = None
        with contextlib.suppress(IndexError):
            kept, executor = self._idle.pop()
            if kept == settings and n_samples <= executor.batch_size:
                found = executor
        executor = found or self._new(n_samples, *settings)
        yield executor
        executor.release()
        if not self._idle and executor.network.workspace.nbytes <= KEPT_BYTES:
            self._idle.append((settings, executor))

    def _new(self, batch_size: int, activations, loss: str, delta: float, threads: int | None) -> Executor:
        return Executor(
            self._parameters, activations, loss, batch_size, packed=batch_size >= CHUNK, threads=resolve(threads),
            settings={"delta": delta},
        )  # fmt: skip
