"""Initial weights; to add an initializer: a row of INITS."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Initializer(NamedTuple):
    """A row of the table.

    Attributes
    ----------
    draw : callable
        Takes n_in, n_out and a generator; returns weights (n_in, n_out).
    has_bias : bool
        Whether the network has biases; they start at zero.
    is_realmlp : bool
        Whether biases are standard normal, and weights and biases of the last layer zero.
    """

    draw: Callable
    has_bias: bool = True
    is_realmlp: bool = False


def _normal(variance):
    return Initializer(lambda n_in, n_out, rng: rng.standard_normal((n_in, n_out)) * np.sqrt(variance(n_in, n_out)))


def _uniform(square):
    return Initializer(lambda n_in, n_out, rng: rng.uniform(-1, 1, (n_in, n_out)) * np.sqrt(square(n_in, n_out)))


def _orthogonal(n_in, n_out, rng):
    q, r = np.linalg.qr(rng.standard_normal((max(n_in, n_out), min(n_in, n_out))))
    q *= np.sign(np.diag(r))
    return q if n_in >= n_out else q.T


INITS = {
    "he": _normal(lambda n_in, n_out: 2 / n_in),  # He et al. 2015
    "he_uniform": _uniform(lambda n_in, n_out: 6 / n_in),
    "lecun": _normal(lambda n_in, n_out: 1 / n_in),  # LeCun et al. 1998
    "lecun_uniform": _uniform(lambda n_in, n_out: 3 / n_in),
    "glorot": _uniform(lambda n_in, n_out: 6 / (n_in + n_out)),  # Glorot and Bengio 2010
    "glorot_normal": _normal(lambda n_in, n_out: 2 / (n_in + n_out)),
    "orthogonal": Initializer(_orthogonal),  # Saxe et al. 2014
    "realmlp": _normal(lambda n_in, n_out: 1 / n_in)._replace(is_realmlp=True),  # Holzmüller et al. 2024
    "zeros": Initializer(lambda n_in, n_out, rng: np.zeros((n_in, n_out))),
    "notebook": Initializer(
        lambda n_in, n_out, rng: rng.uniform(-1, 1, (n_in, n_out)) / np.sqrt(n_in * n_out), has_bias=False
    ),
}


def initialize(widths, init, rng):
    """Return weights (n_in, n_out) and biases (n_out,), drawn by one of INITS, in float32."""
    if init not in INITS:
        raise ValueError(f"init must be one of {', '.join(map(repr, INITS))}, got {init!r}")
    row, weights, biases = INITS[init], [], []
    for n_in, n_out in zip(widths, widths[1:]):
        is_zero = row.is_realmlp and len(weights) == len(widths) - 2
        weights.append(np.zeros((n_in, n_out)) if is_zero else row.draw(n_in, n_out, rng))
        biases.append(rng.standard_normal(n_out) if row.is_realmlp and not is_zero else np.zeros(n_out))
    return [w.astype(np.float32) for w in weights], [b.astype(np.float32) for b in biases]
