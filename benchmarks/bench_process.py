"""Whole processes: what starting, compiling and training take, and what training on MNIST comes to."""

import os
import statistics
import subprocess
import sys
import tempfile
import time

import fastmlp

from . import data

FIRST_CALL = """
import time, fastmlp
mnist, train = fastmlp.load_mnist(), fastmlp.train  # which imports what it needs
start = time.perf_counter()
train(mnist.x_train[:128], mnist.y_train[:128], epochs=1, threads=1, progress=False)
print(time.perf_counter() - start)
"""
PEAK = """
import fastmlp
mnist = fastmlp.load_mnist()
fastmlp.train(mnist.x_train, mnist.y_train, epochs=1, validation=(mnist.x_test, mnist.y_test), progress=False)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def _run(code: str, **variables: str) -> str:
    """What a new process prints."""
    environment = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
    ).stdout


def _seconds(code: str) -> float:
    start = time.perf_counter()
    _run(code)
    return time.perf_counter() - start


class Process:
    """Tracked figures of new processes."""

    timeout = 300
    version = "1"

    def track_cold_compile(self):
        """Seconds of the first training of all, with nothing in the cache."""
        with tempfile.TemporaryDirectory() as folder:
            return float(_run(FIRST_CALL, NUMBA_CACHE_DIR=folder))

    track_cold_compile.unit = "s"

    def track_first_call(self):
        """Seconds of the first training in a process, compiled code cached."""
        _run(FIRST_CALL)
        return statistics.median(float(_run(FIRST_CALL)) for _ in range(7))

    track_first_call.unit = "s"

    def track_import(self):
        """`from fastmlp import train` over `import numba`, whole processes."""
        pairs = [(_seconds("from fastmlp import train"), _seconds("import numba")) for _ in range(9)][1:]
        return statistics.median(a / b for a, b in pairs)

    track_import.unit = "times numba's"

    def track_peak_memory(self):
        """Peak resident memory of a training on MNIST."""
        if not os.path.exists("/proc/self/status"):
            raise NotImplementedError("needs /proc")
        return int(_run(PEAK)) / 1024

    track_peak_memory.unit = "MB"


class Accuracy:
    """The error rate on the test set after a fixed recipe; it has no noise, and does not depend on threads."""

    unit = "%"
    timeout = 120
    version = "1"

    @data.missing
    def setup(self):
        mnist = fastmlp.load_mnist()
        self.model = fastmlp.train(
            mnist.x_train, mnist.y_train, epochs=3, batch_size=64, learning_rate=0.2, seed=0, progress=False
        )
        self.test = mnist.x_test, mnist.y_test

    def track_error_rate(self):
        return 100 * (1 - self.model.evaluate(*self.test).accuracy)
