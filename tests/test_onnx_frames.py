"""The columns of a data frame as inputs of ONNX files."""

import numpy as np
import pytest
from helpers import import_or_skip

from fastmlp.data.frames import FrameEncoder
from fastmlp.io.onnx import OPSET, _Graph
from fastmlp.io.onnx_frames import ML_DOMAIN, ML_OPSET, encode_columns, input_names, is_text

onnx = import_or_skip("onnx")
onnxruntime = import_or_skip("onnxruntime")
pandas = import_or_skip("pandas")

RNG = np.random.default_rng(0)
N = 40
FRAME = pandas.DataFrame(
    {
        "city": RNG.choice(["Rome", "Oslo", "Bern", None], N),
        "time": 1.7e9 + RNG.integers(0, 100, N),
        "label": pandas.array(RNG.choice([True, False, None], N), "boolean"),
        "income": np.where(RNG.random(N) < 0.3, np.nan, RNG.lognormal(size=N)),
        "sex": RNG.choice(["f", "m"], N),
        "year": pandas.Categorical(RNG.choice([2010, 2015, 2020], N)),
        "pair": pandas.Categorical(RNG.choice([1.5, 2.5, None], N)),
        "const": "c",
        "none": pandas.Series([None] * N, dtype=object),
        "": RNG.integers(0, 9, N),
    }
)


def inputs_of(encoder, frame, names):
    """The inputs as a user makes them."""
    inputs = {}
    for k, (name, column) in enumerate(zip(names, encoder.columns)):
        part = frame.iloc[:, [k]]
        inputs[name] = part.to_numpy().astype(str) if is_text(column) else part.to_numpy(float, na_value=np.nan)
    return inputs


def run(encoder, frame, names, inputs=None):
    graph = _Graph(onnx, {name: ("", []) for name in names})
    features = encode_columns(graph, encoder, names)
    make, types = onnx.helper.make_tensor_value_info, onnx.TensorProto
    graph_proto = onnx.helper.make_graph(
        graph.nodes, "frame",
        [make(name, types.STRING if is_text(c) else types.DOUBLE, ["n", 1]) for name, c in zip(names, encoder.columns)],
        [make(features, types.FLOAT, ["n", encoder.n_features])],
        list(graph.constants.values()),
    )  # fmt: skip
    opsets = [onnx.helper.make_opsetid("", OPSET), onnx.helper.make_opsetid(ML_DOMAIN, ML_OPSET)]
    model = onnx.helper.make_model(graph_proto, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs or inputs_of(encoder, frame, names))[0]


@pytest.mark.parametrize("scale", ["auto", 0.01, "standardize", "robust"])
def test_features_are_those_of_the_encoder(scale):
    encoder = FrameEncoder.learn(FRAME, np.arange(30), input_scale=scale)
    names = input_names(encoder, ("label",))
    assert names == ["city", "time", "label_2", "income", "sex", "year", "pair", "const", "none", "_2"]
    got = run(encoder, FRAME, names)
    np.testing.assert_allclose(got, encoder.transform(FRAME), rtol=1e-6, atol=1e-6)


def test_columns_in_any_order_and_alone():
    for columns in ([*FRAME][::-1], *([name] for name in FRAME if name)):
        frame = FRAME[columns]
        encoder = FrameEncoder.learn(frame, input_scale="robust")
        got = run(encoder, frame, input_names(encoder, ()))
        np.testing.assert_allclose(got, encoder.transform(frame), rtol=1e-6, atol=1e-6)


def test_unseen_values_and_every_spelling_of_missing_text():
    frame = pandas.DataFrame({"city": ["Rome", "Oslo", "nan", None], "n": [1.0, np.nan, 3.0, 5.0]})
    encoder = FrameEncoder.learn(frame)
    texts = np.array([["Bern"], [""], ["None"], ["<NA>"], ["nan"]])
    got = run(encoder, None, ["city", "n"], {"city": texts, "n": np.full((5, 1), np.nan)})
    # Oslo, Rome, nan (a level here), missing; 3, missing
    levels = [[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 1, 0]]
    np.testing.assert_array_equal(got, [[*row, 3, 1] for row in levels])


def test_missing_numbers_are_nan_where_they_are_refused():
    frame = pandas.DataFrame({"x": [1.0, 2.0], "y": ["a", "b"]})
    encoder = FrameEncoder.learn(frame, missing="error")
    got = run(encoder, None, ["x", "y"], {"x": np.array([[np.nan], [2.0]]), "y": np.array([["a"], ["b"]])})
    np.testing.assert_array_equal(got, [[np.nan, -1], [2, 1]])


def test_levels_that_float64_does_not_have_are_refused():
    frame = pandas.DataFrame({"id": pandas.Categorical([2**53, 2**53 + 1])})
    encoder = FrameEncoder.learn(frame)
    with pytest.raises(ValueError, match="levels of the column 'id'"):
        run(encoder, frame, ["id"])
