"""Train many networks in Python threads: one network a thread, in compiled code that holds no lock of Python's."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence

from fastmlp.many.configs import DEFAULTS, Config, merge
from fastmlp.model import MLP
from fastmlp.train import run
from fastmlp.training.shared import SharedData

Outcome = MLP | BaseException

_ANSWER_SECONDS = 0.5  # after which Ctrl-C is looked for, on systems where it does not end waiting


def outcome_of(config: Config, common: Config, data: SharedData, stop: threading.Event | None = None) -> Outcome:
    """Return the model that some settings make on one thread, or the error that they raise."""
    try:
        model = run({**DEFAULTS, **merge(config, common), "threads": 1, "progress": False}, data, stop)
    except BaseException as error:
        return error
    return KeyboardInterrupt() if model.interrupted else model


def outcomes(
    configs: Sequence[Config], common: Config, data: SharedData, n_threads: int
) -> Iterator[tuple[int, Outcome]]:
    """Yield the index of each config and its outcome, as they come.

    Closing the iterator, or an exception while it waits, ends all threads.
    """
    n_threads = min(n_threads, len(configs))
    if n_threads <= 1:
        for index, config in enumerate(configs):
            yield index, outcome_of(config, common, data)
        return
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, Outcome]] = queue.SimpleQueue()
    stop, go = threading.Event(), threading.Event()
    for index in range(len(configs)):
        todo.put(index)

    def work() -> None:
        go.wait()  # until all are started: what is interrupted while it starts can't be joined
        while not stop.is_set():
            try:
                index = todo.get_nowait()
            except queue.Empty:
                return
            done.put((index, outcome_of(configs[index], common, data, stop)))

    threads = [threading.Thread(target=work, name=f"fastmlp-{k}", daemon=True) for k in range(n_threads)]
    try:
        for thread in threads:
            thread.start()
        go.set()
        for _ in configs:
            yield _wait_for(done)
    finally:
        stop.set()
        go.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join()


def _wait_for(done: queue.SimpleQueue) -> tuple[int, Outcome]:
    while True:
        try:
            return done.get(timeout=_ANSWER_SECONDS)
        except queue.Empty:
            continue
