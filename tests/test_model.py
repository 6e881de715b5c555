import copy
import gc
import pickle
import weakref

import numpy as np
import pytest

import fastmlp
from fastmlp import reference

RNG = np.random.default_rng(0)
PIXELS = (RNG.integers(0, 256, (300, 50)) * (RNG.random((300, 50)) < 0.2)).astype(np.uint8)
LABELS = RNG.integers(0, 5, 300)


def twin(model):
    activations = [*model.activations, "identity"]
    return reference.MLP(model.weights, model.biases, activations, model.loss, model.classes, model.input_scale, {})


@pytest.mark.parametrize("n", [1, 2, 127, 128, 129, 300])
@pytest.mark.parametrize("hidden", [(), (70,), (20, 3)])
@pytest.mark.parametrize("loss", ["cross_entropy", "notebook", "mse"])
def test_predictions_are_the_references(n, hidden, loss):
    model = fastmlp.train(PIXELS, LABELS, hidden=hidden, loss=loss, epochs=1, seed=0, learning_rate=0.01)
    for x in (PIXELS[:n], PIXELS[:n].astype(np.float32) * np.float32(1 / 255)):
        want = twin(model)
        if loss == "mse":
            np.testing.assert_allclose(model.predict(x), want.predict(x), rtol=1e-4, atol=1e-5)
        else:
            np.testing.assert_allclose(model.predict_proba(x), want.predict_proba(x), rtol=1e-4, atol=1e-6)
            assert np.mean(model.predict(x) == want.predict(x)) > 0.99
        got, metrics = model.evaluate(x, LABELS[:n]), want.evaluate(x, LABELS[:n])
        assert got.loss == pytest.approx(metrics.loss, rel=1e-4)
        if loss != "mse":
            assert got.accuracy == pytest.approx(metrics.accuracy, abs=0.01)


def test_the_number_of_samples_does_not_change_a_prediction():
    model = fastmlp.train(PIXELS, LABELS, epochs=1, seed=0)
    whole = model.predict_proba(np.tile(PIXELS, (20, 1)))  # several slices
    parts = np.concatenate([model.predict_proba(PIXELS[i : i + 7]) for i in range(0, 300, 7)])
    np.testing.assert_array_equal(whole, np.tile(parts, (20, 1)))
    np.testing.assert_array_equal(model.predict_proba(PIXELS / np.float32(1)), model.predict_proba(PIXELS / 1.0))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("loss", ["cross_entropy", "softmax_mse", "mse"])
def test_single_samples(dtype, loss):
    model = fastmlp.train(PIXELS, LABELS, hidden=(20,), loss=loss, epochs=1, seed=0, learning_rate=0.01)
    x = PIXELS.astype(dtype)
    want = model.predict(x)
    np.testing.assert_array_equal(np.concatenate([model.predict(row[None]) for row in x]), want)
    kept = model.predict(x[:1])
    model.predict(x[1:2])
    np.testing.assert_array_equal(kept, want[:1])
    if model.has_accuracy:
        want = model.predict_proba(x)
        np.testing.assert_array_equal(np.concatenate([model.predict_proba(row[None]) for row in x]), want)
    if dtype != np.uint8:
        bad = x[:1].copy()
        bad[0, 3] = np.nan
        with pytest.raises(ValueError, match="x must be finite"):
            model.predict(bad)


def test_copies_and_pickles_stand_on_their_own():
    model = fastmlp.train(PIXELS, LABELS, hidden=(20,), epochs=1)
    model.predict(PIXELS[:1])
    want = model.predict_proba(PIXELS)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(other.predict_proba(PIXELS), want)
        other.weights[0][:] = 0
        assert not np.array_equal(other.predict_proba(PIXELS), want)
    np.testing.assert_array_equal(model.predict_proba(PIXELS), want)


def test_weights_are_views_into_the_model():
    model = fastmlp.train(PIXELS, LABELS, hidden=(20,), epochs=1)
    assert [w.shape for w in model.weights] == [(50, 20), (20, 5)]
    assert [b.shape for b in model.biases] == [(20,), (5,)]
    assert {a.dtype for a in model.weights + model.biases} == {np.dtype(np.float32)}
    model.weights[1][:] = 0
    model.biases[1][:] = [0, 0, 9, 0, 0]
    assert (model.predict(PIXELS) == 2).all()
    assert (model.predict(PIXELS[:3]) == 2).all()


def test_the_notebooks_softmax_sums_to_one_over_the_batch():
    model = fastmlp.train(PIXELS, LABELS, loss="notebook", init="notebook", epochs=1)
    np.testing.assert_allclose(model.predict_proba(PIXELS).sum(axis=0), 1, rtol=1e-5)
    assert all((bias == 0).all() for bias in model.biases)


@pytest.mark.parametrize("n", [1, 127, 128, 129, 300, 4096, 4100])
@pytest.mark.parametrize("loss", ["cross_entropy", "softmax_mse", "notebook", "mse"])
def test_evaluation_is_the_references_across_chunks(n, loss):
    model = fastmlp.train(PIXELS, LABELS, hidden=(20,), loss=loss, epochs=1, seed=0, learning_rate=0.01)
    x, y = np.tile(PIXELS, (14, 1))[:n], np.tile(LABELS, 14)[:n]
    got, want = model.evaluate(x, y), twin(model).evaluate(x, y)
    assert got.loss == pytest.approx(want.loss, rel=1e-5)
    assert got.accuracy == pytest.approx(want.accuracy, abs=1.001 / n, nan_ok=True)


@pytest.mark.parametrize("n", [1, 127, 128, 129, 300])
def test_the_notebooks_softmax_spans_all_samples_given(n):
    model = fastmlp.train(PIXELS, LABELS, loss="notebook", init="notebook", epochs=1, seed=0)
    got = model.predict_proba(PIXELS[:n])
    np.testing.assert_allclose(got, twin(model).predict_proba(PIXELS[:n]), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(got.sum(axis=0), 1, rtol=1e-5)
    np.testing.assert_array_equal(model.predict(PIXELS[:n]), model.classes[got.argmax(axis=1)])


@pytest.mark.parametrize("n", [1, 7, 128])
def test_every_method_sees_a_change_of_the_weights(n):
    model = fastmlp.train(PIXELS, LABELS, hidden=(20,), epochs=1)
    x, y = PIXELS[:n], np.full(n, 3)
    before = model.predict(x), model.predict_proba(x), model.evaluate(x, y)
    assert len(before[0]) == n
    model.weights[1][:] = 0
    model.biases[1][:] = [0, 0, 0, 50, 0]
    assert (model.predict(x) == 3).all()
    np.testing.assert_allclose(model.predict_proba(x)[:, 3], 1)
    assert model.evaluate(x, y) == (pytest.approx(0, abs=1e-6), 1)


def test_what_is_returned_is_the_users_own():
    model = fastmlp.train(PIXELS, LABELS, epochs=1)
    for method in (model.predict, model.predict_proba):
        for n in (1, 200):
            want = method(PIXELS[:n]).copy()
            method(PIXELS[:n])[:] = 0
            np.testing.assert_array_equal(method(PIXELS[:n]), want)
    assert model.predict_proba(PIXELS).dtype == np.float32
    assert repr(model) == "<fastmlp.MLP 50-128-5, cross_entropy>"


@pytest.mark.parametrize("n", [1, 7, 127, 128, 300])
def test_arrays_that_are_assigned_change_the_model(n):
    model = fastmlp.train(PIXELS, LABELS, hidden=(20,), epochs=1, seed=0)
    other = fastmlp.train(PIXELS, LABELS, hidden=(20,), epochs=1, seed=1)
    want = other.predict_proba(PIXELS[:n])
    model.predict(PIXELS[:1])
    weights, biases = [w.astype(np.float64) for w in other.weights], [b.tolist() for b in other.biases]
    model.weights[0], model.weights[-1] = weights
    model.biases = biases
    np.testing.assert_array_equal(model.predict_proba(PIXELS[:n]), want)
    np.testing.assert_array_equal(model.predict(PIXELS[:1]), other.predict(PIXELS[:1]))
    assert not np.shares_memory(model.weights[0], weights[0])
    model.weights[:1] = [np.zeros((50, 20))]
    model.weights[1] *= 2
    assert not model.weights[0].any()
    np.testing.assert_array_equal(model.weights[1], 2 * other.weights[1])


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (
            lambda m: m.weights.__setitem__(0, np.zeros((50, 19))),
            ValueError,
            r"weights\[0\] must.*shape \(50, 20\), got",
        ),
        (lambda m: m.weights.__setitem__(1, 0.5), ValueError, r"weights\[1\] must.*got shape \(\)"),
        (lambda m: m.biases.__setitem__(0, np.full(20, np.nan)), ValueError, r"biases\[0\] must.*got NaN"),
        (lambda m: m.biases.__setitem__(0, np.full(20, 1e39)), ValueError, "too large for float32"),
        (lambda m: m.biases.__setitem__(0, ["a"] * 20), TypeError, r"biases\[0\] must.*got dtype"),
        (lambda m: m.biases.__setitem__(0, [[1], [2, 3]]), ValueError, r"biases\[0\] must"),
        (lambda m: m.biases.__setitem__(9, np.zeros(20)), IndexError, "index"),
        (lambda m: setattr(m, "weights", m.weights[:1]), ValueError, "one array per layer, 2, got 1"),
        (lambda m: setattr(m, "weights", 3), TypeError, "weights must be a list of 2 arrays"),
        (lambda m: setattr(m, "weights", [m.weights[0] + 1, np.zeros(3)]), ValueError, r"weights\[1\] must"),
        (lambda m: m.weights.append(np.zeros(3)), TypeError, "a fixed number"),
        (lambda m: m.weights.__delitem__(0), TypeError, "a fixed number"),
        (lambda m: m.biases.clear(), TypeError, "a fixed number"),
        (lambda m: m.biases.reverse(), TypeError, "a fixed number"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, error, match):
    model = fastmlp.train(PIXELS, LABELS, hidden=(20,), epochs=1, seed=0)
    kept = [p.copy() for p in model.weights + model.biases]
    with pytest.raises(error, match=match):
        change(model)
    assert all(np.array_equal(a, b) for a, b in zip(kept, model.weights + model.biases))


def test_lists_of_weights_can_be_copied_and_pickled():
    model = fastmlp.train(PIXELS, LABELS, hidden=(20,), epochs=1)
    for copied in (copy.copy(model.weights), copy.deepcopy(model.weights), pickle.loads(pickle.dumps(model.weights))):
        assert all(np.array_equal(a, b) for a, b in zip(copied, model.weights))
        copied.append(1)
    assert len(model.weights) == 2


def test_a_shallow_copy_stands_on_its_own():
    model = fastmlp.train(PIXELS, LABELS, hidden=(20,), epochs=1)
    other, want = copy.copy(model), model.predict_proba(PIXELS)
    other.partial_fit(PIXELS, LABELS)
    np.testing.assert_array_equal(model.predict_proba(PIXELS), want)


def test_a_state_makes_the_same_model_and_stays_as_it_is():
    arguments = {"loss": "huber", "delta": 0.5, "input_scale": "standardize", "init": "notebook", "threads": 1}
    model = fastmlp.train(PIXELS, PIXELS[:, :2] / 255, hidden=(20,), epochs=1, seed=0, **arguments)
    model.feature_names = [str(k) for k in range(PIXELS.shape[1])]
    state = model.state()
    twin, wanted = fastmlp.MLP.from_state(state), model.predict(PIXELS)
    for name in (
        "widths",
        "activations",
        "loss",
        "classes",
        "has_bias",
        "delta",
        "feature_names",
        "threads",
        "history",
    ):
        assert getattr(twin, name) == getattr(state, name) == getattr(model, name), name
    model.partial_fit(PIXELS, PIXELS[:, :2] / 255)
    model.history["epoch"].append(2)
    np.testing.assert_array_equal(twin.predict(PIXELS), wanted)
    assert twin.history["epoch"] == [1]
    assert not np.array_equal(model.predict(PIXELS), wanted)


def test_predictions_of_few_samples_keep_an_executor_but_no_data():
    model = fastmlp.train(PIXELS, LABELS, hidden=(20,), epochs=1, seed=0)
    want = model.predict_proba(PIXELS)
    x = PIXELS[:20].copy()
    found = weakref.ref(x)
    np.testing.assert_array_equal(model.predict_proba(x), want[:20])
    ((_, executor),) = model._predictors._idle
    for n in (2, 20, 7):  # it serves as many or fewer
        np.testing.assert_array_equal(model.predict_proba(PIXELS[:n] * np.float32(1 / 255)), want[:n])
        assert model._predictors._idle[0][1] is executor
    np.testing.assert_array_equal(model.predict_proba(PIXELS[:21]), want[:21])
    assert model._predictors._idle[0][1] is not executor
    del x
    gc.collect()
    assert found() is None
    before = model.evaluate(PIXELS[:20], LABELS[:20])
    model.weights[1][:] = 0
    model.biases[1][:] = [0, 0, 9, 0, 0]
    assert (model.predict(PIXELS[:20]) == model.classes[2]).all()
    assert model.evaluate(PIXELS[:20], LABELS[:20]).loss != before.loss


def test_another_setting_of_a_loss_holds_for_few_samples_too():
    y = np.linspace(0, 9, 300)
    model = fastmlp.train(PIXELS, y, hidden=(20,), loss="huber", epochs=1, seed=0)
    off = np.abs(model.predict(PIXELS[:9])[:, 0] - y[:9])
    for delta in (0.5, 2.0):
        model.delta = delta
        want = np.where(off <= delta, off**2 / 2, delta * (off - delta / 2)).mean()
        assert model.evaluate(PIXELS[:9], y[:9]).loss == pytest.approx(want, rel=1e-5)
