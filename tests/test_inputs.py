import numpy as np
import pytest

import fastmlp

X = np.random.default_rng(0).random((20, 4)).astype(np.float32)
Y = np.arange(20) % 3
NAN, INF = X.copy(), X.copy()
NAN[7, 1], INF[3, 0] = np.nan, np.inf
INFINITE = float("inf")


def start(value):
    return [(np.full((4, 3), value), np.zeros(3)), (np.zeros((3, 3)), np.zeros(3))]


@pytest.mark.parametrize(
    ("x", "y", "arguments", "error", "message"),
    [
        (X[:0], Y[:0], {}, ValueError, "x must have at least one sample"),
        (X, [], {}, ValueError, r"y must have as many samples as x, 20.*\(0,\)"),
        (X.astype(str), Y, {}, TypeError, "x must hold numbers.*<U"),
        (None, Y, {}, TypeError, "x must hold numbers.*object"),
        ([[1.0, 2.0], [3.0]], Y[:2], {}, ValueError, r"\bx\b must"),
        (X, [[1, 2], [3]] * 10, {}, ValueError, r"\by\b must"),
        (X, None, {}, TypeError, "y must hold labels.*object"),
        (X, 3, {}, ValueError, r"y must have one dimension.*\(\)"),
        (X, Y * 1j, {}, TypeError, "y must hold labels.*complex"),
        (X, np.where(Y == 0, np.inf, 1.0), {}, ValueError, "y must be finite.*row 0"),
        (X, np.full(20, 1e300), {}, ValueError, "y must be finite.*row 0"),
        (X, np.zeros((20, 0)), {}, ValueError, r"y must have at least one output.*\(20, 0\)"),
        (X, np.zeros((20, 1, 1)), {}, ValueError, r"y must have the shape.*\(20, 1, 1\)"),
        (X, Y, {"activation": 3}, TypeError, "activation must.*got 3"),
        (X, Y, {"activation": None}, TypeError, "activation must.*got None"),
        (X, Y, {"activation": ["wave"]}, ValueError, "activation must be one of 'relu'.*'wave'"),
        (X, Y, {"hidden": "128"}, TypeError, "hidden: every width must be an integer"),
        (X, Y, {"hidden": None}, TypeError, "hidden must be a sequence.*None"),
        (X, Y, {"hidden": (8, -1)}, ValueError, "hidden: every width.*got -1"),
        (X, Y, {"hidden": (2.5,)}, TypeError, r"hidden: every width.*got 2\.5"),
        (X, Y, {"batch_size": -3}, ValueError, "batch_size.*>= 1, got -3"),
        (X, Y, {"batch_size": "8"}, TypeError, "batch_size must be an integer.*'8'"),
        (X, Y, {"epochs": 0}, ValueError, "epochs must be an integer >= 1, got 0"),
        (X, Y, {"epochs": True}, TypeError, "epochs must be an integer.*True"),
        (X, Y, {"learning_rate": -1}, ValueError, "learning_rate.*got -1"),
        (X, Y, {"learning_rate": INFINITE}, ValueError, "learning_rate.*got inf"),
        (X, Y, {"learning_rate": 1e39}, ValueError, r"learning_rate.*got 1e\+39"),
        (X, Y, {"learning_rate": 10**400}, ValueError, "learning_rate must be a finite number"),
        (X, Y, {"learning_rate": True}, TypeError, "learning_rate.*got True"),
        (X, Y, {"learning_rate": "a"}, TypeError, "learning_rate.*got 'a'"),
        (X, Y, {"learning_rate": fastmlp.LinearDecay}, TypeError, "learning_rate must"),
        (X, Y, {"input_scale": 0}, ValueError, "input_scale.*> 0, got 0"),
        (X, Y, {"input_scale": 1e39}, ValueError, r"input_scale.*got 1e\+39"),
        (X, Y, {"input_scale": None}, TypeError, "input_scale.*got None"),
        (X, Y, {"seed": 1.5}, TypeError, r"seed must be an integer.*1\.5"),
        (X, Y, {"threads": "2"}, TypeError, "threads must be an integer.*'2'"),
        (X, Y, {"shuffle": 1}, ValueError, "shuffle must be one of True, False, 'replacement', got 1"),
        (X, Y, {"init": 3}, TypeError, "init must be one of 'he'.*got int"),
        (X, Y, {"init": start(np.nan)}, ValueError, "init must hold finite numbers"),
        (X, Y, {"init": start(1e300)}, ValueError, "init must hold finite numbers"),
        (X, Y, {"init": start("a")}, TypeError, "init must hold"),
        (X, Y, {"validation": 0.001}, ValueError, r"validation, as a fraction.*0\.001"),
        (X, Y, {"validation": (X,)}, TypeError, "validation must be"),
        (X, Y, {"validation": (X, Y[:3])}, ValueError, r"validation y must have as many samples as x, 20.*\(3,\)"),
        (X, Y, {"validation": (NAN, Y)}, ValueError, "validation x must be finite.*row 7"),
        (X, Y, {"validation": (X, Y.astype(str))}, ValueError, "validation y must hold labels like"),
        (X, Y, {"callbacks": None}, TypeError, "callbacks must be functions or objects.*None"),
        (X[:, :0], Y, {}, ValueError, "x must have at least one sample and one feature"),
        (X[0], Y, {}, ValueError, r"x must have two dimensions.*shape \(4,\).*x\[None, :\]"),
        (X.reshape(20, 2, 2), Y, {}, ValueError, "x must have two dimensions"),
        (X.astype(object), Y, {}, TypeError, "x must hold numbers.*object"),
        (X.astype(complex), Y, {}, TypeError, "x must hold numbers.*complex"),
        (NAN, Y, {}, ValueError, "x must be finite.*row 7"),
        (INF, Y, {}, ValueError, "x must be finite.*row 3"),
        (X.astype(float) * 1e300, Y, {}, ValueError, "x must be finite.*row 0"),
        (X, Y[:5], {}, ValueError, r"y must have as many samples as x, 20.*\(5,\)"),
        (X, Y.reshape(10, 2), {"loss": "cross_entropy"}, ValueError, "y must have one dimension"),
        (X, np.zeros(20, int), {}, ValueError, "y must hold at least two classes, got only"),
        (X, (Y + 0.5).astype(object), {}, TypeError, "y must hold labels.*object"),
        (X, Y.astype(float), {"loss": "cross_entropy"}, TypeError, 'y must hold labels.*loss="mse"'),
        (X, np.where(Y == 0, np.nan, Y), {}, ValueError, "y must be finite"),
        (X, np.array(list("abcd") * 5), {"loss": "mse"}, TypeError, "y must hold numbers"),
        (X, Y, {"loss": "hinge"}, ValueError, "loss must be one of 'cross_entropy'.*got 'hinge'"),
        (X, Y, {"activation": "swish"}, ValueError, "activation must be one of 'relu'.*'swish'"),
        (X, Y, {"activation": ["relu", "tanh"]}, ValueError, r"one per hidden layer \(1\)"),
        (X, Y, {"optimizer": "lbfgs"}, ValueError, "optimizer must be one of 'sgd'"),
        (X, Y, {"optimizer": 3}, TypeError, "optimizer must be a name"),
        (X, Y, {"init": "ones"}, ValueError, "init must be one of 'he'"),
        (X, Y, {"init": [(np.zeros((4, 2)), np.zeros(2))]}, ValueError, "init must have weights of shapes"),
        (X, Y, {"hidden": (0,)}, ValueError, "hidden: every width must be an integer >= 1, got 0"),
        (X, Y, {"hidden": 2.5}, TypeError, "hidden must be a sequence"),
        (X, Y, {"batch_size": 0}, ValueError, "batch_size must be an integer >= 1, got 0"),
        (X, Y, {"batch_size": 1.0}, TypeError, "batch_size must be an integer"),
        (X, Y, {"epochs": -1}, ValueError, "epochs"),
        (X, Y, {"learning_rate": 0}, ValueError, "learning_rate must be a finite number > 0, got 0"),
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
        (lambda: fastmlp.SGD(momentum=1), ValueError, "momentum must be a number >= 0 and < 1, got 1"),
        (lambda: fastmlp.SGD(momentum=-0.1), ValueError, "momentum"),
        (lambda: fastmlp.SGD(nesterov=True), ValueError, "nesterov"),
        (lambda: fastmlp.SGD(weight_decay="a"), TypeError, "weight_decay"),
        (lambda: fastmlp.LinearDecay(0), ValueError, "start must be a finite number > 0"),
        (lambda: fastmlp.Cosine(0.1, -1), ValueError, "end"),
        (lambda: fastmlp.Step(0.1, 0), ValueError, "every"),
        (lambda: fastmlp.Step(0.1, 2, 0), ValueError, "factor must be a finite number > 0, got 0"),
    ],
)
def test_bad_settings_are_refused_by_name(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("n", [1, 2, 200])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bad", [[np.nan, 0, 0, 0], [np.inf, -np.inf, 0, 0], [0, -np.inf, 0, 0]])
def test_predictions_refuse_what_is_not_finite(n, dtype, bad):
    model = fastmlp.train(X, Y, epochs=1)
    with pytest.raises(ValueError, match="x must be finite"):
        model.predict(np.tile(np.array(bad, dtype), (n, 1)))


@pytest.mark.parametrize("n", [1, 2, 200])
@pytest.mark.parametrize("value", [1e300, 1e308])
def test_predictions_refuse_what_is_too_large_for_float32(n, value):
    model = fastmlp.train(X, Y, epochs=1)
    with pytest.raises(ValueError, match=r"x must be finite \(in float32\)"):
        model.predict(np.full((n, 4), value))


def test_a_large_finite_sample_is_predicted_like_two_of_them():
    model = fastmlp.train(X, Y, epochs=1)
    large = np.full((2, 4), 2e38, np.float32)
    np.testing.assert_array_equal(model.predict(large[:1]), model.predict(large)[:1])


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (X[:0], ValueError, "x must have at least one sample"),
        (X[0], ValueError, r"x must have two dimensions.*x\[None, :\]"),
        (X.astype(object), TypeError, "x must hold numbers"),
        (X[:, :3], ValueError, "x must have 4 features"),
        (X[:1, :3], ValueError, r"x must have 4 features.*\(1, 3\)"),
    ],
)
def test_bad_features_are_refused_in_prediction(method, x, error, message):
    with pytest.raises(error, match=message):
        getattr(fastmlp.train(X, Y, epochs=1), method)(x)


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (Y + 1, ValueError, r"y holds labels that the model has not seen: \[3\]"),
        (Y.astype(float), TypeError, "y must hold labels"),
        (None, TypeError, "y must hold labels"),
    ],
)
def test_bad_labels_are_refused_in_evaluation(y, error, message):
    with pytest.raises(error, match=message):
        fastmlp.train(X, Y, epochs=1).evaluate(X, y)


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        (["a", None] * 5, "None in row 1"),
        ([None, "a"] * 5, "None in row 0"),
        (["a", "b", np.nan, "a"] * 3, "nan in row 2"),
        (["a", 3] * 5, "3 in row 1"),
        ([3, 2.5] * 5, r"2\.5 in row 1"),
        ([2**70, 3] * 5, f"{2**70} in row 0"),
    ],
)
@pytest.mark.parametrize("train", [fastmlp.train, fastmlp.tabular])
def test_labels_that_miss_or_are_of_two_kinds_are_named(train, labels, match):
    x, y = np.ones((len(labels), 3)), np.array(labels, object)
    with pytest.raises(
        TypeError, match=f"y must hold labels that are all strings, or all integers of 64 bits, got .* with {match}"
    ):
        train(x, y, epochs=1)
