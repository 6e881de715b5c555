import math

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier

from fastmlp.monitor import Best, higher_is_better


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("train_accuracy", True), ("validation_accuracy", True), ("validation_top_5", True), ("top_1", True),
        ("validation_r2", True), ("train_loss", False), ("validation_mae", False), ("stop_5", False),
        ("validation_r22", False), ("seconds", False),
    ],
)  # fmt: skip
def test_which_metrics_should_increase(name, wanted):
    assert higher_is_better(name) is wanted


def run(best, values):
    """What is best, and for how many epochs there was no improvement, after each of the values."""
    return [(best.update(value), best.value, best.waited) for value in values]


def test_an_improvement_exceeds_the_best_value_by_more_than_min_delta():
    wanted = [(True, 3, 0), (False, 3, 1), (False, 3, 2), (True, 1.9, 0), (False, 1.9, 1)]
    assert run(Best(False, min_delta=1), [3, 2.5, 2, 1.9, 2]) == wanted
    mirrored = [(is_best, -value, waited) for is_best, value, waited in wanted]
    assert run(Best(True, min_delta=1), [-3, -2.5, -2, -1.9, -2]) == mirrored


@pytest.mark.parametrize(
    ("is_higher_better", "first", "worse", "better"),
    [(True, 100, 109.9, 110.1), (True, -100, -90.1, -89.9), (False, 100, 90.1, 89.9), (False, -100, -109.9, -110.1)],
)
def test_relative_improvements_are_fractions_of_values_of_any_sign(is_higher_better, first, worse, better):
    best = Best(is_higher_better, min_delta=0.1, relative=True)
    assert [best.update(value) for value in (first, worse, better)] == [True, False, True]


def test_any_gain_is_kept_but_only_improvements_end_the_waiting():
    best = Best(False, min_delta=1, keeps_any_gain=True)
    assert run(best, [3, 2.5, 1.5, 2]) == [(True, 3, 0), (True, 2.5, 1), (True, 1.5, 0), (False, 1.5, 1)]


def test_scikit_learns_rule_is_the_same():
    theirs = MLPClassifier(tol=0.25, n_iter_no_change=10**6)
    theirs._no_improvement_count, theirs.best_loss_, theirs.loss_curve_ = 0, np.inf, []
    ours = Best(False, min_delta=0.25, keeps_any_gain=True, value=math.inf)
    for value in np.random.default_rng(0).integers(0, 40, 200)[::-1] / 8 + np.linspace(9, 0, 200).round(2):
        theirs.loss_curve_.append(value)
        theirs._update_no_improvement_count(False, None, None, None)
        ours.update(value)
        assert (ours.value, ours.waited) == (theirs.best_loss_, theirs._no_improvement_count)


def test_the_last_of_ties_may_be_the_best():
    best = Best(False, takes_ties=True)
    assert run(best, [3, 1, 2, 1, math.nan]) == [
        (True, 3, 0),
        (True, 1, 0),
        (False, 1, 1),
        (True, 1, 0),
        (False, 1, 1),
    ]


def test_nan_is_no_improvement():
    best = Best(True)
    assert run(best, [math.nan, 1, math.nan]) == [(False, None, 1), (True, 1, 0), (False, 1, 1)]


def test_patience_is_over_after_one_epoch_more():
    best = Best(True, patience=2)
    over = []
    for value in [1, 1, 1, 1, 2]:
        best.update(value)
        over.append(best.is_patience_over)
    assert over == [False, False, False, True, False]
    assert not Best(True, waited=10**9).is_patience_over


def test_the_state_continues():
    values = np.random.default_rng(1).random(20).tolist()
    whole, first, second = (Best(False, 0.01, patience=3) for _ in range(3))
    for value in values[:10]:
        first.update(value)
    second.load_state_dict(first.state_dict())
    assert run(whole, values)[10:] == run(second, values[10:])
