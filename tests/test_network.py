import ctypes
import importlib
import pkgutil
import sys

import numpy as np
import pytest
from helpers import FORMS, set_form
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from numba.core import config
from numba.core.dispatcher import Dispatcher
from scipy.sparse import csr_matrix

import fastmlp
from fastmlp import kernels, reference
from fastmlp.data.arrays import check_features
from fastmlp.data.scaling import InputScale, check_input_scale
from fastmlp.data.targets import encode_labels, encode_targets
from fastmlp.engine.executor import Executor
from fastmlp.engine.parameters import initial_parameters
from fastmlp.engine.workspace import padded_outputs
from fastmlp.kernels.jit import REGION_ARGUMENTS
from fastmlp.kernels.ops.dense import ceil_div, strips, tiles
from fastmlp.kernels.ops.grouped import LIST_CAPACITY, count_strips
from fastmlp.kernels.simd.processors import NARROW, PANEL
from fastmlp.kernels.step import epoch, regions
from fastmlp.kernels.step.network import SCRATCH, Work, output_of, partition
from fastmlp.kernels.step.record import TRAIN
from fastmlp.losses import ELEMENTWISE, LOSSES

RNG = np.random.default_rng(0)
OFFSET = InputScale(np.ones(3), np.ones(3))
HIDDEN = [(), (33,), (65, 20, 1)]
SGDS = [fastmlp.SGD(), fastmlp.SGD(0.9, weight_decay=0.1), fastmlp.SGD(0.5, nesterov=True), fastmlp.Adam(eps=1e-3)]


def data(n, n_features=50, n_classes=4):
    rng = np.random.default_rng(n)
    x = rng.integers(0, 256, (n, n_features)) * (rng.random((n, n_features)) < 0.4)
    return x.astype(np.uint8), rng.integers(0, n_classes, n)


def make_run(x, y, hidden=(33,), loss="cross_entropy", batch_size=16, form="dense", sgd=SGDS[0], **options):
    """A run whose memory holds NaN, and lists full of nonsense, wherever it has not been written to."""
    n_out = y.shape[1] if loss in ELEMENTWISE else 4
    parameters = initial_parameters((x.shape[1], *hidden, n_out), "he", np.random.default_rng(1))
    for bias in parameters.biases:
        bias[:] = np.random.default_rng(2).standard_normal(bias.size)
    run = Executor(parameters, ["tanh"] * len(hidden), loss, batch_size, True, sgd, **options)
    zeros = run.network.layout.zeros
    run.network.workspace[np.delete(np.arange(run.network.workspace.size), np.s_[zeros : zeros + int(PANEL)])] = np.nan
    targets = encode_targets(y) if loss in ELEMENTWISE else encode_labels(y, np.arange(4))
    set_form(run, form, x, "auto", targets)
    run.lists.count[:], run.lists.words[:] = LIST_CAPACITY, 2**32 - 1
    run.entries.feature[:], run.entries.value[:], run.entries.sample_offset[:] = 2**31 - 1, np.nan, 2**31 - 1
    return run


def arrays_of(run):
    return [array.copy() for array in run.parameters.weights + run.parameters.biases]


def check_steps(x, y, batch_size, hidden, loss, form, sgd):
    """An epoch beside the reference's in float64, which does each step from the weights that the run has come to.

    From the same start alone, the differences of rounding grow from step to step, in deep networks by any factor.
    """
    run = make_run(x, y, hidden, loss, batch_size, form, sgd)
    weights, biases = ([a.astype(np.float64) for a in part] for part in (run.parameters.weights, run.parameters.biases))
    rule, n_state_arrays, _, _ = reference.rule_of(sgd)
    states = [[reference.initial_state(a, n_state_arrays) for a in pair] for pair in zip(weights, biases)]
    order = np.random.default_rng(3).permutation(len(x))
    for start in range(0, len(x), batch_size):
        batch = order[start : start + batch_size]
        records = run.train(batch, np.full(1, 0.05, np.float32))
        losses, _ = reference.train_step(
            reference.gather(x, batch, 1 / 255, np.float64), y[batch], weights, biases, states,
            ["tanh"] * len(hidden) + ["identity"], loss, reference.set_rate(rule, 0.05, start // batch_size + 1),
        )  # fmt: skip
        assert records[0, 0] == pytest.approx(losses.sum(), rel=1e-4, abs=1e-5)
        for got, want in zip(run.parameters.weights + run.parameters.biases, weights + biases):
            np.testing.assert_allclose(got, want, rtol=1e-3, atol=2e-5)
            want[:] = got


@pytest.mark.parametrize(
    ("x", "scale", "path", "message"),
    [
        (np.zeros((4, 3), np.uint8), "auto", "tiles", "input_path must be one of"),
        (csr_matrix((4, 3), dtype=np.float32), "auto", "dense", "input_path='dense' can't read this x"),
        (RNG.random((100, 5)), "auto", "grouped sparse", "input_path='grouped sparse' can't read this x"),
        (RNG.random((4, 3)), [1.0, 2.0, 3.0], "grouped sparse", "input_path='grouped sparse' can't read this x"),
        (RNG.random((4, 3)), OFFSET, "sparse", "input_path='sparse' can't read this x"),
        (csr_matrix(RNG.random((4, 3))), OFFSET, "sparse", "input_path='sparse' can't read this x"),
    ],
)
def test_a_path_that_the_data_rule_out_is_refused(x, scale, path, message):
    parameters = initial_parameters((x.shape[1], 4), "he", np.random.default_rng(0))
    run = Executor(parameters, (), "cross_entropy", 2, optimizer=fastmlp.SGD())
    with pytest.raises(ValueError, match=message):
        run.set_data(check_features(x), check_input_scale(scale, x.shape[1]), input_path=path)


@pytest.mark.parametrize(("n", "batch_size"), [(3, 1), (17, 16), (20, 7), (33, 8), (50, 49), (50, 50), (260, 129)])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sgd", SGDS)
def test_steps_of_any_batch_size_and_short_last_ones_are_the_references(n, batch_size, form, sgd):
    if config.DISABLE_JIT and n > 20:
        pytest.skip("slow without compiled code")
    check_steps(*data(n), batch_size, (33,), "cross_entropy", form, sgd)


@pytest.mark.skipif(config.DISABLE_JIT, reason="slow without compiled code")
@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 140), st.lists(st.integers(1, 140), max_size=3),
    st.sampled_from(list(LOSSES)), st.sampled_from(list(FORMS)), st.sampled_from(SGDS),
)  # fmt: skip
@example(39, 1, 4, [32, 39, 71], "softmax_mse", "dense", SGDS[3])
@settings(max_examples=40, deadline=None, derandomize=True)
def test_steps_of_any_network_are_the_references(n, batch_size, n_features, hidden, loss, form, sgd):
    x, y = data(n, n_features)
    if loss in ELEMENTWISE:
        y = np.random.default_rng(0).standard_normal((n, 1 + n_features % 70)).astype(np.float32)
        y = {"poisson": np.abs(y), "binary_cross_entropy": (y > 0).astype(np.float32)}.get(loss, y)
    assume(form != "grouped csr" or x.any())  # which an empty matrix is not worth
    check_steps(x, y, min(batch_size, n), hidden, loss, form, sgd)


def call(address, record, kind, layer, first, last, thread):
    """Call a region."""
    arguments = [int(value) for value in (record.ctypes.data, kind, layer, first, last, thread)]
    ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * len(REGION_ARGUMENTS))(int(address))(*arguments)


def step_by_regions(run, order, threads):
    """One step as `train_steps` does it, with the threads' parts one after the other, in the order of `threads`."""
    record, last = run.record, len(run.parameters.weights) - 1
    run._point("samples", order)
    run._point_regions(TRAIN)
    run._set(start=0, size=len(order), learning_rate=0.05, n_parts=len(threads))
    steps = [("first_forward", regions.INPUT, 0)] if record["has_input"] else []
    steps += [("first_forward", regions.FORWARD, 0)]
    steps += [("inner_forward", regions.FORWARD, layer) for layer in range(1, last)]
    steps += [("inner_forward", regions.OUTPUT, last)]
    steps += [("inner_backward", regions.BACKWARD, layer) for layer in range(last, min(last, 1) - 1, -1)]
    for region, kind, layer in steps:
        for thread in threads:
            call(record[region], record, kind, layer, thread, thread + 1, thread)


@pytest.mark.parametrize("threads", [(0,), (0, 1), (1, 0), (2, 0, 1), (6, 5, 4, 3, 2, 1, 0)])
@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [1, 30])
def test_threads_parts_make_up_a_step_in_whatever_order_they_are_done(threads, hidden, form, size):
    x, y = data(30)
    order = np.arange(size)
    want = make_run(x, y, hidden, batch_size=30, form=form, sgd=SGDS[1])
    got = make_run(x, y, hidden, batch_size=30, form=form, sgd=SGDS[1], threads=len(threads))
    want.train(order, np.full(1, 0.05, np.float32))
    step_by_regions(got, order, threads)
    np.testing.assert_array_equal(got.network.parameters, want.network.parameters)
    np.testing.assert_array_equal(got.network.state, want.network.state)


@pytest.mark.parametrize("threads", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("hidden", HIDDEN)
def test_threads_parts_cover_all_tiles_and_strips_once(threads, hidden):
    network = make_run(*data(30), hidden).network
    for layer in range(len(hidden) + 1):
        out = output_of(network, np.int64(layer), np.int64(30))
        for units in (tiles(out), strips(out), count_strips(out), ceil_div(out.rows, NARROW)):
            parts = [partition(units, Work(thread, thread + 1, threads, thread)) for thread in range(threads)]
            assert [unit for first, last in parts for unit in range(first, last)] == list(range(units))
            assert max(last - first for first, last in parts) <= -(-units // threads)


@pytest.mark.parametrize("form", FORMS)
def test_steps_leave_alone_what_is_not_theirs(form):
    run = make_run(*data(50), hidden=(65, 20), form=form, threads=3)
    workspace, at = run.network.workspace, run.network.layout
    table = workspace[at.table : at.table + 256].copy()
    run.threads = 1
    run.train(np.arange(50), np.full(4, 0.05, np.float32))
    assert not workspace[at.zeros : at.zeros + int(PANEL)].any()
    assert np.isnan(workspace[at.scratch + int(SCRATCH) : at.scratch + 3 * int(SCRATCH)]).all()
    np.testing.assert_array_equal(workspace[at.table : at.table + 256], table)


@pytest.mark.parametrize("hidden", HIDDEN)
def test_predictions_are_the_same_bits_however_they_are_computed(hidden):
    x, y = data(20)
    results = []
    for batch_size, packed, form in [
        (1, True, "dense"),
        (1, False, "dense"),
        (1, False, "sparse"),
        (1, True, "sparse csr"),
        (16, True, "dense"),
        (7, False, "dense"),
        (7, False, "sparse csr"),
        (16, True, "grouped"),
        (16, True, "grouped csr"),
        (16, True, "sparse"),
    ]:
        run = make_run(x, y, hidden, batch_size=batch_size, packed=packed, form=form)
        flat, outputs = padded_outputs(20, 4)
        flat[:] = np.nan
        run.predict(19, flat)
        assert np.isnan(outputs[19]).all()  # the row behind the last one
        results.append(outputs[:19])
        want = reference.forward(
            x[:19] / 255, run.parameters.weights, run.parameters.biases, ["tanh"] * len(hidden) + ["identity"]
        )
        np.testing.assert_allclose(outputs[:19], want[-1], rtol=1e-4, atol=1e-5)
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], rtol=1e-4 if config.DISABLE_JIT else 0)  # no FMA in NumPy


def test_evaluation_changes_nothing_and_gives_the_references_loss():
    x, y = data(50)
    run = make_run(x, y, sgd=SGDS[1])
    before, packed = arrays_of(run), run.network.parameters.copy()
    total, correct, _ = run.evaluate(50)
    logits = reference.forward(x / 255, run.parameters.weights, run.parameters.biases, ["tanh", "identity"])[-1]
    losses, predicted, _ = reference.cross_entropy(logits, y)
    assert total == pytest.approx(losses.sum(), rel=1e-5)
    assert correct == (predicted == y).sum()
    for got, want in zip([*arrays_of(run), run.network.parameters], [*before, packed]):
        np.testing.assert_array_equal(got, want)


@pytest.mark.skipif(config.DISABLE_JIT, reason="nothing is compiled")
def test_a_second_network_adds_no_signature_to_any_kernel(monkeypatch):
    monkeypatch.setattr("fastmlp.engine.threads.MIN_FLOP", 0)
    walked = pkgutil.walk_packages(kernels.__path__, "fastmlp.kernels.")
    modules = [importlib.import_module(module.name) for module in walked]

    def compiled():
        found = {d for module in modules for d in vars(module).values() if isinstance(d, Dispatcher)}
        return {d.py_func: (len(d.signatures), sum(d.stats.cache_misses.values())) for d in found}

    def train(hidden, n_features, dtype, activation):
        for fill in (0.1, 1):  # sparse kernels and dense ones
            x = (np.random.default_rng(0).random((300, n_features)) < fill).astype(dtype)
            for threads in (1, 2):
                model = fastmlp.train(
                    x, np.arange(300) % 3, hidden=hidden, activation=activation, epochs=1, threads=threads
                )
            model.evaluate(x, np.arange(300) % 3)
            model.predict_proba(x)
            model.predict_proba(x[:1])

    train((8,), 5, np.float32, "relu")
    before = compiled()
    assert before[epoch.train_steps.py_func][0] == 1
    train((100, 3, 1), 70, np.uint8, "tanh")
    train((), 1, np.float32, "sigmoid")
    assert compiled() == before


def unknown_kind(field, region):
    """Have a region called that does not do what it is asked for."""
    return lambda run: run._set(**{field: region.address})


UNKNOWN = {
    "mode": lambda run: run._set(mode=99),
    "rows_kind": lambda run: run._set(rows_kind=99),
    "first_forward": unknown_kind("first_forward", regions.inner_backward),
    "inner_forward": unknown_kind("inner_forward", regions.dense_first_forward),
    "loss_rows": unknown_kind("loss_rows", regions.weigh_rows),
    "weigh_rows": unknown_kind("weigh_rows", regions.finish_tiles),
    "first_update": unknown_kind("first_update", regions.cross_entropy_rows),
    "inner_backward": unknown_kind("inner_backward", regions.deferred_update),
    "deferred_update": unknown_kind("deferred_update", regions.grouped_first_forward),
    "average": unknown_kind("average", regions.weigh_rows),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of labels minus predictions that no loss has made
@pytest.mark.parametrize("code", UNKNOWN)
@pytest.mark.parametrize("batch_size", [1, 30])
@pytest.mark.parametrize("form", FORMS)
def test_what_regions_do_not_know_makes_the_loss_nan(code, batch_size, form, monkeypatch):
    run = make_run(*data(30), hidden=(33, 20), batch_size=batch_size, form=form)
    pointed, before = run._point_regions, arrays_of(run)
    monkeypatch.setattr(run, "_point_regions", lambda mode: (pointed(mode), UNKNOWN[code](run)))
    sums = run.train(np.arange(30), np.full(30, 0.1, np.float32))
    assert len(sums) == 1 or code == "mode"  # training stops at once, whatever another mode does goes on
    assert np.isnan(sums[:, epoch.RECORD_LOSS]).all()
    for got, want in zip(arrays_of(run), before):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("code", ["first_forward", "inner_forward"])
def test_what_regions_do_not_know_makes_predictions_nan(code, monkeypatch):
    run, (flat, outputs) = make_run(*data(30)), padded_outputs(30, 4)
    pointed = run._point_regions
    monkeypatch.setattr(run, "_point_regions", lambda mode: (pointed(mode), UNKNOWN[code](run)))
    run.predict(30, flat)
    assert np.isnan(outputs).all()


@pytest.mark.skipif(not config.BOUNDSCHECK or config.DISABLE_JIT, reason="ranges are checked under NUMBA_BOUNDSCHECK=1")
@pytest.mark.parametrize("array", ["workspace", "parameters", "data", "labels", "layers"])
def test_regions_report_what_is_out_of_bounds(array, monkeypatch):
    reports = []
    monkeypatch.setattr(sys, "unraisablehook", lambda report: reports.append(report.exc_value))
    run = make_run(*data(30), batch_size=30)
    run.record[array]["size"] = 2 if array != "layers" else 1  # as if it were that short
    step_by_regions(run, np.arange(30), (0,))
    assert any(isinstance(report, IndexError) for report in reports)
