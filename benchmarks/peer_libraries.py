"""How each library trains on MNIST, with the same arguments and the same random numbers where it takes them."""

from __future__ import annotations

import importlib
import os
import time


def load(threads: int, avx2: bool = False) -> dict:
    """The libraries that are installed, on `threads` cores, with `avx2` without AVX-512: a function for each, by name
    and version.

    Each takes `hidden`, `batch_size`, `epochs`, `seed` and `learning_rate` (a number or a schedule of fastmlp), and
    returns the seconds of every epoch and the accuracy on the test set.

    Settings of threads are read when libraries are imported: call this before any of them is.
    """
    import environment  # beside this file

    environment.prepare(threads, avx2)
    os.environ["NUMBA_NUM_THREADS"] = str(threads)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    import fastmlp

    data = fastmlp.load_mnist()
    makers = {"fastmlp": _fastmlp, "numpy": _reference, "sklearn": _sklearn, "torch": _torch, "jax": _jax}
    libraries = {}
    for module, make in makers.items():
        try:
            version = importlib.import_module(module).__version__
        except ImportError:
            continue
        libraries[module if module == "fastmlp" else f"{module} {version}"] = make(data, threads)
    return libraries


def _setting(data, hidden, seed, epochs, batch_size, learning_rate):
    """Weights, biases, and for each epoch an order of the samples and the rates of its steps."""
    import numpy as np

    from fastmlp import reference
    from fastmlp.training.trainer import learning_rates

    rng, n = np.random.default_rng(seed), len(data.x_train)
    weights, biases = reference.initialize((784, *hidden, 10), "he", rng)
    steps = -(-n // batch_size)
    rates = [learning_rates(learning_rate, epoch, epochs, steps) for epoch in range(epochs)]
    return weights, biases, [rng.permutation(n) for _ in range(epochs)], rates


def _pixels(x):
    import numpy as np

    return x.astype(np.float32) / np.float32(255)


def _fastmlp(data, threads):
    import fastmlp

    def train(**arguments):
        model = fastmlp.train(data.x_train, data.y_train, threads=threads, progress=False, **arguments)
        return model.history["seconds"], model.evaluate(data.x_test, data.y_test).accuracy

    return train


def _reference(data, threads):
    from fastmlp import reference

    x, x_test = _pixels(data.x_train), _pixels(data.x_test)

    def train(**arguments):
        model = reference.train(x, data.y_train, **arguments)
        return model.history["seconds"], model.evaluate(x_test, data.y_test).accuracy

    return train


def _sklearn(data, threads):
    import numpy as np
    from sklearn.neural_network import MLPClassifier

    x, x_test, classes = _pixels(data.x_train), _pixels(data.x_test), np.arange(10)

    def train(hidden, batch_size, epochs, seed, learning_rate):
        weights, biases, _, rates = _setting(data, hidden, seed, epochs, batch_size, learning_rate)
        model = MLPClassifier(
            tuple(hidden), solver="sgd", alpha=0, momentum=0, batch_size=batch_size, learning_rate_init=1e-12,
            random_state=seed,
        )  # fmt: skip
        model.partial_fit(x[:batch_size], data.y_train[:batch_size], classes=classes)
        for target, value in zip(model.coefs_ + model.intercepts_, weights + biases):
            target[:] = value
        times = []
        for epoch in range(epochs):
            model._optimizer.learning_rate = float(rates[epoch].mean())  # its rates change once an epoch at most
            start = time.perf_counter()
            model.partial_fit(x, data.y_train)
            times.append(time.perf_counter() - start)
        return times, model.score(x_test, data.y_test)

    return train


def _torch(data, threads):
    import torch

    torch.set_num_threads(threads)
    x, y = torch.from_numpy(_pixels(data.x_train)), torch.from_numpy(data.y_train.astype("int64"))
    x_test, y_test = torch.from_numpy(_pixels(data.x_test)), torch.from_numpy(data.y_test.astype("int64"))

    def train(hidden, batch_size, epochs, seed, learning_rate):
        weights, biases, orders, rates = _setting(data, hidden, seed, epochs, batch_size, learning_rate)
        layers = []
        for weight, bias in zip(weights, biases):
            layer = torch.nn.Linear(*weight.shape)
            layer.weight.data, layer.bias.data = torch.from_numpy(weight.T.copy()), torch.from_numpy(bias)
            layers += [layer, torch.nn.ReLU()]
        model, loss = torch.nn.Sequential(*layers[:-1]), torch.nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=float(rates[0][0]))
        times = []
        for order, epoch_rates in zip(orders, rates):
            start = time.perf_counter()
            for batch, rate in zip(torch.from_numpy(order).split(batch_size), epoch_rates.tolist()):
                optimizer.param_groups[0]["lr"] = rate
                optimizer.zero_grad()
                loss(model(x.index_select(0, batch)), y.index_select(0, batch)).backward()
                optimizer.step()
            times.append(time.perf_counter() - start)
        with torch.no_grad():
            return times, float((model(x_test).argmax(1) == y_test).float().mean())

    return train


def _jax(data, threads):
    import jax
    import jax.numpy as jnp

    x, y, x_test = jnp.asarray(_pixels(data.x_train)), jnp.asarray(data.y_train), jnp.asarray(_pixels(data.x_test))

    def logits(parameters, inp):
        for weight, bias in parameters[:-1]:
            inp = jax.nn.relu(inp @ weight + bias)
        weight, bias = parameters[-1]
        return inp @ weight + bias

    def loss(parameters, batch):
        log_p = jax.nn.log_softmax(logits(parameters, x[batch]))
        return -jnp.take_along_axis(log_p, y[batch][:, None], axis=1).mean()

    def step(parameters, batch_and_rate):
        batch, rate = batch_and_rate
        gradients = jax.grad(loss)(parameters, batch)
        return jax.tree.map(lambda p, g: p - rate * g, parameters, gradients), None

    epoch = jax.jit(lambda parameters, batches, rates: jax.lax.scan(step, parameters, (batches, rates))[0])

    def train(hidden, batch_size, epochs, seed, learning_rate):
        weights, biases, orders, rates = _setting(data, hidden, seed, epochs, batch_size, learning_rate)
        parameters = [(jnp.asarray(weight), jnp.asarray(bias)) for weight, bias in zip(weights, biases)]
        whole, times = len(x) // batch_size, []
        for order, epoch_rates in zip(orders, rates):
            start = time.perf_counter()
            batches = order[: whole * batch_size].reshape(whole, batch_size)
            parameters = epoch(parameters, batches, epoch_rates[:whole])
            if whole * batch_size < len(x):  # the short batch at the end
                parameters = epoch(parameters, order[None, whole * batch_size :], epoch_rates[whole:])
            jax.block_until_ready(parameters)
            times.append(time.perf_counter() - start)
        return times, float((logits(parameters, x_test).argmax(1) == data.y_test).mean())

    return train
