"""The same training in fastmlp, NumPy, scikit-learn, PyTorch and JAX, whichever are installed: a table.

    python benchmarks/peers.py [--threads N] [--epochs N] [--repeats N] [--batch-size N] [--hidden N ...] [--avx2]

The same network, data, batch size, learning rate and number of epochs, on the same number of cores; the libraries take
turns.  The time of an epoch is the median over all of them, the first training of each apart, in which some compile.
Leave the machine alone meanwhile.
"""

from __future__ import annotations

import argparse
import json
import time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="cores, and threads of each library (default: 1)")
    parser.add_argument("--epochs", type=int, default=2, help="of one training (default: 2)")
    parser.add_argument("--repeats", type=int, default=5, help="trainings of each library (default: 5)")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--hidden", type=int, nargs="+", default=[128], help="widths of hidden layers (default: 128)")
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--avx2", action="store_true", help="no instruction beyond AVX2, in all libraries")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    import peer_libraries

    libraries = peer_libraries.load(options.threads, options.avx2)

    import numpy as np

    seconds, accuracies = {name: [] for name in libraries}, {name: [] for name in libraries}
    for repeat in range(options.repeats + 1):
        for name, train in libraries.items():
            times, accuracy = train(
                hidden=options.hidden, batch_size=options.batch_size, epochs=options.epochs, seed=repeat,
                learning_rate=options.learning_rate,
            )  # fmt: skip
            if repeat > 0:
                seconds[name] += times
                accuracies[name].append(accuracy)
            time.sleep(0.2 if options.threads > 1 else 0)  # threads that spin on would take a core from the next
    if options.json:
        found = {name: {"seconds": round(float(np.median(seconds[name])), 4)} for name in libraries}
        for name, row in found.items():
            row["accuracy"] = round(float(np.mean(accuracies[name])), 4)
        print(json.dumps({**vars(options), "libraries": found}))
        return
    widths = "-".join(map(str, (784, *options.hidden, 10)))
    print(f"MNIST, {widths}, batch {options.batch_size}, {options.threads} thread(s), {options.epochs} epochs")
    print(f"{'library':24} {'epoch':>9} {'times fastmlp':>14} {'test accuracy':>14}")
    fastest = np.median(seconds["fastmlp"])
    for name in sorted(libraries, key=lambda name: np.median(seconds[name])):
        epoch = np.median(seconds[name])
        print(f"{name:24} {epoch:7.3f} s {epoch / fastest:14.1f} {100 * np.mean(accuracies[name]):12.2f} %")


if __name__ == "__main__":
    main()
