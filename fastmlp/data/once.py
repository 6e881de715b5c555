"""Results that several threads share, each computed once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any


class Once:
    """Results by key: whoever asks first computes one, and all others wait for it."""

    def __init__(self):
        self._results: dict[Hashable, Any] = {}
        self._lock = threading.RLock()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return the result under a key, made by `make` the first time."""
        if key not in self._results:
            with self._lock:
                if key not in self._results:
                    self._results[key] = make()
        return self._results[key]
