import copy
import pickle

import numpy as np
import pytest

import fastmlp
from fastmlp.model import Metrics

RNG = np.random.default_rng(0)
X = RNG.standard_normal((600, 12)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 1)
FIXED = {"hidden": (16,), "batch_size": 32, "seed": 0, "epochs": 1}


def parameters(model):
    return np.concatenate([p.ravel() for p in model.weights + model.biases])


def in_order(model):
    """Have `partial_fit` take samples in the order given."""

    class InOrder(np.random.Generator):
        def permutation(self, samples):
            return samples

    model._training_state.rng = InOrder(np.random.PCG64(0))
    return model


@pytest.mark.parametrize("optimizer", ["sgd", fastmlp.SGD(0.9), "adam", "adagrad"])
@pytest.mark.parametrize("arguments", [{}, {"dropout": 0.3, "clip_norm": 0.2}])
def test_pieces_are_as_good_as_the_whole(optimizer, arguments):
    arguments = {**FIXED, "optimizer": optimizer, "shuffle": False, **arguments}
    whole = fastmlp.train(X, Y, **arguments)
    model = in_order(fastmlp.train(X[:192], Y[:192], classes=[0, 1, 2], **arguments))
    metrics = {192: Metrics(model.history["train_loss"][0], model.history["train_accuracy"][0])}
    for first, last in ((192, 224), (224, 600)):  # whole batches: the steps are the same
        metrics[last - first] = model.partial_fit(X[first:last], Y[first:last])
    np.testing.assert_array_equal(parameters(model), parameters(whole))
    means = np.average(list(metrics.values()), axis=0, weights=list(metrics))
    np.testing.assert_allclose(means, (whole.history["train_loss"][0], whole.history["train_accuracy"][0]), rtol=1e-6)


def test_many_pieces_learn():
    model = fastmlp.train(X[:100], Y[:100], classes=[0, 1, 2], **FIXED)
    before = model.evaluate(X, Y)
    for _ in range(10):
        for start in range(0, 600, 75):
            model.partial_fit(X[start : start + 75], Y[start : start + 75])
    assert model.evaluate(X, Y).accuracy > max(0.9, before.accuracy)


def test_models_from_files_go_on_with_plain_sgd(tmp_path):
    model = fastmlp.train(X, Y, **FIXED)
    model.save(tmp_path / "model.safetensors")
    loaded = fastmlp.load(tmp_path / "model.safetensors")
    before = parameters(loaded).copy()
    loaded.partial_fit(X, Y, learning_rate=0.01, batch_size=600)
    assert 0 < np.abs(parameters(loaded) - before).max() < 0.1


def test_arguments_of_a_piece():
    model = fastmlp.train(X, Y, **FIXED)
    kept = parameters(model)
    model.partial_fit(X, Y, learning_rate=1e-30)
    np.testing.assert_array_equal(parameters(model), kept)
    model.partial_fit(X[:9], Y[:9], sample_weight=np.arange(9), batch_size=1)
    assert not np.array_equal(parameters(model), kept)
    values = fastmlp.train(X, X[:, :2], **{**FIXED, "learning_rate": fastmlp.LinearDecay(0.1)})
    assert np.isnan(values.partial_fit(X, X[:, :2]).accuracy)


def test_weights_that_are_written_between_pieces_count():
    model = fastmlp.train(X, Y, **FIXED)
    model.partial_fit(X, Y)
    model.weights[0][:] = 0
    model.partial_fit(X, Y, learning_rate=1e-30)
    assert np.abs(model.weights[0]).max() < 1e-20


def test_copies_and_pickles_start_anew_and_leave_the_model_alone():
    model = fastmlp.train(X, Y, optimizer="adam", **FIXED)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        kept = parameters(model)
        other.partial_fit(X, Y)
        assert not np.array_equal(parameters(other), kept)
        np.testing.assert_array_equal(parameters(model), kept)


@pytest.mark.parametrize(
    ("x", "y", "arguments", "error", "match"),
    [
        (X[:, :3], Y, {}, ValueError, "x must have 12 features"),
        (X, Y + 5, {}, ValueError, "y holds labels that the model has not seen"),
        (X, Y, {"learning_rate": -1}, ValueError, "learning_rate"),
        (X, Y, {"batch_size": 0}, ValueError, "batch_size"),
        (X, Y, {"sample_weight": [1]}, ValueError, "sample_weight"),
    ],
)
def test_bad_pieces_are_refused(x, y, arguments, error, match):
    model = fastmlp.train(X, Y, **FIXED)
    kept = parameters(model)
    with pytest.raises(error, match=match):
        model.partial_fit(x, y, **arguments)
    np.testing.assert_array_equal(parameters(model), kept)


def test_divergence_keeps_the_weights():
    model = fastmlp.train(X, Y, **FIXED)
    kept = parameters(model)
    with pytest.raises(fastmlp.DivergenceError, match="at learning rate 1e"):
        model.partial_fit(X, Y, learning_rate=1e38)
    np.testing.assert_array_equal(parameters(model), kept)
    model.partial_fit(X, Y)
    assert np.isfinite(parameters(model)).all()


def test_the_batch_size_is_that_of_train_whatever_the_size_of_the_first_piece():
    arguments = {**FIXED, "batch_size": 64, "shuffle": False}
    whole = fastmlp.train(X, Y, **arguments)
    model = fastmlp.train(X[:64], Y[:64], classes=[0, 1, 2], **arguments)
    small = fastmlp.train(X[:9], Y[:9], classes=[0, 1, 2], **arguments)
    small.weights, small.biases = model.weights, model.biases
    in_order(small).partial_fit(X[64:], Y[64:])
    np.testing.assert_array_equal(parameters(small), parameters(whole))


def test_pieces_of_all_sizes_are_the_steps_of_one_piece():
    """A run that has room for a small piece takes a larger one, and the other way round, without losing its state."""
    sizes = [5, 9, 1, 128, 200, 3, 10**12]
    arguments = {"hidden": (16,), "optimizer": "adam", "shuffle": False, "seed": 0, "epochs": 1, "batch_size": 5}
    one, two = (in_order(fastmlp.train(X[:5], Y[:5], classes=[0, 1, 2], **arguments)) for _ in range(2))
    for size in sizes:
        one.partial_fit(X[:size], Y[:size], batch_size=size)
        state = two._training_state
        if state.executor is not None:
            state.executor_for(two._parameters, two.activations, two.loss, min(size, 600), min(size, 600))
        two.partial_fit(X[:size], Y[:size], batch_size=min(size, 600))
    np.testing.assert_array_equal(parameters(one), parameters(two))


@pytest.mark.parametrize("batch_size", [32, 600])
def test_the_default_rate_after_warming_up_is_not_zero(batch_size):
    model = fastmlp.train(X, Y, learning_rate=fastmlp.Warmup(0.2, 1), **{**FIXED, "batch_size": batch_size})
    kept = parameters(model)
    model.partial_fit(X, Y)
    assert not np.array_equal(parameters(model), kept)
    if batch_size == 32:
        assert model._training_state.learning_rate == pytest.approx(0.2 * 18 / 19)


@pytest.mark.parametrize("optimizer", [fastmlp.SGD(0.9), "adam", "adagrad", "rmsprop"])
def test_after_a_divergence_training_goes_on_as_if_it_had_not_been(optimizer):
    arguments = {**FIXED, "optimizer": optimizer, "dropout": 0.2, "learning_rate": 0.01}
    once, twice = fastmlp.train(X, Y, **arguments), fastmlp.train(X, Y, **arguments)
    for _ in range(2):
        with pytest.raises(fastmlp.DivergenceError):
            twice.partial_fit(X, Y, learning_rate=1e38)
        for model in (once, twice):
            model.partial_fit(X[:100], Y[:100])
        np.testing.assert_array_equal(parameters(once), parameters(twice))


def test_the_model_of_a_divergence_goes_on_with_its_optimizer():
    schedule = fastmlp.Step(0.01, 1, 1e38)
    with pytest.raises(fastmlp.DivergenceError) as caught:
        fastmlp.train(X, Y, **{**FIXED, "optimizer": fastmlp.SGD(0.9), "learning_rate": schedule, "epochs": 2})
    whole = fastmlp.train(X, Y, **{**FIXED, "optimizer": fastmlp.SGD(0.9), "learning_rate": schedule})
    for model in (caught.value.model, whole):
        model.partial_fit(X, Y)
    np.testing.assert_array_equal(parameters(caught.value.model), parameters(whole))


def test_ctrl_c_in_an_epoch_takes_back_the_state_too():
    """Interrupted by a metric of the second epoch, training goes on as it would have after the first."""

    def interrupt(y, predicted):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return 0.0

    calls = []
    arguments = {**FIXED, "optimizer": "adam", "dropout": 0.2}
    cut = fastmlp.train(X, Y, **{**arguments, "epochs": 3}, metrics=interrupt)
    assert cut.interrupted
    assert cut.history["epoch"] == [1]
    whole = fastmlp.train(X, Y, **arguments)
    for model in (cut, whole):
        model.partial_fit(X, Y)
    np.testing.assert_array_equal(parameters(cut), parameters(whole))
