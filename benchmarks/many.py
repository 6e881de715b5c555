"""Many networks at once: `train_many`, a loop over `train`, and `vmap` in JAX and PyTorch, whichever are installed.

    python benchmarks/many.py [--case mnist small] [--threads N] [--networks N] [--epochs N] [--repeats N]

"mnist" is 64 networks 784-32-10 on MNIST for 3 epochs, "small" 1,000 networks 20-64-64-1 on 1,000 rows for 10.  All
have the same batches of 128 and plain SGD on the same cores, except for the loop on one core, which the others are
compared with.  Every network has its own weights and its own order of the samples.  The contestants take turns; the
first run of each, in which some compile, does not count.  Leave the machine alone meanwhile.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time

BATCH_SIZE, LEARNING_RATE = 128, 0.05
CASES = {
    "mnist": {"networks": 64, "epochs": 3, "hidden": (32,)},
    "small": {"networks": 1000, "epochs": 10, "hidden": (64, 64)},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--threads", type=int, default=2, help="cores, and threads of each library (default: 2)")
    parser.add_argument("--networks", type=int, help="how many, instead of 64 and 1,000")
    parser.add_argument("--epochs", type=int, help="instead of 3 and 10")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each (default: 3)")
    options = parser.parse_args()
    import environment  # beside this file

    environment.prepare(options.threads)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if cores:
        os.sched_setaffinity(0, cores[: options.threads])
    for name in options.case:
        case = {**CASES[name], **{k: v for k, v in vars(options).items() if k in ("networks", "epochs") and v}}
        measure(name, case, options.threads, options.repeats)


def measure(name: str, case: dict, threads: int, repeats: int) -> None:
    """Print the seconds of all contestants, as medians, and their ratio to the loop on one core."""
    import numpy as np

    x, y = _data(name)
    contestants = _contestants(x, y, case, threads)
    seconds: dict[str, list[float]] = {contestant: [] for contestant in contestants}
    for repeat in range(repeats + 1):
        for contestant, run in contestants.items():
            start = time.perf_counter()
            run()
            if repeat > 0:
                seconds[contestant].append(time.perf_counter() - start)
            time.sleep(0.2)  # threads that spin on would take a core from the next
    widths = "-".join(map(str, (x.shape[1], *case["hidden"], 10 if name == "mnist" else 1)))
    print(f"{case['networks']} networks {widths}, {len(x)} samples, {case['epochs']} epochs, {threads} thread(s)")
    print(f"{'':28} {'median':>9} {'least':>9} {'over the loop':>14}")
    base = np.median(seconds["loop over train, 1 core"])
    for contestant, times in sorted(seconds.items(), key=lambda item: np.median(item[1])):
        print(f"{contestant:28} {np.median(times):7.3f} s {min(times):7.3f} s {np.median(times) / base:14.2f}")
    print(f"beside the epochs: {1e3 * _overhead(x, y, case):.2f} ms for each network\n")


def _data(name: str):
    import numpy as np

    import fastmlp

    if name == "mnist":
        mnist = fastmlp.load_mnist()
        return mnist.x_train, mnist.y_train
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1000, 20)).astype(np.float32)
    return x, np.sin(x[:, :1]) + x[:, 1:2] ** 2


def _contestants(x, y, case: dict, threads: int) -> dict:
    import fastmlp

    configs = [{"seed": seed} for seed in range(case["networks"])]
    common = {
        "hidden": case["hidden"], "epochs": case["epochs"], "batch_size": BATCH_SIZE, "learning_rate": LEARNING_RATE,
    }  # fmt: skip

    def loop(n_threads):
        return [fastmlp.train(x, y, threads=n_threads, progress=False, **config, **common) for config in configs]

    found = {
        "train_many": lambda: fastmlp.train_many(configs, x, y, threads=threads, **common),
        "loop over train, 1 core": lambda: loop(1),
    }
    if threads > 1:
        found[f"loop over train, {threads} threads"] = lambda: loop(threads)
    for library, make in (("jax", _jax), ("torch", _torch)):
        if importlib.util.find_spec(library) is not None:
            found[f"{library} vmap"] = make(x, y, case, threads)
    return found


def _overhead(x, y, case: dict) -> float:
    """Return the seconds of a network beside its epochs: the least of several runs of one epoch."""
    import fastmlp

    n, least = min(100, case["networks"]), float("inf")
    for _ in range(5):
        start = time.perf_counter()
        models = fastmlp.train_many(
            [{"seed": seed} for seed in range(n)], x, y, threads=1, hidden=case["hidden"], epochs=1,
            batch_size=BATCH_SIZE,
        )  # fmt: skip
        least = min(least, time.perf_counter() - start - sum(model.history["seconds"][0] for model in models))
    return least / n


def _start(x, y, case: dict):
    """Return what both libraries start from: data as floats, stacked parameters, and the orders of the samples."""
    import numpy as np

    from fastmlp import reference

    classes = y.ndim == 1
    floats = x.astype(np.float32) / np.float32(255) if x.dtype == np.uint8 else x
    targets = y.astype(np.int64) if classes else y.astype(np.float32)
    widths = (x.shape[1], *case["hidden"], 10 if classes else y.shape[1])
    drawn = [reference.initialize(widths, "he", np.random.default_rng(k)) for k in range(case["networks"])]
    layers = [
        (np.stack([weights[layer] for weights, _ in drawn]), np.stack([biases[layer] for _, biases in drawn]))
        for layer in range(len(widths) - 1)
    ]
    rngs = [np.random.default_rng(k) for k in range(case["networks"])]

    def order():
        """A new order of the samples for each network: whole batches (steps, networks, batch), and the rest."""
        orders, whole = np.stack([rng.permutation(len(x)) for rng in rngs]), len(x) // BATCH_SIZE
        batches = orders[:, : whole * BATCH_SIZE].reshape(len(rngs), whole, BATCH_SIZE).swapaxes(0, 1)
        rest = orders[:, whole * BATCH_SIZE :]
        return np.ascontiguousarray(batches), rest

    return floats, targets, layers, order


def _jax(x, y, case: dict, threads: int):
    import jax
    import jax.numpy as jnp

    floats, targets, layers, order = _start(x, y, case)
    inputs, wanted = jnp.asarray(floats), jnp.asarray(targets)

    def loss(parameters, batch):
        h = inputs[batch]
        for weight, bias in parameters[:-1]:
            h = jax.nn.relu(h @ weight + bias)
        weight, bias = parameters[-1]
        out = h @ weight + bias
        if wanted.ndim > 1:
            return ((out - wanted[batch]) ** 2).mean()
        return -jnp.take_along_axis(jax.nn.log_softmax(out), wanted[batch][:, None], axis=1).mean()

    def step(parameters, batch):
        gradients = jax.grad(loss)(parameters, batch)
        return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, parameters, gradients)

    steps = jax.vmap(step)
    epoch = jax.jit(lambda parameters, batches: jax.lax.scan(lambda p, b: (steps(p, b), None), parameters, batches)[0])

    def run():
        parameters = [(jnp.asarray(weight), jnp.asarray(bias)) for weight, bias in layers]
        for _ in range(case["epochs"]):
            batches, rest = order()
            parameters = epoch(parameters, batches)
            if rest.shape[1]:
                parameters = epoch(parameters, rest[None])
        jax.block_until_ready(parameters)

    return run


def _torch(x, y, case: dict, threads: int):
    import torch

    torch.set_num_threads(threads)
    floats, targets, layers, order = _start(x, y, case)
    inputs, wanted = torch.from_numpy(floats), torch.from_numpy(targets)

    def loss(parameters, h, target):
        for weight, bias in parameters[:-1]:
            h = torch.relu(h @ weight + bias)
        weight, bias = parameters[-1]
        out = h @ weight + bias
        return torch.nn.functional.cross_entropy(out, target) if wanted.ndim == 1 else ((out - target) ** 2).mean()

    gradient = torch.func.vmap(torch.func.grad(loss))

    def run():
        parameters = [(torch.from_numpy(weight.copy()), torch.from_numpy(bias.copy())) for weight, bias in layers]
        for _ in range(case["epochs"]):
            batches, rest = order()
            for batch in [*torch.from_numpy(batches), *([torch.from_numpy(rest)] if rest.shape[1] else [])]:
                gradients = gradient(parameters, inputs[batch], wanted[batch])
                for layer, changes in zip(parameters, gradients):
                    for parameter, change in zip(layer, changes):
                        parameter.sub_(change, alpha=LEARNING_RATE)

    return run


if __name__ == "__main__":
    main()
