import csv

import numpy as np
import pytest
from helpers import Script

import fastmlp
from fastmlp.callbacks import Checkpoint, CSVLog, EarlyStopping, TimeBudget

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
    ("make", "error", "message"),
    [
        (lambda: EarlyStopping(patience=-1), ValueError, "patience must be"),
        (lambda: EarlyStopping(min_delta=-1), ValueError, "min_delta must be"),
        (lambda: EarlyStopping(min_delta="a"), TypeError, "min_delta must be"),
        (lambda: TimeBudget(0), ValueError, "seconds must be"),
        (lambda: fastmlp.train(X, Y, callbacks=[EarlyStopping("f1")]), ValueError, "metric must be one of epoch"),
        (lambda: fastmlp.train(X, Y, callbacks=[EarlyStopping()]), ValueError, "'validation_loss' has no value"),
        (lambda: fastmlp.train(X, Y, callbacks=[Checkpoint("x", best="f1")]), ValueError, "best must be one of epoch"),
    ],
)
def test_bad_settings_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_time_budget_ends_training_after_an_epoch():
    model = fastmlp.train(X, Y, epochs=10_000_000, callbacks=[TimeBudget(0.1)], **OPTIONS)
    assert len(model.history["epoch"]) >= 1
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
