"""The table of initializers: weights drawn at random."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Initializer(NamedTuple):
    """A row of the table.

    Attributes
    ----------
    draw : callable
        Takes n_in, n_out and a generator, and returns weights (n_in, n_out).
    has_bias : bool
        Whether the network has biases; they start at zero.
    draw_bias : callable, optional
        Takes n_out and a generator, and returns biases (n_out,).
    zero_output : bool
        Whether weights and biases of the last layer are zero, and not drawn.
    """

    draw: Callable[[int, int, Any], np.ndarray]
    has_bias: bool = True
    draw_bias: Callable[[int, Any], np.ndarray] | None = None
    zero_output: bool = False


def _normal(variance) -> Initializer:
    return Initializer(lambda n_in, n_out, rng: rng.standard_normal((n_in, n_out)) * np.sqrt(variance(n_in, n_out)))


def _uniform(square) -> Initializer:
    return Initializer(lambda n_in, n_out, rng: rng.uniform(-1, 1, (n_in, n_out)) * np.sqrt(square(n_in, n_out)))


def _orthogonal(n_in, n_out, rng):
    q, r = np.linalg.qr(rng.standard_normal((max(n_in, n_out), min(n_in, n_out))))
    q *= np.sign(np.diag(r))  # without which they are not drawn evenly (Mezzadri 2007)
    return q if n_in >= n_out else q.T


def _notebook(n_in, n_out, rng):
    return rng.uniform(-1, 1, (n_in, n_out)) * (1 / np.sqrt(n_in * n_out))


INITS = {
    "he": _normal(lambda n_in, n_out: 2 / n_in),  # He et al. 2015, eq. 10
    "he_uniform": _uniform(lambda n_in, n_out: 6 / n_in),
    "glorot": _uniform(lambda n_in, n_out: 6 / (n_in + n_out)),  # Glorot and Bengio 2010, eq. 16
    "glorot_normal": _normal(lambda n_in, n_out: 2 / (n_in + n_out)),
    "lecun": _normal(lambda n_in, n_out: 1 / n_in),  # LeCun et al. 1998, eq. 16
    "lecun_uniform": _uniform(lambda n_in, n_out: 3 / n_in),
    "orthogonal": Initializer(_orthogonal),  # Saxe et al. 2014
    "realmlp": _normal(lambda n_in, n_out: 1 / n_in)._replace(  # Holzmüller et al. 2024
        draw_bias=lambda n_out, rng: rng.standard_normal(n_out), zero_output=True
    ),
    "zeros": Initializer(lambda n_in, n_out, rng: np.zeros((n_in, n_out))),
    "notebook": Initializer(_notebook, has_bias=False),
}
