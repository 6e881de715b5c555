import numpy as np
import pytest
from helpers import normal

import fastmlp
from fastmlp import reference
from fastmlp.kernels.ops.optimizers import ADAM, MOMENTUM, PLAIN, Rule
from fastmlp.kernels.step import penalties

RULES = {
    "plain": Rule(PLAIN, *np.float32([0.1, 0, 0.01])),
    "momentum": Rule(MOMENTUM, *np.float32([0.1, 0.9, 0.01])),
    "adam": Rule(ADAM, *np.float32([0.1, 0.9, 0.01, 0.99, 1e-3, 0.2, 2])),
}
ROW, ROWS, COLUMNS, AT = 64, 5, 11, 16  # a strip of 11 columns of weights whose rows are 64 apart


def lay_out(n_state_arrays=0):
    """Parameters, and a state with so many numbers for each of them and the gradient behind, NaN wherever there is
    nothing; the places of the strip in the first, and in the gradient."""
    rng = np.random.default_rng(0)
    size = AT + ROWS * ROW
    parameters, state = np.full(size, np.nan, np.float32), np.full((n_state_arrays + 1) * size, np.nan, np.float32)
    places = AT + np.arange(ROWS)[:, None] * ROW + np.arange(16)
    for at in (places, places + n_state_arrays * size):
        (parameters if at is places else state)[at] = normal(rng, ROWS, 16)
    for slot in range(n_state_arrays):
        state[places + slot * size] = abs(normal(rng, ROWS, 16))
    return parameters, state, places, n_state_arrays * size


@pytest.mark.parametrize(("l1", "l2"), [(0, 0), (0.1, 0), (0, 0.1), (0.2, 0.3)])
def test_penalties_are_added_and_squares_summed_in_the_columns_that_are(l1, l2):
    parameters, state, places, behind = lay_out()
    parameters[places[0, 0]] = 0  # whose sign is 0
    inside = places[:, :COLUMNS]
    weight, gradient = parameters[inside].astype(float), state[inside + behind].astype(float)
    total = penalties.penalize(parameters, state, AT, ROW, ROWS, COLUMNS, np.float32(l1), np.float32(l2))
    want = reference.penalize(weight, gradient, l1, l2)
    np.testing.assert_allclose(state[inside + behind], gradient, rtol=1e-6, atol=1e-7)
    assert total == pytest.approx(want, rel=1e-5)
    assert not state[places[:, COLUMNS:] + behind].any()  # the padding takes no part


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("factor", [1, 0.25])
def test_strips_are_updated_by_the_gradient_that_was_stored(rule, factor):
    n_state_arrays = {"plain": 0, "momentum": 1, "adam": 2}[rule]
    parameters, state, places, behind = lay_out(n_state_arrays)
    weight = parameters[places].astype(float)
    known = [state[places + slot * parameters.size].astype(float) for slot in range(n_state_arrays)]
    gradient = state[places + behind].astype(float)
    penalties.update_strip(parameters, state, AT, ROW, ROWS, np.float32(factor), RULES[rule])
    want_rule = reference.Rule(rule, *(float(value) for value in RULES[rule][1:]))
    reference.update_strip(weight, known[0] if n_state_arrays == 1 else known, gradient, factor, want_rule)
    np.testing.assert_allclose(parameters[places], weight, rtol=1e-5, atol=1e-6)
    for slot, want in enumerate(known):
        np.testing.assert_allclose(state[places + slot * parameters.size], want, rtol=1e-5, atol=1e-6)
    outside = np.ones(parameters.size, bool)
    outside[places] = False
    assert np.isnan(parameters[outside]).all()


@pytest.mark.parametrize("largest", [0.5, 2, 100])
def test_norms_of_columns_are_limited(largest):
    parameters, _, places, _ = lay_out()
    parameters[places[:, 3]] = 0
    weight = parameters[places].astype(float)
    penalties.limit_norms(parameters, AT, ROW, ROWS, np.float32(largest))
    reference.limit_norms(weight, largest)
    np.testing.assert_allclose(parameters[places], weight, rtol=1e-6)
    assert np.linalg.norm(parameters[places], axis=0).max() <= largest * 1.00001


X = np.random.default_rng(0).standard_normal((40, 30)).astype(np.float32)
Y = np.arange(40) % 3


def step(**arguments):
    """The change that one step of plain SGD makes in every parameter, from the same start."""
    start = fastmlp.train(X, Y, hidden=(20, 17), seed=0, epochs=1, learning_rate=1e-30)
    end = fastmlp.train(X, Y, hidden=(20, 17), init=start, epochs=1, batch_size=40, learning_rate=1.0, **arguments)
    return [b - a for a, b in zip(start.weights + start.biases, end.weights + end.biases)], start


def norm(arrays):
    return np.sqrt(sum((array.astype(float) ** 2).sum() for array in arrays))


def test_clipping_keeps_the_direction_and_sets_the_norm():
    free, _ = step()
    clipped, _ = step(clip_norm=0.01)
    assert norm(free) > 0.1
    assert norm(clipped) == pytest.approx(0.01, rel=1e-3)
    for a, b in zip(free, clipped):
        np.testing.assert_allclose(b, a * (0.01 / norm(free)), rtol=1e-3, atol=1e-7)
    for a, b in zip(free, step(clip_norm=1e6)[0]):  # sums of 40 samples in float32, added in another order
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_penalties_are_gradients_of_what_they_penalize():
    free, start = step()
    for arguments, slope in [({"l2": 0.1}, lambda w: 0.1 * w), ({"l1": 0.1}, lambda w: 0.1 * np.sign(w))]:
        changed, _ = step(**arguments)
        for a, b, parameter in zip(free, changed, start.weights + start.biases):
            want = slope(parameter) if parameter.ndim == 2 else 0  # biases are left alone
            np.testing.assert_allclose(a - b, want, atol=1e-6)


def test_max_norm_holds_after_every_step():
    model = fastmlp.train(X, Y, hidden=(20,), seed=0, epochs=3, max_norm=0.5, learning_rate=0.5)
    for weight in model.weights:
        assert np.linalg.norm(weight, axis=0).max() <= 0.50001


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch_size", [1, 16])
def test_threads_do_not_change_a_bit(threads, batch_size, monkeypatch):
    monkeypatch.setattr("fastmlp.engine.threads.MIN_FLOP", 0)
    arguments = {
        "hidden": (100, 70), "epochs": 2, "seed": 0, "batch_size": batch_size, "learning_rate": 0.05, "l1": 1e-3,
        "l2": 1e-3, "clip_norm": 0.3, "max_norm": 1.0, "dropout": 0.3, "optimizer": "adam",
    }  # fmt: skip
    want, got = fastmlp.train(X, Y, threads=1, **arguments), fastmlp.train(X, Y, threads=threads, **arguments)
    for a, b in zip(want.weights + want.biases, got.weights + got.biases):
        np.testing.assert_array_equal(a, b)
