"""What needs the whole gradient before any weight is updated, or the whole of a unit's weights after it: penalties,
clipping by norm, max-norm.

The backward pass stores the gradients (rule DEFER), laid out like the parameters, and two more regions go through them:
the penalties are added and the squares summed up, then everything is updated.  Both work on strips of NARROW columns of
a layer, the numbers of which count on from layer to layer; the sums are added up in that order by every thread.
"""

import numpy as np

from fastmlp.kernels.jit import inline_llvm, inline_numba, kernel
from fastmlp.kernels.ops.dense import ceil_div, column_start
from fastmlp.kernels.ops.optimizers import optimizer_update, without_decay
from fastmlp.kernels.simd.functions import sqrt
from fastmlp.kernels.simd.processors import NARROW
from fastmlp.kernels.simd.vector import add, div, first_lanes, fma, load, maximum, mul, splat, store, sub, sum_lanes
from fastmlp.kernels.simd.vector import where_positive as where
from fastmlp.kernels.step.network import partition, weight_of


@kernel
def penalize(parameters, state, at, row, rows, columns, l1, l2):
    """gradient += l2 * weight + l1 * sign(weight), for a strip of columns; returns the sum of the gradient's squares

    parameters  (rows, columns)   read from `at` on, rows `row` apart; columns <= NARROW
    state       (rows, columns)   its last part, which is laid out like parameters, holds the gradient: updated in place
    """
    zero, total = splat(np.float32(0)), splat(np.float32(0))
    for i in range(rows):
        here = at + i * row
        there = state.size - parameters.size + here
        weight, gradient = load(parameters, here), load(state, there)
        sign = where(weight, splat(l1), where(sub(zero, weight), splat(-l1), zero))
        gradient = first_lanes(add(fma(splat(l2), weight, gradient), sign), columns, np.float32(0))
        store(gradient, state, there)
        total = fma(gradient, gradient, total)
    return sum_lanes(total)


@kernel
def update_strip(parameters, state, at, row, rows, factor, rule):
    """parameters -= the optimizer's step for factor * the stored gradient, for a strip of NARROW columns

    parameters  (rows, NARROW)   updated in place from `at` on, rows `row` apart; the optimizer's state likewise
    state       (rows, NARROW)   its last part holds the gradient: multiplied by `factor`
    """
    for i in range(rows):
        here = at + i * row
        there = state.size - parameters.size + here
        store(mul(splat(factor), load(state, there)), state, there)
        optimizer_update(parameters, state, here, state, there, NARROW, rule)


@kernel
def limit_norms(parameters, at, row, rows, largest):
    """Columns whose norm is above `largest` are scaled down to it, for a strip of NARROW columns

    parameters  (rows, NARROW)   updated in place from `at` on, rows `row` apart
    """
    total, limit, one = splat(np.float32(0)), splat(largest), splat(np.float32(1))
    for i in range(rows):
        weight = load(parameters, at + i * row)
        total = fma(weight, weight, total)
    norm = sqrt(total)
    factor = where(sub(norm, limit), div(limit, maximum(limit, norm)), one)
    for i in range(rows):
        store(mul(factor, load(parameters, at + i * row)), parameters, at + i * row)


@inline_llvm
def layer_strips(network, layer):
    return ceil_div(network.layers[layer].n_out, NARROW)


@inline_numba
def sum_squares(network, l1, l2, work):
    """Add penalties to a partition of the gradient, and put the sums of its squares into workspace."""
    unit = network.layout.squares
    for layer in range(network.layers.size):
        row, weight = network.layers[layer], weight_of(network, layer)
        first, last = partition(layer_strips(network, layer), work)
        for strip in range(first, last):
            columns, at = weight.columns - strip * NARROW, column_start(weight, strip * NARROW)
            total = penalize(network.parameters, network.state, at, weight.row, weight.rows, columns, l1, l2)
            if row.has_bias:
                bias, none = row.bias + strip * NARROW, np.float32(0)
                total += penalize(network.parameters, network.state, bias, np.int64(0), 1, columns, none, none)
            network.workspace[unit + strip] = total
        unit += layer_strips(network, layer)


@inline_numba
def clipping_factor(network, clip_norm):
    """Return what the gradient is multiplied by to have at most this norm (as in PyTorch); 1 if that is 0."""
    total, unit = 0.0, network.layout.squares
    for layer in range(network.layers.size):
        for strip in range(layer_strips(network, layer)):
            total += network.workspace[unit + strip]
        unit += layer_strips(network, layer)
    return np.float32(min(1.0, clip_norm / (np.sqrt(total) + 1e-6))) if clip_norm > 0 else np.float32(1)


@inline_numba
def update_partition(network, clip_norm, max_norm, rule, work):
    """Update a partition of the parameters by the stored gradient."""
    factor = clipping_factor(network, clip_norm)
    for layer in range(network.layers.size):
        row, weight = network.layers[layer], weight_of(network, layer)
        first, last = partition(layer_strips(network, layer), work)
        for strip in range(first, last):
            at = column_start(weight, strip * NARROW)
            update_strip(network.parameters, network.state, at, weight.row, weight.rows, factor, rule)
            if row.has_bias:
                bias = row.bias + strip * NARROW
                update_strip(network.parameters, network.state, bias, np.int64(0), 1, factor, without_decay(rule))
            if max_norm > 0:
                limit_norms(network.parameters, at, weight.row, weight.rows, max_norm)
