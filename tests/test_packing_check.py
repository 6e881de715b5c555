import time
import warnings

import numpy as np
import pytest
import scipy.sparse
from numba.core import config

import fastmlp
from fastmlp.engine import packing_check
from fastmlp.engine.executor import Executor
from fastmlp.engine.packing_check import packs_correctly
from fastmlp.kernels import jit

pytestmark = pytest.mark.skipif(config.DISABLE_JIT, reason="there is nothing to check without compiled code")

RNG = np.random.default_rng(0)
X = ((RNG.random((60, 40)) < 0.1) * RNG.integers(1, 4, (60, 40))).astype(np.uint8)
Y = RNG.integers(0, 3, 60)
OPTIONS = {"hidden": (20,), "epochs": 2, "seed": 0, "batch_size": 16, "progress": False}


def forget():
    packs_correctly.cache_clear()
    packing_check._warn.cache_clear()


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    """A cache folder in which nothing has been tried, and a process in which nothing has."""
    monkeypatch.setattr(jit, "CACHE_FOLDER", tmp_path)
    forget()
    yield tmp_path
    forget()


def break_packer(monkeypatch, way):
    """Have the kernels mix up one list of the many that the check makes."""
    make_lists, find_nonzeros = packing_check.make_lists, packing_check.find_nonzeros

    def mixed_up_lists(lists, *arguments):
        make_lists(lists, *arguments)
        lists.words[:2] = lists.words[1::-1].copy()

    def mixed_up_entries(entries, *arguments):
        find_nonzeros(entries, *arguments)
        last = entries.end[-1]
        entries.value[last - 2 : last] = entries.value[last - 2 : last][::-1].copy()

    name, broken = {"groups": ("make_lists", mixed_up_lists), "nonzeros": ("find_nonzeros", mixed_up_entries)}[way]
    monkeypatch.setattr(packing_check, name, broken)


@pytest.fixture
def ways(monkeypatch):
    """The ways that the first layer takes"""
    taken, set_data = [], Executor.set_data

    def record(self, *args, **kwargs):
        set_data(self, *args, **kwargs)
        taken.append(self.way)

    monkeypatch.setattr(Executor, "set_data", record)
    return taken


@pytest.mark.parametrize("way", ["groups", "nonzeros"])
def test_this_processor_packs_correctly(way):
    assert packs_correctly(way)


@pytest.mark.parametrize("way", ["groups", "nonzeros"])
def test_a_wrong_list_is_found_said_once_and_remembered(way, monkeypatch, folder):
    break_packer(monkeypatch, way)
    with pytest.warns(RuntimeWarning, match=f"wrong results on this processor .*{jit.CPU_NAME}"):
        assert not packs_correctly(way)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not packs_correctly(way)
        packs_correctly.cache_clear()
        assert not packs_correctly(way)
    assert (folder / f"packing-{way}").read_text() == "wrong"


@pytest.mark.parametrize("result", ["right", "wrong"])
def test_a_process_takes_the_result_of_another(result, monkeypatch, folder):
    (folder / "packing-groups").write_text(result)
    monkeypatch.setattr(packing_check, "make_lists", lambda *_: pytest.fail("tried again"))
    times = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(10):
            forget()
            start = time.perf_counter()
            assert packs_correctly("groups") == (result == "right")
            times.append(time.perf_counter() - start)
    assert min(times) < 1e-3


@pytest.mark.parametrize("left", ["", "ri"])
def test_what_a_stopped_process_left_is_no_result(left, monkeypatch, folder):
    (folder / "packing-groups").write_text(left)
    assert packs_correctly("groups")
    assert (folder / "packing-groups").read_text() == "right"


def test_without_a_cache_folder_every_process_tries(monkeypatch):
    monkeypatch.setattr(jit, "CACHE_FOLDER", None)
    assert packs_correctly("groups")


@pytest.mark.parametrize(("way", "batch_size"), [("groups", 16), ("nonzeros", 1)])
def test_dense_kernels_train_where_lists_are_wrong(way, batch_size, monkeypatch, ways):
    options = OPTIONS | {"batch_size": batch_size, "learning_rate": 0.01}
    sparse = fastmlp.train(X, Y, sparse=True, **options)
    assert way in ways
    ways.clear()
    packs_correctly.cache_clear()
    (jit.CACHE_FOLDER / f"packing-{way}").unlink()
    break_packer(monkeypatch, way)
    with pytest.warns(RuntimeWarning, match="dense kernels are used"):
        dense = fastmlp.train(X, Y, sparse=True, **options)
    assert set(ways) == {"tiles"}
    for a, b in zip(sparse.weights + sparse.biases, dense.weights + dense.biases):
        np.testing.assert_array_equal(a, b)
    assert dense.predict(X[:1]) == sparse.predict(X)[0]


def test_csr_matrices_need_no_packing(monkeypatch, ways):
    for way in ("groups", "nonzeros"):
        (jit.CACHE_FOLDER / f"packing-{way}").write_text("wrong")
    trained = fastmlp.train(scipy.sparse.csr_matrix(X), Y, **OPTIONS)
    assert "tiles" not in ways
    want = fastmlp.train(X, Y, sparse=False, **OPTIONS)
    for a, b in zip(trained.weights + trained.biases, want.weights + want.biases):
        np.testing.assert_array_equal(a, b)
