"""The notebook's run, the baseline of the time that `fastmlp.reproduce` takes."""

from __future__ import annotations

import numpy as np

from .initializers import initialize
from .layers import gather
from .model import MLP
from .optimizers import Rule
from .step import train_step


def reproduce(x, y, x_validation, y_validation, iterations=10_000, corrected=False):
    """Repeat the notebook's run (see `fastmlp.reproduce`) on a given split, from the notebook's own random numbers.

    Parameters
    ----------
    x, y, x_validation, y_validation : ndarray
        Raw pixels (n, 784) uint8, and labels (n,).
    iterations : int
        Steps of 128 samples drawn with replacement.
    corrected : bool
        Whether to take the softmax over the classes, not over the batch.

    Returns
    -------
    train_accuracy, train_loss, validation_accuracy : list of float
        The three curves, as in `fastmlp.reproduce`.
    """
    loss = "softmax_mse" if corrected else "notebook"
    random = np.random.RandomState(42)
    weights, biases = initialize((784, 128, 10), "notebook", random)
    model = MLP(weights, biases, ["sigmoid", "identity"], loss, np.arange(10), 1.0, {})
    rule = Rule("plain", np.float32(0.001), 0, 0)
    train_accuracy, train_loss, validation_accuracy = [], [], []
    done = 0
    while done < iterations:
        steps = min(1 if done == 0 else 100, iterations - done)
        for _ in range(steps):
            batch = random.randint(0, len(x), size=128)
            target = y[batch]
            _, predicted = train_step(
                gather(x, batch, 1.0), target, weights, biases, [(None, None)] * 2, model.activations, loss, rule,
                update_biases=False,
            )  # fmt: skip
            difference = predicted - target.astype(np.int64)
            train_accuracy.append(float(np.mean(difference == 0)))
            train_loss.append(float(np.mean(difference * difference)))
        done += steps
        validation_accuracy.append(float(np.mean(model.predict(x_validation) == y_validation)))
    return train_accuracy, train_loss, validation_accuracy
