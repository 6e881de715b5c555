"""The parameters of a network: one contiguous, aligned float32 buffer with named views into it."""

from __future__ import annotations

import numpy as np

from fastmlp import checks
from fastmlp.data.scaling import InputScale
from fastmlp.engine.locks import Lock, SharedLock
from fastmlp.engine.views import Views
from fastmlp.initializers import INITS
from fastmlp.kernels.simd.processors import NARROW, PANEL
from fastmlp.memory import aligned_zeros, round_up

_ROWS_AT_ONCE = 1 << 16  # rows of weights converted to float64 at a time


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
    """Parameters drawn at random, by one of INITS."""
    parameters, row = Parameters(widths), INITS[init]
    for layer, (n_in, n_out) in enumerate(parameters.layer_shapes()):
        if row.zero_output and layer == len(widths) - 2:
            continue
        parameters.weights[layer][:] = row.draw(n_in, n_out, rng)
        if row.draw_bias is not None:
            parameters.biases[layer][:] = row.draw_bias(n_out, rng)
    return parameters


def starting_parameters(init, widths, rng: np.random.Generator) -> tuple[Parameters, bool]:
    """Return parameters for the argument `init` of `fastmlp.train`, and whether there are biases.

    Given arrays, or those of a model, are copied.
    """
    if isinstance(init, str):
        checks.check_choice(init, "init", INITS)
        return initial_parameters(widths, init, rng), INITS[init].has_bias
    has_bias = getattr(init, "has_bias", True)
    if hasattr(init, "weights") and hasattr(init, "biases"):
        pairs = list(zip(init.weights, init.biases))
    else:
        try:
            pairs = [(np.asarray(weight), np.asarray(bias)) for weight, bias in init]
        except (TypeError, ValueError):
            raise TypeError(
                f"init must be one of {', '.join(map(repr, INITS))}, a list of (weight, bias), or a model, "
                f"got {type(init).__name__}"
            ) from None
    parameters = Parameters(widths)
    given = [np.shape(weight) for weight, _ in pairs]
    if given != parameters.layer_shapes() or [np.shape(b) for _, b in pairs] != [(n,) for n in widths[1:]]:
        raise ValueError(
            f"init must have weights of shapes {parameters.layer_shapes()} with a bias each, got weights of shapes "
            f"{given} and biases of shapes {[np.shape(b) for _, b in pairs]}"
        )
    if any(array.dtype.kind not in "buif" for pair in pairs for array in map(np.asarray, pair)):
        raise TypeError("init must hold numbers")
    with np.errstate(over="ignore"):  # infinities are refused below
        parameters.set(*zip(*pairs))
    if not np.isfinite(parameters.buffer).all():
        raise ValueError("init must hold finite numbers, got NaN or infinity")
    return parameters, has_bias


def shifted_bias(parameters: Parameters, scale: InputScale) -> np.ndarray:
    """Return the first bias for x * factor instead of (x - offset) * factor: b - (offset * factor) @ W, float64."""
    weight, shift = parameters.weights[0], scale.offset * scale.factor
    bias = parameters.biases[0].astype(np.float64)
    for start in range(0, len(shift), _ROWS_AT_ONCE):
        part = shift[start : start + _ROWS_AT_ONCE]
        used = np.flatnonzero(part)
        bias -= part[used] @ weight[start : start + _ROWS_AT_ONCE][used].astype(np.float64)
    return bias
