"""`train`: checks the arguments, and runs a Trainer."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fastmlp.activations import ACTIVATIONS
from fastmlp.data.frames import MAX_LEVELS
from fastmlp.docstrings import either, quoted, with_names
from fastmlp.model import MLP
from fastmlp.optimizers import OPTIMIZERS, Optimizer
from fastmlp.training.checkpoints import Checkpoints
from fastmlp.training.identity import identity
from fastmlp.training.ranks import Ranks, ranks_of
from fastmlp.training.settings import TrainingSettings, check_settings
from fastmlp.training.shared import SharedData
from fastmlp.training.trainer import Trainer


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
    ema_decay: float = 0.0,
    weight_rate_factors: str | Sequence[float] | None = None,
    bias_rate_factor: float = 1.0,
    scale_rate_factor: float | None = None,
    label_smoothing: float = 0.0,
    delta: float = 1.0,
    sample_weight: Any = None,
    class_weight: Any = None,
    classes: Any = None,
    metrics: Iterable[Any] = (),
    checkpoint: Any = None,
    shuffle_buffer: int | None = None,
    missing: str = "indicator",
    max_levels: int = MAX_LEVELS,
    communicator: Any = None,
    average_every: int = 1,
    samples: Any = None,
) -> MLP:
    """Train a multilayer perceptron by exact minibatch SGD.

    Parameters
    ----------
    x : array_like, data frame, sparse matrix, or path (n_samples, n_features)
        Arrays of uint8, float32 or float64 and SciPy's CSR matrices are never copied as floats.  Integers of 32 bits or
        more become float64, other numbers float32.  Input that is mostly zero and has at most 256 distinct values is
        copied as bytes.  A `numpy.memmap`, or a folder of ``.npy`` files, whose rows are concatenated in the order of
        the file names, is read in parts during training (see `shuffle_buffer`).

        Data frames of pandas and Polars may also hold categories, text, booleans and missing values.  Each level, or
        different value, of a column becomes a feature that is 1 or 0; two levels share one, which is -1 or 1.  Levels
        that the training samples do not have are 0 in all features.  The model keeps this encoding as
        ``model.encoder``, applies it to the frames that it predicts, and takes arrays as already encoded.  Frames of
        numbers alone, without missing values, are used like arrays.
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
    validation : (x, y), (x, y, sample_weight), float or ndarray of int, optional
        Data to evaluate after every epoch; the fraction of the samples to hold out for this, chosen at random; or the
        indices of those to hold out.
    init : str, list of (weight, bias), or MLP
        Initializer: "he", "lecun" or "glorot_normal" (normal), "he_uniform", "lecun_uniform" or "glorot" (uniform),
        "orthogonal", "zeros", "realmlp" (like "lecun", but biases are standard normal, and the last layer is zero) or
        "notebook" (which also makes a network without biases).  Or the initial arrays, or a model to continue from.
    input_scale : float, array_like (n_features,), "auto", "standardize" or "robust"
        Factor of the input, in training and prediction; "auto" is 1/255 for uint8 and 1 otherwise.  "standardize" gives
        every feature mean 0 and variance 1 over the training samples, computed in float64.  Sparse matrices are only
        divided, so that they stay sparse.  "robust" subtracts the median, divides by the interquartile range, and clips
        smoothly: ``x / sqrt(1 + (x / 3)**2)`` (see `fastmlp.data.scaling.robust_scale`).  It takes a copy in float32,
        and arrays in memory only.  In a frame with categories or missing values, the scale is that of the columns of
        numbers.
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
        True shows a progress bar on a terminal or in a notebook, and elsewhere writes a line per epoch to standard
        error; more than 1000 epochs write about 1000 lines.  "auto" shows the bar, but writes no lines.  Unless it is
        False, a line says so when kernels have to be compiled first.
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
    ema_decay : float
        Decay rate of the exponential moving average of all parameters, such as 0.99: after every step
        ``average = ema_decay * average + (1 - ema_decay) * parameters``, beginning with the initial ones.  Where it is
        not 0, the model has the average, in callbacks, validation and at the end, and training goes on with the
        parameters themselves.
    weight_rate_factors : sequence of float or "ntk", optional
        Factors of the learning rate for the weights of every layer, the last one included.  "ntk" trains as if a layer
        computed ``x @ V / sqrt(n_in) + b`` and V were trained (the NTK parametrization), while the model holds
        ``W = V / sqrt(n_in)``: the rate of W is that of V times ``1 / sqrt(n_in)`` (for SGD ``1 / n_in``), and the
        optimizer's ``eps`` and ``weight_decay``, which are those of V, are converted too.  `l1`, `l2`, `clip_norm` and
        `max_norm` are about W.
    bias_rate_factor : float
        Factor of the learning rate for all biases.
    scale_rate_factor : float, optional
        Learn a factor for every feature, beginning at 1, with this factor of the learning rate.  It multiplies the
        feature's row of the first weights, and the model holds the product.  Weight decay leaves it alone.
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
    missing : "indicator" or "error"
        What becomes of missing values in a data frame.  "indicator": a missing number is replaced by the median, a
        missing category has no level, and every column in which values are missing gets one feature more, which is 1
        for these and 0 elsewhere.  "error": they are refused, in training and in prediction.
    max_levels : int
        Maximum number of different values in a column of text or categories.
    communicator : mpi4py.MPI.Comm, optional
        Processes that train one network together, such as ``mpi4py.MPI.COMM_WORLD``; all of them call `train` with the
        same data and arguments, and get the same model.  `batch_size` counts the samples of all of them in a step.
        Each has one thread by default.  Callbacks, validation, progress and checkpoints are those of rank 0.  An error
        of one process ends all.  `x` has to be in memory, and `ema_decay` and `scale_rate_factor` are for one process.
    average_every : int
        Number of steps after which the processes of a communicator average their parameters and the optimizer's state.
        With 1, they add up the gradients of every step instead, so that the result is that of one process, up to
        rounding, except that dropout draws other units.
    samples : array_like of int, optional
        Indices of the rows of `x` to train on, which are not copied; by default all that `validation` does not hold
        out.  An index may occur several times, as in a bootstrap sample.

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
    return run(locals())


train.__doc__ = with_names(
    train.__doc__,
    activations=either(map(quoted, ACTIVATIONS)),
    optimizers=either(map(quoted, OPTIMIZERS)),
    rates=", ".join(f"{kind.learning_rate:g} for {kind.__name__}" for kind in OPTIMIZERS.values()),
)


def run(arguments: Mapping[str, Any], data: SharedData | None = None, stop: threading.Event | None = None) -> MLP:
    """Train with all arguments of `train`, by name.

    Parameters
    ----------
    arguments : Mapping
    data : SharedData, optional
        What `x` and `y` became for an earlier training run.
    stop : Event, optional
        Once another thread sets it, training ends as after Ctrl-C.
    """
    ranks = ranks_of(arguments["communicator"])
    with ranks.guard():
        with ranks.agree():
            settings = check_settings(arguments, data)
        ranks.check_same(settings.comparable())
        return _run(settings, ranks, stop)


def _run(settings: TrainingSettings, ranks: Ranks, stop: threading.Event | None) -> MLP:
    """Train in all processes, and resume from a checkpoint if there is one."""
    folder, checkpoints, resumed = settings.given["checkpoint"], None, None
    if folder is not None:
        checkpoints = ranks.from_first(lambda: Checkpoints(folder, identity(settings.comparable())))
        resumed = ranks.from_first(checkpoints.load)
    seed = settings.seed if resumed is None else resumed.entropy
    entropy: Any = ranks.from_first(lambda: np.random.SeedSequence(seed).entropy)
    with ranks.agree():
        trainer = Trainer(settings, entropy, ranks, stop)
    return trainer.run(checkpoints, resumed)
