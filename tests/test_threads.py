import os
import pickle
import subprocess
import sys

import numba
import numpy as np
import pytest

import fastmlp
from fastmlp.engine import threads

CODE = """
import os, threading
import numpy as np, fastmlp
x = np.random.default_rng(0).random((600, 100)).astype(np.float32); y = np.arange(600) % 3
train = lambda n: fastmlp.train(x, y, hidden=(128,), epochs=3, seed=0, threads=n).weights[0]
want = train(1)
results = [None] * 4
def work(i): results[i] = train(2)
workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
[w.start() for w in workers]; [w.join() for w in workers]
assert all(np.array_equal(want, r) for r in results)
child = os.fork()
if child == 0:
    os._exit(0 if np.array_equal(want, train(2)) else 3)
assert os.waitpid(child, 0)[1] == 0
print("right")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_training_from_python_threads_and_after_a_fork(layer):
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE], env={**os.environ, "NUMBA_THREADING_LAYER": layer},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    if "No threading layer could be loaded" in run.stderr:
        pytest.skip(f"{layer} is not there")
    assert run.stdout == "right\n", run.stderr


# A child of a process that has used Numba's threads without fastmlp; `before` is run before the fork, `after` in the
# child.
FORKED = """
import os
import numba, numpy as np
@numba.njit(parallel=True)
def total(x):
    s = 0.0
    for i in numba.prange(len(x)):
        s += x[i]
    return s
{before}
assert total(np.ones(1000)) == 1000
child = os.fork()
if child == 0:
    {after}
    from fastmlp.engine import threads
    x = np.random.default_rng(0).random((600, 100)).astype(np.float32)
    model = fastmlp.train(x, np.arange(600) % 3, hidden=(128,), epochs=3, seed=0, threads=2)
    os._exit(0 if np.isfinite(model.predict_proba(x)).all() and threads._state["forked"] else 3)
print(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("imported", ["before", "after"])
def test_a_fork_of_a_process_with_threads_of_numba_trains_on_one(imported):
    code = FORKED.format(**{"before": "", "after": "", imported: "import fastmlp, fastmlp.engine.threads"})
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], env={**os.environ, "NUMBA_THREADING_LAYER": "omp"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    if "No threading layer could be loaded" in run.stderr:
        pytest.skip("omp is not there")
    assert run.stdout == "0\n", run.stderr


def test_a_process_of_its_own_is_not_taken_for_a_fork():
    code = "import numba; numba.get_num_threads(); from fastmlp.engine import threads; print(threads._state)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "{'forked': False}\n"


def test_one_thread_enters_nothing_parallel(monkeypatch):
    monkeypatch.setattr("fastmlp.kernels.step.epoch.train_steps_parallel", None)
    x = np.random.default_rng(0).random((300, 100)).astype(np.float32)
    fastmlp.train(x, np.arange(300) % 2, hidden=(128,), epochs=1, threads=1)
    with threads.thread_scope(1, 1e12, 100) as n:
        assert n == 1


def test_short_calls_wake_no_threads(monkeypatch):
    model = fastmlp.train(np.eye(100, 784, dtype=np.float32), np.arange(100) % 10, epochs=1, threads=2)
    x, y = np.random.default_rng(0).random((64, 784)).astype(np.float32), np.arange(64) % 10
    with monkeypatch.context() as patch:
        patch.setattr("fastmlp.kernels.step.epoch.train_steps_parallel", None)
        model.predict(x)
        model.evaluate(x, y)
        model.partial_fit(x[:16], y[:16])
    with threads.thread_scope(threads=2, flop=threads.MIN_FLOP, n_steps=threads.MIN_CALL - 1) as n:
        assert n == 1
    with threads.thread_scope(threads=2, flop=threads.MIN_FLOP, n_steps=threads.MIN_CALL) as n:
        assert n == (1 if numba.threading_layer() == "workqueue" else 2)


def test_defaults():
    assert 1 <= threads.resolve(None) <= (os.cpu_count() or 1)
    assert threads.resolve(1) == 1
    assert threads.resolve(10**6) == threads.config.NUMBA_NUM_THREADS


def test_predictions_go_on_with_what_the_last_one_found_about_threads():
    x = np.random.default_rng(0).random((640, 784)).astype(np.float32)
    model = fastmlp.train(x, np.arange(640) % 10, epochs=1)
    model.threads = 2
    seen = []
    for _ in range(3):
        model.predict(x)
        model.predict(x[:20])
        (tuner,) = model._predictors.tuners
        seen.append((id(tuner), tuner.steps))
    is_parallel = numba.threading_layer() != "workqueue" and threads.resolve(2) == 2
    assert seen == [(id(tuner), 5 * k * is_parallel) for k in (1, 2, 3)]
    assert pickle.loads(pickle.dumps(model))._predictors.tuners == []
    with pytest.raises(ValueError, match="finite"):
        model.predict(x * np.nan)
    model.evaluate(x, np.arange(640) % 10)
    assert len(model._predictors.tuners) == 1
