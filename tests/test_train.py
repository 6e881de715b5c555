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


def test_weights_that_overflow_in_the_last_step_are_an_error_too():
    with pytest.raises(fastmlp.DivergenceError, match="epoch 1") as caught:
        fastmlp.train(100 * X, 1e4 * X[:, 0], hidden=(4,), batch_size=len(X), epochs=1, learning_rate=3e38, seed=0)
    assert all(np.isfinite(p).all() for p in caught.value.model.weights + caught.value.model.biases)


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
        "class Ready:\n"
        "    def on_train_begin(self, model): print('ready', flush=True)\n"
        "options = {'hidden': (2000, 2000), 'epochs': 1, 'learning_rate': 1e-6, 'callbacks': [Ready()]}\n"
        "model = fastmlp.train(x, y, **options)\n"
        "print(model.interrupted, model.history['epoch'])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(1)
    start = time.perf_counter()
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (output, errors) == ("True []\n", "")
    assert time.perf_counter() - start < 2  # the epoch takes longer; a call into compiled code half a second


ACTIVATIONS = ["relu", "sigmoid", "tanh", "identity"]
LOSSES = ["cross_entropy", "softmax_mse", "notebook", "mse"]
OPTIMIZERS = {
    "plain": fastmlp.SGD(),
    "momentum": fastmlp.SGD(0.9),
    "nesterov": fastmlp.SGD(0.9, nesterov=True),
    "decay": fastmlp.SGD(weight_decay=0.01),
    "all": fastmlp.SGD(0.9, nesterov=True, weight_decay=0.01),
    "adam": fastmlp.Adam(eps=1e-3),
    "adamw": fastmlp.AdamW(eps=1e-3),
    "rmsprop": fastmlp.RMSprop(0.5, eps=0.1),
    "adagrad": fastmlp.Adagrad(eps=1e-3),
}
RATES = {
    "constant": 0.02,
    "linear": fastmlp.LinearDecay(0.02),
    "cosine": fastmlp.Cosine(0.02, 0.01),
    "step": fastmlp.Step(0.02, 1, 0.5),
}
# Of parameters below 2 after some dozen steps: a few units in the last place of float32.
CLOSE = 2e-6


def follow(train, x, y, **arguments):
    """The model, and copies of all its parameters after every epoch."""
    epochs = []

    def keep(model):
        epochs.append(np.concatenate([p.ravel() for p in model.weights + model.biases]))

    return train(x, y, callbacks=[keep], **arguments), epochs


def assert_same_course(x, y, **arguments):
    ours, got = follow(fastmlp.train, x, y, **arguments)
    theirs, want = follow(reference.train, x, y, **arguments)
    for epoch, (a, b) in enumerate(zip(got, want, strict=True), 1):
        np.testing.assert_allclose(a, b, rtol=0, atol=CLOSE, err_msg=f"epoch {epoch}")
    for name in ours.history.keys() - {"seconds"}:
        np.testing.assert_allclose(ours.history[name], theirs.history[name], rtol=1e-5, atol=CLOSE, err_msg=name)


def targets_for(loss, n):
    return X[:n, :2] * np.float32(0.5) if loss == "mse" else Y[:n]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("shuffle", [True, False, "replacement"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_combination_follows_the_reference_epoch_by_epoch(activation, loss, optimizer, shuffle, rate):
    assert_same_course(
        X[:50], targets_for(loss, 50), hidden=(7, 5), activation=activation, loss=loss,
        optimizer=OPTIMIZERS[optimizer], shuffle=shuffle, learning_rate=RATES[rate], batch_size=16, epochs=3, seed=1,
    )  # fmt: skip


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", LOSSES)
def test_epochs_of_one_step_follow_the_reference_step_by_step(loss, optimizer):
    assert_same_course(
        X[:40], targets_for(loss, 40), hidden=(9,), loss=loss, optimizer=OPTIMIZERS[optimizer],
        learning_rate=0.02, batch_size=64, epochs=12, seed=2,
    )  # fmt: skip


@pytest.mark.parametrize("batch_size", [1, 16, 50, 51, 1000])
@pytest.mark.parametrize("hidden", [(), 1, (7,), (100,), (100, 1, 7)])
@pytest.mark.parametrize("sparse", [False, True])
def test_every_width_and_batch_size_follows_the_reference(sparse, hidden, batch_size):
    pixels = (RNG.integers(0, 256, (50, 12)) * (RNG.random((50, 12)) < 0.2)).astype(np.uint8)
    assert_same_course(
        pixels if sparse else X[:50], Y[:50], hidden=hidden, learning_rate=0.02, batch_size=batch_size, epochs=2,
        validation=(X[50:90], Y[50:90]), seed=3,
    )  # fmt: skip


def test_a_fraction_for_validation_is_held_out_as_in_the_reference():
    assert_same_course(X, Y, hidden=(7,), validation=0.25, epochs=3, learning_rate=0.02, seed=4)
    with_it = fastmlp.train(X, Y, hidden=(7,), validation=0.25, epochs=1, seed=4)
    assert np.isfinite(with_it.history["validation_loss"]).all()
    assert np.isnan(fastmlp.train(X, Y, hidden=(7,), epochs=1).history["validation_loss"]).all()


def test_validation_does_not_change_training():
    plain = fastmlp.train(X, Y, epochs=2, seed=0)
    assert same(plain, fastmlp.train(X, Y, epochs=2, seed=0, validation=(X[:9], Y[:9])))


@pytest.mark.parametrize("threads", [1, 2, None])
def test_the_number_of_threads_does_not_change_a_bit(threads):
    x = np.tile(X, (3, 10))
    kwargs = {"hidden": (200, 100), "epochs": 2, "seed": 0, "batch_size": 128, "learning_rate": 0.01}
    assert same(fastmlp.train(x, np.tile(Y, 3), threads=threads, **kwargs), fastmlp.train(x, np.tile(Y, 3), **kwargs))


def test_boolean_labels_are_classes():
    model = fastmlp.train(X, Y > 0, epochs=3, seed=0)
    assert (model.loss, model.classes.tolist(), model.predict(X).dtype) == ("cross_entropy", [False, True], bool)
    assert same(model, fastmlp.train(X, (Y > 0).astype(int), epochs=3, seed=0))


def test_the_users_arrays_are_left_as_they_are():
    x, y = X.copy(), Y.copy()
    start = [(np.ones((12, 5), np.float32), np.ones(5, np.float32)), (np.ones((5, 3)), np.ones(3))]
    kept = [(w.copy(), b.copy()) for w, b in start]
    fastmlp.train(x, y, hidden=5, init=start, epochs=1)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)
    for (w, b), (v, c) in zip(start, kept):
        assert np.array_equal(w, v)
        assert np.array_equal(b, c)


@pytest.mark.parametrize("init", ["he", "glorot", "notebook"])
def test_named_starts_follow_the_reference(init):
    assert_same_course(X, Y, hidden=(7,), init=init, epochs=1, learning_rate=0.02, seed=5)


def test_an_error_in_a_callback_comes_through():
    def stop(model):
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        fastmlp.train(X, Y, epochs=2, callbacks=[stop])


def test_divergence_in_the_first_epoch_keeps_the_start():
    start = [(np.ones((12, 3)), np.zeros(3))]
    with pytest.raises(fastmlp.DivergenceError, match="epoch 1") as caught:
        fastmlp.train(X, X[:, :3], hidden=(), init=start, learning_rate=1e30, batch_size=8)
    assert (caught.value.epoch, caught.value.model.history["epoch"]) == (1, [])
    np.testing.assert_array_equal(caught.value.model.weights[0], start[0][0])


INITS = ["he", "he_uniform", "glorot", "glorot_normal", "lecun", "lecun_uniform", "orthogonal", "zeros"]


@pytest.mark.parametrize("init", INITS)
def test_every_start_is_the_references_and_has_its_variance(init):
    rng = np.random.default_rng(0)
    x, y = rng.random((60, 300)), np.arange(60) % 3
    arguments = {"hidden": (200, 300), "init": init, "seed": 1, "epochs": 1, "learning_rate": 1e-30}
    ours, theirs = fastmlp.train(x, y, **arguments), reference.train(x, y, **arguments)
    for got, want in zip(ours.weights, theirs.weights):
        np.testing.assert_array_equal(got, want)
        n_in, n_out = got.shape
        if init == "orthogonal":
            product = got.T @ got if n_in >= n_out else got @ got.T
            np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-5)
        else:
            variance = {"he": 2 / n_in, "glorot": 2 / (n_in + n_out), "lecun": 1 / n_in, "zeros": 0}[init.split("_")[0]]
            assert got.var() == pytest.approx(variance, rel=0.1)


@pytest.mark.parametrize("activation", ["leaky_relu", "elu", "selu", "softplus", "hard_sigmoid"])
def test_networks_of_the_later_activations_follow_the_reference(activation):
    arguments = {"hidden": (17, 9), "activation": activation, "epochs": 3, "seed": 0, "batch_size": 16}
    ours, theirs = fastmlp.train(X, Y, **arguments), reference.train(X, Y, **arguments)
    for got, want in zip(ours.weights + ours.biases, theirs.weights + theirs.biases):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5)
