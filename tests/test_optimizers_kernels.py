import numpy as np
import pytest
from helpers import EPS
from hypothesis import given, settings
from hypothesis import strategies as st

import fastmlp
from fastmlp import reference
from fastmlp.kernels.jit import kernel
from fastmlp.kernels.ops.optimizers import MOMENTUM, NESTEROV, PLAIN, Rule, flush_subnormals, optimizer_update
from fastmlp.kernels.simd.processors import NARROW
from fastmlp.optimizers import OPTIMIZERS

KINDS = {"plain": PLAIN, "momentum": MOMENTUM, "nesterov": NESTEROV}
N = int(NARROW)


@kernel
def update(parameters, state, at, gradient, start, columns, rule):
    optimizer_update(parameters, state, at, gradient, start, columns, rule)


def both_rules(kind, learning_rate, momentum, weight_decay):
    values = [np.float32(value) for value in (learning_rate, momentum, weight_decay)]
    return Rule(KINDS[kind], *values), reference.Rule(kind, *map(float, values))


def check_steps(kind, learning_rate, momentum, weight_decay, columns, n_steps=4):
    """Steps of the kernel, its gradient amid NaN, beside the reference's in float64."""
    rng = np.random.default_rng(0)
    rule, want_rule = both_rules(kind, learning_rate, momentum, weight_decay)
    at, inside = N, slice(N, N + columns)
    parameters, state, gradient = (np.full(columns + 2 * N, fill, np.float32) for fill in (7, 7, np.nan))
    parameters[inside], state[inside] = rng.standard_normal(columns), 0
    want, velocity = parameters[inside].astype(np.float64), np.zeros(columns)
    for step in range(n_steps):
        gradient[inside] = rng.standard_normal(columns)
        update(parameters, state, at, gradient, at, columns, rule)
        reference.sgd_update(want, velocity, gradient[inside].astype(np.float64), want_rule)
        assert np.abs(parameters[inside] - want).max() <= 8 * (step + 1) ** 2 * EPS * (1 + np.abs(want).max())
        assert np.abs(state[inside] - velocity).max() <= 8 * (step + 1) ** 2 * EPS * (1 + np.abs(velocity).max())
    for array in (parameters, state):
        assert (np.delete(array, inside) == 7).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weight_decay", [0, 0.1])
@pytest.mark.parametrize("columns", [N, 2 * N, 4 * N])
def test_steps_are_the_references_and_touch_nothing_else(kind, weight_decay, columns):
    check_steps(kind, 0.1, 0 if kind == "plain" else 0.9, weight_decay, columns)


@given(st.sampled_from(list(KINDS)), st.floats(1e-4, 0.9), st.floats(0, 0.99), st.floats(0, 0.9))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_steps_of_any_rule(kind, learning_rate, momentum, weight_decay):
    check_steps(kind, learning_rate, 0 if kind == "plain" else momentum, weight_decay, N)


def test_plain_steps_need_no_state():
    parameters, gradient = np.ones(N, np.float32), np.arange(N, dtype=np.float32)
    update(parameters, np.zeros(0, np.float32), 0, gradient, 0, N, both_rules("plain", 0.5, 0, 0)[0])
    np.testing.assert_array_equal(parameters, 1 - 0.5 * np.arange(N))


def test_nesterov_looks_ahead_by_one_step_of_momentum():
    parameters, state, gradient = np.zeros(N, np.float32), np.zeros(N, np.float32), np.ones(N, np.float32)
    update(parameters, state, 0, gradient, 0, N, both_rules("nesterov", 1, 0.5, 0)[0])
    np.testing.assert_array_equal(state, 1)
    np.testing.assert_array_equal(parameters, -1.5)


@pytest.mark.parametrize("kind", KINDS)
def test_nan_in_the_gradient_shows_in_its_parameter_alone(kind):
    parameters, state, gradient = np.ones(N, np.float32), np.zeros(N, np.float32), np.ones(N, np.float32)
    gradient[3] = np.nan
    update(parameters, state, 0, gradient, 0, N, both_rules(kind, 0.1, 0.5, 0.1)[0])
    np.testing.assert_array_equal(np.isnan(parameters), np.arange(N) == 3)


SETTINGS = {
    "adam": {"betas": (0.8, 0.95)},
    "adamw": {"betas": (0.8, 0.95)},
    "rmsprop": {"alpha": 0.9, "momentum": 0.5},
    "adagrad": {"lr_decay": 0.1},
}
ADAPTIVE = {
    name: (kind().rule, kind(**{"weight_decay": 0.1, **SETTINGS.get(name, {})}))
    for name, kind in OPTIMIZERS.items()
    if name != "sgd"
}


@pytest.mark.parametrize("kind", ADAPTIVE)
@pytest.mark.parametrize("columns", [N, 2 * N, 4 * N])
def test_adaptive_steps_are_the_references_and_touch_nothing_else(kind, columns):
    rng = np.random.default_rng(0)
    code, optimizer = ADAPTIVE[kind]
    want_rule, n_state_arrays, rate_decay, _ = reference.rule_of(optimizer)
    at, inside, size = N, slice(N, N + columns), columns + 2 * N
    parameters, gradient = np.full(size, 7, np.float32), np.full(size, np.nan, np.float32)
    state = np.zeros(n_state_arrays * size, np.float32)
    parameters[inside] = rng.standard_normal(columns)
    want = parameters[inside].astype(np.float64)
    want_state = reference.initial_state(want, n_state_arrays)
    for step in range(10):
        want_rule = reference.set_rate(want_rule, 0.05, step + 1, rate_decay)
        gradient[inside] = rng.standard_normal(columns)
        rule = Rule(code, *(np.float32(value) for value in want_rule[1:]))
        update(parameters, state, at, gradient, at, columns, rule)
        reference.adaptive_update(want, want_state, gradient[inside].astype(np.float64), want_rule)
        np.testing.assert_allclose(parameters[inside], want, rtol=0, atol=1e-5)
    for half, expected in zip(state.reshape(n_state_arrays, size), np.reshape(want_state, (n_state_arrays, columns))):
        np.testing.assert_allclose(half[inside], expected, rtol=1e-4, atol=1e-5)
        assert not np.delete(half, inside).any()
    assert (np.delete(parameters, inside) == 7).all()


@pytest.mark.parametrize("kind", ADAPTIVE)
def test_without_a_gradient_nothing_moves(kind):
    code, _ = ADAPTIVE[kind]
    parameters, zeros = np.zeros(N, np.float32), np.zeros(N, np.float32)
    rule = Rule(code, *np.float32([0.1, 0.9, 0.1, 0.9, 1e-30, 0.1, 1]))
    update(parameters, np.zeros(2 * N, np.float32), 0, zeros, 0, N, rule)
    assert not parameters.any()  # as in the padding of weights


def test_the_first_step_of_adam_is_the_rate_whatever_the_gradient():
    model = fastmlp.train(
        np.eye(4, dtype=np.float32), np.float32([1, 2, 3, 4]), hidden=(), optimizer="adam", epochs=1, batch_size=4,
        init=[(np.zeros((4, 1)), np.zeros(1))], learning_rate=0.01,
    )  # fmt: skip
    np.testing.assert_allclose(model.weights[0], 0.01, rtol=1e-5)


@pytest.mark.parametrize("size", [0, 1, N, 3 * N + 5])
def test_subnormal_numbers_are_flushed_and_no_others(size):
    tiny = np.finfo(np.float32).tiny
    numbers = np.float32(
        [0, -0.0, tiny, -tiny, 1, np.inf, -np.inf, np.nan, 1e-45, -1e-45, np.nextafter(tiny, 0), -1e-40]
    )
    state = np.resize(numbers, 4 * N)
    want = state.copy()
    flush_subnormals(state, size)
    reference.flush_subnormals(want, size)
    np.testing.assert_array_equal(state, want)
    assert not (state[:size][np.isin(np.arange(size) % len(numbers), range(8, 12))]).any()
    np.testing.assert_array_equal(state[size:], np.resize(numbers, 4 * N)[size:])
