"""SIGKILL at random moments, and full disks: the newest file always loads, and training goes on to the same bits.

FASTMLP_KILLS=50 kills so often.
"""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import fastmlp

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends SIGKILL")

KILLS = int(os.environ.get("FASTMLP_KILLS", "4"))

# Writing takes longer than training here, so that most kills come in the middle of it.
DATA = """
import sys, numpy as np, fastmlp
rng = np.random.default_rng(0)
x = rng.standard_normal((256, 300)).astype(np.float32)
y = (x[:, 0] > 0).astype(int)
arguments = {"hidden": (500, 300), "seed": 5, "optimizer": "adam", "dropout": 0.2, "batch_size": 64, "threads": 1}
"""

TRAIN = f"""{DATA}
epochs = int(sys.argv[2])
print("ready", flush=True)
model = fastmlp.train(x, y, epochs=epochs, checkpoint=sys.argv[1] or None, **arguments)
print(len(model.history["epoch"]))
model.save(sys.argv[3])
"""

SAVE = f"""{DATA}
models = [fastmlp.train(x, y, epochs=n, **arguments) for n in (1, 2)]
for name, model in zip("ab", models):
    model.save(sys.argv[1] + name)
models[0].save(sys.argv[1])
print("ready", flush=True)
while True:
    for model in models:
        model.save(sys.argv[1])
"""

# What is written beyond this many bytes raises OSError, as on a full disk.
FULL = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"


def start(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def finish(process):
    out, error = process.communicate(timeout=600)
    assert process.returncode == 0, error
    return out


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def moments():
    return random.Random(None if "FASTMLP_KILLS" in os.environ else 0)


def newest(folder):
    found = sorted(folder.glob("epoch-*.safetensors")) if folder.exists() else []
    return found[-1] if found else None


def same(a, b):
    assert all(p.tobytes() == q.tobytes() for p, q in zip(a.weights + a.biases, b.weights + b.biases))


def test_training_that_is_killed_at_any_moment_goes_on_to_the_same_bits(tmp_path):
    epochs, rng, folder = 10 * KILLS, moments(), tmp_path / "run"
    finish(start(TRAIN, "", epochs, tmp_path / "whole"))
    kills, reached = 0, 0
    for _ in range(KILLS):
        process = start(TRAIN, folder, epochs, tmp_path / "killed")
        if rng.random() < 0.5:  # in the middle of writing
            end = time.monotonic() + 20
            while not list(folder.glob(".fastmlp-*")) and process.poll() is None and time.monotonic() < end:
                pass
        else:
            end = time.monotonic() + 20
            while newest(folder) is None and process.poll() is None and time.monotonic() < end:
                time.sleep(0.01)  # a busy machine may take long to begin
            time.sleep(rng.uniform(0, 0.4))
        kills += kill(process)
        for part in folder.glob(".fastmlp-*"):
            part.unlink()
        if newest(folder) is not None:
            epoch = fastmlp.load(newest(folder)).history["epoch"][-1]
            assert epoch >= reached
            reached = epoch
    assert kills > KILLS // 2
    assert 0 < reached < epochs
    assert finish(start(TRAIN, folder, epochs, tmp_path / "killed")) == f"{epochs}\n"
    same(fastmlp.load(tmp_path / "killed"), fastmlp.load(tmp_path / "whole"))


def test_a_model_is_whole_whenever_its_writer_is_killed(tmp_path):
    rng, path = moments(), tmp_path / "model"
    for _ in range(KILLS):
        process = start(SAVE, path)
        time.sleep(rng.uniform(0, 0.2))
        assert kill(process)
        model, *both = (fastmlp.load(name) for name in (path, tmp_path / "modela", tmp_path / "modelb"))
        same(model, both[len(model.history["epoch"]) - 1])


def test_a_full_disk_leaves_the_files_from_before(tmp_path):
    folder = tmp_path / "run"
    finish(start(TRAIN, "", 4, tmp_path / "whole"))
    finish(start(TRAIN, folder, 2, tmp_path / "model"))
    before = {path: path.read_bytes() for path in [*folder.iterdir(), tmp_path / "model"]}
    process = start(FULL + TRAIN, folder, 4, tmp_path / "model")
    _, error = process.communicate(timeout=600)
    assert process.returncode == 1
    assert "OSError: [Errno 27] File too large" in error
    assert {path: path.read_bytes() for path in [*folder.iterdir(), tmp_path / "model"]} == before
    finish(start(TRAIN, folder, 4, tmp_path / "model"))
    same(fastmlp.load(tmp_path / "model"), fastmlp.load(tmp_path / "whole"))


def test_saving_to_a_full_disk_leaves_the_model_from_before(tmp_path):
    path = tmp_path / "model"
    rng = np.random.default_rng(0)
    fastmlp.train(rng.random((20, 3)), np.arange(20) % 2, epochs=1).save(path)
    before = path.read_bytes()
    process = start(FULL + TRAIN, "", 1, path)
    _, error = process.communicate(timeout=600)
    assert "OSError: [Errno 27] File too large" in error
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model"]
