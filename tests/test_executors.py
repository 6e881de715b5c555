"""`train_many` in the workers of executors: process pools, Dask and MPI, some of which die."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from helpers import import_or_skip

import fastmlp
from fastmlp.errors import WorkersLostError
from fastmlp.many import remote, worker
from fastmlp.many.remote import Dispatcher

RNG = np.random.default_rng(0)
X = RNG.standard_normal((200, 5)).astype(np.float32)
LABELS = RNG.choice(["a", "b", "c"], 200)
COMMON = {"hidden": (6,), "epochs": 2, "batch_size": 32}
CONFIGS = [{"seed": seed, "samples": np.arange(seed, 200)} for seed in range(12)]

spawn = multiprocessing.get_context("spawn")


def bits(model):
    return model._parameters.buffer.tobytes()


def check(models, configs=CONFIGS, common=COMMON):
    """Whether these are the models that are trained alone."""
    assert [bits(model) for model in models] == [
        bits(fastmlp.train(X, LABELS, **{**common, **config}, threads=1, progress=False)) for config in configs
    ]


@pytest.fixture(scope="module")
def pool():
    with ProcessPoolExecutor(2, spawn) as executor:
        yield executor


@pytest.fixture
def dispatchers(monkeypatch):
    """All dispatchers that are made, to look into."""
    made = []
    init = Dispatcher.__init__
    monkeypatch.setattr(Dispatcher, "__init__", lambda self, *args: made.append(self) or init(self, *args))
    return made


class KillOnce:
    """A callback that kills its process, unless it has done so before."""

    def __init__(self, folder):
        self.marker = Path(folder) / "killed"

    def on_epoch_end(self, model):
        try:
            self.marker.touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


class Unpicklable(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def fail(model):
    raise Unpicklable(1, 2)


def test_processes_train_the_networks_that_are_trained_alone(pool, dispatchers):
    check(fastmlp.train_many(CONFIGS, X, LABELS, executor=pool, **COMMON))
    # again: the workers have the data
    check(fastmlp.train_many(CONFIGS, X, LABELS, executor=pool, **COMMON))
    assert dispatchers[0].key == dispatchers[1].key
    assert 1 <= dispatchers[0].n_data + dispatchers[1].n_data <= 2  # workers
    assert not any(model.interrupted for _, model in fastmlp.iter_many(CONFIGS, X, LABELS, executor=pool, **COMMON))


def test_errors_come_back_from_processes(pool):
    diverges = {"optimizer": fastmlp.SGD(momentum=0.9), "learning_rate": 1e30, "epochs": 20}
    configs = [{"seed": 0}, diverges, {"callbacks": fail}, {"seed": 3}]
    common = {**COMMON, "hidden": (6, 6)}
    models = fastmlp.train_many(configs, X, LABELS, executor=pool, on_error="return", **common)
    check([models[0], models[3]], [configs[0], configs[3]], common)
    assert isinstance(models[1], fastmlp.DivergenceError)
    assert str(models[1]).startswith("configs[1]: the loss or a weight")
    assert models[1].model.widths == (5, 6, 6, 3)
    assert type(models[2]) is RuntimeError
    assert str(models[2]) == "configs[2]: Unpicklable: 1 and 2"
    with pytest.raises(RuntimeError, match=r"configs\[1\]: Unpicklable"):
        fastmlp.train_many([configs[0], configs[2]], X, LABELS, executor=pool, **common)


def test_wrong_data_raise_the_error_that_they_raise_here(pool):
    x = X.copy()
    x[3, 2] = np.nan
    for executor in (None, pool):
        with pytest.raises(ValueError, match=r"^x must be finite \(in float32\), got NaN, .* in row 3$"):
            fastmlp.train_many(CONFIGS, x, LABELS, executor=executor, on_error="return", **COMMON)


def test_settings_that_cannot_be_sent_raise_an_error(pool):
    local = [lambda model: None]
    with pytest.raises(TypeError, match=r"common settings must be picklable for an executor, .*lambda"):
        fastmlp.train_many(CONFIGS, X, LABELS, executor=pool, callbacks=local, **COMMON)
    with pytest.raises(WorkersLostError, match=r"configs \[0\] could not be sent, or were not .* 4 attempts: .*lambda"):
        fastmlp.train_many([{"callbacks": local}], X, LABELS, executor=pool, **COMMON)


def test_callbacks_that_networks_share_are_copied_in_workers(pool):
    common = {**COMMON, "callbacks": fastmlp.callbacks.EarlyStopping("train_loss", patience=1), "epochs": 30}
    check(fastmlp.train_many(CONFIGS, X, LABELS, executor=pool, **common), CONFIGS, common)


def test_a_process_that_dies_breaks_a_pool_and_the_error_says_what_is_missing(tmp_path):
    configs = [
        {**config, "callbacks": KillOnce(tmp_path)} if index == 7 else config for index, config in enumerate(CONFIGS)
    ]
    with ProcessPoolExecutor(1, spawn) as executor, pytest.raises(WorkersLostError) as caught:
        fastmlp.train_many(configs, X, LABELS, executor=executor, **COMMON)
    error = caught.value
    assert 7 in error.missing
    assert str(error).startswith("a worker died, which broke the executor, while configs [")
    assert f"{len(error.missing)} of 12 networks are missing. pass a function that returns an executor" in str(error)
    done = [index for index, model in enumerate(error.models) if model is not None]
    assert sorted(done + error.missing) == list(range(12))
    check([error.models[index] for index in done], [configs[index] for index in done])
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.missing, len(copy.models)) == (str(error), error.missing, 12)


def test_a_function_that_makes_pools_replaces_one_that_breaks(tmp_path):
    made = []

    def make():
        made.append(ProcessPoolExecutor(1, spawn))
        return made[-1]

    configs = [
        {**config, "callbacks": KillOnce(tmp_path)} if index == 7 else config for index, config in enumerate(CONFIGS)
    ]
    models = fastmlp.train_many(configs, X, LABELS, executor=make, **COMMON)
    check(models)
    assert len(made) == 2
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        made[1].submit(print)


class Inline(ThreadPoolExecutor):
    """Runs tasks in order in one thread, each as in a process of its own, of which there are `n_processes`."""

    def __init__(self, n_processes):
        super().__init__(1)
        self._max_workers, self.workers, self.turn = n_processes, [{} for _ in range(n_processes)], 0
        self.loads, self.sizes = [], []

    def submit(self, function, number, key, payload, configs):
        self.sizes.append(len(configs))
        future = Future()
        future.set_running_or_notify_cancel()
        data = self.workers[self.turn % len(self.workers)]
        if payload is not None and key not in data:
            self.loads.append(self.turn % len(self.workers))
        self.turn += 1
        worker._data.clear()
        worker._data.update(data)
        future.set_result(function(number, key, payload, configs))
        data.update(worker._data)
        return future


def test_each_worker_gets_the_data_once(dispatchers):
    executor = Inline(4)
    check(fastmlp.train_many(CONFIGS * 3, X, LABELS, executor=executor, **COMMON), CONFIGS * 3)
    assert sorted(executor.loads) == sorted(set(executor.loads))
    assert dispatchers[0].n_data <= 8  # one that finds a worker that has them already is for nothing
    worker._data.clear()


def test_short_training_runs_are_grouped_into_tasks(monkeypatch):
    result = worker.run_task

    def timed(*arguments):
        found = result(*arguments)
        return found if isinstance(found, worker.NeedData) else found._replace(seconds=0.1 * len(found.outcomes))

    monkeypatch.setattr(remote, "run_task", timed)
    executor = Inline(2)
    check(
        fastmlp.train_many(CONFIGS * 20, X, LABELS, executor=executor, hidden=(), epochs=1),
        CONFIGS * 20,
        {"hidden": (), "epochs": 1},
    )
    assert max(executor.sizes) == 5  # 0.5 s
    assert executor.sizes[-1] == 1  # at the end, nobody waits for a long task
    assert len(executor.sizes) < 90
    worker._data.clear()


def test_no_executor_is_made_for_an_iterator_that_is_never_started():
    made = []
    networks = fastmlp.iter_many(CONFIGS, X, LABELS, executor=lambda: made.append(1), **COMMON)
    networks.close()
    assert made == []


def test_a_worker_keeps_the_data_sets_that_it_used_last():
    payloads = {
        key: pickle.dumps(worker.Payload(X[:n], LABELS[:n], None, COMMON))
        for key, n in (("a", 50), ("b", 60), ("c", 70))
    }

    def has(key):
        return not isinstance(worker.run_task(0, key, None, []), worker.NeedData)

    worker._data.clear()
    for key in ("a", "b"):
        worker.run_task(0, key, payloads[key], [])
    assert has("a")
    worker.run_task(0, "c", payloads["c"], [])
    assert [has(key) for key in "abc"] == [True, False, True]
    worker._data.clear()


def test_ctrl_c_cancels_what_waits():
    executor = ThreadPoolExecutor(1)
    begun, end, others = threading.Event(), threading.Event(), []

    def wait(model):
        begun.set()
        end.wait(60)

    configs = [{"callbacks": wait}, *({"callbacks": others.append} for _ in range(5))]
    networks = fastmlp.iter_many(configs, X, LABELS, executor=executor, **COMMON)
    killer = threading.Thread(target=lambda: (begun.wait(60), os.kill(os.getpid(), signal.SIGINT)))
    killer.start()
    with pytest.raises(KeyboardInterrupt):
        next(networks)
    end.set()
    killer.join()
    executor.shutdown(wait=True)
    assert others == []
    worker._data.clear()


def test_a_worker_that_gets_ctrl_c_too_ends_its_task():
    def interrupt(model):
        raise KeyboardInterrupt

    payload = pickle.dumps(worker.Payload(X, LABELS, None, COMMON))
    configs = [(0, {"seed": 0}), (1, {"callbacks": interrupt}), (2, {"seed": 2})]
    result = worker.run_task(0, "key", payload, configs)
    assert [(index, type(outcome)) for index, outcome in result.outcomes] == [(0, fastmlp.MLP), (1, KeyboardInterrupt)]
    with pytest.raises(KeyboardInterrupt):
        fastmlp.train_many([config for _, config in configs], X, LABELS, executor=Inline(1), **COMMON)
    worker._data.clear()


@pytest.mark.parametrize(
    ("executor", "match"),
    [
        (3, "or a function that returns one, got 3"),
        (lambda: 3, "executor must be a concurrent.futures.Executor, got 3"),
    ],
)
def test_other_objects_are_no_executors(executor, match):
    with pytest.raises(TypeError, match=match):
        fastmlp.train_many(CONFIGS, X, LABELS, executor=executor)


def test_an_executor_has_its_own_number_of_workers():
    with pytest.raises(ValueError, match="threads must be None with an executor, which has workers of its own, got 2"):
        fastmlp.train_many(CONFIGS, X, LABELS, executor=ThreadPoolExecutor(1), threads=2)


@pytest.mark.filterwarnings("ignore")  # of Dask, in its own threads and at its end
def test_dask_trains_all_networks_though_a_worker_is_killed(tmp_path):
    distributed = import_or_skip("distributed")
    configs = [
        {**config, "callbacks": KillOnce(tmp_path)} if index == 7 else config for index, config in enumerate(CONFIGS)
    ]
    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with distributed.LocalCluster(**settings) as cluster, distributed.Client(cluster) as client:
        check(fastmlp.train_many(configs, X, LABELS, executor=client, **COMMON))
        assert (tmp_path / "killed").exists()
        check(fastmlp.train_many(CONFIGS[:3], X, LABELS, executor=client.get_executor(), **COMMON), CONFIGS[:3])


MPI = """
import sys
import numpy as np
from mpi4py.futures import MPIPoolExecutor
import fastmlp

if __name__ == "__main__":
    x, y = np.load(sys.argv[1]), np.load(sys.argv[2])
    with MPIPoolExecutor() as executor:
        configs = [{"seed": seed} for seed in range(12)]
        models = fastmlp.train_many(configs, x, y, executor=executor, hidden=(6,), epochs=2, batch_size=32)
    np.save(sys.argv[3], np.stack([model._parameters.buffer for model in models]))
"""


def test_mpi_trains_the_networks_that_are_trained_alone(tmp_path):
    import_or_skip("mpi4py")
    mpiexec = Path(sys.executable).with_name("mpiexec")
    if not mpiexec.exists():
        pytest.skip("there is no mpiexec beside Python")
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", LABELS)
    (tmp_path / "script.py").write_text(MPI)
    files = [str(tmp_path / name) for name in ("x.npy", "y.npy", "out.npy")]
    options = ["--allow-run-as-root", "--oversubscribe", "-n", "4"]
    command = [str(mpiexec), *options, sys.executable, "-m", "mpi4py.futures", str(tmp_path / "script.py"), *files]
    subprocess.run(command, check=True, timeout=300)
    buffers = np.load(tmp_path / "out.npy")
    for seed, buffer in enumerate(buffers):
        model = fastmlp.train(X, LABELS, seed=seed, threads=1, progress=False, **COMMON)
        assert buffer.tobytes() == bits(model)
