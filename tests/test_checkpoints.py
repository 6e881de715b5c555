import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from mutations import join

import fastmlp

RNG = np.random.default_rng(0)
X = RNG.standard_normal((300, 12)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 1)
COURSES = {
    "sgd": {},
    "nesterov, held out": {"optimizer": fastmlp.SGD(0.9, nesterov=True), "validation": 0.2},
    "adam, dropout": {"optimizer": "adam", "dropout": 0.3, "learning_rate": fastmlp.Cosine(0.01)},
    "adagrad": {"optimizer": fastmlp.Adagrad(lr_decay=0.01)},
    "clipping": {"optimizer": "rmsprop", "clip_norm": 0.1, "shuffle": "replacement"},
    "function": {"learning_rate": lambda step: 0.1 / (1 + step)},
}
FIXED = {"hidden": (16, 9), "batch_size": 32, "seed": 1}


class Halving:
    """A schedule of a user's own, whose repr has its address."""

    def rate(self, epoch, epochs):
        return 0.1 * 0.5**epoch


class Crash(Exception):
    pass


def crash_after(n):
    """A callback that fails once the n-th epoch is over and saved: as the next one ends."""

    def callback(model):
        if len(model.history["epoch"]) > n:
            raise Crash

    return callback


def same(a, b):
    assert all(np.array_equal(p, q) for p, q in zip(a.weights + a.biases, b.weights + b.biases))
    assert a.history.keys() == b.history.keys()
    for name in a.history.keys() - {"seconds"}:
        np.testing.assert_array_equal(a.history[name], b.history[name], err_msg=name)


def train(epochs=5, **arguments):
    return fastmlp.train(X, Y, **{**FIXED, "epochs": epochs, **arguments})


def test_a_schedule_without_a_repr_of_its_own_is_known_again(tmp_path):
    with pytest.raises(Crash):
        train(learning_rate=Halving(), checkpoint=tmp_path, callbacks=crash_after(2))
    same(train(learning_rate=Halving(), checkpoint=tmp_path), train(learning_rate=Halving()))


@pytest.mark.parametrize("course", COURSES)
@pytest.mark.parametrize("epochs", [1, 3])
def test_a_training_that_is_resumed_gives_the_same_bits(course, epochs, tmp_path):
    arguments = COURSES[course]
    whole = train(**arguments)
    with pytest.raises(Crash):
        train(checkpoint=tmp_path / "run", callbacks=crash_after(epochs), **arguments)
    seen = []
    resumed = train(checkpoint=tmp_path / "run", callbacks=lambda model: seen.append(len(seen)), **arguments)
    assert len(seen) == 5 - epochs
    same(resumed, whole)


def test_callbacks_and_plateaus_go_on_too(tmp_path):
    def make():
        plateau = fastmlp.Warmup(fastmlp.ReduceOnPlateau(0.5, 0.5, patience=1, metric="train_loss", threshold=0.2), 2)
        log = fastmlp.callbacks.CSVLog(tmp_path / "log.csv")
        stop = fastmlp.callbacks.EarlyStopping("train_loss", patience=2, min_delta=0.05)
        return {"learning_rate": plateau, "callbacks": [stop, fastmlp.callbacks.TimeBudget(600), log], "epochs": 40}

    whole = train(**make())
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert 8 < len(whole.history["epoch"]) < 40
    assert len(set(whole.history["learning_rate"])) > 3
    for n in (2, 5, 7):
        arguments = make()
        arguments["callbacks"].append(crash_after(n))
        with pytest.raises(Crash):
            train(checkpoint=tmp_path / "run", **arguments)
    same(train(checkpoint=tmp_path / "run", **make()), whole)
    without_seconds = [[row.split(",")[0], row.split(",")[2:]] for row in lines]
    now = (tmp_path / "log.csv").read_text().splitlines()
    assert [[row.split(",")[0], row.split(",")[2:]] for row in now] == without_seconds
    again = train(checkpoint=tmp_path / "run", **make())  # it has come to its end: nothing is trained
    same(again, whole)


def test_a_finished_training_can_be_lengthened(tmp_path):
    train(epochs=2, checkpoint=tmp_path)
    same(train(epochs=5, checkpoint=tmp_path), train(epochs=5))


def test_without_a_seed_the_one_that_was_drawn_goes_on(tmp_path):
    with pytest.raises(Crash):
        train(seed=None, dropout=0.5, validation=0.3, checkpoint=tmp_path, callbacks=crash_after(2))
    first = fastmlp.load(max(tmp_path.iterdir()))
    model = train(seed=None, dropout=0.5, validation=0.3, checkpoint=tmp_path)
    assert model.history["validation_loss"][:2] == first.history["validation_loss"]


def test_the_last_two_are_kept_and_are_models(tmp_path):
    model = train(checkpoint=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-000004.safetensors", "epoch-000005.safetensors"]
    loaded = fastmlp.load(tmp_path / "epoch-000005.safetensors")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"\xff" * 99])
def test_a_damaged_one_gives_way_to_the_one_before(damage, tmp_path):
    with pytest.raises(Crash):
        train(checkpoint=tmp_path, callbacks=crash_after(3))
    newest = tmp_path / "epoch-000003.safetensors"
    newest.write_bytes(damage(newest.read_bytes()))
    same(train(checkpoint=tmp_path), train())


@pytest.mark.parametrize("identity", [float("inf"), 3, "x", [1]])
def test_one_whose_identity_is_no_dictionary_gives_way_too(identity, tmp_path):
    def damage(data):
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])
        del header["__metadata__"]["crc32"]
        training = json.loads(header["__metadata__"]["training"])
        header["__metadata__"]["training"] = json.dumps({**training, "identity": identity})
        return join(json.dumps(header).encode(), data[8 + size :])

    test_a_damaged_one_gives_way_to_the_one_before(damage, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"batch_size": 16}, "another batch_size: 32 there, 16 here"),
        ({"hidden": (5,)}, "another hidden"),
        ({"optimizer": "adam"}, "another optimizer"),
        ({"seed": 2}, "another seed"),
        ({"dropout": 0.1}, "another dropout"),
        ({"learning_rate": 0.3}, "another learning_rate"),
        ({"validation": 0.1}, "another validation"),
    ],
)
def test_another_training_in_the_folder_is_refused(arguments, match, tmp_path):
    train(epochs=1, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=match):
        train(checkpoint=tmp_path, **arguments)


def test_other_data_are_refused(tmp_path):
    train(epochs=1, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="another x"):
        fastmlp.train(X + 1, Y, **FIXED, epochs=2, checkpoint=tmp_path)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(ValueError, match="checkpoint must be the path of a folder"):
        train(checkpoint=tmp_path / "run")


KILLED = """
import sys, numpy as np, fastmlp
rng = np.random.default_rng(0)
x = rng.standard_normal((4000, 50)).astype(np.float32)
y = (x[:, 0] > 0).astype(int)
print("ready", flush=True)
model = fastmlp.train(x, y, hidden=(32,), epochs=400, seed=5, optimizer="adam", dropout=0.2, checkpoint=sys.argv[1])
np.save(sys.argv[2], model._parameters.buffer)
"""


@pytest.mark.skipif(os.name != "posix", reason="sends SIGKILL")
def test_a_process_that_is_killed_at_any_moment_goes_on(tmp_path):
    rng = np.random.default_rng(0)

    def start(folder, result):
        command = [sys.executable, "-c", KILLED, str(tmp_path / folder), str(tmp_path / result)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        with process.stdout as output:
            assert output.readline() == "ready\n"
        return process

    assert start("whole", "whole.npy").wait(120) == 0
    kills = 0
    for _ in range(10):
        process = start("killed", "killed.npy")
        time.sleep(rng.uniform(0.1, 0.5))
        process.send_signal(signal.SIGKILL)
        kills += process.wait(60) != 0
        if (tmp_path / "killed.npy").exists():
            break
    if not (tmp_path / "killed.npy").exists():
        assert start("killed", "killed.npy").wait(120) == 0
    assert kills > 1
    np.testing.assert_array_equal(np.load(tmp_path / "killed.npy"), np.load(tmp_path / "whole.npy"))
