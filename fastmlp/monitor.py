"""The best value so far of something that is measured after every epoch."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass


def higher_is_better(name: str) -> bool:
    """Return whether a recorded metric should increase: True for accuracies, top-k and R2, False for all others."""
    return "accuracy" in name or re.search(r"(^|_)(top_\d+|r2)$", name) is not None


@dataclass
class Best:
    """Keep the best value so far, and count the epochs since the last improvement.

    Parameters
    ----------
    higher_is_better : bool
        Whether values should increase.
    min_delta : float
        A value is an improvement if it is better than the best one by more than this.
    patience : float
        Number of epochs without improvement that are tolerated.
    relative : bool
        Whether `min_delta` is a fraction of the best value.
    keeps_any_gain : bool
        Whether a value becomes the best one even if it is better by less than `min_delta`.  An improvement by exactly
        `min_delta` counts then.  scikit-learn's estimators do both.
    takes_ties : bool
        Whether a value that equals the best one is an improvement.
    value : float, optional
        The best value; None before the first one.
    waited : int
        Number of epochs since the last improvement.
    """

    higher_is_better: bool
    min_delta: float = 0.0
    patience: float = math.inf
    relative: bool = False
    keeps_any_gain: bool = False
    takes_ties: bool = False
    value: float | None = None
    waited: int = 0

    def update(self, value: float) -> bool:
        """Take the value of an epoch into account, and return whether it is the best one now."""
        sign = 1 if self.higher_is_better else -1
        if self.value is None:
            is_best = is_improvement = not math.isnan(value)
        else:
            score, best = sign * value, sign * self.value
            wanted = best + (self.min_delta * abs(best) if self.relative else self.min_delta)
            is_improvement = score > wanted or (self.takes_ties and score == wanted)
            if self.keeps_any_gain:
                is_improvement = not score < wanted
            is_best = score > best if self.keeps_any_gain else is_improvement
        if is_best:
            self.value = value
        self.waited = 0 if is_improvement else self.waited + 1
        return is_best

    @property
    def is_patience_over(self) -> bool:
        """Whether there was no improvement for more epochs than are tolerated."""
        return self.waited > self.patience

    def state_dict(self) -> dict:
        """Return what has to be kept to continue, as JSON types."""
        return {"value": self.value, "waited": self.waited}

    def load_state_dict(self, state: dict) -> None:
        """Continue from what `state_dict` returned."""
        self.value, self.waited = state["value"], state["waited"]
