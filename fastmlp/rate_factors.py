"""Factors of the learning rate: the arguments of `fastmlp.train`, checked, and what kernels take from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from fastmlp import checks
from fastmlp.optimizers import Optimizer

NTK = "ntk"


class RateFactors(NamedTuple):
    """The factors of a training run; `check_rate_factors` makes them.

    Attributes
    ----------
    weight_rate_factors : tuple of float, "ntk" or None
        One per layer.
    bias_rate_factor : float
    scale_rate_factor : float or None
        Of the scale of the input; None if there is none.
    """

    weight_rate_factors: Any = None
    bias_rate_factor: float = 1.0
    scale_rate_factor: float | None = None

    def of_layers(self, widths: Sequence[int], optimizer: Optimizer) -> list[dict[str, float]]:
        """Return the factors of every layer, by the names of the fields of the kernels' table of layers.

        With "ntk", training is that of weights V with W = V / sqrt(n_in): the gradient of V is that of W over
        sqrt(n_in), and a step of V is sqrt(n_in) times one of W.
        """
        factors = []
        for layer, n_in in enumerate(widths[:-1]):
            rate, epsilon, decay = 1.0, 1.0, 1.0
            if self.weight_rate_factors == NTK:
                epsilon = math.sqrt(n_in)
                rate = 1 / epsilon if optimizer.scale_invariant else 1 / n_in
                decay = epsilon if optimizer.decoupled else n_in
            elif self.weight_rate_factors is not None:
                rate = self.weight_rate_factors[layer]
            factors.append(
                {
                    "weight_rate": rate,
                    "weight_epsilon": epsilon,
                    "weight_decay": decay,
                    "bias_rate": self.bias_rate_factor,
                }
            )
        return factors


def check_rate_factors(
    n_layers: int, weight_rate_factors: Any, bias_rate_factor: Any, scale_rate_factor: Any
) -> RateFactors:
    """Check the arguments of `fastmlp.train` of these names, and return them as RateFactors."""
    if weight_rate_factors is not None and not (isinstance(weight_rate_factors, str) and weight_rate_factors == NTK):
        message = (
            f"weight_rate_factors must be 'ntk' or one number per layer ({n_layers}, with the last one), "
            f"got {weight_rate_factors!r}"
        )
        if isinstance(weight_rate_factors, str) or not isinstance(weight_rate_factors, Iterable):
            raise TypeError(message)
        weight_rate_factors = tuple(weight_rate_factors)
        if len(weight_rate_factors) != n_layers:
            raise ValueError(message)
        weight_rate_factors = tuple(
            checks.check_number(factor, "weight_rate_factors: each") for factor in weight_rate_factors
        )
    if scale_rate_factor is not None:
        scale_rate_factor = checks.check_positive(scale_rate_factor, "scale_rate_factor")
    bias_rate_factor = checks.check_number(bias_rate_factor, "bias_rate_factor")
    return RateFactors(weight_rate_factors, bias_rate_factor, scale_rate_factor)
