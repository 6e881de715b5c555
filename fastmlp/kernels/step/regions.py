"""Regions: the parts of a training step that threads do side by side, one after the other.

A step of a network of L layers is 2 L - 1 regions, at least three, and INPUT before them where lists are made or the
input is prepared.  Within a region no thread reads what another one writes.

All regions have the same arguments: the record's address, a kind, a layer, and which part of the work to do, on which
thread (that chooses the scratch).  The kind says what the region is to do, and what `first` and `last` count:

kind             first..last-1           what is done
INPUT            parts                   the first layer's lists are made, or its input is gathered and prepared
FORWARD          parts                   a layer's output; an inner layer's weights are transposed for BACKWARD
OUTPUT           parts                   the last layer's output, its loss and gradient, by rows
BACKWARD         parts                   a layer's weights are updated and its input is overwritten by its gradient, by
                                         columns of the input; for the second layer, whose input is the first one's
                                         output, the first layer's weights are updated too, by the same columns
SQUARES, UPDATE  parts                   where updates are deferred: see `fastmlp.kernels.step.penalties`
FINISH           tiles of the output     what FORWARD leaves over where a layer keeps its slope
LOSS_OF_ROWS     rows of the batch       the loss and its gradient
WEIGHTS_OF_ROWS  rows of the batch       losses and gradients are multiplied by sample weights
FIRST_UPDATE     columns of the output   the first layer's weights are updated
AVERAGE          parts                   the moving average of the parameters is updated

Parts are numbered up to the record's n_parts.  A region that is asked for a kind that it does not know, or finds a code
that it does not know, says so in the record (`unknown_code`), and the step's loss becomes NaN.

The first layer has three paths (see `fastmlp.kernels.step.first_layer`), and the layers behind it have two: tiles, and
rows for batches of one sample.  Every region is compiled when it is asked for first.
"""

import numpy as np

from fastmlp.kernels.jit import inline_llvm, inline_numba, region
from fastmlp.kernels.ops import losses
from fastmlp.kernels.ops.dense import ceil_div, strips, tiles
from fastmlp.kernels.ops.dropout import finish_forward, prepare_entries, prepare_rows
from fastmlp.kernels.ops.gather import CODED, CSR, FLOAT64, UINT8, WORDS
from fastmlp.kernels.ops.grouped import count_strips
from fastmlp.kernels.simd.addresses import call_region
from fastmlp.kernels.simd.processors import NARROW, ROWS, STRIP, WIDE
from fastmlp.kernels.step import first_layer
from fastmlp.kernels.step.average import average_partition
from fastmlp.kernels.step.input_scale import Scale, row_blocks, square_scaled, update_scaled_partition
from fastmlp.kernels.step.network import (
    Work,
    backward_bias,
    backward_inner,
    backward_row,
    forward_dense,
    forward_row,
    forward_rows,
    network_input,
    output_of,
    partition,
    transpose_weight,
)
from fastmlp.kernels.step.penalties import clipping_factor, count_sums, sum_squares, update_partition
from fastmlp.kernels.step.record import (
    PREDICT,
    TRAIN,
    batch_of,
    data_of,
    dropout_at,
    network_of,
    record_at,
    rule_of,
    targets_of,
)

INPUT, FORWARD, OUTPUT, BACKWARD, SQUARES, UPDATE = (np.int64(kind) for kind in range(6))
FINISH, LOSS_OF_ROWS, WEIGHTS_OF_ROWS, FIRST_UPDATE, AVERAGE = (np.int64(kind) for kind in range(6, 11))


@inline_llvm
def is_kind(record, kind, expected):
    """Return whether a region is asked for what it does; else set the record's unknown_code."""
    if kind != expected:
        record.unknown_code = 1
    return kind == expected


# ---------------------------------------------------------------------------------------------- the first layer


@inline_numba
def finish(record, record_address, network, layer, first_tile, last_tile, work):
    """Finish some tiles of a layer's output, if it keeps its slope."""
    if network.layers[layer].slope > 0:
        call_region(record.finish_forward, record_address, FINISH, layer, first_tile, last_tile, work.thread)


@inline_numba
def finish_strips(record, record_address, network, layer, batch_size, work):
    """Finish a part of the strips of STRIP columns of a layer's output."""
    out = output_of(network, layer, batch_size)
    first_strip, last_strip = partition(count_strips(out), work)
    in_strip, wide = ceil_div(batch_size, ROWS), STRIP // WIDE
    first_tile, last_tile = first_strip * wide * in_strip, min(last_strip * wide, strips(out)) * in_strip
    finish(record, record_address, network, layer, first_tile, last_tile, work)


@region
def finish_tiles(record_address, kind, layer, first, last, thread):
    record = record_at(record_address)
    if is_kind(record, kind, FINISH):
        network = network_of(record)
        row = network.layers[layer]
        finish_forward(
            network.workspace, output_of(network, layer, record.size), row.slope, row.activation,
            dropout_at(record, layer), first, last,
        )  # fmt: skip


@region
def dense_first_forward(record_address, kind, layer, first, last, thread):
    record, work = record_at(record_address), Work(first, last, record_at(record_address).n_parts, thread)
    network, data, batch = network_of(record), data_of(record), batch_of(record)
    if data.rows.kind < UINT8 or data.rows.kind > FLOAT64:
        record.unknown_code = 1
    elif kind == INPUT:
        first_row, last_row = first_layer.dense_input(network, data, batch, record.input_standard, work)
        prepare_rows(
            network.workspace, network_input(network, batch.size), record.input_factor,
            dropout_at(record, np.int64(-1)), first_row, last_row,
        )  # fmt: skip
    elif is_kind(record, kind, FORWARD):
        first_layer.dense_forward(network, data, batch, not record.prepares, work)
        in_strip = ceil_div(batch.size, ROWS)
        first_tile, last_tile = partition(in_strip, work)
        for strip in range(strips(output_of(network, np.int64(0), batch.size))):
            finish(
                record, record_address, network, np.int64(0), strip * in_strip + first_tile,
                strip * in_strip + last_tile, work,
            )  # fmt: skip


@region
def grouped_first_forward(record_address, kind, layer, first, last, thread):
    record, work = record_at(record_address), Work(first, last, record_at(record_address).n_parts, thread)
    network, data, batch = network_of(record), data_of(record), batch_of(record)
    if data.rows.kind != CODED and data.rows.kind != WORDS:
        record.unknown_code = 1
    elif kind == INPUT:
        first_layer.grouped_input(data, batch, work)
    elif is_kind(record, kind, FORWARD):
        first_layer.grouped_forward(network, data, batch, work)
        finish_strips(record, record_address, network, np.int64(0), batch.size, work)


@region
def sparse_first_forward(record_address, kind, layer, first, last, thread):
    record, work = record_at(record_address), Work(first, last, record_at(record_address).n_parts, thread)
    network, data, batch = network_of(record), data_of(record), batch_of(record)
    if data.rows.kind != CSR and (data.rows.kind < UINT8 or data.rows.kind > FLOAT64):
        record.unknown_code = 1
    elif kind == INPUT:
        first_sample, last_sample = first_layer.sparse_input(data, batch, work)
        if record.prepares:
            prepare_entries(
                data.entries, network.layers[0].n_in, record.input_factor, dropout_at(record, np.int64(-1)),
                first_sample, last_sample,
            )  # fmt: skip
    elif is_kind(record, kind, FORWARD):
        sorts = record.mode == TRAIN and not first_layer.takes_row(batch.size, rule_of(record, record.rule))
        first_layer.sparse_forward(network, data, batch, sorts, work)
        finish_strips(record, record_address, network, np.int64(0), batch.size, work)


@region
def dense_first_update(record_address, kind, layer, first, last, thread):
    record = record_at(record_address)
    if is_kind(record, kind, FIRST_UPDATE):
        network, rule = network_of(record), rule_of(record, record.rule)
        first_layer.dense_update(network, record.size, rule, first, last, thread)


@region
def grouped_first_update(record_address, kind, layer, first, last, thread):
    record = record_at(record_address)
    if is_kind(record, kind, FIRST_UPDATE):
        network, data, rule = network_of(record), data_of(record), rule_of(record, record.rule)
        first_layer.grouped_update(network, data, record.size, record.n_parts, rule, first, last, thread)


@region
def sparse_first_update(record_address, kind, layer, first, last, thread):
    record = record_at(record_address)
    if is_kind(record, kind, FIRST_UPDATE):
        network, data, rule = network_of(record), data_of(record), rule_of(record, record.rule)
        first_layer.sparse_update(network, data, record.size, rule, first, last, thread)


# ---------------------------------------------------------------------------------------------- layers behind it


@inline_numba
def compute_loss(record, record_address, batch, layer, work):
    """Compute the loss of a part of the rows."""
    # the notebook's softmax needs the whole batch, and predictions need no loss
    if record.loss != losses.NOTEBOOK and record.mode != PREDICT:
        first_row, last_row = partition(ceil_div(batch.size, NARROW), work)
        first_row, last_row = first_row * NARROW, min(last_row * NARROW, batch.size)
        call_region(record.loss_rows, record_address, LOSS_OF_ROWS, layer, first_row, last_row, work.thread)
        if record.weigh_rows:
            call_region(record.weigh_rows, record_address, WEIGHTS_OF_ROWS, layer, first_row, last_row, work.thread)


@region
def inner_forward(record_address, kind, layer, first, last, thread):
    record, work = record_at(record_address), Work(first, last, record_at(record_address).n_parts, thread)
    network, batch = network_of(record), batch_of(record)
    if kind == FORWARD:
        forward_dense(network, layer, batch.size, work)
        first_tile, last_tile = partition(tiles(output_of(network, layer, batch.size)), work)
        finish(record, record_address, network, layer, first_tile, last_tile, work)
    elif is_kind(record, kind, OUTPUT) and layer > 0:  # else the first layer is the last
        first_row, last_row = partition(ceil_div(batch.size, NARROW), work)
        last_row = min(last_row * NARROW, batch.size)
        forward_rows(network, layer, batch.size, first_row * NARROW, last_row, thread)
    if layer > 0 and record.mode == TRAIN:
        transpose_weight(network, layer, work)
    if kind == OUTPUT:
        compute_loss(record, record_address, batch, layer, work)


@region
def row_forward(record_address, kind, layer, first, last, thread):
    record, work = record_at(record_address), Work(first, last, record_at(record_address).n_parts, thread)
    network, batch = network_of(record), batch_of(record)
    if kind == FORWARD:
        first_strip, last_strip = partition(count_strips(output_of(network, layer, np.int64(1))), work)
        forward_row(network, layer, first_strip, last_strip)
        finish_strips(record, record_address, network, layer, np.int64(1), work)
    elif is_kind(record, kind, OUTPUT):
        # the loss needs the whole row, and `compute_loss` gives that to the last part
        if layer > 0 and last == work.n_parts:
            forward_row(network, layer, np.int64(0), count_strips(output_of(network, layer, np.int64(1))))
        compute_loss(record, record_address, batch, layer, work)


@inline_numba
def partition_columns(network, record, layer, work):
    """Return which columns of a layer's input belong to a part, in whole units: first and last + 1; of a first layer,
    which has to update its weights alone, those of its output."""
    n_columns = network.layers[max(layer, 1) - 1].n_out
    unit = record.first_unit if layer <= 1 else WIDE
    first_unit, last_unit = partition(ceil_div(n_columns, unit), work)
    return first_unit * unit, min(last_unit * unit, n_columns)


@inline_numba
def update_first(network, record, record_address, layer, batch_size, rule, first_column, last_column, thread):
    """Behind the layers 0 and 1, update the first layer's weights and biases for some columns of its output."""
    if layer <= 1 and first_column < last_column:
        call_region(
            record.first_update, record_address, FIRST_UPDATE, np.int64(0), first_column, last_column, thread
        )  # fmt: skip
        first_strip, last_strip = first_column // WIDE, ceil_div(last_column, WIDE)
        backward_bias(network, np.int64(0), batch_size, rule, first_strip, last_strip, thread)


@inline_numba
def backward_partition(backward, record_address, kind, layer, first, last, thread):
    """Do a part of BACKWARD; `backward` does a layer behind the first."""
    record, work = record_at(record_address), Work(first, last, record_at(record_address).n_parts, thread)
    if is_kind(record, kind, BACKWARD):
        network, size, rule = network_of(record), record.size, rule_of(record, record.rule)
        first_column, last_column = partition_columns(network, record, layer, work)
        if layer > 0:
            if first_column < last_column:
                backward(network, layer, size, rule, first_column, last_column, thread)
            first_strip, last_strip = partition(strips(output_of(network, layer, size)), work)
            backward_bias(network, layer, size, rule, first_strip, last_strip, thread)
        update_first(network, record, record_address, layer, size, rule, first_column, last_column, thread)


@region
def inner_backward(record_address, kind, layer, first, last, thread):
    backward_partition(backward_inner, record_address, kind, layer, first, last, thread)


@region
def row_backward(record_address, kind, layer, first, last, thread):
    backward_partition(backward_row, record_address, kind, layer, first, last, thread)


# ---------------------------------------------------------------------------------------------- losses


@inline_llvm
def loss_arguments(record, layer):
    """Return what a loss works on: workspace, logits, targets, batch and layout."""
    network, batch = network_of(record), batch_of(record)
    return network.workspace, output_of(network, layer, batch.size), targets_of(record), batch, network.layout


@region
def cross_entropy_rows(record_address, kind, layer, first, last, thread):
    record = record_at(record_address)
    if is_kind(record, kind, LOSS_OF_ROWS):
        work, logits, targets, batch, at = loss_arguments(record, layer)
        losses.cross_entropy(
            work, logits, targets.labels, batch.samples, batch.start, at.rows, at.capacity, first, last,
            record.smoothing,
        )  # fmt: skip


@region
def softmax_mse_rows(record_address, kind, layer, first, last, thread):
    record = record_at(record_address)
    if is_kind(record, kind, LOSS_OF_ROWS):
        work, logits, targets, batch, at = loss_arguments(record, layer)
        losses.softmax_mse(work, logits, targets.labels, batch.samples, batch.start, at.rows, at.capacity, first, last)


@region
def notebook_rows(record_address, kind, layer, first, last, thread):
    record = record_at(record_address)
    if is_kind(record, kind, LOSS_OF_ROWS):  # of a whole batch
        work, logits, targets, batch, at = loss_arguments(record, layer)
        losses.notebook(work, logits, targets.labels, batch.samples, batch.start, at.rows, at.capacity)


@region
def elementwise_rows(record_address, kind, layer, first, last, thread):
    record = record_at(record_address)
    if is_kind(record, kind, LOSS_OF_ROWS):
        work, logits, targets, batch, at = loss_arguments(record, layer)
        losses.elementwise(
            work, logits, targets.values, batch.samples, batch.start, at.rows, at.capacity, first, last, record.loss,
            record.delta,
        )  # fmt: skip


@region
def weigh_rows(record_address, kind, layer, first, last, thread):
    record = record_at(record_address)
    if is_kind(record, kind, WEIGHTS_OF_ROWS):
        work, logits, targets, batch, at = loss_arguments(record, layer)
        losses.weigh(work, logits, targets.weights, batch.samples, batch.start, at.rows, at.capacity, first, last)


# ---------------------------------------------------------------------------------------------- deferred updates


@region
def deferred_update(record_address, kind, layer, first, last, thread):
    record, work = record_at(record_address), Work(first, last, record_at(record_address).n_parts, thread)
    network = network_of(record)
    all_layers, none = np.int64(0), np.int64(0)
    if kind == SQUARES:
        sum_squares(network, all_layers, none, record.l1, record.l2, work)
    elif is_kind(record, kind, UPDATE):
        factor = clipping_factor(network, count_sums(network, all_layers), record.clip_norm)
        update_partition(network, all_layers, factor, record.max_norm, rule_of(record, record.update_rule), work)


@region
def scaled_update(record_address, kind, layer, first, last, thread):
    """`deferred_update` where the first layer has a scale"""
    record, work = record_at(record_address), Work(first, last, record_at(record_address).n_parts, thread)
    network, inner_layers = network_of(record), np.int64(1)
    scale = Scale(record.shadow, record.scale_at, record.scale_rate)
    if kind == SQUARES:
        n_sums = square_scaled(network, scale, record.l1, record.l2, work)
        sum_squares(network, inner_layers, n_sums, record.l1, record.l2, work)
    elif is_kind(record, kind, UPDATE):
        rule, n_sums = rule_of(record, record.update_rule), row_blocks(network) + count_sums(network, np.int64(0))
        factor = clipping_factor(network, n_sums, record.clip_norm)
        update_scaled_partition(network, scale, factor, rule, work)
        update_partition(network, inner_layers, factor, np.float32(0), rule, work)


@region
def parameter_average(record_address, kind, layer, first, last, thread):
    record, work = record_at(record_address), Work(first, last, record_at(record_address).n_parts, thread)
    if is_kind(record, kind, AVERAGE):
        average_partition(network_of(record), record.average_at, record.average_rate, work)


LOSS_REGIONS = {
    losses.CROSS_ENTROPY: cross_entropy_rows,
    losses.SOFTMAX_MSE: softmax_mse_rows,
    losses.NOTEBOOK: notebook_rows,
    **dict.fromkeys(losses.ELEMENTWISE, elementwise_rows),
}
