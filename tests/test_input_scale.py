"""A factor for every feature that is learnt."""

import numpy as np
import pytest
import scipy.sparse
from helpers import SIZES, Memory, normal, read

import fastmlp
from fastmlp import reference
from fastmlp.kernels.ops.optimizers import ADAM, PLAIN, Rule
from fastmlp.kernels.simd.processors import NARROW
from fastmlp.kernels.step import input_scale

RNG = np.random.default_rng(0)
X = np.where(RNG.random((90, 35)) < 0.4, RNG.integers(1, 9, (90, 35)), 0).astype(np.float32) / 4
Y = (X[:, 0] > X[:, 1]).astype(int) + (X[:, 2] > 1)
SETTINGS = {"hidden": (70, 9), "activation": "mish", "learning_rate": 0.02, "epochs": 2, "seed": 0, "batch_size": 16}
OPTIMIZERS = [fastmlp.SGD(), fastmlp.SGD(0.9), fastmlp.Adam((0.9, 0.95), weight_decay=0.01, eps=1e-3), fastmlp.AdamW()]


def lay_out(n_in, n_out, n_state_arrays):
    """Parameters W = s * V and a state with V, s, the optimizer's numbers and the gradient, NaN in between; the matrix
    W, and where the blocks of the state and the scale begin."""
    rng, memory = np.random.default_rng(1), Memory(40_000)
    v, s, dw = normal(rng, n_in, n_out), normal(rng, n_in), normal(rng, n_in, n_out)
    matrix = memory.panels(s[:, None] * v)
    scale = memory.vector(s, int(NARROW))
    parameters = memory.array
    size = parameters.size
    state = np.full((n_state_arrays + 2) * size, np.nan, np.float32)
    inside = ~np.isnan(parameters)
    blocks = state.reshape(-1, size)
    for block in blocks[:n_state_arrays]:
        block[inside] = abs(normal(rng, inside.sum()))
    for block, values in ((blocks[-2], v), (blocks[-1], dw)):
        for j in range(n_out):
            block[memory.column(matrix, j)] = values[:, j]
    blocks[-2][scale : scale + n_in], blocks[-1][scale : scale + n_in] = s, 0
    padding = slice(scale + n_in, scale + -(-n_in // int(NARROW)) * int(NARROW))
    blocks[:, padding] = 0
    return parameters, state, matrix, scale


@pytest.mark.parametrize("n_in", [1, 5, 17])
@pytest.mark.parametrize("n_out", [n for n in SIZES if n < 70])
def test_gradients_are_the_references_and_padding_takes_no_part(n_in, n_out):
    parameters, state, matrix, scale = lay_out(n_in, n_out, 0)
    size, penalties = parameters.size, np.float32([0.1, 0.2])
    shadow, gradient = state[:size], state[size:]
    v, s, dw = (read(shadow, matrix), shadow[scale : scale + n_in].copy(), read(gradient, matrix).astype(float))
    reference.penalize(read(parameters, matrix), dw, 0.1, 0.2)
    want, squares = reference.scale_gradient(dw, v.astype(float), s.astype(float))
    total = input_scale.scale_gradient(parameters, state, matrix, 0, scale, 0, n_in, *penalties)
    np.testing.assert_allclose(read(gradient, matrix), dw, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient[scale : scale + n_in], want, rtol=1e-4, atol=1e-4)
    assert total == pytest.approx(squares, rel=1e-5)


@pytest.mark.parametrize("factor", [1, 0.25])
@pytest.mark.parametrize(("kind", "n_state_arrays"), [("plain", 0), ("adam", 2)])
@pytest.mark.parametrize(("n_in", "n_out"), [(1, 1), (5, 33), (16, 64), (17, 70)])
def test_updates_are_the_references(n_in, n_out, kind, n_state_arrays, factor):
    parameters, state, matrix, scale = lay_out(n_in, n_out, n_state_arrays)
    size, here = parameters.size, slice(scale, scale + n_in)
    blocks = state.reshape(-1, size)
    blocks[-1][here] = normal(np.random.default_rng(2), n_in)
    code = {"plain": PLAIN, "adam": ADAM}[kind]
    rules = [Rule(code, *np.float32([0.1, 0.9, decay, 0.99, 1e-3, 0.2, 2])) for decay in (0.01, 0)]
    of_weights, of_scale = (reference.Rule(kind, *map(float, rule[1:])) for rule in rules)
    known = [(read(block, matrix).astype(float), block[here].astype(float)) for block in blocks]
    *moments, (v, s), (dw, ds) = known
    own = reference.InputScale(v, s, [pair[1] for pair in moments], 1.0, of_scale)
    product = np.zeros((n_in, n_out))
    reference.update_scaled(product, own, [pair[0] for pair in moments], dw, ds, factor, of_weights)
    input_scale.update_scaled(
        parameters, state, matrix, n_state_arrays * size, scale, 0, n_in, np.float32(factor), *rules
    )  # fmt: skip
    for got, want in [(read(parameters, matrix), product), (read(blocks[-2], matrix), v), (blocks[-2][here], s)]:
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def check_against_reference(x, **arguments):
    arguments = {**SETTINGS, "scale_rate_factor": 6.0, **arguments}
    got, want = fastmlp.train(x, Y, **arguments), reference.train(X, Y, **arguments, dtype=np.float64)
    for a, b in zip(got.weights + got.biases, want.weights + want.biases):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=5e-5)
    np.testing.assert_allclose(got.history["train_loss"], want.history["train_loss"], rtol=1e-3)
    return got


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: type(optimizer).__name__)
def test_training_is_the_references(optimizer):
    arguments = {**SETTINGS, "optimizer": optimizer}
    got = check_against_reference(X, optimizer=optimizer)
    assert np.abs(got.weights[0] - fastmlp.train(X, Y, **arguments).weights[0]).max() > 1e-3


@pytest.mark.parametrize(
    "arguments",
    [
        {"batch_size": 1, "epochs": 1, "learning_rate": 0.005},
        {"batch_size": 90, "sparse": True},
        {"batch_size": 3, "sparse": True, "epochs": 1},
        {"sparse": False, "clip_norm": 0.5, "l1": 0.001, "l2": 0.01},
        {"hidden": (), "weight_rate_factors": "ntk", "bias_rate_factor": 0.1, "init": "zeros"},
        {"init": "notebook", "dropout": 0.2, "input_dropout": 0.1},
    ],
)
def test_it_is_so_on_every_path(arguments):
    check_against_reference(X, **{"optimizer": OPTIMIZERS[2], **arguments})
    if arguments.get("sparse"):
        check_against_reference(scipy.sparse.csr_matrix(X), **{"optimizer": OPTIMIZERS[2], **arguments})


def test_gradients_are_those_of_a_scaled_input():
    rng = np.random.default_rng(3)
    x, y, w = rng.standard_normal((20, 4)), rng.standard_normal((20, 1)), rng.standard_normal((4, 1))
    model = fastmlp.train(
        x, y, hidden=(), init=[(w, np.zeros(1))], learning_rate=0.01, batch_size=20, epochs=1, scale_rate_factor=2.0
    )
    w = np.float32(w).astype(float)
    loss = lambda v, s: (((x * s) @ v - y) ** 2).mean()  # noqa: E731
    ones, step = np.ones(4), 1e-6
    dv = np.array([(loss(w + d[:, None], ones) - loss(w - d[:, None], ones)) / (2 * step) for d in step * np.eye(4)])
    ds = np.array([(loss(w, ones + d) - loss(w, ones - d)) / (2 * step) for d in step * np.eye(4)])
    want = (w - 0.01 * dv[:, None]) * (1 - 0.02 * ds)[:, None]
    np.testing.assert_allclose(model.weights[0], want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_do_not_change_a_bit(threads, monkeypatch):
    monkeypatch.setattr("fastmlp.engine.threads.MIN_FLOP", 0)
    arguments = {**SETTINGS, "optimizer": "adam", "clip_norm": 0.3, "l1": 1e-3, "scale_rate_factor": 3.0}
    want, got = (fastmlp.train(X, Y, **arguments, threads=n) for n in (1, threads))
    for a, b in zip(want.weights + want.biases, got.weights + got.biases):
        np.testing.assert_array_equal(a, b)


def same(a, b):
    return all(np.array_equal(p, q) for p, q in zip(a.weights + a.biases, b.weights + b.biases))


ADAM_RUN = {**SETTINGS, "optimizer": "adam", "scale_rate_factor": 6.0}


@pytest.mark.parametrize("writes", [False, True])
def test_a_resumed_run_ends_with_the_same_bits(writes, tmp_path):
    def halve(model):
        if model.history["epoch"][-1] == 2:
            model.weights[0][3] /= 3

    callbacks = [halve] if writes else []
    whole = fastmlp.train(X, Y, **{**ADAM_RUN, "epochs": 5}, callbacks=callbacks)
    fastmlp.train(X, Y, **ADAM_RUN, checkpoint=tmp_path, callbacks=callbacks)
    assert same(whole, fastmlp.train(X, Y, **{**ADAM_RUN, "epochs": 5}, callbacks=callbacks, checkpoint=tmp_path))


def test_partial_fit_goes_on_with_the_scale():
    model = fastmlp.train(X, Y, **ADAM_RUN)
    state = model._training_state
    before = state.optimizer_state.copy()
    model.partial_fit(X, Y)
    scale = state.executor.scale
    assert np.abs(scale.values - 1).max() > 0.3
    weight = np.concatenate(scale._weights, axis=1)
    np.testing.assert_array_equal(model.weights[0], scale.values[:, None] * weight)
    assert not np.array_equal(before, state.optimizer_state)


def test_a_row_of_weights_that_is_replaced_keeps_its_scale_unless_that_is_zero():
    model = fastmlp.train(X, Y, **ADAM_RUN)
    model.partial_fit(X, Y)
    scale = model._training_state.executor.scale
    scale.values[5] = 0
    model.weights[0][[2, 5]] = 0.25
    model._training_state.executor.pack()
    kept = scale.values[2]
    weight = np.concatenate(scale._weights, axis=1)
    np.testing.assert_allclose(weight[2] * kept, 0.25, rtol=1e-6)
    assert (scale.values[5], set(weight[5])) == (1, {0.25})


def test_a_largest_norm_is_refused():
    with pytest.raises(ValueError, match="max_norm must be None with a scale_rate_factor"):
        fastmlp.train(X, Y, **ADAM_RUN, max_norm=1.0)
    for bad in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="scale_rate_factor must be a finite number > 0"):
            fastmlp.train(X, Y, **{**ADAM_RUN, "scale_rate_factor": bad})
