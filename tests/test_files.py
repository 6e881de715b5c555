import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import fastmlp

X = np.random.default_rng(0).random((40, 6)).astype(np.float32)
LABELS = np.array(["no", "yes", "wörd"])[np.arange(40) % 3]


@pytest.mark.parametrize("y", [LABELS, np.arange(40) % 4 - 2, X[:, 0], X[:, :2]])
def test_a_model_comes_back_bit_for_bit(tmp_path, y):
    model = fastmlp.train(X, y, hidden=(5, 17), activation=["relu", "tanh"], epochs=2, input_scale=0.3, validation=0.2)
    model.save(tmp_path / "model.safetensors")
    back = fastmlp.load(tmp_path / "model.safetensors")
    for a, b in zip(model.weights + model.biases, back.weights + back.biases):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(model.predict(X), back.predict(X))
    np.testing.assert_equal(back.history, model.history)
    assert (back.loss, back.activations, back.input_scale) == (model.loss, model.activations, model.input_scale)
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]
    assert load_file(tmp_path / "model.safetensors")["layers.0.weight"].shape == (6, 5)


def test_what_is_not_a_model_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    fastmlp.train(X, LABELS, epochs=1, hidden=(5,)).save(path)
    data = path.read_bytes()
    for cut in (0, 4, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:cut])
        with pytest.raises(ValueError, match="not a safetensors file, or is cut short"):
            fastmlp.load(path)
    path.write_bytes(b"hello, this is text" * 10)
    with pytest.raises(ValueError, match="not a safetensors file"):
        fastmlp.load(path)
    save_file({"a": X}, path)
    with pytest.raises(ValueError, match="not a fastmlp model"):
        fastmlp.load(path)
    path.write_bytes(data.replace(b'widths\\": [6', b'widths\\": [7'))
    with pytest.raises(ValueError, match=r"layers.0.weight must be float32 of shape \(7, 5\), got.*\(6, 5\)"):
        fastmlp.load(path)
    path.write_bytes(data.replace(b"relu", b"wave"))
    with pytest.raises(ValueError, match="unknown name 'wave'"):
        fastmlp.load(path)
    with pytest.raises(FileNotFoundError):
        fastmlp.load(tmp_path / "nothing")
