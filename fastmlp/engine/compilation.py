"""Compile the regions that a training run needs, in two processes at once where there are two cores."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from numba.core import config

from fastmlp.engine.cpu_limits import default_threads
from fastmlp.kernels import jit
from fastmlp.kernels.step import regions

# Seconds that each region takes to compile in a process of its own, on a core of 3 to 4 GHz: the work is split by them.
SECONDS = {
    "dense_first_forward": 3.1, "grouped_first_forward": 2.7, "sparse_first_forward": 2.9,
    "dense_first_update": 1.4, "grouped_first_update": 1.6, "sparse_first_update": 1.8,
    "inner_forward": 2.1, "row_forward": 1.5, "inner_backward": 3.0, "row_backward": 2.1,
    "cross_entropy_rows": 1.1, "softmax_mse_rows": 1.1, "notebook_rows": 1.1, "elementwise_rows": 1.0,
    "deferred_update": 1.7, "scaled_update": 2.5, "finish_tiles": 1.3, "weigh_rows": 0.8,
    "parameter_average": 0.7,
}  # fmt: skip
# What pixels and labels take, as in MNIST.
USUAL = ("grouped_first_forward", "grouped_first_update", "inner_forward", "inner_backward", "cross_entropy_rows")
HERE_ALREADY = 1.5  # seconds that this process has to compile in any case: `train_steps`, and a check of the lists
WORTH_A_PROCESS = 3.0  # seconds of compiling from which on a second process pays: it takes 0.7 s to import Numba

_CODE = "import sys; from fastmlp.kernels.step import regions as r; [getattr(r, name).address for name in sys.argv[1:]]"


def compile_regions(names: list[str], announce: bool = False) -> None:
    """Compile the regions of these names, or load them from the cache.

    Parameters
    ----------
    names : list of str
        Of `fastmlp.kernels.step.regions`.
    announce : bool
        Say on standard error that compiling takes its time, if it does.
    """
    missing = sorted((name for name in set(names) if not getattr(regions, name).is_ready), key=SECONDS.__getitem__)
    if missing and not config.DISABLE_JIT:
        ours, theirs = split(missing) if _can_share() else (missing, [])
        with _announced(_total(ours) + HERE_ALREADY, announce), _second_process(theirs):
            for name in ours:
                _ = getattr(regions, name).address
    # what the second process has compiled is loaded from the cache; what it could not compile is compiled here
    for name in names:
        _ = getattr(regions, name).address


def split(names: list[str]) -> tuple[list[str], list[str]]:
    """Split regions between this process and a second one, so that both take equally long."""
    ours: list[str] = []
    theirs: list[str] = []
    if _total(names) >= WORTH_A_PROCESS:
        for name in sorted(names, key=SECONDS.__getitem__, reverse=True):
            (ours if _total(ours) + HERE_ALREADY <= _total(theirs) else theirs).append(name)
        return ours, theirs
    return names, []


def _total(names: list[str]) -> float:
    return sum(SECONDS[name] for name in names)


def _can_share() -> bool:
    """Return whether a second process may compile: there is a core for it, a cache to share, and a Python to run."""
    is_python = re.fullmatch(r"python[\d.]*(\.exe)?", Path(sys.executable or "").name.lower()) is not None
    is_worker = multiprocessing.parent_process() is not None  # its siblings have the other cores
    return is_python and not is_worker and jit.is_cache_writable() and default_threads() > 1


@contextlib.contextmanager
def _second_process(names: list[str]) -> Iterator[None]:
    """Have another process compile these regions into the cache meanwhile."""
    if not names:
        yield
        return
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", _CODE, *names], env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except OSError:  # no process to be had
        yield
        return
    try:
        yield
        process.wait()
    finally:
        process.kill()  # after Ctrl-C, or an error of ours
        process.wait()


@contextlib.contextmanager
def _announced(seconds: float, announce: bool) -> Iterator[None]:
    """Say on standard error what is going on; on a terminal, how long it took."""
    if not announce or sys.stderr is None:
        yield
        return
    start, is_terminal = time.perf_counter(), sys.stderr.isatty()
    text = f"compiling kernels for this processor, once: about {max(2, round(seconds))} s"
    print(text, end=" ... " if is_terminal else "\n", file=sys.stderr, flush=True)
    yield
    if is_terminal:
        print(f"done in {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
