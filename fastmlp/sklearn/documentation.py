"""What the docstrings of both estimators have in common."""

from __future__ import annotations

from fastmlp.optimizers import OPTIMIZERS

# What both classes' arguments, attributes and notes are.
_PARAMETERS = """
    activation : {"identity", "logistic", "tanh", "relu", ...} or sequence of str, default="relu"
        Of the hidden layers; "logistic" is the sigmoid.  All others of `fastmlp.train` too, and one per hidden layer.
    solver : {solvers}, default="adam"
        The optimizer.  "lbfgs" is not there.
    alpha : float, default=0.0001
        Strength of the L2 penalty on weights, ``alpha / 2 * (W**2).sum()`` over the weight of the batch's samples; of
        "adamw", its decoupled weight decay as in PyTorch.
    batch_size : int or "auto", default="auto"
        Samples of a step; "auto" is ``min(200, n_samples)``.
    learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
        How the rate changes after an epoch, with the solver "sgd": not; to ``learning_rate_init / (t_ + 1)**power_t``;
        or to a fifth whenever neither loss nor score gets better (see `n_iter_no_change`), and training ends at 1e-6.
    learning_rate_init : float, default=0.001
        The rate of the first epoch.
    power_t : float, default=0.5
        Of "invscaling".
    max_iter : int, default=200
        The number of epochs, at most.
    shuffle : bool or "replacement", default=True
        Whether every epoch takes the samples in a new order, or draws them.
    random_state : int, RandomState instance or None, default=None
        Of the start, of the validation set, of the samples' order, and of dropout.
    tol : float, default=1e-4
        By how much the loss, or the score on the validation set, must be better to count.
    verbose : bool, default=False
        Whether to print the loss of every epoch.
    warm_start : bool, default=False
        Whether `fit` goes on from the parameters of the fit before.
    momentum : float, default=0.9
        Of the solver "sgd"; at least 0 and less than 1.
    nesterovs_momentum : bool, default=True
        Whether that is Nesterov's.
    early_stopping : bool, default=False
        Whether to hold out a part of the samples, look at their score instead of the loss, and keep the parameters of
        the best epoch.
    validation_fraction : float, default=0.1
        The share of the samples that is held out.
    beta_1, beta_2 : float, default=0.9 and 0.999
        Of the solvers "adam" and "adamw".
    epsilon : float, default=1e-8
        Of the solvers other than "sgd".
    n_iter_no_change : int or inf, default=10
        Training ends when loss or score have not got better by `tol` for more epochs in a row.
    init : str, list of (weight, bias), MLP or None, default=None
        What to start from, as in `fastmlp.train`; None draws weights and biases as scikit-learn does (Glorot and Bengio
        2010): the same `random_state` is the same start.
    input_scale : float, array-like, "auto", "standardize" or "robust", default=1.0
        What the features are multiplied by, as in `fastmlp.train`.
    sparse : bool or "auto", default="auto"
        Whether to leave out products with zeros, as in `fastmlp.train`.
    threads : int or None, default=1
        How many to use at most; None for one per physical core, which is faster for wide networks if no other process,
        and no other fit, works on these.
    dropout : float or sequence of float, default=0.0
        The share of its units that a hidden layer leaves out in a step.
    input_dropout : float, default=0.0
        The share of the features that is left out.
    clip_norm : float or None, default=None
        The norm of all gradients together, at most.
    max_norm : float or None, default=None
        The norm of the weights into a unit, at most.
    missing : "indicator" or "error", default="indicator"
        What becomes of missing values in a data frame, as in `fastmlp.train`.
    max_levels : int, default=256
        Maximum number of different values in a column of text or categories of a data frame.
"""

_ATTRIBUTES = """
    model_ : fastmlp.MLP
        The network, which can be saved; its targets are encoded as numbers.
    coefs_, intercepts_ : list of ndarray of float32
        Weights (n_in, n_out) and biases (n_out,) of every layer; views, so that writing to them changes the model.
    loss_, best_loss_ : float
        Of the last epoch, and the least (None with `early_stopping`).
    loss_curve_ : list of float
        The loss of every epoch, with the L2 penalty.
    validation_scores_, best_validation_score_ : list of float and float, or None
        With `early_stopping`: {score} of every epoch, and the best.
    n_iter_, t_ : int
        Epochs of the last fit, and samples that have been trained on, one epoch after the other.
    n_layers_, n_outputs_ : int
        Numbers of layers, with the input's and the output's, and of outputs.
    out_activation_ : str
        {activations}
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Where all features have names.
"""

_NOTES = """
    The same as in scikit-learn: the arguments down to `n_iter_no_change`, with their defaults; what is drawn at the
    start and what is held out, for the same `random_state`; gradients, steps and the sizes of batches; when the
    learning rate falls and when training ends; and the attributes.

    Different from it:

    - Arithmetic is in float32, so that not every digit is the same; predictions are float64 unless `X` is
      float32, as there.  Features of uint8 stay bytes.
    - The order of the samples comes from another generator.
    - The penalty of a short last batch is that of a whole one, and of weighted samples that of the mean weight.  The
      penalty that is part of the recorded loss is that of the weights at the end of the epoch.
    - Adam's `epsilon` is added to the corrected root, as in its paper's algorithm 1.
    - Where the learning rate changes, momentum goes on with what it has of gradients, not of steps, as in PyTorch.
    - Weights of samples are at least 0.  There is no ``solver="lbfgs"``, and no `max_fun`.

"""


def choices(names) -> str:
    """Names as a docstring lists what an argument can be."""
    return "{" + ", ".join(f'"{name}"' for name in names) + "}"


def document(text: str, **words: str) -> str:
    """A docstring with what both classes have."""
    shared = {"PARAMETERS": _PARAMETERS, "ATTRIBUTES": _ATTRIBUTES, "NOTES": _NOTES}
    for name, part in shared.items():
        text = text.replace(f"    <{name}>\n", part.lstrip("\n"))
    for name, word in {"solvers": choices(OPTIMIZERS), **words}.items():
        text = text.replace(f"{{{name}}}", word)
    return text
