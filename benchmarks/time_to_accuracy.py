"""The training time to a mean test accuracy of 98.0 % on MNIST with 784-128-10, in fastmlp and other libraries.

    python benchmarks/time_to_accuracy.py [--threads N] [--seeds N]

All take the same recipe: batches of BATCH_SIZE, plain SGD, a rate that rises linearly in the first steps and falls to
zero after.  It was chosen on a tenth of the training set that was held out; the test set is used for this report alone.
The time is that of the training loop, a mean over the seeds; the libraries take turns.  Leave the machine alone
meanwhile.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

BATCH_SIZE, EPOCHS, PEAK, WARMUP = 32, 4, 0.6, 0.1


@dataclass
class Warmup:
    """From a tenth of `peak` to it in the first share `warmup` of the training, then in a straight line to zero."""

    peak: float = PEAK
    warmup: float = WARMUP

    def rate(self, epoch, epochs):
        import numpy as np

        done = epoch / epochs
        rising, falling = 0.1 + 0.9 * done / self.warmup, (1 - done) / (1 - self.warmup)
        return self.peak * np.minimum(rising, falling)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="cores, and threads of each library (default: 1)")
    parser.add_argument("--seeds", type=int, default=10, help="trainings of each library (default: 10)")
    options = parser.parse_args()
    import peer_libraries

    libraries = peer_libraries.load(options.threads)

    import numpy as np

    recipe = {"hidden": (128,), "batch_size": BATCH_SIZE, "epochs": EPOCHS, "learning_rate": Warmup()}
    for train in libraries.values():  # some compile in their first training
        train(**{**recipe, "epochs": 1}, seed=0)
    seconds, accuracies = {name: [] for name in libraries}, {name: [] for name in libraries}
    for seed in range(options.seeds):
        for name, train in libraries.items():
            times, accuracy = train(**recipe, seed=seed)
            seconds[name].append(sum(times))
            accuracies[name].append(100 * accuracy)
            time.sleep(0.2 if options.threads > 1 else 0)  # threads that spin on would take a core from the next
    print(f"MNIST, 784-128-10, batch {BATCH_SIZE}, {EPOCHS} epochs, {options.threads} thread(s), {options.seeds} seeds")
    print(f"{'library':24} {'training':>9} {'times fastmlp':>14} {'test accuracy, mean and range':>31}")
    for name in sorted(libraries, key=lambda name: np.mean(seconds[name])):
        mean, low, high = np.mean(accuracies[name]), min(accuracies[name]), max(accuracies[name])
        ratio = np.mean(seconds[name]) / np.mean(seconds["fastmlp"])
        print(f"{name:24} {np.mean(seconds[name]):7.3f} s {ratio:14.1f} {mean:12.2f} % ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
