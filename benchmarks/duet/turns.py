"""Two sides take turns: a process for each, pinned to the same cores, and pieces of work in random order."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from . import verdicts
from .sides import Side, environment

TURN = 0.06  # seconds, at most
FEWEST_QUADS = 3  # ABBAs, if calls are short: the median leaves out one that was disturbed
SLICE = 0.002  # seconds: short beside what a scheduler gives a process
PAUSE = 0.01  # seconds before a turn on two threads: those of the other side spin on for some milliseconds


class Failure(Exception):
    """A worker could not do what it was asked for."""


class MissingCase(Exception):
    """A side lacks what a case measures."""


class Worker:
    """A process of one side, for cases of these kinds."""

    def __init__(self, side: Side, tool: Path, kinds: Iterable[str] = ()):
        code = "from benchmarks.duet import worker; worker.serve()"
        self.side = side
        self.process = subprocess.Popen(
            [str(side.python), "-c", code, *kinds],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment(side, tool),
            cwd=tool, start_new_session=True,  # Ctrl-C is for the process that runs this one
        )  # fmt: skip

    def ask(self, **request) -> dict:
        """Send a request, and return the answer."""
        self.send(**request)
        return self.answer()

    def send(self, **request) -> None:
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise Failure(f"the process for {self.side.name} ended with status {self.process.wait()}")
        answer = json.loads(line)
        if "failed" in answer:
            raise Failure(f"{self.side.name}: {answer['failed']}")
        return answer

    def close(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.kill()
        self.process.stdout.close()

    def kill(self) -> None:
        """End the process, and those that it has started, at once."""
        if self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def abba(generator: random.Random) -> str:
    """Return the order of four turns, at random: a drift that is linear in time cancels within them."""
    return generator.choice(("ABBA", "BAAB"))


def measure_pair(workers: list[Worker], name: str, cores: list[int], seconds: float, generator: random.Random) -> float:
    """Return the log ratio of a case, the median over ABBAs, which take so many seconds together.

    Each ABBA is one of processes that are forked anew: where a process's memory comes to lie makes it slower than the
    next by some per cent, for as long as it lives.
    """
    ratios: list[float] = []
    turn, n_quads = {}, 1
    while len(ratios) < n_quads:
        with forked(workers, name, cores, timed=not turn) as of_one:
            if not turn:
                turn, n_quads = divide(seconds, of_one)
            ratios.append(_ratio(workers, len(cores) > 1, turn, abba(generator)))
    return float(np.median(ratios))


@contextmanager
def forked(workers: list[Worker], name: str, cores: list[int], timed: bool) -> Iterator[float]:
    """Have each worker fork a process for a case; yields the seconds of a call if they are to be timed, else 0."""
    started, missing, seconds = [], "", []
    try:
        for worker in workers:
            answer = worker.ask(case=name, cores=cores, timed=timed)
            if "missing" in answer:
                missing = f"{worker.side.name} lacks it: {answer['missing']}"
                worker.answer()  # that the process is gone
                break
            started.append(worker)
            seconds.append(answer["seconds"])
        if missing:
            raise MissingCase(missing)
        yield min(seconds)
    finally:
        for worker in started:
            if worker.process.poll() is None:
                worker.ask(end=True)


def _ratio(workers: list[Worker], waits: bool, turn: dict[str, int], order: str) -> float:
    """Return the log ratio of four turns, head over base."""
    total = 0.0
    for side in order:
        if waits:
            time.sleep(PAUSE)
        slices = workers["AB".index(side)].ask(**turn)["slices"]
        total += math.log(verdicts.turn_figure(slices)) * (1 if side == "B" else -1)
    return total / 2


def divide(seconds: float, of_one: float) -> tuple[dict[str, int], int]:
    """Return a turn and how many ABBAs there are in so many seconds, for calls that take `of_one` seconds each.

    A turn is the same work for both sides: so many slices of so many calls.
    """
    number = max(1, round(SLICE / of_one))
    slices = max(1, round(min(TURN, seconds / 4 / FEWEST_QUADS) / (number * of_one)))
    return {"number": number, "slices": slices}, max(1, round(seconds / (4 * slices * number * of_one)))
