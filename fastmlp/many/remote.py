"""Train many networks in the workers of an executor of `concurrent.futures`.

Workers are not known, and can't be chosen: any of them may get a task.  So a task is first submitted without data.
A worker that lacks them says so, and the task is submitted again.  It has the data then, unless a task that has them
was submitted later and still waits: executors serve tasks in their order.  So about as many tasks carry data as there
are workers.  Dask moves data between workers by itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import queue
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from dataclasses import dataclass
from typing import Any

from fastmlp.errors import WorkersLostError
from fastmlp.many.configs import Config
from fastmlp.many.local import Outcome
from fastmlp.many.worker import NeedData, Payload, WrongData, run_task

# A task takes about so many seconds: sending one and its result takes 1 to 5 ms.
TASK_SECONDS = 0.5
TASKS_PER_WORKER = 2  # that are submitted at a time: while one is trained, the next one waits beside it
MOST_ATTEMPTS = 4  # at a network, or at an executor, without any result in between
_ANSWER_SECONDS = 0.5  # after which Ctrl-C is looked for, on systems where it does not end waiting


@dataclass(eq=False)
class _Task:
    number: int
    indices: list[int]
    has_data: bool
    future: Future | None = None


class Dispatcher:
    """Has the workers of an executor train networks; iterating over it yields indices and outcomes as they come.

    Parameters
    ----------
    configs : sequence of dict
        What each network has beside the common settings.
    payload : Payload
    executor : Executor, Dask client, or function that returns one
    """

    def __init__(self, configs: Sequence[Config], payload: Payload, executor: Any):
        self.configs, self.payload = configs, payload
        self.make = None if _as_executor(executor) else _check_factory(executor)
        self.todo, self.missing = deque(range(len(configs))), set(range(len(configs)))
        self.running: set[_Task] = set()
        self.done: queue.SimpleQueue[_Task] = queue.SimpleQueue()
        self.number = self.breaks = self.n_trained = self.n_data = 0
        self.seconds = 0.0  # that the networks have taken so far
        self.attempts: Counter[int] = Counter()
        if self.make is None:
            self._open(executor)

    def _open(self, executor: Any) -> None:
        found = _as_executor(executor)
        if found is None:
            raise TypeError(f"executor must be a concurrent.futures.Executor, got {executor!r}")
        self.executor, self.n_workers = found, _n_workers(found)
        self.client = getattr(found, "_client", None)
        if self.client is not None:
            self.key, self.data = uuid.uuid4().hex, None
        elif not hasattr(self, "key"):
            self.data = _pickled(self.payload)
            self.key = hashlib.sha256(self.data).hexdigest()

    def __iter__(self) -> Iterator[tuple[int, Outcome]]:
        if self.make is not None:  # only now, as an iterator that is never started is never closed either
            self._open(self.make())
        try:
            self._fill()
            while self.missing:
                task = self._wait()
                if task in self.running:  # else it was given up
                    self.running.remove(task)
                    yield from self._results(task)
                self._fill()
        finally:
            for task in self.running:
                if task.future is not None:
                    task.future.cancel()
            if self.make is not None:
                self.executor.shutdown(wait=False, cancel_futures=True)

    def _wait(self) -> _Task:
        while True:
            with contextlib.suppress(queue.Empty):
                return self.done.get(timeout=_ANSWER_SECONDS)

    def _fill(self) -> None:
        """Submit tasks until every worker has enough to do."""
        while self.todo and len(self.running) < TASKS_PER_WORKER * self.n_workers:
            self._submit([self.todo.popleft() for _ in range(self._task_size())], has_data=False)

    def _task_size(self) -> int:
        """Return how many networks make a task that is neither too short nor keeps the others waiting in the end."""
        if self.n_trained == 0:
            return 1
        size = int(TASK_SECONDS * self.n_trained / max(self.seconds, 1e-9))
        return max(1, min(size, len(self.todo) // (TASKS_PER_WORKER * self.n_workers)))

    def _submit(self, indices: list[int], has_data: bool) -> None:
        self.number += 1
        self.n_data += has_data
        task = _Task(self.number, indices, has_data)
        self.running.add(task)
        configs = [(index, self.configs[index]) for index in indices]
        try:
            task.future = self.executor.submit(run_task, self.number, self.key, self._argument(has_data), configs)
        except BrokenExecutor as error:
            self._restart(error)
        else:
            task.future.add_done_callback(lambda _: self.done.put(task))

    def _argument(self, has_data: bool) -> Any:
        """Return the data as an argument of a task."""
        if self.client is None:
            return self.data if has_data else None
        if self.data is None:
            self.data = self.client.scatter(tuple(self.payload), broadcast=True, hash=False)
        return self.data

    def _results(self, task: _Task) -> Iterator[tuple[int, Outcome]]:
        assert task.future is not None
        try:
            result = task.future.result()
        except BrokenExecutor as error:
            self.running.add(task)
            self._restart(error)
            return
        except (Exception, CancelledError) as error:  # networks' own errors are results
            self._retry(task, error)
            return
        if isinstance(result, WrongData):
            raise result.error
        if isinstance(result, NeedData):
            self._submit(task.indices, has_data=not any(t.has_data and t.number > task.number for t in self.running))
            return
        self.breaks = 0
        self.n_trained += len(result.outcomes)
        self.seconds += result.seconds
        self.missing.difference_update(index for index, _ in result.outcomes)
        yield from result.outcomes

    def _retry(self, task: _Task, error: BaseException) -> None:
        """Train the networks of a task again, one in each task: one of them may be what a worker died of."""
        self.attempts.update(task.indices)
        if any(self.attempts[index] >= MOST_ATTEMPTS for index in task.indices):
            raise WorkersLostError(
                f"configs {task.indices} could not be sent, or were not trained by any worker, in {MOST_ATTEMPTS} "
                f"attempts: {type(error).__name__}: {error}",
                sorted(self.missing),
            ) from error
        if self.client is not None:
            self.data = None  # the worker may have been the one that had them
        for index in task.indices:
            self._submit([index], has_data=True)

    def _restart(self, error: BrokenExecutor) -> None:
        """Continue with another executor; raise an error if there is none."""
        lost = sorted(index for task in self.running for index in task.indices)
        self.breaks += 1
        if self.make is None or self.breaks >= MOST_ATTEMPTS:
            hint = "pass a function that returns an executor, to go on with a new one" if self.make is None else ""
            raise WorkersLostError(
                f"a worker died, which broke the executor, while configs {lost} were trained or waited for it; "
                f"{len(self.missing)} of {len(self.configs)} networks are missing. {hint}".rstrip(),
                sorted(self.missing),
            ) from error
        self.running.clear()
        self.todo.extendleft(reversed(lost))
        self.executor.shutdown(wait=False, cancel_futures=True)
        self._open(self.make())


def _as_executor(value: Any) -> Executor | None:
    """Return the executor that a value is, or, of a Dask client, has."""
    if hasattr(value, "get_executor") and not isinstance(value, type):
        return value.get_executor()
    return value if isinstance(value, Executor) else None


def _check_factory(value: Any) -> Callable[[], Any]:
    if not callable(value):
        raise TypeError(
            "executor must be a concurrent.futures.Executor, a Dask client, or a function that returns one, "
            f"got {value!r}"
        )
    return value


def _pickled(payload: Payload) -> bytes:
    try:
        return pickle.dumps(payload, protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # of any type: objects may have their own ways of being pickled
        raise TypeError(f"x, y and the common settings must be picklable for an executor, got {error}") from error


def _n_workers(executor: Any) -> int:
    """Return how many tasks an executor runs at a time; the number of processors where it does not say."""
    client = getattr(executor, "_client", None)
    if client is not None:
        return max(1, sum(client.nthreads().values()))
    n_workers = getattr(executor, "num_workers", None) or getattr(executor, "_max_workers", None)
    return n_workers or os.cpu_count() or 1
