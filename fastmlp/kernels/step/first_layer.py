"""The first layer's part of a training step, on three input paths.  Each function does a part of the work.

dense     any array, gathered into panels a few rows at a time
grouped   bytes that are mostly zero, by lists of groups of features (`fastmlp.kernels.ops.grouped`)
sparse    CSR matrices, and arrays in batches of one sample, by lists of entries (`fastmlp.kernels.ops.sparse`)

All three give bitwise the same result.
"""

import numpy as np

from fastmlp.kernels.jit import inline_numba
from fastmlp.kernels.ops import dense, grouped, sparse
from fastmlp.kernels.ops.dense import Prefetch, ceil_div, strips
from fastmlp.kernels.ops.gather import CSR, WORDS, cache_lines, gather, gather_standardized
from fastmlp.kernels.ops.grouped import BLOCK, GROUP, GROUPS_PER_PASS, GroupPrefetch, count_strips, strips_at_once
from fastmlp.kernels.ops.optimizers import PLAIN
from fastmlp.kernels.ops.sparse import FEATURES
from fastmlp.kernels.simd.addresses import address_of, int64s_at
from fastmlp.kernels.simd.processors import ROWS, STRIP, WIDE
from fastmlp.kernels.step.network import network_input, output_of, partition, scratch_of, weight_of, weight_rule


@inline_numba
def dense_input(network, data, batch, scale, work):
    """Gather a partition of the rows of the data set, before `dense_forward`, for input that is changed in between; and
    standardized, if there is a `scale`."""
    first, last = partition(batch.size, work)
    inp = network_input(network, batch.size)
    if scale.size > 0:
        gather_standardized(network.workspace, inp, data.rows, scale, batch.samples, batch.start, first, last)
    else:
        gather(network.workspace, inp, data.rows, batch.samples, batch.start, first, last)
    return first, last


@inline_numba
def dense_forward(network, data, batch, gathers, work):
    """Output of the first layer from rows of the data set, which are gathered as they are needed, if `gathers`: a share
    of the rows.

    While ROWS rows are multiplied, the next ROWS are fetched into cache, some of them with every strip, and a block of
    a row with every block: all at once they would fill the queues of the memory system, and earlier they would be gone
    again.  An epoch of 784-128-10 on standard-normal input took 249 ms with a row tile fetched at once, and 238 so.
    """
    layer, rows = network.layers[0], data.rows
    inp, out = network_input(network, batch.size), output_of(network, np.int64(0), batch.size)
    weight, n_strips, in_strip = weight_of(network, np.int64(0)), strips(out), ceil_div(batch.size, ROWS)
    data_at, samples_at = address_of(rows.data), address_of(batch.samples)
    first, last = partition(in_strip, work)
    for tile in range(first, last):
        start, end = tile * ROWS, min((tile + 1) * ROWS, batch.size)
        if gathers:
            gather(network.workspace, inp, rows, batch.samples, batch.start, start, end)
        next_start = batch.start + end
        n_next = min(ROWS, batch.samples.size - next_start)
        for strip in range(n_strips):
            prefetch = Prefetch(
                data_at, samples_at, rows.stride, rows.itemsize,
                next_start + n_next * strip // n_strips, next_start + n_next * (strip + 1) // n_strips,
            )  # fmt: skip
            dense.dense_forward(
                network.workspace, out, inp, network.parameters, weight, layer.bias, layer.forward_code,
                scratch_of(network, work.thread), strip * in_strip + tile, strip * in_strip + tile + 1, prefetch,
            )  # fmt: skip


@inline_numba
def dense_update(network, batch_size, rule, first_column, last_column, thread):
    """Weights updated: for the columns first_column..last_column-1, multiples of WIDE (or the end)."""
    layout, weight = network.layout, weight_of(network, np.int64(0))
    dense.dense_update(
        network.workspace, network_input(network, batch_size), output_of(network, np.int64(0), batch_size),
        network.parameters, network.state, weight, layout.zeros, weight_rule(network, np.int64(0), rule),
        scratch_of(network, thread), first_column // WIDE, ceil_div(last_column, WIDE), np.int64(0), weight.rows,
    )  # fmt: skip


@inline_numba
def grouped_input(data, batch, work):
    """Make the lists of a partition of the groups of features."""
    lists, rows = data.lists, data.rows
    first, last = partition(lists.groups // GROUPS_PER_PASS, work)
    first, last = first * GROUPS_PER_PASS, last * GROUPS_PER_PASS
    if rows.kind == WORDS:
        grouped.make_lists_from_words(lists, rows, batch.samples, batch.start, batch.size, first, last)
    else:
        # every thread finds all rows, and writes the same: sharing that would take a region of its own
        grouped.locate(lists, rows, batch.samples, batch.start, batch.size, rows.data.size - rows.stride)
        grouped.make_lists(lists, rows, batch.size, first, last)


@inline_numba
def grouped_forward(network, data, batch, work):
    """Compute the output of the first layer from lists: a partition of the strips.

    The rows of the next batch are fetched into cache meanwhile, a few of them with every group of features.
    """
    layer, rows, lists = network.layers[0], data.rows, data.lists
    out, weight = output_of(network, np.int64(0), batch.size), weight_of(network, np.int64(0))
    groups, blocks, n_strips = ceil_div(weight.rows, GROUP), ceil_div(batch.size, BLOCK), count_strips(out)
    at_once = strips_at_once(batch.size, work.n_parts)
    n_following, per_row = min(batch.size, batch.samples.size - batch.following), cache_lines(rows)
    n_prefetched = n_following if rows.kind == WORDS else n_following * per_row
    per_group = ceil_div(n_prefetched, ceil_div(n_strips, at_once) * blocks * groups)
    following = int64s_at(address_of(batch.samples) + batch.following * 8, n_following)
    first, last = partition(n_strips, work)
    for begin in range(first, last, at_once):
        end, done = min(begin + at_once, last), ceil_div(begin, at_once) * blocks * groups * per_group
        for strip in range(begin, end):
            grouped.grouped_start(network.workspace, out, network.parameters, layer.bias, strip)
        for block in range(blocks):
            prefetch = GroupPrefetch(rows, following, per_row, per_group, done, n_prefetched)
            grouped.grouped_add(
                network.workspace, out, network.layout.table, lists, block, network.parameters, weight, begin, end,
                prefetch,
            )  # fmt: skip
            done += groups * per_group
        for strip in range(begin, end):
            grouped.grouped_finish(network.workspace, out, layer.forward_code, strip)


@inline_numba
def grouped_update(network, data, batch_size, n_parts, rule, first_column, last_column, thread):
    """Weights updated: for the columns first_column..last_column-1, multiples of STRIP (or the end)."""
    dout, weight = output_of(network, np.int64(0), batch_size), weight_of(network, np.int64(0))
    last, at_once = ceil_div(last_column, STRIP), strips_at_once(batch_size, n_parts)
    for begin in range(first_column // STRIP, last, at_once):
        grouped.grouped_update(
            network.workspace, dout, network.layout.table, data.lists, network.parameters, network.state, weight,
            weight_rule(network, np.int64(0), rule), scratch_of(network, thread), begin, min(begin + at_once, last),
        )  # fmt: skip


@inline_numba
def sparse_input(data, batch, work):
    """Collect the entries of a partition of the samples."""
    first, last = partition(batch.size, work)
    if data.rows.kind == CSR:
        sparse.copy_nonzeros(data.entries, data.rows, batch.samples, batch.start, first, last)
    else:
        sparse.find_nonzeros(data.entries, data.rows, batch.samples, batch.start, first, last)
    return first, last


@inline_numba
def takes_row(batch_size, rule):
    """Return whether the entries of a batch need not be sorted for the backward pass."""
    return batch_size == 1 and rule.rule == PLAIN and rule.weight_decay == 0


@inline_numba
def sparse_forward(network, data, batch, sorts, work):
    """Compute the output of the first layer from entries, a partition of the strips; sort some features, if `sorts`."""
    layer, n_features = network.layers[0], network.layers[0].n_in
    out, weight = output_of(network, np.int64(0), batch.size), weight_of(network, np.int64(0))
    if sorts:
        first, last = partition(ceil_div(n_features, FEATURES), work)
        sparse.sort_nonzeros(data.entries, batch.size, n_features, first, last)
    first, last = partition(count_strips(out), work)
    for strip in range(first, last):
        sparse.sparse_forward(
            network.workspace, out, data.entries, network.parameters, weight, layer.bias,
            layer.forward_code, strip, data.rows, batch.samples, batch.following,
        )  # fmt: skip


@inline_numba
def sparse_update(network, data, batch_size, rule, first_column, last_column, thread):
    """Weights updated: for the columns first_column..last_column-1, multiples of STRIP (or the end)."""
    dout, weight = output_of(network, np.int64(0), batch_size), weight_of(network, np.int64(0))
    own_rule = weight_rule(network, np.int64(0), rule)
    for strip in range(first_column // STRIP, ceil_div(last_column, STRIP)):
        if takes_row(batch_size, rule):
            sparse.sparse_update_row(
                network.workspace, dout, data.entries, network.parameters, weight, own_rule.learning_rate, strip
            )
        else:
            sparse.sparse_update(
                network.workspace, dout, data.entries, network.parameters, network.state, weight, own_rule,
                scratch_of(network, thread), strip,
            )  # fmt: skip
