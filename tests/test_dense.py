import numpy as np
import pytest
from helpers import SIZES, Memory, close, normal
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core import config

from fastmlp import reference
from fastmlp.activations import CODES as ACTIVATIONS
from fastmlp.engine.parameters import Parameters
from fastmlp.kernels.ops import dense
from fastmlp.kernels.ops.optimizers import MOMENTUM, NESTEROV, PLAIN, Rule
from fastmlp.kernels.simd.processors import PANEL, ROWS, WIDE

SHAPES = [(n, 33, 17) for n in SIZES] + [(9, n, 20) for n in SIZES] + [(10, 40, n) for n in SIZES]
if config.DISABLE_JIT:
    SHAPES = [(1, 1, 1), (9, 17, 15), (8, 65, 33), (3, 5, 65)]


def lay_out(seed, batch_size, n_in, n_out):
    rng = np.random.default_rng(seed)
    work, parameters = Memory(), Memory()
    weight, bias = normal(rng, n_in, n_out), normal(rng, n_out)
    places = parameters.panels(weight, n_in + 2), parameters.vector(bias)
    zeros, scratch = work.vector(np.zeros(int(PANEL))), work.take(int(ROWS * WIDE))
    return rng, work, parameters, weight, bias, *places, zeros, scratch


def check_forward(batch_size, n_in, n_out, activation="identity"):
    rng, work, parameters, weight, bias, weight_at, bias_at, _, scratch = lay_out(0, batch_size, n_in, n_out)
    inp = normal(rng, batch_size, n_in)
    inp_at, out_at = work.panels(inp), work.panels(np.full((batch_size, n_out), np.nan, np.float32))
    n_tiles, half = dense.tiles(out_at), dense.tiles(out_at) // 2
    for first, last in ((half, n_tiles), (0, half)):  # in any order: tiles are independent
        dense.dense_forward(
            work.array, out_at, inp_at, parameters.array, weight_at, bias_at, ACTIVATIONS[activation], scratch,
            first, last, dense.no_prefetch(),
        )  # fmt: skip
    got = work.read(out_at)
    if activation == "identity":
        assert close(got, inp, weight, bias)
    want = reference.dense_forward(*(a.astype(np.float64) for a in (inp, weight, bias)), activation)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * max(1, n_in) ** 0.5)


@pytest.mark.parametrize(("batch_size", "n_in", "n_out"), SHAPES)
def test_forward(batch_size, n_in, n_out):
    check_forward(batch_size, n_in, n_out)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_forward_applies_the_activation(activation):
    check_forward(9, 17, 33, activation)


@pytest.mark.skipif(config.DISABLE_JIT, reason="slow without compiled code")
@given(st.integers(1, 140), st.integers(1, 140), st.integers(1, 140))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_forward_of_any_shape(batch_size, n_in, n_out):
    check_forward(batch_size, n_in, n_out)


@pytest.mark.parametrize(("batch_size", "n_in", "n_out"), SHAPES)
def test_backward_input_with_transposed_weights(batch_size, n_in, n_out):
    rng, work, parameters, weight, _, weight_at, _, zeros, scratch = lay_out(1, batch_size, n_in, n_out)
    inp, dout = np.abs(normal(rng, batch_size, n_in)), normal(rng, batch_size, n_out)
    inp[0, 0] = 0  # where the gradient of ReLU is 0
    inp_at, dout_at = work.panels(inp), work.panels(dout)
    transposed_at = work.panels(np.full((n_out, n_in), np.nan, np.float32))
    dense.transpose(work.array, transposed_at, parameters.array, weight_at, 0, -(-n_in // 16))
    np.testing.assert_array_equal(work.read(transposed_at), reference.transpose(weight))
    dense.dense_backward_input(
        work.array, inp_at, dout_at, transposed_at, zeros, ACTIVATIONS["relu"], 0, scratch, 0, dense.tiles(inp_at)
    )
    got = work.read(inp_at)
    assert got[0, 0] == 0
    got[0, 0] = dout[0].astype(np.float64) @ weight[0].astype(np.float64)
    assert close(got, dout, weight.T)


@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if not reference.keeps_slope(name)])
def test_backward_input_applies_the_derivative(activation):
    rng, work, _, weight, _, _, _, zeros, scratch = lay_out(2, 9, 17, 5)
    inp, dout = rng.random((9, 17)).astype(np.float32), normal(rng, 9, 5)
    inp_at, dout_at, transposed_at = work.panels(inp), work.panels(dout), work.panels(weight.T)
    dense.dense_backward_input(
        work.array, inp_at, dout_at, transposed_at, zeros, ACTIVATIONS[activation], 0, scratch, 0, dense.tiles(inp_at)
    )
    want = reference.dense_backward_input(*(a.astype(np.float64) for a in (inp, dout, weight)), activation)
    np.testing.assert_allclose(work.read(inp_at), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("batch_size", "n_in", "n_out"), SHAPES)
def test_plain_update(batch_size, n_in, n_out):
    rng, work, parameters, weight, _, weight_at, _, zeros, scratch = lay_out(3, batch_size, n_in, n_out)
    inp, dout = normal(rng, batch_size, n_in), normal(rng, batch_size, n_out)
    inp_at, dout_at = work.panels(inp), work.panels(dout)
    rule = Rule(PLAIN, np.float32(1), np.float32(0), np.float32(0))
    behind = parameters.column(weight_at, 0)[-1] + int(PANEL)
    parameters.array[behind] = 7  # not NaN, which stays NaN whatever is added
    dense.dense_update(
        work.array, inp_at, dout_at, parameters.array, np.zeros(0, np.float32), weight_at, zeros, rule, scratch,
        0, dense.strips(weight_at), 0, weight_at.rows,
    )  # fmt: skip
    assert close(-parameters.read(weight_at), inp.T, dout, -weight.astype(np.float64))
    assert parameters.array[behind] == 7  # rows behind the last one are not written


@pytest.mark.parametrize("kind", ["plain", "momentum", "nesterov"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_updates_of_weights_and_biases_over_steps(kind, weight_decay):
    rng, work, parameters, weight, bias, weight_at, bias_at, zeros, scratch = lay_out(4, 9, 19, 35)
    code = {"plain": PLAIN, "momentum": MOMENTUM, "nesterov": NESTEROV}[kind]
    rate, momentum = np.float32(0.1), np.float32(0.9)
    rule = Rule(code, rate, momentum, np.float32(weight_decay))
    state = np.zeros_like(parameters.array)
    want_weight, want_bias = weight.astype(np.float64), bias.astype(np.float64)
    velocities = np.zeros_like(want_weight), np.zeros_like(want_bias)
    for _ in range(3):
        inp, dout = normal(rng, 9, 19), normal(rng, 9, 35)
        inp_at, dout_at = work.panels(inp), work.panels(dout)
        dense.dense_update(
            work.array, inp_at, dout_at, parameters.array, state, weight_at, zeros, rule, scratch,
            0, dense.strips(weight_at), 0, weight_at.rows,
        )  # fmt: skip
        bias_rule = rule._replace(weight_decay=np.float32(0))
        dense.bias_update(
            work.array, dout_at, parameters.array, state, bias_at, bias_rule, scratch, 0, dense.strips(dout_at)
        )
        want = reference.Rule(kind, rate, momentum, weight_decay)
        reference.dense_update(inp.astype(np.float64), dout.astype(np.float64), want_weight, velocities[0], want)
        reference.bias_update(dout.astype(np.float64), want_bias, velocities[1], want._replace(weight_decay=0))
    np.testing.assert_allclose(parameters.read(weight_at), want_weight, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(parameters.array[bias_at : bias_at + 35], want_bias, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_out", SIZES if not config.DISABLE_JIT else [1, 17, 65])
@pytest.mark.parametrize("batch_size", [1, 9])
def test_forward_takes_row_major_weights(n_out, batch_size):
    rng, work, parameters = np.random.default_rng(0), Memory(), Parameters((33, n_out))
    inp, weight, bias = normal(rng, batch_size, 33), parameters.weights[0], parameters.biases[0]
    weight[:], bias[:] = normal(rng, 33, n_out), normal(rng, n_out)
    start, bias_at, row = parameters.offsets[0]
    weight_at = dense.Matrix(start, PANEL, row, 33, n_out)
    inp_at, out_at = work.panels(inp), work.panels(np.full((batch_size, n_out), np.nan, np.float32))
    dense.dense_forward(
        work.array, out_at, inp_at, parameters.buffer, weight_at, bias_at, ACTIVATIONS["identity"],
        work.take(int(ROWS * WIDE)), 0, dense.tiles(out_at), dense.no_prefetch(),
    )  # fmt: skip
    assert close(work.read(out_at), inp, weight, bias)


@pytest.mark.parametrize("batch_size", [1, 2, 33])
@pytest.mark.parametrize("n_out", SIZES)
def test_plain_update_of_biases(batch_size, n_out):
    rng, work, parameters, _, bias, _, bias_at, _, scratch = lay_out(5, 1, 1, n_out)
    dout = normal(rng, batch_size, n_out)
    dout_at, rule = work.panels(dout), Rule(PLAIN, np.float32(1), np.float32(0), np.float32(0))
    n_strips = dense.strips(dout_at)
    for strip in reversed(range(n_strips)):  # in any order: strips are independent
        dense.bias_update(
            work.array, dout_at, parameters.array, np.zeros(0, np.float32), bias_at, rule, scratch, strip, strip + 1
        )
    assert close(-parameters.array[None, bias_at : bias_at + n_out], np.ones((1, batch_size)), dout, -bias)


@pytest.mark.skipif(config.DISABLE_JIT, reason="slow without compiled code")
@given(st.integers(1, 140), st.integers(1, 140), st.integers(1, 140))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_backward_of_any_shape(batch_size, n_in, n_out):
    test_plain_update(batch_size, n_in, n_out)
    test_backward_input_with_transposed_weights(batch_size, n_in, n_out)


def test_a_tile_outside_of_the_share_is_left_alone():
    _, work, parameters, weight, _, weight_at, bias_at, zeros, scratch = lay_out(6, 9, 40, 65)
    inp_at, out_at = work.panels(np.ones((40, 40), np.float32)), work.panels(np.full((40, 65), np.nan, np.float32))
    tiles = dense.tiles(out_at)
    dense.dense_forward(
        work.array, out_at, inp_at, parameters.array, weight_at, bias_at, 0, scratch, 1, 2, dense.no_prefetch()
    )
    rows, columns = np.nonzero(~np.isnan(work.read(out_at)))
    assert (rows.min(), rows.max() + 1) == (int(ROWS), 2 * int(ROWS))
    assert (columns.min(), columns.max() + 1) == (0, int(WIDE))
    dout_at, rule = work.panels(np.ones((40, 65), np.float32)), Rule(PLAIN, *np.float32([1, 0, 0]))
    dense.dense_update(
        work.array,
        inp_at,
        dout_at,
        parameters.array,
        np.zeros(0, np.float32),
        weight_at,
        zeros,
        rule,
        scratch,
        0,
        1,
        int(ROWS),
        2 * int(ROWS),
    )
    rows, columns = np.nonzero(parameters.read(weight_at) != weight)
    assert tiles > 2
    assert (rows.min(), rows.max() + 1) == (int(ROWS), 2 * int(ROWS))
    assert (columns.min(), columns.max() + 1) == (0, int(WIDE))
