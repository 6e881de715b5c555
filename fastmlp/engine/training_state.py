"""What further training depends on beside the parameters: one object serves checkpoints, `MLP.partial_fit`, and
restoring what an epoch has changed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastmlp.engine.executor import Executor
from fastmlp.engine.parameters import Parameters
from fastmlp.optimizers import SGD, Optimizer


@dataclass
class TrainingState:
    """The state of a training run, without the parameters.

    Attributes
    ----------
    arguments : dict
        Keyword arguments of the Executor.
    rng : numpy.random.Generator
        Draws the order of the samples.
    learning_rate : float or None
        What `MLP.partial_fit` uses by default; None: the optimizer's own.
    optimizer_state : ndarray of float32, optional
        With an executor it is the executor's own array.  None: all zeros.
    n_updates : int
        How many times the parameters have been updated.
    epochs_done : int
        Number of complete epochs.
    entropy : int or None
        What all random numbers of `fastmlp.train` derive from.
    executor : Executor, optional
        The executor at work; it is left out of copies and pickles, as it is full of addresses.
    rng_state : dict, optional
        In a copy, the state that `rng` had.  (Copying a generator takes 47 us, which is as long as a small epoch.)
    """

    arguments: dict[str, Any]
    rng: np.random.Generator
    learning_rate: float | None = None
    optimizer_state: np.ndarray | None = None
    n_updates: int = 0
    epochs_done: int = 0
    entropy: Any = None
    executor: Executor | None = None
    rng_state: Mapping[str, Any] | None = None

    @classmethod
    def plain(cls, has_bias: bool, threads: int, delta: float) -> TrainingState:
        """Return the state of a model from elsewhere, which trains with plain SGD."""
        arguments = {
            "batch_size": 128,
            "has_bias": has_bias,
            "optimizer": SGD(),
            "threads": threads,
            "settings": {"delta": delta},
        }
        return cls(arguments, np.random.default_rng())

    def attach(self, executor: Executor) -> None:
        """Have an executor continue from this state, and from now on change it."""
        if self.optimizer_state is not None:
            executor.optimizer_state[:] = self.optimizer_state
        executor.n_updates = self._updates()
        self.executor, self.optimizer_state = executor, executor.optimizer_state

    def detach(self) -> None:
        """Let go of the executor and its memory."""
        self.n_updates, self.executor = self._updates(), None

    def _updates(self) -> int:
        return self.n_updates if self.executor is None else self.executor.n_updates

    def _rng_state(self) -> Mapping[str, Any]:
        return self.rng.bit_generator.state if self.rng_state is None else self.rng_state

    def copy(self) -> TrainingState:
        """Return a copy that training does not change."""
        kept = None if self.optimizer_state is None else self.optimizer_state.copy()
        return TrainingState(
            self.arguments, self.rng, self.learning_rate, kept, self._updates(), self.epochs_done, self.entropy,
            rng_state=self._rng_state(),
        )  # fmt: skip

    def restore(self, saved: TrainingState) -> None:
        """Go back to a copy that was made earlier, or that was read from a checkpoint."""
        if self.optimizer_state is not None and saved.optimizer_state is not None:
            self.optimizer_state[:] = saved.optimizer_state
        self.n_updates = saved.n_updates
        if self.executor is not None:
            self.executor.n_updates = saved.n_updates
        self.rng.bit_generator.state = saved._rng_state()
        self.learning_rate, self.epochs_done, self.entropy = saved.learning_rate, saved.epochs_done, saved.entropy

    @contextlib.contextmanager
    def restored_after_errors(self, parameters: Parameters) -> Iterator[None]:
        """Undo what happens to this state and the parameters if an error, or Ctrl-C, ends it."""
        saved, buffer = self.copy(), parameters.buffer.copy()
        try:
            yield
        except BaseException:
            self.restore(saved)
            with parameters.lock.writing():
                parameters.buffer[:] = buffer
            if self.executor is not None:  # between packed weights there may be NaN now
                self.executor.network.parameters[:] = 0
            raise

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "n_updates": self._updates(), "executor": None}

    def to_checkpoint(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the state as JSON types and arrays; the names are those of checkpoints since format 1."""
        assert self.optimizer_state is not None, "there is an executor"
        state = {
            "entropy": str(self.entropy),
            "rng": self._rng_state(),
            "updates": self._updates(),
            "done": self.epochs_done,
            "largest_rate": self.learning_rate or 0.0,
        }
        return state, {"state": self.optimizer_state}

    def load_checkpoint(self, state: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Continue from what `to_checkpoint` returned."""
        saved = self.copy()
        saved.optimizer_state, saved.n_updates = arrays["state"], state["updates"]
        saved.rng_state = state["rng"]
        saved.learning_rate = state["largest_rate"] or None
        saved.epochs_done, saved.entropy = state["done"], int(state["entropy"])
        self.restore(saved)

    def executor_for(
        self, parameters: Parameters, activations, loss: str, n_samples: int, batch_size: int | None = None,
        optimizer: Optimizer | None = None,
    ) -> Executor:  # fmt: skip
        """Return an executor that continues from this state and these parameters.

        Parameters
        ----------
        n_samples : int
            Number of samples of the next piece of data.
        batch_size : int, optional
            By default the one of `arguments`.
        optimizer : Optimizer, optional
            Replaces the settings of an optimizer with the same rule.
        """
        executor, batch_size = self.executor, batch_size or self.arguments["batch_size"]
        if n_samples < batch_size:  # one step, for which any executor does that has enough room
            room = 0 if executor is None else executor.batch_size
            batch_size = room if n_samples <= room <= batch_size else min(batch_size, max(n_samples, 2 * room))
        if optimizer is not None and optimizer.rule == self.arguments["optimizer"].rule:
            self.arguments = {**self.arguments, "optimizer": optimizer}
        if executor is None or executor.batch_size != batch_size:
            executor = Executor(parameters, activations, loss, **{**self.arguments, "batch_size": batch_size})
            self.attach(executor)
        else:
            executor.set_optimizer(self.arguments["optimizer"])
        executor.pack()
        return executor
