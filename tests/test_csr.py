"""SciPy's sparse matrices, as users pass them."""

import numpy as np
import pytest
import scipy.sparse as sp
from numba.core import config

import fastmlp
from fastmlp import reference
from fastmlp.optimizers import SGD

RNG = np.random.default_rng(0)
X = ((RNG.random((90, 40)) < 0.15) * RNG.random((90, 40))).astype(np.float32)  # of many values
X[7] = X[-1] = 0
Y = RNG.integers(0, 3, 90)
OPTIONS = {"hidden": (33,), "epochs": 2, "seed": 0, "batch_size": 16, "learning_rate": 0.1}


def same(a, b):
    for p, q in zip(a.weights + a.biases, b.weights + b.biases):
        if config.DISABLE_JIT:  # NumPy has no fused multiply-add
            np.testing.assert_allclose(p, q, rtol=1e-4, atol=1e-6)
        else:
            np.testing.assert_array_equal(p, q)


@pytest.fixture(autouse=True)
def never_dense(monkeypatch):
    for kind in (sp.csr_matrix, sp.csr_array, sp.csc_matrix, sp.coo_array):
        for name in ("toarray", "todense"):
            monkeypatch.setattr(kind, name, lambda *_, **__: pytest.fail("made dense"))


@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csr_array, sp.csc_matrix, sp.coo_array])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("optimizer", [SGD(), SGD(0.9, weight_decay=0.01), SGD(0.5, nesterov=True)])
def test_training_on_a_sparse_matrix_is_training_on_the_array(kind, dtype, optimizer):
    matrix = kind(X.astype(dtype))
    a = fastmlp.train(matrix, Y, optimizer=optimizer, validation=(matrix, Y), **OPTIONS)
    b = fastmlp.train(X.astype(dtype), Y, optimizer=optimizer, sparse=False, **OPTIONS)
    same(a, b)
    np.testing.assert_array_equal(a.predict(matrix), b.predict(X.astype(dtype)))
    np.testing.assert_allclose(a.predict_proba(matrix[:1] if kind is not sp.coo_array else matrix)[:1],
                               b.predict_proba(X.astype(dtype))[:1], rtol=1e-5)  # fmt: skip
    assert a.evaluate(matrix, Y) == pytest.approx(b.evaluate(X.astype(dtype), Y))
    assert a.history["validation_loss"][-1] == pytest.approx(b.evaluate(X.astype(dtype), Y).loss)


@pytest.mark.parametrize("loss", ["cross_entropy", "softmax_mse", "notebook", "mse"])
@pytest.mark.parametrize("batch_size", [1, 7, 64, 90])
def test_every_loss_and_batch_size(loss, batch_size):
    y = RNG.random((90, 2)).astype(np.float32) if loss == "mse" else Y
    options = OPTIONS | {"loss": loss, "batch_size": batch_size, "learning_rate": 0.01}
    a, b = fastmlp.train(sp.csr_matrix(X), y, **options), reference.train(X, y, **options)
    for p, q in zip(a.weights + a.biases, b.weights + b.biases):
        np.testing.assert_allclose(p, q, rtol=1e-3, atol=1e-5)


def test_values_of_few_kinds_are_coded_with_the_same_result():
    pixels = np.round(X * 20).astype(np.uint8)
    a = fastmlp.train(sp.csr_matrix(pixels), Y, **OPTIONS)  # uint8 is divided by 255 here too
    same(a, fastmlp.train(pixels, Y, **OPTIONS))
    assert a.evaluate(sp.csr_matrix(pixels), Y) == pytest.approx(a.evaluate(pixels, Y))
    same(fastmlp.train(sp.csr_matrix(pixels.astype(np.int64)), Y, **OPTIONS), fastmlp.train(pixels * 1.0, Y, **OPTIONS))


@pytest.mark.parametrize("index", [np.int8, np.uint16, np.int32, np.int64, np.uint64])
def test_any_integer_index_type(index):
    matrix = sp.csr_matrix(X)
    matrix.indices, matrix.indptr = matrix.indices.astype(index), matrix.indptr.astype(np.int64)
    same(fastmlp.train(matrix, Y, **OPTIONS), fastmlp.train(X, Y, **OPTIONS))


def test_unsorted_and_repeated_indices_are_brought_to_order_in_a_copy():
    indptr, indices = np.array([0, 4, 4, 6]), np.array([5, 1, 5, 0, 2, 2])
    data = np.array([1, 2, 3, 4, 5, 6], np.float32)
    matrix = sp.csr_matrix((data, indices, indptr), shape=(3, 7))
    dense = np.array([[4, 2, 0, 0, 0, 4, 0], [0] * 7, [0, 0, 11, 0, 0, 0, 0]], np.float32)
    y = np.array([0, 1, 0])
    matrix.has_canonical_format = True  # which is not true
    same(
        fastmlp.train(matrix, y, hidden=(5,), epochs=3, seed=0), fastmlp.train(dense, y, hidden=(5,), epochs=3, seed=0)
    )
    np.testing.assert_array_equal(matrix.data, data)
    np.testing.assert_array_equal(matrix.indices, indices)


def test_more_than_65536_features_and_empty_rows():
    n_features = 100_000
    rows, columns = RNG.integers(0, 60, 400), RNG.integers(0, n_features, 400)
    columns[:2] = 0, n_features - 1
    rows[rows == 5] = 6
    matrix = sp.csr_matrix((RNG.random(400), (rows, columns)), shape=(60, n_features))
    y = np.arange(60) % 3
    used = np.unique(columns)
    model = fastmlp.train(matrix, y, hidden=(8,), epochs=2, seed=0, batch_size=16, threads=1)
    assert model.predict(matrix).shape == (60,)
    compact = matrix[:, used]
    start = fastmlp.train(matrix, y, hidden=(8,), epochs=1, seed=0, batch_size=16, learning_rate=1e-30)
    init = [(start.weights[0][used], start.biases[0] * 0), (start.weights[1], start.biases[1] * 0)]
    same_but_compact = fastmlp.train(compact, y, hidden=(8,), epochs=2, seed=0, batch_size=16, init=init)
    np.testing.assert_allclose(model.weights[0][used], same_but_compact.weights[0], rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(np.delete(model.weights[0], used, 0), np.delete(start.weights[0], used, 0))


def test_any_number_of_threads_gives_the_same_bits(monkeypatch):
    monkeypatch.setattr("fastmlp.engine.threads.MIN_FLOP", 0)
    wide = sp.random(90, 700, 0.1, "csr", np.float32, random_state=0)
    models = [fastmlp.train(wide, Y, threads=threads, **OPTIONS | {"hidden": (150, 20)}) for threads in (1, 2)]
    same(*models)


def test_a_fraction_is_held_out_of_a_matrix():
    a = fastmlp.train(sp.csr_matrix(X), Y, validation=0.2, **OPTIONS)
    b = fastmlp.train(X, Y, validation=0.2, **OPTIONS)
    same(a, b)
    assert a.history["validation_loss"] == pytest.approx(b.history["validation_loss"])


@pytest.mark.parametrize("x", [X, np.round(X * 20).astype(np.uint8), RNG.random((90, 40)).astype(np.float32)])
@pytest.mark.parametrize("batch_size", [1, 16])
def test_the_keyword_forces_kernels_and_changes_nothing(x, batch_size):
    models = [
        fastmlp.train(x, Y, sparse=sparse, **OPTIONS | {"batch_size": batch_size}) for sparse in ("auto", True, False)
    ]
    same(models[0], models[1])
    same(models[0], models[2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.indices.__setitem__(0, 40), "x is not a valid CSR matrix"),
        (lambda m: m.indices.__setitem__(3, -1), "x is not a valid CSR matrix"),
        (lambda m: m.indptr.__setitem__(1, 99_999), "x is not a valid CSR matrix"),
        (lambda m: m.data.__setitem__(2, np.nan), "x must be finite"),
        (lambda m: m.data.__setitem__(2, np.inf), "x must be finite"),
    ],
)
def test_what_is_out_of_range_is_refused(change, message):
    matrix = sp.csr_matrix(X)
    change(matrix)
    with pytest.raises(ValueError, match=message):
        fastmlp.train(matrix, Y, **OPTIONS)


def test_other_bad_matrices_are_refused():
    with pytest.raises(TypeError, match="x must hold numbers"):
        fastmlp.train(sp.csr_matrix(X.astype(complex)), Y)
    with pytest.raises(ValueError, match="x must have at least one sample and one feature"):
        fastmlp.train(sp.csr_matrix((0, 5)), [])
    with pytest.raises(ValueError, match="sparse=False"):
        fastmlp.train(sp.csr_matrix(X), Y, sparse=False)
    with pytest.raises(ValueError, match="sparse must be one of"):
        fastmlp.train(X, Y, sparse="yes")
    model = fastmlp.train(sp.csr_matrix(X), Y, **OPTIONS)
    with pytest.raises(ValueError, match="x must have 40 features"):
        model.predict(sp.csr_matrix(X[:, :39]))
    bad = sp.csr_matrix(X)
    bad.indices[0] = 10**6
    with pytest.raises(ValueError, match="x is not a valid CSR matrix"):
        model.predict(bad)


def test_a_matrix_without_any_entry():
    model = fastmlp.train(sp.csr_matrix((90, 40), dtype=np.float32), Y, **OPTIONS)
    same(model, fastmlp.train(np.zeros((90, 40), np.float32), Y, **OPTIONS))
    assert model.predict(sp.csr_matrix((2, 40))).shape == (2,)
