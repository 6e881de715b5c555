"""The common parts of the docstrings of both estimators."""

from __future__ import annotations

from fastmlp.optimizers import OPTIMIZERS

# Arguments, attributes and notes of both classes.
_PARAMETERS = """
    activation : {"identity", "logistic", "tanh", "relu", ...} or sequence of str, default="relu"
        Activation of the hidden layers; "logistic" is the sigmoid.  All others of `fastmlp.train` work too, and one
        per hidden layer.
    solver : {solvers}, default="adam"
        Optimizer.  "lbfgs" is SciPy's L-BFGS-B on all samples at once, which suits small data; arguments about steps,
        epochs and the learning rate do not matter to it, and `dropout`, `input_dropout`, `clip_norm` and `max_norm` are
        refused.
    alpha : float, default=0.0001
        Strength of the L2 penalty on weights, ``alpha / 2 * (W**2).sum()`` divided by the weight of the batch's
        samples.  For "adamw", the decoupled weight decay, as in PyTorch.
    batch_size : int or "auto", default="auto"
        Number of samples per step; "auto" is ``min(200, n_samples)``.
    learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
        Learning-rate schedule of the solver "sgd": constant; ``learning_rate_init / (t_ + 1)**power_t`` after an epoch;
        or divided by five whenever neither loss nor score improves (see `n_iter_no_change`), until training ends at
        1e-6.
    learning_rate_init : float, default=0.001
        Learning rate of the first epoch.
    power_t : float, default=0.5
        Exponent of "invscaling".
    max_iter : int, default=200
        Maximum number of epochs; of "lbfgs", of iterations.
    shuffle : bool or "replacement", default=True
        Whether every epoch takes the samples in a new order; "replacement" draws them uniformly with replacement.
    random_state : int, RandomState instance or None, default=None
        Source of the initial weights, the validation set, the order of the samples, and dropout.
    tol : float, default=1e-4
        Smallest improvement of the loss, or of the validation score, that counts; for "lbfgs", the largest element of
        the gradient at which training ends.
    verbose : bool, default=False
        Whether to print the loss of every epoch.
    warm_start : bool, default=False
        Whether `fit` continues from the parameters of the previous fit.
    momentum : float, default=0.9
        Momentum of the solver "sgd"; >= 0 and < 1.
    nesterovs_momentum : bool, default=True
        Whether to use Nesterov's momentum.
    early_stopping : bool, default=False
        Whether to hold out some samples, judge epochs by the score on them instead of the loss, and keep the parameters
        of the best epoch.
    validation_fraction : float, default=0.1
        Fraction of the samples that is held out.
    beta_1, beta_2 : float, default=0.9 and 0.999
        Decay rates of the moments of "adam", "adamw" and "nadam".
    epsilon : float, default=1e-8
        Added to the denominators of all solvers but "sgd".
    n_iter_no_change : int or inf, default=10
        Training ends when the loss, or the score, has not improved by `tol` for more than this number of epochs in a
        row.
    max_fun : int, default=15000
        Maximum number of times that "lbfgs" computes the loss.
    init : str, list of (weight, bias), MLP or None, default=None
        Initializer, as in `fastmlp.train`.  None draws weights and biases as scikit-learn does (Glorot and Bengio
        2010): the same `random_state` gives the same initial network.
    input_scale : float, array-like, "auto", "standardize" or "robust", default=1.0
        Factor of the features, as in `fastmlp.train`.
    sparse : bool or "auto", default="auto"
        Whether the first layer skips zeros, as in `fastmlp.train`.
    threads : int or None, default=1
        Maximum number of threads.  None stands for one per physical core, which is faster for wide networks if no other
        process, and no other fit, uses the cores.
    dropout : float or sequence of float, default=0.0
        Fraction of the units of a hidden layer that are dropped in a step.
    input_dropout : float, default=0.0
        Fraction of the features of every sample that are dropped.
    clip_norm : float or None, default=None
        Maximum norm of the gradient of all parameters together.
    max_norm : float or None, default=None
        Maximum norm of the weights into a unit.
    missing : "indicator" or "error", default="indicator"
        What becomes of missing values in a data frame, as in `fastmlp.train`.
    max_levels : int, default=256
        Maximum number of different values in a column of text or categories of a data frame.
"""

_ATTRIBUTES = """
    model_ : fastmlp.MLP
        The network, which can be saved; its targets are encoded as numbers.
    coefs_, intercepts_ : list of ndarray of float32
        Weights (n_in, n_out) and biases (n_out,) of every layer.  They are views: writing to them changes the model.
    loss_, best_loss_ : float
        Loss of the last epoch, and the lowest one (None with `early_stopping`).
    loss_curve_ : list of float
        Loss of every epoch, including the L2 penalty; not with "lbfgs", which has `loss_` alone.
    validation_scores_, best_validation_score_ : list of float and float, or None
        With `early_stopping`: {score} of every epoch, and the best one.
    n_iter_, t_ : int
        Number of epochs of the last fit (of "lbfgs", of iterations), and number of samples trained on, counted again in
        every epoch.
    n_layers_, n_outputs_ : int
        Number of layers, including input and output, and number of outputs.
    out_activation_ : str
        {activations}
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if all features have names.
"""

_NOTES = """
    The same as in scikit-learn: the arguments down to `max_fun`, and their defaults; the initial weights and
    the held-out samples for the same `random_state`; gradients, steps and batch sizes; when the learning rate falls and
    when training ends; and the attributes.

    Different from scikit-learn:

    - Arithmetic is in float32, so results differ in the last digits.  Predictions are float64 unless `X` is float32, as
      in scikit-learn.  Features of uint8 stay bytes.
    - The order of the samples comes from another generator.
    - A short last batch has the penalty of a full one, and weighted samples that of their mean weight.  The penalty in
      the recorded loss is that of the weights at the end of the epoch.
    - Adam's `epsilon` is added to the corrected root, as in algorithm 1 of its paper.
    - When the learning rate changes, momentum keeps its sum of gradients, not of steps, as in PyTorch.
    - Sample weights are at least 0.
    - With several outputs, "lbfgs" minimizes the sum of their squared errors, of which scikit-learn has the gradient,
      and the mean as the value.
    - If the loss becomes NaN or infinite with `early_stopping`, training ends.

"""


def choices(names) -> str:
    """Return names as a docstring lists the values of an argument."""
    return "{" + ", ".join(f'"{name}"' for name in names) + "}"


def document(text: str, **words: str) -> str:
    """Return a docstring with the common parts and these words filled in."""
    shared = {"PARAMETERS": _PARAMETERS, "ATTRIBUTES": _ATTRIBUTES, "NOTES": _NOTES}
    for name, part in shared.items():
        text = text.replace(f"    <{name}>\n", part.lstrip("\n"))
    for name, word in {"solvers": choices(("lbfgs", *OPTIMIZERS)), **words}.items():
        text = text.replace(f"{{{name}}}", word)
    return text
