"""Locks of a model: they let several threads predict at once, and keep writers and readers apart."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator


class Lock:
    """A reentrant lock that is open in a forked child, whatever the parent's other threads were doing.

    ``with lock.held():`` holds it.
    """

    def __init__(self):
        self._by_process: dict[int, threading.RLock] = {}

    def held(self) -> threading.RLock:
        """Return the lock of this process."""
        process = os.getpid()
        # setdefault is atomic: all threads of a process get the same lock
        return self._by_process.get(process) or self._by_process.setdefault(process, threading.RLock())


class _State:
    def __init__(self):
        self.mutex = threading.RLock()
        self.changed = threading.Condition(self.mutex)
        self.readers = self.writers_waiting = 0


class SharedLock:
    """Many readers, or one writer, who comes first where both wait.  Open in a forked child, as `Lock` is."""

    def __init__(self):
        self._by_process: dict[int, _State] = {}

    def _state(self) -> _State:
        process = os.getpid()
        return self._by_process.get(process) or self._by_process.setdefault(process, _State())

    def alone(self) -> threading.RLock:
        """Return the lock for a short read that has no other read beside it: the cheapest of the three."""
        return self._state().mutex

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
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
