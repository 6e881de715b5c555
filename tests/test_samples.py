"""`samples` and `validation` as indices: training on some rows of the data, which are not copied."""

import numpy as np
import pytest
import scipy.sparse

import fastmlp

RNG = np.random.default_rng(0)
X = RNG.standard_normal((300, 7)).astype(np.float32)
LABELS = RNG.integers(0, 3, 300)
BYTES = RNG.integers(0, 256, (300, 30)).astype(np.uint8) * (RNG.random((300, 30)) < 0.2)
SAMPLES = RNG.permutation(300)[:200]
SETTINGS = {"hidden": (9,), "batch_size": 32, "epochs": 3, "seed": 1, "progress": False}


def same(one, other):
    """Whether two models have bitwise the same parameters and the same history, but for the time that it took."""
    histories = [{k: np.asarray(v) for k, v in model.history.items() if k != "seconds"} for model in (one, other)]
    np.testing.assert_equal(*histories)
    return one._parameters.buffer.tobytes() == other._parameters.buffer.tobytes()


@pytest.mark.parametrize("shuffle", [True, False, "replacement"])
@pytest.mark.parametrize("x", [X, BYTES, scipy.sparse.csr_matrix(BYTES.astype(np.float32))], ids=["x", "u8", "csr"])
def test_training_on_some_samples_is_training_on_a_copy_of_them(x, shuffle):
    settings = {**SETTINGS, "shuffle": shuffle}
    some = fastmlp.train(x, LABELS, samples=SAMPLES, **settings)
    assert same(some, fastmlp.train(x[SAMPLES], LABELS[SAMPLES], **settings))


@pytest.mark.parametrize("scale", ["standardize", "robust"])
@pytest.mark.parametrize("weighted", [False, True])
def test_what_is_learnt_from_the_samples_is_learnt_from_these(scale, weighted):
    settings = {**SETTINGS, "input_scale": scale, "class_weight": "balanced", "metrics": ["top_2"]}
    weights = RNG.random(300) if weighted else None
    some = fastmlp.train(X, LABELS, samples=SAMPLES, sample_weight=weights, **settings)
    part = None if weights is None else weights[SAMPLES]
    whole = fastmlp.train(X[SAMPLES], LABELS[SAMPLES], sample_weight=part, **settings)
    np.testing.assert_allclose(some.weights[0], whole.weights[0], rtol=0, atol=1e-5)
    assert some.input_scale.offset.tobytes() == whole.input_scale.offset.tobytes()
    assert some.history["train_top_2"] == whole.history["train_top_2"]


def test_a_sample_may_occur_several_times():
    twice = np.repeat(np.arange(50), 2)
    assert same(fastmlp.train(X, LABELS, samples=twice, **SETTINGS), fastmlp.train(X[twice], LABELS[twice], **SETTINGS))


def test_a_fraction_is_held_out_of_the_samples():
    some = fastmlp.train(X, LABELS, samples=SAMPLES, validation=0.25, **SETTINGS)
    assert same(some, fastmlp.train(X[SAMPLES], LABELS[SAMPLES], validation=0.25, **SETTINGS))


def test_held_out_samples_are_not_trained_on():
    held_out = np.arange(0, 300, 3)
    rest = np.setdiff1d(np.arange(300), held_out)
    validation = (X[held_out], LABELS[held_out])
    want = fastmlp.train(X[rest], LABELS[rest], validation=validation, **SETTINGS)
    assert same(fastmlp.train(X, LABELS, validation=held_out, **SETTINGS), want)
    assert same(fastmlp.train(X, LABELS, samples=rest, validation=held_out, **SETTINGS), want)


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"samples": [0, 300]}, ValueError, "samples must be >= 0 and < 300, the number of samples, got 0 to 300"),
        ({"samples": [-1]}, ValueError, "samples must be >= 0 and < 300"),
        ({"samples": []}, TypeError, "samples must hold integers"),
        ({"samples": [0.5]}, TypeError, "samples must hold integers"),
        ({"samples": np.ones(300, bool)}, TypeError, "samples must hold integers, the indices"),
        ({"samples": [[1]]}, ValueError, "samples must have one dimension"),
        ({"validation": np.array([300])}, ValueError, "validation must be >= 0 and < 300"),
        ({"validation": np.arange(300)}, ValueError, "validation must leave samples to train on, got all 300 indices"),
        ({"validation": np.array([0.5])}, TypeError, "an array of indices or a fraction like 0.1, got ndarray"),
    ],
)
def test_wrong_indices_are_refused(settings, error, match):
    with pytest.raises(error, match=match):
        fastmlp.train(X, LABELS, **SETTINGS, **settings)


def test_samples_need_data_in_memory(tmp_path):
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(ValueError, match="samples needs x in memory"):
        fastmlp.train(np.load(tmp_path / "x.npy", "r"), LABELS, samples=[0, 1], shuffle_buffer=20, **SETTINGS)
