import numpy as np
import pytest

import fastmlp
from fastmlp import notebook, reference


@pytest.mark.parametrize("corrected", [False, True])
def test_the_run_is_the_references(corrected):
    history = fastmlp.reproduce(201, seed=5, corrected=corrected).history
    train, validation, init_rng, order_rng = notebook.notebook_data(5)
    weights, _ = reference.initialise((784, 128, 10), "notebook", init_rng)
    accuracy, loss, validated = reference.reproduce(*train, *validation, weights, order_rng, 201, corrected)
    assert history["validation_iteration"] == [0, 100, 200]
    assert history["iteration"] == list(range(201))
    # a tie between two classes may fall either way: one sample of 128, in few batches
    differ = np.abs(np.subtract(history["train_accuracy"], accuracy)) * notebook.BATCH_SIZE
    assert differ.max() <= 1.001
    assert np.count_nonzero(differ) <= 10
    np.testing.assert_allclose(history["train_loss"], loss, atol=81 / notebook.BATCH_SIZE)
    np.testing.assert_allclose(history["validation_accuracy"], validated, atol=0.001)


def test_the_curve_is_the_notebooks():
    history = fastmlp.reproduce(2001, seed=18).history
    ours = dict(zip(history["validation_iteration"], history["validation_accuracy"]))
    for iteration in (1000, 2000):
        assert ours[iteration] == pytest.approx(notebook.PUBLISHED[iteration][1], abs=0.015)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="iterations"):
        fastmlp.reproduce(0)


def test_the_last_iteration_is_validated_and_the_seed_is_kept():
    first, second = (fastmlp.reproduce(102, seed=1) for _ in range(2))
    assert first.history["validation_iteration"] == [0, 100, 101]
    assert first.history == second.history
    np.testing.assert_array_equal(first.weights[0], second.weights[0])
    assert fastmlp.reproduce(3, seed=2).history["train_loss"] != first.history["train_loss"][:3]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"iterations": 1.5}, TypeError, "iterations must be an integer"),
        ({"seed": -1}, ValueError, "seed must be an integer of at least 0"),
        ({"threads": 0}, ValueError, "threads must be an integer of at least 1"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, error, message):
    with pytest.raises(error, match=message):
        fastmlp.reproduce(**{"iterations": 1, **arguments})
