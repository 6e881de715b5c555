"""The table of a comparison, the same in Markdown, and JSON."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from .verdicts import FASTER, SAME, SLOWER, UNSETTLED, Panel

STYLES = {SLOWER: "bold red", FASTER: "bold green", SAME: "dim", UNSETTLED: "yellow"}
ORDER = [SLOWER, FASTER, UNSETTLED, SAME]


@dataclass
class Row:
    """A case's line: times and intervals as changes in per cent, head over base."""

    case: str
    verdict: str
    change: float
    low: float
    high: float
    pairs: int


def percent(log_ratio: float) -> float:
    """Return a log ratio as a change in per cent."""
    return 100 * math.expm1(log_ratio)


def rows_of(panel: Panel) -> list[Row]:
    """Return a line for every case that has an interval, what has changed first."""
    rows = [
        Row(
            name, panel.verdicts[name], percent(interval.estimate), percent(interval.low), percent(interval.high),
            len(panel.figures[name]),
        )
        for name, interval in panel.intervals.items()
    ]  # fmt: skip
    return sorted(rows, key=lambda row: (ORDER.index(row.verdict), -abs(row.change)))


def change_of(row: Row) -> tuple[str, str]:
    """Return a change and its interval in words."""
    return f"{row.change:+.1f}%", f"{row.low:+.1f}% to {row.high:+.1f}%"


def table(panel: Panel, title: str, with_same: bool = True):
    """Return the table for a terminal."""
    from rich.table import Table

    made = Table(title=title, title_justify="left")
    for column in ("case", "time", "99% interval", "pairs", "verdict"):
        made.add_column(column, justify="left" if column in ("case", "verdict") else "right")
    for row in rows_of(panel):
        if with_same or row.verdict != SAME:
            made.add_row(row.case, *change_of(row), str(row.pairs), row.verdict, style=STYLES[row.verdict])
    return made


def summary(panel: Panel, missing: dict[str, str], left_out: list[str]) -> list[str]:
    """Return sentences that say how it went."""
    names = {verdict: [name for name, said in panel.verdicts.items() if said == verdict] for verdict in ORDER}
    lines = [", ".join(f"{len(names[verdict])} {verdict}" for verdict in ORDER) + f", of {n_cases(panel.verdicts)}."]
    if names[UNSETTLED]:
        lines.append("The budget did not settle: " + "; ".join(names[UNSETTLED]) + ".")
    if left_out:
        lines.append(f"The budget was too small to begin with {n_cases(left_out)}: " + "; ".join(left_out) + ".")
    for reason in sorted(set(missing.values())):
        lines.append(f"Not compared: {'; '.join(n for n, why in missing.items() if why == reason)} ({reason}).")
    return lines


def n_cases(cases: Collection[str]) -> str:
    """Return how many cases there are, in words."""
    return f"{len(cases)} case{'s' * (len(cases) != 1)}"


def markdown(panel: Panel, title: str, missing: dict[str, str], left_out: list[str]) -> str:
    """Return the table for a comment on a pull request; cases that are the same are counted, not listed."""
    shown = [row for row in rows_of(panel) if row.verdict in (SLOWER, FASTER)]
    lines = [f"### {title}", ""]
    if shown:
        lines += ["| case | time | 99% interval | pairs | verdict |", "|---|---:|---:|---:|---|"]
        lines += [f"| {row.case} | {' | '.join(change_of(row))} | {row.pairs} | {row.verdict} |" for row in shown] + [
            ""
        ]
    else:
        lines += ["No case was found to be slower or faster.", ""]
    counts, *details = summary(panel, missing, left_out)
    lines.append(counts)
    if details:
        lines += ["", "<details><summary>What is not known</summary>", "", *details, "", "</details>"]
    return "\n".join(lines) + "\n"


def as_json(panel: Panel, commits: list[str], missing: dict[str, str], left_out: list[str]) -> dict[str, Any]:
    """Return everything that was measured: changes in per cent, and log ratios of every pair of processes."""
    return {
        "base": commits[0],
        "head": commits[1],
        "cases": [{**asdict(row), "log_ratios": panel.figures[row.case]} for row in rows_of(panel)],
        "not_settled": panel.unsettled,
        "missing": missing,
        "left_out": left_out,
    }
