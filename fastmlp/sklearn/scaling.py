"""How scikit-learn's losses and gradients compare with those of `fastmlp.train`."""

from __future__ import annotations

from typing import NamedTuple

from fastmlp.losses import LOSSES


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
