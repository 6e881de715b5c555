"""Measure fastmlp against NumPy on this machine, and print a table.

    python benchmarks/measure.py [--threads N] [--repeats N] [--avx2] [ROW ...]

Every ratio is the median of alternating pairs, after a warm-up, with the same data, the same number of steps and the
same number of threads on both sides.  Leave the machine alone meanwhile.  ROWs are names of the first column.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time


def load(threads: int, repeats: int, avx2: bool) -> None:
    """Import what is measured, after the settings that NumPy reads, and make the data."""
    global np, fastmlp, reference, notebook_data, mnist, normal, pixels, options
    import environment  # beside this file

    environment.prepare(threads, avx2)
    import numpy as np

    import fastmlp
    from fastmlp import reference
    from fastmlp.notebook import notebook_data

    options = argparse.Namespace(threads=threads, repeats=repeats)
    mnist = fastmlp.load_mnist()
    normal = np.random.default_rng(0).standard_normal((60_000, 784), np.float32)
    pixels = mnist.x_train.astype(np.float32) / np.float32(255)


def seconds(function) -> float:
    """What a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def pairs(ours, theirs, repeats=None):
    """Median ratio of alternating runs, and the median seconds of both."""
    ours(), theirs()
    times = []
    for _ in range(repeats or options.repeats):
        a, b = ours(), theirs()
        # threads of BLAS spin on for a while after a product, and would take a core from what is timed next
        time.sleep(0.2 if options.threads > 1 else 0)
        times.append((a, b))
    a, b = np.array(times).T
    return np.median(a / b), np.median(a), np.median(b)


def epoch(x, repeats=None, their_samples=None, their_x=None, **arguments):
    """An epoch's training time, fastmlp over the reference.

    `their_samples`: how many samples the reference is timed on, its time scaled up, where the batch is so small that it
    takes long.
    """
    arguments = {"epochs": 1, "seed": 0, "hidden": (128,), "progress": False, **arguments}
    y = mnist.y_train
    n, their_x = their_samples or len(y), x if their_x is None else their_x

    def theirs():
        model = reference.train(their_x[:n], y[:n], **arguments)
        return model.history["seconds"][0] * len(y) / n

    def ours():
        return fastmlp.train(x, y, threads=options.threads, **arguments).history["seconds"][0]

    ratio, a, b = pairs(ours, theirs, repeats)
    return f"{ratio:.3f}", f"{1e3 * a:.1f} ms against {1e3 * b:.1f} ms"


def dot_rate() -> float:
    """GFLOP/s of numpy.dot, 2048 x 2048 in float32."""
    a = np.random.default_rng(0).standard_normal((2048, 2048), np.float32)
    return 2 * 2048**3 / seconds(lambda: a @ a) / 1e9


def rate(x):
    """GFLOP/s of training steps of 784-512-512-10, counting dense arithmetic, over those of numpy.dot."""
    layers = 784 * 512 + 512 * 512 + 512 * 10
    flop = len(x) * 2 * (3 * layers - 784 * 512)

    def ours():
        model = fastmlp.train(
            x, mnist.y_train, hidden=(512, 512), epochs=1, seed=0, threads=options.threads, progress=False
        )
        return flop / model.history["seconds"][0] / 1e9

    ratio, a, b = pairs(ours, dot_rate, 5)
    return f"{ratio:.2f}", f"{a:.0f} against {b:.0f} GFLOP/s"


def reproduce():
    """The notebook's 10,000 iterations, data loading apart, fastmlp over NumPy."""

    def theirs():
        train, validation = notebook_data(0)
        return seconds(lambda: reference.reproduce(*train, *validation))

    def ours():
        loading = seconds(lambda: notebook_data(0))
        return seconds(lambda: fastmlp.reproduce(seed=0, threads=options.threads)) - loading

    ratio, a, b = pairs(ours, theirs, 3)
    return f"{ratio:.3f}", f"{a:.2f} s against {b:.2f} s"


def notebook_accuracy():
    """The largest distance from the notebook's published validation accuracy at 500, 1000, ... 6000."""
    from fastmlp.notebook import PUBLISHED

    history = fastmlp.reproduce(6001, seed=0).history
    ours = dict(zip(history["validation_iteration"], history["validation_accuracy"]))
    return f"{max(abs(ours[i] - PUBLISHED[i][1]) for i in range(500, 6001, 500)):.3f}", "split 0"


def process(*command):
    """Seconds of a new process, the median of five."""
    run = [sys.executable, *command]
    times = [seconds(lambda: subprocess.run(run, check=True, capture_output=True)) for _ in range(6)]
    return float(np.median(times[1:]))


def prediction():
    """Labels of the 10,000 test images from bytes, over the first layer's product alone in NumPy."""
    model = fastmlp.train(mnist.x_train, mnist.y_train, epochs=1, seed=0, threads=options.threads)
    x, weight = mnist.x_test.astype(np.float32), model.weights[0].copy()
    ratio, a, b = pairs(lambda: seconds(lambda: model.predict(mnist.x_test)), lambda: seconds(lambda: x @ weight))
    return f"{ratio:.2f}", f"{1e3 * a:.1f} ms against {1e3 * b:.1f} ms"


def one_row():
    """Label of one image."""
    model, x = fastmlp.train(mnist.x_train, mnist.y_train, epochs=1, seed=0), mnist.x_test[:1]
    times = [seconds(lambda: [model.predict(x) for _ in range(1000)]) for _ in range(9)]
    return f"{1e3 * np.median(times[1:]):.1f} us", ""


def two_threads():
    """An epoch of 784-512-512-10 on standard-normal input, two threads over one."""

    def epoch_on(threads):
        arguments = {"hidden": (512, 512), "epochs": 1, "seed": 0, "threads": threads, "progress": False}
        return fastmlp.train(normal, mnist.y_train, **arguments).history["seconds"][0]

    ratio, a, b = pairs(lambda: epoch_on(2), lambda: epoch_on(1), 5)
    return f"{ratio:.2f}", f"{a:.2f} s against {b:.2f} s"


def importing():
    """`from fastmlp import train` over `import numba`, whole processes."""
    ours, numbas, nothing = (process("-c", f"import {name}") for name in ("fastmlp.train", "numba", "sys"))
    return f"{(ours - nothing) / (numbas - nothing):.2f}", f"{ours - nothing:.2f} s against {numbas - nothing:.2f} s"


def first_call():
    """The first call of `train`, one batch of MNIST, in a new process, compiled code cached."""
    code = (
        "import time, fastmlp; fastmlp.train; m = fastmlp.load_mnist(); x, y = m.x_train[:128], m.y_train[:128]\n"
        "start = time.perf_counter(); fastmlp.train(x, y, epochs=1); print(time.perf_counter() - start)"
    )
    run = [sys.executable, "-c", code]
    times = [float(subprocess.run(run, check=True, capture_output=True, text=True).stdout) for _ in range(6)]
    return f"{np.median(times[1:]):.2f} s", ""


def memory():
    """Peak resident memory of `fastmlp train`."""
    # not getrusage's figure, which begins with the parent's
    code = (
        "import fastmlp.cli; fastmlp.cli.main(['train', '--epochs', '2', '--quiet'])\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return f"{int(out.split()[-1]) / 1024:.0f} MB", ""


def train_command():
    """`fastmlp train` from the start of the process, compiled code cached."""
    return f"{process('-m', 'fastmlp', 'train'):.2f} s", ""


def on_csr():
    from scipy.sparse import csr_matrix

    return epoch(csr_matrix(pixels), their_x=pixels)


def rate_on_mnist():
    return rate(mnist.x_train)


ROWS = {
    "dense": ("epoch, 784-128-10, batch 128, standard-normal input, over the reference", lambda: epoch(normal)),
    "dense-rate": ("GFLOP/s of 784-512-512-10, same input, over numpy.dot's", lambda: rate(normal)),
    "mnist": ("epoch, 784-128-10, batch 128, MNIST uint8, over the reference", lambda: epoch(mnist.x_train)),
    "reproduce": ("the notebook's 10,000 iterations over the same in NumPy", reproduce),
    "notebook": ("distance from the notebook's validation accuracy", notebook_accuracy),
    "pixels": ("the same from float32 pixels", lambda: epoch(pixels)),
    "csr": ("the same from a CSR matrix of them", on_csr),
    "batch-16": ("the same from bytes, batch 16", lambda: epoch(mnist.x_train, batch_size=16, repeats=5)),
    "batch-1": (
        "the same, batch 1",
        lambda: epoch(mnist.x_train, batch_size=1, learning_rate=0.01, repeats=3, their_samples=6000),
    ),
    "mnist-rate": ("GFLOP/s of 784-512-512-10 on MNIST, counting dense arithmetic, over numpy.dot's", rate_on_mnist),
    "two-threads": ("epoch of 784-512-512-10, standard-normal input, two threads over one", two_threads),
    "prediction": ("labels of 10,000 images over the first layer's product in NumPy", prediction),
    "one-row": ("label of one image", one_row),
    "import": ("`from fastmlp import train` over `import numba`", importing),
    "first-call": ("first call of `train` in a new process", first_call),
    "memory": ("peak memory of `fastmlp train`", memory),
    "train-command": ("`fastmlp train`, whole process", train_command),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW")
    parser.add_argument("--threads", type=int, default=1, help="of fastmlp and of NumPy's BLAS (default: 1)")
    parser.add_argument("--repeats", type=int, default=11, help="pairs of each ratio (default: 11)")
    parser.add_argument("--avx2", action="store_true", help="no instruction beyond AVX2, on both sides")
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    arguments = parser.parse_args()
    if unknown := set(arguments.rows) - set(ROWS):
        parser.error(f"unknown rows {sorted(unknown)}; known are {', '.join(ROWS)}")
    load(arguments.threads, arguments.repeats, arguments.avx2)
    if arguments.json:
        found = {name: dict(zip(("value", "details"), ROWS[name][1]())) for name in arguments.rows or ROWS}
        print(json.dumps(found))
        return
    print(f"{options.threads} thread(s), NumPy {np.__version__}, numpy.dot {dot_rate():.0f} GFLOP/s")
    for name in arguments.rows or ROWS:
        title, measurement = ROWS[name]
        value, details = measurement()
        print(
            f"{name:15} {value:>8}  {title}  ({details})" if details else f"{name:15} {value:>8}  {title}", flush=True
        )


if __name__ == "__main__":
    main()
