"""Weights of samples that are mostly zero, very small, or very large."""

import numpy as np
import pytest

import fastmlp

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 5)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)
FIXED = {"hidden": (6,), "epochs": 3, "seed": 0, "batch_size": 16}
WEIGHTLESS = r"sample_weight must not be 0 for all .* samples that are (trained on|held out)"
ONE = (np.arange(60) == 0).astype(float)


def same(a, b):
    return all(np.array_equal(p, q) for p, q in zip(a.weights + a.biases, b.weights + b.biases))


@pytest.mark.parametrize("weights", [ONE, 1 - ONE])
@pytest.mark.parametrize("seed", range(5))
def test_a_split_without_weight_is_refused_before_training(weights, seed):
    calls = []
    arguments = {**FIXED, "seed": seed, "epochs": 1, "callbacks": [calls.append]}
    if weights is ONE:
        with pytest.raises(ValueError, match=WEIGHTLESS):
            fastmlp.train(X, Y, sample_weight=weights, validation=0.2, **arguments)
        assert not calls
    else:
        model = fastmlp.train(X, Y, sample_weight=weights, validation=0.2, **arguments)
        assert np.isfinite(model.history["validation_loss"]).all()


def test_class_weights_can_leave_a_split_without_weight_too():
    y = np.r_[[1], np.zeros(59, int)]
    with pytest.raises(ValueError, match=r"sample_weight must not be 0 for all \d+ samples that are"):
        fastmlp.train(X, y, class_weight={0: 0.0}, validation=0.2, **FIXED)


@pytest.mark.parametrize("weights", [np.zeros(60), np.ones(3), -np.ones(60)])
def test_weights_of_a_validation_set_are_checked_before_training(weights):
    with pytest.raises(ValueError, match="validation sample_weight must"):
        fastmlp.train(X, Y, validation=(X, Y, weights), callbacks=[lambda _: pytest.fail("trained")], **FIXED)


def test_draws_of_samples_without_weight_change_nothing():
    model = fastmlp.train(X, Y, sample_weight=ONE, shuffle="replacement", **FIXED | {"epochs": 30, "batch_size": 60})
    losses = np.array(model.history["train_loss"])
    assert np.isnan(losses).any()  # of epochs that did not draw the sample
    assert (losses[~np.isnan(losses)] > 0).all()
    assert (losses > 0).any()


@pytest.mark.parametrize("exponent", [-1000, -149, -120, 64, 120])
def test_weights_are_relative_whatever_their_size(exponent):
    weights = RNG.random(60)
    largest = np.ldexp(weights / weights.max(), exponent)
    a = fastmlp.train(X, Y, sample_weight=largest, validation=0.3, **FIXED)
    b = fastmlp.train(X, Y, sample_weight=weights / weights.max(), validation=0.3, **FIXED)
    assert same(a, b)
    assert a.history["train_loss"] == pytest.approx(b.history["train_loss"], rel=1e-12)
    assert a.history["validation_loss"] == pytest.approx(b.history["validation_loss"], rel=1e-12)
    assert a.evaluate(X, Y, largest) == pytest.approx(b.evaluate(X, Y, weights), rel=1e-6)
    assert a.partial_fit(X, Y, sample_weight=largest) == b.partial_fit(X, Y, sample_weight=weights / weights.max())


@pytest.mark.parametrize("class_weight", [{0: 1e-30, 1: 1e-30}, {0: 1e30, 1: 1e30}])
def test_weights_of_samples_and_classes_are_multiplied_without_becoming_zero_or_infinite(class_weight):
    weights = np.where(Y == 0, 1.0, 2.0) * class_weight[0]
    a = fastmlp.train(X, Y, sample_weight=weights, class_weight=class_weight, **FIXED)
    b = fastmlp.train(X, Y, sample_weight=weights / class_weight[0], **FIXED)
    for p, q in zip(a.weights, b.weights):
        np.testing.assert_allclose(p, q, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("estimator", [fastmlp.MLPClassifier, fastmlp.MLPRegressor])
@pytest.mark.parametrize("random_state", range(4))
def test_early_stopping_without_weight_is_refused(estimator, random_state):
    known = estimator(hidden_layer_sizes=4, early_stopping=True, validation_fraction=0.3, random_state=random_state)
    with pytest.raises(ValueError, match=WEIGHTLESS):
        known.fit(X, Y, sample_weight=ONE)


@pytest.mark.parametrize("solver", ["sgd", "adam", "rmsprop", "adagrad"])
def test_weights_that_make_the_decay_infinite_are_refused(solver):
    known = fastmlp.MLPClassifier(hidden_layer_sizes=4, solver=solver, random_state=0)
    with pytest.raises(ValueError, match=r"sample_weight must be larger.*alpha"):
        known.fit(X, Y, sample_weight=np.full(60, 1e-300))


def test_small_weights_without_decay_are_those_of_one():
    arguments = {"hidden_layer_sizes": 4, "alpha": 0, "random_state": 0, "tol": 10, "n_iter_no_change": 1}
    a = fastmlp.MLPClassifier(**arguments).fit(X, Y, sample_weight=np.full(60, 2.0**-1000))
    b = fastmlp.MLPClassifier(**arguments).fit(X, Y, sample_weight=np.ones(60))
    assert all(np.array_equal(p, q) for p, q in zip(a.coefs_, b.coefs_))


def test_classes_of_an_estimator_without_weight_are_refused():
    known = fastmlp.MLPClassifier(hidden_layer_sizes=4, class_weight={0: 0, 1: 0}, random_state=0)
    with pytest.raises(ValueError, match=r"sample_weight must not be 0 for all .* samples that are trained on"):
        known.fit(X, Y)
