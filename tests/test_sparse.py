import numpy as np
import pytest
import scipy.sparse
from helpers import Memory, normal
from numba.core import config

from fastmlp import reference
from fastmlp.activations import CODES as ACTIVATIONS
from fastmlp.data.arrays import is_csr
from fastmlp.data.encoding import coded_words, rows_of
from fastmlp.engine.workspace import lists_for, nonzeros_for
from fastmlp.kernels.ops import dense, grouped, sparse
from fastmlp.kernels.ops.gather import gather
from fastmlp.kernels.ops.optimizers import MOMENTUM, PLAIN, Rule
from fastmlp.kernels.simd.processors import PANEL, ROWS, STRIP, WIDE

SHAPES = [(1, 1, 1), (1, 50, 65), (16, 63, 10), (17, 64, 33), (15, 65, 64), (129, 97, 16), (3, 200, 130)]
if config.DISABLE_JIT:
    SHAPES = [(1, 1, 1), (5, 65, 33)]


def mostly_zero(rng, n, n_features, dtype=np.float32):
    """With an empty sample, an empty feature, and the first and last features in use."""
    x = rng.integers(-100, 100, (n, n_features)) * (rng.random((n, n_features)) < 0.2)
    x[:, 0], x[:, -1] = 3, 25
    x[n // 2] = 0
    if n_features > 2:
        x[:, 1] = 0
    return np.abs(x).astype(dtype)


def entries_of(x, scale, samples, parts=1):
    """The entries of some samples of an array or a CSR matrix, found and sorted in several parts."""
    rows, n, n_features = rows_of(x, scale), len(samples), x.shape[1]
    csr = is_csr(x)
    entries = nonzeros_for(n_features, n, int(np.diff(x.indptr).max()) if csr else n_features)
    entries.feature[:], entries.value[:], entries.sample_offset[:] = 2**31 - 1, np.nan, 2**31 - 1
    entries.until[:], entries.touched[:] = 99, 1  # of the batch before
    blocks = len(entries.touched)
    for part in reversed(range(parts)):  # in any order
        find = sparse.copy_nonzeros if csr else sparse.find_nonzeros
        find(entries, rows, samples, 0, n * part // parts, n * (part + 1) // parts)
    for part in reversed(range(parts)):
        sparse.sort_nonzeros(entries, n, n_features, blocks * part // parts, blocks * (part + 1) // parts)
    return entries


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("index", [None, np.int32, np.int64])
@pytest.mark.parametrize(("n", "n_features", "parts"), [(1, 1, 1), (9, 15, 2), (20, 16, 3), (7, 200, 1), (20, 200, 3)])
def test_entries_are_what_is_not_zero(dtype, index, n, n_features, parts):
    x = mostly_zero(np.random.default_rng(0), n, n_features, dtype)
    samples = np.random.default_rng(1).integers(0, n, n)
    matrix = x
    if index is not None:
        matrix = scipy.sparse.csr_matrix(x)
        matrix.indices, matrix.indptr = matrix.indices.astype(index), matrix.indptr.astype(index)
    entries = entries_of(matrix, 0.5, samples, parts)
    want = reference.find_nonzeros(x[samples].astype(np.float32) * np.float32(0.5))
    if index is not None:
        copied = reference.copy_nonzeros(
            matrix.data.astype(np.float32), matrix.indices, matrix.indptr, samples, np.float32(0.5)
        )
        for got, expected in zip(copied, want):
            np.testing.assert_array_equal(got, expected)
    for begin, end, (features, values) in zip(entries.begin, entries.end, want):
        np.testing.assert_array_equal(entries.feature[begin:end], features)
        np.testing.assert_array_equal(entries.value[begin:end], values)
    begin = 0
    for feature, (places, values) in enumerate(reference.sort_nonzeros(want, n_features)):
        end = entries.until[feature]
        assert (end == 0) == (len(places) == 0)
        if end:
            assert entries.touched[feature // 64]
            np.testing.assert_array_equal(entries.sample_offset[2 * begin : 2 * end : 2], places * PANEL)
            np.testing.assert_array_equal(entries.factor[2 * begin + 1 : 2 * end : 2], values)
            begin = end


@pytest.mark.parametrize(("batch_size", "n_in", "n_out"), SHAPES)
@pytest.mark.parametrize("rule_code", [PLAIN, MOMENTUM])
@pytest.mark.parametrize("csr", [False, True])
def test_kernels_on_entries_give_the_bits_of_the_dense_ones(batch_size, n_in, n_out, rule_code, csr):
    rng = np.random.default_rng(0)
    x = mostly_zero(rng, batch_size, n_in)
    scale, weight, bias = np.float32(1 / 255), normal(rng, n_in, n_out), normal(rng, n_out)
    rule = Rule(rule_code, np.float32(0.1), np.float32(0.9), np.float32(0.01 if rule_code else 0))
    dout, samples = normal(rng, batch_size, n_out), np.arange(batch_size)
    rows = rows_of(x, scale)
    results = []
    for kind in ("dense", "nonzeros", "row"):
        if kind == "row" and (batch_size > 1 or rule_code != PLAIN):
            continue
        work, parameters = Memory(), Memory()
        weight_at, bias_at = parameters.panels(weight, n_in + 2), parameters.vector(bias)
        state = np.zeros_like(parameters.array)
        zeros, scratch = work.vector(np.zeros(int(PANEL))), work.take(max(ROWS * WIDE, STRIP))
        inp_at, dout_at = work.panels(np.full((batch_size, n_in), np.nan, np.float32)), work.panels(dout)
        out_at = work.panels(np.full((batch_size, n_out), np.nan, np.float32))
        if kind == "dense":
            gather(work.array, inp_at, rows, samples, 0, 0, batch_size)
            dense.dense_forward(
                work.array, out_at, inp_at, parameters.array, weight_at, bias_at, ACTIVATIONS["relu"], scratch,
                0, dense.tiles(out_at), dense.no_prefetch(),
            )  # fmt: skip
            dense.dense_update(
                work.array, inp_at, dout_at, parameters.array, state, weight_at, zeros, rule, scratch,
                0, dense.strips(weight_at), 0, weight_at.rows,
            )  # fmt: skip
        entries = entries_of(scipy.sparse.csr_matrix(x) if csr else x, scale, samples)
        for strip in range(grouped.count_strips(out_at) if kind != "dense" else 0):
            sparse.sparse_forward(
                work.array, out_at, entries, parameters.array, weight_at, bias_at, ACTIVATIONS["relu"], strip, rows,
                samples, batch_size,
            )  # fmt: skip
            if kind == "row":
                sparse.sparse_update_row(
                    work.array, dout_at, entries, parameters.array, weight_at, rule.learning_rate, strip
                )
            else:
                sparse.sparse_update(
                    work.array, dout_at, entries, parameters.array, state, weight_at, rule, scratch, strip
                )
        results.append((work.read(out_at), parameters.read(weight_at)))
    for other in results[1:]:
        for a, b in zip(results[0], other):
            np.testing.assert_allclose(b, a, rtol=1e-4 if config.DISABLE_JIT else 0, atol=1e-6 * config.DISABLE_JIT)
    lists = reference.find_nonzeros(x.astype(np.float64) * scale)
    want_weight, velocity = weight.astype(np.float64), np.zeros(weight.shape)
    want = reference.sparse_forward(lists, want_weight, bias.astype(np.float64), "relu")
    np.testing.assert_allclose(results[1][0], want, rtol=1e-4, atol=1e-4)
    want_rule = reference.Rule("momentum" if rule_code == MOMENTUM else "plain", *rule[1:])
    by_feature = reference.sort_nonzeros(lists, n_in)
    reference.sparse_update(dout.astype(np.float64), by_feature, want_weight, velocity, want_rule)
    np.testing.assert_allclose(results[1][1], want_weight, rtol=1e-4, atol=1e-4)
    if len(results) == 3:
        want_weight = weight.astype(np.float64)
        reference.sparse_update_row(dout.astype(np.float64), lists, want_weight, rule.learning_rate)
        np.testing.assert_allclose(results[2][1], want_weight, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("n", "n_features", "parts"), [(1, 1, 1), (150, 50, 1), (130, 200, 2), (20, 200, 3)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_lists_of_a_csr_matrix_are_those_of_an_array(n, n_features, parts, dtype):
    x = mostly_zero(np.random.default_rng(0), n, n_features, dtype)
    rows, table = coded_words(scipy.sparse.csr_matrix(x), 1.0)
    lists = lists_for(n_features, n)
    lists.count[:], lists.words[:] = 99, 2**32 - 1
    all_groups = lists.groups // int(grouped.GROUPS_PER_PASS)
    for part in range(parts):
        first, last = (all_groups * k // parts * int(grouped.GROUPS_PER_PASS) for k in (part, part + 1))
        grouped.make_lists_from_words(lists, rows, np.arange(n), 0, n, first, last)
    want = reference.make_lists_from_words(reference.make_words(x.astype(np.float32)), -(-n_features // 3))
    for block in range(-(-n // 128)):
        for group, (samples, values) in enumerate(want):
            index = block * lists.groups + group
            words = lists.words[index * grouped.LIST_CAPACITY :][: lists.count[index]]
            inside = samples // 128 == block
            np.testing.assert_array_equal(words & 255, samples[inside] - block * 128)
            for k in range(3):
                np.testing.assert_array_equal(table[(words >> (8 * (k + 1))) & 255], values[inside, k])
