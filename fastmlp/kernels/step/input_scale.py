"""A factor for each feature that is learnt: the first layer computes (x * s) @ V + b.

The parameters hold W = s * V, row by row, so that every kernel but the update is as without a scale.  V and s are in
the optimizer's state, laid out like the parameters: V where W is, from `shadow` on, and s behind all of them, from
`shadow + scale` on.  With dW = x.T @ dout, which the backward pass stores (rule DEFER),

    W = s * V     dV = s * dW,  ds = (V * dW).sum(axis=1)

A feature is a row of W, so that work is split by blocks of NARROW rows, which count on as strips do in
`fastmlp.kernels.step.penalties`.
"""

from collections import namedtuple

import numpy as np

from fastmlp.kernels.jit import inline_numba, kernel
from fastmlp.kernels.ops.dense import ceil_div, element_offset
from fastmlp.kernels.ops.optimizers import optimizer_update, scale_rule
from fastmlp.kernels.simd.processors import NARROW
from fastmlp.kernels.simd.vector import add, first_lanes, fma, load, mul, splat, store, sub, sum_lanes
from fastmlp.kernels.simd.vector import where_positive as where
from fastmlp.kernels.step.network import partition, weight_of, weight_rule
from fastmlp.kernels.step.penalties import layer_strips, square_biases, update_biases

# Where things are: the shadow in state, the scale behind the parameters; and the factor of its learning rate.
Scale = namedtuple("Scale", "shadow at rate")


@kernel
def scale_gradient(parameters, state, weight, shadow, scale, first, last, l1, l2):
    """dV and ds from dW + l2 * W + l1 * sign(W), for the rows first..last-1; returns the sum of their squares

    parameters  (n_in, n_out)   W, read
    state       flat            V and s are read, from `shadow` on; its last part, which is laid out like parameters,
                                holds the gradient: dW is overwritten by dV, and ds is set
    """
    zero, total = splat(np.float32(0)), splat(np.float32(0))
    gradient, squares = state.size - parameters.size, np.float32(0)
    for i in range(first, last):
        own, dscale = splat(state[shadow + scale + i]), zero
        for c in range(0, weight.columns, NARROW):
            at = element_offset(weight, i, c)
            w, dw = load(parameters, at), load(state, gradient + at)
            sign = where(w, splat(l1), where(sub(zero, w), splat(-l1), zero))
            dw = first_lanes(add(fma(splat(l2), w, dw), sign), weight.columns - c, np.float32(0))
            dscale = fma(first_lanes(load(state, shadow + at), weight.columns - c, np.float32(0)), dw, dscale)
            dv = mul(own, dw)
            store(dv, state, gradient + at)
            total = fma(dv, dv, total)
        ds = sum_lanes(dscale)
        state[gradient + scale + i] = ds
        squares += ds * ds
    return sum_lanes(total) + squares


@kernel
def update_scaled(parameters, state, weight, shadow, scale, first, last, factor, of_weights, of_scale):
    """V and s -= the optimizer's step for factor * their gradients, and W = s * V, for the rows first..last-1

    parameters  (n_in, n_out)   W, updated in place; behind it s: overwritten
    state       flat            V, s and the optimizer's state: updated in place; the gradient: multiplied by `factor`

    `first` is a multiple of NARROW.
    """
    gradient = state.size - parameters.size
    for c in range(first, last, NARROW):
        at = scale + c
        store(load(state, shadow + at), parameters, at)
        store(mul(splat(factor), load(state, gradient + at)), state, gradient + at)
        optimizer_update(parameters, state, at, state, gradient + at, NARROW, of_scale)
        store(load(parameters, at), state, shadow + at)
    for i in range(first, last):
        own = splat(parameters[scale + i])
        for c in range(0, weight.columns, NARROW):
            at = element_offset(weight, i, c)
            store(load(state, shadow + at), parameters, at)
            store(mul(splat(factor), load(state, gradient + at)), state, gradient + at)
            optimizer_update(parameters, state, at, state, gradient + at, NARROW, of_weights)
            v = load(parameters, at)
            store(v, state, shadow + at)
            store(mul(own, v), parameters, at)


@inline_numba
def row_blocks(network):
    """Return how many blocks of NARROW rows the first layer's weights have."""
    return ceil_div(network.layers[0].n_in, NARROW)


@inline_numba
def square_scaled(network, scale, l1, l2, work):
    """Make a partition of the first layer's gradients those of V and s, put the sums of their squares into workspace,
    and return how many sums there are in all."""
    first_layer, weight, unit = np.int64(0), weight_of(network, np.int64(0)), network.layout.squares
    first, last = partition(row_blocks(network), work)
    for block in range(first, last):
        first_row, last_row = block * NARROW, min((block + 1) * NARROW, weight.rows)
        network.workspace[unit + block] = scale_gradient(
            network.parameters, network.state, weight, scale.shadow, scale.at, first_row, last_row, l1, l2
        )
    unit += row_blocks(network)
    first, last = partition(layer_strips(network, first_layer), work)
    for strip in range(first, last):
        network.workspace[unit + strip] = square_biases(network, first_layer, strip)
    return row_blocks(network) + layer_strips(network, first_layer)


@inline_numba
def update_scaled_partition(network, scale, factor, rule, work):
    """Update a partition of the first layer's parameters by the stored gradient."""
    first_layer, weight = np.int64(0), weight_of(network, np.int64(0))
    of_scale = scale_rule(rule, scale.rate, np.float32(1), np.float32(0))
    first, last = partition(row_blocks(network), work)
    for block in range(first, last):
        first_row, last_row = block * NARROW, min((block + 1) * NARROW, weight.rows)
        update_scaled(
            network.parameters, network.state, weight, scale.shadow, scale.at, first_row, last_row, factor,
            weight_rule(network, first_layer, rule), of_scale,
        )  # fmt: skip
    first, last = partition(layer_strips(network, first_layer), work)
    for strip in range(first, last):
        update_biases(network, first_layer, strip, factor, rule)
