"""The estimators with ``preset="tabular"``."""

import pickle

import numpy as np
import pandas as pd
import pytest

import fastmlp

pytest.importorskip("sklearn")
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import cross_val_score
from sklearn.utils import check_random_state

from fastmlp import tabular_preset

RNG = np.random.default_rng(0)
X = RNG.standard_normal((150, 5))
FRAME = pd.DataFrame(X, columns=list("abcde")).assign(kind=np.where(X[:, 0] > 0.5, "high", "low"))
LABELS = np.where(X[:, 0] * X[:, 1] > 0, "yes", "no")
SEED = int(check_random_state(0).randint(2**31 - 1))


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setitem(tabular_preset.SETTINGS, "epochs", 12)
    monkeypatch.setitem(tabular_preset.SETTINGS, "hidden", (64, 64))


@pytest.mark.parametrize("x", [X, FRAME, X.astype(np.float32)], ids=["array", "frame", "float32"])
def test_a_classifier_is_the_recipe(x):
    model = fastmlp.MLPClassifier(preset="tabular", random_state=0).fit(x, LABELS)
    want = fastmlp.tabular(x, LABELS, validation=0.1, seed=SEED, threads=1)
    np.testing.assert_array_equal(model.predict(x), want.predict(x))
    np.testing.assert_allclose(model.predict_proba(x), want.predict_proba(x), rtol=1e-6)
    np.testing.assert_allclose(model.predict_proba(x).sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(x)), model.predict_proba(x), rtol=1e-4)
    assert (model.n_iter_, model.n_layers_, model.n_outputs_, model.t_) == (12, 4, 2, 12 * 135)
    assert (len(model.loss_curve_), len(model.validation_scores_)) == (12, 12)
    assert model.best_validation_score_ == max(want.history["validation_accuracy"])
    assert model.loss_ == want.history["train_loss"][-1]


@pytest.mark.parametrize("y", [X[:, 0] * 50 + 7, X[:, :2]], ids=["one", "two"])
def test_a_regressor_is_the_recipe(y):
    model = fastmlp.MLPRegressor(preset="tabular", random_state=0, validation_fraction=0.2).fit(FRAME, y)
    want = fastmlp.tabular(FRAME, y, validation=0.2, seed=SEED, threads=1).predict(FRAME)
    np.testing.assert_allclose(model.predict(FRAME), want[:, 0] if y.ndim == 1 else want, rtol=1e-6)
    assert model.score(FRAME, y) > 0.5
    assert model.validation_scores_ is None


def test_several_labels_and_weights_and_three_classes_are_taken():
    several = np.stack([X[:, 0] > 0, X[:, 1] > 0], axis=1).astype(int)
    model = fastmlp.MLPClassifier(preset="tabular", random_state=0).fit(X, several)
    assert model.predict(X).shape == (150, 2)
    three = np.array(["a", "b", "c"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)]
    weights, by_class = RNG.uniform(0.5, 2, 150), {"a": 1, "b": 2, "c": 9}
    model = fastmlp.MLPClassifier(preset="tabular", random_state=0, class_weight=by_class)
    got = model.fit(X, three, sample_weight=weights).predict_proba(X)
    all_weights = weights * [by_class[label] for label in three]
    want = fastmlp.tabular(X, three, validation=0.1, seed=SEED, threads=1, sample_weight=all_weights)
    np.testing.assert_allclose(got, want.predict_proba(X), rtol=1e-5)
    assert np.abs(got - fastmlp.tabular(X, three, validation=0.1, seed=SEED, threads=1).predict_proba(X)).max() > 0.01


def test_scikit_learns_tools_work(monkeypatch):
    estimator = fastmlp.MLPClassifier(preset="tabular", random_state=0)
    assert clone(estimator).get_params()["preset"] == "tabular"
    assert cross_val_score(estimator, FRAME, X[:, 0] > 0, cv=2).min() > 0.8
    fitted = estimator.fit(FRAME, LABELS)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(FRAME), fitted.predict(FRAME))


@pytest.mark.parametrize("kind", ["Classifier", "Regressor"])
def test_members_are_averaged(kind):
    y = LABELS if kind == "Classifier" else np.linspace(0, 1000, len(LABELS))
    estimator = getattr(fastmlp, f"MLP{kind}")(preset="tabular", random_state=0, n_members=3, threads=2).fit(X, y)
    want = fastmlp.tabular(X, y, validation=0.1, seed=SEED, n_members=3)
    members = estimator.estimators_
    assert [len(members), estimator.n_iter_] == [3, 12]
    if kind == "Classifier":
        np.testing.assert_array_equal(estimator.predict_proba(X), want.predict_proba(X))
        each = [member.predict_proba(X) for member in members]
        np.testing.assert_allclose(np.mean(each, axis=0), want.predict_proba(X), atol=1e-6)
        assert estimator.best_validation_score_ == np.mean([member.best_validation_score_ for member in members])
    else:
        np.testing.assert_array_equal(estimator.predict(X), want.predict(X)[:, 0])
        np.testing.assert_allclose(np.mean([m.predict(X) for m in members], axis=0), estimator.predict(X), rtol=1e-5)
    assert estimator.loss_curve_ == pytest.approx(np.mean([member.loss_curve_ for member in members], axis=0))
    single = estimator.set_params(n_members=1).fit(X, y)
    assert not hasattr(single, "estimators_")
    np.testing.assert_array_equal(single.predict(X), members[0].predict(X))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "image"}, "preset must be one of None, 'tabular', got 'image'"),
        ({"preset": "tabular", "warm_start": True}, "warm_start=True is not for preset='tabular'"),
        ({"preset": "tabular", "validation_fraction": 0}, "validation_fraction must leave samples in both parts"),
    ],
)
def test_what_does_not_fit_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        fastmlp.MLPClassifier(**settings).fit(X, LABELS)


def test_it_takes_no_pieces():
    with pytest.raises(ValueError, match="partial_fit is not for preset='tabular'"):
        fastmlp.MLPClassifier(preset="tabular").partial_fit(X, LABELS, classes=["no", "yes"])


def test_nothing_continues_what_a_preset_has_fitted():
    model = fastmlp.MLPClassifier(preset="tabular", random_state=0, max_iter=2).fit(X, LABELS)
    model.set_params(preset=None)
    with pytest.raises(ValueError, match="preset must stay 'tabular'"):
        model.partial_fit(X, LABELS)
    with pytest.raises(ValueError, match="preset must stay 'tabular'"):
        model.set_params(warm_start=True).fit(X, LABELS)
    with pytest.warns(ConvergenceWarning):
        model.set_params(warm_start=False).fit(X, LABELS)
    model.partial_fit(X, LABELS)


def test_a_loss_that_is_not_finite_is_scikit_learns_error():
    targets = np.linspace(-1e36, 1e36, len(LABELS))  # too large to be scaled
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        fastmlp.MLPRegressor(preset="tabular", random_state=0).fit(X, targets)
