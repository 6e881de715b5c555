import numpy as np
import pytest
from helpers import SIZES, Memory, normal
from numba.core import config

from fastmlp import reference
from fastmlp.activations import CODES as ACTIVATIONS
from fastmlp.kernels.ops import dense, rows
from fastmlp.kernels.ops.grouped import count_strips
from fastmlp.kernels.ops.optimizers import MOMENTUM, PLAIN, Rule
from fastmlp.kernels.simd.processors import PANEL, ROWS, WIDE

SHAPES = [(n, 17) for n in SIZES] + [(33, n) for n in SIZES]
if config.DISABLE_JIT:
    SHAPES = [(1, 1), (17, 65)]
RTOL = 1e-4 if config.DISABLE_JIT else 0  # NumPy has no fused multiply-add


def lay_out(n_in, n_out):
    rng = np.random.default_rng(0)
    work, parameters = Memory(), Memory()
    weight, bias = normal(rng, n_in, n_out), normal(rng, n_out)
    weight_at, bias_at = parameters.panels(weight, n_in + 2), parameters.vector(bias)
    parameters.array[np.isnan(parameters.array)] = 0  # as the padding of weights is
    inp = normal(rng, 1, n_in) * (rng.random(n_in) < 0.7).astype(np.float32)
    return rng, work, parameters, weight, weight_at, bias, bias_at, inp


@pytest.mark.parametrize(("n_in", "n_out"), SHAPES)
def test_forward_of_a_single_row_is_that_of_a_tile(n_in, n_out):
    _, work, parameters, weight, weight_at, bias, bias_at, inp = lay_out(n_in, n_out)
    inp_at, out_at = work.panels(inp), work.panels(np.full((1, n_out), np.nan, np.float32))
    arguments = work.array, out_at, inp_at, parameters.array, weight_at, bias_at, ACTIVATIONS["tanh"]
    dense.dense_forward(*arguments, work.take(int(ROWS * WIDE)), 0, dense.tiles(out_at), dense.no_prefetch())
    tile = work.read(out_at)
    work.array[work.column(out_at, 0)] = np.nan
    for strip in reversed(range(count_strips(out_at))):  # in any order
        rows.dense_forward_row(*arguments, strip, strip + 1)
    np.testing.assert_allclose(work.read(out_at), tile, rtol=RTOL)
    want = reference.dense_forward_row(*(a.astype(np.float64) for a in (inp, weight, bias)), "tanh")
    np.testing.assert_allclose(tile, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("n_in", "n_out"), SHAPES)
@pytest.mark.parametrize("rule", [Rule(PLAIN, 0.1, 0, 0), Rule(PLAIN, 0.1, 0, 0.1), Rule(MOMENTUM, 0.1, 0.9, 0.1)])
def test_the_way_back_of_a_single_row_is_that_of_tiles(n_in, n_out, rule):
    rule = Rule(rule.rule, *np.float32(rule[1:]))
    rng, work, parameters, weight, weight_at, _, _, inp = lay_out(n_in, n_out)
    state = np.abs(rng.standard_normal(parameters.array.size)).astype(np.float32)
    velocity = np.stack([state[parameters.column(weight_at, j)] for j in range(n_out)], axis=1).astype(np.float64)
    dout = normal(rng, 1, n_out)
    zeros, scratch = work.vector(np.zeros(int(PANEL))), work.take(int(ROWS * WIDE))
    dout_at = work.panels(dout)
    for column in range(n_out, -(-n_out // 16) * 16):  # zero up to a whole vector
        work.array[dout_at.start + column // int(PANEL) * dout_at.panel + column % int(PANEL)] = 0
    transposed_at = work.panels(np.full((n_out, n_in), np.nan, np.float32))
    dense.transpose(work.array, transposed_at, parameters.array, weight_at, 0, -(-n_in // 16))
    results = []
    for row in (False, True):
        inp_at, weights, states = work.panels(inp), parameters.array.copy(), state.copy()
        if row:
            for block in reversed(range(-(-n_in // 16))):  # in any order
                rows.dense_backward_row(
                    work.array, inp_at, dout_at, weights, states, weight_at, ACTIVATIONS["tanh"], 0, rule, scratch,
                    block, block + 1,
                )  # fmt: skip
        else:
            dense.dense_update(
                work.array,
                inp_at,
                dout_at,
                weights,
                states,
                weight_at,
                zeros,
                rule,
                scratch,
                0,
                dense.strips(weight_at),
                0,
                weight_at.rows,
            )
            dense.dense_backward_input(
                work.array,
                inp_at,
                dout_at,
                transposed_at,
                zeros,
                ACTIVATIONS["tanh"],
                0,
                scratch,
                0,
                dense.tiles(inp_at),
            )
        results.append((work.read(inp_at), weights, states))
    for tile, single in zip(*results):
        np.testing.assert_allclose(single, tile, rtol=RTOL)
    want_weight = weight.astype(np.float64)
    want_rule = reference.Rule("momentum" if rule.rule == MOMENTUM else "plain", *rule[1:])
    want = reference.dense_backward_row(
        inp.astype(np.float64), dout.astype(np.float64), want_weight, velocity, "tanh", want_rule
    )
    np.testing.assert_allclose(results[1][0], want, rtol=1e-4, atol=1e-4)
    got = np.stack([results[1][1][parameters.column(weight_at, j)] for j in range(n_out)], axis=1)
    np.testing.assert_allclose(got, want_weight, rtol=1e-4, atol=1e-5)
