"""Errors of fastmlp's own; wrong arguments raise ValueError or TypeError."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastmlp.model import MLP


class RankError(RuntimeError):
    """Another process of a communicator failed, which ends training in all of them."""


class DivergenceError(ArithmeticError):
    """The loss, or a weight, became NaN or infinite.

    Attributes
    ----------
    model : MLP
        With the weights from before the epoch in which that happened, and the history until then.
    epoch : int or None
        The epoch, counted from 1; None in `MLP.partial_fit`.
    learning_rate : float
        Of the step in which that happened.
    """

    def __init__(self, epoch: int | None, learning_rate: float, model: MLP):
        where = "" if epoch is None else f" in epoch {epoch}"
        super().__init__(
            f"the loss or a weight became NaN or infinite{where}, at learning rate {learning_rate:g}; "
            "try a smaller learning_rate. The weights from before that are in this error's .model"
        )
        self.epoch, self.learning_rate, self.model = epoch, learning_rate, model

    def __reduce__(self):  # an exception's own would call __init__ with the message
        return type(self), (self.epoch, self.learning_rate, self.model), self.__dict__
