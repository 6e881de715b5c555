"""What is compared: epochs, kernels, prediction, and the first call; by name, as a worker makes and times them.

Names can be listed without fastmlp.  What a commit lacks raises `Missing`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

EPOCHS = [
    ("784-128-10 mnist", 128), ("784-128-10 mnist", 16), ("784-128-10 mnist", 1),
    ("784-128-10 csr", 128), ("784-128-10 normal", 128),
    ("784-512-512-10 mnist", 128), ("784-512-512-10 normal", 128), ("20-64-64-1 table", 16),
]  # fmt: skip
THREADS = [1, 2]
PREDICTIONS = [(call, pixels, n) for n in (10_000, 10, 1) for pixels in ("uint8", "float32")
               for call in ("predict", "predict_proba")]  # fmt: skip
SHAPES = [(128, 784, 128), (127, 300, 65), (17, 784, 64)]
KERNELS = [
    "dense_forward", "dense_backward_input", "dense_update", "dense_forward_row", "dense_backward_row",
    "make_lists", "make_lists_from_words", "grouped_add", "grouped_update",
    "find_nonzeros", "copy_nonzeros", "sort_nonzeros",
    "sparse_forward", "sparse_update", "sparse_update_row", "dense_update_adam", "bias_update", "transpose",
    "make_words", "finish_forward", "prepare_rows", "prepare_entries", "penalize", "update_strip", "limit_norms",
    "weigh", "activate", "scale_gradient", "update_scaled", "average_parameters", "flush_subnormals",
]  # fmt: skip
LOSSES = [(loss, n) for loss in ("cross_entropy", "softmax_mse", "notebook", "mse", "binary_cross_entropy")
          for n in (10, 100, 2)]  # fmt: skip
ERRORS = AttributeError, ImportError, KeyError, NotImplementedError, TypeError  # of what a commit lacks
FIRST_CALL = "first call, compiled code cached"
SECONDS = {"epoch": 0.75, "predict": 0.5, "predict_proba": 0.5, "kernel": 0.18, "loss": 0.18, "first": 0.5}  # by kind


def names() -> list[str]:
    """Return the names of all cases, the most important first: a small budget leaves out the last."""
    epochs = [
        f"epoch, {case}, batch {batch}, {threads} thread{'s' * (threads > 1)}"
        for threads in THREADS
        for case, batch in EPOCHS
    ]
    predictions = [f"{call}, {pixels}, {n} samples" for call, pixels, n in PREDICTIONS]
    kernels = [f"kernel {kernel}, {'x'.join(map(str, shape))}" for shape in SHAPES for kernel in KERNELS]
    losses = [f"loss {loss}, {n} outputs" for loss, n in LOSSES]
    first = len(KERNELS)
    return epochs + predictions + kernels[:first] + losses + [FIRST_CALL] + kernels[first:]


def threads_of(name: str) -> int:
    """Return the number of threads that a case runs on."""
    return 2 if name.endswith("2 threads") else 1


def seconds_of(name: str) -> float:
    """Return for how long a pair of processes measures a case, both sides together.

    A call that takes a large part of a turn has to be measured for longer than a kernel, whose turn has many slices.
    """
    return SECONDS[kind_of(name)]


class Missing(Exception):
    """The commit lacks what the case measures."""


@dataclass
class Piece:
    """A case that is ready to be timed; `slice(number)` returns the mean seconds of so many calls of it.

    uses_core_time   what is timed is the core's time for this process, not the clock's
    seconds          what a call takes, more or less; None: to be measured
    """

    slice: Callable[[int], float]
    uses_core_time: bool
    seconds: float | None = None


def kind_of(name: str) -> str:
    """Return the kind of a case: the first word of its name."""
    return name.replace(",", " ").split()[0]


def load(kinds: Iterable[str]) -> None:
    """Import what cases of these kinds are made of, with compiled code, before a worker forks."""
    from benchmarks import data  # noqa: F401

    if {"kernel", "loss"} & set(kinds):
        from benchmarks import bench_kernels  # noqa: F401
    for call in {"predict", "predict_proba"} & set(kinds):
        from benchmarks import bench_predict

        for pixels in ("uint8", "float32"):
            for n_samples in (1, 100):
                with suppress(*ERRORS):
                    bench_predict.prediction_call(call, pixels, n_samples)()


def make(name: str) -> Piece:
    """Return the case of that name, set up; compiled code is loaded by its first call."""
    try:
        if name.startswith("epoch"):
            return _epoch(name)
        if name == FIRST_CALL:
            return Piece(_first_calls, True, 1.0)
        return Piece(_timed(_call(name)), True)
    except ERRORS as error:
        raise Missing(f"{type(error).__name__}: {error}") from error


def _epoch(name: str) -> Piece:
    from benchmarks import data

    _, case, batch, _ = name.split(", ")
    epoch = data.Epoch(case, int(batch.split()[1]), threads_of(name), "fastmlp")
    epoch.seconds()
    return Piece(lambda number: sum(epoch.seconds() for _ in range(number)) / number, threads_of(name) == 1)


def _call(name: str) -> Callable[[], object]:
    """Return what is timed, a call without arguments."""
    from benchmarks import bench_kernels, bench_predict

    kind, *rest = name.split(", ")
    if kind.startswith("kernel "):
        call = bench_kernels.kernel_call(kind.split()[1], tuple(map(int, rest[0].split("x"))))
    elif kind.startswith("loss "):
        call = bench_kernels.loss_call(kind.split()[1], int(rest[0].split()[0]))
    else:
        call = bench_predict.prediction_call(kind, rest[0], int(rest[1].split()[0]))
    call()
    return call


def _timed(call: Callable[[], object]) -> Callable[[int], float]:
    def seconds(number: int) -> float:
        start = time.process_time()
        for _ in range(number):
            call()
        return (time.process_time() - start) / number

    return seconds


def _first_calls(number: int) -> float:
    from benchmarks.bench_process import FIRST_CALL as CODE

    # isolated as the worker is; the time is the core's, as that of other cases
    isolated = "from benchmarks.duet import worker; worker.isolate()\n"
    code = isolated + CODE.replace("perf_counter", "process_time")
    total = 0.0
    for _ in range(number):
        run = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True, env={**os.environ}
        )
        total += float(run.stdout)
    return total / number
