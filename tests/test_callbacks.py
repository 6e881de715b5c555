import csv
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import Script

import fastmlp
from fastmlp.callbacks import Checkpoint, CSVLog, EarlyStopping, RestoreBest, TimeBudget

RNG = np.random.default_rng(0)
X = RNG.standard_normal((120, 6)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)
OPTIONS = {"hidden": (8,), "batch_size": 16, "seed": 0, "validation": (X[:40], RNG.integers(0, 2, 40))}


@pytest.mark.parametrize(
    ("metric", "values", "min_delta", "epochs", "best"),
    [
        ("validation_loss", [3, 2, 2, 2.5, 2, 1], 0, 5, 2),
        ("validation_loss", [3, 2, 1.9, 1.8, 1.9, 1], 0.5, 5, 2),
        ("validation_loss", [3, 2, 2, 1, 2, 2, 2, 9], 0, 7, 4),
        ("validation_accuracy", [0.1, 0.5, 0.4, 0.5, 0.2, 0.9], 0, 5, 2),
        ("train_loss", [6, 5, 4, 3, 2, 1], 0, 6, 6),
    ],
)
def test_early_stopping_waits_and_goes_back_to_the_best(metric, values, min_delta, epochs, best):
    stopping = EarlyStopping(metric, patience=2, min_delta=min_delta)
    model = fastmlp.train(X, Y, epochs=len(values), callbacks=[Script(metric, values), stopping], **OPTIONS)
    assert (len(model.history["epoch"]), stopping.best_epoch) == (epochs, best)
    weights = []
    fastmlp.train(X, Y, epochs=len(values), callbacks=lambda m: weights.append(m.weights[0].copy()), **OPTIONS)
    np.testing.assert_array_equal(model.weights[0], weights[best - 1])
    stopping = EarlyStopping(metric, patience=2, min_delta=min_delta, restore_best=False)
    model = fastmlp.train(X, Y, epochs=len(values), callbacks=[Script(metric, values), stopping], **OPTIONS)
    np.testing.assert_array_equal(model.weights[0], weights[epochs - 1])


@pytest.mark.parametrize(
    ("metric", "values", "ties", "best"),
    [
        ("validation_loss", [3, 1, 2, 1, 2, 2], "first", 2),
        ("validation_loss", [3, 1, 2, 1, 2, 2], "last", 4),
        ("validation_accuracy", [0.1, 0.5, 0.4, 0.5, 0.2, 0.3], "last", 4),
        ("train_accuracy", [0.1, 0.5, 0.4, 0.6, 0.2, 0.9], "last", 6),
    ],
)
def test_the_weights_of_the_best_epoch_are_restored_without_stopping(metric, values, ties, best, tmp_path):
    weights, options = [], {**OPTIONS, "epochs": len(values)}
    keep = RestoreBest(metric, ties=ties)
    model = fastmlp.train(X, Y, callbacks=[Script(metric, values), keep], **options)
    assert (len(model.history["epoch"]), keep.best_epoch) == (len(values), best)
    fastmlp.train(X, Y, callbacks=lambda m: weights.append(m.weights[0].copy()), **options)
    np.testing.assert_array_equal(model.weights[0], weights[best - 1])
    for epochs in (3, len(values)):  # resumed after three
        keep = RestoreBest(metric, ties=ties)
        callbacks = [Script(metric, values), keep]
        resumed = fastmlp.train(X, Y, callbacks=callbacks, checkpoint=tmp_path, **{**options, "epochs": epochs})
    assert keep.best_epoch == best
    np.testing.assert_array_equal(resumed.weights[0], model.weights[0])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: EarlyStopping(patience=-1), ValueError, "patience must be"),
        (lambda: EarlyStopping(min_delta=-1), ValueError, "min_delta must be"),
        (lambda: EarlyStopping(min_delta="a"), TypeError, "min_delta must be"),
        (lambda: EarlyStopping(None), TypeError, "metric must be the name of a recorded metric, got None"),
        (lambda: RestoreBest(ties="both"), ValueError, "ties must be one of 'first', 'last', got 'both'"),
        (lambda: fastmlp.train(X, Y, callbacks=[RestoreBest("f1")]), ValueError, "metric must be one of epoch"),
        (lambda: TimeBudget(0), ValueError, "seconds must be"),
        (lambda: fastmlp.train(X, Y, callbacks=[EarlyStopping("f1")]), ValueError, "metric must be one of epoch"),
        (lambda: fastmlp.train(X, Y, callbacks=[EarlyStopping()]), ValueError, "'validation_loss' has no value"),
        (lambda: fastmlp.train(X, Y, callbacks=[Checkpoint("x", best="f1")]), ValueError, "best must be one of epoch"),
    ],
)
def test_bad_settings_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_time_budget_ends_training_after_the_epoch_in_which_it_is_spent(monkeypatch):
    clock = iter([10.0, 10.4, 10.8, 11.2, 11.6, 12.0])
    with monkeypatch.context() as patch:
        patch.setattr("fastmlp.callbacks.time", SimpleNamespace(monotonic=lambda: next(clock)))
        model = fastmlp.train(X, Y, epochs=5, callbacks=[TimeBudget(1.0)], **OPTIONS)
    assert model.history["epoch"] == [1, 2, 3]
    assert fastmlp.train(X, Y, epochs=3, callbacks=[TimeBudget(1e4)], **OPTIONS).history["epoch"] == [1, 2, 3]


def test_what_returns_true_ends_training_and_all_callbacks_are_told():
    seen = []
    model = fastmlp.train(X, Y, epochs=5, callbacks=[lambda m: len(m.history["epoch"]) == 2, seen.append], **OPTIONS)
    assert model.history["epoch"] == [1, 2]
    assert len(seen) == 2
    assert not model.interrupted


def test_a_csv_log_holds_the_history(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("what was there before")
    model = fastmlp.train(X, Y, epochs=3, callbacks=[CSVLog(path)], **OPTIONS)
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(model.history)
    assert [float(row["validation_loss"]) for row in rows] == model.history["validation_loss"]


def test_a_checkpoint_is_the_model_of_its_epoch(tmp_path):
    last, best = tmp_path / "last", tmp_path / "best"
    values = [3, 1, 2]
    weights = []
    fastmlp.train(
        X, Y, epochs=3, **OPTIONS,
        callbacks=[Script("train_loss", values), Checkpoint(last), Checkpoint(best, best="train_loss"),
                   lambda m: weights.append(m.weights[0].copy())],
    )  # fmt: skip
    np.testing.assert_array_equal(fastmlp.load(last).weights[0], weights[2])
    np.testing.assert_array_equal(fastmlp.load(best).weights[0], weights[1])


def test_ctrl_c_returns_the_model_of_the_last_whole_epoch():
    def interrupt(model):
        if len(model.history["epoch"]) == 2:
            raise KeyboardInterrupt

    ended = []

    class End:
        on_train_end = staticmethod(ended.append)

    model = fastmlp.train(X, Y, epochs=5, callbacks=[interrupt, End()], **OPTIONS)
    assert model.interrupted
    assert ended == [model]
    want = fastmlp.train(X, Y, epochs=5, callbacks=[lambda m: len(m.history["epoch"]) == 2], **OPTIONS)
    np.testing.assert_array_equal(model.weights[0], want.weights[0])


@pytest.mark.parametrize("rows", [120, 4000])
@pytest.mark.parametrize("assign", [False, True])
def test_weights_that_a_callback_writes_are_trained_on(rows, assign):
    x, y = np.tile(X, (34, 1))[:rows], np.tile(Y, 34)[:rows]
    start = [RNG.standard_normal(shape).astype(np.float32) for shape in ((6, 8), (8, 2))]

    def restart(model):
        if len(model.history["epoch"]) == 1:
            if assign:
                model.weights, model.biases = start, [np.zeros(8), np.zeros(2)]
            else:
                for target, value in zip(model.weights + model.biases, [*start, 0, 0]):
                    target[:] = value

    arguments = {**OPTIONS, "shuffle": False}
    written = fastmlp.train(x, y, epochs=2, callbacks=restart, **arguments)
    init = list(zip(start, [np.zeros(8), np.zeros(2)]))
    want = fastmlp.train(x, y, epochs=1, init=init, **arguments)
    for a, b in zip(written.weights + written.biases, want.weights + want.biases):
        np.testing.assert_array_equal(a, b)
    assert written.history["train_loss"][1] == want.history["train_loss"][0]


def test_weights_written_when_training_begins_count_and_survive_resuming(tmp_path):
    class Halve:
        def on_train_begin(self, model):
            model.weights[0][:] = 0.25

        def on_epoch_end(self, model):
            model.weights[1][:] *= 0.5

    def crash(model):
        if len(model.history["epoch"]) == 3:
            raise LookupError

    whole = fastmlp.train(X, Y, epochs=5, callbacks=Halve(), **OPTIONS)
    assert not np.array_equal(whole.weights[0], fastmlp.train(X, Y, epochs=5, **OPTIONS).weights[0])
    with pytest.raises(LookupError):
        fastmlp.train(X, Y, epochs=5, callbacks=[Halve(), crash], checkpoint=tmp_path, **OPTIONS)
    resumed = fastmlp.train(X, Y, epochs=5, callbacks=Halve(), checkpoint=tmp_path, **OPTIONS)
    for a, b in zip(whole.weights + whole.biases, resumed.weights + resumed.biases):
        np.testing.assert_array_equal(a, b)


def test_a_callback_may_keep_what_it_likes_in_the_history(tmp_path):
    def record(model):
        model.history.setdefault("mine", []).append(np.float32(len(model.history["epoch"])))
        model.history.setdefault("words", []).append("fine")

    log = CSVLog(tmp_path / "log.csv")
    model = fastmlp.train(
        X, Y, epochs=3, callbacks=[record, log], progress=True, checkpoint=tmp_path / "run", **OPTIONS
    )
    assert model.history["mine"] == [1, 2, 3]
    assert {len(values) for values in model.history.values()} == {3}
    model.save(tmp_path / "model")
    assert fastmlp.load(tmp_path / "model").history["mine"] == [1, 2, 3]
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 4


def test_a_callback_may_replace_the_history():
    def forget(model):
        model.history = {name: [] for name in model.history}

    model = fastmlp.train(X, Y, epochs=3, callbacks=[forget, lambda m: m.history.clear()], **OPTIONS)
    assert model.history == {}


@pytest.mark.parametrize(
    ("result", "epochs"), [(True, 1), (np.True_, 1), (False, 3), (np.False_, 3), (None, 3), (1, 3), (np.ones(3), 3)]
)
def test_true_of_python_and_of_numpy_ends_training(result, epochs):
    model = fastmlp.train(X, Y, epochs=3, callbacks=lambda _: result, **OPTIONS)
    assert len(model.history["epoch"]) == epochs


def test_the_log_is_utf_8_wherever_it_is_written(tmp_path, monkeypatch):
    def größe(targets, predicted):
        return 1.0

    monkeypatch.setattr(fastmlp.callbacks, "open", partial(open, encoding="ascii"), raising=False)
    fastmlp.train(X, Y, epochs=1, callbacks=[CSVLog(tmp_path / "log.csv")], metrics=[größe], **OPTIONS)
    assert "train_größe" in (tmp_path / "log.csv").read_text(encoding="utf-8")
