"""Dropout, penalties, clipping of the gradient, and the largest norm of a unit's weights."""

from __future__ import annotations

import math
from collections import namedtuple
from typing import Any, NamedTuple

import numpy as np

from .optimizers import optimizer_update

# Regularization beside the optimizer's weight decay: the dropout rates of the hidden layers and of the input, the
# penalties' factors, the largest norms of the gradient and of a unit's weights (0: any), and the seed of dropout.
Regularization = namedtuple(
    "Regularization", "dropout input_dropout l1 l2 clip_norm max_norm seed", defaults=((), 0.0, 0.0, 0.0, 0.0, 0.0, 0)
)
NO_REGULARIZATION = Regularization()


class InputScale(NamedTuple):
    """A scale of the features that is learnt, with what the first weights are its product with.

    Attributes
    ----------
    weight : ndarray (n_in, n_out)
    values : ndarray (n_in,)
    state : array or tuple
        The optimizer's, of the values.
    rate : float
        Factor of the values' learning rate.
    rule : Rule, optional
        The values' in the step that is made.
    """

    weight: Any
    values: Any
    state: Any
    rate: float
    rule: Any = None


def scale_gradient(dweight, weight, values):
    """Make the gradient of values * weight that of weight, in place; return that of values, and the sum of squares."""
    dvalues = (weight * dweight).sum(axis=1)
    dweight *= values[:, None]
    squares = (dweight * dweight).sum(dtype=np.float64) + (dvalues * dvalues).sum(dtype=np.float64)
    return dvalues, float(squares)


def update_scaled(product, scale, velocity, dweight, dvalues, factor, rule):
    """Make an optimizer's step for an InputScale and its weights, and set their product, in place."""
    update_strip(scale.values, scale.state, dvalues, factor, scale.rule)
    update_strip(scale.weight, velocity, dweight, factor, rule)
    product[:] = scale.values[:, None] * scale.weight


def mix(x):
    """Return 32 bits made from 32 bits, each of which depends on all of those (Wellons 2018)."""
    x = x ^ x >> 16
    x = (x * 0x21F0AAAD) & 0xFFFFFFFF
    x = x ^ x >> 15
    x = (x * 0x735A2D97) & 0xFFFFFFFF
    return x ^ x >> 15


def keep_lanes(seed, update, layer, rate, rows, columns):
    """Return what a layer's units (-1: the input) are multiplied by in an update: 0, or 1 / (1 - rate)."""
    threshold = min(round(rate * 2**32), 2**32 - 1)
    first = mix((mix(((seed & 0xFFFFFFFF) + update) & 0xFFFFFFFF) + layer + 1) & 0xFFFFFFFF)
    second = mix(mix(((seed >> 31) + update) & 0xFFFFFFFF) ^ (layer + 1))
    counter = np.arange(rows * columns, dtype=np.int64).reshape(rows, columns)
    bits = mix(mix((counter + first) & 0xFFFFFFFF) ^ second)
    return np.where(bits >= threshold, np.float32(2**32 / (2**32 - threshold)), np.float32(0))


def penalize(weight, gradient, l1, l2):
    """Add l2 * weight + l1 * sign(weight) to the gradient, in place; return the sum of the gradient's squares."""
    gradient += l2 * weight + l1 * np.sign(weight)
    return float((gradient * gradient).sum(dtype=np.float64))


def update_strip(parameter, state, gradient, factor, rule):
    """Make an optimizer's step for factor * gradient, in place."""
    optimizer_update(parameter, state, gradient * parameter.dtype.type(factor), rule)


def limit_norms(weight, largest):
    """Scale columns whose norm is above `largest` down to it, in place."""
    norms = np.sqrt((weight * weight).sum(axis=0))
    weight *= np.where(norms > largest, largest / np.maximum(norms, largest), 1).astype(weight.dtype)


def deferred_update(weights, biases, velocities, gradients, rules, update_biases, regularization, scale=None):
    """Update all parameters, in place: penalties, clipping, the optimizer, and the largest norm, in this order.

    `rules` has two for every layer, of its weights and of its biases.  With an InputScale, the first layer's weights
    are the product that it holds.
    """
    squares = 0.0
    for layer, (weight, bias, (dweight, dbias)) in enumerate(zip(weights, biases, gradients)):
        squares += penalize(weight, dweight, regularization.l1, regularization.l2)
        if layer == 0 and scale is not None:
            dscale, squares = scale_gradient(dweight, scale.weight, scale.values)
        squares += penalize(bias, dbias, 0.0, 0.0) if update_biases else 0.0
    clip_norm = regularization.clip_norm
    factor = min(1.0, clip_norm / (math.sqrt(squares) + 1e-6)) if clip_norm else 1.0  # as in PyTorch
    for layer, (weight, bias, velocity, (dweight, dbias)) in enumerate(zip(weights, biases, velocities, gradients)):
        of_weights, of_biases = rules[layer]
        if layer == 0 and scale is not None:
            update_scaled(weight, scale, velocity[0], dweight, dscale, factor, of_weights)
        else:
            update_strip(weight, velocity[0], dweight, factor, of_weights)
        if update_biases:
            update_strip(bias, velocity[1], dbias, factor, of_biases)
        if regularization.max_norm:
            limit_norms(weight, regularization.max_norm)
