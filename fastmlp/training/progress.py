"""The progress bar of a training run."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

# What is always recorded; the user's metrics follow.
HISTORY = (
    "epoch", "seconds", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "learning_rate",
)  # fmt: skip


class ProgressBar:
    """Show a progress bar over the epochs; where it is off, do nothing and do not import rich."""

    def __init__(self, progress: bool | str, epochs: int, done: int = 0):
        self.shown = sys.stderr.isatty() if progress == "auto" else progress
        self.epochs, self.done = epochs, done

    def __enter__(self) -> Callable[[Any], None]:
        if not self.shown:
            return lambda model: None
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.bar = Progress(
            TextColumn("epoch"), MofNCompleteColumn(), BarColumn(), TimeRemainingColumn(),
            TextColumn("{task.description}"), console=Console(stderr=True),
        )  # fmt: skip
        self.bar.start()
        task = self.bar.add_task("", total=self.epochs, completed=self.done)
        return lambda model: self.bar.update(task, advance=1, description=summary(model.history))

    def __exit__(self, *exception) -> None:
        if self.shown:
            self.bar.stop()


def summary(history: dict[str, list]) -> str:
    """Return the metrics of the last epoch as a line of text."""
    parts = [f"loss {history['train_loss'][-1]:.4f}"]
    for label, name in (("accuracy", "train_accuracy"), ("validation", "validation_accuracy")):
        if not math.isnan(history[name][-1]):
            parts.append(f"{label} {history[name][-1]:.4f}")
    if math.isnan(history["validation_accuracy"][-1]) and not math.isnan(history["validation_loss"][-1]):
        parts.append(f"validation loss {history['validation_loss'][-1]:.4f}")
    own = {name: values[-1] for name, values in history.items() if name not in HISTORY and values}
    # callbacks may add values of any type
    parts += [f"{name} {value:.4f}" for name, value in own.items() if isinstance(value, float)]
    return "  ".join(parts)
