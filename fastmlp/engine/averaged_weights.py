"""The moving average of the parameters, which the model has in the place of those that are trained."""

from __future__ import annotations

import numpy as np

from fastmlp.engine.parameters import Parameters
from fastmlp.engine.workspace import packed_views, unpack


class AveragedWeights:
    """The average and a copy of the trained parameters, both in the optimizer's state.

    Parameters
    ----------
    network : Network
        Packed.
    parameters : Parameters
        The model's.
    start : int
        Where in the network's state the average begins, and the copy behind it, laid out like the network's parameters.
    """

    def __init__(self, network, parameters: Parameters, start: int):
        size = network.parameters.size
        self.start, self._network, self._parameters = start, network, parameters
        self._average, self._trained = network.state[start : start + 2 * size].reshape(2, size)
        self._views = packed_views(network._replace(parameters=self._average), parameters)
        self._begin()

    def _begin(self) -> None:
        self._average[:] = self._trained[:] = self._network.parameters

    def follow(self) -> None:
        """Have the network go on with what was trained, if the model still has the average; else begin a new average.

        The network has the model's parameters.
        """
        if all(np.array_equal(average, plain) for average, plain in self._views):
            self._network.parameters[:] = self._trained
        else:
            self._begin()

    def unpack(self) -> None:
        """Give the model the average, and keep what was trained."""
        self._trained[:] = self._network.parameters
        unpack(self._views, self._parameters)
