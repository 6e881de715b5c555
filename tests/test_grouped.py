import numpy as np
import pytest
from helpers import Memory, normal
from numba.core import config

from fastmlp import reference
from fastmlp.activations import CODES as ACTIVATIONS
from fastmlp.data.encoding import coded_rows, rows_of
from fastmlp.engine.workspace import lists_for
from fastmlp.kernels.ops import dense, grouped
from fastmlp.kernels.ops.gather import gather
from fastmlp.kernels.ops.optimizers import MOMENTUM, PLAIN, Rule
from fastmlp.kernels.simd.processors import PANEL, ROWS, STRIP, WIDE

SHAPES = [
    (1, 1, 1),
    (16, 47, 10),
    (17, 48, 33),
    (15, 49, 64),
    (127, 50, 65),
    (128, 100, 100),
    (129, 97, 16),
    (300, 146, 130),
]
if config.DISABLE_JIT:
    SHAPES = [(1, 1, 1), (17, 48, 33)]


def pixels(rng, n, n_features):
    """Mostly zeros, with an empty sample, an empty feature, and the first and last features in use."""
    x = rng.integers(1, 256, (n, n_features)) * (rng.random((n, n_features)) < 0.2)
    x[:, 0], x[:, -1] = 3, 255
    x[n // 2] = 0
    if n_features > 2:
        x[:, 1] = 0
    return x.astype(np.uint8)


def lists_of(x):
    rows, _ = coded_rows(x, 1.0)
    lists = lists_for(x.shape[1], len(x))
    samples = np.arange(len(x))
    grouped.locate(lists, rows, samples, 0, len(x), rows.data.size - rows.stride)
    grouped.make_lists(lists, rows, len(x), 0, lists.groups)
    return lists


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_of_few_values_are_coded(dtype):
    rng = np.random.default_rng(0)
    x = (rng.integers(-20, 20, (1500, 7)) * (rng.random((1500, 7)) < 0.5)).astype(dtype) / 3
    rows, table = coded_rows(x, 0.5)
    got = rows.data.reshape(-1, rows.stride)
    want, values = reference.encode(x.astype(np.float32))
    np.testing.assert_array_equal(got[:1500, :7], want)
    assert not got[1500:].any()
    assert not got[:, 7:].any()
    np.testing.assert_array_equal(table[: len(values)], values * np.float32(0.5))
    assert coded_rows(rng.standard_normal((100, 7)), 1.0) is None


@pytest.mark.parametrize("n_features", [1, 2, 3, 48, 50])
def test_lists_hold_what_is_not_zero(n_features):
    x = pixels(np.random.default_rng(0), 150, n_features)
    lists = lists_of(x)
    want = reference.make_lists(x)
    got = np.zeros_like(x)
    for block in range(2):
        for g in range(-(-n_features // 3)):
            index = block * lists.groups + g
            words = lists.words[index * grouped.LIST_CAPACITY :][: lists.count[index]]
            assert (words >> 8 != 0).all()
            samples = (words & 255) + block * int(grouped.BLOCK)
            in_block = want[g][0][want[g][0] // int(grouped.BLOCK) == block]
            np.testing.assert_array_equal(samples, in_block)
            for k in range(3):
                value = (words >> (8 * (k + 1))) & 255
                if 3 * g + k < n_features:
                    got[samples, 3 * g + k] = value
                else:
                    assert not value.any()
    np.testing.assert_array_equal(got, x)


@pytest.mark.parametrize(("batch_size", "n_in", "n_out"), SHAPES)
@pytest.mark.parametrize("rule_code", [PLAIN, MOMENTUM])
@pytest.mark.parametrize("at_once", [1, 2, 100])
def test_sparse_kernels_give_the_bits_of_the_dense_ones(batch_size, n_in, n_out, at_once, rule_code):
    rng = np.random.default_rng(0)
    x = pixels(rng, batch_size, n_in)
    scale, weight, bias = np.float32(1 / 255), normal(rng, n_in, n_out), normal(rng, n_out)
    rule = Rule(rule_code, np.float32(0.1), np.float32(0.9), np.float32(0.01 if rule_code else 0))
    dout = normal(rng, batch_size, n_out)
    results = []
    for kind in ("dense", "sparse"):
        work, parameters = Memory(), Memory()
        weight_at, bias_at = parameters.panels(weight, n_in + 2), parameters.vector(bias)
        parameters.array[np.isnan(parameters.array)] = 0  # rows that fill up a group are zero
        state = np.zeros_like(parameters.array)
        zeros, scratch = work.vector(np.zeros(int(PANEL))), work.take(max(ROWS * WIDE, int(grouped.GROUP) * STRIP))
        table = work.vector(np.arange(256, dtype=np.float32) * scale)
        inp_at, dout_at = work.panels(np.full((batch_size, n_in), np.nan, np.float32)), work.panels(dout)
        out_at = work.panels(np.full((batch_size, n_out), np.nan, np.float32))
        if kind == "dense":
            gather(work.array, inp_at, rows_of(x, "auto"), np.arange(batch_size), 0, 0, batch_size)
            dense.dense_forward(
                work.array, out_at, inp_at, parameters.array, weight_at, bias_at, ACTIVATIONS["relu"], scratch,
                0, dense.tiles(out_at), dense.no_prefetch(),
            )  # fmt: skip
            dense.dense_update(
                work.array, inp_at, dout_at, parameters.array, state, weight_at, zeros, rule, scratch,
                0, dense.strips(weight_at), 0, weight_at.rows,
            )  # fmt: skip
        else:
            lists = lists_of(x)
            nothing = grouped.GroupPrefetch(rows_of(x, 1.0), np.zeros(0, np.int64), *np.int64([1, 0, 0, 0]))
            strips = grouped.count_strips(out_at)
            for strip in range(strips):
                grouped.grouped_start(work.array, out_at, parameters.array, bias_at, strip)
            for first in range(0, strips, at_once):
                last = min(first + at_once, strips)
                for block in range(-(-batch_size // int(grouped.BLOCK))):
                    grouped.grouped_add(
                        work.array, out_at, table, lists, block, parameters.array, weight_at, first, last, nothing
                    )
                grouped.grouped_update(
                    work.array, dout_at, table, lists, parameters.array, state, weight_at, rule, scratch, first, last
                )
            for strip in range(strips):
                grouped.grouped_finish(work.array, out_at, ACTIVATIONS["relu"], strip)
        results.append((work.read(out_at), parameters.read(weight_at)))
    (dense_out, dense_weight), (sparse_out, sparse_weight) = results
    if not config.DISABLE_JIT:  # NumPy has no fused multiply-add
        np.testing.assert_array_equal(dense_out, sparse_out)
        np.testing.assert_array_equal(dense_weight, sparse_weight)
    np.testing.assert_allclose(dense_out, sparse_out, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(dense_weight, sparse_weight, rtol=1e-4, atol=1e-5)
    want_lists = reference.make_lists(x.astype(np.float64) * scale)
    want, want_weight = np.empty((batch_size, n_out)), weight.astype(np.float64)
    reference.grouped_start(want, bias)
    reference.grouped_add(want, want_lists, weight.astype(np.float64))
    reference.grouped_finish(want, "relu")
    np.testing.assert_allclose(sparse_out, want, rtol=1e-4, atol=1e-4)
    kind = "momentum" if rule_code == MOMENTUM else "plain"
    want_rule = reference.Rule(kind, rule.learning_rate, rule.momentum, rule.weight_decay)
    reference.grouped_update(dout.astype(np.float64), want_lists, want_weight, np.zeros_like(want_weight), want_rule)
    np.testing.assert_allclose(sparse_weight, want_weight, rtol=1e-4, atol=1e-4)
