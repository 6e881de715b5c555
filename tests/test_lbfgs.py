"""`solver="lbfgs"` beside scikit-learn's."""

import numpy as np
import pytest
import scipy.sparse
from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning

import fastmlp
from fastmlp.sklearn import lbfgs

RNG = np.random.default_rng(0)
X = RNG.standard_normal((300, 6))
THREE = (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 0.5)
TWO = np.where(X[:, 0] * X[:, 1] > 0, "yes", "no")
SEVERAL = (X[:, :3] + X[:, 3:] > 0).astype(int)
NUMBER = np.sin(X[:, 0]) + X[:, 1] ** 2
COUNTS = RNG.poisson(np.exp(X[:, :2] / 2))
WEIGHTS = RNG.integers(1, 4, 300).astype(float)
TASKS = {
    "three": ("MLPClassifier", THREE, {}),
    "two": ("MLPClassifier", TWO, {}),
    "several": ("MLPClassifier", SEVERAL, {}),
    "number": ("MLPRegressor", NUMBER, {}),
    "counts": ("MLPRegressor", COUNTS, {"loss": "poisson"}),
}
PENALIZED = {"solver": "lbfgs", "activation": "identity", "random_state": 0, "alpha": 3.0, "tol": 1e-4}


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["equal", "weighted"])
@pytest.mark.parametrize("task", TASKS)
def test_the_minimum_is_that_of_scikit_learn(task, weights):
    name, y, more = TASKS[task]
    ours, theirs = (
        getattr(module, name)(hidden_layer_sizes=(4,), **PENALIZED, **more).fit(X, y, sample_weight=weights)
        for module in (fastmlp, neural_network)
    )
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-5)
    method = "predict_proba" if name == "MLPClassifier" else "predict"
    np.testing.assert_allclose(getattr(ours, method)(X), getattr(theirs, method)(X), atol=2e-3, rtol=2e-3)
    assert (ours.n_layers_, ours.n_outputs_, ours.out_activation_) == (
        theirs.n_layers_, theirs.n_outputs_, theirs.out_activation_,
    )  # fmt: skip
    assert not any(hasattr(ours, attribute) for attribute in ("loss_curve_", "best_loss_", "t_"))


@pytest.mark.parametrize("name", ["three", "number"])
def test_the_first_iterations_are_those_of_scikit_learn(name):
    estimator, y, _ = TASKS[name]
    arguments = {"solver": "lbfgs", "activation": "tanh", "random_state": 0, "max_iter": 4, "hidden_layer_sizes": 9}
    ours, theirs = (getattr(module, estimator)(**arguments) for module in (fastmlp, neural_network))
    for each in (ours, theirs):
        with pytest.warns(ConvergenceWarning, match="lbfgs failed to converge after 4 iteration"):
            each.fit(X, y)
    for got, want in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-3)
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-4)


@pytest.mark.parametrize("seed", range(12))
def test_the_sum_over_outputs_is_minimized(seed):  # where the last line search fails, as rounding hides a lower loss
    y = np.stack([NUMBER, 10 * X[:, 2]], axis=1)
    arguments = {"hidden_layer_sizes": (), "solver": "lbfgs", "alpha": 5.0, "tol": 1e-6, "random_state": seed}
    ours = fastmlp.MLPRegressor(**arguments).fit(X, y)
    inside = np.hstack([X, np.ones((300, 1))])
    penalty = np.diag([5.0] * 6 + [0])
    want = np.linalg.solve(inside.T @ inside + penalty, inside.T @ y)
    np.testing.assert_allclose(np.vstack([ours.coefs_[0], ours.intercepts_[0]]), want, atol=1e-4)
    residuals = y - inside @ want
    loss = (residuals**2).mean() / 2 + 5.0 / 600 * (want[:-1] ** 2).sum()
    assert ours.loss_ == pytest.approx(loss, rel=1e-5)


def test_weights_are_as_good_as_repetitions():
    rows = np.arange(300).repeat(WEIGHTS.astype(int))
    weighted = fastmlp.MLPClassifier(hidden_layer_sizes=(), **PENALIZED).fit(X, THREE, sample_weight=WEIGHTS)
    repeated = fastmlp.MLPClassifier(hidden_layer_sizes=(), **PENALIZED).fit(X[rows], THREE[rows])
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-3)


def test_batches_and_sparse_matrices_do_not_matter(monkeypatch):
    x = np.where(RNG.random((300, 40)) < 0.2, 1.0, 0.0)
    arguments = {**PENALIZED, "hidden_layer_sizes": (), "tol": 1e-6}
    expected = fastmlp.MLPClassifier(**arguments).fit(x, TWO).predict_proba(x)
    sparse = fastmlp.MLPClassifier(**arguments).fit(scipy.sparse.csr_array(x), TWO)
    np.testing.assert_allclose(sparse.predict_proba(x), expected, atol=1e-3)
    monkeypatch.setattr(lbfgs, "BATCH_SIZE", 77)
    np.testing.assert_allclose(fastmlp.MLPClassifier(**arguments).fit(x, TWO).predict_proba(x), expected, atol=1e-3)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_warm_start_continues_and_other_solvers_begin_anew():
    ours = fastmlp.MLPClassifier(solver="lbfgs", warm_start=True, max_iter=5, random_state=0).fit(X, THREE)
    losses = [ours.loss_]
    for _ in range(2):
        losses.append(ours.fit(X, THREE).loss_)
    assert losses[0] > losses[1] > losses[2]
    ours.set_params(solver="adam").fit(X, THREE)
    assert len(ours.loss_curve_) == 5
    assert ours.loss_curve_[0] < losses[0]
    ours.partial_fit(X, THREE)
    assert len(ours.loss_curve_) == 6
    ours.set_params(solver="lbfgs", warm_start=False).fit(X, THREE)
    assert not hasattr(ours, "loss_curve_")
    ours.set_params(solver="sgd").partial_fit(X, THREE)
    assert (len(ours.loss_curve_), ours.n_iter_, ours.t_) == (1, 1, 300)


def test_there_is_no_partial_fit():
    for make in (fastmlp.MLPClassifier, fastmlp.MLPRegressor):
        with pytest.raises(AttributeError) as caught:
            make(solver="lbfgs").partial_fit(X, THREE)
        assert "only available for stochastic optimizers. lbfgs is not stochastic." in str(caught.value.__cause__)
        assert hasattr(make(), "partial_fit")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_iterations_are_printed_and_early_stopping_has_no_effect(capsys):
    plain = fastmlp.MLPClassifier(solver="lbfgs", max_iter=3, random_state=0, verbose=True).fit(X, THREE)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == ["Iteration 1", "Iteration 2", "Iteration 3"]
    assert float(lines[-1].split("=")[1]) == pytest.approx(plain.loss_, rel=1e-6)
    other = fastmlp.MLPClassifier(solver="lbfgs", max_iter=3, random_state=0, early_stopping=True).fit(X, THREE)
    np.testing.assert_array_equal(plain.predict_proba(X), other.predict_proba(X))


def test_a_loss_that_is_not_finite_is_an_error():
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        fastmlp.MLPRegressor(hidden_layer_sizes=(), solver="lbfgs").fit(X, 1e30 * NUMBER)


def test_data_frames_are_encoded_and_settings_of_losses_apply():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"size": X[:, 0], "kind": np.where(X[:, 1] > 0, "a", "b")})
    y = np.where(X[:, 1] > 0, "high", "low")
    ours = fastmlp.MLPClassifier(hidden_layer_sizes=(), solver="lbfgs").fit(frame, y)
    assert ours.score(frame, y) == 1.0
    assert ours.model_.encoder is not None
    smooth = fastmlp.MLPClassifier(hidden_layer_sizes=(), solver="lbfgs", loss="cross_entropy", label_smoothing=0.2)
    assert smooth.fit(frame, y).predict_proba(frame).max() < 0.95
