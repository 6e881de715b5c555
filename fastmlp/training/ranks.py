"""The processes that train one network together: what they agree on, and how an error of one ends all."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from fastmlp.engine.parameters import Parameters
from fastmlp.errors import DivergenceError, RankError
from fastmlp.training.identity import ADDED, identity

T = TypeVar("T")

# What a communicator of mpi4py has, as far as it is used here.
METHODS = ("Abort", "Allreduce", "Bcast", "Get_rank", "Get_size", "allgather", "bcast")


def check_communicator(communicator: Any) -> Any:
    """Return a communicator of mpi4py, or None if it has one process, which trains as it would without."""
    if communicator is None:
        return None
    if any(not callable(getattr(communicator, name, None)) for name in METHODS):
        raise TypeError(
            f"communicator must be one of mpi4py's, such as mpi4py.MPI.COMM_WORLD, got {type(communicator).__name__}"
        )
    return communicator if communicator.Get_size() > 1 else None


class Ranks:
    """One process alone, which has nobody to agree with; `SeveralRanks` is for several."""

    communicator: Any = None
    rank, size = 0, 1

    @property
    def is_first(self) -> bool:
        """Whether this process calls callbacks, evaluates, shows progress and writes files."""
        return self.rank == 0

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """End all processes if an error comes that they have not agreed on, as the others would wait for ever."""
        yield

    def know(self, error: BaseException) -> bool:
        """Return whether all processes have this error, or one that tells of it."""
        return True

    @contextlib.contextmanager
    def agree(self) -> Iterator[None]:
        """Raise an error in all processes if there is one in any."""
        yield

    def from_first(self, function: Callable[[], T]) -> T:
        """Return in all processes what the function returns in the first one, or raise an error in all."""
        return function()

    def share(self, parameters: Parameters) -> None:
        """Copy the first process's parameters to all others."""

    def check_same(self, arguments: dict[str, Any]) -> None:
        """Refuse arguments of `fastmlp.train` that are not the same in all processes."""

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Return the sum over all processes."""
        return values


class SeveralRanks(Ranks):
    """The ranks of a communicator.

    Parameters
    ----------
    communicator : mpi4py.MPI.Comm
    """

    def __init__(self, communicator: Any):
        self.communicator = communicator
        self.rank, self.size = communicator.Get_rank(), communicator.Get_size()
        self._agreed: BaseException | None = None  # the last error that all processes know of

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            if not self.know(error):
                traceback.print_exc()
                print(f"fastmlp: rank {self.rank} of {self.size} failed, which ends all", file=sys.stderr, flush=True)
                self.communicator.Abort(1)
            raise

    def know(self, error: BaseException) -> bool:
        return error is self._agreed or isinstance(error, DivergenceError)  # which all raise in the same step

    @contextlib.contextmanager
    def agree(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.raise_together(error)
            raise
        self.raise_together(None)

    def raise_together(self, error: BaseException | None) -> None:
        """Raise this process's error, or one that tells of another's; all processes call this at the same time."""
        self._raise(error, self.communicator.allgather(None if error is None else describe(error)))

    def _raise(self, error: BaseException | None, messages: list[str | None]) -> None:
        failed = [(rank, message) for rank, message in enumerate(messages) if message is not None]
        if not failed:
            return
        if error is None:
            interrupted = all(message == describe(KeyboardInterrupt()) for _, message in failed)
            rank, message = failed[0]
            text = f"rank {rank} of {self.size} failed, which ends all: {message}"
            error = KeyboardInterrupt() if interrupted else RankError(text)
        self._agreed = error
        raise error

    def from_first(self, function: Callable[[], T]) -> T:
        value, error = None, None
        if self.is_first:
            try:
                value = function()
            except BaseException as caught:
                error = caught
        value, message = self.communicator.bcast((value, None if error is None else describe(error)), root=0)
        self._raise(error, [message])
        return value

    def share(self, parameters: Parameters) -> None:
        with parameters.lock.writing():
            self.communicator.Bcast(parameters.buffer, root=0)

    def check_same(self, arguments: dict[str, Any]) -> None:
        own = {**ADDED, **identity(arguments), "epochs": arguments["epochs"]}
        own["checkpoint"] = arguments["checkpoint"] is not None
        first = self.communicator.bcast(own, root=0)
        with self.agree():
            for name, value in own.items():
                if first[name] != value:
                    raise ValueError(
                        f"{name} must be the same on all ranks, got {value!r} on rank {self.rank} and {first[name]!r} "
                        "on rank 0"
                    )

    def sum(self, values: np.ndarray) -> np.ndarray:
        total = np.zeros_like(values)
        self.communicator.Allreduce(values, total)
        return total


def describe(error: BaseException) -> str:
    """Return an error as other processes see it."""
    return f"{type(error).__name__}: {error}"


def ranks_of(communicator: Any) -> Ranks:
    """Return the processes of a communicator, None for this one alone."""
    communicator = check_communicator(communicator)
    return Ranks() if communicator is None else SeveralRanks(communicator)
