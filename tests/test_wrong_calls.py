"""Wrong calls of everything public: the right exception, which names the argument, and nothing changed by the call."""

import pickle
import re
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
from wrong_calls import CALLS, COMMANDS, LABELS, SEVERAL, VALUES, X

import fastmlp


@pytest.fixture(scope="module")
def trained():
    """A classifier, a regression, and a model of several labels."""
    settings = {"hidden": (4,), "epochs": 1, "seed": 0, "progress": False}
    return (
        fastmlp.train(X, LABELS, **settings),
        fastmlp.train(X, VALUES, learning_rate=1e-3, **settings),
        fastmlp.train(X, SEVERAL, **settings),
    )


@pytest.fixture
def world(trained, tmp_path):
    """Models and a folder with files, which no wrong call may change."""
    model, regression, several = (pickle.loads(pickle.dumps(model)) for model in trained)
    model.save(tmp_path / "model.safetensors")
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "wide.npy", np.zeros((3, 99), np.float32))
    np.save(tmp_path / "text.npy", np.array([["a"] * 5]))
    (tmp_path / "text").write_text("hello, this is not a model")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty folder").mkdir()
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "idx").write_bytes(b"\0\0\x08\x01\0\0\0\x09abc")
    return SimpleNamespace(model=model, regression=regression, several=several, folder=tmp_path)


def state_of(world):
    """All that a wrong call could have changed."""
    files = {str(p): p.read_bytes() for p in sorted(world.folder.rglob("*")) if p.is_file()}
    inputs = [array.tobytes() for array in (X, LABELS, VALUES, SEVERAL)]
    models = [pickle.dumps(model) for model in (world.model, world.regression, world.several)]
    return files, sorted(map(str, world.folder.rglob("*"))), inputs, models


@pytest.mark.parametrize(("call", "error", "match"), CALLS)
def test_wrong_calls_are_refused_by_name_and_change_nothing(call, error, match, world):
    before = state_of(world)
    with pytest.raises(error) as caught:
        call(world)
    assert re.search(match, str(caught.value), re.DOTALL), str(caught.value)
    assert state_of(world) == before


@pytest.fixture(scope="module")
def few_digits():
    mnist = fastmlp.load_mnist()
    few = mnist._replace(x_train=mnist.x_train[:600], y_train=mnist.y_train[:600])
    with patch("fastmlp.load_mnist", lambda: few):
        yield


@pytest.mark.parametrize(("call", "status", "message"), COMMANDS)
def test_wrong_commands_give_a_message_and_a_status_and_change_nothing(
    call, status, message, world, capsys, few_digits
):
    before = state_of(world)
    try:
        got = call(world)
    except SystemExit as end:
        got = end.code
    printed = capsys.readouterr()
    assert (got, "Traceback" in printed.err) == (status, False)
    assert message in printed.err
    assert state_of(world) == before
