"""How scikit-learn's losses, gradients and steps compare with those of `fastmlp.train`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastmlp.losses import LOSSES
from fastmlp.optimizers import OPTIMIZERS, Optimizer

if TYPE_CHECKING:
    from fastmlp.sklearn.base import BaseMLP


class Scale(NamedTuple):
    """A loss, and the ratio of scikit-learn's gradient and value of it to those of `fastmlp.train`.

    scikit-learn halves the squares, averages them over outputs for the value, but sums them for the gradient.  It sums
    the Poisson deviance, and the log-loss of several labels, over outputs.
    """

    loss: str
    gradient: float = 1.0
    value: float = 1.0


def scale_of(loss: str, n_outputs: int) -> Scale:
    """Return the Scale of a loss; losses that scikit-learn does not have keep their gradient and value."""
    if loss == "squared_error":
        return Scale("mse", n_outputs / 2, 0.5)
    if LOSSES[loss].sums_in_sklearn:
        return Scale(loss, n_outputs, n_outputs)
    return Scale(loss)


def optimizer_for(estimator: BaseMLP, scale: Scale, weight: float) -> Optimizer:
    """Return the optimizer for batches of this total sample weight.

    scikit-learn's gradient is G times ours, G = ``scale.gradient``, and alpha * W / weight more.  The fused weight
    decay is added to our gradient, so it is alpha / weight / G; SGD's rate is multiplied by G; the others are
    invariant to the gradient's scale, if epsilon has it too.
    """
    decay, epsilon = estimator.alpha / weight / scale.gradient, estimator.epsilon / scale.gradient
    kind = OPTIMIZERS[estimator.solver]
    if not kind.decoupled and decay > float(np.finfo(np.float32).max):
        raise ValueError(
            f"sample_weight must be larger: weights decay by alpha / (the sample weights of a batch), "
            f"{estimator.alpha:g} / {weight:g}, which is infinite in float32"
        )
    return kind.from_solver(estimator, decay, epsilon)


def initial_network(widths, square: float, random) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return weights and biases from scikit-learn's distribution, drawn in its order.

    `square` over a layer's inputs and outputs is the square of their bound.
    """
    pairs = []
    for n_in, n_out in zip(widths, widths[1:]):
        bound = math.sqrt(square / (n_in + n_out))
        pairs.append((random.uniform(-bound, bound, (n_in, n_out)), random.uniform(-bound, bound, n_out)))
    return pairs
