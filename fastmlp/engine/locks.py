"""Locks of a model: several threads may predict at once, but not while another one writes."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator


class Lock:
    """A reentrant lock that is free in a forked child, even if another thread of the parent held it.

    Use it as ``with lock.held():``.
    """

    def __init__(self):
        self._by_process: dict[int, threading.RLock] = {}

    def held(self) -> threading.RLock:
        """Return the lock of this process, a context manager."""
        process = os.getpid()
        # setdefault is atomic: all threads of a process get the same lock
        return self._by_process.get(process) or self._by_process.setdefault(process, threading.RLock())


class _State:
    def __init__(self):
        self.mutex = threading.RLock()
        self.changed = threading.Condition(self.mutex)
        self.readers = self.writers_waiting = 0


class SharedLock:
    """A lock for many readers or one writer, where writers have priority; free in a forked child, like `Lock`."""

    def __init__(self):
        self._by_process: dict[int, _State] = {}

    def _state(self) -> _State:
        process = os.getpid()
        return self._by_process.get(process) or self._by_process.setdefault(process, _State())

    def alone(self) -> threading.RLock:
        """Return the lock for a short read that excludes other reads; it is the cheapest of the three."""
        return self._state().mutex

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Keep writers out, but not other readers."""
        state = self._state()
        with state.mutex:
            while state.writers_waiting:
                state.changed.wait()
            state.readers += 1
        try:
            yield
        finally:
            with state.mutex:
                state.readers -= 1
                if state.readers == 0:
                    state.changed.notify_all()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Keep readers and other writers out."""
        state = self._state()
        with state.mutex:
            state.writers_waiting += 1
            try:
                while state.readers:
                    state.changed.wait()
            finally:
                state.writers_waiting -= 1
            try:
                yield
            finally:
                state.changed.notify_all()
