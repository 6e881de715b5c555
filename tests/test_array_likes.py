"""What array-like a user may pass, and in which state: it is taken as what it holds, or refused by name."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

import fastmlp
from fastmlp.data.arrays import check_features
from fastmlp.engine.workspace import nonzeros_for

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 1)
FIXED = {"hidden": (5,), "epochs": 2, "seed": 0}


def same(a, b):
    return all(np.array_equal(p, q) for p, q in zip(a.weights + a.biases, b.weights + b.biases))


# ---------------------------------------------------------------------------------------------- labels

LARGE = 2**53 + np.arange(3)


@pytest.mark.parametrize("trained", [np.int64, np.uint64, object])
@pytest.mark.parametrize("given", [np.int64, np.uint64, object])
def test_integer_labels_are_compared_exactly(trained, given):
    model = fastmlp.train(X, LARGE[Y].astype(trained), metrics=["top_1"], **FIXED)
    assert model.classes.tolist() == LARGE.tolist()
    assert model.evaluate(X, LARGE[Y].astype(given)) == model.evaluate(X, LARGE[Y])
    model.partial_fit(X, LARGE[Y].astype(given))
    with pytest.raises(ValueError, match=rf"y holds labels that the model has not seen: \[{2**53 + 3}\]"):
        model.evaluate(X, (LARGE[Y] + 1).astype(given))


def test_labels_of_another_range_are_not_those_that_they_wrap_around_to():
    model = fastmlp.train(X, np.array([2**63, 2**64 - 1, 0], np.uint64)[Y], **FIXED)
    for label in (-1, -(2**63)):
        with pytest.raises(ValueError, match="has not seen"):
            model.evaluate(X[:1], [label])
    model = fastmlp.train(X, np.array([-1, 0, 1], np.int8)[Y], **FIXED)
    for label in (np.uint64(2**64 - 1), np.uint8(255), np.int64(256), np.uint64(2**64 - 255)):
        with pytest.raises(ValueError, match="has not seen"):
            model.evaluate(X[:1], np.array([label]))
    model = fastmlp.train(X, Y == 1, **FIXED)
    with pytest.raises(ValueError, match="has not seen"):
        model.evaluate(X[:1], [2])


def test_objects_that_are_integers_are_labels():
    a, b = fastmlp.train(X, Y.astype(object), **FIXED), fastmlp.train(X, Y, **FIXED)
    assert same(a, b)
    assert a.classes.dtype == np.int64
    assert fastmlp.train(X, np.array([0, 2**64 - 1], object)[Y % 2], **FIXED).classes.dtype == np.uint64


@pytest.mark.parametrize("labels", [[0, 2**70], [0, None], [0, 1.5], [0, "a"], [-1, 2**64 - 1], [0, True]])
def test_other_objects_are_no_labels(labels):
    with pytest.raises(TypeError, match=r"y must hold labels.*dtype object"):
        fastmlp.train(X, np.array(labels, object)[Y % 2], **FIXED)


def test_top_k_takes_labels_as_a_column():
    scores = [
        fastmlp.train(X, y, metrics=["top_1", "top_2"], validation=(X, y), **FIXED).history for y in (Y, Y[:, None])
    ]
    for name in ("train_top_1", "train_top_2", "validation_top_1"):
        assert scores[0][name] == scores[1][name]


# ---------------------------------------------------------------------------------------------- masks, frames


MASK = np.arange(40) == 7


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("x", lambda _: fastmlp.train(np.ma.array(X, mask=MASK[:, None] | np.zeros((40, 3), bool)), Y, **FIXED)),
        ("y", lambda _: fastmlp.train(X, np.ma.array(Y, mask=MASK), **FIXED)),
        ("y", lambda _: fastmlp.train(X, np.ma.array(X, mask=MASK[:, None] | np.zeros((40, 3), bool)), **FIXED)),
        ("sample_weight", lambda _: fastmlp.train(X, Y, sample_weight=np.ma.array(np.ones(40), mask=MASK), **FIXED)),
        ("classes", lambda _: fastmlp.train(X, Y, classes=np.ma.array([0, 1, 2, 3], mask=[0, 0, 0, 1]), **FIXED)),
        ("input_scale", lambda _: fastmlp.train(X, Y, input_scale=np.ma.array([1, 2, 3], mask=[0, 0, 1]), **FIXED)),
        ("x", lambda model: model.predict(np.ma.array(X[:1], mask=[[0, 0, 1]]))),
        ("x", lambda model: model.partial_fit(np.ma.array(X, mask=X > 1), Y)),
        ("y", lambda model: model.evaluate(X, np.ma.array(Y, mask=MASK))),
        ("validation x", lambda _: fastmlp.train(X, Y, validation=(np.ma.array(X, mask=X > 1), Y), **FIXED)),
    ],
)
def test_masked_arrays_are_refused(name, call):
    with pytest.raises(ValueError, match=f"^{name} must not be masked"):
        call(fastmlp.train(X, Y, **FIXED))


def test_a_mask_of_nothing_is_none():
    assert same(fastmlp.train(np.ma.array(X), np.ma.array(Y), **FIXED), fastmlp.train(X, Y, **FIXED))


def test_masked_memmaps_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(ValueError, match="x must not be masked"):
        fastmlp.train(np.ma.array(np.load(tmp_path / "x.npy", mmap_mode="r"), mask=X > 1), Y, **FIXED)


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "boolean", "object"])
def test_pandas_missing_values_are_refused_with_their_column(dtype):
    pandas = pytest.importorskip("pandas")
    column = pandas.array([True, None] * 20, dtype=dtype)
    frame = pandas.DataFrame({"a": X[:, 0], "b": column})
    with pytest.raises(
        ValueError, match=r"x must not have missing values.*got 20 in the column 'b', the first in row 1"
    ):
        fastmlp.train(frame, Y, missing="error", **FIXED)
    model = fastmlp.train(X[:, :2], Y, **FIXED)
    with pytest.raises((TypeError, ValueError), match=r"x must .*column 'b'"):
        model.predict(frame)


def test_missing_values_of_unnamed_columns_are_refused_too():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({0: X[:, 0], 1: [None, "a"] * 20})
    with pytest.raises(ValueError, match=r"x must not have missing values.*got 20 in the column '1'"):
        fastmlp.train(frame, Y, missing="error", **FIXED)
    with pytest.raises(TypeError, match=r"x must hold numbers, got the column 1 of dtype .*, which has missing values"):
        fastmlp.train(X[:, :2], Y, **FIXED).predict(frame)


def test_nullable_numbers_of_pandas_without_a_missing_one_are_taken():
    pandas = pytest.importorskip("pandas")
    whole = np.round(10 * X)
    frame = pandas.DataFrame(whole, columns=["a", "b", "c"])
    nullable = frame.astype({"a": "Int64", "b": "Float64"})
    assert same(fastmlp.train(nullable, pandas.Series(Y, dtype="Int64"), **FIXED), fastmlp.train(whole, Y, **FIXED))


def test_lazy_frames_are_refused_by_name():
    polars = pytest.importorskip("polars")
    lazy, model = polars.LazyFrame({"a": X[:, 0]}), fastmlp.train(X[:, :1], Y, **FIXED)
    for name, call in (
        ("x", lambda: fastmlp.train(lazy, Y)),
        ("y", lambda: fastmlp.train(X, lazy)),
        ("x", lambda: model.predict(lazy)),
        ("validation x", lambda: fastmlp.train(X[:, :1], Y, validation=(lazy, Y), epochs=1)),
    ):
        with pytest.raises(TypeError, match=rf"^{name} must be an array or a data frame, got a LazyFrame"):
            call()


# ---------------------------------------------------------------------------------------------- numbers in memory


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def unaligned(x):
    raw = np.zeros(x.nbytes + 1, np.uint8)
    out = raw[1:].view(x.dtype).reshape(x.shape)
    out[...] = x
    return out


@pytest.mark.parametrize("scale", [1.0, "standardize"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int64])
@pytest.mark.parametrize(
    "change",
    [
        read_only, unaligned, np.asfortranarray, lambda x: np.repeat(x, 2, axis=1)[:, ::2], lambda x: x[::-1][::-1],
        lambda x: np.hstack([x, x])[:, :3], lambda x: x.astype(x.dtype.newbyteorder()), lambda x: x.tolist(),
    ],
)  # fmt: skip
def test_the_layout_of_an_array_makes_no_difference(change, dtype, scale):
    x = (X * 10 + 100).astype(dtype)
    scale = 1 / 255 if scale == 1 else scale  # "auto" is another one for a list
    arguments = FIXED | {"input_scale": scale}
    a, b = fastmlp.train(change(x), Y, **arguments), fastmlp.train(x, Y, **arguments)
    assert same(a, b)
    for n in (1, 2, 40):
        np.testing.assert_array_equal(a.predict_proba(change(x[:n])), b.predict_proba(x[:n]))


@pytest.mark.parametrize("dtype", [bool, np.int8, np.int16, np.uint16, np.float16, np.longdouble, np.uint64])
def test_other_numbers_are_taken_as_they_are(dtype):
    x = np.abs(X * 10).astype(dtype)
    assert same(fastmlp.train(x, Y, **FIXED), fastmlp.train(x.astype(np.float64), Y, **FIXED))


@pytest.mark.parametrize(
    "x",
    [
        X.astype(complex), X.astype("M8[s]"), X.astype("m8[s]"), np.zeros((40, 3), "i4,i4"), X.astype("S"),
        X.astype(object), [[10**400] * 3] * 40, np.full((40, 3), None), csr_matrix(X.astype(complex)),
    ],
)  # fmt: skip
def test_what_holds_no_numbers_is_refused(x):
    with pytest.raises(TypeError, match=r"^x must hold numbers"):
        fastmlp.train(x, Y, **FIXED)


def test_what_cannot_become_an_array_is_refused_by_name():
    class Broken:
        def __array__(self, *_, **__):
            raise RuntimeError("on another device")

    with pytest.raises(TypeError, match="x must be an array, got Broken: on another device"):
        fastmlp.train(Broken(), Y)


# ---------------------------------------------------------------------------------------------- memory


def test_one_long_row_takes_no_memory_for_the_others(monkeypatch):
    sizes = []

    def note(*args, **kwargs):
        entries = nonzeros_for(*args, **kwargs)
        sizes.append(entries.feature.size)
        return entries

    monkeypatch.setattr("fastmlp.engine.data_reader.nonzeros_for", note)
    n, n_features = 20_000, 50_000
    rows = np.r_[np.zeros(n_features, int), np.arange(1, n)]
    columns = np.r_[np.arange(n_features), np.arange(1, n) % n_features]
    x = csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=(n, n_features))
    y = np.arange(n) % 2
    model = fastmlp.train(x, y, hidden=(2,), epochs=2, batch_size=n, seed=0)
    assert max(sizes) <= x.nnz
    assert model.predict(x).shape == (n,)
    fastmlp.train(x[:300], y[:300], hidden=(2,), epochs=3, batch_size=50, seed=0, shuffle="replacement")


def test_a_batch_size_beyond_the_samples_takes_no_memory_for_it():
    a, b = fastmlp.train(X, Y, **FIXED), fastmlp.train(X, Y, **FIXED)
    for n in (40, 1, 17):
        assert a.partial_fit(X[:n], Y[:n], batch_size=10**12) == b.partial_fit(X[:n], Y[:n], batch_size=n)
    assert same(a, b)


# ---------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fastmlp.Adam(betas=(0.9, 1 - 1e-8)), "Adam: betas: each must be .*< 1.*is 1 in float32"),
        (lambda: fastmlp.AdamW(betas=(1 - 1e-9, 0.9)), "AdamW: betas: each must be .*< 1.*is 1 in float32"),
        (lambda: fastmlp.RMSprop(alpha=1 - 1e-8), "RMSprop: alpha must be .*< 1.*is 1 in float32"),
        (lambda: fastmlp.RMSprop(momentum=1 - 1e-8), "RMSprop: momentum must be .*< 1.*is 1 in float32"),
        (lambda: fastmlp.SGD(momentum=1 - 1e-8), "SGD: momentum must be .*< 1.*is 1 in float32"),
        (lambda: fastmlp.SGD(weight_decay=1e300), "SGD: weight_decay must be a finite number"),
        (lambda: fastmlp.Adagrad(lr_decay=1e300), "Adagrad: lr_decay must be a finite number"),
        (lambda: fastmlp.Adam(eps=1e300), "Adam: eps must be a finite number"),
        (lambda: fastmlp.SGD(weight_decay=10**400), "SGD: weight_decay must be a finite number"),
        (lambda: fastmlp.LinearDecay(1e300), "LinearDecay: .* must be a finite number"),
    ],
)
def test_settings_that_are_lost_in_float32_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_features_have_the_dtype_with_all_their_digits():
    for dtypes, want in (("?bhHef", "f4"), ("B", "u1"), ("iIlLqQdg", "f8")):
        for dtype in dtypes:
            assert check_features(np.ones((2, 2), dtype)).dtype == want
            assert check_features(np.ones((2, 2), np.dtype(dtype).newbyteorder())).dtype == want
