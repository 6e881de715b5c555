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


def marker(input_path):
    """The name of the file that holds the result."""
    return f"packing-{input_path.replace(' ', '-')}"


def break_packer(monkeypatch, input_path):
    """Have the kernels mix up one list of the many that the check makes."""
    make_lists, find_nonzeros = packing_check.make_lists, packing_check.find_nonzeros

    def mixed_up_lists(lists, *arguments):
        make_lists(lists, *arguments)
        lists.words[:2] = lists.words[1::-1].copy()

    def mixed_up_entries(entries, *arguments):
        find_nonzeros(entries, *arguments)
        last = entries.end[-1]
        entries.value[last - 2 : last] = entries.value[last - 2 : last][::-1].copy()

    name, broken = {"grouped sparse": ("make_lists", mixed_up_lists), "sparse": ("find_nonzeros", mixed_up_entries)}[
        input_path
    ]
    monkeypatch.setattr(packing_check, name, broken)


@pytest.fixture
def input_paths(monkeypatch):
    """The input paths that are taken."""
    taken, set_data = [], Executor.set_data

    def record(self, *args, **kwargs):
        set_data(self, *args, **kwargs)
        taken.append(self.input_path)

    monkeypatch.setattr(Executor, "set_data", record)
    return taken


@pytest.mark.parametrize("input_path", ["grouped sparse", "sparse"])
def test_this_processor_packs_correctly(input_path):
    assert packs_correctly(input_path)


@pytest.mark.parametrize("input_path", ["grouped sparse", "sparse"])
def test_a_wrong_list_is_found_said_once_and_remembered(input_path, monkeypatch, folder):
    break_packer(monkeypatch, input_path)
    with pytest.warns(RuntimeWarning, match=f"wrong results on this processor .*{jit.CPU_NAME}"):
        assert not packs_correctly(input_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not packs_correctly(input_path)
        packs_correctly.cache_clear()
        assert not packs_correctly(input_path)
    assert (folder / marker(input_path)).read_text() == "wrong"


@pytest.mark.parametrize("result", ["right", "wrong"])
def test_a_process_takes_the_result_of_another(result, monkeypatch, folder):
    (folder / "packing-grouped-sparse").write_text(result)
    monkeypatch.setattr(packing_check, "make_lists", lambda *_: pytest.fail("tried again"))
    times = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(10):
            forget()
            start = time.perf_counter()
            assert packs_correctly("grouped sparse") == (result == "right")
            times.append(time.perf_counter() - start)
    assert min(times) < 1e-3


@pytest.mark.parametrize("left", ["", "ri"])
def test_what_a_stopped_process_left_is_no_result(left, monkeypatch, folder):
    (folder / "packing-grouped-sparse").write_text(left)
    assert packs_correctly("grouped sparse")
    assert (folder / "packing-grouped-sparse").read_text() == "right"


def test_without_a_cache_folder_every_process_tries(monkeypatch):
    monkeypatch.setattr(jit, "CACHE_FOLDER", None)
    assert packs_correctly("grouped sparse")


@pytest.mark.parametrize(("input_path", "batch_size"), [("grouped sparse", 16), ("sparse", 1)])
def test_dense_kernels_train_where_lists_are_wrong(input_path, batch_size, monkeypatch, input_paths):
    options = OPTIONS | {"batch_size": batch_size, "learning_rate": 0.01}
    sparse = fastmlp.train(X, Y, sparse=True, **options)
    assert input_path in input_paths
    input_paths.clear()
    packs_correctly.cache_clear()
    (jit.CACHE_FOLDER / marker(input_path)).unlink()
    break_packer(monkeypatch, input_path)
    with pytest.warns(RuntimeWarning, match="dense kernels are used"):
        dense = fastmlp.train(X, Y, sparse=True, **options)
    assert set(input_paths) == {"dense"}
    for a, b in zip(sparse.weights + sparse.biases, dense.weights + dense.biases):
        np.testing.assert_array_equal(a, b)
    assert dense.predict(X[:1]) == sparse.predict(X)[0]


def test_csr_matrices_need_no_packing(monkeypatch, input_paths):
    for input_path in ("grouped sparse", "sparse"):
        (jit.CACHE_FOLDER / marker(input_path)).write_text("wrong")
    trained = fastmlp.train(scipy.sparse.csr_matrix(X), Y, **OPTIONS)
    assert "dense" not in input_paths
    want = fastmlp.train(X, Y, sparse=False, **OPTIONS)
    for a, b in zip(trained.weights + trained.biases, want.weights + want.biases):
        np.testing.assert_array_equal(a, b)
