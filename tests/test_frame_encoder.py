"""`FrameEncoder`: categories, text, booleans, missing values and numbers of data frames as an array."""

import copy
import datetime
import decimal
import json
import pickle

import numpy as np
import pytest
from helpers import import_or_skip
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmlp.data.columns import has_numbers_only, read_table
from fastmlp.data.frames import CategoryColumn, FrameEncoder, NumberColumn
from fastmlp.data.scaling import robust_scale, smooth_clip

COLUMNS = {
    "age": [30.0, None, 50.0, 41.5],
    "city": ["Rome", "Oslo", None, "Bern"],
    "member": [True, False, True, True],
    "rooms": [1, 2, 3, 2],
}
FEATURES = ["age", "age is missing", "city=Bern", "city=Oslo", "city=Rome", "city is missing", "member=True", "rooms"]
ENCODED = np.float32(
    [
        [30, 0, 0, 0, 1, 0, 1, 1],
        [41.5, 1, 0, 1, 0, 0, -1, 2],
        [50, 0, 0, 0, 0, 1, 1, 3],
        [41.5, 0, 1, 0, 0, 0, 1, 2],
    ]
)


@pytest.fixture(params=["pandas", "polars"])
def library(request):
    return import_or_skip(request.param)


@pytest.fixture
def pandas():
    return import_or_skip("pandas")


def encode(frame, **arguments):
    return FrameEncoder.learn(frame, **arguments).transform(frame)


# ---------------------------------------------------------------------------------------------- kinds of columns


def test_every_kind_of_column_becomes_features(library):
    frame = library.DataFrame(COLUMNS)
    encoder = FrameEncoder.learn(frame)
    assert (encoder.names, encoder.feature_names) == ([*COLUMNS], FEATURES)
    got = encoder.transform(frame)
    assert (got.dtype, got.flags.c_contiguous, encoder.n_features) == (np.float32, True, 8)
    np.testing.assert_array_equal(got, ENCODED)


def test_frames_of_both_libraries_are_encoded_alike():
    pandas, polars = import_or_skip("pandas"), import_or_skip("polars")
    frames = pandas.DataFrame(COLUMNS), polars.DataFrame(COLUMNS)
    a, b = (FrameEncoder.learn(frame, input_scale="robust") for frame in frames)
    assert a == b
    for encoder, frame in ((a, frames[1]), (b, frames[0])):
        np.testing.assert_array_equal(encoder.transform(frame), a.transform(frames[0]))


def test_dtypes_of_pandas(pandas):
    frame = pandas.DataFrame(
        {
            "nullable": pandas.array([1, None, 3], "Int64"),
            "small": pandas.array([1, None, 3], "Float32"),
            "flag": pandas.array([True, None, False], "boolean"),
            "string": pandas.array(["a", None, "b"], "string"),
            "object": pandas.Series(["a", np.nan, "b"], dtype=object),
            "truth": pandas.Series([True, None, False], dtype=object),
            "decimal": pandas.Series([decimal.Decimal("1.5"), None, 2], dtype=object),
            "sparse": pandas.arrays.SparseArray([0.0, 0.0, 1.5]),
            "byte": np.array([1, 2, 255], np.uint8),
        }
    )
    want = np.array(
        [
            [1, 0, 1, 0, 1, 0, -1, 0, -1, 0, 1, 0, 1.5, 0, 0, 1],
            [2, 1, 2, 1, 0, 1, 0, 1, 0, 1, 0, 1, 1.75, 1, 0, 2],
            [3, 0, 3, 0, -1, 0, 1, 0, 1, 0, -1, 0, 2, 0, 1.5, 255],
        ]
    )
    np.testing.assert_array_equal(encode(frame), want)


def test_columns_that_pyarrow_backs(pandas):
    pyarrow = import_or_skip("pyarrow")
    frame = pandas.DataFrame(COLUMNS)
    types = {"age": pyarrow.float64(), "city": pyarrow.string(), "member": pyarrow.bool_(), "rooms": pyarrow.int16()}
    backed = frame.astype({name: pandas.ArrowDtype(each) for name, each in types.items()})
    np.testing.assert_array_equal(encode(backed), ENCODED)
    dictionary = pandas.ArrowDtype(pyarrow.dictionary(pyarrow.int32(), pyarrow.string()))
    np.testing.assert_array_equal(encode(backed.astype({"city": dictionary})), ENCODED)
    stamp = pandas.DataFrame({"day": pandas.Series([0, 1]).astype(pandas.ArrowDtype(pyarrow.timestamp("s")))})
    with pytest.raises(TypeError, match=r"timestamp\[s\].*column 'day'; make numbers of it"):
        read_table(stamp)


@pytest.mark.parametrize("ordered", [False, True])
def test_levels_of_a_categorical_keep_their_order_and_unused_ones_are_no_features(pandas, ordered):
    sizes = pandas.Categorical(["large", "small", None, "medium"], ["small", "medium", "large", "giant"], ordered)
    encoder = FrameEncoder.learn(pandas.DataFrame({"size": sizes}))
    assert encoder.feature_names == ["size=small", "size=medium", "size=large", "size is missing"]
    years = FrameEncoder.learn(pandas.DataFrame({"year": pandas.Categorical([2020, 2010, 2020])}))
    assert years.columns == (CategoryColumn("year", "numbers", (2010, 2020), False),)
    np.testing.assert_array_equal(years.transform(pandas.DataFrame({"year": [2010, 2015, 2020]}))[:, 0], [-1, 0, 1])


def test_categoricals_of_polars():
    polars = import_or_skip("polars")
    values = ["b", "a", None, "c"]
    for dtype, levels in ((polars.Categorical, ("a", "b", "c")), (polars.Enum(["c", "z", "b", "a"]), ("c", "b", "a"))):
        encoder = FrameEncoder.learn(polars.DataFrame({"x": polars.Series(values, dtype=dtype)}))
        assert encoder.columns == (CategoryColumn("x", "text", levels, True),)


def test_a_column_without_values_is_an_indicator_of_them(library):
    frame = library.DataFrame({"none": [None, None], "x": [1.0, 2.0]})
    encoder = FrameEncoder.learn(frame)
    assert encoder.feature_names == ["none is missing", "x"]
    later = library.DataFrame({"none": ["a", None], "x": [None, None]})
    np.testing.assert_array_equal(encoder.transform(later), [[0, 1.5], [1, 1.5]])


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ([datetime.datetime(2020, 1, 1)], "column 'bad'; make numbers of it, such as the year"),
        ([datetime.date(2020, 1, 1)], "column 'bad'; make numbers of it, such as the year"),
        ([datetime.timedelta(3)], "column 'bad'; make numbers of it"),
        ([[1, 2]], "column 'bad'"),
        ([b"a"], "'bytes'.*column 'bad'"),
    ],
)
def test_other_columns_are_refused_by_name(library, values, match):
    frame = library.DataFrame({"x": [1.0], "bad": values})
    with pytest.raises(TypeError, match=rf"x must hold numbers, text, booleans or categories, got .*{match}"):
        FrameEncoder.learn(frame)


def test_mixtures_intervals_and_complex_numbers_are_refused_by_name(pandas):
    for values, match in (
        ([1, "a"], r"\['int', 'str'\] in the column 'bad'"),
        (
            pandas.cut(pandas.Series([1, 2]), 2),
            r"categories of \['Interval'\] in the column 'bad'; convert them to text",
        ),
        ([1j, 2j], "complex128 in the column 'bad'"),
        (pandas.to_datetime(["2020-01-01", "2021-01-01"]).tz_localize("UTC"), "UTC.*column 'bad'"),
    ):
        with pytest.raises(TypeError, match=match):
            read_table(pandas.DataFrame({"bad": values}))


def test_infinite_numbers_are_refused_by_row_and_column(library):
    with pytest.raises(ValueError, match=r"x must be finite.*row 1, column 'bad'"):
        read_table(library.DataFrame({"bad": [None, -np.inf, 1.0], "text": ["a", "b", "c"]}))
    with pytest.raises(ValueError, match=r"z must be finite.*row 2, column 'bad'"):
        read_table(library.DataFrame({"bad": [1.0, 2.0, 1e39]}), "z")
    with pytest.raises(ValueError, match=r"x must have at least one sample.*\(0, 1\)"):
        read_table(library.DataFrame({"empty": []}))


def test_what_numbers_only_is(library):
    for values, want in (
        ([1, 2], True), ([1.0, 2.0], True), ([1.0, None], False), ([1.0, float("nan")], False), (["a", "b"], False),
        ([True, False], False),
    ):  # fmt: skip
        frame = library.DataFrame({"x": [1.5, 2.5], "y": values})
        assert has_numbers_only(frame) == want, values


# ---------------------------------------------------------------------------------------------- learning


def test_everything_is_learnt_from_the_given_rows(library):
    rows = np.array([0, 1, 3])
    frame = library.DataFrame(
        {"a": [1.0, 2.0, None, 6.0], "b": ["x", "y", "z", "x"], "c": ["u", "v", "w", "t"], "d": [0.0, 0.0, 9e9, 1.0]}
    )
    encoder = FrameEncoder.learn(frame, rows, input_scale="standardize")
    assert encoder.feature_names == ["a", "b=y", "c=t", "c=u", "c=v", "d"]  # no indicator, no "z", no "w"
    a, d = encoder.columns[0], encoder.columns[3]
    np.testing.assert_allclose((a.median, a.offset, 1 / a.factor), (2, 3, np.std([1, 2, 6])), rtol=1e-6)
    np.testing.assert_allclose((d.offset, 1 / d.factor), (1 / 3, np.std([0, 0, 1])), rtol=1e-6)
    same = FrameEncoder.learn(read_table(frame)[rows], input_scale="standardize")
    assert encoder == same
    np.testing.assert_array_equal(encoder.transform(frame)[2, :5], [(2 - a.offset) * np.float32(a.factor), 0, 0, 0, 0])


def test_unseen_and_missing_values_are_zero_in_all_levels(library):
    encoder = FrameEncoder.learn(library.DataFrame({"three": ["a", "b", "c"], "two": ["a", "b", "a"]}))
    later = library.DataFrame({"three": ["d", None, "b"], "two": ["c", None, "a"]})
    np.testing.assert_array_equal(encoder.transform(later), [[0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, -1]])


@pytest.mark.parametrize("scale", ["auto", 1.0, 0.5, "standardize", "robust"])
def test_numbers_are_scaled_around_missing_values(library, scale):
    rng = np.random.default_rng(0)
    values = rng.standard_normal(101) * 3 + 1e6
    absent = rng.random(101) < 0.2
    frame = library.DataFrame({"x": [None if a else v for a, v in zip(absent.tolist(), values.tolist())]})
    present = values[~absent]
    median = np.median(present)
    filled = np.where(absent, median, values)
    low, high = np.quantile(present, [0.25, 0.75])
    want = {
        "auto": filled,
        "standardize": (filled - present.mean()) / present.std(),
        "robust": smooth_clip((filled - median) / (high - low)),
        0.5: filled / 2,
        1.0: filled,
    }[scale]
    got = encode(frame, input_scale=scale)
    np.testing.assert_allclose(got[:, 0], want, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(got[:, 1], absent)


def test_large_numbers_that_differ_by_little_keep_their_digits(library):
    times = 1.7e9 + np.arange(7.0)
    for scale in ("robust", "standardize"):
        got = encode(library.DataFrame({"time": times, "text": ["a"] * 7}), input_scale=scale)[:, 0]
        np.testing.assert_allclose(got, -got[::-1], atol=1e-6)
        assert (np.diff(got) > 0.1).all()


def test_a_scale_for_each_feature_is_refused(library):
    frame = library.DataFrame(COLUMNS)
    for scale, match in ((np.ones(4), "must be a number or one of 'auto', 'standardize', 'robust'"), ("big", "'big'")):
        with pytest.raises(ValueError, match=rf"input_scale .*{match}"):
            FrameEncoder.learn(frame, input_scale=scale)


def test_missing_values_are_refused_where_that_is_wanted(library):
    frame = library.DataFrame({"x": [1.0, 2.0, 3.0], "text": ["a", None, None]})
    match = "missing values with missing='error', got 2 in the column 'text', the first in row 1"
    with pytest.raises(ValueError, match=match):
        FrameEncoder.learn(frame, missing="error")
    encoder = FrameEncoder.learn(frame[:1], missing="error")
    for name in ("x", "validation x"):
        with pytest.raises(ValueError, match=f"{name} must not have {match}"):
            encoder.transform(frame, name)
    with pytest.raises(ValueError, match="missing must be one of 'indicator', 'error', got 'drop'"):
        FrameEncoder.learn(frame, missing="drop")


def test_too_many_levels_are_refused_by_column(library):
    frame = library.DataFrame({"x": np.arange(300.0), "id": [f"id{k:03}" for k in range(300)]})
    with pytest.raises(ValueError, match=r"max_levels=256 .* got 300 in the column 'id': \['id000', .*; leave"):
        FrameEncoder.learn(frame)
    assert FrameEncoder.learn(frame, max_levels=300).n_features == 301
    assert FrameEncoder.learn(frame, np.arange(256)).n_features == 257
    for bad in (1, 2.5, True):
        with pytest.raises((TypeError, ValueError), match="max_levels must be an integer"):
            FrameEncoder.learn(frame, max_levels=bad)


# ---------------------------------------------------------------------------------------------- encoding other frames


def test_columns_must_hold_what_they_held(library):
    encoder = FrameEncoder.learn(library.DataFrame(COLUMNS))
    for name, values, match in (
        ("age", ["a"] * 4, "numbers in the column 'age', as in training, got text"),
        ("city", [1.0] * 4, "text in the column 'city', as in training, got numbers"),
        ("member", [1, 0, 1, 0], "booleans in the column 'member', as in training, got numbers"),
        ("rooms", [True] * 4, "numbers in the column 'rooms', as in training, got booleans"),
    ):
        with pytest.raises(TypeError, match=f"x must hold {match}"):
            encoder.transform(library.DataFrame({**COLUMNS, name: values}))
    with pytest.raises(ValueError, match=r"x must have the columns that the model was trained on.*without \['city'"):
        encoder.transform(library.DataFrame({"age": [1.0]}))


@pytest.mark.parametrize("dtype", ["category", "object", "string"])
def test_text_of_every_dtype_is_the_same(pandas, dtype):
    frame = pandas.DataFrame(COLUMNS)
    encoder = FrameEncoder.learn(frame)
    np.testing.assert_array_equal(encoder.transform(frame.astype({"city": dtype})), ENCODED)


# ---------------------------------------------------------------------------------------------- keeping it


def test_an_encoder_survives_json_pickling_and_copying(library):
    frame = library.DataFrame(COLUMNS)
    for arguments in ({}, {"input_scale": "robust"}, {"input_scale": 1 / 3}, {"rows": np.array([0, 2])}):
        encoder = FrameEncoder.learn(frame, **arguments)
        copies = (
            FrameEncoder.from_json(json.loads(json.dumps(encoder.to_json(), allow_nan=False))),
            pickle.loads(pickle.dumps(encoder)),
            copy.deepcopy(encoder),
        )
        for each in copies:
            assert each == encoder
            np.testing.assert_array_equal(each.transform(frame), encoder.transform(frame))


NUMBER = {
    "kind": "number", "name": "x", "median": 1.0, "offset": 0.0, "factor": 1.0, "clips": False, "has_indicator": True,
}  # fmt: skip
CATEGORY = {"kind": "category", "name": "x", "level_kind": "text", "levels": ["a", "b"], "has_indicator": False}


@pytest.mark.parametrize(
    "change",
    [
        {"median": float("inf")}, {"median": "1"}, {"offset": None}, {"factor": float("nan")}, {"clips": 1},
        {"name": 3}, {"has_indicator": "yes"}, {"more": 1}, {"kind": "date"}, {"kind": None},
    ],
)  # fmt: skip
def test_damaged_descriptions_of_numbers_are_refused(change):
    FrameEncoder.from_json({"missing": "indicator", "columns": [NUMBER, CATEGORY]})
    with pytest.raises((ValueError, TypeError, KeyError)):
        FrameEncoder.from_json({"missing": "indicator", "columns": [{**NUMBER, **change}]})


@pytest.mark.parametrize(
    "change",
    [{"levels": ["a", "a"]}, {"levels": ["a", 1]}, {"levels": 3}, {"levels": [["a"]]}, {"level_kind": "number"},
     {"level_kind": None}, {"level_kind": "booleans"}],
)  # fmt: skip
def test_damaged_descriptions_of_categories_are_refused(change):
    with pytest.raises((ValueError, TypeError, KeyError)):
        FrameEncoder.from_json({"missing": "indicator", "columns": [{**CATEGORY, **change}]})


@pytest.mark.parametrize("value", [None, 3, {}, {"missing": "indicator"}, {"missing": "x", "columns": [NUMBER]},
                                   {"missing": "error", "columns": []}, {"missing": "error", "columns": {"a": 1}},
                                   {"missing": "error", "columns": [3]}])  # fmt: skip
def test_damaged_descriptions_are_refused(value):
    with pytest.raises((ValueError, TypeError, KeyError)):
        FrameEncoder.from_json(value)


def test_an_encoder_does_not_change():
    encoder = FrameEncoder((NumberColumn("x", 0.0, 0.0, 1.0, False, False),))
    with pytest.raises(AttributeError):
        encoder.missing = "error"
    with pytest.raises(AttributeError):
        encoder.columns[0].median = 1.0


# ---------------------------------------------------------------------------------------------- any frame


TEXTS = st.none() | st.text(max_size=3)
NUMBERS = st.none() | st.floats(-1e30, 1e30, allow_nan=False)


@st.composite
def frames(draw):
    n = draw(st.integers(1, 12))
    kinds = draw(st.lists(st.sampled_from([TEXTS, NUMBERS, st.none() | st.booleans()]), min_size=1, max_size=4))
    return n, [draw(st.lists(kind, min_size=n, max_size=n)) for kind in kinds]


def by_hand(values, taken):
    """The features of one column, from the definitions alone."""
    present = [values[k] for k in taken if values[k] is not None]
    indicator = len(present) < len(taken)
    if all(value is None for value in values):
        return [[1.0] for _ in values]
    if any(isinstance(value, float) for value in values):
        median = float(np.median(present)) if present else 0.0
        return [[median if value is None else value] + [float(value is None)] * indicator for value in values]
    levels = [False, True] if any(isinstance(v, bool) for v in values) else sorted(set(present))
    rows = []
    for value in values:
        if len(levels) == 2:
            row = [0.0 if value not in levels else -1.0 if value == levels[0] else 1.0]
        else:
            row = [float(value == level) for level in levels]
        rows.append(row + [float(value is None)] * indicator)
    return rows


@settings(max_examples=200, deadline=None)
@given(frames(), st.data())
@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_any_frame_is_encoded_as_by_hand(name, drawn, data):
    library = import_or_skip(name)
    n, columns = drawn
    taken = data.draw(st.lists(st.integers(0, n - 1), min_size=1, unique=True).map(sorted))
    frame = library.DataFrame({f"c{k}": values for k, values in enumerate(columns)})
    encoder = FrameEncoder.learn(frame, np.array(taken))
    want = np.hstack([np.float32(by_hand(values, taken)).reshape(n, -1) for values in columns])
    np.testing.assert_array_equal(encoder.transform(frame), want)
    assert len(encoder.feature_names) == want.shape[1]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=30))
def test_the_robust_scale_of_a_column_is_that_of_an_array(values):
    pandas = import_or_skip("pandas")
    x = np.float32(values)[:, None]
    frame = pandas.DataFrame({"x": x[:, 0], "text": "a"})
    np.testing.assert_array_equal(encode(frame, input_scale="robust")[:, :1], robust_scale(x).apply(x))
