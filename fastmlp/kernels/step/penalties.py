"""What needs the whole gradient before any weight is updated, or the whole of a unit's weights after it: penalties,
clipping by norm, max-norm.

The backward pass stores the gradients (rule DEFER), laid out like the parameters, and two more regions go through them:
the penalties are added and the squares summed up, then everything is updated.  Both work on strips of NARROW columns of
a layer, the numbers of which count on from layer to layer; the sums are added up in that order by every thread.
"""

import numpy as np

from fastmlp.kernels.jit import inline_llvm, inline_numba, kernel
from fastmlp.kernels.ops.dense import ceil_div, column_start
from fastmlp.kernels.ops.optimizers import optimizer_update
from fastmlp.kernels.simd.functions import sqrt
from fastmlp.kernels.simd.processors import NARROW
from fastmlp.kernels.simd.vector import add, div, first_lanes, fma, load, maximum, mul, splat, store, sub, sum_lanes
from fastmlp.kernels.simd.vector import where_positive as where
from fastmlp.kernels.step.network import bias_rule, partition, weight_of, weight_rule


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
def square_biases(network, layer, strip):
    """Return the sum of the squares of a strip of a layer's biases' gradient, 0 if they are not updated."""
    row, none = network.layers[layer], np.float32(0)
    if not row.has_bias:
        return none
    bias, columns = row.bias + strip * NARROW, row.n_out - strip * NARROW
    return penalize(network.parameters, network.state, bias, np.int64(0), 1, columns, none, none)


@inline_numba
def update_biases(network, layer, strip, factor, rule):
    """Update a strip of a layer's biases, if they are to be."""
    row = network.layers[layer]
    if row.has_bias:
        update_strip(
            network.parameters, network.state, row.bias + strip * NARROW, np.int64(0), 1, factor,
            bias_rule(network, layer, rule),
        )  # fmt: skip


@inline_numba
def sum_squares(network, first_layer, n_sums, l1, l2, work):
    """Add penalties to a partition of the gradient, and put the sums of its squares into workspace, behind `n_sums`;
    for the layers from `first_layer` on."""
    unit = network.layout.squares + n_sums
    for layer in range(first_layer, network.layers.size):
        weight = weight_of(network, layer)
        first, last = partition(layer_strips(network, layer), work)
        for strip in range(first, last):
            columns, at = weight.columns - strip * NARROW, column_start(weight, strip * NARROW)
            total = penalize(network.parameters, network.state, at, weight.row, weight.rows, columns, l1, l2)
            network.workspace[unit + strip] = total + square_biases(network, layer, strip)
        unit += layer_strips(network, layer)


@inline_numba
def count_sums(network, first_layer):
    """Return how many sums `sum_squares` makes."""
    n_sums = np.int64(0)
    for layer in range(first_layer, network.layers.size):
        n_sums += layer_strips(network, layer)
    return n_sums


@inline_numba
def clipping_factor(network, n_sums, clip_norm):
    """Return what the gradient is multiplied by to have at most this norm (as in PyTorch); 1 if that is 0."""
    total = 0.0
    for unit in range(n_sums):
        total += network.workspace[network.layout.squares + unit]
    return np.float32(min(1.0, clip_norm / (np.sqrt(total) + 1e-6))) if clip_norm > 0 else np.float32(1)


@inline_numba
def update_partition(network, first_layer, factor, max_norm, rule, work):
    """Update a partition of the parameters, from `first_layer` on, by `factor` times the stored gradient."""
    for layer in range(first_layer, network.layers.size):
        weight, own_rule = weight_of(network, layer), weight_rule(network, layer, rule)
        first, last = partition(layer_strips(network, layer), work)
        for strip in range(first, last):
            at = column_start(weight, strip * NARROW)
            update_strip(network.parameters, network.state, at, weight.row, weight.rows, factor, own_rule)
            update_biases(network, layer, strip, factor, rule)
            if max_norm > 0:
                limit_norms(network.parameters, at, weight.row, weight.rows, max_norm)
