"""Two sides take turns: a process for each, pinned to the same cores, and pieces of work in random order."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from . import verdicts
from .sides import Side, environment

TURN = 0.06  # seconds
SLICE = 0.002  # seconds: some tens of a turn, short beside what a scheduler gives a process
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


def abba(n: int, generator: random.Random) -> list[str]:
    """Return the order of 4 n turns: ABBA or BAAB at random, n times."""
    return [side for _ in range(n) for side in generator.choice(("ABBA", "BAAB"))]


def measure_pair(workers: list[Worker], name: str, cores: list[int], order: list[str]) -> float:
    """Return the log ratio of a case, from one forked process of each side that take turns in this order."""
    started, missing = [], ""
    try:
        for worker in workers:
            answer = worker.ask(case=name, cores=cores)
            if "missing" in answer:
                missing = f"{worker.side.name} lacks it: {answer['missing']}"
                worker.answer()  # that the process is gone
                break
            started.append((worker, answer["seconds"]))
        if missing:
            raise MissingCase(missing)
        turn = _turn(min(seconds for _, seconds in started))
        slices: dict[str, list[list[float]]] = {"A": [], "B": []}
        for side in order:
            if len(cores) > 1:
                time.sleep(PAUSE)
            slices[side].append(workers["AB".index(side)].ask(**turn)["slices"])
        return verdicts.pair_figure(slices["A"], slices["B"], order)
    finally:
        for worker, _ in started:
            if worker.process.poll() is None:
                worker.ask(end=True)


def _turn(seconds: float) -> dict[str, int]:
    """The same work for both sides: so many slices of so many calls."""
    number = max(1, round(SLICE / seconds))
    return {"number": number, "slices": max(1, round(TURN / (number * seconds)))}
