"""The exponential moving average of the parameters."""

import numpy as np
import pytest
from helpers import normal

import fastmlp
from fastmlp import reference
from fastmlp.callbacks import RestoreBest
from fastmlp.kernels.simd.processors import NARROW
from fastmlp.kernels.step.average import average_parameters

RNG = np.random.default_rng(0)
X = RNG.standard_normal((90, 7)).astype(np.float32)
Y = (X[:, 0] > X[:, 1]).astype(int) + (X[:, 2] > 1)
SETTINGS = {"hidden": (70, 9), "epochs": 3, "seed": 0, "batch_size": 16, "optimizer": "adam", "learning_rate": 0.02}
RUN = {**SETTINGS, "ema_decay": 0.9}


def same(a, b):
    return all(np.array_equal(p, q) for p, q in zip(a.weights + a.biases, b.weights + b.biases))


def test_a_part_of_the_average_moves():
    n, rng = int(NARROW), np.random.default_rng(0)
    parameters, state = normal(rng, 4 * n), normal(rng, 9 * n)
    before = state.copy()
    want = [state[2 * n : 6 * n].astype(float)]
    reference.average_parameters(want, [parameters.astype(float)], 0.75)
    average_parameters(parameters, state, 2 * n, n, 3 * n, np.float32(0.25))
    np.testing.assert_allclose(state[3 * n : 5 * n], want[0][n : 3 * n], rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(np.delete(state, slice(3 * n, 5 * n)), np.delete(before, slice(3 * n, 5 * n)))


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"optimizer": "sgd", "batch_size": 1, "epochs": 1},
        {"scale_rate_factor": 6.0, "weight_rate_factors": "ntk", "clip_norm": 1.0},
        {"hidden": (), "optimizer": fastmlp.SGD(0.9), "validation": (X, Y)},
    ],
)
def test_training_is_the_references(arguments):
    got = fastmlp.train(X, Y, **{**RUN, **arguments})
    want = reference.train(X, Y, **{**RUN, **arguments}, dtype=np.float64)
    for a, b in zip(got.weights + got.biases, want.weights + want.biases):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=5e-5)
    for name in ("train_loss", "validation_loss"):
        np.testing.assert_allclose(got.history[name], want.history[name], rtol=1e-3)


def test_the_model_has_the_average_of_what_is_trained():
    steps = []
    one_a_step = {**SETTINGS, "batch_size": 90, "shuffle": False, "epochs": 5}
    start = fastmlp.train(X, Y, **one_a_step, callbacks=lambda m: steps.append(m.weights[0].astype(float)))
    init = steps[0] * np.nan

    class Begin:
        def on_train_begin(self, model):
            init[:] = model.weights[0]

    model = fastmlp.train(X, Y, **one_a_step, ema_decay=0.7, callbacks=Begin())
    average = init
    for weight in steps:
        average = 0.7 * average + 0.3 * weight
    np.testing.assert_allclose(model.weights[0], average, rtol=1e-5, atol=1e-6)
    assert model.history["train_loss"] == start.history["train_loss"]


def test_validation_and_the_best_epoch_are_those_of_the_average():
    best = RestoreBest()
    model = fastmlp.train(X, Y, **RUN, validation=(X, Y), callbacks=best)
    assert model.evaluate(X, Y).loss == pytest.approx(min(model.history["validation_loss"]), rel=1e-6)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_do_not_change_a_bit(threads, monkeypatch):
    monkeypatch.setattr("fastmlp.engine.threads.MIN_FLOP", 0)
    assert same(fastmlp.train(X, Y, **RUN, threads=1), fastmlp.train(X, Y, **RUN, threads=threads))


@pytest.mark.parametrize("more", [{}, {"scale_rate_factor": 3.0}])
@pytest.mark.parametrize("writes", [False, True])
def test_a_resumed_run_ends_with_the_same_bits(more, writes, tmp_path):
    def halve(model):
        if model.history["epoch"][-1] == 2:
            model.weights[0][3] /= 3

    callbacks = [halve] if writes else []
    run = {**RUN, **more, "callbacks": callbacks}
    whole = fastmlp.train(X, Y, **{**run, "epochs": 5})
    fastmlp.train(X, Y, **{**run, "epochs": 2}, checkpoint=tmp_path)
    resumed = fastmlp.train(X, Y, **{**run, "epochs": 5}, checkpoint=tmp_path)
    assert same(whole, resumed)
    assert not same(whole, fastmlp.train(X, Y, **{**run, "epochs": 5, "ema_decay": 0.0}))


def test_partial_fit_goes_on_with_what_is_trained():
    model = fastmlp.train(X, Y, **RUN)
    trained = fastmlp.train(X, Y, **SETTINGS)
    loss = trained.evaluate(X, Y).loss
    executor_loss = model.partial_fit(X, Y, batch_size=90).loss  # before the only step
    assert executor_loss == pytest.approx(loss, rel=1e-5)
    assert model.evaluate(X, Y).loss > loss


def test_a_run_that_ends_early_leaves_the_average_of_its_last_epoch():
    def interrupt(model):
        if model.history["epoch"][-1] == 2:
            raise KeyboardInterrupt

    model = fastmlp.train(X, Y, **RUN, callbacks=interrupt)
    assert same(model, fastmlp.train(X, Y, **{**RUN, "epochs": 2}))


@pytest.mark.parametrize(("bad", "error"), [(1, ValueError), (-0.1, ValueError), ("0.9", TypeError)])
def test_a_decay_is_a_fraction(bad, error):
    with pytest.raises(error, match="ema_decay must be"):
        fastmlp.train(X, Y, **{**RUN, "ema_decay": bad})
