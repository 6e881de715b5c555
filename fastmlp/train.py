"""`train`: checks the arguments and runs the loop over epochs."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fastmlp import checks
from fastmlp.activations import ACTIVATIONS
from fastmlp.data.arrays import as_array, check_features, feature_names, is_csr, memmap_of
from fastmlp.data.order import SHUFFLES, split
from fastmlp.data.scaling import check_input_scale, standard_scale
from fastmlp.data.targets import (
    check_by_elements,
    check_classes,
    check_labels,
    check_not_weightless,
    check_sample_weight,
    class_weights,
    encode_labels,
    encode_targets,
    find_classes,
)
from fastmlp.docstrings import either, quoted, with_names
from fastmlp.engine.executor import Executor
from fastmlp.engine.parameters import Parameters, initial_parameters
from fastmlp.engine.threads import resolve
from fastmlp.initializers import INITS
from fastmlp.kernels.step import record as places
from fastmlp.losses import BY_ELEMENTS, LOSSES
from fastmlp.model import MLP, Metrics
from fastmlp.optimizers import OPTIMIZERS, Optimizer
from fastmlp.regularization import check_regularization
from fastmlp.training.metrics import check_metrics
from fastmlp.training.progress import HISTORY, ProgressBar
from fastmlp.training.trainer import BUFFER_BYTES, ArrayData, Course, StreamData


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
    input_scale: Any = "auto",
    sparse: bool | str = "auto",
    seed: int | None = None,
    threads: int | None = None,
    callbacks: Iterable[Any] = (),
    progress: bool | str = "auto",
    dropout: float | Sequence[float] = 0.0,
    input_dropout: float = 0.0,
    l1: float = 0.0,
    l2: float = 0.0,
    clip_norm: float | None = None,
    max_norm: float | None = None,
    label_smoothing: float = 0.0,
    delta: float = 1.0,
    sample_weight: Any = None,
    class_weight: Any = None,
    classes: Any = None,
    metrics: Iterable[Any] = (),
    checkpoint: Any = None,
    shuffle_buffer: int | None = None,
) -> MLP:
    """Train a multilayer perceptron by exact minibatch SGD.

    Parameters
    ----------
    x : array_like, data frame, sparse matrix, or path (n_samples, n_features)
        Arrays of uint8, float32 or float64 and SciPy's CSR matrices are never copied as floats.  Integers of 32 bits or
        more become float64, other numbers float32.  Input that is mostly zero and has at most 256 distinct values is
        copied as bytes.  A `numpy.memmap`, or a folder of ``.npy`` files, whose rows are concatenated in the order of
        the file names, is read in parts during training (see `shuffle_buffer`).
    y : array_like or path (n_samples,) or (n_samples, n_outputs)
        Labels, which are integers or strings; floating-point targets for a regression; or several labels per sample,
        each 0 or 1.
    hidden : sequence of int
        Widths of the hidden layers; ``()`` makes a linear model.
    activation : str or sequence of str
        {activations}: one name, or one per hidden layer.
    loss : str, optional
        For labels: "cross_entropy" (with softmax; the default), "softmax_mse" (squared error after softmax, summed over
        the classes, differentiated through the diagonal of its Jacobian) or "notebook" (the same, but the softmax is
        over the batch).  For several labels per sample: "binary_cross_entropy", the default if `y` has columns of
        integers, 0 and 1.  For a regression: "mse" (the default if `y` holds floats), "mae", "huber" or "poisson",
        whose outputs are the logarithm of the mean.  The last five are means over samples and outputs.
    optimizer : str or Optimizer
        {optimizers}, or an optimizer with its settings, such as
        ``fastmlp.SGD(momentum=0.9, nesterov=True, weight_decay=1e-4)``; see `fastmlp.optimizers`.
    learning_rate : float or schedule, optional
        A number, a schedule such as ``fastmlp.LinearDecay(0.8)`` (see `fastmlp.schedules`), or a function of the step
        number.  The optimizer's own by default: {rates}.
    batch_size : int
        Number of samples per step.  A shorter batch at the end of an epoch is trained on too.
    epochs : int
        Number of passes over the samples.
    shuffle : bool or "replacement"
        True: a new random order every epoch; False: the given order; "replacement": uniform draws with replacement.
    validation : (x, y), (x, y, sample_weight) or float, optional
        Data to evaluate after every epoch, or the fraction of the samples to hold out for this, chosen at random.
    init : str, list of (weight, bias), or MLP
        Initializer: "he", "lecun" or "glorot_normal" (normal), "he_uniform", "lecun_uniform" or "glorot" (uniform),
        "orthogonal", "zeros" or "notebook" (which also makes a network without biases).  Or the initial arrays, or a
        model to continue from.
    input_scale : float, array_like (n_features,), "auto" or "standardize"
        Factor of the input, in training and prediction; "auto" is 1/255 for uint8 and 1 otherwise.  "standardize" gives
        every feature mean 0 and variance 1 over the training samples, computed in float64.  Sparse matrices are only
        divided, so that they stay sparse.
    sparse : bool or "auto"
        Whether the first layer skips zeros in the input.  "auto" decides by some of the samples which is faster.  The
        result is bitwise the same.  Sparse matrices are never made dense.
    seed : int, optional
        Seed of all random numbers.  The same seed, data and arguments give bitwise the same model.
    threads : int, optional
        Maximum number of threads; by default the physical cores that the process may use, within a container's CPU
        quota and ``OMP_NUM_THREADS``.  Small steps run on one thread, which is faster.  The result does not depend on
        the number.
    callbacks : iterable
        Functions of the model, called after every epoch, or objects with any of the methods ``on_train_begin(model)``,
        ``on_epoch_end(model)`` and ``on_train_end(model)``.  Training ends when one returns True after an epoch.
        `fastmlp.callbacks` has some for early stopping, logging and saving.
    progress : bool or "auto"
        Whether to show a progress bar on standard error; "auto" shows it on terminals only.  Unless it is False, a line
        says so when kernels have to be compiled first.
    dropout : float or sequence of float
        Fraction of the units of a hidden layer that are dropped in a step: one number, or one per hidden layer.
    input_dropout : float
        Fraction of the features of every sample that are dropped.
    l1, l2 : float
        Penalties on weights: ``l1 * abs(W).sum() + l2 / 2 * (W**2).sum()`` is added to the loss that is minimized, but
        not to the losses that are recorded.  An optimizer's ``weight_decay`` is faster.
    clip_norm : float, optional
        Maximum norm of the gradient of all parameters together, as in PyTorch's ``clip_grad_norm_``.
    max_norm : float, optional
        Maximum norm of the weights into a unit, enforced after every step.
    label_smoothing : float
        Fraction of the target that is spread evenly over the classes, for "cross_entropy" only.  It does not apply when
        a loss is evaluated.
    delta : float
        Error at which "huber" changes from squared to absolute.
    sample_weight : array_like (n_samples,), optional
        Weights of the samples in losses and gradients, which are weighted means.  Accuracies are not weighted.
    class_weight : "balanced" or dict, optional
        Weights by label, which multiply those of the samples; "balanced" is ``n_samples / (n_classes * count)``.
    classes : array_like, optional
        All labels, if some of them are missing in `y`.
    metrics : iterable
        Metrics to record after every epoch besides loss and accuracy, for the training and the validation set: "top_5"
        (or any other number), "mae", "r2", or functions of the targets and ``model.predict(x)``.  The history has them
        as, for instance, ``train_top_5`` and ``validation_top_5``.
    checkpoint : path, optional
        Folder for checkpoints.  Everything is saved there after every epoch, and training resumes from what is found
        there; the result is bitwise that of an uninterrupted run.  The last two epochs are kept.  `fastmlp.load` reads
        checkpoints too.
    shuffle_buffer : int, optional
        Number of samples of a memory-mapped array, or a folder of them, that are in memory and mixed at a time; by
        default as many as fit into 128 MB.  Runs of consecutive samples are read in random order.  Data that fit into
        the buffer by default are read as a whole.

    Returns
    -------
    MLP
        The trained model.  After Ctrl-C it has the weights of the last complete epoch, and ``interrupted`` is True.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.
    DivergenceError
        If the loss or a weight becomes NaN or infinite.
    """
    stream, columns = None, feature_names(x)
    if any(isinstance(data, (str, os.PathLike)) or memmap_of(data) is not None for data in (x, y)):
        from fastmlp.data.streams import load_targets, open_stream

        stream, y = open_stream(x), load_targets(y)
        if stream is not None and shuffle_buffer is None and stream.nbytes <= BUFFER_BYTES:
            x, stream = stream.rows(0, stream.shape[0]), None  # small enough to be an ordinary array
    x = check_features(x) if stream is None else stream
    hidden = checks.check_hidden(hidden)
    activations = checks.check_activations(activation, len(hidden), ACTIVATIONS)
    optimizer = check_optimizer(optimizer)
    learning_rate = check_learning_rate(learning_rate, optimizer)
    batch_size = checks.check_integer(batch_size, "batch_size", 1)
    epochs = checks.check_integer(epochs, "epochs", 1)
    checks.check_choice(shuffle, "shuffle", SHUFFLES if stream is None else (True, False))
    checks.check_choice(progress, "progress", ("auto", True, False))
    checks.check_choice(sparse, "sparse", ("auto", True, False))
    if sparse is False and is_csr(x):
        raise ValueError("sparse=False needs an array, but x is a sparse matrix, which is never made dense")
    input_scale = check_input_scale(input_scale, x.shape[1])
    regularization = check_regularization(len(hidden), dropout, input_dropout, l1, l2, clip_norm, max_norm)
    dropout, input_dropout, l1, l2, clip_norm, max_norm = regularization
    label_smoothing = checks.check_share(label_smoothing, "label_smoothing")
    delta = checks.check_positive(delta, "delta")
    if seed is not None:
        seed = checks.check_integer(seed, "seed", 0)
    n_threads = resolve(threads)
    callbacks = _check_callbacks(callbacks)
    if hasattr(learning_rate, "on_epoch_end"):
        callbacks = [*callbacks, learning_rate]
    if shuffle_buffer is not None:
        shuffle_buffer = checks.check_integer(shuffle_buffer, "shuffle_buffer", 1)

    loss = _default_loss(y) if loss is None else loss
    checks.check_choice(loss, "loss", LOSSES)
    if label_smoothing and loss != "cross_entropy":
        raise ValueError(f"label_smoothing needs loss='cross_entropy', got {loss!r}")
    classes, targets, n_out = _check_y(y, x.shape[0], loss, classes)
    targets = _weighted(targets, classes, x.shape[0], sample_weight, class_weight)
    scores = check_metrics(metrics, None if classes is None else len(classes))
    if scores and stream is not None:
        raise ValueError("metrics need the training set in memory, but x is a memmap or a folder that is read in parts")

    checkpoints, resumed, entropy = None, None, seed
    if checkpoint is not None:
        from fastmlp.training.checkpoints import Checkpoints, pack_state, unpack_state
        from fastmlp.training.identity import identity

        here = locals()  # as given, or as checked
        arguments = {name: here[name] for name in inspect.signature(train).parameters}
        arguments |= {"activation": activations, "metrics": list(scores), "y": [targets.labels, targets.values]}
        checkpoints = Checkpoints(checkpoint, identity(arguments))
        resumed = checkpoints.load()
        if resumed is not None:
            entropy = int(resumed[1]["entropy"])
    sequence = np.random.SeedSequence(entropy)
    init_rng, split_rng, order_rng, dropout_rng = (np.random.default_rng(s) for s in sequence.spawn(4))

    samples, validation = _check_validation(validation, x, y, targets.weights, split_rng)
    if isinstance(input_scale, str) and input_scale == "standardize":
        input_scale = standard_scale(x, samples)
    parameters, has_bias = _initial(init, (x.shape[1], *hidden, n_out), init_rng)
    model = MLP(parameters, activations, loss, classes, input_scale, has_bias)
    model.threads, model.delta, model.feature_names = threads, delta, columns
    names = [f"{part}_{name}" for name in scores for part in ("train", "validation")]
    model.history = {name: [] for name in (*HISTORY, *names)}
    if validation is not None:  # refuse bad data before training, not after the first epoch
        n_validation = model._check_features(validation[0], "validation x").shape[0]
        model._encode(validation[1], n_validation, "validation y")
        if len(validation) == 3 and validation[2] is not None:
            check_sample_weight(validation[2], n_validation, "validation sample_weight")

    run = Executor(
        parameters, activations, loss, min(batch_size, x.shape[0]), has_bias, optimizer, n_threads,
        regularization=regularization, settings={places.SMOOTHING: label_smoothing, places.DELTA: delta},
        seed=int(dropout_rng.integers(0, 2**62)),
    )  # fmt: skip
    run.announces_compiling = progress is not False
    data: ArrayData | StreamData
    if stream is None:
        data = ArrayData(run, x, targets, input_scale, None if isinstance(sparse, str) else sparse, samples, shuffle)
    else:
        data = StreamData(run, stream, targets, input_scale, bool(shuffle), shuffle_buffer)
    course = Course(model, run, data, learning_rate, epochs, order_rng, sequence.entropy)
    train_set = (x, y)
    if scores and samples is not None:
        train_set = x[samples], np.asarray(y)[samples]
    _call(callbacks, "on_train_begin", model)
    finished = False
    if resumed is not None:
        saved, state, arrays = resumed
        course.load_state(saved, state, arrays)
        unpack_state(callbacks, state["callbacks"], arrays)
        finished = state["finished"]
    try:
        with ProgressBar(progress, epochs, course.done, data.n_samples) as advance:
            while not finished and course.done < epochs:
                _epoch(course, validation, scores, train_set)
                advance(model)
                finished = _call(callbacks, "on_epoch_end", model)
                if checkpoints is not None:
                    state, arrays = course.state()
                    state["callbacks"], more = pack_state(callbacks)
                    checkpoints.save(model, {**state, "finished": finished}, {**arrays, **more})
    except KeyboardInterrupt:
        model.interrupted = True
    finally:  # after an error too: the model, which a callback may have kept, can be trained further
        course.take_back()
        model._pause = course.pause(batch_size)
    _call(callbacks, "on_train_end", model)
    return model


train.__doc__ = with_names(
    train.__doc__,
    activations=either(map(quoted, ACTIVATIONS)),
    optimizers=either(map(quoted, OPTIMIZERS)),
    rates=", ".join(f"{kind.learning_rate:g} for {kind.__name__}" for kind in OPTIMIZERS.values()),
)


def _epoch(course: Course, validation, scores, train_set) -> None:
    """Train one epoch, evaluate the model, and record both in the history."""
    model, record = course.model, course.epoch()
    evaluated = Metrics(float("nan"), float("nan")) if validation is None else model.evaluate(*validation)
    record["validation_loss"], record["validation_accuracy"] = evaluated
    for name, metric in scores.items():
        record[f"train_{name}"] = metric(model, *train_set)
        record[f"validation_{name}"] = float("nan") if validation is None else metric(model, *validation[:2])
    course.close(record)


def check_optimizer(optimizer) -> Optimizer:
    """Return the optimizer for the argument `optimizer`, a name or an optimizer."""
    if isinstance(optimizer, str):
        checks.check_choice(optimizer, "optimizer", OPTIMIZERS)
        return OPTIMIZERS[optimizer]()
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be a name ({', '.join(OPTIMIZERS)}) or fastmlp.SGD(...), got {optimizer!r}")
    return optimizer


def check_learning_rate(learning_rate, optimizer: Optimizer):
    """Return the learning rate: a number, a schedule, or a function of the step number."""
    if learning_rate is None:
        return optimizer.learning_rate
    if isinstance(learning_rate, type) or not (hasattr(learning_rate, "rate") or callable(learning_rate)):
        return checks.check_positive(learning_rate, "learning_rate")
    return learning_rate


def _default_loss(y) -> str:
    """Return the loss that suits the targets."""
    y = as_array(y, "y")
    if y.dtype.kind == "f":
        return "mse"
    return "binary_cross_entropy" if y.ndim == 2 and y.shape[1] > 1 and y.dtype.kind in "bui" else "cross_entropy"


def _check_y(y, n_samples: int, loss: str, classes):
    """Return the classes (None if targets are not labels), the encoded targets, and the number of outputs."""
    if loss in BY_ELEMENTS:
        if classes is not None:
            raise ValueError(f"classes needs labels, which the loss {loss!r} does not have")
        y = check_by_elements(loss)(y, n_samples)
        return None, encode_targets(y), y.shape[1]
    labels = check_labels(y, n_samples)
    found = find_classes(labels) if classes is None else check_classes(classes)
    return found, encode_labels(labels, found), len(found)


def _weighted(targets, classes, n_samples: int, sample_weight, class_weight):
    """Return the targets with weights for the samples."""
    if sample_weight is None and class_weight is None:
        return targets
    weights = np.ones(n_samples, np.float32)
    if sample_weight is not None:
        weights = check_sample_weight(sample_weight, n_samples)
    if class_weight is not None:
        if classes is None:
            raise ValueError("class_weight needs labels, which these targets are not")
        by_class = class_weights(class_weight, classes, targets.labels)
        weights = check_sample_weight(weights * by_class[targets.labels], n_samples, "class_weight")
    return targets._replace(weights=weights)


def _check_validation(validation, x, y, weights, rng):
    """Return the samples to train on (None: all) and the validation set: (x, y), (x, y, sample_weight) or None."""
    n = x.shape[0]
    if validation is None:
        return None, None
    if isinstance(validation, (float, np.floating)):
        if not 0 < validation < 1 or not 0 < round(n * validation) < n:
            raise ValueError(
                f"validation, as a fraction, must be in (0, 1) and leave samples in both parts, got {validation!r}"
            )
        if hasattr(x, "windows"):
            raise ValueError("validation, as a fraction, needs x in memory; pass (x, y)")
        samples, held_out = split(n, float(validation), rng)
        for part, purpose in ((samples, "trained on"), (held_out, "held out for validation")):
            check_not_weightless(weights, part, purpose)
        held = (x[held_out], np.asarray(y)[held_out])
        if weights.size == 0:
            return samples, held
        return samples, (*held, weights[held_out])
    if isinstance(validation, (str, bytes)) or not isinstance(validation, Sequence) or len(validation) not in (2, 3):
        raise TypeError(
            f"validation must be (x, y), (x, y, sample_weight) or a fraction like 0.1, got {type(validation).__name__}"
        )
    return None, tuple(validation)


def _initial(init, widths, rng) -> tuple[Parameters, bool]:
    """Return the initial parameters, copied if they were given, and whether there are biases."""
    if isinstance(init, str):
        checks.check_choice(init, "init", INITS)
        return initial_parameters(widths, init, rng), INITS[init].has_bias
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
    with np.errstate(over="ignore"):  # infinities are refused below
        parameters.set(*zip(*pairs))
    if not np.isfinite(parameters.buffer).all():
        raise ValueError("init must hold finite numbers, got NaN or infinity")
    return parameters, has_bias


def _check_callbacks(callbacks) -> list:
    """Return the callbacks as a list; a single one is accepted too."""
    callbacks = list(callbacks) if isinstance(callbacks, Iterable) else [callbacks]
    for callback in callbacks:
        if not callable(callback) and not any(hasattr(callback, event) for event in _EVENTS):
            raise TypeError(
                f"callbacks must be functions or objects with one of {', '.join(_EVENTS)}, got {callback!r}"
            )
    return callbacks


_EVENTS = ("on_train_begin", "on_epoch_end", "on_train_end")


def _call(callbacks, event: str, model: MLP) -> bool:
    """Call a method of all callbacks, and return whether any of them returned True."""
    results = []
    for callback in callbacks:
        if hasattr(callback, event):
            results.append(getattr(callback, event)(model))
        elif event == "on_epoch_end" and callable(callback):
            results.append(callback(model))
    return any(isinstance(result, (bool, np.bool_)) and bool(result) for result in results)
