"""The choice between one thread and several, from measured times."""

from __future__ import annotations

import math
import statistics
from collections import deque


class ThreadTuner:
    """Choose between one thread and several, whichever is faster at the moment.

    Where other processes compete for the cores, a thread that waits for its turn delays all others at the end of every
    region: on two cores with two busy processes, an epoch of MNIST took 19 s instead of 0.05 s.  The result is the same
    for any number of threads, so training can fall back to one.

    First, short trials of both alternate until all trials of one are faster than all of the other, or until the medians
    decide.  From then on, whichever took less time per step (the median of its last calls) is used.  The slower one is
    tried again at growing intervals.  It takes over if two short trials and then a whole call are faster.

    Parameters
    ----------
    flop : float
        Arithmetic of a step, in floating-point operations.
    """

    CALL_STEPS = 64
    TRIAL_FLOP = 2e8  # arithmetic of a trial: a few milliseconds, long enough for threads to wake up (0.05 ms)
    FEWEST_TRIALS, MOST_TRIALS = 3, 7  # per candidate, after one that is not counted, as caches are cold
    WINDOW = 5  # number of measurements whose median is compared
    HOPELESS = 4  # ratio of times at which two trials decide, and later trials have one step
    SHORTEST_WAIT, LONGEST_WAIT = 2, 1024  # number of calls between two trials of the slower one

    def __init__(self, flop: float):
        self.trial_steps = min(math.ceil(self.TRIAL_FLOP / flop), self.CALL_STEPS)
        # seconds per step, newest last; keys: whether several threads were used
        self.seen: dict[bool, deque[float]] = {several: deque(maxlen=1 + self.MOST_TRIALS) for several in (False, True)}
        self.several: bool | None = None  # whether the current call uses several threads; None: there is no choice
        self.compared, self.trials, self.steps = False, 0, 0.0
        self.best = True
        # calls between two trials of the slower one, and until the next
        self.wait = self.calls_until_trial = self.SHORTEST_WAIT
        self.stage = 0  # of the slower one's trial: 0 none, 1 not counted, 2 and 3 short, 4 a whole call

    def next(self, threads: int, most: int) -> tuple[int, int]:
        """Return how many of the `threads` to use for the next call, and its number of steps, at most `most`."""
        if threads == 1:
            self.several = None
            return 1, most
        self.several, steps = self._next_of_two() if self.compared else self._next_trial(most)
        return threads if self.several else 1, min(most, steps)

    def note(self, seconds: float, steps: float) -> None:
        """Record how long the call that `next` chose took, and how many whole steps it did."""
        if self.several is None:
            return
        self.steps += steps
        if self.compared:
            self._note_call(seconds / steps)
        else:
            self._note_trial(seconds / steps)

    def _next_trial(self, most: int) -> tuple[bool, int]:
        """Alternate one, several, several, one, once there are enough steps for a comparison to pay off."""
        if self.trials == 0 and max(most, self.steps) < 4 * (1 + self.FEWEST_TRIALS) * self.trial_steps:
            return True, self.trial_steps
        several = self.trials % 4 in (1, 2)
        return several, 1 if self._is_hopeless(several) else self.trial_steps

    def _note_trial(self, seconds: float) -> None:
        if self.trials == 0 and self.several:
            return  # before the comparison
        self.trials += 1
        self.seen[bool(self.several)].append(seconds)
        if self.trials % 2:
            return
        counted = {several: list(seen)[1:] for several, seen in self.seen.items()}
        n = len(counted[True])
        separate = n >= 2 and any(max(counted[a]) < min(counted[not a]) for a in counted)
        clear = n >= 2 and any(self.HOPELESS * max(counted[a]) < min(counted[not a]) for a in counted)
        if clear or (n >= self.FEWEST_TRIALS and separate) or n >= self.MOST_TRIALS:
            self.compared = True
            for several, seen in counted.items():
                self.seen[several] = deque([statistics.median(seen)] * self.WINDOW, self.WINDOW)
            self.best = self._estimate(True) < self._estimate(False)

    def _next_of_two(self) -> tuple[bool, int]:
        rival = not self.best
        if self.calls_until_trial == 0 and self.stage == 0:
            self.stage = 1
        if self.stage == 4:
            return rival, self.CALL_STEPS  # short trials may have been lucky
        if self.stage:
            return rival, 1 if self._is_hopeless(rival) else self.trial_steps
        # after a slow call, a short one shows whether it was an outlier
        is_in_doubt = self.seen[self.best][-1] > self._estimate(rival)
        return self.best, self.trial_steps if is_in_doubt else self.CALL_STEPS

    def _note_call(self, seconds: float) -> None:
        several, rival = bool(self.several), not self.best
        if several == rival:
            self._note_rival(seconds)
        else:
            self.seen[several].append(seconds)
            self.calls_until_trial -= self.calls_until_trial > 0
        if self._estimate(rival) < self._estimate(self.best):
            self.best, self.stage = rival, 0
            self.wait = self.calls_until_trial = self.SHORTEST_WAIT

    def _note_rival(self, seconds: float) -> None:
        best = self._estimate(not self.several)
        if self.stage == 4:
            self.seen[bool(self.several)].extend([seconds] * self.WINDOW)
        elif seconds < (self.HOPELESS if self.stage == 1 else 1) * best:
            self.stage += 1
            return
        else:
            self.seen[bool(self.several)].append(seconds)
        self.stage = 0
        self.wait = self.calls_until_trial = min(2 * self.wait, self.LONGEST_WAIT)

    def _estimate(self, several: bool) -> float:
        """Return the median time per step in seconds."""
        return statistics.median(self.seen[several])

    def _is_hopeless(self, several: bool) -> bool:
        """Return whether it was so much slower than the other that a trial of one step is enough."""
        mine, other = self.seen[several], self.seen[not several]
        return bool(mine and other) and mine[-1] > self.HOPELESS * other[-1]
