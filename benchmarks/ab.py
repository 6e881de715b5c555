"""Compare the speed of two commits, or of a commit and the working tree, in pairs of processes that take turns.

    python benchmarks/ab.py BASE [HEAD] [--only PATTERN] [--budget SECONDS] [--json FILE] [--markdown FILE]
    python benchmarks/ab.py --self-test [COMMIT] [--goals] [--repetitions N] [--budget SECONDS] [--only PATTERN]
        [--json FILE]

HEAD is the working tree if it is not given.  A process of each side, pinned to the same core, has turns of 5 ms, or of
one call, in random order (ABBA or BAAB).  Both are started anew at least 8 times, and until every case is settled or
the budget is used up.  A case is slower or faster where its 99% interval lies outside of +-1.5%, and the same where it
lies inside.  Over all cases together, the probability of an alarm between two commits of equal speed is 1% at most.
Cases that the machine could not settle are listed as such.  The exit status is 1 if a case is slower, 2 if nothing
could be measured.

What runs on one thread is timed by the core's time for the process, so that other processes do not count; two threads
are timed by the clock: leave the machine alone for those.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import re
import signal
import sys
from pathlib import Path

from duet import cases, report, sides
from duet.comparison import Comparison
from duet.turns import Failure
from duet.verdicts import SLOWER

ROOT = Path(__file__).resolve().parent.parent


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", nargs="?", metavar="BASE", help="a commit")
    parser.add_argument("head", nargs="?", metavar="HEAD", default=".", help="a commit; default: the working tree")
    parser.add_argument("--only", metavar="PATTERN", default="", help="cases whose names match (--list has them)")
    parser.add_argument("--budget", metavar="SECONDS", type=float, default=600, help="without compiling (default: 600)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write everything that was measured")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="write the table for a comment")
    parser.add_argument("--seed", type=int, help="of the order of turns")
    parser.add_argument("--lanes", metavar="N", type=int, help="cores used at once, at most (default: 2)")
    parser.add_argument("--list", action="store_true", help="print the names of all cases")
    parser.add_argument("--self-test", action="store_true", help="measure power and false alarms on slowed copies")
    parser.add_argument("--goals", action="store_true", help="of the self-test, just what it must catch: on one thread "
                        "3%% of an epoch, 5%% of the rest")  # fmt: skip
    parser.add_argument("--repetitions", metavar="N", type=int, default=20, help="of the self-test (default: 20)")
    parser.add_argument("--folder", type=Path, default=ROOT / ".asv" / "duet", help="for trees and compiled code")
    options = parser.parse_args(arguments)
    if not 0 < options.budget < math.inf:
        parser.error(f"--budget must be a number of seconds > 0, got {options.budget:g}")
    if options.repetitions < 1:
        parser.error(f"--repetitions must be an integer >= 1, got {options.repetitions}")
    if options.goals and not options.self_test:
        parser.error("--goals is of the self-test: ab.py --self-test --goals")
    if options.lanes is not None and options.lanes < 1:
        parser.error(f"--lanes must be an integer >= 1, got {options.lanes}")
    for name in ("json", "markdown"):  # what has been measured must not be lost at the end
        path = getattr(options, name)
        if path and (path.is_dir() or not path.parent.is_dir()):
            parser.error(f"--{name} must be a file in a folder that exists, got {str(path)!r}")
    try:
        options.names = [name for name in cases.names() if re.search(options.only, name)]
    except re.error as error:
        parser.error(f"--only must be a regular expression, got {options.only!r}: {error}")
    if not options.names:
        parser.error(f"--only matches no case, got {options.only!r}; --list prints their names")
    if options.base is None and not (options.list or options.self_test):
        parser.error("a commit to compare with is missing: ab.py BASE [HEAD]")
    options.folder = options.folder.resolve()
    return options


def compare(options: argparse.Namespace) -> int:
    """Compare two commits and print the table; returns the exit status."""
    from rich.console import Console

    commits = [options.base, options.head]
    comparison = Comparison(
        sides.make_sides(ROOT, commits, options.folder), sides.tools(options.folder), options.names, options.budget,
        seed=options.seed, lanes=options.lanes, note=note,
    )  # fmt: skip
    return show(comparison, comparison.run(), commits, options, Console(width=None if sys.stdout.isatty() else 120))


def show(comparison, panel, commits: list[str], options: argparse.Namespace, console) -> int:
    """Print and write the results of a comparison; returns the exit status."""
    base, head = map(sides.name_of, commits)
    title = f"Time of {head} over that of {base}"
    console.print(report.table(panel, title))
    for line in report.summary(panel, comparison.missing, comparison.left_out):
        console.print(line, highlight=False)
    if options.json:
        found = report.as_json(panel, commits, comparison.missing, comparison.left_out)
        options.json.write_text(json.dumps(found, indent=1))
    if options.markdown:
        options.markdown.write_text(report.markdown(panel, title, comparison.missing, comparison.left_out))
    if not panel.intervals:
        return 2
    return int(SLOWER in panel.verdicts.values())


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    if options.list:
        try:
            print("\n".join(options.names), flush=True)
        except BrokenPipeError:  # as of `head`; what Python would still write at its end goes nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    try:
        if importlib.util.find_spec("scipy") is None:
            raise Failure("SciPy is not installed: pip install -e '.[benchmark]'")
        if not hasattr(os, "fork"):
            raise Failure("this system cannot fork processes: use Linux or macOS")
        if options.self_test:
            from duet import self_test

            return self_test.run(ROOT, options, note)
        return compare(options)
    except (Failure, ValueError) as error:
        print(f"ab.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ab.py: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: both end the workers too
    sys.exit(main())
