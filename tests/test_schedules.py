import numpy as np
import pytest
from helpers import Script

import fastmlp
from fastmlp.training.trainer import learning_rates


@pytest.mark.parametrize(
    ("schedule", "want"),
    [
        (0.5, [0.5, 0.5, 0.5, 0.5]),
        (fastmlp.LinearDecay(0.8), [0.8, 0.6, 0.4, 0.2]),
        (fastmlp.LinearDecay(0.8, 0.4), [0.8, 0.7, 0.6, 0.5]),
        (fastmlp.Cosine(1.0), [1, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2]),
        (fastmlp.CosineLog(0.5, 1), 0.25 * (1 - np.cos(2 * np.pi * np.log2([1, 1.25, 1.5, 1.75])))),
        (fastmlp.CosineLog(0.8), 0.4 * (1 - np.cos(2 * np.pi * np.log2([1, 4.75, 8.5, 12.25])))),
        (fastmlp.Step(1.0, 1, 0.1), [1, 1, 0.1, 0.1]),
        (fastmlp.Exponential(1.0, 0.25), [1, 0.5, 0.25, 0.125]),
        (fastmlp.OneCycle(1.0, 0.5, 10, 100), [0.1, 0.55, 1, 0.505]),
        (fastmlp.Warmup(0.8), [0, 0.4, 0.8, 0.8]),
        (fastmlp.Warmup(fastmlp.LinearDecay(0.8)), [0, 0.4, 0.8, 0.4]),
        (lambda step: step / 10, [0, 0.1, 0.2, 0.3]),
    ],
)
def test_rates_of_two_epochs_of_two_steps(schedule, want):
    got = np.concatenate([learning_rates(schedule, epoch, 2, 2) for epoch in (0, 1)])
    np.testing.assert_allclose(got, want, rtol=1e-6)
    assert got.dtype == np.float32


def test_cycles_that_are_numpys_do_not_overflow():
    epoch = np.arange(9.0)
    np.testing.assert_array_equal(
        fastmlp.CosineLog(0.1, np.int8(8)).rate(epoch, 9), fastmlp.CosineLog(0.1, 8).rate(epoch, 9)
    )


@pytest.mark.parametrize(
    ("schedule", "last"),
    [(fastmlp.LinearDecay(0.8, 0.1), 0.1), (fastmlp.Cosine(0.8, 0.1), 0.1), (fastmlp.Step(0.8, 3, 0.5), 0.1)],
)
def test_rates_fall_from_the_start_to_the_end(schedule, last):
    rates = np.concatenate([learning_rates(schedule, epoch, 10, 50) for epoch in range(10)])
    assert rates[0] == np.float32(0.8)
    assert (np.diff(rates) <= 0).all()
    assert rates[-1] == pytest.approx(last, rel=0.02)


def test_a_step_of_several_epochs():
    firsts = [learning_rates(fastmlp.Step(1.0, 2, 0.5), epoch, 5, 3)[0] for epoch in range(5)]
    assert firsts == [1, 1, 0.5, 0.5, 0.25]


def test_a_schedule_of_the_users_own():
    class Warm:
        def rate(self, epoch, epochs):
            return 0.1 * (1 + epoch) / epochs

    np.testing.assert_allclose(learning_rates(Warm(), 1, 2, 2), [0.1, 0.125], rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fastmlp.LinearDecay("a"), TypeError, "LinearDecay: start must be a finite number > 0"),
        (lambda: fastmlp.LinearDecay(0.1, -1), ValueError, "LinearDecay: end must be a finite number >= 0"),
        (lambda: fastmlp.Cosine(float("nan")), ValueError, "Cosine: start"),
        (lambda: fastmlp.Cosine(0.1, None), TypeError, "Cosine: end"),
        (lambda: fastmlp.Step(float("inf"), 1), ValueError, "Step: start"),
        (lambda: fastmlp.Step(0.1, True), TypeError, "Step: every"),
        (lambda: fastmlp.Step(0.1, 1.5), TypeError, "Step: every must be an integer"),
        (lambda: fastmlp.CosineLog(0.1, 1.5), TypeError, "CosineLog: cycles must be an integer"),
        (lambda: fastmlp.CosineLog(0.1, 1001), ValueError, "CosineLog: cycles must be at most 1000, got 1001"),
    ],
)
def test_bad_values_are_refused_by_name(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("rate", [-1.0, float("nan"), float("inf"), "a"])
def test_what_a_function_gives_is_checked(rate):
    with pytest.raises(ValueError, match=r"learning_rate must give a finite rate|could not convert"):
        fastmlp.train(np.eye(4), [0, 1, 0, 1], learning_rate=lambda step: rate)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fastmlp.Exponential(0), "Exponential: start must be"),
        (lambda: fastmlp.Exponential(1, -1), "Exponential: factor must be"),
        (lambda: fastmlp.OneCycle(-1), "OneCycle: max_lr must be"),
        (lambda: fastmlp.OneCycle(1, 1), "OneCycle: pct_start must be < 1"),
        (lambda: fastmlp.Warmup(0), "Warmup: schedule must be"),
        (lambda: fastmlp.Warmup(1, 0), "Warmup: epochs must be"),
    ],
)
def test_settings_of_the_later_schedules_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("metric", "values", "rates"),
    [
        ("train_loss", [3, 2, 2, 2, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.2]),
        ("train_loss", [3, 2, 2 - 1e-5, 2 - 2e-5, 2, 2, 2], [1, 1, 1, 1, 0.5, 0.5, 0.25]),
        ("train_accuracy", [0.1, 0.5, 0.5, 0.4, 0.6, 0.7, 0.8], [1, 1, 1, 1, 0.5, 0.5, 0.5]),
        ("train_loss", [1] * 9, [1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2]),
    ],
)
def test_the_rate_falls_where_a_metric_does_not_get_better(metric, values, rates):
    schedule = fastmlp.ReduceOnPlateau(1.0, 0.5, 1, metric, min_lr=0.2)
    x, y = np.random.default_rng(0).random((20, 3)), np.arange(20) % 2
    for _ in range(2):  # a schedule can be used again
        model = fastmlp.train(
            x, y, hidden=(), epochs=len(values), learning_rate=schedule, callbacks=[Script(metric, values)], seed=0
        )
        np.testing.assert_allclose(model.history["learning_rate"], rates)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"factor": 1}, "ReduceOnPlateau: factor must be < 1"),
        ({"patience": -1}, "ReduceOnPlateau: patience must be"),
        ({"metric": "f1"}, "metric must be one of epoch"),
        ({}, "'validation_loss' has no value"),
    ],
)
def test_bad_settings_of_a_plateau_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        fastmlp.train(np.eye(4), [0, 1, 0, 1], learning_rate=fastmlp.ReduceOnPlateau(0.1, **settings))


def test_a_plateau_behind_a_warm_up():
    schedule = fastmlp.Warmup(fastmlp.ReduceOnPlateau(1.0, 0.5, 1, "train_loss"), 2)
    model = fastmlp.train(
        np.eye(4),
        [0, 1, 0, 1],
        epochs=5,
        batch_size=4,
        learning_rate=schedule,
        callbacks=[Script("train_loss", [1] * 5)],
    )
    np.testing.assert_allclose(model.history["learning_rate"], [0, 0.5, 1, 0.5, 0.5])
