"""Regions: the parts of a training step that threads do side by side, one after the other.

A step of a network of L layers is 2 L - 1 regions, at least three, and INPUT before them where lists are made or the
input is prepared.  Within
a region no thread reads what another one writes:

INPUT     the first layer's lists made, or its input gathered, and prepared where it is to be
FORWARD   a layer's output; an inner layer's weights transposed for the way back
OUTPUT    the last layer's output, its loss and gradient, by rows
BACKWARD  a layer's weights updated and its input overwritten by its gradient, by columns of the input; for the second
          layer, whose input is the first one's output, the first layer's weights too, by the same columns
SQUARES, UPDATE   where gradients are stored: see `fastmlp.kernels.step.penalties`

The first layer has its three ways (see `fastmlp.kernels.step.first_layer`), and the layers behind it have two: tiles,
and rows for batches of one sample.  Every region is compiled when it is asked for first.
"""

import numpy as np

from fastmlp.kernels.jit import entry, inline_llvm, inline_numba
from fastmlp.kernels.ops.dense import ceil_div, strips, tiles
from fastmlp.kernels.ops.dropout import finish_forward, prepare_entries, prepare_rows
from fastmlp.kernels.ops.grouped import count_strips
from fastmlp.kernels.ops.losses import (
    CROSS_ENTROPY,
    ELEMENTWISE,
    NOTEBOOK,
    SOFTMAX_MSE,
    cross_entropy,
    elementwise,
    notebook,
    softmax_mse,
    weigh,
)
from fastmlp.kernels.simd.addresses import address_of, call_at, doubles_at, int64s_at
from fastmlp.kernels.simd.processors import NARROW, ROWS, STRIP, WIDE
from fastmlp.kernels.step import first_layer as first
from fastmlp.kernels.step.network import (
    ACTIVATION,
    N_IN,
    N_OUT,
    SLOPE_AT,
    backward_bias,
    backward_inner,
    backward_row,
    forward_dense,
    forward_row,
    forward_rows,
    layer_row,
    network_input,
    output_of,
    partition,
    transpose_weight,
)
from fastmlp.kernels.step.penalties import sum_squares, update_partition
from fastmlp.kernels.step.record import (
    CLIP_NORM,
    CONTEXT,
    DELTA,
    FINISH,
    FIRST_UNIT,
    FIRST_UPDATE,
    INPUT_FACTOR,
    INPUT_STANDARD,
    L1,
    L2,
    LOSS,
    LOSS_CODE,
    MAX_NORM,
    MODE,
    PREDICT,
    PREPARES,
    RULE_CODE,
    SAMPLE_WEIGHTS,
    SMOOTHING,
    TRAIN,
    UPDATE_RULE,
    WEIGH,
    batch_of,
    data_of,
    dropout_at,
    floats_of,
    network_of,
    rule_of,
    setting,
    targets_of,
)

INPUT, FORWARD, OUTPUT, BACKWARD, SQUARES, UPDATE = (np.int64(kind) for kind in range(6))

# ---------------------------------------------------------------------------------------------- the first layer


@inline_numba
def finish(context, network, layer, first_tile, last_tile):
    """What is left of a layer that keeps its slope, for some tiles of its output."""
    if layer_row(network, layer)[SLOPE_AT] > 0:
        call_at(context[FINISH], address_of(context), layer, first_tile, last_tile, np.int64(0))


@inline_numba
def finish_strips(context, network, layer, batch_size, thread, threads):
    """The same for a share of the strips of STRIP columns."""
    out = output_of(network, layer, batch_size)
    first_strip, last_strip = partition(count_strips(out), thread, threads)
    in_strip, wide = ceil_div(batch_size, ROWS), STRIP // WIDE
    finish(context, network, layer, first_strip * wide * in_strip, min(last_strip * wide, strips(out)) * in_strip)


@entry(5)
def finish_tiles(context_address, layer, first_tile, last_tile, _):
    context = int64s_at(context_address, CONTEXT)
    network, row = network_of(context), layer_row(network_of(context), layer)
    finish_forward(
        network.workspace, output_of(network, layer, batch_of(context).size), row[SLOPE_AT], row[ACTIVATION],
        dropout_at(context, layer), first_tile, last_tile,
    )  # fmt: skip


@entry(5)
def dense_first_forward(kind, layer, context_address, thread, threads):
    context = int64s_at(context_address, CONTEXT)
    network, data, batch = network_of(context), data_of(context), batch_of(context)
    if kind == INPUT:
        scale = doubles_at(context[INPUT_STANDARD], context[INPUT_STANDARD + 1])
        first_row, last_row = first.dense_input(network, data, batch, scale, thread, threads)
        prepare_rows(
            network.workspace, network_input(network, batch.size), floats_of(context, INPUT_FACTOR),
            dropout_at(context, np.int64(-1)), first_row, last_row,
        )  # fmt: skip
    else:
        first.dense_forward(network, data, batch, not context[PREPARES], thread, threads)
        in_strip = ceil_div(batch.size, ROWS)
        first_tile, last_tile = partition(in_strip, thread, threads)
        for strip in range(strips(output_of(network, np.int64(0), batch.size))):
            finish(context, network, np.int64(0), strip * in_strip + first_tile, strip * in_strip + last_tile)


@entry(5)
def grouped_first_forward(kind, layer, context_address, thread, threads):
    context = int64s_at(context_address, CONTEXT)
    network, data, batch = network_of(context), data_of(context), batch_of(context)
    if kind == INPUT:
        first.grouped_input(data, batch, thread, threads)
    else:
        first.grouped_forward(network, data, batch, thread, threads)
        finish_strips(context, network, np.int64(0), batch.size, thread, threads)


@entry(5)
def sparse_first_forward(kind, layer, context_address, thread, threads):
    context = int64s_at(context_address, CONTEXT)
    network, data, batch = network_of(context), data_of(context), batch_of(context)
    if kind == INPUT:
        first_sample, last_sample = first.sparse_input(data, batch, thread, threads)
        if context[PREPARES]:
            prepare_entries(
                data.entries, network.layers[N_IN], floats_of(context, INPUT_FACTOR),
                dropout_at(context, np.int64(-1)), first_sample, last_sample,
            )  # fmt: skip
    else:
        sorts = context[MODE] == TRAIN and not first.takes_row(batch.size, rule_of(context, RULE_CODE))
        first.sparse_forward(network, data, batch, sorts, thread, threads)
        finish_strips(context, network, np.int64(0), batch.size, thread, threads)


@entry(5)
def dense_first_update(context_address, first_column, last_column, thread, _):
    context = int64s_at(context_address, CONTEXT)
    network, size, rule = network_of(context), batch_of(context).size, rule_of(context, RULE_CODE)
    first.dense_update(network, size, rule, first_column, last_column, thread)


@entry(5)
def grouped_first_update(context_address, first_column, last_column, thread, _):
    context = int64s_at(context_address, CONTEXT)
    network, data, size = network_of(context), data_of(context), batch_of(context).size
    first.grouped_update(network, data, size, rule_of(context, RULE_CODE), first_column, last_column, thread)


@entry(5)
def sparse_first_update(context_address, first_column, last_column, thread, _):
    context = int64s_at(context_address, CONTEXT)
    network, data, size = network_of(context), data_of(context), batch_of(context).size
    first.sparse_update(network, data, size, rule_of(context, RULE_CODE), first_column, last_column, thread)


# ---------------------------------------------------------------------------------------------- layers behind it


@inline_numba
def compute_loss(context, batch, layer, thread, threads):
    """The loss of a share of the rows."""
    # the notebook's softmax needs the whole batch, and predictions need no loss
    if context[LOSS_CODE] != NOTEBOOK and context[MODE] != PREDICT:
        first_row, last_row = partition(ceil_div(batch.size, NARROW), thread, threads)
        last_row = min(last_row * NARROW, batch.size)
        call_at(context[LOSS], address_of(context), layer, first_row * NARROW, last_row, thread)
        if context[WEIGH]:
            call_at(context[WEIGH], address_of(context), layer, first_row * NARROW, last_row, thread)


@entry(5)
def inner_forward(kind, layer, context_address, thread, threads):
    context = int64s_at(context_address, CONTEXT)
    network, batch = network_of(context), batch_of(context)
    if kind == FORWARD:
        forward_dense(network, layer, batch.size, thread, threads)
        first_tile, last_tile = partition(tiles(output_of(network, layer, batch.size)), thread, threads)
        finish(context, network, layer, first_tile, last_tile)
    elif layer > 0:  # else the first layer is the last
        first_row, last_row = partition(ceil_div(batch.size, NARROW), thread, threads)
        last_row = min(last_row * NARROW, batch.size)
        forward_rows(network, layer, batch.size, first_row * NARROW, last_row, thread)
    if layer > 0 and context[MODE] == TRAIN:
        transpose_weight(network, layer, thread, threads)
    if kind == OUTPUT:
        compute_loss(context, batch, layer, thread, threads)


@entry(5)
def row_forward(kind, layer, context_address, thread, threads):
    context = int64s_at(context_address, CONTEXT)
    network, batch = network_of(context), batch_of(context)
    if layer > 0:
        # the loss needs the whole row
        n_strips = count_strips(output_of(network, layer, np.int64(1)))
        whole = kind == OUTPUT
        first_strip, last_strip = partition(
            n_strips, np.int64(0) if whole else thread, np.int64(1) if whole else threads
        )
        if not whole or thread == threads - 1:  # which has the row in `compute_loss`
            forward_row(network, layer, first_strip, last_strip)
        if not whole:
            finish_strips(context, network, layer, np.int64(1), thread, threads)
    if kind == OUTPUT:
        compute_loss(context, batch, layer, thread, threads)


@inline_numba
def partition_columns(network, context, layer, thread, threads):
    """The columns first..last-1 of a layer's input that are a thread's, in whole units; of a first layer, which has to
    update its weights alone, those of its output"""
    n_columns = layer_row(network, max(layer, 1) - 1)[N_OUT]
    unit = context[FIRST_UNIT] if layer <= 1 else WIDE
    first_unit, last_unit = partition(ceil_div(n_columns, unit), thread, threads)
    return first_unit * unit, min(last_unit * unit, n_columns)


@inline_numba
def update_first(network, context, layer, batch_size, rule, first_column, last_column, thread):
    """Behind the layers 0 and 1: the first layer's weights and biases updated, for some columns of its output."""
    if layer <= 1 and first_column < last_column:
        call_at(context[FIRST_UPDATE], address_of(context), first_column, last_column, thread, np.int64(0))
        first_strip, last_strip = first_column // WIDE, ceil_div(last_column, WIDE)
        backward_bias(network, np.int64(0), batch_size, rule, first_strip, last_strip, thread)


@inline_numba
def backward_partition(backward, layer, context_address, thread, threads):
    """BACKWARD; `backward` does a layer behind the first"""
    context = int64s_at(context_address, CONTEXT)
    network, size, rule = network_of(context), batch_of(context).size, rule_of(context, RULE_CODE)
    first_column, last_column = partition_columns(network, context, layer, thread, threads)
    if layer > 0:
        if first_column < last_column:
            backward(network, layer, size, rule, first_column, last_column, thread)
        first_strip, last_strip = partition(strips(output_of(network, layer, size)), thread, threads)
        backward_bias(network, layer, size, rule, first_strip, last_strip, thread)
    update_first(network, context, layer, size, rule, first_column, last_column, thread)


@entry(5)
def inner_backward(_, layer, context_address, thread, threads):
    backward_partition(backward_inner, layer, context_address, thread, threads)


@entry(5)
def row_backward(_, layer, context_address, thread, threads):
    backward_partition(backward_row, layer, context_address, thread, threads)


# ---------------------------------------------------------------------------------------------- losses


@inline_llvm
def loss_arguments(context_address, layer):
    """Workspace, logits, targets, batch and layout, of which a loss works on the rows first..last-1."""
    context = int64s_at(context_address, CONTEXT)
    network, batch = network_of(context), batch_of(context)
    return network.workspace, output_of(network, layer, batch.size), targets_of(context), batch, network.layout


@entry(5)
def cross_entropy_rows(context_address, layer, first, last, _):
    work, logits, targets, batch, at = loss_arguments(context_address, layer)
    smoothing = setting(int64s_at(context_address, CONTEXT), SMOOTHING)
    cross_entropy(
        work, logits, targets.labels, batch.samples, batch.start, at.rows, at.capacity, first, last, smoothing
    )


@entry(5)
def softmax_mse_rows(context_address, layer, first, last, _):
    work, logits, targets, batch, at = loss_arguments(context_address, layer)
    softmax_mse(work, logits, targets.labels, batch.samples, batch.start, at.rows, at.capacity, first, last)


@entry(5)
def notebook_rows(context_address, layer, first, last, _):
    work, logits, targets, batch, at = loss_arguments(context_address, layer)
    notebook(work, logits, targets.labels, batch.samples, batch.start, at.rows, at.capacity)  # a whole batch


@entry(5)
def elementwise_rows(context_address, layer, first, last, _):
    work, logits, targets, batch, at = loss_arguments(context_address, layer)
    context = int64s_at(context_address, CONTEXT)
    elementwise(
        work, logits, targets.values, batch.samples, batch.start, at.rows, at.capacity, first, last,
        context[LOSS_CODE], setting(context, DELTA),
    )  # fmt: skip


@entry(5)
def weigh_rows(context_address, layer, first, last, _):
    work, logits, _, batch, at = loss_arguments(context_address, layer)
    weights = floats_of(int64s_at(context_address, CONTEXT), SAMPLE_WEIGHTS)
    weigh(work, logits, weights, batch.samples, batch.start, at.rows, at.capacity, first, last)


# ---------------------------------------------------------------------------------------------- stored gradients


@entry(5)
def deferred_update(kind, _, context_address, thread, threads):
    context = int64s_at(context_address, CONTEXT)
    network = network_of(context)
    if kind == SQUARES:
        sum_squares(network, setting(context, L1), setting(context, L2), thread, threads)
    else:
        rule = rule_of(context, UPDATE_RULE)
        update_partition(network, setting(context, CLIP_NORM), setting(context, MAX_NORM), rule, thread, threads)


LOSS_ENTRIES = {
    CROSS_ENTROPY: cross_entropy_rows, SOFTMAX_MSE: softmax_mse_rows, NOTEBOOK: notebook_rows,
    **dict.fromkeys(ELEMENTWISE, elementwise_rows),
}  # fmt: skip
