"""Optimizers; their arithmetic is in `fastmlp.kernels.ops.optimizers`.

All have the definitions and defaults of PyTorch, except that weight decay does not apply to biases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastmlp.checks import check_field, check_fraction
from fastmlp.kernels.ops.optimizers import ADAGRAD, ADAM, ADAMW, NADAM, NESTEROV, PLAIN, RMSPROP
from fastmlp.kernels.ops.optimizers import MOMENTUM as WITH_MOMENTUM


class Optimizer:
    """Base class of all optimizers.

    Attributes
    ----------
    rule : int
        Code of the update rule in the kernels.
    n_state_arrays : int
        Number of values of state per parameter.
    learning_rate : float
        Default learning rate.
    decoupled : bool
        Whether weight decay is apart from the gradient, so that it is no penalty on the loss.
    scale_invariant : bool
        Whether a step does not depend on the scale of the gradients, but for `eps`.
    """

    rule: ClassVar[int]
    n_state_arrays: ClassVar[int]
    learning_rate: ClassVar[float]
    decoupled: ClassVar[bool] = False
    scale_invariant: ClassVar[bool] = True

    @classmethod
    def from_solver(cls, estimator: Any, weight_decay: float, eps: float) -> Optimizer:
        """Return the optimizer that a solver of `fastmlp.MLPClassifier` is; `eps` fits the scale of our gradients."""
        return cls(eps=eps, weight_decay=weight_decay)  # type: ignore[call-arg]

    def settings(self) -> dict[str, float]:
        """Return the settings for the kernels, by the names of the record's fields."""
        raise NotImplementedError

    def _check(self, *names: str) -> None:
        for name in names:
            check_field(self, name)

    def _check_fraction(self, name: str, value) -> None:
        check_fraction(value, f"{type(self).__name__}: {name}")

    def _check_eps(self) -> None:
        check_field(self, "eps", exclusive=True)
        if np.float32(self.eps) == 0:  # type: ignore[attr-defined]
            raise ValueError(f"{type(self).__name__}: eps must not be 0 in float32, got {self.eps!r}")  # type: ignore[attr-defined]


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent.

    ``g = dW + weight_decay * W``, ``v = momentum * v + g``, ``W -= learning_rate * v``; with Nesterov
    ``W -= learning_rate * (g + momentum * v)``.

    Parameters
    ----------
    momentum : float, 0 <= momentum < 1
    nesterov : bool
        Nesterov's momentum; needs a momentum above 0.
    weight_decay : float, >= 0

    Examples
    --------
    >>> x, y = [[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1]
    >>> model = fastmlp.train(x, y, optimizer=fastmlp.SGD(momentum=0.9, nesterov=True), epochs=40, seed=0)
    >>> model.predict(x)
    array([0, 0, 1, 1])
    """

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    learning_rate: ClassVar[float] = 0.1
    scale_invariant: ClassVar[bool] = False

    @classmethod
    def from_solver(cls, estimator: Any, weight_decay: float, eps: float) -> Optimizer:
        nesterov = bool(estimator.nesterovs_momentum and estimator.momentum)
        return cls(estimator.momentum, nesterov, weight_decay)

    def __post_init__(self):
        self._check_fraction("momentum", self.momentum)
        self._check("weight_decay")
        if not isinstance(self.nesterov, (bool, np.bool_)):
            raise TypeError(f"SGD: nesterov must be True or False, got {self.nesterov!r}")
        if self.nesterov and self.momentum == 0:
            raise ValueError("SGD: nesterov=True needs a momentum > 0, got momentum=0")

    @property
    def rule(self) -> int:  # type: ignore[override, misc]
        if self.momentum == 0:
            return PLAIN
        return NESTEROV if self.nesterov else WITH_MOMENTUM

    @property
    def n_state_arrays(self) -> int:  # type: ignore[override, misc]
        return 0 if self.rule == PLAIN else 1

    def settings(self) -> dict[str, float]:
        return {"momentum": self.momentum, "weight_decay": self.weight_decay}


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, algorithm 1).

    ``g = dW + weight_decay * W``, ``m = b1 * m + (1 - b1) * g``, ``v = b2 * v + (1 - b2) * g**2``, and in step t
    ``W -= learning_rate * m / (1 - b1**t) / (sqrt(v / (1 - b2**t)) + eps)``.

    Parameters
    ----------
    betas : (float, float), each >= 0 and < 1
    eps : float, > 0
    weight_decay : float, >= 0
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    rule: ClassVar[int] = ADAM
    n_state_arrays: ClassVar[int] = 2
    learning_rate: ClassVar[float] = 0.001

    @classmethod
    def from_solver(cls, estimator: Any, weight_decay: float, eps: float) -> Optimizer:
        decay = estimator.alpha if cls.decoupled else weight_decay
        return cls((estimator.beta_1, estimator.beta_2), eps, decay)

    def __post_init__(self):
        name = type(self).__name__
        if not isinstance(self.betas, (tuple, list)) or len(self.betas) != 2:
            raise TypeError(f"{name}: betas must be two numbers, like (0.9, 0.999), got {self.betas!r}")
        for value in self.betas:
            self._check_fraction("betas: each", value)
        self._check("weight_decay")
        self._check_eps()

    def settings(self) -> dict[str, float]:
        first, second = self.betas
        return {"momentum": first, "beta": second, "epsilon": self.eps, "weight_decay": self.weight_decay}


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2).

    ``W *= 1 - learning_rate * weight_decay`` before a step of Adam without decay.

    Parameters
    ----------
    betas : (float, float), each >= 0 and < 1
    eps : float, > 0
    weight_decay : float, >= 0
    """

    weight_decay: float = 0.01

    rule: ClassVar[int] = ADAMW
    decoupled: ClassVar[bool] = True


@dataclass(frozen=True)
class NAdam(Adam):
    """Adam with Nesterov's momentum (Dozat 2016).

    With m, v and g of Adam and ``u_t = b1 * (1 - 0.96**(t * momentum_decay) / 2)``, in step t
    ``W -= learning_rate * d / (sqrt(v / (1 - b2**t)) + eps)``, where ``p_t = u_1 * ... * u_t`` and
    ``d = (1 - u_t) / (1 - p_t) * g + u_{t+1} / (1 - p_{t+1}) * m``.

    Parameters
    ----------
    betas : (float, float), each >= 0 and < 1
    eps : float, > 0
    weight_decay : float, >= 0
    momentum_decay : float, >= 0
    """

    momentum_decay: float = 0.004

    rule: ClassVar[int] = NADAM
    learning_rate: ClassVar[float] = 0.002

    def __post_init__(self):
        super().__post_init__()
        self._check("momentum_decay")

    def settings(self) -> dict[str, float]:
        return {**super().settings(), "rate_decay": self.momentum_decay}


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """RMSprop (Hinton 2012, lecture 6).

    ``g = dW + weight_decay * W``, ``v = alpha * v + (1 - alpha) * g**2``,
    ``b = momentum * b + g / (sqrt(v) + eps)``, ``W -= learning_rate * b``.

    Parameters
    ----------
    alpha : float, >= 0 and < 1
    eps : float, > 0
    momentum : float, >= 0 and < 1
    weight_decay : float, >= 0
    """

    alpha: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.0
    weight_decay: float = 0.0

    rule: ClassVar[int] = RMSPROP
    n_state_arrays: ClassVar[int] = 2
    learning_rate: ClassVar[float] = 0.01

    def __post_init__(self):
        self._check_fraction("alpha", self.alpha)
        self._check_fraction("momentum", self.momentum)
        self._check("weight_decay")
        self._check_eps()

    def settings(self) -> dict[str, float]:
        return {"momentum": self.momentum, "beta": self.alpha, "epsilon": self.eps, "weight_decay": self.weight_decay}


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan and Singer 2011).

    ``g = dW + weight_decay * W``, ``v = v + g**2``, and in step t
    ``W -= learning_rate / (1 + (t - 1) * lr_decay) * g / (sqrt(v) + eps)``.

    Parameters
    ----------
    lr_decay : float, >= 0
    eps : float, > 0
    weight_decay : float, >= 0
    """

    lr_decay: float = 0.0
    eps: float = 1e-10
    weight_decay: float = 0.0

    rule: ClassVar[int] = ADAGRAD
    n_state_arrays: ClassVar[int] = 1
    learning_rate: ClassVar[float] = 0.01

    def __post_init__(self):
        self._check("lr_decay", "weight_decay")
        self._check_eps()

    def settings(self) -> dict[str, float]:
        return {"rate_decay": self.lr_decay, "epsilon": self.eps, "weight_decay": self.weight_decay}


# The table: names in `fastmlp.train` and of the estimators' solvers.  To add one: a code and the arithmetic in
# `fastmlp.kernels.ops.optimizers`, a class and its name here and in `fastmlp.__init__`, and the same in NumPy in
# `fastmlp.reference`.
OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "adagrad": Adagrad,
    "nadam": NAdam,
}
