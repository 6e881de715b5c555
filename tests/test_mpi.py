"""One network trained by processes of mpiexec: the same as `test_ranks.py`, over a real communicator."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import import_or_skip

import fastmlp

import_or_skip("mpi4py")  # not mpi4py.MPI, which would start MPI in this process
MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
pytestmark = pytest.mark.skipif(MPIEXEC is None, reason="there is no mpiexec")

TRAIN = """
import os, signal, sys
import numpy as np, fastmlp
from mpi4py import MPI
rng = np.random.default_rng(0)
x, comm = rng.standard_normal((93, 12)).astype(np.float32), MPI.COMM_WORLD
y = (x[:, 0] > 0).astype(int)
arguments = {"hidden": (20,), "batch_size": 20, "seed": 0, "optimizer": fastmlp.SGD(0.9), "learning_rate": 0.02}
"""
SAME = f"""{TRAIN}
for every in (1, 2):
    model = fastmlp.train(x, y, communicator=comm, epochs=2, average_every=every, **arguments)
    everywhere = comm.allgather(model._parameters.buffer.tobytes())
    assert len(set(everywhere)) == 1, "the ranks have different models"
    if comm.Get_rank() == 0:
        model.save(sys.argv[every])
"""
FAILS = f"""{TRAIN}
from fastmlp.engine.executor import Executor
train = Executor.train_packed
def fail(self, *arguments):
    if self.n_updates > 7:
        {{action}}
    return train(self, *arguments)
if comm.Get_rank() == 1:
    Executor.train_packed = fail
fastmlp.train(x, y, communicator=comm, epochs=10**6, **arguments)
"""


def mpiexec(n_ranks, *command):
    """The finished run of Python's command on so many ranks."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("OMPI_", "PMIX_", "PRTE_"))}
    root = ["--allow-run-as-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    return subprocess.run(
        [MPIEXEC, *root, "--oversubscribe", "-n", str(n_ranks), sys.executable, *map(str, command)],
        capture_output=True, text=True, timeout=300, env={**own, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.parametrize("n_ranks", [2, 4])
def test_processes_train_one_network(n_ranks, tmp_path):
    paths = tmp_path / "every", tmp_path / "second"
    run = mpiexec(n_ranks, "-c", SAME, *paths)
    assert run.returncode == 0, run.stderr
    scope = {}
    exec(TRAIN.replace("from mpi4py import MPI", "").replace(", MPI.COMM_WORLD", ", None"), scope)
    want = fastmlp.train(scope["x"], scope["y"], epochs=2, **scope["arguments"])
    exact, averaged = (fastmlp.load(path) for path in paths)
    np.testing.assert_allclose(exact.weights[0], want.weights[0], atol=1e-6)
    assert 1e-6 < np.abs(averaged.weights[0] - want.weights[0]).max() < 0.1


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("raise MemoryError('no room')", "RankError: rank 1 of 2 failed, which ends all: MemoryError: no room"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "signal 9"),
    ],
    ids=["raises", "is killed"],
)
def test_a_rank_that_fails_ends_all(action, message):
    run = mpiexec(2, "-c", FAILS.replace("{action}", action))
    assert run.returncode != 0
    assert message in run.stderr.replace("\n", " ")


def test_the_command_trains_one_network_and_reports_once(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x=rng.standard_normal((120, 6)), y=rng.integers(0, 2, 120))
    command = ["-m", "fastmlp", "train", tmp_path / "data.npz", "--epochs", "2", "--hidden", "8"]
    run = mpiexec(2, *command, "--save", tmp_path / "two", "--csv-log", tmp_path / "log.csv")
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("saved to") == run.stdout.count("training took") == 1
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3
    alone = subprocess.run([sys.executable, *map(str, command), "--save", tmp_path / "one"], capture_output=True)
    assert alone.returncode == 0
    one, two = (fastmlp.load(tmp_path / name) for name in ("one", "two"))
    np.testing.assert_allclose(two.weights[0], one.weights[0], atol=1e-6)
