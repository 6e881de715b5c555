"""Optimizers, as a user names them; their arithmetic is in `fastmlp.kernels.optimizers`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastmlp.kernels.optimizers import MOMENTUM, NESTEROV, PLAIN
from fastmlp.schedules import _check_number


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent in PyTorch's form.

    ``g = dW + weight_decay * W``, ``v = momentum * v + g``, ``W -= learning_rate * v``; with Nesterov
    ``W -= learning_rate * (g + momentum * v)``.  Weight decay leaves biases alone.

    Parameters
    ----------
    momentum : float, 0 <= momentum < 1
    nesterov : bool
        Nesterov's momentum; needs a momentum above 0.
    weight_decay : float, at least 0
    """

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self):
        _check_number(self, "momentum")
        _check_number(self, "weight_decay")
        if not isinstance(self.nesterov, (bool, np.bool_)):
            raise TypeError(f"SGD: nesterov must be True or False, got {self.nesterov!r}")
        if self.momentum >= 1:
            raise ValueError(f"SGD: momentum must be less than 1, got {self.momentum!r}")
        if self.nesterov and self.momentum == 0:
            raise ValueError("SGD: nesterov=True needs a momentum greater than 0, got momentum=0")

    @property
    def rule(self) -> int:
        """The kernels' code."""
        if self.momentum == 0:
            return PLAIN
        return NESTEROV if self.nesterov else MOMENTUM


OPTIMIZERS = {"sgd": SGD}
