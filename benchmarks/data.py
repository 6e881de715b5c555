"""What the benchmarks work on, from fixed seeds, in memory before anything is timed.

All of it is made, and compiled code is loaded, when this module is imported: asv imports it once, and forks a process
for every benchmark.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import time
from collections import namedtuple
from contextlib import ExitStack, contextmanager, suppress

import numpy as np

import fastmlp

# A network, the kind of its input, and how many samples an epoch goes through.
Case = namedtuple("Case", "hidden kind")
CASES = {
    f"{'-'.join(map(str, (n_in, *hidden, n_out)))} {kind}": Case(hidden, kind)
    for n_in, hidden, n_out, kinds in [
        (784, (128,), 10, ("mnist", "normal", "csr")),
        (784, (512, 512), 10, ("mnist", "normal", "csr")),
        (20, (64, 64), 1, ("table", "table-csr")),
    ]
    for kind in kinds
}
BATCH_SIZES = [1, 16, 128, 1024]
# The tests of the suite want to know that everything runs, not how fast.
ONCE = "FASTMLP_BENCHMARKS_ONCE" in os.environ
PROCESSES, SECONDS = (1, 0.0) if ONCE else (6, 0.4)  # of what is measured in turns, each
N_SAMPLES = {1: 256, 16: 2048, 128: 8192, 1024: 8192}  # of an epoch, by batch size; fewer for the large network


@functools.cache
def samples(kind: str):
    """Features and targets, max(N_SAMPLES) of them, of which every page has been written to."""
    n, rng = max(N_SAMPLES.values()), np.random.default_rng(0)
    if kind.startswith("table"):
        x = rng.standard_normal((n, 20), np.float32)
        y = np.sin(x).sum(axis=1, keepdims=True).astype(np.float32)
        if kind == "table-csr":
            x *= rng.random(x.shape) < 0.2
    else:
        mnist = fastmlp.load_mnist()
        x, y = mnist.x_train[:n].copy(), mnist.y_train[:n].copy()
        if kind == "normal":
            x = rng.standard_normal(x.shape, np.float32)
        elif kind == "csr":
            x = x.astype(np.float32) / np.float32(255)
    if kind.endswith("csr"):
        from scipy.sparse import csr_matrix

        x = csr_matrix(x)
    return x, y


def dense(x):
    """`x` for the reference, which takes arrays alone."""
    return x.toarray() if hasattr(x, "toarray") else x


@functools.cache
def initial(n_in: int, hidden: tuple, n_out: int):
    """Weights and biases that every training starts from."""
    from .internals import initialize

    weights, biases = initialize((n_in, *hidden, n_out), "he", np.random.default_rng(0))
    return list(zip(weights, biases))


@contextmanager
def blas_threads(threads: int):
    """NumPy's BLAS on so many threads."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(threads, user_api="blas"):
        yield


class Epoch:
    """An epoch of one of the cases, in fastmlp or the reference, always from the same weights."""

    def __init__(self, case: str, batch_size: int, threads: int, library: str):
        hidden, kind = CASES[case]
        x, y = samples(kind)
        n = max(batch_size, N_SAMPLES[batch_size] // (4 if hidden == (512, 512) else 1))
        self.x, self.y = x[:n], y[:n]
        n_out = 1 if kind.startswith("table") else 10
        self.threads, self.library = threads, library
        self.arguments = {
            "hidden": hidden, "batch_size": batch_size, "epochs": 1, "seed": 0, "learning_rate": 0.01,
            "init": initial(x.shape[1], hidden, n_out), "progress": False,
        }  # fmt: skip
        if library == "reference":
            self.x = dense(self.x)

    def seconds(self) -> float:
        """Seconds of training; what is done before and after it is left out."""
        if self.library == "reference":
            with blas_threads(self.threads):
                model = fastmlp.reference.train(self.x, self.y, **self.arguments)
        else:
            model = fastmlp.train(self.x, self.y, threads=self.threads, **self.arguments)
        return model.history["seconds"][0]


@contextmanager
def new_process(make, *arguments):
    """Yields a function that calls what `make(*arguments)` has returned in a new process, and returns the result."""
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe()

    def answer() -> None:
        ours.close()  # or it would wait on after the other process has been killed
        measure = make(*arguments)
        while theirs.recv():
            theirs.send(measure())

    def ask():
        ours.send(True)
        return ours.recv()  # EOFError if the process failed

    child = fork.Process(target=answer, daemon=True)
    child.start()
    theirs.close()
    yield ask
    ours.send(False)
    child.join()


def in_processes(make, *arguments):
    """What `make(*arguments)()` returns in each of PROCESSES processes, one after the other.

    Where memory happens to lie makes one process faster than the next by some per cent, for as long as it lives; a
    figure of a single one would be off by as much.
    """
    figures = []
    for _ in range(PROCESSES):
        with new_process(make, *arguments) as ask:
            figures.append(ask())
    return figures


def epoch_over_reference(case: str, batch_size: int, threads: int) -> float:
    """An epoch's time in fastmlp over that in the reference."""
    return _least_over_least(in_processes(_epoch_and_reference, case, batch_size, threads))


def _least_over_least(times: list[tuple[float, float]]) -> float:
    """The least of the first times, one per process, over the least of the second.

    The ratio of a median process depends on what else the machine does, and moves by 10% from one minute to the next.
    """
    ours, theirs = zip(*times)
    return min(ours) / min(theirs)


def _epoch_and_reference(case: str, batch_size: int, threads: int):
    """A function that returns the least time of each in this process."""
    ours, theirs = (Epoch(case, batch_size, threads, library) for library in ("fastmlp", "reference"))

    def measure() -> tuple[float, float]:
        for epoch in (ours, theirs):
            epoch.seconds()
        # turns of about the same time, as the shorter epoch is the one that is disturbed more
        number = max(1, min(4, round(theirs.seconds() / ours.seconds())))
        times, start = [], time.perf_counter()
        while len(times) < 7 or time.perf_counter() - start < SECONDS:
            times.append((min(ours.seconds() for _ in range(number)), theirs.seconds()))
            # threads of BLAS spin on for a while after a product, and would take a core from what is timed next
            time.sleep(0.2 if threads > 1 else 0)
        a, b = zip(*times)
        return min(a), min(b)

    return measure


def epoch_spread(case: str, batch_size: int, threads: int) -> float:
    """An epoch's time in the slowest of PROCESSES processes over that in the fastest, the least times of each.

    The processes take turns of an epoch, so that what else the machine does affects all of them.
    """
    with ExitStack() as stack:
        arguments = case, batch_size, threads, "fastmlp"
        epochs = [stack.enter_context(new_process(_epoch_seconds, *arguments)) for _ in range(PROCESSES)]
        turns, start = [], time.perf_counter()
        while len(turns) < 7 or time.perf_counter() - start < PROCESSES * SECONDS:
            turns.append([seconds() for seconds in epochs])
    least = np.min(turns, axis=0)
    return float(least.max() / least.min())


def _epoch_seconds(*arguments):
    """A function that returns the seconds of an epoch; what compiles is done."""
    epoch = Epoch(*arguments)
    epoch.seconds()
    return epoch.seconds


def call_over_product(make, arguments, shape) -> float:
    """The time of `make(*arguments)()` over that of a product in NumPy, on one thread each.

    `shape` is that of the product: (m, k) times (k, n) in float32.
    """
    return _least_over_least(in_processes(_call_and_product, make, arguments, shape))


def _call_and_product(make, arguments, shape):
    """A function that returns the least time of each in this process.  They take turns of 0.25 ms."""
    call, rng = make(*arguments), np.random.default_rng(0)
    x, weight, out = (rng.random(size, np.float32) for size in (shape[:2], shape[1:], shape[::2]))

    def product() -> None:
        np.dot(x, weight, out=out)

    def measure() -> tuple[float, float]:
        with blas_threads(1):
            numbers = [_calls_of(function, 2.5e-4) for function in (call, product)]
            pairs, start = [], time.perf_counter()
            while len(pairs) < 15 or time.perf_counter() - start < SECONDS:
                pairs.append([_mean_time(*turn) for turn in zip((call, product), numbers)])
        calls, products = zip(*pairs)
        return min(calls), min(products)

    return measure


def _calls_of(function, seconds: float) -> int:
    """How many calls of a function take so long, at least one."""
    _mean_time(function, 1)
    number = 1
    while (taken := _mean_time(function, number) * number) < seconds / 4:
        number *= 4
    return max(1, round(number * seconds / taken))


def _mean_time(function, number: int) -> float:
    start = time.perf_counter()
    for _ in range(number):
        function()
    return (time.perf_counter() - start) / number


def missing(function):
    """Decorate a `setup`: what the commit that is measured does not have yet is skipped, not failed."""

    @functools.wraps(function)
    def setup(*arguments):
        try:
            return function(*arguments)
        except (AttributeError, ImportError, TypeError) as error:
            raise NotImplementedError(f"not in this version: {error}") from error

    return setup


def _prepare() -> None:
    """Make all data, and load what is compiled on one thread: an OpenMP thread_scope would not survive the fork."""
    for kind in {case.kind for case in CASES.values()}:
        with suppress(ImportError):  # SciPy, which older versions did not need
            x, y = samples(kind)
            for batch_size in (1, 16):
                with suppress(AttributeError, ImportError, TypeError):  # what a version lacks is skipped, see `missing`
                    fastmlp.train(
                        x[:32], y[:32], batch_size=batch_size, epochs=1, learning_rate=1e-3, threads=1, progress=False
                    )


_prepare()
