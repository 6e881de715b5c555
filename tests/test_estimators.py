"""`MLPClassifier` and `MLPRegressor` beside those of scikit-learn."""

import copy
import pickle
import re
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
import scipy.sparse
import sklearn
from packaging import version
from sklearn import neural_network
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastmlp
from fastmlp import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # tests take few epochs

RNG = np.random.default_rng(0)
X = RNG.standard_normal((400, 8))
THREE = (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 0.5)
TWO = np.where(X[:, 0] * X[:, 1] > 0, "yes", "no")
SEVERAL = (X[:, :4] + X[:, 4:] > 0).astype(int)
ONE_NUMBER = np.sin(X[:, 0]) + X[:, 1] ** 2
NUMBERS = np.stack([ONE_NUMBER, X[:, 2], X[:, 3] - 1], axis=1)
COUNTS = RNG.poisson(np.exp(X[:, :2] / 2))
WEIGHTS = RNG.integers(1, 4, 400).astype(float)
QUICK = {"random_state": 0, "max_iter": 5, "batch_size": 50}

# scikit-learn demands seven digits of two fits that differ in the order of sums, which float32 has not; a test below
# demands four
UNEQUAL = {
    f"check_sample_weight_equivalence_on_{kind}_data": "sums in float32 are not equal to seven digits"
    for kind in ("dense", "sparse")
}


CHECKS = parametrize_with_checks(
    [
        MLPClassifier(max_iter=100),
        MLPClassifier(solver="sgd", learning_rate="adaptive", learning_rate_init=0.1, max_iter=50),
        MLPRegressor(max_iter=100),
        MLPRegressor(solver="sgd", max_iter=200),
    ],
    expected_failed_checks=lambda estimator: UNEQUAL,
)


# a list: pytest warns of the iterator that is in there before scikit-learn 1.8
@pytest.mark.parametrize(CHECKS.args[0], list(CHECKS.args[1]), **CHECKS.kwargs)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


TASKS = {
    "three": ("MLPClassifier", THREE, {}),
    "two": ("MLPClassifier", TWO, {}),
    "several": ("MLPClassifier", SEVERAL, {}),
    "number": ("MLPRegressor", ONE_NUMBER, {}),
    "numbers": ("MLPRegressor", NUMBERS, {}),
    "counts": ("MLPRegressor", COUNTS, {"loss": "poisson"}),
}
SOLVERS = {
    "plain": {"solver": "sgd", "momentum": 0, "learning_rate_init": 0.1},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False, "learning_rate_init": 0.02},
    "nesterov": {"solver": "sgd", "learning_rate_init": 0.02},
    "adam": {"learning_rate_init": 0.01},
}


def both(name):
    return getattr(fastmlp, name), getattr(neural_network, name)


def assert_same_parameters(ours, theirs, tolerance=5e-4):
    for got, expected in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_):
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("alpha", [0, 2.0])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("task", TASKS)
def test_the_same_start_comes_to_the_same_end(task, solver, alpha, weighted):
    name, y, more = TASKS[task]
    arguments = {
        **QUICK, **SOLVERS[solver], **more, "alpha": alpha, "hidden_layer_sizes": (12, 7), "shuffle": False,
        "activation": "tanh", "tol": 0,
    }  # fmt: skip
    # weights that are alike in every batch, or the penalty is not quite scikit-learn's
    weights = np.tile(WEIGHTS[:50], 8) if weighted else None
    ours, theirs = (make(**arguments).fit(X, y, sample_weight=weights) for make in both(name))
    assert_same_parameters(ours, theirs)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-3 if alpha == 0 else 0.1)
    np.testing.assert_allclose(ours.best_loss_, theirs.best_loss_, rtol=1e-3 if alpha == 0 else 0.1)
    np.testing.assert_allclose(ours.score(X, y), theirs.score(X, y), atol=0.005)
    if name == "MLPClassifier":
        for method in ("predict_proba", "predict_log_proba"):
            got, expected = getattr(ours, method)(X), getattr(theirs, method)(X)
            np.testing.assert_allclose(got, expected, rtol=2e-3, atol=1e-3)
    for attribute in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, attribute) == getattr(theirs, attribute)
    assert ours.predict(X).dtype == theirs.predict(X).dtype
    assert [c.shape for c in ours.coefs_] == [c.shape for c in theirs.coefs_]
    assert ours.validation_scores_ is ours.best_validation_score_ is None


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_activations_have_the_names_and_the_starts_of_scikit_learn(activation):
    arguments = {**QUICK, "activation": activation, "shuffle": False, "hidden_layer_sizes": 9}
    ours, theirs = (make(**arguments).fit(X, THREE) for make in both("MLPClassifier"))
    assert_same_parameters(ours, theirs)


@pytest.mark.parametrize("task", ["three", "two", "several", "numbers"])
def test_early_stopping_is_that_of_scikit_learn(task):
    name, y, _ = TASKS[task]
    y = (y == "yes").astype(int) if task == "two" else y  # scikit-learn 1.7 can't take strings here
    arguments = {
        "random_state": 3, "max_iter": 60, "batch_size": 40, "early_stopping": True, "shuffle": False, "tol": 1e-3,
        "n_iter_no_change": 3, "learning_rate_init": 0.005, "activation": "tanh", "validation_fraction": 0.2,
    }  # fmt: skip
    ours, theirs = (make(**arguments).fit(X, y, sample_weight=np.ones(400)) for make in both(name))
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.t_ == theirs.t_
    assert ours.best_loss_ is None
    np.testing.assert_allclose(ours.validation_scores_, theirs.validation_scores_, atol=0.02)
    np.testing.assert_allclose(ours.best_validation_score_, theirs.best_validation_score_, atol=0.02)
    assert_same_parameters(ours, theirs, 5e-3)


@pytest.mark.parametrize(
    "arguments",
    [
        {"solver": "adam", "learning_rate_init": 0.02, "tol": 0.01},
        {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.5, "tol": 0.02, "momentum": 0},
        {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.5, "tol": 0.001, "momentum": 0},
    ],
)
def test_slows_down_and_stops_when_scikit_learn_does(arguments, capsys):
    arguments = {
        **arguments, "random_state": 1, "activation": "tanh", "shuffle": False, "n_iter_no_change": 4, "batch_size": 50,
        "max_iter": 300, "verbose": True,
    }  # fmt: skip
    ours, theirs = both("MLPClassifier")
    ours = ours(**arguments).fit(X, THREE)
    said = capsys.readouterr().out
    theirs = theirs(**arguments).fit(X, THREE)
    assert ours.n_iter_ == theirs.n_iter_ < 300
    assert_same_parameters(ours, theirs, 2e-3)
    expected = capsys.readouterr().out
    assert [line.split("=")[0] for line in said.splitlines()] == [line.split("=")[0] for line in expected.splitlines()]
    assert said.splitlines()[-1] == expected.splitlines()[-1]


@pytest.mark.parametrize("task", TASKS)
def test_pieces_are_trained_on_as_in_scikit_learn(task):
    name, y, more = TASKS[task]
    arguments = {"random_state": 0, "activation": "tanh", "shuffle": False, "alpha": 1.0, **more}
    ours, theirs = (make(**arguments) for make in both(name))
    known = {"classes": np.arange(4) if task == "several" else np.unique(y)} if name == "MLPClassifier" else {}
    for i, (first, last) in enumerate([(0, 100), (100, 200), (200, 250), (250, 400), (0, 400)] * 3):
        for estimator in (ours, theirs):  # steps of several sizes, of which the penalty depends
            estimator.partial_fit(X[first:last], y[first:last], sample_weight=np.full(last - first, 2.0), **known)
            assert estimator.n_iter_ == 1
        if i == 7:  # pickles go on, with the optimizer's state
            ours = copy.deepcopy(pickle.loads(pickle.dumps(ours)))
    assert ours.t_ == theirs.t_ == 2400
    assert_same_parameters(ours, theirs, 3e-3)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=0.02)


def test_a_pickle_goes_on_with_the_same_bits():
    ours = MLPClassifier(**QUICK).fit(X, THREE)
    other = pickle.loads(pickle.dumps(ours))
    np.testing.assert_array_equal(other.predict_proba(X), ours.predict_proba(X))
    for _ in range(3):
        ours.partial_fit(X[:90], THREE[:90])
        other.partial_fit(X[:90], THREE[:90])
        other = copy.deepcopy(other)
    np.testing.assert_array_equal(other.predict_proba(X), ours.predict_proba(X))


def test_partial_fit_goes_on_after_fit_and_keeps_the_slower_rate():
    arguments = {"solver": "sgd", "learning_rate": "invscaling", "momentum": 0, "shuffle": False, "random_state": 0}
    ours, theirs = (make(**arguments, max_iter=3, batch_size=50) for make in both("MLPClassifier"))
    for estimator in (ours, theirs):
        estimator.fit(X, THREE).partial_fit(X, THREE).partial_fit(X, THREE)
    assert_same_parameters(ours, theirs)


@pytest.mark.parametrize("task", ["three", "two", "numbers"])
def test_warm_start_goes_on(task):
    name, y, _ = TASKS[task]
    arguments = {**QUICK, "activation": "tanh", "shuffle": False, "warm_start": True}
    ours, theirs = (make(**arguments) for make in both(name))
    for estimator in (ours, theirs):
        for _ in range(3):
            estimator.fit(X, y)
    assert (ours.n_iter_, ours.t_, len(ours.loss_curve_)) == (theirs.n_iter_, theirs.t_, len(theirs.loss_curve_))
    assert_same_parameters(ours, theirs, 1e-3)


def test_warm_start_with_early_stopping_keeps_the_best():
    ours = MLPClassifier(**QUICK, warm_start=True, early_stopping=True, n_iter_no_change=2).fit(X, THREE)
    best = ours.best_validation_score_
    for _ in range(3):
        ours.fit(X, THREE)
        assert ours.best_validation_score_ >= best
    assert len(ours.validation_scores_) == len(ours.loss_curve_)
    ours.set_params(early_stopping=False).fit(X, THREE)
    assert ours.validation_scores_ is None
    assert ours.best_loss_ == min(ours.loss_curve_[-5:])


def test_digits_are_told_as_well_as_by_scikit_learn():
    digits, labels = load_digits(return_X_y=True)
    arguments = {"hidden_layer_sizes": (32,), "max_iter": 30}
    ours, theirs = (
        [
            make(**arguments, random_state=seed).fit(digits[:1200], labels[:1200]).score(digits[1200:], labels[1200:])
            for seed in range(6)
        ]
        for make in both("MLPClassifier")
    )
    noise = np.sqrt((np.var(ours) + np.var(theirs)) / 6)
    assert abs(np.mean(ours) - np.mean(theirs)) < 4 * noise + 0.002


@pytest.mark.parametrize(
    ("make", "y"), [(MLPClassifier, THREE), (MLPClassifier, TWO), (MLPClassifier, SEVERAL), (MLPRegressor, NUMBERS)]
)
def test_weights_are_as_good_as_repetitions(make, y):
    counts = RNG.integers(0, 4, 60)
    rows = np.arange(60).repeat(counts)
    arguments = {"random_state": 0, "max_iter": 20, "solver": "sgd", "learning_rate_init": 0.1, "alpha": 1.0}
    weighted = make(**arguments).fit(X[:60], y[:60], sample_weight=counts)
    repeated = make(**arguments).fit(X[rows], y[rows])
    assert_same_parameters(weighted, repeated, 1e-4)
    np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-4)


@pytest.mark.parametrize("y", [THREE, TWO])
def test_class_weights_multiply_those_of_samples(y):
    classes, index = np.unique(y, return_inverse=True)
    by_class = dict(zip(classes, [0.5, 3.0, 1.0]))
    arguments = {**QUICK, "shuffle": False}
    ours = MLPClassifier(**arguments, class_weight=by_class).fit(X, y, sample_weight=WEIGHTS)
    product = WEIGHTS * np.array([0.5, 3.0, 1.0])[index]
    expected = MLPClassifier(**arguments).fit(X, y, sample_weight=product)
    np.testing.assert_array_equal(ours.predict_proba(X), expected.predict_proba(X))
    balanced = MLPClassifier(**arguments, class_weight="balanced").fit(X, y)
    assert not np.array_equal(balanced.coefs_[0], MLPClassifier(**arguments).fit(X, y).coefs_[0])
    ours.partial_fit(X, y)
    with pytest.raises(ValueError, match="balanced"):
        balanced.partial_fit(X, y)


@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_matrix, scipy.sparse.csc_array, scipy.sparse.coo_array])
def test_bytes_are_not_scaled_and_sparse_matrices_are_the_same(form):
    values = RNG.integers(0, 3, (200, 30)).astype(np.uint8) * (RNG.random((200, 30)) < 0.2).astype(np.uint8)
    y = values[:, 0] > 0
    expected = MLPClassifier(**QUICK).fit(values.astype(np.float64), y).predict_proba(values)
    for dtype in (np.uint8, np.float32, np.int64):
        ours = MLPClassifier(**QUICK).fit(form(values.astype(dtype)), y)
        np.testing.assert_allclose(ours.predict_proba(form(values.astype(dtype))), expected, rtol=1e-5)


@pytest.mark.parametrize("arguments", [{}, {"early_stopping": True, "solver": "sgd"}])
def test_threads_and_sparse_matrices_give_the_same_bits(arguments):
    arguments = {**QUICK, **arguments, "hidden_layer_sizes": (300, 200), "batch_size": 128}
    values = np.where(RNG.random((300, 40)) < 0.1, 1.0, 0.0)
    expected = MLPClassifier(**arguments).fit(values, THREE[:300]).predict_proba(values)
    matrix = scipy.sparse.csr_array(values)
    ours = MLPClassifier(**arguments, threads=None).fit(matrix, THREE[:300])
    np.testing.assert_array_equal(ours.predict_proba(matrix), expected)


def test_a_memmap_is_taken_as_an_array(tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    ours = MLPClassifier(**QUICK).fit(mapped, THREE)
    np.testing.assert_array_equal(ours.predict_proba(mapped), MLPClassifier(**QUICK).fit(X, THREE).predict_proba(X))


def test_sparse_labels_give_sparse_predictions():
    ours, theirs = (make(**QUICK).fit(X, scipy.sparse.csr_matrix(SEVERAL)) for make in both("MLPClassifier"))
    assert scipy.sparse.issparse(ours.predict(X)) == scipy.sparse.issparse(theirs.predict(X)) == True  # noqa: E712
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)


def test_every_loss_of_a_classifier():
    for y, loss, width in ((TWO, None, 1), (TWO, "cross_entropy", 2), (TWO, "softmax_mse", 2), (THREE, None, 3),
                           (THREE, "softmax_mse", 3), (SEVERAL, "binary_cross_entropy", 4)):  # fmt: skip
        ours = MLPClassifier(random_state=0, loss=loss, max_iter=60).fit(X, y)
        assert ours.coefs_[-1].shape == (100, width)
        assert ours.score(X, y) > 0.7
        assert ours.predict_proba(X).shape == (400, 4 if y is SEVERAL else len(ours.classes_))
        np.testing.assert_allclose(np.exp(ours.predict_log_proba(X)), ours.predict_proba(X), atol=1e-6)
    smooth = MLPClassifier(random_state=0, label_smoothing=0.3, max_iter=60).fit(X, THREE)
    assert (
        smooth.predict_proba(X).max() < MLPClassifier(random_state=0, max_iter=60).fit(X, THREE).predict_proba(X).max()
    )


@pytest.mark.parametrize("solver", ["sgd", "adam", "adamw", "rmsprop", "adagrad"])
@pytest.mark.parametrize("loss", ["squared_error", "mse", "mae", "huber"])
def test_every_loss_of_a_regressor_and_every_solver(loss, solver):
    rate = {"sgd": 0.02, "adagrad": 0.05}.get(solver, 0.005)
    ours = MLPRegressor(
        loss, (50,), "silu", solver=solver, learning_rate_init=rate, max_iter=60, random_state=0, dropout=0.01,
        input_dropout=0.01, clip_norm=5.0, max_norm=10.0, delta=0.5,
    )  # fmt: skip
    assert ours.fit(X, NUMBERS).score(X, NUMBERS) > 0.7
    assert ours.loss_curve_[-1] < ours.loss_curve_[0]


def test_the_losses_of_fastmlp_are_its_own():
    ours = MLPRegressor("mse", (7,), **QUICK, alpha=0, solver="sgd", shuffle=False, momentum=0, learning_rate_init=0.1)
    start = clone(ours).set_params(max_iter=1, learning_rate_init=1e-30).fit(X, NUMBERS)
    model = fastmlp.train(
        X, NUMBERS, hidden=(7,), learning_rate=0.1, batch_size=50, epochs=5, shuffle=False, init=start.model_
    )
    np.testing.assert_array_equal(ours.fit(X, NUMBERS).coefs_[1], model.weights[1])
    assert ours.loss_curve_ == model.history["train_loss"]
    with_name = clone(ours).set_params(init="glorot").fit(X, NUMBERS)
    assert (clone(ours).set_params(init="zeros", max_iter=1).fit(X, NUMBERS).coefs_[0] == 0).all()
    assert np.isfinite(with_name.loss_)


def test_adamw_decays_as_pytorch_does():
    arguments = {**QUICK, "solver": "adamw", "alpha": 0.3, "shuffle": False}
    ours = MLPClassifier(**arguments).fit(X, THREE)
    start = MLPClassifier(**QUICK, alpha=0).set_params(max_iter=1, learning_rate_init=1e-30).fit(X, THREE)
    model = fastmlp.train(
        X, THREE, hidden=100, optimizer=fastmlp.AdamW(weight_decay=0.3), learning_rate=0.001, batch_size=50, epochs=5,
        shuffle=False, init=start.model_,
    )  # fmt: skip
    np.testing.assert_array_equal(ours.coefs_[0], model.weights[0])


def test_coefficients_can_be_written():
    ours = MLPRegressor(**QUICK).fit(X, ONE_NUMBER)
    ours.coefs_[0] = np.zeros((8, 100))
    ours.coefs_[1][:] = 1
    ours.intercepts_ = [np.ones(100), np.array([5.0])]
    np.testing.assert_allclose(ours.predict(X), 105)
    ours.coefs_ = [coef * 2 for coef in ours.coefs_]
    np.testing.assert_allclose(ours.predict(X[:1]), 205)
    np.testing.assert_allclose(clone(ours).set_params(init=ours.model_, max_iter=1).fit(X, ONE_NUMBER).n_iter_, 1)
    with pytest.raises(AttributeError, match="before it is fitted"):
        _ = MLPRegressor().coefs_


def test_one_class_alone():
    ours = MLPClassifier(**QUICK).fit(X, np.full(400, "same"))
    assert (ours.predict(X) == "same").all()
    assert ours.predict_proba(X).shape == (400, 1)
    assert (ours.predict_log_proba(X) == 0).all()


def test_log_probabilities_are_finite():
    for y in (THREE, TWO, SEVERAL):
        ours = MLPClassifier(**QUICK).fit(X, y)
        assert np.isfinite(ours.predict_log_proba(1e4 * X)).all()


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_grid_search(backend):
    search = GridSearchCV(
        make_pipeline(StandardScaler(), MLPClassifier(random_state=0, max_iter=20, learning_rate_init=0.01)),
        {"mlpclassifier__hidden_layer_sizes": [(4,), (30,)], "mlpclassifier__alpha": [1e-4, 1e3]},
        cv=3,
    )
    expected = clone(search).fit(X, THREE)
    with joblib.parallel_backend(backend, n_jobs=2):
        search.fit(X, THREE)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"])
    assert search.best_params_["mlpclassifier__alpha"] == 1e-4
    assert search.best_score_ > 0.7


def test_scorers_and_metadata():
    scores = cross_val_score(MLPClassifier(max_iter=30, random_state=0), X, TWO, scoring="neg_log_loss", cv=3)
    assert np.isfinite(scores).all()
    with sklearn.config_context(enable_metadata_routing=True):
        weighted = MLPClassifier(max_iter=5, random_state=0).set_fit_request(sample_weight=True)
        weighted.set_score_request(sample_weight=True)
        assert len(cross_val_score(weighted, X, TWO, cv=2, params={"sample_weight": WEIGHTS})) == 2


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_names_of_columns(library):
    frames = pytest.importorskip(library)
    if library == "polars" and version.parse(sklearn.__version__) < version.parse("1.9"):
        pytest.skip("scikit-learn does not know polars 2 before 1.9")
    names = [f"feature {i}" for i in range(8)]
    frame = frames.DataFrame(dict(zip(names, X.T)))
    y = frames.Series(TWO)
    ours = MLPClassifier(**QUICK).fit(frame, y)
    assert list(ours.feature_names_in_) == names
    np.testing.assert_array_equal(ours.predict_proba(frame), MLPClassifier(**QUICK).fit(X, TWO).predict_proba(X))
    with pytest.raises(ValueError, match="feature names"):
        ours.predict(frame[names[::-1]])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        ours.predict(X)
    pipeline = make_pipeline(StandardScaler(), MLPRegressor(**QUICK)).set_output(transform=library)
    assert list(pipeline.fit(frame, ONE_NUMBER)[-1].feature_names_in_) == names
    assert pipeline.predict(frame).shape == (400,)


def test_clones_have_the_arguments_and_nothing_else():
    ours = MLPClassifier((5, 6), "elu", solver="rmsprop", dropout=[0.1, 0.2], class_weight={0: 2}).fit(X, THREE)
    copied = clone(ours)
    assert copied.get_params() == ours.get_params()
    assert not hasattr(copied, "classes_")
    with pytest.raises(NotFittedError):
        copied.predict(X)
    assert "dropout=[0.1, 0.2]" in repr(ours)


def test_arguments_of_scikit_learn_have_its_defaults():
    for name in ("MLPClassifier", "MLPRegressor"):
        ours, theirs = (make().get_params() for make in both(name))
        assert {key: ours[key] for key in theirs} == theirs


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"solver": "newton"}, "solver must be one of 'lbfgs', 'sgd'"),
        ({"max_fun": 0}, "max_fun must be an integer >= 1, got 0"),
        ({"solver": "lbfgs", "dropout": (0.5,)}, r"dropout must be 0.0 with solver='lbfgs', .* got \(0.5,\)"),
        ({"solver": "lbfgs", "clip_norm": 1.0}, "clip_norm must be None with solver='lbfgs'"),
        ({"solver": "newton"}, "solver must be one of"),
        ({"hidden_layer_sizes": (0,)}, "hidden_layer_sizes"),
        ({"hidden_layer_sizes": (3, -1)}, "hidden_layer_sizes"),
        ({"activation": "cosine"}, "activation must be one of"),
        ({"alpha": -1}, "alpha"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": "all"}, "batch_size must be 'auto' or an integer"),
        ({"learning_rate": "fast"}, "learning_rate must be one of"),
        ({"learning_rate_init": 0}, "learning_rate_init"),
        ({"power_t": -1}, "power_t"),
        ({"max_iter": 0}, "max_iter"),
        ({"tol": -1}, "tol"),
        ({"momentum": 1}, "momentum"),
        ({"validation_fraction": 1.0}, "validation_fraction"),
        ({"early_stopping": True, "validation_fraction": 0.001}, "validation set is too small"),
        ({"beta_1": 1}, "beta_1"),
        ({"epsilon": 0}, "epsilon"),
        ({"n_iter_no_change": 0}, "n_iter_no_change"),
        ({"loss": "mse"}, "loss must be one of"),
        ({"loss": "binary_cross_entropy"}, "is not for multiclass targets"),
        ({"class_weight": "even"}, "class_weight"),
        ({"label_smoothing": 1}, "label_smoothing"),
        ({"dropout": 1}, "dropout"),
        ({"clip_norm": 0}, "clip_norm"),
        ({"max_norm": -1}, "max_norm"),
        ({"init": "best"}, "init"),
        ({"threads": 0}, "threads"),
        ({"random_state": "x"}, "cannot be used to seed"),
    ],
)
def test_bad_arguments_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        MLPClassifier(**arguments).fit(X, THREE)


def test_bad_targets_and_calls_are_refused():
    fitted = MLPClassifier(**QUICK).fit(X, THREE)
    several = MLPClassifier(**QUICK).fit(X, SEVERAL)
    for action, match in [
        (lambda: MLPClassifier().fit(X, ONE_NUMBER), "Unknown label type"),
        (lambda: MLPClassifier().fit(X, SEVERAL * 2 + SEVERAL[::-1]), "Unknown label type"),
        (lambda: MLPClassifier(loss="cross_entropy").fit(X, SEVERAL), "not for multilabel-indicator targets"),
        (lambda: MLPClassifier(class_weight="balanced").fit(X, SEVERAL), "one label a sample"),
        (lambda: MLPClassifier().partial_fit(X, THREE), "classes must be passed"),
        (lambda: fitted.partial_fit(X, THREE, classes=[0, 1]), "not the same as on last call"),
        (lambda: fitted.partial_fit(X, THREE + 1), "classes not in"),
        (lambda: fitted.partial_fit(X, SEVERAL), "must hold multiclass targets"),
        (lambda: several.partial_fit(X, SEVERAL[:, :3]), "must have 4 labels"),
        (lambda: clone(fitted).set_params(early_stopping=True).partial_fit(X, THREE, classes=[0, 1, 2]), "partial_fit"),
        (lambda: fitted.fit(X, THREE, sample_weight=-WEIGHTS), "sample_weight"),
        (lambda: MLPRegressor("poisson").fit(X, NUMBERS), ">= 0"),
        (lambda: MLPRegressor("half").fit(X, NUMBERS), "loss must be one of"),
        (lambda: MLPRegressor(learning_rate_init=1e30, solver="sgd").fit(X, NUMBERS), "non-finite parameter weights"),
        (lambda: fitted.predict(X[:, :3]), "8 features"),
        (lambda: fitted.set_params(warm_start=True).fit(X, THREE > 0), "same classes"),
    ]:
        with pytest.raises(ValueError, match=match):
            action()


def test_warnings():
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(5\) reached"):
        MLPClassifier(**QUICK).fit(X, THREE)
    with pytest.warns(UserWarning, match="going to be clipped"):
        MLPClassifier(max_iter=2, batch_size=1000).fit(X, THREE)
    with pytest.warns(sklearn.exceptions.DataConversionWarning, match="column-vector"):
        MLPClassifier(**QUICK).fit(X, THREE[:, None])

    def interrupt(model):
        raise KeyboardInterrupt

    ours = MLPClassifier(**QUICK)
    ours._loss_settings = lambda: {"callbacks": [interrupt]}
    with pytest.warns(UserWarning, match="interrupted by user"):
        ours.fit(X, THREE)


def test_without_scikit_learn_the_extra_is_named():
    code = (
        "import sys; sys.modules['sklearn'] = None; import fastmlp\n"
        "assert 'MLPClassifier' in dir(fastmlp) and 'train' in dir(fastmlp)\n"
        "try: fastmlp.MLPClassifier\n"
        "except ImportError as error: print(error)\n"
        "try: fastmlp.nothing\n"
        "except AttributeError as error: print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == (
        "this needs sklearn: pip install 'fastmlp[sklearn]'\nmodule 'fastmlp' has no attribute 'nothing'\n"
    )


def test_the_benchmark_compares():
    script = Path(__file__).resolve().parent.parent / "benchmarks" / "sklearn_drop_in.py"
    arguments = ["--seeds", "2", "--max-iter", "4", "--learning-rate", "0.02", "--data", "breast cancer", "words"]
    run = subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True, check=True)
    rows = run.stdout.splitlines()[2:]
    assert [row[:14].strip() for row in rows] == ["breast cancer", "words"]
    for row in rows:
        ours, theirs = (float(score) for score in re.findall(r"([\d.]+) \+-", row))
        assert min(ours, theirs) > 70
        assert abs(ours - theirs) < 10


@pytest.mark.filterwarnings("ignore:overflow encountered in square:RuntimeWarning")  # in scikit-learn's score
def test_a_loss_that_becomes_infinite_ends_early_stopping_with_the_best_epoch():
    arguments = {"solver": "sgd", "early_stopping": True, "activation": "identity", "random_state": 0}
    ours = MLPRegressor(**arguments, learning_rate_init=1.0)
    with pytest.warns(ConvergenceWarning, match=r"became NaN or infinite in iteration \d+. The best one before"):
        ours.fit(X, ONE_NUMBER)
    assert np.isnan([ours.loss_, ours.loss_curve_[-1], ours.validation_scores_[-1]]).all()
    assert len(ours.validation_scores_) == len(ours.loss_curve_) == ours.n_iter_
    assert all(np.isfinite(coef).all() for coef in ours.coefs_)
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        MLPRegressor(**{**arguments, "early_stopping": False}, learning_rate_init=1.0).fit(X, ONE_NUMBER)


def test_probabilities_of_float64_are_exact():
    for y in (TWO, THREE, SEVERAL):
        ours = MLPClassifier(**QUICK).fit(X, y)
        np.testing.assert_allclose(np.log(ours.predict_proba(X)), ours.predict_log_proba(X), rtol=1e-12)
        np.testing.assert_allclose(ours.predict_proba(X), ours.predict_proba(np.float32(X)), rtol=1e-4)
