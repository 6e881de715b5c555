"""`Ensemble`: averaged predictions, how members are made and chosen, and their files."""

import json

import numpy as np
import pytest
from helpers import import_or_skip
from safetensors import safe_open
from safetensors.numpy import save_file

import fastmlp
from fastmlp.many.members import folds_of

RNG = np.random.default_rng(0)
N = 400
X = RNG.standard_normal((N, 6)).astype(np.float32)
SUMS = X @ RNG.standard_normal((6, 3)) + RNG.standard_normal((N, 3))
LABELS = np.array(["a", "b", "c"])[SUMS.argmax(axis=1)]
SEVERAL = (SUMS > 0).astype(np.int64)
COUNTS = RNG.poisson(np.exp(SUMS[:, :2] / 3)).astype(np.float64)
COMMON = {"hidden": (8,), "epochs": 4, "batch_size": 32}
TARGETS = {
    "cross_entropy": LABELS,
    "softmax_mse": LABELS,
    "notebook": LABELS,
    "binary_cross_entropy": SEVERAL,
    "mse": SUMS,
    "mae": SUMS,
    "huber": SUMS,
    "poisson": COUNTS,
}
CONFIGS = [{"seed": 0}, {"seed": 1, "hidden": (4, 4), "input_scale": "robust"}, {"seed": 2, "input_scale": 0.5}]


@pytest.fixture(scope="module")
def ensembles():
    """One of each loss, with weights."""
    return {
        loss: fastmlp.Ensemble(
            fastmlp.train_many(CONFIGS, X, y, loss=loss, learning_rate=0.02, **COMMON), weights=[1, 2, 1]
        )
        for loss, y in TARGETS.items()
    }


def averages_of(ensemble, x):
    outputs = [m.predict_proba(x) if m.has_accuracy else m.predict(x) for m in ensemble.models]
    return np.average(np.array(outputs, np.float64), axis=0, weights=[1, 2, 1])


@pytest.mark.parametrize("loss", TARGETS)
def test_predictions_are_averaged(loss, ensembles):
    ensemble = ensembles[loss]
    want = averages_of(ensemble, X)
    if ensemble.has_accuracy:
        np.testing.assert_allclose(ensemble.predict_proba(X), want, rtol=1e-6)
        predicted = (
            (want > 0.5).astype(int) if loss == "binary_cross_entropy" else ensemble.classes[want.argmax(axis=1)]
        )
        np.testing.assert_array_equal(ensemble.predict(X), predicted)
    else:
        np.testing.assert_allclose(ensemble.predict(X), want, rtol=1e-6, atol=1e-7)
        with pytest.raises(ValueError, match="predict_proba needs classifiers"):
            ensemble.predict_proba(X)


def loss_by_hand(loss, averages, y, delta=1.0):
    """The mean loss of averaged predictions, from its definition."""
    if loss in ("cross_entropy", "softmax_mse", "notebook"):
        hot = (y[:, None] == np.array(["a", "b", "c"])).astype(float)
        if loss == "cross_entropy":
            return -np.log((averages * hot).sum(axis=1)).mean()
        return ((averages - hot) ** 2).sum(axis=1).mean()
    if loss == "binary_cross_entropy":
        return -(y * np.log(averages) + (1 - y) * np.log(1 - averages)).mean()
    error = np.abs(averages - y)
    return {
        "mse": lambda: (error**2).mean(),
        "mae": lambda: error.mean(),
        "huber": lambda: np.where(error < delta, error**2 / 2, delta * (error - delta / 2)).mean(),
        "poisson": lambda: (averages - y * np.log(averages)).mean(),
    }[loss]()


@pytest.mark.parametrize("loss", TARGETS)
def test_the_loss_is_that_of_the_averages(loss, ensembles):
    y = TARGETS[loss]
    metrics = ensembles[loss].evaluate(X, y)
    np.testing.assert_allclose(metrics.loss, loss_by_hand(loss, averages_of(ensembles[loss], X), y), rtol=1e-5)
    if ensembles[loss].has_accuracy:
        assert metrics.accuracy == pytest.approx(np.mean(ensembles[loss].predict(X) == y), abs=1e-6)
    else:
        assert np.isnan(metrics.accuracy)


def test_an_average_is_better_than_its_members():
    ensemble = fastmlp.Ensemble.of_seeds(X[:200], LABELS[:200], 8, seed=3, **COMMON)
    assert [bits(model) for model in ensemble.models[:2]] == [
        bits(fastmlp.train(X[:200], LABELS[:200], seed=seed, progress=False, **COMMON)) for seed in (3, 4)
    ]
    mean = np.mean([model.evaluate(X[200:], LABELS[200:]).loss for model in ensemble.models])
    assert ensemble.evaluate(X[200:], LABELS[200:]).loss < mean  # as the logarithm is concave


def bits(model):
    return model._parameters.buffer.tobytes()


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize("validate", [False, True])
def test_bagging_trains_on_all_folds_but_one_and_predicts_that(loss, validate):
    y = TARGETS[loss]
    ensemble = fastmlp.Ensemble.bag(X, y, 4, n_repeats=2, validate=validate, seed=5, threads=2, **COMMON)
    codes = np.searchsorted(["a", "b", "c"], LABELS) if loss == "cross_entropy" else np.zeros(0)
    folds = folds_of(N, codes, 4, 2, np.random.default_rng(5))
    assert len(ensemble) == len(folds) == 8
    want = np.zeros((N, 3))
    for k, (fold, model) in enumerate(zip(folds, ensemble.models)):
        rest = np.setdiff1d(np.arange(N), fold)
        validation = (X[fold], y[fold]) if validate else None
        alone = fastmlp.train(X[rest], y[rest], seed=5 + k, validation=validation, progress=False, **COMMON)
        assert bits(alone) == bits(model)
        assert np.isnan(model.history["validation_loss"][-1]) != validate
        want[fold] += alone.predict_proba(X[fold]) if loss == "cross_entropy" else alone.predict(X[fold])
    np.testing.assert_allclose(ensemble.out_of_fold, want / 2, rtol=1e-6)


def test_folds_hold_every_sample_once_and_their_fraction_of_each_class():
    codes = np.repeat([0, 1, 2], [50, 10, 7])
    folds = folds_of(67, codes, 5, 3, np.random.default_rng(0))
    assert len(folds) == 15
    for first in (0, 5, 10):
        np.testing.assert_array_equal(np.sort(np.concatenate(folds[first : first + 5])), np.arange(67))
    counts = np.array([np.bincount(codes[fold], minlength=3) for fold in folds])
    assert (np.abs(counts - np.array([10, 2, 1.4])) <= 1).all()
    assert not np.array_equal(folds[0], folds[5])


def test_bagging_takes_frames():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"number": X[:, 0], "text": np.where(X[:, 1] > 0, "u", "v")})
    ensemble = fastmlp.Ensemble.bag(frame, LABELS, 3, **COMMON)
    assert ensemble.out_of_fold.shape == (N, 3)
    assert ensemble.predict(frame).shape == (N,)
    np.testing.assert_allclose(ensemble.out_of_fold.sum(axis=1), 1, rtol=1e-5)


def test_selection_is_greedy_with_replacement_and_weighs_by_counts():
    configs = [{"seed": seed, "epochs": epochs} for seed, epochs in enumerate((1, 2, 30, 30, 30, 5))]
    models = fastmlp.train_many(configs, X[:200], LABELS[:200], hidden=(8,), batch_size=32)
    x, y = X[200:], LABELS[200:]
    ensemble = fastmlp.Ensemble.select(models, x, y, 7)
    # the same, from the definition
    outputs = [model.predict_proba(x).astype(np.float64) for model in models]
    chosen, best = [], (np.inf, [])
    for _ in range(7):
        losses = [
            loss_by_hand("cross_entropy", np.mean([outputs[j] for j in [*chosen, k]], axis=0), y) for k in range(6)
        ]
        chosen.append(int(np.argmin(losses)))
        best = min(best, (min(losses), chosen.copy()))
    counts = np.bincount(best[1], minlength=6)
    assert [models.index(model) for model in ensemble.models] == np.flatnonzero(counts).tolist()
    np.testing.assert_allclose(ensemble.model_weights, counts[counts > 0] / counts.sum())
    assert ensemble.evaluate(x, y).loss <= min(model.evaluate(x, y).loss for model in models) + 1e-6

    one = fastmlp.Ensemble.select(models, x, y, 1, metric=lambda y, p: p[:, 0].mean())
    assert one.models == [models[int(np.argmax([output[:, 0].mean() for output in outputs]))]]
    most = fastmlp.Ensemble.select(models, x, y, 1, metric="accuracy")
    assert most.evaluate(x, y).accuracy == max(model.evaluate(x, y).accuracy for model in models)


@pytest.mark.parametrize("loss", TARGETS)
def test_a_file_holds_the_whole_ensemble(loss, ensembles, tmp_path):
    ensemble = ensembles[loss]
    ensemble.save(tmp_path / "ensemble.safetensors")
    again = fastmlp.load(tmp_path / "ensemble.safetensors")
    assert isinstance(again, fastmlp.Ensemble)
    np.testing.assert_array_equal(again.model_weights, ensemble.model_weights)
    np.testing.assert_array_equal(again.predict(X), ensemble.predict(X))
    assert again.evaluate(X, TARGETS[loss]) == pytest.approx(ensemble.evaluate(X, TARGETS[loss]), nan_ok=True, abs=0)
    for one, other in zip(again.models, ensemble.models):
        assert bits(one) == bits(other)
        assert one.history["train_loss"] == other.history["train_loss"]


def test_damaged_files_raise_value_errors(ensembles, tmp_path):
    path = tmp_path / "ensemble"
    ensembles["mse"].save(path)
    with safe_open(path, "numpy") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    header = json.loads(metadata["fastmlp.ensemble"])
    for changed, match in (
        ({"weights": [1, 2]}, "one number for each of 3 models"),
        ({"weights": [1, -2, 3]}, "weights must be finite"),
        ({"weights": "abc"}, "could not convert"),
        ({"models": []}, "at least one"),
        ({"models": header["models"][:2]}, "unknown tensors"),
        ({"models": [*header["models"], header["models"][0]]}, "tensor layers.0.weight must be float32"),
        ({"models": [*header["models"][:2], {**header["models"][2], "loss": "mae"}]}, "the same loss"),
        ({"format": 2, "version": "9"}, "it has format 2, of fastmlp 9"),
    ):
        save_file(tensors, path, {"fastmlp.ensemble": json.dumps({**header, **changed})})
        with pytest.raises(ValueError, match=rf"(?s)ensemble is not a fastmlp ensemble .*{match}"):
            fastmlp.load(path)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("loss", TARGETS)
def test_onnxruntime_computes_the_same(loss, dtype, ensembles, tmp_path):
    runtime = import_or_skip("onnxruntime")
    import_or_skip("onnx")
    ensemble, x = ensembles[loss], X
    if dtype == "uint8":
        x = RNG.integers(0, 4, (50, 6)).astype(np.uint8)
        if loss == "poisson":
            pytest.skip("the exponential of these numbers is too large to compare")
    ensemble.to_onnx(tmp_path / "ensemble.onnx", dtype)
    session = runtime.InferenceSession(tmp_path / "ensemble.onnx")
    names = [output.name for output in session.get_outputs()]
    got = dict(zip(names, session.run(names, {"x": x})))
    if not ensemble.has_accuracy:
        np.testing.assert_allclose(got["prediction"], ensemble.predict(x), rtol=1e-5, atol=1e-5)
        return
    probabilities = ensemble.predict_proba(x)
    np.testing.assert_allclose(got["probabilities"], probabilities, rtol=0, atol=1e-5)
    near = np.sort(np.abs(probabilities - 0.5), axis=1)[:, 0] < 1e-5  # may go either way
    if loss != "binary_cross_entropy":
        top = np.sort(probabilities, axis=1)
        near = top[:, -1] - top[:, -2] < 1e-5
    np.testing.assert_array_equal(got["label"][~near], ensemble.predict(x)[~near])


def test_onnx_of_frames(tmp_path):
    runtime, pandas = import_or_skip("onnxruntime"), pytest.importorskip("pandas")
    import_or_skip("onnx")
    frame = pandas.DataFrame({"number": X[:, 0].astype(float), "text": np.where(X[:, 1] > 0, "u", "v")})
    ensemble = fastmlp.Ensemble.bag(frame, LABELS, 3, **COMMON)
    ensemble.to_onnx(tmp_path / "e.onnx")
    session = runtime.InferenceSession(tmp_path / "e.onnx")
    inputs = {"number": frame[["number"]].to_numpy(), "text": frame[["text"]].to_numpy().astype(str)}
    got = session.run(["probabilities"], inputs)[0]
    np.testing.assert_allclose(got, ensemble.predict_proba(frame), rtol=0, atol=1e-5)


def test_a_score_that_is_nan_is_never_chosen():
    models = fastmlp.train_many([{"seed": seed} for seed in range(3)], X, LABELS, hidden=(4,), epochs=1)
    second = models[1].predict_proba(X)

    def metric(y, predictions):
        return float("nan") if np.array_equal(predictions, second) else predictions[:, 0].mean()

    ensemble = fastmlp.Ensemble.select(models, X, LABELS, 1, metric=metric)
    best = max((models[0], models[2]), key=lambda model: model.predict_proba(X)[:, 0].mean())
    assert ensemble.models == [best]


def train(**settings):
    x, y = settings.pop("x", X), settings.pop("y", LABELS)
    return fastmlp.train(x, y, epochs=1, hidden=(3,), progress=False, **settings)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: fastmlp.Ensemble([]), ValueError, "models must hold at least one MLP, got none"),
        (lambda: fastmlp.Ensemble(train()), TypeError, "models must be a sequence of fastmlp.MLP, got <fastmlp.MLP 6-"),
        (
            lambda: fastmlp.Ensemble.select([train(y=SUMS)], X, SUMS, metric="accuracy"),
            ValueError,
            "metric must be 'loss' or a function for a regression, got 'accuracy' for 'mse'",
        ),
        (lambda: fastmlp.Ensemble([3]), TypeError, "models must hold fastmlp.MLP, got 3"),
        (
            lambda: fastmlp.Ensemble([train(), train(y=SUMS)]),
            ValueError,
            "same loss, got 'cross_entropy' in models.0. and",
        ),
        (lambda: fastmlp.Ensemble([train(), train(y=LABELS == "a")]), ValueError, "same classes"),
        (lambda: fastmlp.Ensemble([train(), train(x=X[:, 1:])]), ValueError, "same number of features, got 6 in"),
        (lambda: fastmlp.Ensemble([train(y=SUMS), train(y=COUNTS)]), ValueError, "same number of outputs"),
        (lambda: fastmlp.Ensemble([train()], [1, 2]), ValueError, "weights must have one number for each of 1 models"),
        (lambda: fastmlp.Ensemble([train()], ["a"]), TypeError, "weights must hold numbers"),
        (lambda: fastmlp.Ensemble([train()], [0]), ValueError, "weights must be finite and >= 0, and not all 0"),
        (lambda: fastmlp.Ensemble([train()] * 2, [1e308] * 2), ValueError, "not all 0, with a finite sum, got array"),
        (lambda: fastmlp.Ensemble([train()] * 2, [np.inf, 1]), ValueError, "weights must be finite and >= 0"),
        (lambda: fastmlp.Ensemble.bag(X, LABELS, 1), ValueError, "n_folds must be an integer >= 2, got 1"),
        (lambda: fastmlp.Ensemble.bag(X, LABELS, N + 1), ValueError, "n_folds must be an integer <= 400"),
        (lambda: fastmlp.Ensemble.bag(X, LABELS, samples=[1]), ValueError, "must not be given 'samples'"),
        (lambda: fastmlp.Ensemble.of_seeds(X, LABELS, 0), ValueError, "n_members must be an integer >= 1, got 0"),
        (lambda: fastmlp.Ensemble.select([], X, LABELS), ValueError, "at least one MLP"),
        (lambda: fastmlp.Ensemble.select([train()], X, LABELS, metric="auc"), ValueError, "metric must be one of"),
    ],
)
def test_wrong_calls_are_refused(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_commands_take_ensembles(ensembles, tmp_path, capsys):
    from fastmlp.cli import main

    path, data = str(tmp_path / "e.safetensors"), str(tmp_path / "data.npz")
    ensembles["cross_entropy"].save(path)
    np.savez(data, x=X, y=LABELS)
    main(["evaluate", path, data])
    assert "<fastmlp.Ensemble of 3 networks" in capsys.readouterr().out
    main(["predict", path, data])
    assert len(capsys.readouterr().out.splitlines()) == N + 1
    assert main(["report", path, data, "-o", str(tmp_path / "report.html")]) != 0
    assert "holds an ensemble of 3 networks; this command needs a single one" in capsys.readouterr().err
