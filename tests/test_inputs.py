import numpy as np
import pytest

import fastmlp

X = np.random.default_rng(0).random((20, 4)).astype(np.float32)
Y = np.arange(20) % 3
NAN, INF = X.copy(), X.copy()
NAN[7, 1], INF[3, 0] = np.nan, np.inf


@pytest.mark.parametrize(
    ("x", "y", "arguments", "error", "message"),
    [
        (X[:0], Y[:0], {}, ValueError, "x must have at least one sample"),
        (X[:, :0], Y, {}, ValueError, "x must have at least one sample and one feature"),
        (X[0], Y, {}, ValueError, r"x must have two dimensions.*shape \(4,\).*x\[None, :\]"),
        (X.reshape(20, 2, 2), Y, {}, ValueError, "x must have two dimensions"),
        (X.astype(object), Y, {}, TypeError, "x must hold numbers.*object"),
        (X.astype(complex), Y, {}, TypeError, "x must hold numbers.*complex"),
        (NAN, Y, {}, ValueError, "x must be finite.*row 7"),
        (INF, Y, {}, ValueError, "x must be finite.*row 3"),
        (X.astype(float) * 1e300, Y, {}, ValueError, "x must be finite.*row 0"),
        (X, Y[:5], {}, ValueError, r"y must have as many samples as x, 20.*\(5,\)"),
        (X, Y.reshape(10, 2), {}, ValueError, "y must have one dimension"),
        (X, np.zeros(20, int), {}, ValueError, "y must hold at least two classes, got only"),
        (X, Y.astype(object), {}, TypeError, "y must hold labels"),
        (X, Y.astype(float), {"loss": "cross_entropy"}, TypeError, 'y must hold labels.*loss="mse"'),
        (X, np.where(Y == 0, np.nan, Y), {}, ValueError, "y must be finite"),
        (X, np.array(list("abcd") * 5), {"loss": "mse"}, TypeError, "y must hold numbers"),
        (X, Y, {"loss": "hinge"}, ValueError, "loss must be one of 'cross_entropy'.*got 'hinge'"),
        (X, Y, {"activation": "swish"}, ValueError, "activation must be one of 'relu'.*'swish'"),
        (X, Y, {"activation": ["relu", "tanh"]}, ValueError, r"one per hidden layer \(1\)"),
        (X, Y, {"optimizer": "lbfgs"}, ValueError, "optimizer must be one of 'sgd'"),
        (X, Y, {"optimizer": 3}, TypeError, "optimizer must be a name"),
        (X, Y, {"init": "zeros"}, ValueError, "init must be one of 'he'"),
        (X, Y, {"init": [(np.zeros((4, 2)), np.zeros(2))]}, ValueError, "init must have weights of shapes"),
        (X, Y, {"hidden": (0,)}, ValueError, "hidden: every width must be an integer of at least 1, got 0"),
        (X, Y, {"hidden": 2.5}, TypeError, "hidden must be a sequence"),
        (X, Y, {"batch_size": 0}, ValueError, "batch_size must be an integer of at least 1, got 0"),
        (X, Y, {"batch_size": 1.0}, TypeError, "batch_size must be an integer"),
        (X, Y, {"epochs": -1}, ValueError, "epochs"),
        (X, Y, {"learning_rate": 0}, ValueError, "learning_rate must be a finite number greater than 0, got 0"),
        (X, Y, {"learning_rate": float("nan")}, ValueError, "learning_rate"),
        (X, Y, {"learning_rate": "fast"}, TypeError, "learning_rate"),
        (X, Y, {"shuffle": "yes"}, ValueError, "shuffle must be one of"),
        (X, Y, {"validation": 1.5}, ValueError, "validation, as a fraction"),
        (X, Y, {"validation": X}, TypeError, "validation must be"),
        (X, Y, {"validation": (X[:, :2], Y)}, ValueError, "validation x must have 4 features"),
        (X, Y, {"validation": (X, Y + 1)}, ValueError, r"validation y holds labels.*\[3\]"),
        (X, Y, {"seed": -1}, ValueError, "seed"),
        (X, Y, {"threads": 0}, ValueError, "threads"),
        (X, Y, {"input_scale": "big"}, ValueError, "input_scale"),
        (X, Y, {"callbacks": [3]}, TypeError, "callbacks"),
        (X, Y, {"progress": "loud"}, ValueError, "progress"),
    ],
)
def test_bad_input_is_refused_by_name(x, y, arguments, error, message):
    with pytest.raises(error, match=message):
        fastmlp.train(x, y, **{"epochs": 1, "hidden": (3,), **arguments})


def test_bad_input_of_a_model_is_refused_by_name():
    model = fastmlp.train(X, Y, epochs=1)
    with pytest.raises(ValueError, match=r"x must have 4 features.*\(20, 3\)"):
        model.predict(X[:, :3])
    with pytest.raises(ValueError, match=r"y holds labels that the model has not seen: \[9\]"):
        model.evaluate(X, np.where(Y == 0, 9, Y))
    with pytest.raises(ValueError, match="y must hold labels like the model's classes"):
        model.evaluate(X, Y.astype(str))
    with pytest.raises(ValueError, match="y must have as many samples"):
        model.evaluate(X, Y[:3])
    regression = fastmlp.train(X, X[:, 0], epochs=1)
    with pytest.raises(ValueError, match="predict_proba needs a classifier"):
        regression.predict_proba(X)
    with pytest.raises(ValueError, match="y must have 1 outputs"):
        regression.evaluate(X, X)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fastmlp.SGD(momentum=1), ValueError, "momentum must be less than 1, got 1"),
        (lambda: fastmlp.SGD(momentum=-0.1), ValueError, "momentum"),
        (lambda: fastmlp.SGD(nesterov=True), ValueError, "nesterov"),
        (lambda: fastmlp.SGD(weight_decay="a"), TypeError, "weight_decay"),
        (lambda: fastmlp.LinearDecay(0), ValueError, "start must be a finite number greater than 0"),
        (lambda: fastmlp.Cosine(0.1, -1), ValueError, "end"),
        (lambda: fastmlp.Step(0.1, 0), ValueError, "every"),
    ],
)
def test_bad_settings_are_refused_by_name(make, error, message):
    with pytest.raises(error, match=message):
        make()
