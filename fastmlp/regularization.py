"""Regularization: the arguments of `fastmlp.train`, checked, and the settings that kernels take from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from fastmlp import checks


class Regularization(NamedTuple):
    """The regularization of a training run; `check_regularization` makes it.

    Attributes
    ----------
    dropout : tuple of float
        For each hidden layer, the fraction of its units that are dropped.
    input_dropout : float
        Fraction of the features that are dropped.
    l1, l2, clip_norm, max_norm : float
        0 means off.
    ema_decay : float
        Of the moving average of the parameters; 0: there is none.
    """

    dropout: tuple[float, ...] = ()
    input_dropout: float = 0.0
    l1: float = 0.0
    l2: float = 0.0
    clip_norm: float = 0.0
    max_norm: float = 0.0
    ema_decay: float = 0.0

    @property
    def needs_full_gradient(self) -> bool:
        """Whether the full gradient is needed before any parameter is updated."""
        return any((self.l1, self.l2, self.clip_norm, self.max_norm))

    def settings(self) -> dict[str, float]:
        """Return the settings for the kernels, by the names of the record's fields."""
        return {"l1": self.l1, "l2": self.l2, "clip_norm": self.clip_norm, "max_norm": self.max_norm}


def dropout_threshold(rate: float) -> int:
    """Return a dropout rate as kernels need it: in units of 2**-32."""
    return min(round(rate * 2**32), 2**32 - 1)


def check_regularization(
    n_hidden: int, dropout: Any, input_dropout: Any, l1: Any, l2: Any, clip_norm: Any, max_norm: Any, ema_decay: Any
) -> Regularization:
    """Check the arguments of `fastmlp.train` that regularize, and return them as a Regularization."""
    if isinstance(dropout, Sequence) and not isinstance(dropout, str):
        if len(dropout) != n_hidden:
            raise ValueError(f"dropout must be one number, or one per hidden layer ({n_hidden}), got {dropout!r}")
    else:
        dropout = [dropout] * max(n_hidden, 1)
    rates = tuple(checks.check_fraction(rate, "dropout") for rate in dropout)[:n_hidden]
    return Regularization(
        rates,
        checks.check_fraction(input_dropout, "input_dropout"),
        checks.check_number(l1, "l1"),
        checks.check_number(l2, "l2"),
        0.0 if clip_norm is None else checks.check_positive(clip_norm, "clip_norm"),
        0.0 if max_norm is None else checks.check_positive(max_norm, "max_norm"),
        checks.check_fraction(ema_decay, "ema_decay"),
    )
