"""`train()`: the loop over epochs.  No arithmetic."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from fastmlp import inputs
from fastmlp.batches import SHUFFLES, epoch_order, split
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.losses import LOSSES
from fastmlp.model import MLP, Metrics
from fastmlp.optimizers import OPTIMIZERS, Optimizer
from fastmlp.parameters import INITS, Parameters, initial_parameters
from fastmlp.run import Run
from fastmlp.schedules import learning_rates
from fastmlp.threads import resolve

HISTORY = (
    "epoch", "seconds", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "learning_rate",
)  # fmt: skip


class DivergenceError(ArithmeticError):
    """The loss, or a weight, became NaN or infinite.

    Attributes
    ----------
    model : MLP
        With the weights from before the epoch in which that happened, and the history until then.
    epoch : int
        The epoch, counted from 1.
    """

    def __init__(self, epoch: int, learning_rate: float, model: MLP):
        super().__init__(
            f"the loss or a weight became NaN or infinite in epoch {epoch}, at learning rate {learning_rate:g}; "
            "try a smaller learning_rate. The weights from before that epoch are in this error's .model"
        )
        self.epoch, self.model = epoch, model


def train(
    x,
    y,
    *,
    hidden: int | Sequence[int] = (128,),
    activation: str | Sequence[str] = "relu",
    loss: str | None = None,
    optimizer: str | Optimizer = "sgd",
    learning_rate: Any = None,
    batch_size: int = 128,
    epochs: int = 10,
    shuffle: bool | str = True,
    validation: Any = None,
    init: Any = "he",
    input_scale: float | str = "auto",
    sparse: bool | str = "auto",
    seed: int | None = None,
    threads: int | None = None,
    callbacks: Iterable[Any] = (),
    progress: bool | str = "auto",
) -> MLP:
    """Train a multilayer perceptron by exact minibatch SGD.

    Parameters
    ----------
    x : array_like or sparse matrix (n_samples, n_features)
        uint8, float32 or float64 arrays and SciPy's CSR matrices are never copied as floats; other numbers become
        float32.  Input that is mostly zero, with at most 256 values, is copied as bytes.
    y : array_like (n_samples,) or (n_samples, n_outputs)
        Labels, integers or strings; or floating-point targets of a regression.
    hidden : sequence of int
        Widths of the hidden layers; ``()`` is a linear model.
    activation : str or sequence of str
        "relu", "leaky_relu", "elu", "selu", "softplus", "sigmoid", "hard_sigmoid", "tanh" or "identity": one name, or
        one per hidden layer.
    loss : str, optional
        "cross_entropy" (softmax; the default where `y` holds labels), "mse" (the mean over samples and outputs; the
        default where `y` holds floats), "softmax_mse" (squared error through softmax, summed over the classes, through
        the diagonal of its Jacobian), "notebook" (the same with the softmax over the batch).
    optimizer : str or Optimizer
        "sgd", "adam", "adamw", "rmsprop" or "adagrad", or one with its settings, such as
        ``fastmlp.SGD(momentum=0.9, nesterov=True, weight_decay=1e-4)``; see `fastmlp.optimizers`.
    learning_rate : float or schedule, optional
        A number, a schedule such as ``fastmlp.LinearDecay(0.8)``, see `fastmlp.schedules`, or a function of the number
        of the step.  By default 0.1 for SGD, and what PyTorch has for the others: 0.001 for Adam and AdamW, 0.01 for
        RMSprop and Adagrad.
    batch_size : int
        Samples of a step.  The short batch at the end of an epoch is trained on, with its own size.
    epochs : int
        How many times the samples are gone through.
    shuffle : bool or "replacement"
        True: a new permutation every epoch; False: the order given; "replacement": uniform draws.
    validation : (x, y) or float, optional
        A set to evaluate after every epoch, or the fraction of the samples to hold out for it, drawn at random.
    init : str, list of (weight, bias), or MLP
        "he", "lecun" or "glorot_normal" (normal), "he_uniform", "lecun_uniform" or "glorot" (uniform), "orthogonal",
        "zeros", "notebook" (which also leaves out biases), arrays, or a model to go on from.
    input_scale : float or "auto"
        What the input is multiplied by, also in prediction; "auto" is 1/255 for uint8, 1 otherwise.
    sparse : bool or "auto"
        Whether the first layer leaves out products with zeros: True and False force the kernels that do and those that
        do not, "auto" looks at some of the samples and takes the faster ones.  The result is bitwise the same.  Sparse
        matrices are never made dense.
    seed : int, optional
        The same seed, data and arguments give bitwise the same model.
    threads : int, optional
        How many to train on at most; by default as many as the process may use physical cores.  The result does not
        depend on it, and small steps are done on one thread, where they are faster.
    callbacks : iterable
        Functions of the model, called after every epoch, or objects with any of the methods ``on_train_begin(model)``,
        ``on_epoch_end(model)`` and ``on_train_end(model)``; those in `fastmlp.callbacks` stop training, log, and save.
        What returns True after an epoch ends the training.
    progress : bool or "auto"
        A progress bar on standard error; "auto" shows it on a terminal only.

    Returns
    -------
    MLP
        After Ctrl-C too: with the weights from the end of the last whole epoch, and ``interrupted`` set.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.
    DivergenceError
        If the loss, or a weight, becomes NaN or infinite.
    """
    x = inputs.check_features(x)
    hidden = inputs.check_hidden(hidden)
    activations = inputs.check_activations(activation, len(hidden), ACTIVATIONS)
    optimizer = _check_optimizer(optimizer)
    if learning_rate is None:
        learning_rate = optimizer.learning_rate
    if isinstance(learning_rate, type) or not (hasattr(learning_rate, "rate") or callable(learning_rate)):
        learning_rate = inputs.check_positive(learning_rate, "learning_rate")
    batch_size = inputs.check_integer(batch_size, "batch_size", 1)
    epochs = inputs.check_integer(epochs, "epochs", 1)
    inputs.check_choice(shuffle, "shuffle", SHUFFLES)
    inputs.check_choice(progress, "progress", ("auto", True, False))
    inputs.check_choice(sparse, "sparse", ("auto", True, False))
    if sparse is False and inputs.is_csr(x):
        raise ValueError("sparse=False needs an array; x is a sparse matrix, which is never made dense")
    input_scale = inputs.check_input_scale(input_scale)
    if seed is not None:
        seed = inputs.check_integer(seed, "seed", 0)
    n_threads = resolve(threads)
    callbacks = _check_callbacks(callbacks)
    if hasattr(learning_rate, "on_epoch_end"):
        callbacks = [*callbacks, learning_rate]

    if loss is None:
        loss = "mse" if inputs.as_array(y, "y").dtype.kind == "f" else "cross_entropy"
    inputs.check_choice(loss, "loss", LOSSES)
    init_rng, split_rng, order_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3))

    classes, targets, n_out = _check_y(y, x.shape[0], loss)
    samples, validation = _check_validation(validation, x, y, split_rng)
    widths = (x.shape[1], *hidden, n_out)
    parameters, has_bias = _initial(init, widths, init_rng)
    model = MLP(parameters, activations, loss, classes, input_scale, has_bias)
    model.threads = threads
    model.history = {name: [] for name in HISTORY}
    if validation is not None:  # bad data is refused before training, not after the first epoch
        n_validation = inputs.check_features(validation[0], x.shape[1], "validation x").shape[0]
        model._encode(validation[1], n_validation, "validation y")

    run = Run(parameters, activations, loss, min(batch_size, x.shape[0]), has_bias, optimizer, n_threads)
    run.set_data(x, input_scale, targets, sparse=None if isinstance(sparse, str) else sparse)
    n_steps = run.n_steps(len(samples))
    _call(callbacks, "on_train_begin", model)
    try:
        with _progress_bar(progress, epochs) as advance:
            for epoch in range(epochs):
                start = time.perf_counter()
                rates = learning_rates(learning_rate, epoch, epochs, n_steps)
                records = run.train(epoch_order(samples, shuffle, order_rng), rates)
                seconds = time.perf_counter() - start
                total_loss, correct, _ = records.sum(axis=0)
                if not np.isfinite(total_loss):
                    raise DivergenceError(epoch + 1, float(rates[len(records) - 1]), model)
                metrics = Metrics(float("nan"), float("nan")) if validation is None else model.evaluate(*validation)
                accuracy = float("nan") if classes is None else float(correct / len(samples))
                values = (
                    epoch + 1, seconds, float(total_loss / len(samples)), accuracy, metrics.loss, metrics.accuracy,
                    float(rates[0]),
                )  # fmt: skip
                for name, value in zip(HISTORY, values):
                    model.history[name].append(value)
                advance(model)
                if _call(callbacks, "on_epoch_end", model):
                    break
    except KeyboardInterrupt:
        model.interrupted = True
    _call(callbacks, "on_train_end", model)
    return model


def _check_optimizer(optimizer) -> Optimizer:
    if isinstance(optimizer, str):
        inputs.check_choice(optimizer, "optimizer", OPTIMIZERS)
        return OPTIMIZERS[optimizer]()
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be a name ({', '.join(OPTIMIZERS)}) or fastmlp.SGD(...), got {optimizer!r}")
    return optimizer


def _check_y(y, n_samples: int, loss: str):
    """Classes (None for a regression), encoded targets, and the number of outputs."""
    if loss == "mse":
        y = inputs.check_targets(y, n_samples)
        return None, inputs.encode_targets(y), y.shape[1]
    labels = inputs.check_labels(y, n_samples)
    classes = inputs.find_classes(labels)
    return classes, inputs.encode_labels(labels, classes), len(classes)


def _check_validation(validation, x, y, rng):
    """The samples to train on, and the validation set (x, y) or None."""
    n = x.shape[0]
    everything = np.arange(n)
    if validation is None:
        return everything, None
    if isinstance(validation, (float, np.floating)):
        if not 0 < validation < 1 or not 0 < round(n * validation) < n:
            raise ValueError(
                f"validation, as a fraction, must be in (0, 1) and leave samples on both sides, got {validation!r}"
            )
        samples, held_out = split(n, float(validation), rng)
        return samples, (x[held_out], np.asarray(y)[held_out])
    if isinstance(validation, (str, bytes)) or not isinstance(validation, Sequence) or len(validation) != 2:
        raise TypeError(f"validation must be (x, y) or a fraction like 0.1, got {type(validation).__name__}")
    return everything, tuple(validation)


def _initial(init, widths, rng) -> tuple[Parameters, bool]:
    """Parameters to start from, a copy of those given, and whether there are biases."""
    if isinstance(init, str):
        inputs.check_choice(init, "init", INITS)
        return initial_parameters(widths, init, rng), init != "notebook"
    has_bias = getattr(init, "has_bias", True)
    if hasattr(init, "weights") and hasattr(init, "biases"):
        pairs = list(zip(init.weights, init.biases))
    else:
        try:
            pairs = [(np.asarray(weight), np.asarray(bias)) for weight, bias in init]
        except (TypeError, ValueError):
            raise TypeError(
                f"init must be one of {', '.join(map(repr, INITS))}, a list of (weight, bias), or a model, "
                f"got {type(init).__name__}"
            ) from None
    parameters = Parameters(widths)
    given = [np.shape(weight) for weight, _ in pairs]
    if given != parameters.layer_shapes() or [np.shape(b) for _, b in pairs] != [(n,) for n in widths[1:]]:
        raise ValueError(
            f"init must have weights of shapes {parameters.layer_shapes()} with a bias each, got weights of shapes "
            f"{given} and biases of shapes {[np.shape(b) for _, b in pairs]}"
        )
    if any(array.dtype.kind not in "buif" for pair in pairs for array in map(np.asarray, pair)):
        raise TypeError("init must hold numbers")
    with np.errstate(over="ignore"):  # what is infinite in float32 is refused below
        parameters.set(*zip(*pairs))
    if not np.isfinite(parameters.buffer).all():
        raise ValueError("init must hold finite numbers, got NaN or infinity")
    return parameters, has_bias


def _check_callbacks(callbacks) -> list:
    callbacks = list(callbacks) if isinstance(callbacks, Iterable) else [callbacks]
    for callback in callbacks:
        if not callable(callback) and not any(hasattr(callback, event) for event in _EVENTS):
            raise TypeError(
                f"callbacks must be functions or objects with one of {', '.join(_EVENTS)}, got {callback!r}"
            )
    return callbacks


_EVENTS = ("on_train_begin", "on_epoch_end", "on_train_end")


def _call(callbacks, event: str, model: MLP) -> bool:
    """Tell all callbacks; whether one of them returned True."""
    results = []
    for callback in callbacks:
        if hasattr(callback, event):
            results.append(getattr(callback, event)(model))
        elif event == "on_epoch_end" and callable(callback):
            results.append(callback(model))
    return any(result is True for result in results)


class _progress_bar:
    """A bar over the epochs, on a terminal; without one it does nothing, and rich is not imported."""

    def __init__(self, progress, epochs: int):
        import sys

        self.shown = sys.stderr.isatty() if progress == "auto" else progress
        self.epochs = epochs

    def __enter__(self) -> Callable[[MLP], None]:
        if not self.shown:
            return lambda model: None
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.bar = Progress(
            TextColumn("epoch"), MofNCompleteColumn(), BarColumn(), TimeRemainingColumn(),
            TextColumn("{task.description}"), console=Console(stderr=True),
        )  # fmt: skip
        self.bar.start()
        task = self.bar.add_task("", total=self.epochs)
        return lambda model: self.bar.update(task, advance=1, description=summary(model.history))

    def __exit__(self, *exception) -> None:
        if self.shown:
            self.bar.stop()


def summary(history: dict[str, list]) -> str:
    """The last epoch's figures, in words."""
    parts = [f"loss {history['train_loss'][-1]:.4f}"]
    for label, name in (("accuracy", "train_accuracy"), ("validation", "validation_accuracy")):
        if not np.isnan(history[name][-1]):
            parts.append(f"{label} {history[name][-1]:.4f}")
    if np.isnan(history["validation_accuracy"][-1]) and not np.isnan(history["validation_loss"][-1]):
        parts.append(f"validation loss {history['validation_loss'][-1]:.4f}")
    return "  ".join(parts)
