"""The notebook that fastmlp grew from: "Handwritten digit recognition using numpy".

It trains a 784-128-10 network of sigmoids without biases on raw pixels, with squared error after a softmax.  By
mistake, the notebook's softmax divides by the sum over the *batch*; the faithful run keeps this, the corrected one
does not.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastmlp import checks
from fastmlp.data.targets import encode_labels
from fastmlp.datasets import load_mnist
from fastmlp.engine.executor import Executor
from fastmlp.engine.inference import CHUNK, to_predictions
from fastmlp.engine.parameters import initial_parameters
from fastmlp.engine.threads import resolve
from fastmlp.engine.workspace import padded_outputs
from fastmlp.errors import DivergenceError
from fastmlp.kernels.step.epoch import RECORD_CORRECT, RECORD_LABEL_ERROR, RECORD_LOSS
from fastmlp.model import MLP

BATCH_SIZE, HIDDEN, LEARNING_RATE, VALIDATION_SIZE, VALIDATE_EVERY = 128, 128, 0.001, 10_000, 100

# The notebook seeded NumPy's legacy generator, whose stream never changes, and drew the weights and then the batches.
NOTEBOOK_SEED = 42

# Printed in the notebook: iteration -> (accuracy of the batch, accuracy on the validation set)
PUBLISHED = {
    0: (0.047, 0.072), 500: (0.672, 0.655), 1000: (0.781, 0.744), 1500: (0.734, 0.769), 2000: (0.844, 0.784),
    2500: (0.789, 0.794), 3000: (0.781, 0.801), 3500: (0.836, 0.807), 4000: (0.797, 0.812), 4500: (0.828, 0.815),
    5000: (0.828, 0.817), 5500: (0.812, 0.820), 6000: (0.844, 0.822), 6500: (0.781, 0.822),
}  # fmt: skip
PUBLISHED_END = (0.8125, 0.8243)


def notebook_data(seed: int | None):
    """Split MNIST's training set as the notebook does; it is the one thing that the notebook drew without a seed.

    Parameters
    ----------
    seed : int, optional
        Seed of the split; by default one from the system's entropy.

    Returns
    -------
    (x, y), (x_validation, y_validation)
    """
    mnist = load_mnist()
    shuffled = np.random.default_rng(seed).permutation(len(mnist.x_train))
    kept, held_out = shuffled[:-VALIDATION_SIZE], np.sort(shuffled[-VALIDATION_SIZE:])
    return (mnist.x_train[kept], mnist.y_train[kept]), (mnist.x_train[held_out], mnist.y_train[held_out])


def reproduce(
    iterations: int = 10_000,
    seed: int | None = None,
    corrected: bool = False,
    on_validation: Callable[[MLP], None] | None = None,
    threads: int | None = None,
) -> MLP:
    """Train the notebook's network as the notebook does, from the same random numbers.

    The initial weights and the samples of every batch are the ones that the notebook drew, from
    ``np.random.RandomState(42)``.  It split the data into training and validation set without a seed, so the split is
    different here; whatever the split, the validation accuracy stays close to the published one.

    Parameters
    ----------
    iterations : int
        Number of steps, each of 128 samples drawn with replacement.
    seed : int, optional
        Seed of the split, and of nothing else; by default one from the system's entropy.
    corrected : bool
        Whether to take the softmax over the classes instead of the batch.
    on_validation : callable, optional
        Function of the model, called after every validation.
    threads : int, optional
        As in `fastmlp.train`.

    Returns
    -------
    MLP
        Its `history` holds the three curves of the notebook: ``train_accuracy`` and ``train_loss`` of every
        ``iteration``'s batch, and ``validation_accuracy`` after the iterations in ``validation_iteration``: every 100th
        and the last.  The notebook's "loss" is the mean squared difference between predicted and true label *numbers*.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.
    DivergenceError
        If the loss becomes NaN or infinite.
    """
    iterations = checks.check_integer(iterations, "iterations", 1)
    if seed is not None:
        seed = checks.check_integer(seed, "seed", 0)
    checks.check_choice(corrected, "corrected", (True, False))
    if on_validation is not None and not callable(on_validation):
        raise TypeError(f"on_validation must be a function of the model, got {on_validation!r}")
    n_threads = resolve(threads)
    (x, y), (x_validation, y_validation) = notebook_data(seed)
    random = np.random.RandomState(NOTEBOOK_SEED)
    parameters = initial_parameters((784, HIDDEN, 10), "notebook", random)
    loss = "softmax_mse" if corrected else "notebook"
    model = MLP(parameters, ("sigmoid",), loss, np.arange(10, dtype=np.uint8), 1.0, has_bias=False)
    history: dict[str, list] = {"iteration": list(range(iterations)), "train_accuracy": [], "train_loss": []}
    history |= {"validation_iteration": [], "validation_accuracy": []}
    model.history, model.threads = history, threads
    run = Executor(parameters, model.activations, loss, BATCH_SIZE, has_bias=False, threads=n_threads)
    run.set_data(x, 1.0, encode_labels(y, np.arange(10, dtype=np.uint8)))
    validation, done = _Predictor(model, x_validation), 0
    while done < iterations:  # up to and including iterations 0, 100, 200, ... and the last
        n_steps = min(1 if done == 0 else VALIDATE_EVERY, iterations - done)
        order = random.randint(0, len(x), n_steps * BATCH_SIZE)  # same numbers as drawing batch by batch
        records = run.train(order, np.full(n_steps, LEARNING_RATE, np.float32))
        if not np.isfinite(records[-1, RECORD_LOSS]):
            raise DivergenceError(1, LEARNING_RATE, model)
        done += n_steps
        history["train_accuracy"] += (records[:, RECORD_CORRECT] / BATCH_SIZE).tolist()
        history["train_loss"] += (records[:, RECORD_LABEL_ERROR] / BATCH_SIZE).tolist()
        history["validation_iteration"].append(done - 1)
        history["validation_accuracy"].append(float(np.mean(validation.predict() == y_validation)))
        if on_validation is not None:
            on_validation(model)
    return model


class _Predictor:
    """Predicts the same samples repeatedly while a model is trained; input is prepared once.

    Parameters
    ----------
    model : MLP
    x : array_like (n, n_features), n >= CHUNK
    """

    def __init__(self, model: MLP, x):
        x = model._check_features(x)
        threads = resolve(model.threads)
        self.model = model
        self.executor = Executor(model._parameters, model.activations, model.loss, CHUNK, threads=threads)
        self.executor.set_data(x, model.input_scale)
        self.flat, self.outputs = padded_outputs(x.shape[0], model.widths[-1])

    def predict(self) -> np.ndarray:
        """Return the predictions of the model as it is now."""
        self.executor.pack()
        self.executor.predict(len(self.outputs), self.flat)
        return to_predictions(self.model.loss, self.model.classes, self.flat, self.outputs)
