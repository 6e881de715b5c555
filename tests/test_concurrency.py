"""Models in several Python threads and processes: each call is right, or fails at once."""

import concurrent.futures
import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import fastmlp
from fastmlp.engine.locks import SharedLock

RNG = np.random.default_rng(0)
X = RNG.standard_normal((600, 30)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 1)
FIXED = {"hidden": (100,), "batch_size": 64, "epochs": 2, "optimizer": "adam", "progress": False}


def parameters(model):
    return np.concatenate([p.ravel() for p in model.weights + model.biases])


def train(seed):
    return parameters(fastmlp.train(X, Y, seed=seed, **FIXED))


def diverge(seed):
    fastmlp.train(X, Y, seed=seed, learning_rate=1e38, hidden=(4,), epochs=1, progress=False)


def in_threads(functions):
    """Start all functions at the same moment; what they return."""
    barrier = threading.Barrier(len(functions))

    def start(function):
        barrier.wait()
        return function()

    with concurrent.futures.ThreadPoolExecutor(len(functions)) as pool:
        return [future.result(120) for future in [pool.submit(start, function) for function in functions]]


def test_eight_threads_train_at_once():
    want = [train(seed) for seed in range(8)]
    for _ in range(3):
        got = in_threads([lambda seed=seed: train(seed) for seed in range(8)])
        for a, b in zip(got, want):
            np.testing.assert_array_equal(a, b)


def test_pieces_from_many_threads_come_one_after_the_other():
    """All pieces are the same, so that their order does not matter."""
    arguments = {**FIXED, "shuffle": False, "batch_size": 600}
    model, want = fastmlp.train(X, Y, seed=0, **arguments), fastmlp.train(X, Y, seed=0, **arguments)
    in_threads([lambda: [model.partial_fit(X, Y, batch_size=600) for _ in range(5)]] * 8)
    for _ in range(40):
        want.partial_fit(X, Y, batch_size=600)
    # one step of a permuted batch has its sums in another order
    np.testing.assert_allclose(parameters(model), parameters(want), rtol=1e-3, atol=1e-4)
    assert model._training_state.executor.n_updates == 2 + 40


@pytest.mark.parametrize("n", [1, 40, 600])
def test_what_is_predicted_and_saved_is_a_whole_model(n, tmp_path):
    """Beside `partial_fit` in another thread, everybody sees the parameters from before a call or after it."""
    model = fastmlp.train(X, X[:, :1], seed=0, **{**FIXED, "hidden": (), "optimizer": "sgd"})
    ones = np.ones((n, 30), np.float32)
    # all weights are equal before and after each step, so that a prediction from a mixture would not be in the set
    values = [np.float32(k) for k in (1, 2, 4, 8)]
    want = {float(31 * value) for value in values}
    done = threading.Event()

    def write():
        k, stop = 0, time.monotonic() + 1
        try:
            while time.monotonic() < stop:
                value, k = values[k % 4], k + 1
                with model._parameters.lock.writing():  # as partial_fit does it
                    for target in model.weights + model.biases:
                        for i in range(len(target)):
                            target[i] = value
        finally:
            done.set()

    def predict():
        seen = set()
        while not done.is_set():
            seen |= set(model.predict(ones).ravel().tolist())
        return seen

    def save():
        seen, name = set(), tmp_path / str(threading.get_ident())
        while not done.is_set():
            model.save(name)
            loaded = fastmlp.load(name)
            seen.add(float(parameters(loaded).sum()))
            seen.add(float(parameters(copy.deepcopy(model)).sum()))
            seen.add(float(parameters(pickle.loads(pickle.dumps(model))).sum()))
        return seen

    model.weights, model.biases = [np.ones((30, 1))], [np.ones(1)]
    results = in_threads([write, predict, predict, save])
    for seen in results[1:]:
        assert seen <= want


def test_mixed_calls_on_one_model(tmp_path):
    # fitted well before, because how many calls of partial_fit follow depends on the load
    model = fastmlp.train(X, Y, seed=0, **{**FIXED, "epochs": 60})
    assert model.evaluate(X, Y).accuracy > 0.9
    stop, steps = time.monotonic() + 1, []

    def repeat(function):
        def run():
            function()
            while time.monotonic() < stop:
                function()

        return run

    def fit(n, batch_size):
        model.partial_fit(X[:n], Y[:n], batch_size=batch_size)
        steps.append(-(-n // batch_size))

    def assign():
        model.biases[1] = np.zeros(3)

    calls = [
        lambda: fit(100, 64),
        lambda: fit(600, 17),
        lambda: model.predict(X[:1]),
        lambda: model.predict(X[:50]),
        lambda: model.predict_proba(X),
        lambda: model.evaluate(X, Y),
        lambda: model.save(tmp_path / "model"),
        lambda: fastmlp.train(X, Y, init=model, **FIXED),
        lambda: pickle.dumps(model),
        assign,
    ]
    in_threads([repeat(call) for call in calls])
    assert model._training_state.executor.n_updates == 60 * 10 + sum(steps)  # none lost, none twice
    assert np.isfinite(parameters(model)).all()
    assert model.evaluate(X, Y).accuracy > 0.8
    assert fastmlp.load(tmp_path / "model").evaluate(X, Y).accuracy > 0.5
    fresh = pickle.loads(pickle.dumps(model))  # the parameters alone: nothing that was prepared for them is out of date
    for n in (1, 50, 600):
        np.testing.assert_array_equal(model.predict(X[:n]), fresh.predict(X[:n]))
        assert model.evaluate(X[:n], Y[:n]) == fresh.evaluate(X[:n], Y[:n])


def test_a_callback_may_give_the_model_to_other_threads():
    seen = []

    def predict(model):
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            futures = [pool.submit(model.predict, X[:n]) for n in (1, 50, 600)]
            futures.append(pool.submit(model.partial_fit, X, Y, learning_rate=1e-30))
            seen.extend(future.result(30) for future in futures)

    want = train(0)
    model = fastmlp.train(X, Y, seed=0, callbacks=predict, **FIXED)
    assert len(seen) == 8
    np.testing.assert_array_equal(parameters(model), want)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("threads", [1, 2])
def test_processes_train_after_the_parent_has(method, threads):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip("there is no such method here")
    x = np.tile(X, (1, 20))  # large enough for steps on two threads
    fastmlp.train(x, Y, seed=0, threads=threads, **FIXED)
    want = [train(seed) for seed in range(3)]
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        for a, b in zip(pool.map(train, range(3), timeout=120), want):
            np.testing.assert_array_equal(a, b)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_child_has_a_model_of_its_own():
    """Its memory is not the parent's, and locks that the parent's other threads hold are open."""
    model = fastmlp.train(X, Y, seed=0, **FIXED)
    model.partial_fit(X, Y)  # a run is there, which both would go on with
    twin = fastmlp.train(X, Y, seed=0, **FIXED)
    twin.partial_fit(X, Y)
    held, done = threading.Event(), threading.Event()

    def hold():
        with model._parameters.training.held(), model._parameters.lock.writing():
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            for _ in range(5):
                model.partial_fit(X, Y)
            for n in (1, 50, 600):
                model.predict(X[:n])
            os.write(writer, b"done")
        finally:
            os._exit(0)
    os.close(writer)
    done.set()
    thread.join()
    with os.fdopen(reader, "rb") as output:
        assert output.read() == b"done"
    os.waitpid(child, 0)
    model.partial_fit(X, Y)
    twin.partial_fit(X, Y)
    np.testing.assert_array_equal(parameters(model), parameters(twin))


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_joblib(backend):
    joblib = pytest.importorskip("joblib")
    want = [train(seed) for seed in range(4)]
    got = joblib.Parallel(2, backend=backend)(joblib.delayed(train)(seed) for seed in range(4))
    for a, b in zip(got, want):
        np.testing.assert_array_equal(a, b)


DIVERGES = """
import concurrent.futures, multiprocessing, sys
sys.path.insert(0, sys.argv[1])
from test_concurrency import diverge
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    for kind in ("pool", "executor"):
        try:
            if kind == "pool":
                with context.Pool(1) as pool:
                    pool.map(diverge, [0])
            else:
                with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
                    list(pool.map(diverge, [0]))
        except ArithmeticError as error:
            print(error.epoch, error.model.widths)
"""


def test_a_job_that_diverges_fails_in_pools(tmp_path):
    script = tmp_path / "diverges.py"
    script.write_text(DIVERGES)
    command = [sys.executable, str(script), os.path.dirname(__file__)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert result.stdout == "1 (30, 4, 3)\n" * 2, result.stderr


def test_a_divergence_survives_pickles_and_copies():
    with pytest.raises(fastmlp.DivergenceError) as caught:
        diverge(0)
    caught.value.note = "mine"
    for error in (pickle.loads(pickle.dumps(caught.value)), copy.copy(caught.value)):
        assert str(error) == str(caught.value)
        assert (error.epoch, error.learning_rate, error.note) == (1, pytest.approx(1e38), "mine")
        np.testing.assert_array_equal(parameters(error.model), parameters(caught.value.model))


def test_a_writer_comes_before_later_readers():
    lock, order = SharedLock(), []
    reading = threading.Event()

    def read():
        with lock.reading():
            order.append("read")

    def write():
        with lock.writing():
            order.append("write")

    with lock.reading():
        with lock.reading():
            pass
        writer = threading.Thread(target=write)
        writer.start()
        while not lock._state().writers_waiting:
            time.sleep(0.001)
        reader = threading.Thread(target=read)
        reader.start()
        time.sleep(0.05)
        assert order == []
        reading.set()
    writer.join()
    reader.join()
    assert order == ["write", "read"]
