"""The parameters of a network: one contiguous, aligned float32 buffer with named views into it."""

from __future__ import annotations

import numpy as np

from fastmlp.engine.locks import Lock, SharedLock
from fastmlp.engine.views import Views
from fastmlp.initializers import INITS
from fastmlp.kernels.simd.processors import NARROW, PANEL
from fastmlp.memory import aligned_zeros, round_up


class Parameters:
    """Weights and biases of all layers, row-major, rows padded to whole vectors.

    Parameters
    ----------
    widths : sequence of int
        Number of inputs, of units of every hidden layer, and of outputs.

    Attributes
    ----------
    buffer : ndarray of float32
        All of them.  The padding is zero.
    weights, biases : Views, lists of ndarray of float32
        Views of shape (n_in, n_out) and (n_out,).
    lock : SharedLock
        Held for writing while fastmlp changes them, and for reading while it needs them unchanged.
    training : Lock
        Held by the one who trains on them.
    offsets : list of (int, int, int)
        Of every layer: where its weights and its bias start in `buffer`, and the elements from row to row.
    """

    def __init__(self, widths):
        self.widths = tuple(int(width) for width in widths)
        self.offsets = []
        size = 0
        for n_in, n_out in self.layer_shapes():
            row = round_up(n_out, int(NARROW))
            self.offsets.append((size, size + n_in * row, row))
            size += n_in * row + row
        self.buffer = aligned_zeros(size + int(PANEL))  # kernels read whole strips
        self.lock, self.training = SharedLock(), Lock()
        weights, biases = [], []
        for (n_in, n_out), (weight, bias, row) in zip(self.layer_shapes(), self.offsets):
            weights.append(self.buffer[weight:bias].reshape(n_in, row)[:, :n_out])
            biases.append(self.buffer[bias : bias + n_out])
        self.weights, self.biases = Views(weights, "weights", self.lock), Views(biases, "biases", self.lock)

    def __reduce__(self):  # copies, shallow ones too, and pickles have views into their own buffer
        return _from_buffer, (self.widths, self.buffer)

    def layer_shapes(self):
        """(n_in, n_out) of every layer."""
        return list(zip(self.widths, self.widths[1:]))

    def set(self, weights, biases):
        """Copy weights and biases in."""
        for target, value in zip(self.weights + self.biases, [*weights, *biases]):
            target[:] = value


def _from_buffer(widths, buffer: np.ndarray) -> Parameters:
    parameters = Parameters(widths)
    parameters.buffer[:] = buffer
    return parameters


def initial_parameters(widths, init: str, rng: np.random.Generator | np.random.RandomState) -> Parameters:
    """Parameters drawn at random, by one of INITS; biases are zero."""
    parameters = Parameters(widths)
    for (n_in, n_out), weight in zip(parameters.layer_shapes(), parameters.weights):
        weight[:] = INITS[init].draw(n_in, n_out, rng)
    return parameters
