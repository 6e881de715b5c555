import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import fastmlp
from fastmlp import threads

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


def test_one_thread_enters_nothing_parallel(monkeypatch):
    monkeypatch.setattr("fastmlp.kernels.epoch.train_steps_parallel", None)
    x = np.random.default_rng(0).random((300, 100)).astype(np.float32)
    fastmlp.train(x, np.arange(300) % 2, hidden=(128,), epochs=1, threads=1)
    with threads.team(1, 1e12) as n:
        assert n == 1


def test_defaults():
    assert 1 <= threads.resolve(None) <= (os.cpu_count() or 1)
    assert threads.resolve(1) == 1
    assert threading.active_count() >= 1
