"""Statistics: intervals from pairs of processes, and what may be said about all cases together.

A pair of processes gives one figure per case, the median of its log ratios.  Pairs are the sample: what they fork
shares the places of code.  The interval is Student's around a trimmed mean (Tukey and McLaughlin), which one disturbed
pair in ten does not widen.  A bootstrap over 8 pairs covers 96% where it says 99% (`tests/test_ab.py` shows
it).  Where nothing has changed the figures are symmetric, since both sides are samples of the same; there Student's
interval covers enough even with heavy tails.

A case is flagged if two things hold:

- its interval lies outside of +-THRESHOLD;
- "nothing has changed" is rejected for it by Holm's method over all cases.  Without that, a hundred noisy cases of 1%
  each would raise an alarm in half of all comparisons.

A case is looked at several times while pairs come in.  All looks together may reject wrongly with probability ALPHA:
each takes EARLY of what those before it have left, and the last takes the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

THRESHOLD = math.log(1.015)
ALPHA = 0.01
EARLY = 0.25
FEWEST_PAIRS = 8
TRIM = 0.1  # of the pairs, on each side

SLOWER, FASTER, SAME, UNSETTLED = "slower", "faster", "same", "not settled"


@dataclass(frozen=True)
class Interval:
    """An estimate of a log ratio, head over base."""

    estimate: float
    low: float
    high: float
    p_value: float  # of "nothing has changed"


def figure_of(slices: list[float]) -> float:
    """Return the time that a side's slices show, their 5% quantile: what disturbs a slice only ever makes it longer."""
    return float(np.quantile(slices, 0.05))


def interval_of(figures, level: float) -> Interval:
    """Return Student's interval for the center of `figures`, one per pair of processes, the outermost trimmed."""
    from scipy import special

    figures = np.sort(np.asarray(figures, float))
    n, trimmed = len(figures), int(TRIM * len(figures))
    mean = float(figures[trimmed : n - trimmed].mean())
    if n < 2:
        return Interval(mean, -math.inf, math.inf, 1.0)
    winsorized = np.clip(figures, figures[trimmed], figures[n - 1 - trimmed])
    error = float(winsorized.std(ddof=1) / math.sqrt(n)) / (1 - 2 * trimmed / n)
    freedom = n - 2 * trimmed - 1
    margin = float(special.stdtrit(freedom, 0.5 + level / 2)) * error
    p_value = float(2 * special.stdtr(freedom, -abs(mean) / error)) if error > 0 else float(mean == 0)
    return Interval(mean, mean - margin, mean + margin, p_value)


def holm(p_values: dict[str, float], n_hypotheses: int, alpha: float) -> set[str]:
    """Return the names that Holm's method rejects out of `n_hypotheses`, of which these have the p-values.

    The probability that any of them is wrong is at most `alpha`, whatever depends on what.
    """
    rejected: set[str] = set()
    for name in sorted(p_values, key=p_values.__getitem__):
        if p_values[name] > alpha / (n_hypotheses - len(rejected)):
            break
        rejected.add(name)
    return rejected


class Panel:
    """The verdicts on all cases, while pairs of processes come in.

    Parameters
    ----------
    names : list of str
    n_hypotheses : int, optional
        Number of cases to correct for, if there are more than those in `names`.
    """

    def __init__(self, names: list[str], n_hypotheses: int | None = None):
        self.figures: dict[str, list[float]] = {name: [] for name in names}
        self.verdicts = dict.fromkeys(names, UNSETTLED)
        self.intervals: dict[str, Interval] = {}
        self.n_hypotheses = max(n_hypotheses or 0, len(names))
        self.alpha_left = ALPHA

    @property
    def unsettled(self) -> list[str]:
        return [name for name, verdict in self.verdicts.items() if verdict == UNSETTLED]

    def add(self, name: str, figure: float) -> None:
        """Add a pair of processes' log ratio."""
        self.figures[name].append(figure)

    def drop(self, name: str) -> None:
        """Leave out a case; it still counts among the hypotheses."""
        del self.figures[name], self.verdicts[name]

    def look(self, last: bool = False) -> None:
        """Settle what the pairs so far can settle, at a cost in the probability of error: see the module."""
        alpha = self.alpha_left if last else EARLY * self.alpha_left
        self.alpha_left -= alpha
        ready = [name for name in self.unsettled if len(self.figures[name]) >= FEWEST_PAIRS]
        for name in ready:
            self.intervals[name] = interval_of(self.figures[name], 1 - ALPHA)
        flagged = sum(verdict in (SLOWER, FASTER) for verdict in self.verdicts.values())
        p_values = {name: self.intervals[name].p_value for name in ready}
        changed = holm(p_values, self.n_hypotheses - flagged, alpha)
        for name in ready:
            self.verdicts[name] = verdict_of(self.intervals[name], name in changed)


def verdict_of(interval: Interval, has_changed: bool) -> str:
    """Return the verdict on a case: SLOWER or FASTER beyond the threshold, SAME within it, else UNSETTLED."""
    if has_changed and interval.low > THRESHOLD:
        return SLOWER
    if has_changed and interval.high < -THRESHOLD:
        return FASTER
    if interval.low > -THRESHOLD and interval.high < THRESHOLD:
        return SAME
    return UNSETTLED
