import json
import os
import stat
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import fastmlp
from fastmlp.io import atomic_write
from fastmlp.io.safetensors import save_somewhere

X = np.random.default_rng(0).random((40, 6)).astype(np.float32)
LABELS = np.array(["no", "yes", "wörd"])[np.arange(40) % 3]
NUMBER = {  # a column of an encoder
    "kind": "number", "name": "a", "median": 0.0, "offset": 0.0, "factor": 1.0, "clips": False, "has_indicator": False,
}  # fmt: skip


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


@pytest.fixture
def rewrite(tmp_path):
    """Writes a good model with parts of its header or tensors replaced (None: left out); returns the path."""
    path = tmp_path / "model.safetensors"
    fastmlp.train(X, LABELS, epochs=1, hidden=(5,)).save(path)
    with safe_open(path, "numpy") as file:
        header = json.loads(file.metadata()["fastmlp"])
    tensors = load_file(path)

    def write(header_changes=None, tensor_changes=None):
        parts = [{**header, **(header_changes or {})}, {**tensors, **(tensor_changes or {})}]
        new_header, new_tensors = ({k: v for k, v in part.items() if v is not DROP} for part in parts)
        save_file(new_tensors, path, metadata={"fastmlp": json.dumps(new_header)})
        return path

    return write


DROP = object()
SMALL = np.zeros(2, np.float32)


def test_a_rewritten_model_still_loads(rewrite):
    assert fastmlp.load(rewrite()).predict(X).shape == (40,)


@pytest.mark.parametrize(
    ("header", "tensors", "message"),
    [
        ({}, {"layers.1.bias": DROP}, "tensor layers.1.bias must be float32.*got none"),
        ({}, {"layers.0.weight": DROP}, "tensor layers.0.weight must be float32.*got none"),
        ({}, {"layers.0.bias": SMALL}, r"layers.0.bias must be float32 of shape \(5,\), got float32 of shape \(2,\)"),
        ({}, {"layers.0.bias": np.zeros(5)}, "layers.0.bias must be float32.*got float64"),
        ({}, {"extra": SMALL}, r"unknown tensors \['extra'\]"),
        ({"format": 3}, {}, "format 3"),
        ({"format": DROP}, {}, "not a fastmlp model that this version can read"),
        ({"widths": [6, 5]}, {}, "do not fit the widths"),
        ({"widths": [10**12, 5, 3]}, {}, "not a fastmlp model that this version can read"),
        ({"widths": None}, {}, "not a fastmlp model that this version can read"),
        ({"activations": ["wave"]}, {}, "unknown name 'wave'"),
        ({"activations": []}, {}, "do not fit the widths"),
        ({"loss": "wave"}, {}, "unknown name 'wave'"),
        ({"classes": None}, {}, "needs classes"),
        ({"classes": ["a"]}, {}, "classes do not fit"),
        ({"classes": ["yes", "no", "wörd"]}, {}, "are not different and sorted"),
        ({"classes": ["no", "yes", "yes"]}, {}, "are not different and sorted"),
        ({"loss": "mse"}, {}, "the loss 'mse' has no classes"),
        ({"feature_names": ["a"]}, {}, "names do not fit"),
        ({"delta": -1}, {}, "delta must be"),
        ({}, {"layers.0.bias": np.full(5, np.nan, np.float32)}, "tensor layers.0.bias holds NaN or infinity"),
        ({"input_scale": "features"}, {}, "not a fastmlp model that this version can read"),
        ({"input_scale": "robust"}, {}, "not a fastmlp model that this version can read"),
        ({"encoder": {"missing": "indicator", "columns": []}}, {}, "at least one column"),
        (
            {"encoder": {"missing": "indicator", "columns": [NUMBER]}},
            {},
            "an encoder of 1 features does not fit 6 inputs",
        ),
        ({"input_scale": -1}, {}, "input_scale must be"),
        ({"history": None}, {}, "not a fastmlp model that this version can read"),
    ],
)
def test_a_model_that_does_not_fit_together_is_refused(rewrite, header, tensors, message):
    with pytest.raises(ValueError, match=message):
        fastmlp.load(rewrite(header, tensors))


def test_a_file_of_an_older_version_still_loads():
    model = fastmlp.load(Path(__file__).parent / "files/format-1.safetensors")  # of 0.1.0, before `delta` was kept
    assert (model.widths, model.activations, model.delta, model.feature_names) == (
        (9, 5, 4, 3),
        ("tanh", "elu"),
        1.0,
        None,
    )
    assert model.classes.tolist() == ["low", "mid", "top"]
    pixels = 9 * np.arange(27, dtype=np.uint8).reshape(3, 9)
    want = [
        [0.7976987361907959, 0.10657066106796265, 0.09573064744472504],
        [0.3218361735343933, 0.33736246824264526, 0.34080132842063904],
        [0.08131886273622513, 0.37386560440063477, 0.5448154807090759],
    ]  # what it predicted then
    np.testing.assert_allclose(model.predict_proba(pixels), want, rtol=1e-5)
    assert model.history["train_loss"][-1] == 0.7930590426549315


def test_every_length_of_a_cut_file_is_refused(tmp_path):
    path = tmp_path / "model"
    fastmlp.train(X, LABELS, epochs=1, hidden=(3,)).save(path)
    data = path.read_bytes()
    for cut in range(0, len(data), 37):
        path.write_bytes(data[:cut])
        with pytest.raises(ValueError, match="cut short"):
            fastmlp.load(path)


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "model"
    model = fastmlp.train(X, LABELS, epochs=1)
    model.save(path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    model.weights[0][:] = 0
    with pytest.raises(OSError, match="disk full"):
        model.save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model"]
    with pytest.raises(OSError, match="No such file"):
        model.save(tmp_path / "no folder" / "model")


def test_boolean_classes_come_back_and_training_goes_on_from_a_file(tmp_path):
    model = fastmlp.train(X, X[:, 0] > 0.5, hidden=(5,), epochs=1, seed=0)
    model.save(str(tmp_path / "model"))
    back = fastmlp.load(str(tmp_path / "model"))
    assert (back.classes.dtype, back.predict(X).dtype) == (bool, bool)
    more = [fastmlp.train(X, X[:, 0] > 0.5, hidden=(5,), init=m, epochs=1, shuffle=False) for m in (model, back)]
    np.testing.assert_array_equal(more[0].weights[0], more[1].weights[0])


# ---------------------------------------------------------------------------------------------- what a file replaces

posix = pytest.mark.skipif(os.name != "posix", reason="has no such files")


@pytest.fixture
def model():
    return fastmlp.train(X, LABELS, hidden=(5,), epochs=1, seed=0)


@posix
def test_a_symbolic_link_stays_and_its_target_is_replaced(model, tmp_path):
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder/target", tmp_path / "link"
    link.symlink_to("folder/target")
    for _ in range(2):  # a link to nothing, and one to a file
        model.save(link)
        assert link.is_symlink()
        assert target.is_file()
        assert not target.is_symlink()
        np.testing.assert_array_equal(fastmlp.load(link).weights[0], model.weights[0])
    assert sorted(os.listdir(tmp_path)) == ["folder", "link"]
    assert os.listdir(tmp_path / "folder") == ["target"]


@posix
def test_a_pipe_is_written_to_and_stays(model, tmp_path):
    pipe, copy = tmp_path / "pipe", tmp_path / "copy"
    os.mkfifo(pipe)
    received = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    model.save(pipe)
    reader.join(10)
    assert pipe.is_fifo()
    model.save(copy)
    assert received == [copy.read_bytes()]


@posix
def test_a_device_is_written_to_and_stays(model, tmp_path):
    device = tmp_path / "null"
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        model.save(device)
    except PermissionError:
        pytest.skip("only root may make devices, and use them here")
    assert stat.S_ISCHR(device.stat().st_mode)
    assert os.listdir(tmp_path) == ["null"]


@posix
def test_a_device_that_is_full_raises(model):
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    with pytest.raises(OSError, match="No space left"):
        model.save("/dev/full")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


@posix
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_permissions_of_any_other(model, umask, tmp_path, monkeypatch):
    before = os.umask(umask)
    monkeypatch.setattr(os, "umask", None)  # which is the whole process's
    try:
        model.save(tmp_path / "model")
        (tmp_path / "other").touch()
    finally:
        monkeypatch.undo()
        os.umask(before)
    assert (tmp_path / "model").stat().st_mode == (tmp_path / "other").stat().st_mode


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o400])
def test_a_file_that_is_replaced_gives_its_permissions_on(model, mode, tmp_path):
    (tmp_path / "model").touch()
    (tmp_path / "model").chmod(mode)
    model.save(tmp_path / "model")
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == mode


@posix
def test_a_file_is_on_the_disk_before_it_is_renamed(model, tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda f: calls.append(stat.S_IFMT(os.fstat(f).st_mode)) or fsync(f))
    monkeypatch.setattr(os, "replace", lambda *paths: calls.append("rename") or replace(*paths))
    model.save(tmp_path / "model")
    assert calls == [stat.S_IFREG, "rename", stat.S_IFDIR]


@posix
def test_what_is_no_file_is_not_loaded(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/null"):
        with pytest.raises(ValueError, match="not a file but a pipe or a device"):
            fastmlp.load(path)
    with pytest.raises(IsADirectoryError):
        fastmlp.load(tmp_path)


def test_classes_of_bytes_come_back(tmp_path):
    labels = np.array([b"no", b"yes\xff", b"x"])[np.arange(40) % 3]
    model = fastmlp.train(X, labels, epochs=1)
    model.save(tmp_path / "model")
    back = fastmlp.load(tmp_path / "model")
    assert back.classes.tolist() == model.classes.tolist()
    np.testing.assert_array_equal(back.predict(X), model.predict(X))


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "BF16", "F64", "C64"])
def test_tensors_of_other_types_are_refused(model, dtype, tmp_path):
    model.save(tmp_path / "model")
    data = (tmp_path / "model").read_bytes().replace(b'"F32"', b'"%s"' % dtype.encode(), 1)
    size = int.from_bytes(data[:8], "little") + len(dtype) - 3
    (tmp_path / "model").write_bytes(size.to_bytes(8, "little") + data[8:])
    with pytest.raises(ValueError, match="model is not a"):
        fastmlp.load(tmp_path / "model")


def test_a_model_that_can_not_be_written_goes_beside(model, tmp_path, monkeypatch):
    replace = os.replace

    def fail(source, target):
        if os.path.basename(target) == "digits.safetensors":
            raise OSError("this name is bad")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="this name is bad; the model is in ") as caught:
        save_somewhere(model.state(), tmp_path / "digits.safetensors")
    (path,) = tmp_path.iterdir()
    assert str(caught.value).endswith(str(path))
    np.testing.assert_array_equal(fastmlp.load(path).weights[0], model.weights[0])


def test_a_model_whose_folder_has_gone_goes_to_the_folder_for_temporary_files(model, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    with pytest.raises(OSError, match=r"No such file.*; the model is in .*temporary"):
        save_somewhere(model.state(), tmp_path / "gone" / "model")
    (path,) = (tmp_path / "temporary").iterdir()
    np.testing.assert_array_equal(fastmlp.load(path).weights[0], model.weights[0])


@pytest.fixture
def windows(monkeypatch):
    """As on Windows, where a file that is open can't be replaced; time passes by sleeping alone."""
    now = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(atomic_write, "time", clock)
    monkeypatch.setattr(atomic_write, "_PATIENCE", 2.0)


def test_a_file_that_another_process_holds_open_is_replaced_once_it_is_closed(model, tmp_path, monkeypatch, windows):
    model.save(tmp_path / "model")
    replace, refusals = os.replace, iter([PermissionError("in use"), PermissionError("in use")])

    def held(source, target):
        for error in refusals:
            raise error
        replace(source, target)

    monkeypatch.setattr(os, "replace", held)
    model.weights[0][:] = 1
    model.save(tmp_path / "model")
    assert (fastmlp.load(tmp_path / "model").weights[0] == 1).all()
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_that_stays_open_is_an_error_after_two_seconds(model, tmp_path, monkeypatch, windows):
    replace = mock.Mock(side_effect=PermissionError("in use"))
    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(PermissionError, match="in use"):
        model.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
    assert replace.call_count > 10
