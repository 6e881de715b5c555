"""Callbacks of a training run: checked, and called."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fastmlp.model import MLP

EVENTS = ("on_train_begin", "on_epoch_end", "on_train_end")


def check_callbacks(callbacks) -> list:
    """Return the callbacks as a list; a single one is accepted too."""
    callbacks = list(callbacks) if isinstance(callbacks, Iterable) else [callbacks]
    for callback in callbacks:
        if not callable(callback) and not any(hasattr(callback, event) for event in EVENTS):
            raise TypeError(f"callbacks must be functions or objects with one of {', '.join(EVENTS)}, got {callback!r}")
    return callbacks


def call_callbacks(callbacks, event: str, model: MLP) -> bool:
    """Call a method of all callbacks, and return whether any of them returned True."""
    results = []
    for callback in callbacks:
        if hasattr(callback, event):
            results.append(getattr(callback, event)(model))
        elif event == "on_epoch_end" and callable(callback):
            results.append(callback(model))
    return any(isinstance(result, (bool, np.bool_)) and bool(result) for result in results)
