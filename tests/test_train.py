import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import fastmlp
from fastmlp import reference

RNG = np.random.default_rng(0)
X = RNG.standard_normal((203, 12)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 1)


def same(a, b):
    return all(np.array_equal(p, q) for p, q in zip(a.weights + a.biases, b.weights + b.biases))


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"hidden": (), "shuffle": False},
        {"hidden": 7, "batch_size": 1, "epochs": 1},
        {"hidden": (100, 1, 9), "activation": ["relu", "tanh", "sigmoid"], "init": "glorot", "learning_rate": 0.01},
        {"batch_size": 1000, "shuffle": "replacement", "optimizer": fastmlp.SGD(0.9, True, 1e-3)},
        {"learning_rate": fastmlp.Cosine(0.2), "loss": "softmax_mse", "validation": 0.2},
        {"learning_rate": fastmlp.Step(0.2, 1, 0.5), "validation": (X[:50], Y[:50]), "input_scale": 0.5},
        {"learning_rate": fastmlp.LinearDecay(0.2, 0.1), "loss": "notebook", "init": "notebook"},
        {"loss": "mse", "activation": "identity", "learning_rate": 0.01},
    ],
)
def test_training_is_the_references(arguments):
    arguments = {"epochs": 2, "batch_size": 32, "seed": 3, "hidden": (16,), **arguments}
    ours, theirs = fastmlp.train(X, Y, **arguments), reference.train(X, Y, **arguments)
    for got, want in zip(ours.weights + ours.biases, theirs.weights + theirs.biases):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5)
    assert ours.history.keys() == theirs.history.keys()
    assert {len(values) for values in ours.history.values()} == {arguments["epochs"]}
    for name in ours.history.keys() - {"seconds"}:
        np.testing.assert_allclose(ours.history[name], theirs.history[name], rtol=1e-3, atol=1e-4)


def test_the_same_seed_gives_the_same_bits_and_another_one_does_not():
    first, second, other = (fastmlp.train(X, Y, epochs=2, seed=seed) for seed in (1, 1, 2))
    assert same(first, second)
    assert not same(first, other)


def test_the_layout_and_type_of_the_input_do_not_matter():
    pixels = RNG.integers(0, 256, (90, 11)).astype(np.uint8)
    wide = np.zeros((90, 20), np.float32)
    wide[:, 4:15] = pixels
    read_only = pixels.astype(np.float64)
    read_only.flags.writeable = False
    y = RNG.integers(0, 3, 90)
    kwargs = {"epochs": 2, "seed": 0, "input_scale": 1 / 255, "batch_size": 16}
    want = fastmlp.train(pixels, y, **kwargs)
    for x in (wide[:, 4:15], np.asfortranarray(read_only), read_only, pixels.astype(int), pixels.tolist()):
        assert same(want, fastmlp.train(x, y, **kwargs))


@pytest.mark.parametrize("labels", [["cat", "dog", "eel"], [-5, 0, 900], np.array([2, 7, 9], np.uint8)])
def test_labels_may_be_any_integers_or_strings(labels):
    labels = np.array(labels)
    model = fastmlp.train(X, labels[Y], epochs=5, seed=0)
    np.testing.assert_array_equal(model.classes, labels)
    assert same(model, fastmlp.train(X, Y, epochs=5, seed=0))
    assert set(model.predict(X)) <= set(labels)
    assert model.evaluate(X, labels[Y]).accuracy == np.mean(model.predict(X) == labels[Y])


@pytest.mark.parametrize("n_outputs", [0, 1, 3])
def test_regression(n_outputs):
    targets = X[:, :n_outputs] * 2 + 1 if n_outputs else X[:, 0] * 2 + 1
    model = fastmlp.train(X, targets, hidden=(), learning_rate=0.1, epochs=60, seed=0, batch_size=32)
    assert model.loss == "mse"
    assert model.predict(X).shape == (len(X), max(n_outputs, 1))
    np.testing.assert_allclose(model.predict(X), targets.reshape(len(X), -1), atol=0.01)
    assert model.evaluate(X, targets).loss < 1e-3
    assert np.isnan(model.evaluate(X, targets).accuracy)


def test_init_goes_on_from_arrays_and_models():
    start = fastmlp.train(X, Y, epochs=1, seed=0, shuffle=False, learning_rate=0.1)
    whole = fastmlp.train(X, Y, epochs=2, seed=0, shuffle=False, learning_rate=0.1)
    kept = [w.copy() for w in start.weights]
    for init in (start, list(zip(start.weights, start.biases))):
        assert same(fastmlp.train(X, Y, epochs=1, init=init, shuffle=False, learning_rate=0.1), whole)
    assert all(np.array_equal(a, b) for a, b in zip(kept, start.weights))


def test_callbacks_see_the_model_after_every_epoch():
    seen = []

    class Watch:
        def on_train_begin(self, model):
            seen.append("begin")

        def on_epoch_end(self, model):
            seen.append(model.weights[0].copy())

        def on_train_end(self, model):
            seen.append("end")

    counts = []
    model = fastmlp.train(X, Y, epochs=2, callbacks=[Watch(), lambda model: counts.append(len(model.history["epoch"]))])
    assert (seen[0], seen[-1], counts) == ("begin", "end", [1, 2])
    assert not np.array_equal(seen[1], seen[2])
    np.testing.assert_array_equal(seen[2], model.weights[0])


def test_divergence_is_an_error_that_keeps_the_weights_from_before():
    good = fastmlp.train(X, Y, epochs=1, seed=0, shuffle=False, learning_rate=fastmlp.Step(0.1, 1, 1e30))
    with pytest.raises(fastmlp.DivergenceError, match=r"epoch 2.*smaller learning_rate") as caught:
        fastmlp.train(X, Y, epochs=5, seed=0, shuffle=False, learning_rate=fastmlp.Step(0.1, 1, 1e30))
    assert same(caught.value.model, good)
    assert len(caught.value.model.history["epoch"]) == 1


def test_progress_is_silent_in_a_pipe_and_can_be_forced(capfd):
    fastmlp.train(X, Y, epochs=2)
    assert capfd.readouterr() == ("", "")
    fastmlp.train(X, Y, epochs=2, progress=True)
    assert "2/2" in capfd.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_is_answered_within_an_epoch():
    code = (
        "import numpy as np, fastmlp\n"
        "x = np.zeros((20000, 2000), np.float32); x[:, 0] = 1; y = np.arange(20000) % 2\n"
        "fastmlp.train(x[:300], y[:300], epochs=1)\n"
        "print('ready', flush=True)\n"
        "fastmlp.train(x, y, hidden=(2000, 2000), epochs=1, learning_rate=1e-6)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(2)
    start = time.perf_counter()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert time.perf_counter() - start < 8  # the epoch takes longer; a call into compiled code about a second
