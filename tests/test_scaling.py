"""Scales of the input: an offset and a factor for every feature, of arrays and of sparse matrices."""

import numpy as np
import pytest
from scipy.sparse import csr_array, csr_matrix, vstack

import fastmlp
from fastmlp import reference
from fastmlp.data.scaling import InputScale, check_input_scale, standard_scale
from fastmlp.engine.executor import Executor

RNG = np.random.default_rng(0)
X = (RNG.standard_normal((300, 40)) * (RNG.random((300, 40)) < 0.3)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 0.5)
FIXED = {"hidden": (33,), "epochs": 2, "seed": 0, "batch_size": 32, "learning_rate": 0.05}
SCALE = InputScale(RNG.standard_normal(40), RNG.random(40) + 0.5)


def same(a, b):
    return all(np.array_equal(p, q) for p, q in zip(a.weights + a.biases, b.weights + b.biases))


# ---------------------------------------------------------------------------------------------- sparse matrices


@pytest.mark.parametrize("n", [1, 7, 127, 128, 300])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int64, bool])
def test_a_sparse_matrix_is_predicted_as_the_array_is_where_the_scale_has_an_offset(n, dtype):
    x = (X * 3).astype(dtype)
    model = fastmlp.train(x, Y, input_scale="standardize", **FIXED)
    assert model.input_scale.offset.any()
    before = [array.copy() for array in model.weights + model.biases]
    want = model.predict_proba(x[:n])
    for kind in (csr_matrix, csr_array):
        np.testing.assert_allclose(model.predict_proba(kind(x[:n])), want, rtol=3e-6, atol=1e-7)
        np.testing.assert_array_equal(model.predict(kind(x[:n])), model.predict(x[:n]))
        np.testing.assert_allclose(model.evaluate(kind(x[:n]), Y[:n]), model.evaluate(x[:n], Y[:n]), rtol=1e-6)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.weights + model.biases))


@pytest.mark.parametrize("loss", ["notebook", "softmax_mse", "mse", "binary_cross_entropy"])
@pytest.mark.parametrize("n", [90, 300])
def test_a_sparse_matrix_is_evaluated_as_the_array_is_for_every_kind_of_loss(loss, n):
    y = X[:, :2] > 0 if loss == "binary_cross_entropy" else X[:, :2] if loss == "mse" else Y
    model = fastmlp.train(X, y, loss=loss, input_scale="standardize", **FIXED)
    weights = RNG.random(n)
    got = model.evaluate(csr_matrix(X[:n]), y[:n], weights)
    np.testing.assert_allclose(got, model.evaluate(X[:n], y[:n], weights), rtol=1e-5)
    np.testing.assert_allclose(model.predict(csr_matrix(X[:n])), model.predict(X[:n]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n", [60, 300])
def test_a_sparse_matrix_with_a_dense_column_far_from_zero_keeps_its_digits(n):
    x = X.astype(np.float64)
    x[:, 5] = 1.7e9 + 100 * RNG.standard_normal(300)
    model = fastmlp.train(x, Y, input_scale="standardize", **FIXED)
    np.testing.assert_array_equal(model.predict_proba(csr_matrix(x[:n])), model.predict_proba(x[:n]))
    assert model.evaluate(csr_matrix(x[:n]), Y[:n]) == model.evaluate(x[:n], Y[:n])


@pytest.mark.parametrize("shuffle", [True, False, "replacement"])
@pytest.mark.parametrize("window", [1, 1 << 26])
def test_training_on_a_sparse_matrix_with_an_offset_is_training_on_the_array(shuffle, window, monkeypatch):
    monkeypatch.setattr("fastmlp.data.windows.WINDOW_BYTES", window)  # one batch at a time, and all at once
    arguments = FIXED | {
        "input_scale": SCALE, "shuffle": shuffle, "optimizer": fastmlp.SGD(0.9), "input_dropout": 0.1,
        "sample_weight": RNG.random(300),
    }  # fmt: skip
    sparse = fastmlp.train(csr_matrix(X), Y, validation=(csr_matrix(X), Y), **arguments)
    dense = fastmlp.train(X, Y, validation=(X, Y), **arguments)
    assert same(sparse, dense)
    assert sparse.history["train_loss"] == dense.history["train_loss"]
    np.testing.assert_allclose(sparse.history["validation_loss"], dense.history["validation_loss"], rtol=1e-6)


def test_partial_fit_on_a_sparse_matrix_with_an_offset_is_that_on_the_array():
    models = [fastmlp.train(X, Y, input_scale="standardize", **FIXED) for _ in range(2)]
    for part in (slice(0, 200), slice(200, 201), slice(100, 300)):
        got = models[0].partial_fit(csr_matrix(X[part]), Y[part], batch_size=50)
        assert got == models[1].partial_fit(X[part], Y[part], batch_size=50)
    assert same(*models)


def test_partial_fit_changes_between_sparse_and_dense_data():
    models = [fastmlp.train(X, Y, input_scale="standardize", **FIXED) for _ in range(2)]
    for kinds in ((csr_matrix, np.array), (np.array, csr_matrix), (csr_matrix, csr_matrix)):
        for model, kind in zip(models, kinds):
            model.partial_fit(kind(X), Y)
    assert same(*models)


def test_divergence_on_a_sparse_matrix_with_an_offset_leaves_it_as_it_was():
    model = fastmlp.train(X, X[:, :2], input_scale="standardize", **FIXED)
    before = [array.copy() for array in model.weights]
    with pytest.raises(fastmlp.DivergenceError):
        model.partial_fit(csr_matrix(X), X[:, :2], learning_rate=1e20)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.weights))


@pytest.mark.parametrize("estimator", [fastmlp.MLPClassifier, fastmlp.MLPRegressor])
def test_estimators_predict_a_sparse_matrix_as_the_array(estimator):
    known = estimator(hidden_layer_sizes=20, input_scale="standardize", tol=10, n_iter_no_change=1, random_state=0)
    known.fit(X, Y)
    np.testing.assert_allclose(known.predict(csr_matrix(X)), known.predict(X), rtol=1e-5, atol=1e-6)
    assert known.score(csr_matrix(X), Y) == pytest.approx(known.score(X, Y), rel=1e-5)
    known.partial_fit(csr_matrix(X), Y)


def test_one_entry_of_ten_million_features():
    n_features = 10**7
    weight = RNG.standard_normal((n_features, 1)).astype(np.float32)
    scale = InputScale(RNG.standard_normal(n_features), np.ones(n_features))
    x = csr_matrix(([1.0, 1.0], ([0, 1], [0, 1])), shape=(2, n_features))
    model = fastmlp.train(
        x, [0.0, 0.0], hidden=(), init=[(weight, np.zeros(1))], batch_size=1, epochs=1, learning_rate=1e-30
    )
    model.input_scale = scale
    one = csr_matrix(([3.0], ([0], [17])), shape=(1, n_features))
    want = 3 * float(weight[17, 0]) - scale.offset @ weight[:, 0].astype(np.float64)
    np.testing.assert_array_equal(model.predict(one), model.predict(one.toarray()))
    np.testing.assert_allclose(model.predict(vstack([one] * 128))[127, 0], want, rtol=1e-5)


def test_batches_that_are_too_large_to_be_dense_are_refused(monkeypatch):
    monkeypatch.setattr("fastmlp.data.windows._memory", lambda: 1e5)
    monkeypatch.setattr("fastmlp.data.windows.WINDOW_BYTES", 1 << 10)
    message = r"x is a sparse matrix whose input_scale has an offset.*300 samples of 40 features take 0\.000144 GB"
    with pytest.raises(ValueError, match=message):
        fastmlp.train(csr_matrix(X.astype(float)), Y, **FIXED | {"input_scale": SCALE, "batch_size": 300})


def test_no_way_takes_a_sparse_matrix_for_an_array():
    model = fastmlp.train(X, Y, **FIXED)
    run = Executor(model._parameters, model.activations, model.loss, 32)
    with pytest.raises(ValueError, match="sparse=False needs an array"):
        run.set_data(csr_matrix(X), 1.0, sparse=False)


def test_a_run_takes_the_folded_bias_out_again():
    model = fastmlp.train(X, Y, **FIXED)
    run = Executor(model._parameters, model.activations, model.loss, 32)
    outputs = []
    for x, scale in ((X, 1.0), (csr_matrix(X), SCALE), (X, 1.0)):
        run.set_data(x, check_input_scale(scale, 40))
        outputs.append(np.zeros(300 * 16, np.float32))
        run.predict(300, outputs[-1])
    assert not np.allclose(outputs[0], outputs[1])
    np.testing.assert_array_equal(outputs[0], outputs[2])


# ---------------------------------------------------------------------------------------------- standardizing


@pytest.mark.parametrize("n", [2, 3, 10, 997, 100_000])
@pytest.mark.parametrize("value", [0.1, 1 / 3, 123456.789, 1e-3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_feature_of_a_sparse_matrix_is_left_alone(n, value, dtype):
    column = np.full((n, 1), value, dtype)
    x = np.hstack([column, column * (np.arange(n)[:, None] % 2), np.zeros((n, 1), dtype)])
    sparse, dense = standard_scale(csr_matrix(x)), standard_scale(x)
    np.testing.assert_allclose(sparse.factor, dense.factor, rtol=1e-6)
    np.testing.assert_array_equal(sparse.factor[[0, 2]], 1)
    np.testing.assert_array_equal(dense.factor[[0, 2]], 1)
    np.testing.assert_allclose(sparse.factor[1], 1 / x[:, 1].std(dtype=np.float64), rtol=1e-6)
    np.testing.assert_array_equal(dense.offset[0], column[0, 0])


def test_zeros_count_in_the_deviation_of_a_sparse_matrix():
    x = X.copy()
    x[:, 3] += 1000 * (x[:, 3] != 0)
    for samples in (None, np.arange(17, 290, 3)):
        want = 1 / (x if samples is None else x[samples]).std(axis=0, dtype=np.float64)
        np.testing.assert_allclose(standard_scale(csr_matrix(x), samples).factor, want, rtol=1e-6)


TIMES = 1.7e9 + 100 * RNG.standard_normal((400, 3))


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.uint32, np.int32])
@pytest.mark.parametrize("kind", ["array", "frame", "stream"])
def test_large_numbers_that_differ_by_little_keep_their_digits(dtype, kind, tmp_path):
    x, y = TIMES.astype(dtype), (TIMES[:, 0] > 1.7e9).astype(int)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    given = x
    if kind == "frame":
        given = pytest.importorskip("pandas").DataFrame(x, columns=["a", "b", "c"])
    elif kind == "stream":
        np.save(tmp_path / "0.npy", x)
        given = tmp_path
    arguments = {"hidden": (16,), "epochs": 20, "seed": 0, "learning_rate": 0.3, "batch_size": 16, "shuffle": False}
    by_hand = fastmlp.train(z, y, input_scale=1.0, **arguments)
    if kind == "stream":
        arguments["shuffle_buffer"] = 64
    model = fastmlp.train(given, y, input_scale="standardize", **arguments)
    want = by_hand.predict_proba(z)
    given = given if kind == "frame" else x
    np.testing.assert_allclose(model.predict_proba(given), want, atol=1e-4)
    np.testing.assert_array_equal(model.predict(given)[:1], model.predict(given[:1]))
    assert model.evaluate(given, y).accuracy > 0.95


@pytest.mark.parametrize("batch_size", [1, 30])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8])
@pytest.mark.parametrize("n_features", [3, 65])
def test_training_with_an_offset_is_the_references(batch_size, dtype, n_features):
    x = (RNG.standard_normal((90, n_features)) * 20 + 100).astype(dtype)
    y = (x[:, 0] > 100).astype(int)
    arguments = {"hidden": (9,), "epochs": 2, "seed": 0, "batch_size": batch_size, "input_scale": "standardize"}
    model, want = fastmlp.train(x, y, **arguments), reference.train(x, y, **arguments)
    for a, b in zip(model.weights + model.biases, want.weights + want.biases):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_threads_make_no_difference_with_an_offset(monkeypatch):
    monkeypatch.setattr("fastmlp.engine.threads.MIN_FLOP", 0)
    x, y = np.repeat(TIMES, 20, axis=1), (TIMES[:, 0] > 1.7e9).astype(int)
    models = [fastmlp.train(x, y, input_scale="standardize", threads=threads, **FIXED) for threads in (1, 2)]
    assert same(*models)


def test_a_deviation_whose_inverse_is_infinite_counts_as_none():
    x = X.astype(np.float64)
    x[:, 4] = np.where(np.arange(300) % 2, 1e-40, -1e-40)
    x[:, 5] = 1e-45
    model = fastmlp.train(x, Y, input_scale="standardize", **FIXED)
    assert (model.input_scale.factor[[4, 5]] == 1).all()
    reference.train(x, Y, input_scale="standardize", **FIXED | {"epochs": 1})


def test_a_scale_with_an_offset_survives_a_file(tmp_path):
    model = fastmlp.train(TIMES, TIMES[:, 0] > 1.7e9, input_scale="standardize", hidden=(4,), epochs=1, seed=0)
    model.save(tmp_path / "model.safetensors")
    loaded = fastmlp.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.input_scale.offset, model.input_scale.offset)
    np.testing.assert_array_equal(loaded.predict_proba(TIMES), model.predict_proba(TIMES))


# ---------------------------------------------------------------------------------------------- assigning a scale


def test_a_scale_that_is_assigned_holds_for_single_samples_too():
    model = fastmlp.train(X, X[:, :2], input_scale=1.0, **FIXED)
    for scale in (3.0, SCALE, "auto", np.linspace(0.5, 2, 40)):
        model.predict(X[:1])
        model.input_scale = scale
        np.testing.assert_array_equal(model.predict(X[:1]), model.predict(X[:2])[:1])
        np.testing.assert_array_equal(model.predict(X[:1]), model.predict(X)[:1])


@pytest.mark.parametrize(
    ("scale", "error"),
    [("standardize", ValueError), (0, ValueError), (np.ones(3), ValueError), (None, TypeError), ("a", ValueError),
     (np.full(40, np.inf), ValueError), (InputScale(np.ones(40), np.ones(39)), ValueError)],
)  # fmt: skip
def test_a_bad_scale_is_refused_when_it_is_assigned(scale, error):
    model = fastmlp.train(X, Y, input_scale=0.5, **FIXED)
    with pytest.raises(error, match="input_scale must"):
        model.input_scale = scale
    assert model.input_scale == 0.5


def test_a_scale_cannot_be_changed_in_place():
    model = fastmlp.train(X, Y, input_scale="standardize", **FIXED)
    for part in model.input_scale:
        with pytest.raises(ValueError, match="read-only"):
            part[0] = 5
