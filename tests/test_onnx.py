import sys

import numpy as np
import pytest
from helpers import import_or_skip
from networks import ALL_ACTIVATIONS, ALL_LOSSES, REGRESSIONS, InputScale, outputs, random_model

import fastmlp

onnx = import_or_skip("onnx")
onnxruntime = import_or_skip("onnxruntime")

RNG = np.random.default_rng(0)
X = RNG.standard_normal((150, 7)).astype(np.float32)
BYTES = RNG.integers(0, 256, (150, 7)).astype(np.uint8)


@pytest.fixture
def run(tmp_path):
    """Writes a model, checks the file, and runs it: the outputs by name."""

    def run(model, x):
        path = tmp_path / "model.onnx"
        model.to_onnx(path, dtype=str(x.dtype))
        onnx.checker.check_model(path, full_check=True)
        assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        (given,) = session.get_inputs()
        assert (given.name, given.shape) == ("x", ["n", model.n_features])
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, {"x": x})))

    return run


def close(got, want):
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("activation", ALL_ACTIVATIONS)
def test_every_activation(run, activation):
    model = random_model((7, 20, 9, 5), activation)
    want = outputs(model, X * 3)
    got = run(model, X * 3)
    assert list(got) == ["label", "probabilities"]
    close(got["probabilities"], want)
    np.testing.assert_array_equal(got["label"], want.argmax(axis=1))


@pytest.mark.parametrize("activation", ALL_ACTIVATIONS)
def test_every_activation_far_from_zero(run, activation):
    model = random_model((1, 1, 1), activation, "mse")
    model.weights[0][:], model.biases[0][:], model.weights[1][:], model.biases[1][:] = 1, 0, 1, 0
    z = np.float32([[-1000], [-90], [-20], [-5], [-0.0], [5], [20], [90], [1000]])
    np.testing.assert_allclose(run(model, z)["prediction"], outputs(model, z), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("hidden", [(), (6,)])
@pytest.mark.parametrize("loss", ALL_LOSSES)
def test_every_loss(run, loss, hidden):
    model = random_model((7, *hidden, 4), "tanh", loss)
    want, got = outputs(model, X), run(model, X)
    if loss in REGRESSIONS:
        assert list(got) == ["prediction"]
        close(got["prediction"], want)
        return
    close(got["probabilities"], want)
    label = want > 0.5 if loss == "binary_cross_entropy" else want.argmax(axis=1)
    assert got["label"].dtype == np.int64
    np.testing.assert_array_equal(got["label"], label)


def test_one_output_and_one_sample(run):
    model = random_model((7, 3, 1), loss="mse")
    close(run(model, X[:1])["prediction"], outputs(model, X[:1]))
    assert run(model, X[:0])["prediction"].shape == (0, 1)


@pytest.mark.parametrize("x", [X, BYTES], ids=["float32", "uint8"])
@pytest.mark.parametrize("scale", ["auto", 1.0, 0.01, InputScale(*np.float32([[-2, 3, 0, 1, 7, 5, 4], [0.01] * 7]))])
def test_the_inputs_scale_and_offset(run, x, scale):
    model = random_model((7, 8, 5), "relu", "mse", input_scale=scale)
    close(run(model, x)["prediction"], outputs(model, x))


def test_bytes_and_their_floats_are_scaled_differently(run):
    model = random_model((7, 8, 5), "relu", "mse")
    got, same = run(model, BYTES)["prediction"], run(model, BYTES / np.float32(255))["prediction"]
    close(got, same)
    assert np.abs(got - run(model, BYTES.astype(np.float32))["prediction"]).max() > 1


@pytest.mark.parametrize(
    "classes",
    [
        np.array([-5, 0, 7]),
        np.array([3, 8, 200], np.uint8),
        np.array([-(2**62), 0, 2**62]),
        np.array(["a", "no", "wörd"]),
        np.array([b"a", b"b", b"cd"]),
    ],
    ids=lambda classes: str(classes.dtype),
)
def test_labels_are_the_models_own(run, classes):
    model = random_model((7, 8, 3), classes=classes)
    model.biases[1][:] = 0
    want = model.predict(X)
    assert len(set(want)) == 3
    got = run(model, X)["label"]
    if classes.dtype.kind in "US":
        assert all(isinstance(label, str) for label in got)
        want = want.astype(str)
    else:
        assert got.dtype == np.int64
    np.testing.assert_array_equal(got, want)


def test_labels_that_are_truth_values_or_beyond_int64(run, tmp_path):
    model = random_model((7, 8, 2), classes=np.array([False, True]))
    np.testing.assert_array_equal(run(model, X)["label"], model.predict(X))
    model = random_model((7, 8, 2), classes=np.array([0, 2**63], np.uint64))
    with pytest.raises(ValueError, match="classes must fit into int64"):
        model.to_onnx(tmp_path / "model.onnx")


def test_the_notebooks_softmax_takes_classes_that_are_far_below(run):
    model = random_model((7, 3), loss="notebook")
    model.biases[0][:] = [0, -500, 300]
    got = run(model, X)["probabilities"]
    np.testing.assert_allclose(got, model.predict_proba(X), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got.sum(axis=0), 1, rtol=1e-5)


def test_what_is_written(run, tmp_path):
    model = random_model((7, 8, 3))
    run(model, X)
    proto = onnx.load(tmp_path / "model.onnx")
    assert (proto.ir_version, proto.opset_import[0].version, proto.producer_name) == (8, 17, "fastmlp")
    assert proto.producer_version == fastmlp.__version__
    with pytest.raises(ValueError, match=r"dtype must be one of 'float32', 'uint8', got 'float64'"):
        model.to_onnx(tmp_path / "other.onnx", dtype="float64")
    with pytest.raises(FileNotFoundError):
        model.to_onnx(tmp_path / "nowhere" / "other.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_without_the_package_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"this needs onnx: pip install 'fastmlp\[onnx\]'"):
        random_model((7, 3)).to_onnx(tmp_path / "model.onnx")
