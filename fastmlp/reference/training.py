"""`train`, with the arguments of `fastmlp.train` and the same random numbers."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from .activations import ACTIVATIONS
from .data import epoch_order, prepare_data, scaled_rows
from .initializers import INITS, initialize
from .losses import LOSSES, count_correct
from .model import MLP, Metrics
from .optimizers import OPTIMIZERS, average_parameters, initial_state, rate_factors, rule_of, set_rate
from .regularization import InputScale, Regularization
from .step import train_step

HISTORY = (
    "epoch", "seconds", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "learning_rate"
)  # fmt: skip


def train(
    x: Any,
    y: Any,
    *,
    hidden=(128,),
    activation="relu",
    loss=None,
    optimizer="sgd",
    learning_rate=None,
    batch_size=128,
    epochs=10,
    shuffle=True,
    validation=None,
    init="he",
    input_scale="auto",
    sparse="auto",
    seed=None,
    threads=None,
    callbacks=(),
    progress="auto",
    dropout=0.0,
    input_dropout=0.0,
    l1=0.0,
    l2=0.0,
    clip_norm=None,
    max_norm=None,
    ema_decay=0.0,
    weight_rate_factors=None,
    bias_rate_factor=1.0,
    scale_rate_factor=None,
    label_smoothing=0.0,
    delta=1.0,
    sample_weight=None,
    class_weight=None,
    classes=None,
    dtype: Any = np.float32,
) -> MLP:
    """Train a multilayer perceptron in NumPy, with the arguments of `fastmlp.train` and the same random numbers.

    Parameters
    ----------
    dtype : float32 or float64
        What to compute in.  The other arguments are those of `fastmlp.train`, as far as they are here; callbacks are
        functions of the model; `sparse`, `threads` and `progress` are accepted and have no effect (NumPy's BLAS has its
        own threads).

    Returns
    -------
    MLP
        With `weights`, `biases`, `history`, `predict`, `predict_proba` and `evaluate`.

    Raises
    ------
    ValueError
        If the name of a loss, an optimizer, an activation or an initializer is unknown.
    """
    _check_names(loss, optimizer, activation, init, shuffle)
    dtype = np.dtype(dtype).type
    init_rng, split_rng, order_rng, dropout_rng = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(4))
    data = prepare_data(x, y, loss, classes, sample_weight, class_weight, validation, input_scale, split_rng, dtype)
    hidden = (hidden,) if isinstance(hidden, int) else tuple(hidden)
    names = [activation] * len(hidden) if isinstance(activation, str) else list(activation)
    weights, biases, update_biases = _initial_parameters((data.x.shape[1], *hidden, data.n_out), init, init_rng, dtype)
    regularization = Regularization(
        tuple(dropout) if isinstance(dropout, (list, tuple)) else (dropout,) * len(hidden),
        input_dropout, l1, l2, clip_norm or 0.0, max_norm or 0.0, int(dropout_rng.integers(0, 2**62)),
    )  # fmt: skip
    history: dict[str, list] = {name: [] for name in HISTORY}
    model = MLP(weights, biases, [*names, "identity"], data.loss, data.classes, data.input_scale, history, delta)
    factors = weight_rate_factors, bias_rate_factor, scale_rate_factor
    steps = _Steps(
        model, data, batch_size, optimizer, regularization, update_biases, label_smoothing, factors, ema_decay
    )
    _train_epochs(steps, learning_rate, epochs, shuffle, order_rng, callbacks)
    return model


def _train_epochs(steps, learning_rate, epochs, shuffle, order_rng, callbacks):
    """Train for some epochs, and record and show them."""
    model, data = steps.model, steps.data
    learning_rate = steps.default_rate if learning_rate is None else learning_rate
    for epoch in range(epochs):
        start = time.perf_counter()
        rates = _learning_rates(learning_rate, epoch, epochs, steps.n_steps)
        trained = steps.run(epoch_order(data.samples, shuffle, order_rng), rates, epoch)
        _record(model, data.validation, (epoch + 1, time.perf_counter() - start, *trained), float(rates[0]))
        for callback in callbacks:
            callback(model)


def _record(model, validation, trained, learning_rate):
    """Evaluate the model, and append a record of the epoch to its history."""
    evaluated = Metrics(float("nan"), float("nan")) if validation is None else model.evaluate(*validation)
    for name, value in zip(HISTORY, (*trained, *evaluated, learning_rate)):
        model.history[name].append(value)


def _check_names(loss, optimizer, activation, init, shuffle):
    """Raise an error for names that are in no table."""
    activations = [activation] if isinstance(activation, str) else list(activation)
    for name, values, known in (
        ("loss", [] if loss is None else [loss], tuple(LOSSES)),
        ("optimizer", [optimizer if isinstance(optimizer, str) else type(optimizer).__name__.lower()], OPTIMIZERS),
        ("activation", activations, ACTIVATIONS),
        ("init", [init] if isinstance(init, str) else [], INITS),
        ("shuffle", [shuffle], (True, False, "replacement")),
    ):
        for value in values:
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}")


def _initial_parameters(widths, init, rng, dtype):
    """Return weights and biases, drawn or copied, and whether biases are trained."""
    update_biases = True
    if hasattr(init, "weights"):
        init = list(zip(init.weights, init.biases))
    if isinstance(init, str):
        update_biases = INITS[init].has_bias
        weights, biases = initialize(widths, init, rng)
    else:
        weights, biases = zip(*init)
    weights = [np.array(w, dtype, order="C") for w in weights]
    return weights, [np.array(b, dtype) for b in biases], update_biases


def _learning_rates(learning_rate, epoch, epochs, n_steps):
    """Return the learning rate of every step of an epoch."""
    if hasattr(learning_rate, "rate"):
        return learning_rate.rate(epoch + np.arange(n_steps) / n_steps, epochs)
    if callable(learning_rate):
        return [learning_rate(step) for step in range(epoch * n_steps, (epoch + 1) * n_steps)]
    return np.full(n_steps, learning_rate)


class _Steps:
    """The steps of an epoch, on a model whose parameters change in place."""

    def __init__(
        self, model, data, batch_size, optimizer, regularization, update_biases, smoothing, factors, ema_decay
    ):
        self.model, self.data, self.batch_size, self.regularization = model, data, batch_size, regularization
        self.update_biases, self.smoothing = update_biases, smoothing
        self.dtype, self.ema_decay = model.weights[0].dtype.type, ema_decay
        self.weights, self.biases = model.weights, model.biases  # that are trained: the model has them or their average
        if ema_decay:
            self.weights, self.biases = ([array.copy() for array in part] for part in (model.weights, model.biases))
        *factors, scale_rate = factors
        self.factors = rate_factors(optimizer, [len(weight) for weight in model.weights], *factors)
        self.rule, n_state_arrays, self.rate_decay, self.default_rate = rule_of(optimizer)
        pairs = zip(model.weights, model.biases)
        self.states = [[initial_state(parameter, n_state_arrays) for parameter in pair] for pair in pairs]
        first, self.scale = self.weights[0], None
        if scale_rate is not None:
            values = np.ones(len(first), self.dtype)
            self.scale = InputScale(first.copy(), values, initial_state(values, n_state_arrays), scale_rate)
        self.n_steps = -(-len(data.samples) // batch_size)

    def run(self, order, rates, epoch):
        """Train an epoch; return the mean loss and the accuracy."""
        model, data = self.model, self.data
        total_loss, total_weight, correct = 0.0, 0.0, 0.0
        for step, rate in enumerate(rates):
            batch = order[step * self.batch_size : (step + 1) * self.batch_size]
            update, weights = epoch * self.n_steps + step + 1, None if data.weights is None else data.weights[batch]
            losses, predicted = train_step(
                scaled_rows(data.x, batch, data.input_scale, self.dtype), data.target[batch], self.weights,
                self.biases, self.states, model.activations, model.loss,
                set_rate(self.rule, np.float32(rate), update, self.rate_decay), self.update_biases, weights,
                self.regularization, update, self.smoothing, model.delta,
                self.factors, self.scale,
            )  # fmt: skip
            if self.ema_decay:
                average_parameters(model.weights + model.biases, self.weights + self.biases, self.ema_decay)
            total_loss += float(losses.sum(dtype=np.float64))
            total_weight += len(batch) if weights is None else float(weights.sum(dtype=np.float64))
            correct += count_correct(predicted, data.target[batch], model.loss)
        return Metrics(total_loss / total_weight, correct / len(order))
