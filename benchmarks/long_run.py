"""Train, predict and refit for an hour, and fail if the process grows.

    python benchmarks/long_run.py [--minutes 60] [--warm-up 1] [--bound 8] [--threads N]

Every round goes through dense arrays, bytes, CSR matrices, memory-mapped files, single rows, pieces, files, pickles,
checkpoints, errors, and an estimator's refits where scikit-learn is there.  Memory is the process's resident set after
a collection of garbage.  The warm-up, in which kernels are loaded and allocators fill their pools, does not count: the
median of the last tenth of the rounds is compared with that of the first tenth after it.
"""

import argparse
import contextlib
import gc
import pickle
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import scipy.sparse

import fastmlp

LINE_EVERY = 1.0  # minutes between two lines of output


def resident() -> float:
    """MB that the process has in memory."""
    gc.collect()
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def ends(values: list[float]) -> tuple[float, float]:
    """The medians of the first and of the last tenth."""
    part = max(1, len(values) // 10)
    return statistics.median(values[:part]), statistics.median(values[-part:])


class Rounds:
    """Calls of the library, one kind after the other, on data of changing sizes."""

    def __init__(self, folder: Path, threads: int | None):
        self.folder, self.threads, self.rng = folder, threads, np.random.default_rng(0)
        self.kept = fastmlp.train(*self.data(500), hidden=(64,), epochs=1, seed=0, threads=threads, progress=False)
        np.save(folder / "x.npy", self.rng.random((5000, 40), np.float32))
        self.kinds = [
            self.dense,
            self.bytes,
            self.sparse,
            self.mapped,
            self.pieces,
            self.files,
            self.resumed,
            self.errors,
        ]
        with contextlib.suppress(ImportError):
            self.estimator = fastmlp.MLPClassifier(
                hidden_layer_sizes=(30,), max_iter=2, warm_start=True, tol=0, n_iter_no_change=1000, random_state=0
            )
            self.kinds.append(self.refits)

    def data(self, n: int, n_features: int = 40):
        return self.rng.standard_normal((n, n_features)).astype(np.float32), np.arange(n) % 5

    def train(self, x, y, **arguments):
        settings = {"hidden": (50, 20), "epochs": 2, "threads": self.threads, "progress": False}
        return fastmlp.train(x, y, **{**settings, **arguments})

    def size(self) -> int:
        return int(self.rng.integers(200, 3000))

    def dense(self) -> None:
        x, y = self.data(self.size())
        model = self.train(x, y, optimizer="adam", dropout=0.2, validation=0.2, input_scale="standardize")
        model.predict(x), model.predict_proba(x), model.evaluate(x, y)
        for i in range(50):
            model.predict(x[i : i + 1])

    def bytes(self) -> None:
        x, y = self.data(self.size())
        model = self.train((x > 1).astype(np.uint8), y, batch_size=int(self.rng.integers(1, 300)), metrics=("top_2",))
        model.predict((x > 1).astype(np.uint8))

    def sparse(self) -> None:
        x, y = self.data(self.size(), 200)
        matrix = scipy.sparse.csr_matrix(x * (x > 1))
        model = self.train(matrix, y, clip_norm=1.0, l2=1e-4)
        model.predict(matrix), model.evaluate(matrix, y)

    def mapped(self) -> None:
        x = np.load(self.folder / "x.npy", mmap_mode="r")
        self.train(x, np.arange(5000) % 3, shuffle_buffer=700)

    def pieces(self) -> None:
        x, y = self.data(self.size())
        for start in range(0, len(x), 100):
            self.kept.partial_fit(x[start : start + 100], y[start : start + 100], batch_size=32, learning_rate=1e-4)
            self.kept.predict(x[start : start + 1])

    def files(self) -> None:
        path = self.folder / "model.safetensors"
        self.kept.save(path)
        fastmlp.load(path).predict(self.data(300)[0])
        pickle.loads(pickle.dumps(self.kept)).partial_fit(*self.data(300), learning_rate=1e-4)

    def resumed(self) -> None:
        x, y = self.data(500)
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            for epochs in (1, 2):
                self.train(x, y, epochs=epochs, checkpoint=folder, seed=0, learning_rate=0.01)

    def errors(self) -> None:
        x, y = self.data(500)
        with contextlib.suppress(fastmlp.DivergenceError):
            self.train(x, y, learning_rate=1e38)
        with contextlib.suppress(ValueError):
            self.train(x * np.nan, y)
        with contextlib.suppress(ValueError):
            self.kept.partial_fit(x, y + 9)

    def refits(self) -> None:
        x, y = self.data(self.size())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it has not converged
            self.estimator.fit(x, y).predict(x)

    def run(self) -> None:
        for kind in self.kinds:
            kind()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="how long to run, the warm-up included (60)")
    parser.add_argument("--warm-up", type=float, default=1, help="minutes before memory counts (1)")
    parser.add_argument("--bound", type=float, default=8, help="MB by which the process may grow after that (8)")
    parser.add_argument("--threads", type=int, help="number of threads (all cores)")
    options = parser.parse_args(arguments)
    if not 0 < options.warm_up < options.minutes:
        parser.error("--warm-up must be above 0 and less than --minutes")
    start = time.monotonic()

    def minutes() -> float:
        return (time.monotonic() - start) / 60

    with tempfile.TemporaryDirectory() as folder:
        rounds, samples, printed = Rounds(Path(folder), options.threads), [], -np.inf
        while minutes() < options.minutes:
            rounds.run()
            samples.append((minutes(), resident()))
            if samples[-1][0] >= printed + LINE_EVERY:
                printed = samples[-1][0]
                print(f"{printed:6.1f} min  {len(samples):6d} rounds  {samples[-1][1]:8.1f} MB", flush=True)
    warm = [megabytes for when, megabytes in samples if when > options.warm_up]
    if len(warm) < 10:
        print(f"only {len(warm)} rounds after the warm-up: run longer", file=sys.stderr)
        return 2
    first, last = ends(warm)
    print(f"{first:.1f} MB after the warm-up, {last:.1f} MB at the end: {last - first:+.1f} MB in {len(warm)} rounds")
    if last - first > options.bound:
        print(f"the process grew by more than {options.bound:g} MB", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
