"""How scikit-learn's losses and gradients compare with those of `fastmlp.train`."""

from __future__ import annotations

from typing import NamedTuple

from fastmlp.losses import LOSSES


class Scale(NamedTuple):
    """A loss, and how many times scikit-learn's gradient and value of it are those of `fastmlp.train`.

    With k outputs, scikit-learn takes half the squares, averaged over outputs for the value, but summed for the
    gradient; and the sum over outputs of the Poisson deviance and of the log-loss of several labels.
    """

    loss: str
    gradient: float = 1.0
    value: float = 1.0


def scale_of(loss: str, n_outputs: int) -> Scale:
    """See `Scale`; the losses that scikit-learn has not are taken as they are."""
    if loss == "squared_error":
        return Scale("mse", n_outputs / 2, 0.5)
    if LOSSES[loss].sums_in_sklearn:
        return Scale(loss, n_outputs, n_outputs)
    return Scale(loss)
