"""A comparison of two sides within a budget: rounds of fresh processes until every case is settled."""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from .cases import FIRST_CALL, kind_of, seconds_of, threads_of
from .sides import Side
from .turns import Failure, MissingCase, Worker, measure_pair
from .verdicts import FEWEST_PAIRS, Panel

MOST_LANES = 2
ROUND_COST = 5.0  # seconds: what starting both sides takes
CASE_COST = 0.03  # seconds: what setting up a case takes on both sides, and timing it
FORK_COST = 0.8  # of the seconds that a case is measured: what forking processes for it takes
FIRST_CALL_COST = 5.0  # seconds: four processes
MOST_SLOWNESS = 10.0  # rounds that took longer than so many times what was expected were an accident
OVERRUN = 0.25  # of the budget, rather than leave out cases that have been measured in some of the rounds
LOOK_EVERY = 1.5  # a look costs confidence: the next one is due when there are so many times as many pairs


@dataclass
class Comparison:
    """A comparison of two sides within a budget.

    In every round each of the lanes, a core, has a pair of processes, which take turns on all cases on one thread; then
    lane after lane those on two threads, which take two cores.

    Parameters
    ----------
    sides : list of Side
        Base and head.
    tool : Path
        The folder with the benchmarks.
    names : list of str
        The cases, the most important first.
    budget : float
        Seconds, without compiling.
    seed : int, optional
        Of the order of cases and turns.
    lanes : int, optional
        How many cores are used at once, at most; the default is MOST_LANES.
    others : list of str, optional
        Cases that are not measured, but take their share of the budget until there are FEWEST_PAIRS pairs.
    note : function of a str
        Told about progress.
    """

    sides: list[Side]
    tool: Path
    names: list[str]
    budget: float
    others: list[str] = field(default_factory=list)
    seed: int | None = None
    lanes: int | None = None
    note: Callable[[str], None] = lambda text: None
    missing: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    running: list[Worker] = field(default_factory=list)
    pairs: int = 0
    slowness: float = 1.0  # seconds of a round over what was expected

    def run(self) -> Panel:
        """Measure round by round until every case is settled or the budget is used up."""
        try:
            return self._run()
        except BaseException:  # Ctrl-C too
            self._kill()
            raise

    def _run(self) -> Panel:
        self.generator, self.cores = random.Random(self.seed), available_cores()
        self.lanes = min(len(self.cores), self.lanes or MOST_LANES)
        self._compile()
        start = time.monotonic()
        panel = Panel([name for name in self.names if name not in self.missing], len(self.names) + len(self.others))
        looked = 0
        while panel.unsettled:
            left = self.budget - (time.monotonic() - start)
            if self.pairs < FEWEST_PAIRS:
                self._leave_out(panel, left)  # not for the others, which would be left out first
            left -= self._share_of_others()
            if self.pairs >= FEWEST_PAIRS and left < self._round_seconds(panel.unsettled, 1):
                break
            self._round(panel, self._effort(panel.unsettled, left))
            self.pairs += self.lanes
            if self.pairs >= max(FEWEST_PAIRS, LOOK_EVERY * looked):
                panel.look()
                looked = self.pairs
                self.note(f"{looked} pairs of processes: {len(panel.unsettled)} of {len(panel.verdicts)} to settle")
        if panel.unsettled:
            panel.look(last=True)
        return panel

    def _round(self, panel: Panel, effort: float) -> None:
        names, start = panel.unsettled, time.monotonic()
        expected = self._round_seconds(names, effort) / self.slowness
        with ThreadPoolExecutor(self.lanes) as pool:
            kinds = kinds_of(names)
            pairs = list(pool.map(lambda _: self._start(kinds), range(self.lanes)))
            try:
                singles = [name for name in names if threads_of(name) == 1]
                done = [
                    pool.submit(self._measure, panel, workers, singles, [core], effort, self.generator.random())
                    for workers, core in zip(pairs, reversed(self.cores))
                ]
                for one in done:
                    one.result()
                doubles = [name for name in names if threads_of(name) > 1]
                for workers in pairs:
                    self._measure(panel, workers, doubles, self.cores[-2:], effort, self.generator.random())
            except BaseException:
                self._kill()  # or the pool would wait for what its threads measure
                raise
            for worker in self.running:
                worker.close()
            self.running.clear()
        measured = min(max(0.5, (time.monotonic() - start) / expected), MOST_SLOWNESS)
        self.slowness = math.sqrt(self.slowness * measured)  # one round may have been an accident

    def _start(self, kinds: list[str]) -> list[Worker]:
        workers = [Worker(side, self.tool, kinds) for side in self.sides]
        self.running += workers
        for worker in workers:
            worker.answer()
        return workers

    def _kill(self) -> None:
        for worker in self.running:
            worker.kill()

    def _measure(
        self, panel: Panel, workers: list[Worker], names: list[str], cores: list[int], effort: float, seed: float
    ) -> None:
        """Have a pair of processes take turns on some cases, in random order."""
        generator = random.Random(seed)
        for name in generator.sample(names, len(names)):
            try:
                panel.add(name, measure_pair(workers, name, cores, effort * seconds_of(name), generator))
            except MissingCase as error:
                self.missing[name] = str(error)
                panel.drop(name)

    def _effort(self, names: list[str], left: float) -> float:
        """How many times longer than need be a case is measured: a round is worth its start, if the budget has room."""
        if self.others and self.pairs < FEWEST_PAIRS:
            return 1.0
        start = self._round_seconds(names, 0)
        once = self._round_seconds(names, 1) - start
        room = left / max(1, self._rounds_to_come()) / 2 - start  # half of it, as rounds may become slower
        return max(1.0, min(4.0, 2 * self.slowness * ROUND_COST / once, room / once))

    def _share_of_others(self) -> float:
        """Return the seconds that the other cases take in the first rounds, as far as there is a budget for them."""
        rounds, own = -(-FEWEST_PAIRS // self.lanes), round_seconds(self.names, 1, self.lanes)
        others = round_seconds([*self.names, *self.others], 1, self.lanes) - own
        return min(rounds * others, max(0.0, self.budget - rounds * own))

    def _rounds_to_come(self) -> int:
        """How many rounds there have to be until cases can be settled."""
        return -(-(FEWEST_PAIRS - self.pairs) // self.lanes)

    def _round_seconds(self, names: list[str], effort: float) -> float:
        return self.slowness * round_seconds(names, effort, self.lanes)

    def _leave_out(self, panel: Panel, left: float) -> None:
        """Leave out the last cases for which the seconds that are left do not suffice for FEWEST_PAIRS pairs."""
        names = panel.unsettled
        rounds = self._rounds_to_come()
        if self.pairs:
            left += OVERRUN * self.budget
        while len(names) > 1 and rounds * self._round_seconds(names, 1) > left:
            self.left_out.insert(0, names[-1])
            panel.drop(names.pop())

    def _compile(self) -> None:
        """Have each side compile all cases once, and find out what it lacks."""
        if len(self.cores) < 2:
            self.missing |= {name: "needs two cores" for name in self.names if threads_of(name) > 1}
        for side in {side.tree: side for side in self.sides}.values():
            names = [name for name in self.names if name not in self.missing]
            self.missing |= {name: f"{side.name} {reason}" for name, reason in self._lacking(side, names).items()}

    def _lacking(self, side: Side, names: list[str]) -> dict[str, str]:
        """Compile cases, unless that has been done before; return what the side lacks, by case, and why."""
        key = hashlib.sha256(json.dumps([str(side.python), str(self.tool), names]).encode()).hexdigest()[:16]
        path = side.cache / f"compiled-{key}.json"
        if path.exists():
            return json.loads(path.read_text())
        lacking = {}
        worker = Worker(side, self.tool, kinds_of(names))
        self.running.append(worker)
        self.note(f"compiling {side.name}, unless it is cached")
        worker.answer()
        for name in names:
            try:
                answer = worker.ask(case=name, cores=self.cores, timed=False)
                if "missing" in answer:
                    lacking[name] = f"lacks it: {answer['missing']}"
                else:
                    worker.send(end=True)
                worker.answer()
            except Failure:
                # an older commit may have a function of that name for something else; the newer one may not
                if side is not self.sides[0] or worker.process.poll() is not None:
                    raise
                lacking[name] = "fails at it"
        worker.close()
        self.running.clear()
        if side.cache.is_dir():
            path.write_text(json.dumps(lacking))
        return lacking


def kinds_of(names: list[str]) -> list[str]:
    """Return the kinds of these cases."""
    return sorted({kind_of(name) for name in names})


def round_seconds(names: list[str], effort: float, lanes: int) -> float:
    """Return the seconds that a round of these cases takes, more or less; lanes measure two threads one by one."""
    total = ROUND_COST + names.count(FIRST_CALL) * FIRST_CALL_COST
    for name in names:
        if name != FIRST_CALL:
            total += (lanes if threads_of(name) > 1 else 1) * ((1 + FORK_COST) * effort * seconds_of(name) + CASE_COST)
    return total


def available_cores() -> list[int]:
    """Return the cores that this process may use; the last are those that workers are pinned to."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
