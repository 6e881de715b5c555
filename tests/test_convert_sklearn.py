import numpy as np
import pytest
from networks import outputs
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor

import fastmlp

X = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)


def close(got, want):
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=2e-6)


def fitted(estimator, y, **settings):
    with pytest.warns(ConvergenceWarning):
        return estimator(hidden_layer_sizes=(8, 5), max_iter=5, random_state=0, **settings).fit(X, y)


SCORE = X @ [1, -2, 0.5, 3]


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize(
    "y",
    [
        np.digitize(SCORE, [-2, 2]) * 5 - 3,
        np.digitize(SCORE, [-2, 2]).astype(float),
        np.array(["no", "or", "yes"])[np.digitize(SCORE, [-2, 2])],
        SCORE > 0,
        np.array(["no", "yes"], object)[(SCORE > 0).astype(int)],
    ],
    ids=["ints", "floats", "strings", "bools", "objects"],
)
def test_classifiers_from_sklearn(activation, y):
    mlp = fitted(MLPClassifier, y, activation=activation, learning_rate_init=0.1)
    model = fastmlp.from_sklearn(mlp)
    np.testing.assert_array_equal(model.classes, mlp.classes_)
    assert model.loss == "cross_entropy"
    close(model.predict_proba(X), mlp.predict_proba(X))
    np.testing.assert_array_equal(model.predict(X), mlp.predict(X))
    assert len(set(model.predict(X))) > 1
    assert model.evaluate(X, y.astype(model.classes.dtype)).accuracy == pytest.approx(mlp.score(X, y))


def test_several_labels_from_sklearn():
    y = np.stack([SCORE > 0, X[:, 1] > 0, SCORE < -3], axis=1).astype(int)
    mlp = fitted(MLPClassifier, y)
    model = fastmlp.from_sklearn(mlp)
    assert (model.loss, model.classes) == ("binary_cross_entropy", None)
    close(outputs(model, X), mlp.predict_proba(X))


@pytest.mark.parametrize("y", [SCORE, np.stack([SCORE, X[:, 0]], axis=1)], ids=["one", "two"])
def test_regressions_from_sklearn(y):
    mlp = fitted(MLPRegressor, y)
    model = fastmlp.from_sklearn(mlp, input_scale=0.5)
    assert (model.loss, model.classes, model.input_scale) == ("mse", None, 0.5)
    close(model.predict(X * 2), mlp.predict(X).reshape(50, -1))


@pytest.mark.skipif("loss" not in MLPRegressor().get_params(), reason="scikit-learn has no Poisson loss yet")
def test_a_poisson_regression_from_sklearn():
    mlp = fitted(MLPRegressor, np.exp(SCORE / 4), loss="poisson")
    model = fastmlp.from_sklearn(mlp)
    assert model.loss == "poisson"
    close(outputs(model, X)[:, 0], mlp.predict(X))


def test_other_estimators_are_refused():
    with pytest.raises(TypeError, match="mlp must be an MLPClassifier or MLPRegressor, got LogisticRegression"):
        fastmlp.from_sklearn(LogisticRegression())
    with pytest.raises(ValueError, match=r"mlp must be fitted, got MLPClassifier\(\)"):
        fastmlp.from_sklearn(MLPClassifier())
    mlp = fitted(MLPClassifier, np.where(SCORE > 0, 0.25, 0.5).astype("U4"))
    mlp.classes_ = np.array([0.25, 0.5])
    with pytest.raises(ValueError, match="classes must be 2 different integers or strings"):
        fastmlp.from_sklearn(mlp)
