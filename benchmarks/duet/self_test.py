"""The comparison's test of itself: a commit beside itself, and beside copies of it that are slower."""

from __future__ import annotations

import json
import random
import re
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from . import cases, report, sides, slowdowns
from .comparison import Comparison
from .verdicts import FASTER, SAME, SLOWER, UNSETTLED, Panel

NOTHING = "nothing"


def experiments(pattern: str, goals: bool = False) -> list[tuple[str, int, list[str]]]:
    """Return what is tried in a repetition: what is made slower, by how many per cent, and the cases to compare.

    Nothing is made slower in the first, which compares all cases.  In the others, which measure power, it is those
    cases that consist of what is slower.  `goals` leaves just the slowdowns of the goals, and their cases.
    """
    names = [name for name in cases.names() if re.search(pattern, name)]
    planned = []
    for kind, slowdown in slowdowns.SLOWDOWNS.items():
        affected = [name for name in names if re.search(slowdown.cases, name)]
        if goals:
            affected = [name for name in affected if cases.threads_of(name) == 1]
        if affected:
            planned += [(kind, percent, affected) for percent in ([slowdown.goal] if goals else slowdowns.PERCENTS)]
    if goals:
        names = [name for _, _, affected in planned for name in affected]
    return [(NOTHING, 0, names), *planned]


class SelfTest:
    """Comparisons of a commit with slowed copies of itself.

    A comparison measures the cases that are slower, but is as hard as one of all cases within the budget: the others
    take their share of it until there are FEWEST_PAIRS pairs, and it corrects for all of them.

    Parameters
    ----------
    side : Side
    tool : Path
        The folder with the benchmarks.
    options : Namespace
        Of `benchmarks/ab.py`: `budget`, `lanes`, `seed`.
    note : function of a str
        Told about progress.
    """

    def __init__(self, side: sides.Side, tool: Path, options: Namespace, note: Callable[[str], None]):
        self.side, self.tool, self.options, self.note = side, tool, options, note
        self.generator, self.fractions = random.Random(options.seed), dict[str, float]()

    def compare(self, kind: str, percent: float, names: list[str]) -> tuple[Comparison, Panel]:
        """Compare with a copy in which so many per cent more work is done, of that which can be done twice."""
        head = slowdowns.slowed(self.side, slowdowns.SLOWDOWNS[kind], percent) if percent else self.side
        comparison = Comparison(
            [self.side, head], self.tool, names, self.options.budget,
            others=[name for name in cases.names() if name not in names], seed=self.generator.randrange(2**32),
            lanes=self.options.lanes, note=self.note,
        )  # fmt: skip
        return comparison, comparison.run()

    def fraction(self, kind: str, names: list[str]) -> float:
        """Return the fraction of the cases' time that a slowdown does twice, measured on a copy slower by half."""
        if kind not in self.fractions:
            _, panel = self.compare(kind, 50, names)
            changes = [report.percent(interval.estimate) / 50 for interval in panel.intervals.values()]
            self.fractions[kind] = float(np.median(changes))
            self.note(f"{kind}: {100 * self.fractions[kind]:.0f}% of the time is spent on what can be done twice")
        return self.fractions[kind]

    def trial(self, kind: str, percent: int, names: list[str]) -> dict[str, Any]:
        """Return what a comparison finds where something is slower by so many per cent."""
        share = percent / self.fraction(kind, names) if percent else 0.0
        comparison, panel = self.compare(kind, round(share, 2), names)
        commits = [self.side.name, f"{kind} slower by {percent}%"]
        found = report.as_json(panel, commits, comparison.missing, comparison.left_out)
        return {"slower": kind, "percent": percent, "done_twice": share / 100, **found}


def run(root: Path, options: Namespace, note: Callable[[str], None]) -> int:
    """Run the self-test and print its tables; returns 0 if the goals are met, else 1.

    The results so far are written to `options.json` after every comparison.
    """
    from rich.console import Console

    planned = experiments(options.only, options.goals)
    if not planned[0][2]:
        raise ValueError(f"--only must match a case that --goals are about, got {options.only!r}")
    (side,) = sides.make_sides(root, [options.base or sides.WORKING_TREE], options.folder)
    test = SelfTest(side, sides.tools(options.folder), options, note)
    results: list[dict[str, Any]] = []
    path = options.json or options.folder / "self-test.json"
    for repetition in range(options.repetitions):
        for kind, percent, names in test.generator.sample(planned, len(planned)):
            results.append(test.trial(kind, percent, names))
            path.write_text(json.dumps(results, indent=1))
            note(f"repetition {repetition + 1} of {options.repetitions}, {line_of(results[-1])}")
    summary = summarize(results)
    console = Console(width=120)
    console.print(power_table(summary))
    console.print(alarm_line(summary), highlight=False)
    for line in failures(summary):
        console.print(line, highlight=False)
    return int(bool(failures(summary)))


def line_of(result: dict[str, Any]) -> str:
    """Return what came out of a comparison, in a line."""
    count = {verdict: sum(case["verdict"] == verdict for case in result["cases"]) for verdict in (SLOWER, FASTER, SAME)}
    made = f"{result['slower']} slower by {result['percent']}%" if result["percent"] else "nothing slower"
    counts = ", ".join(f"{n} {verdict}" for verdict, n in count.items())
    return f"{made}: {counts}, {len(result['not_settled'])} not settled"


def summarize(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return power by slowdown and case, and the comparisons of nothing with an alarm."""
    power: dict[tuple[str, int, str], list[tuple[str, float]]] = {}
    same = [result for result in results if not result["percent"]]
    for result in results:
        if result["percent"]:
            for case in result["cases"]:
                key = result["slower"], result["percent"], case["case"]
                power.setdefault(key, []).append((case["verdict"], case["change"]))
    alarms = [[case for case in result["cases"] if case["verdict"] in (SLOWER, FASTER)] for result in same]
    unsettled = [len(result["not_settled"]) / max(1, len(result["cases"])) for result in same]
    return {"power": power, "alarms": alarms, "unsettled": unsettled}


def power_table(summary: dict[str, Any]):
    """Return a table of how often each slowdown was caught, by case."""
    from rich.table import Table

    made = Table(title="Slowdowns that were caught", title_justify="left")
    for column in ("slower", "by", "case", "caught", "called the same", "not settled", "measured, median"):
        made.add_column(column, justify="left" if column in ("slower", "case") else "right")
    for (kind, percent, case), found in sorted(summary["power"].items()):
        said = [verdict for verdict, _ in found]
        counts = [f"{said.count(verdict)} of {len(said)}" for verdict in (SLOWER, SAME, UNSETTLED)]
        made.add_row(kind, f"{percent}%", case, *counts, f"{np.median([change for _, change in found]):+.1f}%")
    return made


def alarm_line(summary: dict[str, Any]) -> str:
    """Return how many comparisons of a commit with itself raised a false alarm."""
    alarms = summary["alarms"]
    with_alarm = [f"{case['case']} {case['change']:+.1f}%" for found in alarms for case in found]
    text = f"False alarms in {sum(map(bool, alarms))} of {len(alarms)} comparisons of a commit with itself"
    text += f" ({'; '.join(with_alarm)})" if with_alarm else ""
    if summary["unsettled"]:
        text += f"; not settled: {100 * np.mean(summary['unsettled']):.0f}% of the cases"
    return text + "."


def failures(summary: dict[str, Any]) -> list[str]:
    """Return which goals were missed: 95% of an epoch's 3% and of a kernel's 5%, and no false alarm."""
    missed = []
    for kind, slowdown in slowdowns.SLOWDOWNS.items():
        said = [
            verdict for (slower, percent, _), found in summary["power"].items() for verdict, _ in found
            if slower == kind and percent >= slowdown.goal
        ]  # fmt: skip
        if said and said.count(SLOWER) < 0.95 * len(said):
            missed.append(f"Goal missed: {said.count(SLOWER)} of {len(said)} caught, {kind}, {slowdown.goal}% or more.")
    if sum(map(bool, summary["alarms"])) > 0.01 * len(summary["alarms"]):
        missed.append("Goal missed: false alarms in more than 1% of the comparisons.")
    return missed
