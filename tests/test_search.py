"""`fastmlp.search`: what is tried, how it is judged, and how it resumes."""

import json
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats

import fastmlp
from fastmlp.data.order import split
from fastmlp.many.search import draw, rungs

RNG = np.random.default_rng(0)
X = RNG.standard_normal((200, 5)).astype(np.float32)
LABELS = (X[:, 0] + X[:, 1] > 0).astype(int)
VALUES = X[:, :2] ** 2
SPACE = {
    "hidden": [(4,), (16,), (8, 8)],
    "learning_rate": scipy.stats.loguniform(1e-3, 1),
    "batch_size": lambda rng: int(rng.integers(10, 50)),
    "optimizer": ["sgd", fastmlp.SGD(momentum=0.9)],
}
VALIDATION = np.arange(0, 200, 4)
SETTINGS = {"validation": VALIDATION, "seed": 7}


def without_seconds(trials):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in trials]


def alone(trial, epochs=10, **more):
    config = {**draw(SPACE, 7, trial), **more, "seed": 7 + trial, "epochs": epochs}
    return fastmlp.train(X, LABELS, validation=VALIDATION, threads=1, progress=False, **config)


def test_every_trial_is_a_training_run_of_its_own():
    result = fastmlp.search(X, LABELS, SPACE, 8, threads=2, dropout=0.1, keep=3, **SETTINGS)
    models = {trial: alone(trial, dropout=0.1) for trial in range(8)}
    losses = {trial: model.evaluate(X[VALIDATION], LABELS[VALIDATION]).loss for trial, model in models.items()}
    assert [row["trial"] for row in result.trials] == sorted(losses, key=losses.get)
    for row in result.trials:
        model = models[row["trial"]]
        assert row["validation_loss"] == pytest.approx(losses[row["trial"]], rel=1e-6)
        assert row["score"] == -row["validation_loss"]
        assert row["validation_accuracy"] == model.evaluate(X[VALIDATION], LABELS[VALIDATION]).accuracy
        assert tuple(row["hidden"]) == model.widths[1:-1]
        assert row["epochs"] == 10
    kept = [models[row["trial"]]._parameters.buffer.tobytes() for row in result.trials[:3]]
    assert [model._parameters.buffer.tobytes() for model in result.models] == kept
    assert result.best_model is result.models[0]
    again = fastmlp.train(X, LABELS, validation=VALIDATION, dropout=0.1, progress=False, **result.best_config)
    assert again._parameters.buffer.tobytes() == kept[0]


@pytest.mark.parametrize("metric", ["loss", "accuracy"])
@pytest.mark.parametrize("validation", [0.25, VALIDATION, "data"])
def test_sample_weights_count_in_scores(metric, validation):
    weights = RNG.random(200) * 10 * LABELS
    weights[::7] = 1
    held_out = X[VALIDATION], LABELS[VALIDATION], weights[VALIDATION]
    if isinstance(validation, str):
        validation = held_out
    result = fastmlp.search(
        X, LABELS, SPACE, 3, metric=metric, validation=validation, epochs=2, seed=7, sample_weight=weights
    )
    if isinstance(validation, float):
        rows = split(200, validation, np.random.default_rng(7))[1]
        held_out = X[rows], LABELS[rows], weights[rows]
    for row, model in zip(result.trials, result.models):
        want = model.evaluate(*held_out)
        assert (row["validation_loss"], row["validation_accuracy"]) == pytest.approx(tuple(want), rel=1e-6)
        assert row["score"] == pytest.approx(-want.loss if metric == "loss" else want.accuracy, rel=1e-6)
        assert row["validation_loss"] != pytest.approx(model.evaluate(*held_out[:2]).loss, rel=1e-3)


def test_more_budget_adds_trials():
    few, many = (fastmlp.search(X, LABELS, SPACE, n, epochs=1, **SETTINGS) for n in (3, 6))
    found = {row["trial"]: row for row in without_seconds(many.trials)}
    assert all(found[row["trial"]] == row for row in without_seconds(few.trials))


def test_all_of_the_space_is_drawn():
    drawn = [draw(SPACE, 0, k) for k in range(300)]
    assert {config["hidden"] for config in drawn} == {(4,), (16,), (8, 8)}
    rates = np.log10([config["learning_rate"] for config in drawn])
    assert scipy.stats.kstest((rates + 3) / 3, "uniform").pvalue > 1e-4
    assert type(drawn[0]["learning_rate"]) is float
    assert len({id(config["optimizer"]) for config in drawn}) == 2


@pytest.mark.parametrize(
    ("arguments", "want"),
    [
        (("random", 27, 27, 3), [(27, 27)]),
        (("halving", 27, 27, 3), [(27, 1), (9, 3), (3, 9), (1, 27)]),
        (("halving", 10, 100, 3), [(10, 11), (3, 33), (1, 100)]),
        (("halving", 100, 5, 2), [(100, 1), (50, 2), (25, 5)]),
        (("halving", 1, 5, 2), [(1, 5)]),
    ],
)
def test_rungs_have_about_the_same_number_of_epochs(arguments, want):
    assert list(rungs(*arguments)) == want


def test_halving_trains_the_best_ones_longer():
    result = fastmlp.search(X, LABELS, SPACE, 9, strategy="halving", epochs=9, threads=2, **SETTINGS)
    by_epochs = {epochs: [row for row in result.trials if row["epochs"] == epochs] for epochs in (1, 3, 9)}
    assert [len(rows) for rows in by_epochs.values()] == [9, 3, 1]
    for epochs, n in ((1, 3), (3, 1)):
        best = [row["trial"] for row in by_epochs[epochs][:n]]
        assert sorted(row["trial"] for row in by_epochs[3 * epochs]) == sorted(best)
    last = by_epochs[9][0]
    loss = alone(last["trial"], 9).evaluate(X[VALIDATION], LABELS[VALIDATION]).loss
    assert last["validation_loss"] == pytest.approx(loss, rel=1e-6)


def test_a_search_resumes_from_its_folder(tmp_path):
    whole = fastmlp.search(X, LABELS, SPACE, 7, epochs=3, **SETTINGS)
    trained = []

    def interrupt(model):
        trained.append(1)
        if len(trained) == 10:
            raise KeyboardInterrupt

    settings = {"epochs": 3, "folder": tmp_path / "a" / "b", "keep": 2, **SETTINGS}
    with pytest.raises(KeyboardInterrupt):
        fastmlp.search(X, LABELS, SPACE, 7, threads=1, callbacks=[interrupt], **settings)
    trials = settings["folder"] / "trials.jsonl"
    assert len(trials.read_text().splitlines()) == 3  # the fourth was interrupted
    with open(trials, "a") as file:
        file.write('{"trial": 3, "epo')  # as of a crash
    count = len(trained)
    result = fastmlp.search(X, LABELS, SPACE, 7, callbacks=[trained.append], **settings)
    assert len(trained) - count == 3 * 4
    assert without_seconds(result.trials) == json.loads(json.dumps(without_seconds(whole.trials)))
    assert len(list(settings["folder"].glob("*.safetensors"))) == len(result.models) == 2
    best = [model._parameters.buffer.tobytes() for model in whole.models[:2]]
    assert [model._parameters.buffer.tobytes() for model in result.models] == best
    # complete: nothing is trained again; with more budget, only what is new
    count = len(trained)
    again = fastmlp.search(X, LABELS, SPACE, 8, callbacks=[trained.append], **settings)
    assert len(trained) - count == 3
    assert len(again.trials) == 8
    for line in trials.read_text().splitlines():
        assert "trial" in line


def best_of(*arguments, **settings):
    """Return the result of a search, once its models are known to be those of the first rows."""
    result = fastmlp.search(X, LABELS, SPACE, *arguments, epochs=2, **settings, **SETTINGS)
    for row, model in zip(result.trials, result.models):
        assert model._parameters.buffer.tobytes() == alone(row["trial"], 2)._parameters.buffer.tobytes()
    return result


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"no model")])
def test_a_model_whose_file_is_damaged_is_trained_again(tmp_path, damage):
    first = best_of(5, folder=tmp_path, keep=3)
    damage(tmp_path / f"trial-{first.trials[0]['trial']:05d}-epochs-2.safetensors")
    again = best_of(5, folder=tmp_path, keep=3)
    assert len(again.models) == 3
    assert without_seconds(again.trials) == json.loads(json.dumps(without_seconds(first.trials)))


def test_a_search_may_resume_with_other_numbers_of_models_and_trials(tmp_path):
    whole = best_of(6, folder=tmp_path, keep=1)
    assert len(best_of(6, folder=tmp_path, keep=4).models) == 4
    assert len(best_of(6, folder=tmp_path, keep=2).models) == 2
    best = whole.trials[0]["trial"]
    budget = best or 5  # without the best one, if it is not the first
    fewer = best_of(budget, folder=tmp_path, keep=6)
    assert len(fewer.trials) == len(fewer.models) == budget
    assert best_of(6, folder=tmp_path, keep=1).best_score == whole.best_score


def test_a_damaged_description_says_so(tmp_path):
    (tmp_path / "search.json").write_text("{")
    (tmp_path / "trials.jsonl").write_bytes(b"\xff\x00\n")
    with pytest.raises(ValueError, match=r"search.json' is damaged; take another folder, or remove this one"):
        best_of(1, folder=tmp_path)


def test_another_search_is_refused(tmp_path):
    fastmlp.search(X, LABELS, SPACE, 1, epochs=1, folder=tmp_path, **SETTINGS)
    for changed, match in (
        ({"x": X + 1}, "another x"),
        ({"space": {**SPACE, "learning_rate": scipy.stats.loguniform(1e-3, 2)}}, "another space"),
        ({"metric": "accuracy"}, "another metric"),
        ({"seed": 8}, "another seed"),
        ({"dropout": 0.1}, "another settings"),
    ):
        arguments = {"x": X, "y": LABELS, "space": SPACE, "budget": 1, "epochs": 1, **SETTINGS, **changed}
        with pytest.raises(ValueError, match=f"holds a search with {match}"):
            fastmlp.search(folder=tmp_path, **arguments)
    # in another process, functions and distributions are known again
    code = f"import sys; sys.path.insert(0, {str(__file__.rpartition('/')[0])!r}); import test_search as t, fastmlp\n"
    code += f"fastmlp.search(t.X, t.LABELS, t.SPACE, 1, epochs=1, folder={str(tmp_path)!r}, **t.SETTINGS)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_networks_that_diverge_come_last():
    space = {"learning_rate": [0.01, 1e30], "hidden": [(4,)]}
    result = fastmlp.search(X, VALUES, space, 8, epochs=2, **SETTINGS)
    errors = [row["error"] for row in result.trials]
    first = errors.index("the loss or a weight became NaN or infinite in epoch 1, at learning rate 1e+30")
    assert errors[:first] == [None] * first
    assert 0 < first < 8
    assert {row["learning_rate"] for row in result.trials[first:]} == {1e30}
    assert result.trials[0]["validation_accuracy"] is None
    assert len(result.models) == first
    lost = fastmlp.search(X, VALUES, {"learning_rate": [1e30]}, 2, epochs=1, **SETTINGS)
    with pytest.raises(ValueError, match="all 2 training runs diverged"):
        _ = lost.best_model
    pytest.importorskip("matplotlib")
    with pytest.raises(ValueError, match="no scores to plot, as all 2 training runs diverged"):
        lost.plot()


def test_metrics_may_be_functions_and_validation_other_data():
    def most_zeros(y, probabilities):
        assert probabilities.shape == (30, 2)
        return probabilities[:, 0].mean()

    result = fastmlp.search(X, LABELS, SPACE, 4, epochs=1, metric=most_zeros, validation=(X[:30], LABELS[:30]), seed=7)
    scores = [row["score"] for row in result.trials]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(result.best_model.predict_proba(X[:30])[:, 0].mean(), rel=1e-6)
    accuracy = fastmlp.search(X, LABELS, SPACE, 4, epochs=1, metric="accuracy", validation=0.3)
    assert all(row["score"] == row["validation_accuracy"] for row in accuracy.trials)


def test_the_table_as_a_frame_and_the_plot():
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("matplotlib")
    result = fastmlp.search(X, LABELS, SPACE, 6, strategy="halving", epochs=3, **SETTINGS)
    frame = result.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["trial"]) == [row["trial"] for row in result.trials]
    assert {"hidden", "learning_rate", "score", "epochs", "seed"} <= set(frame.columns)
    figure = result.plot()
    assert [axes.get_xlabel() for axes in figure.axes] == list(SPACE)
    for axes in figure.axes:
        offsets = axes.collections[0].get_offsets()
        np.testing.assert_allclose(sorted(offsets[:, 1]), sorted(row["score"] for row in result.trials))
    rates = figure.axes[1].collections[0].get_offsets()[:, 0]
    np.testing.assert_allclose(sorted(rates), sorted(row["learning_rate"] for row in result.trials))
    figure.canvas.draw()


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"space": {}}, TypeError, "space must be a dict of settings"),
        ({"space": {"rate": [1]}}, TypeError, "must be those of fastmlp.train, got 'rate'"),
        ({"space": {"epochs": [1]}}, ValueError, "must not hold 'epochs', which search chooses itself"),
        ({"space": {"dropout": 0.1}}, TypeError, r"space\['dropout'\] must be a list of choices"),
        ({"space": {"dropout": []}}, TypeError, r"space\['dropout'\] must be a list of choices"),
        ({"space": {"dropout": [2]}}, ValueError, r"configs\[0\]: dropout must be"),
        ({"budget": 0}, ValueError, "budget must be an integer >= 1, got 0"),
        ({"factor": 1}, ValueError, "factor must be an integer >= 2, got 1"),
        ({"strategy": "grid"}, ValueError, "strategy must be one of 'random', 'halving'"),
        ({"metric": "auc"}, ValueError, "metric must be one of 'loss', 'accuracy'"),
        ({"validation": 1.5}, ValueError, "validation must be in"),
        ({"validation": np.array([200])}, ValueError, "validation must be >= 0 and < 200, the number of samples"),
        ({"y": VALUES, "metric": "accuracy"}, ValueError, "metric must be 'loss' or a function for a regression"),
        ({"validation": (X, LABELS, LABELS, X)}, TypeError, r"\(x, y, sample_weight\), got a tuple of 4$"),
        ({"space": {"sample_weight": [LABELS]}}, ValueError, "space must not hold 'sample_weight', by which"),
        ({"validation": None}, TypeError, "validation must be a fraction, an array of indices, "),
        ({"threads": 1, "samples": [1]}, ValueError, "must not hold 'samples'"),
    ],
)
def test_wrong_arguments_are_refused(arguments, error, match):
    with pytest.raises(error, match=match):
        fastmlp.search(**{"x": X, "y": LABELS, "space": SPACE, "budget": 1, "epochs": 1, **arguments})
