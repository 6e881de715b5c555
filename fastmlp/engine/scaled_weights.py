"""The first layer's weights as a product of a scale of the input and weights, both of which are learnt."""

from __future__ import annotations

import numpy as np

from fastmlp.engine.parameters import Parameters
from fastmlp.engine.workspace import first_panels
from fastmlp.kernels.simd.processors import NARROW
from fastmlp.memory import round_up


class ScaledWeights:
    """Views of what `fastmlp.kernels.step.input_scale` works on: W = s * V, with s for every row of W.

    Parameters
    ----------
    network : Network
        Packed, with room for the scale.
    parameters : Parameters
    start : int
        Where in the network's state V and s begin, laid out like the network's parameters.

    Attributes
    ----------
    at : int
        Where the scale lies, from `start` on.
    values : ndarray (n_features,) of float32
        The scale.
    """

    def __init__(self, network, parameters: Parameters, start: int):
        n_features = parameters.widths[0]
        shadow = network.state[start : start + network.parameters.size]
        self.start, self.at = start, network.parameters.size - round_up(n_features, int(NARROW))
        self.values = shadow[self.at : self.at + n_features]
        self._products = first_panels(network, parameters, network.parameters)
        self._weights = first_panels(network, parameters, shadow)
        self.values[:] = 1
        for weight, product in zip(self._weights, self._products):
            weight[:] = product

    def follow(self) -> None:
        """Have the product be the network's weights, which may have been replaced: where they were, the scale stays,
        unless it is 0."""
        kept = np.ones(len(self.values), bool)
        for weight, product in zip(self._weights, self._products):
            kept &= (weight * self.values[:, None] == product).all(axis=1)
        self.values[~kept & (self.values == 0)] = 1
        for weight, product in zip(self._weights, self._products):
            weight[~kept] = product[~kept] / self.values[~kept, None]
