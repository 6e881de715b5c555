"""Random trainings: against the reference, by ways that should give the same bits, and in random sequences of calls.

A few cases are part of the suite.  ``FASTMLP_FUZZ=10000 NUMBA_BOUNDSCHECK=1 pytest tests/test_fuzz.py`` runs 10,000 of
each property, new ones every time (a tenth as many sequences), with ranges checked in all compiled code.  Either way
every buffer lies between guard zones, and scratch memory starts as NaN.
"""

import ctypes
import os
import pickle
import tempfile
from collections import namedtuple
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import scipy.sparse
from guards import Guards, guarded
from hypothesis import HealthCheck, assume, given, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from numba.core import config
from strategies import CONTENTS, cases, forms_of

import fastmlp
from fastmlp import reference

pytestmark = [
    pytest.mark.skipif(config.DISABLE_JIT, reason="slow without compiled code"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # of what overflows on purpose
]
LONG = int(os.environ.get("FASTMLP_FUZZ", "0"))


def examples(short, share=1, **options):
    """So many cases in the suite, the same ones every time; in a long run a share of FASTMLP_FUZZ, new ones."""
    return settings(
        max_examples=max(1, int(LONG * share)) if LONG else short,
        derandomize=not LONG,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
        **options,
    )


Outcome = namedtuple("Outcome", "model diverged")


def train(x, case, **options):
    """The model of a training, and the epoch in which it diverged, None if it did not."""
    try:
        model, diverged = fastmlp.train(x, case.y, progress=False, **{**case.arguments, **options}), None
    except fastmlp.DivergenceError as error:
        model, diverged = error.model, error.epoch
    return Outcome(model, diverged)


def parameters(model):
    return [*model.weights, *model.biases]


def check_same(got, want):
    """Two arrays have the same bits, but that one NaN is as good as another and 0 as good as -0."""
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


def check_same_models(a, b):
    """Two models have the same parameters and history."""
    for got, want in zip(parameters(a), parameters(b)):
        check_same(got, want)
    assert a.history.keys() == b.history.keys()
    for name in a.history.keys() - {"seconds"}:
        np.testing.assert_array_equal(a.history[name], b.history[name], err_msg=name)


def outputs_of(model, x, y):
    """All that a model says of a data set."""
    found = {"predict": model.predict(x), "evaluate": np.array(model.evaluate(x, y))}
    if model.has_accuracy:
        found["predict_proba"] = model.predict_proba(x)
    return found


def check_same_outputs(a, b):
    assert a.keys() == b.keys()
    for name in a:
        check_same(a[name], b[name])


@pytest.mark.parametrize("offset", [-4, 400])
def test_guard_zones_notice_what_is_written_beside_a_buffer(offset):
    guards = Guards()
    array = guards.aligned_zeros(100)
    guards.check()
    ctypes.c_float.from_address(array.ctypes.data + offset).value = 1.0
    with pytest.raises(AssertionError, match="a buffer of 400 bytes was written to"):
        guards.check()


# ---------------------------------------------------------------------------------------------- ways to the same bits


def check_offset(case, model, said):
    """A sparse matrix has the outputs of the array in a model whose input has an offset, up to rounding, and the same
    deviations; constant features stay as they are."""
    matrix = scipy.sparse.csr_matrix(case.x)
    for name, got in outputs_of(model, matrix, case.y).items():
        if name != "predict" or model.classes is None:
            size = np.abs(said[name][np.isfinite(said[name])]).max(initial=1)
            np.testing.assert_allclose(got, said[name], rtol=1e-3, atol=1e-3 * size)
    scale = fastmlp.data.scaling.standard_scale(matrix)
    assert not scale.offset.any()
    np.testing.assert_allclose(scale.factor, fastmlp.data.scaling.standard_scale(case.x).factor, rtol=1e-3)


@given(st.data())
@examples(25)
def test_all_ways_to_a_model_give_the_same_bits(data):
    case = data.draw(cases())
    forms = forms_of(case)
    with patch("fastmlp.engine.threads.MIN_FLOP", 0), guarded():
        want = train(case.x, case, threads=1, sparse=False)
        said = outputs_of(want.model, case.x, case.y)
        for name in data.draw(st.lists(st.sampled_from(sorted(forms)), min_size=2, max_size=3)):
            x = forms[name](case.x)
            sparse = data.draw(st.sampled_from([True, "auto"] if "CSR" in name else [True, False, "auto"]))
            threads = data.draw(st.sampled_from([1, 2, 5]))
            note(f"{name}, sparse={sparse}, threads={threads}")
            before = pickle.dumps(x)
            got = train(x, case, threads=threads, sparse=sparse)
            assert got.diverged == want.diverged
            check_same_models(got.model, want.model)
            check_same_outputs(outputs_of(want.model, x, case.y), said)
            if not name.startswith("float"):  # a model has the dtype's own scale
                check_same_outputs(outputs_of(got.model, case.x, case.y), said)
            assert pickle.dumps(x) == before
        if case.has_offset and case.content == "normal":
            check_offset(case, want.model, said)
        if case.arguments["loss"] != "notebook":  # whose softmax is over the samples
            for i in {0, len(case.x) // 2, len(case.x) - 1}:
                check_same(want.model.predict(case.x[i : i + 1]), said["predict"][i : i + 1])


# ---------------------------------------------------------------------------------------------- the reference


class Kinks:
    """How close a run of the reference comes to where gradients jump: |distance| over the size of the numbers there."""

    def __init__(self):
        self.closest = np.inf

    def see(self, distance, size):
        if distance.size:
            size = float(np.max(np.abs(size))) or 1.0
            self.closest = min(self.closest, float(np.min(np.abs(distance))) / size)

    def watching(self):
        """Patches with which the reference tells of its kinks."""
        activations, losses = reference.ACTIVATIONS, reference.LOSSES
        penalize, softmax = reference.penalize, reference.batch_softmax

        def forward_of(name):
            def forward(z):
                if name in ("relu", "leaky_relu", "selu"):
                    self.see(z, z)
                elif name == "hard_sigmoid":
                    self.see(np.abs(z) - 3, z)
                return row.forward(z)

            row = activations[name]
            return row._replace(forward=forward)

        def mean_absolute(out, targets, delta):
            self.see(out - targets, out)
            return reference.mae(out, targets, delta)

        def penalize_and_see(weight, gradient, l1, l2):
            if l1:
                self.see(weight[weight != 0], weight)
            return penalize(weight, gradient, l1, l2)

        def batch_softmax(logits):
            if logits.size and np.ptp(logits) > 80:  # a class's sum over the batch may vanish in float32
                self.closest = 0.0
            return softmax(logits)

        stack = ExitStack()
        stack.enter_context(patch.object(reference.notebook_loss, "batch_softmax", batch_softmax))
        kinked = {name: forward_of(name) for name in ("relu", "leaky_relu", "selu", "hard_sigmoid")}
        stack.enter_context(patch.dict(activations, kinked))
        stack.enter_context(patch.dict(losses, mae=losses["mae"]._replace(function=mean_absolute)))
        stack.enter_context(patch.object(reference.regularization, "penalize", penalize_and_see))
        return stack


EPS = np.finfo(np.float32).eps
# Within so many roundings of a kink float32 may take the other side of it.
NEAR = 64 * EPS


def rough_activations():
    """Patches with which the reference has the absolute error of the kernels' softplus and GELU (see
    test_activations.py), whose small outputs and slopes keep fewer digits than the others'."""
    table = reference.ACTIVATIONS

    def kept(row):
        return row._replace(with_slope=lambda z: tuple(part + z.dtype.type(EPS) for part in row.with_slope(z)))

    softplus = table["softplus"]
    rough = softplus._replace(forward=lambda z: softplus.forward(z) + z.dtype.type(2 * EPS))
    return patch.dict(table, softplus=rough, gelu=kept(table["gelu"]), gelu_tanh=kept(table["gelu_tanh"]))


@given(cases(max_samples=40, max_width=70, max_hidden=3, contents=CONTENTS, eps=(1e-2,), max_steps=3))
@examples(40, 0.5)
def test_a_few_steps_are_the_references(case):
    """Float32 as the reference computes in it tells how far rounding carries: ours is within a multiple of it."""
    kinks = Kinks()
    with kinks.watching():
        exact = reference.train(case.x, case.y, dtype=np.float64, **case.arguments)
    with rough_activations():
        rounded = reference.train(case.x, case.y, **case.arguments)
    assume(kinks.closest > NEAR)
    assume(all(np.isfinite(p).all() and np.abs(p).max() < 1e3 for p in parameters(exact)))
    assume(np.isfinite(rounded.history["train_loss"]).all())
    with guarded():
        got, diverged = train(case.x, case)
    assert diverged is None
    for ours, theirs, want in zip(parameters(got), parameters(rounded), parameters(exact)):
        size = max(1.0, float(np.abs(want).max()))
        bound = 32 * float(np.abs(theirs - want).max()) + 32 * EPS * size
        np.testing.assert_allclose(ours, want, rtol=0, atol=bound)
    want = exact.history["train_loss"]
    rounding = np.abs(np.subtract(rounded.history["train_loss"], want)).max()
    np.testing.assert_allclose(got.history["train_loss"], want, rtol=1e-5, atol=32 * rounding + 32 * EPS)


# ---------------------------------------------------------------------------------------------- sequences of calls


class Stop(Exception):
    """Ends a training in the middle."""


def stop_after(epochs):
    def callback(model):
        if len(model.history["epoch"]) > epochs:
            raise Stop

    return callback


class _SeededRandom:
    """`numpy.random`, whose generators without a seed have one."""

    def __getattr__(self, name):
        return getattr(np.random, name)

    @staticmethod
    def default_rng(seed=0):
        return np.random.default_rng(seed)


class _SeededNumPy:
    random = _SeededRandom()

    def __getattr__(self, name):
        return getattr(np, name)


class EqualModels(RuleBasedStateMachine):
    """Two models, of which one has dense data and one thread, and the other the same data in any form and any number of
    threads, stay equal to the bit whatever is done to both."""

    def __init__(self):
        super().__init__()
        self.stack = ExitStack()
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.stack.enter_context(patch("fastmlp.engine.threads.MIN_FLOP", 0))
        # a model from a file draws the order of its samples at random
        self.stack.enter_context(patch("fastmlp.engine.training_state.np", _SeededNumPy()))
        self.guards = self.stack.enter_context(guarded())
        self.n_files = 0

    def teardown(self):
        self.stack.close()

    def both(self, data, samples=None):
        """The rows of the data set for the two models."""
        x = self.case.x if samples is None else self.case.x[samples]
        name = data.draw(st.sampled_from(sorted(self.forms)))
        return x, self.forms[name](x)

    def samples(self, data):
        n = len(self.case.x)
        first = data.draw(st.integers(0, n - 1))
        return np.arange(n)[first : data.draw(st.integers(first + 1, n))]

    def path(self, name):
        self.n_files += 1
        return self.folder / f"{name}-{self.n_files}"

    def check(self):
        check_same_models(self.plain, self.other)
        self.guards.check()

    def retrain(self, data, **options):
        """Train both anew."""
        x, x_other = self.both(data)
        a = train(x, self.case, threads=1, sparse=False, **options)
        b = train(x_other, self.case, threads=data.draw(st.integers(2, 3)), **options)
        assert a.diverged == b.diverged
        self.plain, self.other = a.model, b.model
        self.check()

    @initialize(data=st.data())
    def start(self, data):
        self.case = data.draw(cases(max_samples=200, max_width=80, max_hidden=3, max_steps=20))
        self.forms = forms_of(self.case)
        self.retrain(data)

    @rule(data=st.data(), seed=st.integers(0, 9))
    def go_on_in_a_new_training(self, data, seed):
        self.retrain(data, init=self.plain, seed=seed)

    @rule(data=st.data(), rate=st.sampled_from([None, 1e-3, 0.1]), batch_size=st.sampled_from([None, 1, 7, 64]))
    def fit_a_piece(self, data, rate, batch_size):
        samples = self.samples(data)
        weights = np.linspace(0.5, 2, len(samples)) if data.draw(st.booleans()) else None
        y, found = self.case.y[samples], []
        for model, x in zip((self.plain, self.other), self.both(data, samples)):
            try:
                found.append(model.partial_fit(x, y, sample_weight=weights, learning_rate=rate, batch_size=batch_size))
            except fastmlp.DivergenceError:
                found.append("diverged")
        np.testing.assert_equal(*found)
        self.check()

    @rule(data=st.data())
    def ask(self, data):
        samples = self.samples(data)
        x, x_other = self.both(data, samples)
        y = self.case.y[samples]
        check_same_outputs(outputs_of(self.plain, x, y), outputs_of(self.other, x_other, y))
        if self.case.arguments["loss"] != "notebook":
            check_same(self.plain.predict(x[:1]), self.other.predict(x_other)[:1])
        self.check()

    @rule(swap=st.booleans())
    def go_through_a_file_and_a_pickle(self, swap):
        path = self.path("model.safetensors")
        models = [self.plain, self.other]
        models[swap].save(path)
        models[swap], models[not swap] = fastmlp.load(path), pickle.loads(pickle.dumps(models[not swap]))
        self.plain, self.other = models
        self.plain.threads = 1
        self.check()

    @rule(factor=st.sampled_from([0.5, -1.0, 1.0]))
    def write_weights(self, factor):
        for model in (self.plain, self.other):
            model.weights[0][:] *= factor
            model.biases[-1][:] += factor

    @precondition(lambda self: isinstance(self.plain.input_scale, float))
    @rule()
    def change_the_scale(self):
        for model in (self.plain, self.other):
            model.predict(self.case.x[:1])
            model.input_scale = model.input_scale / 2
            if self.case.arguments["loss"] != "notebook":
                check_same(model.predict(self.case.x[:1]), model.predict(self.case.x)[:1])

    @rule(threads=st.sampled_from([1, 2, 3, None]))
    def change_threads(self, threads):
        self.other.threads = threads

    @rule(data=st.data(), epochs=st.integers(0, 3))
    def resume_a_training(self, data, epochs):
        """The one is trained as a whole, the other stopped and resumed."""
        x, x_other = self.both(data)
        more = {"validation": (x, self.case.y)} if data.draw(st.booleans()) else {}
        whole = train(x, self.case, threads=1, sparse=False, **more)
        options = {"checkpoint": self.path("checkpoints"), "threads": 2, **more}
        try:
            part = train(x_other, self.case, callbacks=stop_after(epochs), **options)
        except Stop:
            part = train(x_other, self.case, **options)
        assert part.diverged == whole.diverged
        self.plain, self.other = whole.model, part.model
        self.check()

    @rule(weight=st.integers(0, 5))
    def call_it_wrongly(self, weight):
        """Errors leave a model as it is."""
        x, y = self.case.x, self.case.y
        wrong = [
            lambda: self.other.partial_fit(x[:, :0], y),
            lambda: self.other.partial_fit(x, y[:-1]),
            lambda: self.other.partial_fit(x, y, batch_size=0),
            lambda: self.other.evaluate(x, y, sample_weight=-np.ones(len(x))),
            lambda: self.other.predict(np.full((1, x.shape[1]), np.nan)),
            lambda: self.other.predict(x.astype(str)),
        ]
        with pytest.raises((ValueError, TypeError)):
            wrong[weight]()
        self.check()


EqualModels.TestCase.settings = examples(10, 0.1, stateful_step_count=10)
TestEqualModels = EqualModels.TestCase
TestEqualModels.pytestmark = pytestmark
