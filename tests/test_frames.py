import numpy as np
import pytest

import fastmlp

RNG = np.random.default_rng(0)
X = RNG.standard_normal((90, 3)).astype(np.float32)
Y = np.array(["no", "yes"])[(X[:, 0] > 0).astype(int)]
NAMES = ["age", "height", "weight"]
FIXED = {"hidden": (5,), "epochs": 2, "seed": 0}


@pytest.fixture(params=["pandas", "polars"])
def library(request):
    return pytest.importorskip(request.param)


def frame(library, x=X, names=NAMES):
    return library.DataFrame({name: x[:, i] for i, name in enumerate(names)})


def test_frames_go_in_and_give_the_same_bits(library, tmp_path):
    table, labels = frame(library), library.Series(Y.tolist())
    model, plain = fastmlp.train(table, labels, validation=0.2, **FIXED), fastmlp.train(X, Y, validation=0.2, **FIXED)
    assert all(np.array_equal(a, b) for a, b in zip(model.weights, plain.weights))
    assert (model.feature_names, plain.feature_names) == (NAMES, None)
    model.save(tmp_path / "model.safetensors")
    for known in (model, fastmlp.load(tmp_path / "model.safetensors")):
        np.testing.assert_array_equal(known.predict(table), plain.predict(X))
        np.testing.assert_array_equal(known.predict(X), plain.predict(X))  # arrays have no names to check
        assert known.evaluate(table, labels) == plain.evaluate(X, Y)
    np.testing.assert_array_equal(plain.predict_proba(table), plain.predict_proba(X))
    fastmlp.train(table, labels, validation=(table, labels), metrics="top_1", **FIXED)


def test_columns_are_checked_by_name(library):
    model = fastmlp.train(frame(library), Y, **FIXED)
    for names, match in [
        (NAMES[::-1], r"x must have the columns.*'age', 'height', 'weight'.*in another order"),
        (["age", "height", "mass"], r"got a frame without \['weight'\] and with \['mass'\]"),
    ]:
        for call in (
            model.predict, model.predict_proba, lambda x: model.evaluate(x, Y), lambda x: model.partial_fit(x, Y),
        ):  # fmt: skip
            with pytest.raises(ValueError, match=match):
                call(frame(library, names=names))
    with pytest.raises(ValueError, match="validation x must have the columns"):
        fastmlp.train(frame(library), Y, validation=(frame(library, names=["a", "b", "c"]), Y), **FIXED)


def test_columns_of_several_kinds_of_numbers(library):
    table = library.DataFrame({"a": [1, 2, 3, 4], "b": [0.5, 1.5, 2.5, 3.5]})
    model = fastmlp.train(table, [0, 1, 0, 1], **FIXED)
    assert model.encoder is None
    by_hand = np.array([[1, 0.5], [2, 1.5], [3, 2.5], [4, 3.5]])
    np.testing.assert_array_equal(model.predict_proba(table), model.predict_proba(by_hand))
    words = library.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})
    with pytest.raises(TypeError, match="x must hold numbers, got the column 'b' of dtype"):
        model.predict(words)
    with pytest.raises(ValueError, match=r"x must be finite.*row 1, column 'b'"):
        model.predict(library.DataFrame({"a": [1.0, 2.0], "b": [1.0, None]}))


def test_series_are_targets_and_weights(library):
    values, weights = library.Series(X[:, 0].astype(float).tolist()), library.Series(RNG.random(90).tolist())
    model = fastmlp.train(frame(library), values, sample_weight=weights, **FIXED)
    assert model.loss == "mse"
    several = frame(library, (X > 0).astype(int))
    assert fastmlp.train(X, several, **FIXED).loss == "binary_cross_entropy"


def test_names_that_are_numbers_are_none():
    pandas = pytest.importorskip("pandas")
    assert fastmlp.train(pandas.DataFrame(X), Y, **FIXED).feature_names is None


def test_categories_of_pandas_are_labels():
    pandas = pytest.importorskip("pandas")
    model = fastmlp.train(X, pandas.Series(Y, dtype="category"), **FIXED)
    assert model.classes.tolist() == ["no", "yes"]
