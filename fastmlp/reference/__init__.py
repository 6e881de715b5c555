"""The same network in NumPy alone: the oracle of the tests and the baseline of the benchmarks.

Functions have the names of the kernels that they check, and take ordinary arrays.  They work in the dtype of their
arguments, float32 or float64.  This package imports nothing of the rest of fastmlp.

>>> import numpy as np
>>> from fastmlp import reference
>>> x, y = np.random.default_rng(0).random((100, 4), np.float32), np.arange(100) % 2
>>> model = reference.train(x, y, hidden=(8,), epochs=2, seed=0)
>>> model.predict(x).shape
(100,)
"""

from .activations import (
    ACTIVATIONS,
    activation_backward,
    activation_forward,
    finish_forward,
    forward_and_slope,
    keeps_slope,
)
from .data import epoch_order
from .initializers import INITS, initialize
from .layers import (
    bias_update,
    dense_backward_input,
    dense_backward_row,
    dense_forward,
    dense_forward_row,
    dense_update,
    forward,
    gather,
    gather_standardized,
    prepare_rows,
    transpose,
)
from .losses import (
    ELEMENTWISE,
    LOSSES,
    binary_cross_entropy,
    compute_loss,
    cross_entropy,
    elementwise,
    huber,
    mae,
    mse,
    poisson,
    weigh,
)
from .model import MLP, Metrics
from .notebook_loss import batch_softmax, notebook, softmax_mse
from .notebook_run import reproduce
from .optimizers import (
    OPTIMIZERS,
    Rule,
    adaptive_update,
    average_parameters,
    flush_subnormals,
    initial_state,
    optimizer_update,
    rate_factors,
    rule_of,
    scale_rule,
    set_rate,
    sgd_update,
)
from .outputs import sigmoid, softmax
from .regularization import (
    InputScale,
    Regularization,
    deferred_update,
    keep_lanes,
    limit_norms,
    mix,
    penalize,
    scale_gradient,
    update_scaled,
    update_strip,
)
from .sparse import (
    copy_nonzeros,
    encode,
    find_nonzeros,
    grouped_add,
    grouped_finish,
    grouped_start,
    grouped_update,
    make_lists,
    make_lists_from_words,
    make_words,
    prepare_entries,
    sort_nonzeros,
    sparse_forward,
    sparse_update,
    sparse_update_row,
)
from .step import forward_for_training, train_step
from .training import train

__all__ = [
    "ACTIVATIONS",
    "ELEMENTWISE",
    "INITS",
    "InputScale",
    "LOSSES",
    "MLP",
    "Metrics",
    "OPTIMIZERS",
    "Regularization",
    "Rule",
    "activation_backward",
    "activation_forward",
    "adaptive_update",
    "average_parameters",
    "batch_softmax",
    "bias_update",
    "binary_cross_entropy",
    "compute_loss",
    "copy_nonzeros",
    "cross_entropy",
    "deferred_update",
    "dense_backward_input",
    "dense_backward_row",
    "dense_forward",
    "dense_forward_row",
    "dense_update",
    "elementwise",
    "encode",
    "epoch_order",
    "find_nonzeros",
    "finish_forward",
    "flush_subnormals",
    "forward",
    "forward_and_slope",
    "forward_for_training",
    "gather",
    "gather_standardized",
    "grouped_add",
    "grouped_finish",
    "grouped_start",
    "grouped_update",
    "huber",
    "initial_state",
    "initialize",
    "keep_lanes",
    "keeps_slope",
    "limit_norms",
    "mae",
    "make_lists",
    "make_lists_from_words",
    "make_words",
    "mix",
    "mse",
    "notebook",
    "optimizer_update",
    "penalize",
    "poisson",
    "prepare_entries",
    "prepare_rows",
    "rate_factors",
    "reproduce",
    "rule_of",
    "scale_gradient",
    "scale_rule",
    "set_rate",
    "sgd_update",
    "sigmoid",
    "softmax",
    "softmax_mse",
    "sort_nonzeros",
    "sparse_forward",
    "sparse_update",
    "sparse_update_row",
    "train",
    "train_step",
    "transpose",
    "update_scaled",
    "update_strip",
    "weigh",
]
