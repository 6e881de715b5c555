"""Training steps: regions of work that threads do side by side, one after the other.

A step of a network of L layers is 2 L - 1 regions, at least three, and INPUT before them where the input is sparse.
Within a region no thread reads what another one writes:

INPUT     lists of some groups of features made
FORWARD   a layer's output, by tiles; its weights transposed for the way back
OUTPUT    the last layer's output, its loss and gradient, by rows
BACKWARD  a layer's weights updated and its input overwritten by its gradient, by columns of the input; for the second
          layer, whose input is the first one's output, the first layer's weights too, by the same columns
"""

from collections import namedtuple

import numba
import numpy as np

from fastmlp.kernels.dense import ceil_div, place, strips
from fastmlp.kernels.gather import CODED, Rows
from fastmlp.kernels.jit import entry, inlined, kernel, merged, parallel
from fastmlp.kernels.losses import (
    CROSS_ENTROPY,
    LOSS,
    MSE,
    NOTEBOOK,
    PREDICTED,
    SOFTMAX_MSE,
    cross_entropy,
    mse,
    notebook,
    softmax_mse,
)
from fastmlp.kernels.network import (
    N_IN,
    TABLE_COLUMNS,
    Batch,
    Network,
    Places,
    backward_bias,
    backward_first,
    backward_first_sparse,
    backward_inner,
    forward_dense,
    forward_first,
    forward_rows,
    forward_sparse,
    layer_row,
    output_of,
    share,
    transpose_weight,
)
from fastmlp.kernels.optimizers import Rule
from fastmlp.kernels.sparse import ALL_GROUPS, Lists, locate, make_lists, sparse_strips
from fastmlp.kernels.vector import (
    NARROW,
    ROWS,
    STRIP,
    WIDE,
    address_of,
    bytes_at,
    call_at,
    floats_at,
    int32s_at,
    int64s_at,
    load,
    store,
    words_at,
)

# labels (n,) int32 for the losses of classes, values (n * n_outputs,) float32 for regression; the other empty.
Targets = namedtuple("Targets", "labels values")
Data = namedtuple("Data", "rows lists targets")

RECORD_LOSS, RECORD_CORRECT, RECORD_LABEL_ERROR = range(3)

INPUT, FORWARD, OUTPUT, BACKWARD = (np.int64(kind) for kind in range(4))


@kernel
def record(records, step, workspace, loss, labels, samples, start, n, rows, capacity):
    """records[step] = sums over the batch of the loss, of correct predictions, and of the squares of label differences

    records    (n_steps, 3) float64    overwritten in row `step`
    """
    total, correct, label_error = 0.0, 0, 0.0
    for i in range(n):
        total += workspace[rows + LOSS * capacity + i]
        if loss != MSE:
            difference = np.int64(workspace[rows + PREDICTED * capacity + i]) - labels[samples[start + i]]
            correct += difference == 0
            label_error += difference * difference
    records[step, RECORD_LOSS] = total
    records[step, RECORD_CORRECT] = correct
    records[step, RECORD_LABEL_ERROR] = label_error


@merged
def make_input(network, data, batch, thread, threads):
    """INPUT"""
    # every thread finds all rows, and writes the same: sharing that would take a region of its own
    locate(data.lists, data.rows, batch.samples, batch.start, batch.size, data.rows.data.size - data.rows.stride)
    first, last = share(data.lists.groups // ALL_GROUPS, thread, threads)
    make_lists(data.lists, data.rows, batch.size, first * ALL_GROUPS, last * ALL_GROUPS)


@merged
def forward(network, data, batch, layer, training, thread, threads):
    """FORWARD"""
    if layer > 0:
        forward_dense(network, layer, batch.size, thread, threads)
        if training:
            transpose_weight(network, layer, thread, threads)
    elif data.rows.kind == CODED:
        forward_sparse(network, data.rows, data.lists, batch, thread, threads)
    else:
        forward_first(network, data.rows, batch, thread, threads)


@merged
def output(network, batch, layer, context, thread, threads):
    """OUTPUT"""
    first, last = share(ceil_div(batch.size, NARROW), thread, threads)
    first, last = first * NARROW, min(last * NARROW, batch.size)
    if layer > 0:  # else a FORWARD region was before
        forward_rows(network, layer, batch.size, first, last, thread)
        if context[MODE] == TRAIN:
            transpose_weight(network, layer, thread, threads)
    # the notebook's softmax needs the whole batch, and predictions need no loss
    if context[LOSS_CODE] != NOTEBOOK and context[MODE] != PREDICT:
        call_at(context[LOSS_ADDRESS], address_of(context), layer, first, last, thread)


@merged
def backward(network, data, batch, layer, rule, thread, threads):
    """BACKWARD"""
    sparse = data.rows.kind == CODED
    if layer > 0:
        n_columns = layer_row(network, layer)[N_IN]
        unit = STRIP if layer == 1 and sparse else WIDE
        first, last = share(ceil_div(n_columns, unit), thread, threads)
        first, last = first * unit, min(last * unit, n_columns)
        if first < last:
            backward_inner(network, layer, batch.size, rule, first, last, thread)
        first_strip, last_strip = share(strips(output_of(network, layer, batch.size)), thread, threads)
        backward_bias(network, layer, batch.size, rule, first_strip, last_strip, thread)
        in_strip = ceil_div(network.layers[N_IN], ROWS)
        first_tile, last_tile = first // WIDE * in_strip, ceil_div(last, WIDE) * in_strip
        first_strip, last_strip = first // WIDE, ceil_div(last, WIDE)
        first_sparse, last_sparse = first // STRIP, ceil_div(last, STRIP)
    else:  # a single layer
        out = output_of(network, layer, batch.size)
        first_tile, last_tile = share(strips(out) * ceil_div(network.layers[N_IN], ROWS), thread, threads)
        first_strip, last_strip = share(strips(out), thread, threads)
        first_sparse, last_sparse = share(sparse_strips(out), thread, threads)
    if layer <= 1:
        if sparse:
            backward_first_sparse(network, data.lists, batch.size, rule, first_sparse, last_sparse, thread)
        else:
            backward_first(network, batch.size, rule, first_tile, last_tile, thread)
        backward_bias(network, np.int64(0), batch.size, rule, first_strip, last_strip, thread)


# The context of a region: where the arrays lie that it works on, and how long they are (pairs of numbers), and what is
# in the tuples beside them.  Regions are called by address and get their context by address, and so are compiled once,
# for serial and parallel use, and not again in their callers.
(
    PARAMETERS, STATE, WORKSPACE, LAYERS, DATA, OFFSETS, COUNT, WORDS, LABELS, VALUES, SAMPLES, SETTINGS,
) = range(0, 24, 2)  # fmt: skip
PLACES = 24
ROWS_KIND, ROWS_ITEMSIZE, ROWS_BYTES, ROWS_STRIDE, GROUPS, LOSS_CODE, RULE_CODE = range(PLACES + 7, PLACES + 14)
BATCH_SIZE, START, SIZE, MODE = range(PLACES + 14, PLACES + 18)
AHEAD_ADDRESS, BACK_ADDRESS, LOSS_ADDRESS = range(PLACES + 18, PLACES + 21)
CONTEXT = np.int64(PLACES + 21)
# MODE: what a step does; EVALUATE leaves out the way back, PREDICT the losses too
TRAIN, EVALUATE, PREDICT = range(3)
# of SETTINGS, float32
SCALE, LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = range(4)


@inlined
def network_of(context):
    """The network of a region."""
    places = Places(
        context[PLACES], context[PLACES + 1], context[PLACES + 2], context[PLACES + 3], context[PLACES + 4],
        context[PLACES + 5], context[PLACES + 6],
    )  # fmt: skip
    return Network(
        int64s_at(context[LAYERS], context[LAYERS + 1]),
        floats_at(context[PARAMETERS], context[PARAMETERS + 1]),
        floats_at(context[STATE], context[STATE + 1]),
        floats_at(context[WORKSPACE], context[WORKSPACE + 1]),
        places,
    )


@inlined
def data_of(context):
    """The data of a region."""
    settings = floats_at(context[SETTINGS], context[SETTINGS + 1])
    data = bytes_at(context[DATA], context[DATA + 1])
    rows = Rows(
        data, context[ROWS_KIND], context[ROWS_ITEMSIZE], context[ROWS_BYTES], context[ROWS_STRIDE], settings[SCALE]
    )
    lists = Lists(
        int64s_at(context[OFFSETS], context[OFFSETS + 1]),
        int64s_at(context[COUNT], context[COUNT + 1]),
        words_at(context[WORDS], context[WORDS + 1]),
        context[GROUPS],
    )
    labels = int32s_at(context[LABELS], context[LABELS + 1])
    return Data(rows, lists, Targets(labels, floats_at(context[VALUES], context[VALUES + 1])))


@inlined
def batch_of(context):
    """The batch of a region."""
    samples = int64s_at(context[SAMPLES], context[SAMPLES + 1])
    return Batch(samples, context[START], context[SIZE], context[START] + context[SIZE])


@entry(5)
def ahead_region(kind, layer, context_address, thread, threads):
    """A thread's share of a region of the way ahead: INPUT, FORWARD or OUTPUT"""
    context = int64s_at(context_address, CONTEXT)
    network, data, batch = network_of(context), data_of(context), batch_of(context)
    if kind == INPUT:
        make_input(network, data, batch, thread, threads)
    elif kind == FORWARD:
        forward(network, data, batch, layer, context[MODE] == TRAIN, thread, threads)
    else:
        output(network, batch, layer, context, thread, threads)


@entry(5)
def back_region(_, layer, context_address, thread, threads):
    """A thread's share of a region of the way back: BACKWARD"""
    context = int64s_at(context_address, CONTEXT)
    network, data, batch = network_of(context), data_of(context), batch_of(context)
    settings = floats_at(context[SETTINGS], context[SETTINGS + 1])
    rule = Rule(context[RULE_CODE], settings[LEARNING_RATE], settings[MOMENTUM], settings[WEIGHT_DECAY])
    backward(network, data, batch, layer, rule, thread, threads)


# The losses are called by address too, so that only those in use are compiled.


@inlined
def loss_arguments(context_address, layer):
    """Workspace, logits, targets, batch and places, of which a loss works on the rows first..last-1."""
    context = int64s_at(context_address, CONTEXT)
    network, batch = network_of(context), batch_of(context)
    return network.workspace, output_of(network, layer, batch.size), data_of(context).targets, batch, network.places


@entry(5)
def cross_entropy_rows(context_address, layer, first, last, _):
    work, logits, targets, batch, at = loss_arguments(context_address, layer)
    cross_entropy(work, logits, targets.labels, batch.samples, batch.start, at.rows, at.capacity, first, last)


@entry(5)
def softmax_mse_rows(context_address, layer, first, last, _):
    work, logits, targets, batch, at = loss_arguments(context_address, layer)
    softmax_mse(work, logits, targets.labels, batch.samples, batch.start, at.rows, at.capacity, first, last)


@entry(5)
def notebook_rows(context_address, layer, first, last, _):
    work, logits, targets, batch, at = loss_arguments(context_address, layer)
    notebook(work, logits, targets.labels, batch.samples, batch.start, at.rows, at.capacity)  # a whole batch


@entry(5)
def mse_rows(context_address, layer, first, last, _):
    work, logits, targets, batch, at = loss_arguments(context_address, layer)
    mse(work, logits, targets.values, batch.samples, batch.start, at.rows, at.capacity, first, last)


LOSS_ENTRIES = {
    CROSS_ENTROPY: cross_entropy_rows, SOFTMAX_MSE: softmax_mse_rows, NOTEBOOK: notebook_rows, MSE: mse_rows,
}  # fmt: skip


@merged
def serial(address, kind, layer, context_address, threads):
    """A region on the calling thread alone"""
    call_at(address, kind, layer, context_address, np.int64(0), np.int64(1))


@parallel
def side_by_side(address, kind, layer, context_address, threads):
    """A region on several threads"""
    for thread in numba.prange(threads):
        call_at(address, kind, layer, context_address, np.int64(thread), threads)


@merged
def steps(run, context, first, last, learning_rates, records, outputs, threads):
    """The steps of `train_steps`; `run` does a region"""
    where, ahead = address_of(context), context[AHEAD_ADDRESS]
    network, data, settings = network_of(context), data_of(context), floats_at(context[SETTINGS], np.int64(4))
    places, loss, mode, n_samples = network.places, context[LOSS_CODE], context[MODE], context[SAMPLES + 1]
    last_layer = network.layers.size // TABLE_COLUMNS - 1
    for step in range(first, last):
        start = step * context[BATCH_SIZE]
        n = min(context[BATCH_SIZE], n_samples - start)
        context[START], context[SIZE] = start, n
        settings[LEARNING_RATE] = learning_rates[step]
        if context[ROWS_KIND] == CODED:
            run(ahead, INPUT, np.int64(0), where, threads)
        for layer in range(max(last_layer, 1)):
            run(ahead, FORWARD, layer, where, threads)
        run(ahead, OUTPUT, last_layer, where, threads)
        if mode == PREDICT:
            logits = output_of(network, last_layer, n)
            row = ceil_div(logits.columns, NARROW) * NARROW
            for i in range(n):
                for j in range(0, logits.columns, NARROW):
                    store(load(network.workspace, place(logits, i, j)), outputs, (start + i) * row + j)
            continue
        if loss == NOTEBOOK:  # its softmax needs the whole batch
            call_at(context[LOSS_ADDRESS], where, last_layer, np.int64(0), n, np.int64(0))
        samples, labels = int64s_at(context[SAMPLES], n_samples), data.targets.labels
        record(records, step, network.workspace, loss, labels, samples, start, n, places.rows, places.capacity)
        if mode == TRAIN:
            if not np.isfinite(records[step, RECORD_LOSS]):
                return step
            for layer in range(last_layer, min(last_layer, 1) - 1, -1):
                run(context[BACK_ADDRESS], BACKWARD, layer, where, threads)
    return last


@kernel
def train_steps(context, first, last, learning_rates, records, outputs):
    """The steps first..last-1 of an epoch of exact minibatch SGD; returns `last`, or the step whose loss is not finite.
    In other modes than TRAIN, all of these steps without what the mode leaves out.

    context         (CONTEXT,) int64     read; its batch is overwritten, and what its arrays hold is updated in place:
                                         step s takes BATCH_SIZE of the SAMPLES from s * BATCH_SIZE on
    learning_rates  (n_steps,) float32   read
    records         (n_steps, 3)         overwritten, see `record`; not touched in the mode PREDICT
    outputs         flat                 the last layer's, in the mode PREDICT alone: rows padded to whole vectors
    """
    return steps(serial, context, first, last, learning_rates, records, outputs, np.int64(1))


@kernel
def train_steps_parallel(context, first, last, learning_rates, records, outputs, threads):
    """`train_steps` on several threads, with bitwise the same result"""
    return steps(side_by_side, context, first, last, learning_rates, records, outputs, threads)
