"""What checkpoints know of the training run that they belong to."""

import functools
import inspect
import json
import tracemalloc

import numpy as np
import pytest
import scipy.sparse

import fastmlp
from fastmlp.io import safetensors as files
from fastmlp.training.identity import IRRELEVANT, describe

RNG = np.random.default_rng(0)
X = RNG.standard_normal((120, 6)).astype(np.float32)
Y = RNG.integers(0, 3, 120)
WEIGHTS = RNG.random(120) + 0.5
START = [(RNG.standard_normal((6, 4)), np.zeros(4)), (RNG.standard_normal((4, 3)), np.zeros(3))]
FIXED = {"hidden": (4,), "seed": 0, "epochs": 2}


def changed(array, index=77):
    array = np.array(array)
    array[index] += 1
    return array


def moved(start):
    return [(start[0][0], start[0][1] + 1), start[1]]


# For every argument of train() that its result depends on, two values that differ.
DIFFERENT = {
    "x": (X, changed(X)), "y": (Y, (changed(Y) % 3)), "hidden": ((4,), (4, 4)), "activation": ("relu", "tanh"),
    "loss": ("cross_entropy", "softmax_mse"), "optimizer": (fastmlp.SGD(0.9), fastmlp.SGD(0.8)),
    "learning_rate": (fastmlp.Cosine(0.1), fastmlp.Cosine(0.1, 0.01)), "batch_size": (16, 32),
    "shuffle": (True, "replacement"), "validation": ((X, Y), (X, changed(Y) % 3)),
    "init": (START, moved(START)), "input_scale": (np.ones(6), changed(np.ones(6), 5)), "seed": (1, 2),
    "dropout": (0.1, 0.2), "input_dropout": (0.1, 0.2), "l1": (0, 1e-3), "l2": (0, 1e-3), "clip_norm": (None, 0.1),
    "max_norm": (None, 1.0), "label_smoothing": (0, 0.1), "delta": (1, 2), "sample_weight": (WEIGHTS, changed(WEIGHTS)),
    "class_weight": ({0: 2.0}, {1: 2.0}), "classes": ([0, 1, 2], [0, 1, 2, 3]), "metrics": ((), "top_2"),
    "shuffle_buffer": (50, 60), "missing": ("indicator", "error"), "max_levels": (10, 20),
    "weight_rate_factors": ("ntk", (1, 2)), "bias_rate_factor": (0.5, 1), "scale_rate_factor": (None, 6),
    "average_every": (1, 2), "samples": (np.arange(20), np.arange(1, 21)), "ema_decay": (0, 0.9),
}  # fmt: skip
# More pairs, of other kinds.
MORE = [
    ("validation", np.float32(0.2), np.float32(0.3)),
    ("validation", 0.2, None),
    ("validation", np.arange(9), np.arange(8)),
    ("validation", (X, Y, WEIGHTS), (X, Y, changed(WEIGHTS))),
    ("validation", (X, Y), (changed(X), Y)),
    ("sample_weight", WEIGHTS, None),
    ("class_weight", "balanced", None),
    ("learning_rate", lambda step: 0.1 / (1 + step), lambda step: 0.2 / (1 + step)),
    ("learning_rate", functools.partial(pow, 0.9), functools.partial(pow, 0.8)),
    ("learning_rate", fastmlp.Warmup(fastmlp.Step(0.1, 3)), fastmlp.Warmup(fastmlp.Step(0.1, 2))),
    ("init", fastmlp.train(X, Y, hidden=(4,), seed=0, epochs=1), fastmlp.train(X, Y, hidden=(4,), seed=1, epochs=1)),
    ("x", scipy.sparse.csr_matrix(X), scipy.sparse.csr_matrix(changed(X))),
]
# Pairs that are the same.
SAME = [
    ("sample_weight", WEIGHTS, WEIGHTS.tolist()),
    ("hidden", 4, [np.int64(4)]),
    ("dropout", 0.1, [0.1]),
    ("validation", (X, Y), [np.asfortranarray(X), Y.astype(np.int16)]),
    ("validation", 0.25, np.float32(0.25)),
    ("learning_rate", None, 0.1),
    ("loss", None, "cross_entropy"),
    ("x", X, np.asfortranarray(X)),
    ("y", Y, Y.astype(np.int16)),
    ("sparse", "auto", False),
    ("threads", 1, None),
    ("callbacks", (), lambda model: None),
]


def test_every_argument_of_train_is_known_to_matter_or_not_to():
    arguments = set(inspect.signature(fastmlp.train).parameters)
    assert set(DIFFERENT) | IRRELEVANT == arguments
    assert not set(DIFFERENT) & IRRELEVANT


@pytest.mark.parametrize(("name", "here", "there"), [*((n, *pair) for n, pair in DIFFERENT.items()), *MORE])
def test_a_run_is_not_resumed_with_another_argument(name, here, there, tmp_path):
    def run(value):
        arguments = {"x": X, "y": Y, **FIXED, name: value}
        return fastmlp.train(arguments.pop("x"), arguments.pop("y"), checkpoint=tmp_path, **arguments)

    run(here)
    with pytest.raises(ValueError, match=f"holds a training with another {name}:"):
        run(there)
    run(here)


@pytest.mark.parametrize(("name", "here", "there"), SAME)
def test_a_run_is_resumed_with_the_same_argument_in_another_form(name, here, there, tmp_path):
    epochs = []
    for value in (here, there):
        arguments = {"x": X, "y": Y, **FIXED, name: value}
        x, y = arguments.pop("x"), arguments.pop("y")
        arguments["callbacks"] = [lambda model: epochs.append(model.history["epoch"][-1])]
        fastmlp.train(x, y, checkpoint=tmp_path, **arguments)
    assert epochs == [1, 2]


def test_checkpoints_of_earlier_versions_are_refused(tmp_path):
    fastmlp.train(X, Y, checkpoint=tmp_path, **FIXED)
    for path in tmp_path.iterdir():
        model, metadata, tensors = files.read(path)
        header = json.loads(metadata["training"])
        header["identity"]["identitx"] = header["identity"].pop("x")
        files.write(model, path, {"training": json.dumps(header)}, tensors)
    with pytest.raises(ValueError, match="written by another version of fastmlp"):
        fastmlp.train(X, Y, checkpoint=tmp_path, **FIXED)


def test_sparse_data_are_not_made_dense(tmp_path):
    x = scipy.sparse.random(2000, 50_000, 1e-5, "csr", np.float32, random_state=0)
    y = np.arange(2000) % 2
    tracemalloc.start()
    try:
        fastmlp.train(x, y, hidden=(), epochs=1, batch_size=100, checkpoint=tmp_path, seed=0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1e8  # a thousand rows of zeros would take 2e8
    describe(x)


def test_descriptions_are_json_and_tell_kinds_apart():
    values = [
        None, True, 1, 1.5, "a", b"a", np.int8(3), np.array([1, 2]), np.array([1.0, 2.0]), np.array(["a", "bc"]),
        np.array([b"a"]), np.array(["a", None], object), list(range(30)), ["a"] * 30, {"a": 1}, {1: "a"}, [[1], [2, 3]],
        np.array([[1, 2]]), np.array([[1], [2]]), np.array(7), abs, len, np.sin, fastmlp.Adam(), fastmlp.AdamW(),
    ]  # fmt: skip
    described = [json.dumps(describe(value)) for value in values]
    assert len(set(described)) == len(values)
    assert [json.dumps(describe(value)) for value in values] == described
    assert describe(np.array(["a", "bc"], "U9")) == describe(np.array(["a", "bc"]))
    assert describe(np.arange(3, dtype=">i4")) == describe(np.arange(3))
