import numpy as np
import pytest

import fastmlp
from fastmlp import notebook, reference


@pytest.mark.parametrize("corrected", [False, True])
def test_the_run_is_the_references(corrected):
    history = fastmlp.reproduce(201, seed=5, corrected=corrected).history
    train, validation = notebook.notebook_data(5)
    accuracy, loss, validated = reference.reproduce(*train, *validation, 201, corrected)
    assert history["validation_iteration"] == [0, 100, 200]
    assert history["iteration"] == list(range(201))
    # a tie between two classes may fall either way: one sample of 128, in few batches
    differ = np.abs(np.subtract(history["train_accuracy"], accuracy)) * notebook.BATCH_SIZE
    assert differ.max() <= 1.001
    assert np.count_nonzero(differ) <= 10
    np.testing.assert_allclose(history["train_loss"], loss, atol=81 / notebook.BATCH_SIZE)
    np.testing.assert_allclose(history["validation_accuracy"], validated, atol=0.001)


@pytest.mark.parametrize("split", [0, 1, 2])
def test_the_curve_of_any_split_is_the_notebooks(split):
    history = fastmlp.reproduce(6001, seed=split).history
    ours = dict(zip(history["validation_iteration"], history["validation_accuracy"]))
    for iteration in range(500, 6001, 500):
        assert ours[iteration] == pytest.approx(notebook.PUBLISHED[iteration][1], abs=0.012)


def test_weights_and_batches_are_drawn_as_in_the_notebook(monkeypatch):
    def parameters_and_orders(seed):
        drawn = []

        class Executor(notebook.Executor):
            def __init__(self, parameters, *args, **kwargs):
                drawn.extend(weight.copy() for weight in parameters.weights)
                super().__init__(parameters, *args, **kwargs)

            def train(self, order, rates):
                drawn.append(order.reshape(-1, 128))
                return super().train(order, rates)

        monkeypatch.setattr(notebook, "Executor", Executor)
        fastmlp.reproduce(103, seed=seed)
        return drawn

    random = np.random.RandomState(42)
    want = [(random.uniform(-1, 1, (n, m)) / np.sqrt(n * m)).astype(np.float32) for n, m in ((784, 128), (128, 10))]
    batches = np.array([random.randint(0, 50000, size=128) for _ in range(103)])
    for seed in (1, None):
        *weights, first, middle, last = parameters_and_orders(seed)
        for got, weight in zip(weights, want):
            np.testing.assert_array_equal(got, weight)
        np.testing.assert_array_equal(np.concatenate([first, middle, last]), batches)


def test_the_seed_draws_the_split():
    (x, y), (x_validation, y_validation) = notebook.notebook_data(1)
    assert x.shape == (50_000, 784)
    assert x_validation.shape == (10_000, 784)
    both = np.concatenate([y, y_validation])
    np.testing.assert_array_equal(np.bincount(both), np.bincount(fastmlp.load_mnist().y_train))
    np.testing.assert_array_equal(notebook.notebook_data(1)[0][0], x)
    assert not np.array_equal(notebook.notebook_data(2)[1][1], y_validation)


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
        ({"seed": -1}, ValueError, "seed must be an integer >= 0"),
        ({"threads": 0}, ValueError, "threads must be an integer >= 1"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, error, message):
    with pytest.raises(error, match=message):
        fastmlp.reproduce(**{"iterations": 1, **arguments})
