import numpy as np
import pytest

import fastmlp
from fastmlp import notebook, reference


@pytest.mark.parametrize("corrected", [False, True])
def test_the_run_is_the_references(corrected):
    history = fastmlp.reproduce(202, seed=5, corrected=corrected).history
    train, validation, init_rng, order_rng = notebook.notebook_data(5)
    weights, _ = reference.initialise((784, 128, 10), "notebook", init_rng)
    accuracy, loss, validated = reference.reproduce(*train, *validation, weights, order_rng, 202, corrected)
    assert history["validation_iteration"] == [0, 100, 200, 201]
    np.testing.assert_allclose(history["train_accuracy"], accuracy, atol=0.04)
    np.testing.assert_allclose(history["train_loss"], loss, atol=1.5)
    np.testing.assert_allclose(history["validation_accuracy"], validated, atol=0.005)


def test_the_curve_is_the_notebooks():
    history = fastmlp.reproduce(2001, seed=18).history
    ours = dict(zip(history["validation_iteration"], history["validation_accuracy"]))
    for iteration in (1000, 2000):
        assert ours[iteration] == pytest.approx(notebook.PUBLISHED[iteration][1], abs=0.015)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="iterations"):
        fastmlp.reproduce(0)
