"""How training by several processes scales: what is measured on this machine, and what a model makes of it.

    python benchmarks/scaling.py [--hidden N ...] [--batch-size N ...] [--average-every N ...] [--optimizer NAME]
                                 [--network NAME=MICROSECONDS,GB_PER_SECOND ...] [--steps N]

Measured: the time of a step for every number of samples that a rank may have, without the exchange, on one thread; and,
under mpiexec where that is there, the Allreduce of the same vector between processes of this machine.

Modelled: a step on R ranks takes compute(B / R) + allreduce(R) / k, with the measured times of compute, for the batch
size B of all ranks together and averages every k steps.  allreduce(R) = 2 log2(R) latency + 2 (R - 1) / R bytes /
bandwidth, a lower bound that Rabenseifner's algorithm comes close to (Thakur, Rabenseifner and Gropp 2005).

The model's ranks wait for nothing but each other's messages, and never for a slow one: real machines come out below.
It says nothing about how well rare averages train: with k > 1 the steps are no longer those of one process.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

RANKS = [2**i for i in range(11)]
STILL_HELPS = 1.1  # how much faster twice as many ranks have to be


class Network(NamedTuple):
    """A network between ranks: seconds that a message takes at least, and bytes per second."""

    latency: float
    bandwidth: float


NETWORKS = {
    "1 Gb Ethernet": Network(50e-6, 0.117e9),
    "10 Gb Ethernet": Network(20e-6, 1.17e9),
    "100 Gb InfiniBand": Network(1.5e-6, 11.7e9),
}


# ------------------------------------------------------------------------------------------------ measured


class Alone:
    """A communicator of two ranks without the other one, whose exchange takes no time but that of a copy."""

    def Get_rank(self):
        return 0

    def Get_size(self):
        return 2

    def Allreduce(self, send, receive):
        receive[...] = send

    def allgather(self, value):
        return [value]

    def bcast(self, value, root=0):
        return value

    def Bcast(self, buffer, root=0):
        pass

    def Abort(self, code):
        raise SystemExit(code)


def new_trainer(data, n_own: int, average_every: int, hidden, optimizer: str):
    """Return a trainer of MNIST in whose steps this rank has `n_own` samples, and the other one as many."""
    import inspect

    import fastmlp
    from fastmlp.training.ranks import SeveralRanks
    from fastmlp.training.settings import check_settings
    from fastmlp.training.trainer import Trainer

    defaults = {name: each.default for name, each in inspect.signature(fastmlp.train).parameters.items()}
    communicator = Alone()
    settings = check_settings(
        {
            **defaults, "x": data.x_train, "y": data.y_train, "hidden": hidden, "optimizer": optimizer, "seed": 0,
            "batch_size": 2 * n_own, "average_every": average_every, "communicator": communicator, "threads": 1,
        }
    )  # fmt: skip
    return Trainer(settings, 0, SeveralRanks(communicator))


def measure_compute(sizes, average_every, hidden, optimizer: str, n_steps: int):
    """Return the seconds of a step, {average_every: {samples of a rank: seconds}}, and the numbers exchanged."""
    import numpy as np

    import fastmlp

    data = fastmlp.load_mnist()
    seconds: dict[int, dict[int, float]] = {}
    n_bytes: dict[int, int] = {}
    for every in average_every:
        seconds[every] = {}
        for n_own in sizes:
            trainer = new_trainer(data, n_own, every, hidden, optimizer)
            trainer.data.samples = trainer.data.samples[: 2 * n_own * min(n_steps, 60_000 // (2 * n_own))]
            trainer.data.n_samples = len(trainer.data.samples)
            rates, rng = np.full(trainer.data.n_steps, 0.01, np.float32), np.random.default_rng(0)
            times = []
            for _ in range(6):
                start = time.perf_counter()
                trainer.data.train(rates, rng)
                times.append((time.perf_counter() - start) / trainer.data.n_steps)
            seconds[every][n_own] = statistics.median(times[1:])  # the first loads compiled code
            n_bytes[every] = trainer.data.averager.vector.nbytes
    return seconds, n_bytes


def print_allreduce(sizes: list[int]) -> None:
    """Print the seconds of an Allreduce of so many bytes each, under mpiexec."""
    import numpy as np
    from mpi4py import MPI

    communicator, medians = MPI.COMM_WORLD, []
    for n_bytes in sizes:
        send = np.ones(n_bytes // 4, np.float32)
        receive, times = np.empty_like(send), []
        for _ in range(30):
            communicator.Barrier()
            start = time.perf_counter()
            communicator.Allreduce(send, receive)
            times.append(time.perf_counter() - start)
        medians.append(statistics.median(times))
    if communicator.Get_rank() == 0:
        print(json.dumps(medians))


def measure_allreduce(n_ranks: int, sizes: list[int]) -> list[float] | None:
    """Return the seconds of an Allreduce between processes of this machine, or None without mpi4py or mpiexec."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    mpiexec = shutil.which("mpiexec", path=path)
    if mpiexec is None:
        return None
    root = ["--allow-run-as-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    command = [mpiexec, *root, "--oversubscribe", "-n", str(n_ranks), sys.executable, __file__, "--allreduce"]
    run = subprocess.run([*command, *map(str, sizes)], capture_output=True, text=True)
    return json.loads(run.stdout.splitlines()[0]) if run.returncode == 0 else None


# ------------------------------------------------------------------------------------------------ modelled


def allreduce_seconds(n_ranks: int, n_bytes: float, network: Network) -> float:
    """Return the modelled time of an Allreduce."""
    if n_ranks == 1:
        return 0.0
    return 2 * math.log2(n_ranks) * network.latency + 2 * (n_ranks - 1) / n_ranks * n_bytes / network.bandwidth


def compute_seconds(n_samples: float, measured: dict[int, float]) -> float:
    """Return the time of a step of so many samples, linearly between the measured ones, and beyond the last."""
    sizes = sorted(measured)
    if n_samples <= sizes[0]:
        return measured[sizes[0]]
    last = next((size for size in sizes if size >= n_samples), sizes[-1])
    first = sizes[sizes.index(last) - 1]
    slope = (measured[last] - measured[first]) / (last - first)
    return measured[last] + (n_samples - last) * slope


def step_seconds(
    n_ranks: int, batch_size: int, average_every: int, n_bytes: float, network: Network, measured: dict[int, float]
) -> float:
    """Return the modelled time of a step; the slowest rank has the largest part of the batch."""
    own = math.ceil(batch_size / n_ranks)
    return compute_seconds(own, measured) + allreduce_seconds(n_ranks, n_bytes, network) / average_every


def speedups(batch_size: int, average_every: int, n_bytes, network: Network, measured, alone) -> dict[int, float]:
    """Return how much faster than one process `alone` so many ranks are: of those that all have a sample to train on.

    `measured` and `alone` hold the seconds of steps by the samples of a rank; a process alone exchanges nothing.
    """
    one = compute_seconds(batch_size, alone)
    return {
        n_ranks: one / step_seconds(n_ranks, batch_size, average_every, n_bytes, network, measured)
        if n_ranks > 1
        else 1.0
        for n_ranks in RANKS
        if n_ranks <= batch_size
    }


def last_that_helps(speedup: dict[int, float]) -> int:
    """Return the number of ranks from which on twice as many are not worth it."""
    ranks = sorted(speedup)
    for n_ranks, twice in zip(ranks, ranks[1:]):
        if speedup[twice] < STILL_HELPS * speedup[n_ranks]:
            return n_ranks
    return ranks[-1]


# ------------------------------------------------------------------------------------------------ the report


def network_of(text: str) -> tuple[str, Network]:
    try:
        name, numbers = text.split("=")
        latency, bandwidth = (float(number) for number in numbers.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be like lab=20,1.2, got {text!r}") from None
    return name, Network(latency * 1e-6, bandwidth * 1e9)


def print_measured(seconds, n_bytes, hidden) -> None:
    shape = "-".join(map(str, (784, *hidden, 10)))
    print(f"MEASURED on this machine: {shape} on MNIST, one thread")
    print("\na step without the exchange, in microseconds, by the samples that a rank has in it")
    sizes = sorted(next(iter(seconds.values())))
    print(f"{'':>24}" + "".join(f"{size:>9}" for size in sizes))
    for every, by_size in seconds.items():
        print(f"{f'average_every={every}':>24}" + "".join(f"{1e6 * by_size[size]:9.0f}" for size in sizes))
    print("\nan Allreduce between processes of this machine, in microseconds")
    for n_ranks in (2, 4):
        times = measure_allreduce(n_ranks, list(n_bytes.values()))
        for every, each in zip(n_bytes, times or [math.nan] * len(n_bytes)):
            text = "there is no mpiexec with mpi4py" if math.isnan(each) else f"{1e6 * each:.0f}"
            print(f"  {n_ranks} ranks, {n_bytes[every] / 1e6:.2f} MB (average_every={every}): {text}")
    if (os.cpu_count() or 1) < 4:
        print(f"  (4 ranks share {os.cpu_count()} cores here)")


def print_modelled(options, seconds, n_bytes) -> None:
    networks = dict(options.network) or NETWORKS
    alone = seconds[max(seconds)]  # steps whose update is fused, as in a process alone
    print("\nMODELLED, not measured: times as fast as one process, by the number of ranks")
    for name, network in networks.items():
        print(f"\n{name}: {1e6 * network.latency:g} us, {network.bandwidth / 1e9:g} GB/s")
        print(f"{'batch':>7} {'k':>5}" + "".join(f"{n_ranks:>8}" for n_ranks in RANKS) + "   more stop helping at")
        for batch_size in options.batch_size:
            for every in options.average_every:
                speedup = speedups(batch_size, every, n_bytes[every], network, seconds[every], alone)
                cells = "".join(f"{speedup[n]:8.2f}" if n in speedup else f"{'':8}" for n in RANKS)
                print(f"{batch_size:>7} {every:>5}{cells}   {last_that_helps(speedup):>6}")
    print(
        "\nA batch of B samples on R ranks; averages every k steps, gradients of every step for k = 1.  More ranks stop"
        f"\nhelping where twice as many are less than {STILL_HELPS} times as fast."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--hidden", type=int, nargs="*", default=[128], help="widths of the hidden layers (default: 128)")
    add("--batch-size", type=int, nargs="+", default=[128, 1024, 8192], help="(default: 128 1024 8192)")
    add("--average-every", type=int, nargs="+", default=[1, 16, 256], help="(default: 1 16 256)")
    add("--optimizer", default="sgd", help="(default: sgd)")
    add("--steps", type=int, default=200, help="steps that are timed at a time, at most (default: 200)")
    add("--network", type=network_of, action="append", default=[], help="NAME=MICROSECONDS,GB_PER_SECOND")
    add("--allreduce", type=int, nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.allreduce:
        print_allreduce(options.allreduce)
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    largest = max(options.batch_size)
    sizes = sorted({min(2**i, 8192) for i in range(int(math.log2(largest)) + 1)})
    seconds, n_bytes = measure_compute(sizes, options.average_every, options.hidden, options.optimizer, options.steps)
    print_measured(seconds, n_bytes, options.hidden)
    print_modelled(options, seconds, n_bytes)


if __name__ == "__main__":
    main()
