import numpy as np
import pytest
from helpers import FORMS, Memory, normal, set_form

from fastmlp import reference
from fastmlp.activations import CODES as ACTIVATIONS
from fastmlp.data.targets import encode_labels
from fastmlp.engine.executor import Executor
from fastmlp.engine.parameters import initial_parameters
from fastmlp.engine.workspace import nonzeros_for
from fastmlp.kernels.jit import kernel
from fastmlp.kernels.ops import dropout as kernels
from fastmlp.kernels.ops.dense import tiles
from fastmlp.kernels.simd.processors import NARROW, ROWS, WIDE
from fastmlp.kernels.simd.vector import store
from fastmlp.optimizers import SGD
from fastmlp.regularization import Regularization, dropout_threshold

SEED = 0x1234_5678_9ABC_DEF


def dropout_of(rate, update=7, layer=1):
    return kernels.dropout_of(SEED, update, layer, dropout_threshold(rate))


@kernel
def keep(out, dropout, first):
    for i in range(0, out.size, NARROW):
        store(kernels.keep_lanes(dropout.first, dropout.second, dropout.threshold, dropout.scale, first + i), out, i)


@pytest.mark.parametrize("rate", [0.0, 1e-9, 0.1, 0.5, 0.99, 1 - 1e-12])
def test_what_is_kept_is_the_references(rate):
    out = np.full(64 * 32, np.nan, np.float32)
    keep(out, dropout_of(rate), 0)
    np.testing.assert_array_equal(out, reference.keep_lanes(SEED, 7, 1, rate, 64, 32).ravel())


def test_the_counter_may_go_beyond_32_bits():
    far, near = np.full(32, np.nan, np.float32), np.full(32, np.nan, np.float32)
    keep(far, dropout_of(0.5), 2**32 + 11)
    keep(near, dropout_of(0.5), 11)
    np.testing.assert_array_equal(far, near)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_as_many_are_dropped_as_wanted_and_the_mean_is_kept(rate):
    kept = reference.keep_lanes(SEED, 1, 0, rate, 400, 500)
    deviation = np.sqrt(rate * (1 - rate) / kept.size)
    assert abs((kept == 0).mean() - rate) < 5 * deviation
    assert kept.mean() == pytest.approx(1, abs=5 * deviation / (1 - rate))
    for axis in (0, 1):  # no row and no column stands out
        n = kept.shape[axis]
        assert np.abs((kept == 0).mean(axis=axis) - rate).max() < 6 * np.sqrt(rate * (1 - rate) / n)


def test_updates_layers_seeds_and_neighbours_have_nothing_in_common():
    masks = [
        reference.keep_lanes(seed, update, layer, 0.5, 100, 100).ravel() > 0
        for seed in (SEED, SEED + 1, SEED + 2**31) for update in (1, 2, 2**40) for layer in (-1, 0, 1)
    ]  # fmt: skip
    masks += [np.roll(masks[0], k) for k in (1, 2, 100)]
    agreement = np.array([[(a == b).mean() for a in masks] for b in masks])
    assert np.abs(agreement[~np.eye(len(masks), dtype=bool)] - 0.5).max() < 0.03  # six deviations


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("rate", [0.0, 0.4])
@pytest.mark.parametrize(("n", "columns"), [(1, 1), (9, 17), (8, 32), (20, 65)])
def test_finish_forward(activation, rate, n, columns):
    rng, work = np.random.default_rng(0), Memory()
    z = normal(rng, n, columns)
    out, slope = work.panels(z), work.panels(np.full_like(z, np.nan))
    kept = reference.keep_lanes(SEED, 7, 1, rate, n, columns) if rate else 1
    with np.errstate(all="ignore"):  # NumPy stands in for compiled code, in columns that nobody reads too
        for first in range(tiles(out)):
            kernels.finish_forward(
                work.array, out, slope.start - out.start, ACTIVATIONS[activation], dropout_of(rate), first, first + 1
            )
    want = reference.finish_forward(z.astype(np.float64), activation, kept)
    np.testing.assert_allclose(work.read(out), want[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(work.read(slope), want[1], rtol=1e-5, atol=1e-6)


def test_finish_forward_leaves_other_tiles_alone():
    work = Memory()
    out, slope = work.panels(np.ones((40, 20), np.float32)), work.panels(np.full((40, 20), 5, np.float32))
    kernels.finish_forward(work.array, out, slope.start - out.start, ACTIVATIONS["tanh"], dropout_of(0), 1, 2)
    changed = np.zeros((40, 20), bool)
    changed[ROWS : 2 * ROWS, :WIDE] = True  # the second tile of the first strip
    np.testing.assert_array_equal(work.read(out) != 1, changed)
    np.testing.assert_array_equal(work.read(slope) != 5, changed)


@pytest.mark.parametrize("rate", [0.0, 0.4])
@pytest.mark.parametrize("scaled", [False, True])
def test_prepare_rows_and_entries(rate, scaled):
    rng, work = np.random.default_rng(0), Memory()
    x = normal(rng, 9, 70)
    padded = 80 if scaled else 0
    factor = np.zeros(padded, np.float32)
    if scaled:
        factor[:70] = rng.random(70)
    inp = work.panels(x)
    drop = dropout_of(rate, layer=-1)
    kernels.prepare_rows(work.array, inp, factor, drop, 2, 9)
    kept = reference.keep_lanes(SEED, 7, -1, rate, 9, 70) if rate else np.ones((9, 70), np.float32)
    want = reference.prepare_rows(x, factor[:70] if scaled else 1, kept)
    want[:2] = x[:2]
    np.testing.assert_allclose(work.read(inp), want, rtol=1e-6)

    entries = nonzeros_for(70, 9, 70)
    some = rng.random((9, 70)) < 0.3
    for i in range(9):
        features = np.flatnonzero(some[i])
        begin = entries.begin[i] = i * entries.room
        end = entries.end[i] = begin + len(features)
        entries.feature[begin:end], entries.value[begin:end] = features, x[i, features]
    kernels.prepare_entries(entries, 70, factor, drop, 2, 9)
    found = [(entries.feature[b:e], entries.value[b:e]) for b, e in zip(entries.begin, entries.end)]
    before = [(features, x[i, features]) for i, (features, _) in enumerate(found)]
    expected = reference.prepare_entries(before, factor[:70] if scaled else np.ones(70), kept)
    for i, ((_, got), (_, values)) in enumerate(zip(found, expected)):
        np.testing.assert_allclose(got, values if i >= 2 else before[i][1], rtol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 30])
def test_all_forms_and_numbers_of_threads_drop_the_same(batch_size, monkeypatch):
    monkeypatch.setattr("fastmlp.engine.threads.MIN_FLOP", 0)
    rng = np.random.default_rng(0)
    x = (rng.integers(0, 256, (60, 50)) * (rng.random((60, 50)) < 0.3)).astype(np.uint8)
    targets = encode_labels(rng.integers(0, 3, 60), np.arange(3))
    results = []
    for form in FORMS:
        if form in ("grouped", "grouped csr"):
            continue  # bytes can't be scaled: `Executor.set_data` takes entries
        for threads in (1, 2):
            parameters = initial_parameters((50, 70, 33, 3), "he", np.random.default_rng(1))
            run = Executor(
                parameters, ["tanh", "gelu"], "cross_entropy", batch_size, True, SGD(), threads,
                regularization=Regularization((0.5, 0.3), 0.2), seed=SEED,
            )  # fmt: skip
            zeros = run.network.layout.zeros
            keep_zero = np.s_[zeros : zeros + 64]
            run.network.workspace[np.delete(np.arange(run.network.workspace.size), keep_zero)] = np.nan
            set_form(run, form, x, "auto", targets)
            run.train(np.arange(60), np.full(60, 0.05, np.float32))
            results.append(parameters.buffer.copy())
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


def test_groups_give_way_to_entries_where_inputs_are_dropped():
    x = np.eye(64, dtype=np.uint8)
    parameters = initial_parameters((64, 5, 2), "he", np.random.default_rng(0))
    run = Executor(
        parameters, ["relu"], "cross_entropy", 32, optimizer=SGD(), regularization=Regularization(input_dropout=0.5)
    )
    run.set_data(x, "auto")
    assert run.input_path == "sparse"
