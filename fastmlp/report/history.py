"""What a model's history holds, as lines: for charts of reports, and figures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fastmlp.report.pictures import Series

if TYPE_CHECKING:
    from fastmlp.model import MLP

NAMES = {"loss": "Loss", "accuracy": "Accuracy", "learning_rate": "Learning rate"}


def curves(model: MLP) -> dict[str, list[Series]]:
    """Return the lines of every metric that was recorded, of training and validation, by the metric's name.

    Values are over epochs, or over iterations in the history of `fastmlp.reproduce`.
    """
    history = model.history
    steps = {"train": history.get("epoch", []), "validation": history.get("validation_iteration", [])}
    found: dict[str, list[Series]] = {}
    for name, values in history.items():
        part, _, metric = name.partition("_")
        if name == "learning_rate":
            part, metric = "train", name
        elif part not in steps or name == "validation_iteration":
            continue
        numbers = [float(value) if isinstance(value, (int, float)) else math.nan for value in values]
        if all(math.isnan(number) for number in numbers):  # no validation set, no accuracy, or a callback's own values
            continue
        x = next((each for each in (steps[part], steps["train"]) if len(each) == len(values)), None)
        label = {"train": "training", "validation": "validation"}[part] if metric != name else ""
        line = Series(label, range(1, len(values) + 1) if x is None else x, numbers, "a" if part == "train" else "b")
        found.setdefault(metric, []).append(line)
    return found


def step_name(model: MLP) -> str:
    """Return what the steps of the history are called."""
    return "iteration" if "validation_iteration" in model.history else "epoch"


def title(metric: str) -> str:
    """Return the title of a metric."""
    return NAMES.get(metric, metric)
