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
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import verdicts
from .sides import Side, environment

TURN = 0.005  # seconds, if a call is not longer: short beside what else the machine does
TURN_AFTER_PAUSE = 0.02  # seconds: twice as long as the pause
SLICE = 0.00025  # seconds, if a call is not longer: some of many short slices are not disturbed
FORK = 0.25  # seconds that forked processes are measured, at most, if a call is not longer
FEWEST_FORKS = 3  # if calls are short: the median leaves out one that was unlucky
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
    """Return the order of four turns, at random; neither side has the later ones."""
    return generator.choice(("ABBA", "BAAB"))


def measure_pair(workers: list[Worker], name: str, cores: list[int], seconds: float, generator: random.Random) -> float:
    """Return the log ratio of a case, the median over forks, which are measured for so many seconds together.

    Processes are forked anew several times: where a process's memory comes to lie makes it slower than the next by some
    per cent, for as long as it lives.
    """
    pause, turn = (PAUSE, TURN_AFTER_PAUSE) if len(cores) > 1 else (0.0, TURN)
    ratios: list[float] = []
    plan = None
    while plan is None or len(ratios) < plan.forks:
        with forked(workers, name, cores, timed=plan is None) as of_one:
            plan = plan or divide(seconds, of_one, turn)
            orders = [abba(generator) for _ in range(plan.quads)]
            ratios.append(_ratio(workers, pause, plan, "".join(orders)))
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


def _ratio(workers: list[Worker], pause: float, plan: Plan, order: str) -> float:
    """Return the log ratio of turns in that order, head over base."""
    slices: dict[str, list[float]] = {"A": [], "B": []}
    for side in order:
        time.sleep(pause)
        slices[side] += workers["AB".index(side)].ask(number=plan.number, slices=plan.slices)["slices"]
    return math.log(verdicts.figure_of(slices["B"])) - math.log(verdicts.figure_of(slices["A"]))


@dataclass(frozen=True)
class Plan:
    """How the seconds of a pair are divided, the same for both sides.

    number  calls of a slice
    slices  slices of a turn
    quads   ABBAs of a fork
    forks   how often processes are forked
    """

    number: int
    slices: int
    quads: int
    forks: int


def divide(seconds: float, of_one: float, of_a_turn: float) -> Plan:
    """Return how so many seconds are divided into turns, for calls that take `of_one` seconds each."""
    number = max(1, round(SLICE / of_one))
    slices = max(1, round(of_a_turn / (number * of_one)))
    quad = 4 * slices * number * of_one
    quads = max(1, round(min(FORK, seconds / FEWEST_FORKS) / quad))
    return Plan(number, slices, quads, max(1, round(seconds / (quads * quad))))
