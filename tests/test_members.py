"""`n_members` of the estimators: several networks whose predictions are averaged."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastmlp
from fastmlp import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # tests take few epochs

RNG = np.random.default_rng(0)
X = RNG.standard_normal((300, 8))
THREE = (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 0.5)
TWO = np.where(X[:, 0] * X[:, 1] > 0, "yes", "no")
SEVERAL = (X[:, :4] + X[:, 4:] > 0).astype(int)
NUMBERS = np.stack([np.sin(X[:, 0]) + X[:, 1] ** 2, X[:, 2]], axis=1)
QUICK = {"random_state": 0, "max_iter": 5, "batch_size": 50, "hidden_layer_sizes": (10,)}

# as in test_estimators.py: scikit-learn demands seven digits of sums in another order
UNEQUAL = {
    f"check_sample_weight_equivalence_on_{kind}_data": "sums in float32 are not equal to seven digits"
    for kind in ("dense", "sparse")
}
CHECKS = parametrize_with_checks(
    [MLPClassifier(max_iter=60, n_members=2), MLPRegressor(max_iter=60, n_members=2)],
    expected_failed_checks=lambda estimator: UNEQUAL,
)


# a list: pytest warns of the iterator that is in there before scikit-learn 1.8
@pytest.mark.parametrize(CHECKS.args[0], list(CHECKS.args[1]), **CHECKS.kwargs)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("targets", [THREE, TWO, SEVERAL], ids=["three", "two", "several"])
def test_probabilities_are_means_over_members(targets, threads):
    model = MLPClassifier(n_members=3, threads=threads, **QUICK).fit(X, targets)
    assert isinstance(model.model_, fastmlp.Ensemble)
    assert len(model.estimators_) == 3
    want = np.mean([member.predict_proba(X) for member in model.estimators_], axis=0)
    np.testing.assert_allclose(model.predict_proba(X), want, rtol=1e-5)
    np.testing.assert_allclose(model.predict_log_proba(X), np.log(want), rtol=1e-4, atol=1e-5)
    predicted = (want > 0.5).astype(int) if targets is SEVERAL else model.classes_[want.argmax(axis=1)]
    np.testing.assert_array_equal(model.predict(X), predicted)
    # the first one is what a single estimator is
    single = MLPClassifier(**QUICK).fit(X, targets)
    np.testing.assert_array_equal(single.predict_proba(X), model.estimators_[0].predict_proba(X))
    assert single.loss_curve_ == model.estimators_[0].loss_curve_
    weights = [member.coefs_[0].tobytes() for member in model.estimators_]
    assert len(set(weights)) == 3


def test_outputs_are_means_over_members():
    model = MLPRegressor(n_members=3, **QUICK).fit(X, NUMBERS)
    want = np.mean([member.predict(X) for member in model.estimators_], axis=0)
    np.testing.assert_allclose(model.predict(X), want, rtol=1e-5, atol=1e-6)
    assert model.loss_ == pytest.approx(np.mean([member.loss_ for member in model.estimators_]))
    assert model.loss_curve_ == pytest.approx(np.mean([member.loss_curve_ for member in model.estimators_], axis=0))
    assert (model.n_iter_, model.t_) == (5, 5 * 300)
    with pytest.raises(AttributeError, match="coefs_ is an attribute of each of `estimators_`, 3 networks"):
        _ = model.coefs_


def test_more_members_are_better():
    kind = {"hidden_layer_sizes": (20,), "max_iter": 30, "random_state": 0, "learning_rate_init": 0.01}
    one, many = (cross_val_score(MLPRegressor(n_members=n, **kind), X, NUMBERS[:, 0], cv=3).mean() for n in (1, 8))
    assert many > one


def test_early_stopping_keeps_each_members_best_epoch():
    model = MLPClassifier(n_members=3, early_stopping=True, **{**QUICK, "max_iter": 30}).fit(X, THREE)
    lengths = [len(member.validation_scores_) for member in model.estimators_]
    assert len(model.validation_scores_) == max(lengths)
    for member in model.estimators_:
        assert member.best_validation_score_ == max(member.validation_scores_)
    best = [member.best_validation_score_ for member in model.estimators_]
    assert model.best_validation_score_ == pytest.approx(np.mean(best))


def test_early_stopping_keeps_the_best_epoch_of_members_that_diverge():
    settings = {"solver": "sgd", "learning_rate_init": 1e4, "early_stopping": True, **QUICK, "max_iter": 20}
    single = MLPRegressor(**settings).fit(X, NUMBERS)
    with pytest.warns(UserWarning, match=r"The loss became NaN or infinite in iteration [0-9, ]+\. The best one"):
        model = MLPRegressor(n_members=3, **settings).fit(X, NUMBERS)
    np.testing.assert_array_equal(model.estimators_[0].coefs_[0], single.coefs_[0])
    assert np.isfinite(model.predict(X)).all()


def test_predictions_do_not_depend_on_arguments_that_are_changed_after_fitting():
    model = MLPClassifier(n_members=2, **QUICK).fit(X, THREE)
    want = model.predict_proba(X)
    np.testing.assert_array_equal(model.set_params(n_members=1).predict_proba(X), want)
    single = MLPClassifier(**QUICK).fit(X, THREE)
    want = single.predict_proba(X)
    np.testing.assert_array_equal(single.set_params(n_members=2).predict_proba(X), want)


def test_partial_fit_and_warm_starts_train_every_member_further():
    model, single = (MLPClassifier(n_members=n, **QUICK) for n in (2, 1))
    for _ in range(3):
        model.partial_fit(X, THREE, classes=[0, 1, 2])
        single.partial_fit(X, THREE, classes=[0, 1, 2])
    np.testing.assert_array_equal(single.predict_proba(X), model.estimators_[0].predict_proba(X))
    assert len(model.loss_curve_) == 3

    model, single = (MLPClassifier(n_members=n, warm_start=True, **QUICK) for n in (2, 1))
    model.fit(X, THREE)
    first = [member.coefs_[0].copy() for member in model.estimators_]
    model.fit(X, THREE)
    assert [len(member.loss_curve_) for member in model.estimators_] == [10, 10]
    assert all(np.abs(a - m.coefs_[0]).max() > 0 for a, m in zip(first, model.estimators_))
    with pytest.raises(ValueError, match="n_members must stay 2 to continue training, got 3"):
        model.set_params(n_members=3).fit(X, THREE)
    with pytest.raises(ValueError, match="n_members must stay 2 to continue training, got 1"):
        model.set_params(n_members=1).partial_fit(X, THREE)


@pytest.mark.parametrize("learning_rate", ["invscaling", "adaptive"])
def test_learning_rates_of_members_go_on_in_partial_fit(learning_rate):
    settings = {**QUICK, "solver": "sgd", "learning_rate": learning_rate, "n_iter_no_change": 1, "tol": 1.0}
    model, single = (MLPClassifier(n_members=n, **settings) for n in (2, 1))
    for _ in range(4):
        model.partial_fit(X, THREE, classes=[0, 1, 2])
        single.partial_fit(X, THREE, classes=[0, 1, 2])
    assert single._rate < single.learning_rate_init
    np.testing.assert_array_equal(model.estimators_[0].coefs_[0], single.coefs_[0])


def test_members_take_arguments_that_change_between_fits():
    model, single = (MLPClassifier(n_members=n, warm_start=True, **QUICK) for n in (2, 1))
    for changed in ({}, {"early_stopping": True}, {"early_stopping": False, "alpha": 0.5, "batch_size": 20}):
        for each in (model, single):
            each.set_params(**changed).fit(X, THREE)
        np.testing.assert_array_equal(model.estimators_[0].coefs_[0], single.coefs_[0])
    for each in (model, single):
        each.set_params(alpha=3.0).partial_fit(X, THREE)
    np.testing.assert_array_equal(model.estimators_[0].coefs_[0], single.coefs_[0])


def test_fitting_again_with_one_member_leaves_none_of_the_others():
    model = MLPClassifier(n_members=2, **QUICK).fit(X, THREE)
    model.set_params(n_members=1).fit(X, THREE)
    assert not hasattr(model, "estimators_")
    assert model.coefs_[0].shape == (8, 10)


def test_frames_are_encoded_for_all_members():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"number": X[:, 0], "text": np.where(X[:, 1] > 0, "u", "v")})
    model = MLPClassifier(n_members=2, **QUICK).fit(frame, THREE)
    want = np.mean([member.predict_proba(frame) for member in model.estimators_], axis=0)
    np.testing.assert_allclose(model.predict_proba(frame), want, rtol=1e-5)


def test_copies_and_pickles_predict_the_same(tmp_path):
    model = MLPClassifier(n_members=2, **QUICK).fit(X, THREE)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    again.partial_fit(X, THREE)
    assert clone(model).get_params()["n_members"] == 2
    model.model_.save(tmp_path / "members.safetensors")
    loaded = fastmlp.load(tmp_path / "members.safetensors")
    np.testing.assert_allclose(loaded.predict_proba(X), model.predict_proba(X), rtol=1e-6)


@pytest.mark.parametrize(("n", "error"), [(0, ValueError), (1.5, TypeError), (True, TypeError)])
def test_the_number_of_members_is_a_positive_integer(n, error):
    with pytest.raises(error, match="n_members must be an integer >= 1"):
        MLPClassifier(n_members=n).fit(X, THREE)
