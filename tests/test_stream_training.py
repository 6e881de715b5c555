"""Training on data that are larger than memory, as `fastmlp.train` does it; how they are read is in test_streams."""

import numpy as np
import pytest

import fastmlp

RNG = np.random.default_rng(0)
X = RNG.standard_normal((1000, 12)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 1)
FIXED = {"hidden": (16,), "batch_size": 32, "seed": 1, "epochs": 3}


def memmap(path, array):
    """The array in a file, mapped."""
    mapped = np.memmap(path, array.dtype, "w+", shape=array.shape)
    mapped[:] = array
    mapped.flush()
    return np.memmap(path, array.dtype, "r", shape=array.shape)


@pytest.fixture
def mapped(tmp_path):
    return memmap(tmp_path / "x.bin", X)


def shards(folder, array, sizes):
    folder.mkdir()
    for i, part in enumerate(np.split(array, np.cumsum(sizes)[:-1])):
        np.save(folder / f"part-{i:03d}.npy", part)
    return folder


def same(a, b):
    return all(np.array_equal(p, q) for p, q in zip(a.weights + a.biases, b.weights + b.biases))


@pytest.mark.parametrize("buffer", [None, 1000, 100, 33, 5])
def test_in_file_order_the_steps_are_those_of_an_array(mapped, buffer):
    arguments = {**FIXED, "shuffle": False, "optimizer": "adam", "dropout": 0.2}
    want, got = fastmlp.train(X, Y, **arguments), fastmlp.train(mapped, Y, shuffle_buffer=buffer, **arguments)
    assert same(want, got)
    for name in want.history.keys() - {"seconds"}:
        np.testing.assert_allclose(got.history[name], want.history[name], rtol=1e-12)


@pytest.mark.parametrize("sizes", [[1000], [1, 499, 500], [300, 300, 300, 100]])
def test_folders_of_files_are_as_good(tmp_path, mapped, sizes):
    x, y = shards(tmp_path / "x", X, sizes), shards(tmp_path / "y", Y, [600, 400])
    arguments = {**FIXED, "shuffle_buffer": 200}
    want = fastmlp.train(mapped, Y, **arguments)
    assert same(want, fastmlp.train(x, y, **arguments))
    assert same(want, fastmlp.train(str(x), Y, **arguments))
    assert not same(want, fastmlp.train(x, y, **{**arguments, "seed": 2}))


def test_shuffled_training_learns_and_depends_on_nothing_but_the_seed(mapped):
    arguments = {**FIXED, "epochs": 20, "shuffle_buffer": 150, "sample_weight": RNG.random(1000) + 0.5}
    first, second = (fastmlp.train(mapped, Y, threads=n, validation=(X, Y), **arguments) for n in (1, 2))
    assert same(first, second)
    assert first.history["validation_accuracy"][-1] > 0.9
    assert first.history["train_loss"][-1] < first.history["train_loss"][0]


@pytest.mark.parametrize("kind", [np.uint8, np.float64, np.int32])
def test_kinds_of_numbers(tmp_path, kind):
    x = (RNG.integers(0, 255, (300, 50)) * (RNG.random((300, 50)) < 0.2)).astype(kind)
    y = RNG.integers(0, 3, 300)
    mapped = memmap(tmp_path / "x", x)
    arguments = {**FIXED, "shuffle": False, "input_scale": 1 / 255}
    assert same(fastmlp.train(x, y, **arguments), fastmlp.train(mapped, y, shuffle_buffer=64, **arguments))


@pytest.mark.parametrize("loss", ["mse", "binary_cross_entropy"])
def test_targets_of_several_outputs(mapped, loss):
    y = X[:, :3] if loss == "mse" else (X[:, :3] > 0).astype(int)
    arguments = {**FIXED, "shuffle": False, "loss": loss}
    assert same(fastmlp.train(X, y, **arguments), fastmlp.train(mapped, y, shuffle_buffer=100, **arguments))


def test_standardizing_goes_through_the_data_once(mapped):
    arguments = {**FIXED, "shuffle": False, "input_scale": "standardize"}
    want, got = fastmlp.train(X, Y, **arguments), fastmlp.train(mapped, Y, shuffle_buffer=100, **arguments)
    np.testing.assert_allclose(got.input_scale.factor, want.input_scale.factor, rtol=1e-6)
    np.testing.assert_allclose(got.predict_proba(X), want.predict_proba(X), atol=1e-5)


def test_resuming_gives_the_same_bits(mapped, tmp_path):
    class Crash(Exception):
        pass

    def crash(model):
        if len(model.history["epoch"]) == 3:
            raise Crash

    arguments = {**FIXED, "epochs": 5, "shuffle_buffer": 200}
    with pytest.raises(Crash):
        fastmlp.train(mapped, Y, checkpoint=tmp_path / "run", callbacks=crash, **arguments)
    resumed = fastmlp.train(mapped, Y, checkpoint=tmp_path / "run", **arguments)
    assert same(resumed, fastmlp.train(mapped, Y, **arguments))


def test_divergence_keeps_the_weights_from_before_the_epoch(mapped):
    start = fastmlp.train(X, Y, **FIXED)
    with pytest.raises(fastmlp.DivergenceError) as caught:
        fastmlp.train(mapped, 1e3 * X, hidden=(16,), epochs=1, learning_rate=1e20, loss="mse", shuffle_buffer=64, init=[
            (start.weights[0], start.biases[0]), (np.ones((16, 12)), np.zeros(12)),
        ])  # fmt: skip
    np.testing.assert_array_equal(caught.value.model.weights[0], start.weights[0])


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"validation": 0.1}, "validation, as a fraction, needs x in memory"),
        ({"metrics": ["top_2"]}, "metrics need the training set in memory"),
        ({"shuffle": "replacement"}, "shuffle must be one of True, False"),
    ],
)
def test_what_needs_all_data_in_memory_is_refused(mapped, arguments, match):
    with pytest.raises(ValueError, match=match):
        fastmlp.train(mapped, Y, **{**FIXED, "shuffle_buffer": 999, **arguments})
    fastmlp.train(mapped, Y, **{**FIXED, **arguments})  # a small one is read as a whole


def test_bad_values_are_found_while_reading(tmp_path):
    x = X.copy()
    x[777, 3] = np.nan
    with pytest.raises(ValueError, match=r"x must be finite.*row 777"):
        fastmlp.train(memmap(tmp_path / "x", x), Y, shuffle_buffer=100, **FIXED)


def test_mapped_arrays_are_evaluated_and_predicted(mapped):
    model = fastmlp.train(X, Y, **FIXED)
    np.testing.assert_array_equal(model.predict(mapped), model.predict(X))
    assert model.evaluate(mapped, Y) == model.evaluate(X, Y)
