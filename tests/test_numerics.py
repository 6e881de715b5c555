"""NaN and infinity are found in the epoch in which they arise; weights of samples of any size."""

import numpy as np
import pytest

import fastmlp

RNG = np.random.default_rng(0)
X = RNG.standard_normal((200, 6)).astype(np.float32)
Y = RNG.integers(0, 3, 200)
FIXED = {"hidden": (8,), "batch_size": 32, "seed": 0, "epochs": 4}


def same(a, b):
    return all(np.array_equal(p, q) for p, q in zip(a.weights + a.biases, b.weights + b.biases))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("epoch", [1, 3])
def test_what_a_callback_makes_of_the_weights_is_found_in_the_next_epoch(value, layer, epoch):
    def spoil(model):
        if len(model.history["epoch"]) == epoch:
            model.weights[layer][2] = value

    with pytest.raises(fastmlp.DivergenceError) as caught:
        fastmlp.train(X, Y, callbacks=spoil, **FIXED)
    assert caught.value.epoch == epoch + 1
    assert caught.value.model.history["epoch"] == list(range(1, epoch + 1))


@pytest.mark.parametrize("optimizer", ["sgd", fastmlp.SGD(0.9), "adam", "rmsprop", "adagrad"])
@pytest.mark.parametrize("epoch", [1, 3])
def test_divergence_is_found_in_its_epoch(optimizer, epoch):
    steps = -(-200 // 32)
    with pytest.raises(fastmlp.DivergenceError) as caught:
        fastmlp.train(
            X, Y, optimizer=optimizer, learning_rate=lambda step: 3e38 if step == epoch * steps - 1 else 1e-3, **FIXED
        )
    assert caught.value.epoch in (epoch, epoch + 1)  # a weight of 1e38 is finite, and its loss in the next epoch not
    assert all(np.isfinite(p).all() for p in caught.value.model.weights + caught.value.model.biases)


@pytest.mark.parametrize("scale", [2.0**-1000, 2.0**-140, 2.0**-20, 2.0**100, 2.0**126, 1e-300, 1e-45, 1e38])
@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_sample_weights_may_be_of_any_size(scale, loss):
    weights = RNG.integers(0, 3, 200).astype(np.float64)
    exact = np.frexp(scale)[0] == 0.5
    want = fastmlp.train(X, Y, sample_weight=weights, loss=loss, **FIXED)
    got = fastmlp.train(X, Y, sample_weight=weights * scale, loss=loss, **FIXED)
    if exact:
        assert same(got, want)
    for name in ("train_loss", "train_accuracy"):
        np.testing.assert_allclose(got.history[name], want.history[name], rtol=0 if exact else 1e-5)
    evaluated = got.evaluate(X, Y, weights * scale).loss, want.evaluate(X, Y, weights).loss
    np.testing.assert_allclose(*evaluated, rtol=0 if exact else 1e-5)
    assert got.partial_fit(X, Y, sample_weight=weights * scale).loss > 0


@pytest.mark.parametrize("shuffle", [True, "replacement"])
def test_epochs_of_samples_without_weight_change_nothing(shuffle):
    """One sample of 200 has weight: draws with replacement leave it out in a third of the epochs."""
    weights = np.zeros(200)
    weights[5] = 3
    model = fastmlp.train(X, Y, sample_weight=weights, shuffle=shuffle, **{**FIXED, "epochs": 20})
    losses = np.array(model.history["train_loss"])
    assert np.isfinite(losses).any()
    assert np.isnan(losses).any() == (shuffle == "replacement")
    assert all(np.isfinite(p).all() for p in model.weights + model.biases)


@pytest.mark.parametrize("seed", range(4))
def test_a_split_that_leaves_no_weight_on_one_side_is_refused_before_training(seed):
    started = []
    arguments = {**FIXED, "seed": seed, "validation": 0.5, "callbacks": started.append}
    message = r"sample_weight must not be 0 for every sample that is (trained on|held out for validation)"
    with pytest.raises(ValueError, match=message):
        fastmlp.train(X, Y, sample_weight=np.arange(200) == 5, **arguments)
    assert not started
    model = fastmlp.train(X, Y, sample_weight=np.arange(200) != 5, **arguments)
    assert np.isfinite(model.history["validation_loss"]).all()


@pytest.mark.parametrize(
    ("weight", "match"),
    [
        (np.zeros(50), "must not be 0 for every"),
        (np.ones(3), "one number for each of 50"),
        ([-1] * 50, "finite numbers"),
    ],
)
def test_weights_of_a_validation_set_are_checked_before_training(weight, match):
    started = []
    with pytest.raises(ValueError, match=f"validation sample_weight.*{match}"):
        fastmlp.train(X, Y, validation=(X[:50], Y[:50], weight), callbacks=started.append, **FIXED)
    assert not started


def test_tiny_class_weights():
    want = fastmlp.train(X, Y, class_weight={0: 0, 1: 0}, **FIXED)
    got = fastmlp.train(X, Y, class_weight={0: 0, 1: 0, 2: 1e-300}, **FIXED)
    assert same(got, want)


def loss(y, predicted):
    return 0.0


@pytest.mark.parametrize(
    ("metrics", "match"),
    [
        ([loss], "must not be called 'loss', because train_loss is always recorded"),
        ([lambda y, p: 0.0, lambda y, p: 1.0], "two called '<lambda>'"),
        ([np.mean, "top_2", np.nanmean, lambda y, p: 0.0, lambda y, p: 1.0], "two called '<lambda>'"),
    ],
)
def test_metrics_that_would_overwrite_what_is_recorded_are_refused(metrics, match):
    with pytest.raises(ValueError, match=match):
        fastmlp.train(X, Y, metrics=metrics, **FIXED)


def test_a_metric_may_be_named_twice():
    model = fastmlp.train(X, Y, metrics=["top_2", "top_2"], **FIXED)
    assert len(model.history["train_top_2"]) == 4


def test_labels_of_bytes_are_saved_and_resumed(tmp_path):
    y = np.array([b"a", b"\xff\x00b", b"c"])[Y]
    whole = fastmlp.train(X, y, **FIXED)
    fastmlp.train(X, y, checkpoint=tmp_path / "run", **{**FIXED, "epochs": 2})
    model = fastmlp.train(X, y, checkpoint=tmp_path / "run", **FIXED)
    assert same(model, whole)
    model.save(tmp_path / "model")
    loaded = fastmlp.load(tmp_path / "model")
    assert loaded.classes.dtype == whole.classes.dtype
    np.testing.assert_array_equal(loaded.classes, whole.classes)
    np.testing.assert_array_equal(loaded.predict(X), whole.predict(X))


@pytest.mark.parametrize("optimizer", [fastmlp.SGD(0.9), "adam", fastmlp.RMSprop(alpha=0.9)])
def test_state_does_not_stay_subnormal(optimizer):
    """Of units that have died, velocities and moments shrink to numbers with which processors are slow."""

    def die(model):
        model.biases[0][:] = -1e6

    # a step of one sample: enough of them for 0.9**n to reach 1e-38
    model = fastmlp.train(X, Y, optimizer=optimizer, callbacks=die, **{**FIXED, "batch_size": 1, "epochs": 8})
    state = np.abs(model._training_state.optimizer_state)
    assert state.any()
    assert not ((state > 0) & (state < np.finfo(np.float32).tiny)).any()


def test_a_tiny_epsilon_keeps_subnormal_squares():
    model = fastmlp.train(X, Y, optimizer=fastmlp.Adam(eps=1e-30), **FIXED)
    state = model._training_state.optimizer_state
    state[:] = 1e-40
    model.biases[0][:] = -1e6
    model.partial_fit(X[:1], Y[:1], learning_rate=1e-30)
    state = model._training_state.optimizer_state
    assert (np.abs(state[state != 0]) < np.finfo(np.float32).tiny).any()
