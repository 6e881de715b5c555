"""Training steps: regions of work that threads do side by side, one after the other.

A step of a network of L layers is max(2, 2 L - 1) regions and the making of its input.  Within a region no thread reads
what another one writes:

INPUT     rows of the input gathered, or lists of some groups of features made
FORWARD   a layer's output, by tiles; its weights transposed for the way back
OUTPUT    the last layer's output, its loss and gradient, by rows
BACKWARD  a layer's weights updated and its input overwritten by its gradient, by columns of the input; for the second
          layer, whose input is the first one's output, the first layer's weights too, by the same columns
"""

from collections import namedtuple

import numba
import numpy as np

from fastmlp.kernels.dense import ceil_div, strips
from fastmlp.kernels.gather import CODED, gather
from fastmlp.kernels.jit import inlined, kernel, parallel
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
    Batch,
    Network,
    backward_bias,
    backward_first,
    backward_first_sparse,
    backward_inner,
    forward_dense,
    forward_rows,
    forward_sparse,
    network_input,
    output_of,
    share,
    transpose_weight,
)
from fastmlp.kernels.optimizers import Rule
from fastmlp.kernels.sparse import ALL_GROUPS, locate, make_lists, sparse_strips
from fastmlp.kernels.vector import NARROW, ROWS, STRIP, WIDE

# labels (n,) int32 for the losses of classes, values (n * n_outputs,) float32 for regression; the other empty.
Targets = namedtuple("Targets", "labels values")
Data = namedtuple("Data", "rows lists targets")

# What a step does with a gradient: codes of loss and update rule, and the rule's numbers.
Recipe = namedtuple("Recipe", "loss rule momentum weight_decay")

RECORD_LOSS, RECORD_CORRECT, RECORD_LABEL_ERROR = range(3)

INPUT, FORWARD, OUTPUT, BACKWARD = np.int64(0), np.int64(1), np.int64(2), np.int64(3)


@kernel
def loss_and_gradient(workspace, logits, loss, targets, samples, start, rows, capacity, first, last):
    """The losses of the rows first..last-1 of a batch, and their gradients in place of the logits."""
    if loss == CROSS_ENTROPY:
        cross_entropy(workspace, logits, targets.labels, samples, start, rows, capacity, first, last)
    elif loss == SOFTMAX_MSE:
        softmax_mse(workspace, logits, targets.labels, samples, start, rows, capacity, first, last)
    elif loss == MSE:
        mse(workspace, logits, targets.values, samples, start, rows, capacity, first, last)
    else:
        notebook(workspace, logits, targets.labels, samples, start, rows, capacity)


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


@inlined
def make_input(network, data, batch, thread, threads):
    """INPUT"""
    if data.rows.kind == CODED:
        first, last = share(data.lists.groups // ALL_GROUPS, thread, threads)
        make_lists(data.lists, data.rows, batch.size, first * ALL_GROUPS, last * ALL_GROUPS)
    else:
        first, last = share(batch.size, thread, threads)
        inp = network_input(network, batch.size)
        gather(network.workspace, inp, data.rows, batch.samples, batch.start, first, last)


@inlined
def forward(network, data, batch, layer, thread, threads):
    """FORWARD"""
    if layer == 0 and data.rows.kind == CODED:
        forward_sparse(network, data.rows, data.lists, batch, thread, threads)
    else:
        forward_dense(network, layer, batch.size, thread, threads)
    if layer > 0:
        transpose_weight(network, layer, thread, threads)


@inlined
def output(network, data, batch, layer, recipe, thread, threads):
    """OUTPUT"""
    first, last = share(ceil_div(batch.size, NARROW), thread, threads)
    first, last = first * NARROW, min(last * NARROW, batch.size)
    if layer > 0:  # else a FORWARD region was before
        forward_rows(network, layer, batch.size, first, last, thread)
        transpose_weight(network, layer, thread, threads)
    if recipe.loss != NOTEBOOK:  # whose softmax needs the whole batch: the caller computes it, when all rows are there
        places = network.places
        loss_and_gradient(
            network.workspace, output_of(network, layer, batch.size), recipe.loss, data.targets,
            batch.samples, batch.start, places.rows, places.capacity, first, last,
        )  # fmt: skip


@inlined
def backward(network, data, batch, layer, rule, thread, threads):
    """BACKWARD"""
    sparse = data.rows.kind == CODED
    if layer > 0:
        n_columns = network.layers[layer, 0]
        unit = STRIP if layer == 1 and sparse else WIDE
        first, last = share(ceil_div(n_columns, unit), thread, threads)
        first, last = first * unit, min(last * unit, n_columns)
        if first < last:
            backward_inner(network, layer, batch.size, rule, first, last, thread)
        first_strip, last_strip = share(strips(output_of(network, layer, batch.size)), thread, threads)
        backward_bias(network, layer, batch.size, rule, first_strip, last_strip, thread)
        if layer > 1 or first >= last:
            return
        in_strip = ceil_div(network.layers[0, 0], ROWS)
        first_tile, last_tile = first // WIDE * in_strip, ceil_div(last, WIDE) * in_strip
        first_strip, last_strip = first // WIDE, ceil_div(last, WIDE)
        first_sparse, last_sparse = first // STRIP, ceil_div(last, STRIP)
    else:  # a single layer
        out = output_of(network, layer, batch.size)
        first_tile, last_tile = share(strips(out) * ceil_div(network.layers[0, 0], ROWS), thread, threads)
        first_strip, last_strip = share(strips(out), thread, threads)
        first_sparse, last_sparse = share(sparse_strips(out), thread, threads)
    if sparse:
        backward_first_sparse(network, data.lists, batch.size, rule, first_sparse, last_sparse, thread)
    else:
        backward_first(network, data.rows, batch, rule, first_tile, last_tile, thread)
    backward_bias(network, np.int64(0), batch.size, rule, first_strip, last_strip, thread)


@kernel
def region(kind, layer, network, data, batch, recipe, rule, thread, threads):
    """A thread's share of a region"""
    if kind == INPUT:
        make_input(network, data, batch, thread, threads)
    elif kind == FORWARD:
        forward(network, data, batch, layer, thread, threads)
    elif kind == OUTPUT:
        output(network, data, batch, layer, recipe, thread, threads)
    else:
        backward(network, data, batch, layer, rule, thread, threads)


@kernel
def serial(kind, layer, network, data, batch, recipe, rule, threads):
    """A region on the calling thread alone"""
    region(kind, layer, network, data, batch, recipe, rule, np.int64(0), np.int64(1))


@parallel
def parallel_region(
    kind, layer, layers, parameters, state, workspace, places, rows, lists, targets, batch, recipe, rule, threads
):
    """A region on several threads; its arguments are apart because Numba takes no nested tuples into a parallel loop"""
    for thread in numba.prange(threads):
        network = Network(layers, parameters, state, workspace, places)
        region(kind, layer, network, Data(rows, lists, targets), batch, recipe, rule, np.int64(thread), threads)


@inlined
def side_by_side(kind, layer, network, data, batch, recipe, rule, threads):
    """A region on several threads"""
    parallel_region(
        kind, layer, network.layers, network.parameters, network.state, network.workspace, network.places,
        data.rows, data.lists, data.targets, batch, recipe, rule, threads,
    )  # fmt: skip


@inlined
def steps(run, network, data, samples, batch_size, first, last, learning_rates, recipe, records, threads):
    """The steps of `train_steps`; `run` does a region"""
    workspace, places = network.workspace, network.places
    last_layer, zero = np.int64(network.layers.shape[0] - 1), np.int64(0)
    for step in range(first, last):
        start = step * batch_size
        n = min(batch_size, samples.size - start)
        batch = Batch(samples, start, n, start + n)
        rule = Rule(recipe.rule, learning_rates[step], recipe.momentum, recipe.weight_decay)
        if data.rows.kind == CODED:
            locate(data.lists, data.rows, samples, start, n, data.rows.data.size - data.rows.stride)
        run(INPUT, zero, network, data, batch, recipe, rule, threads)
        for layer in range(max(last_layer, 1)):
            run(FORWARD, layer, network, data, batch, recipe, rule, threads)
        run(OUTPUT, last_layer, network, data, batch, recipe, rule, threads)
        if recipe.loss == NOTEBOOK:
            loss_and_gradient(
                workspace, output_of(network, last_layer, n), recipe.loss, data.targets, samples, start,
                places.rows, places.capacity, zero, n,
            )  # fmt: skip
        labels = data.targets.labels
        record(records, step, workspace, recipe.loss, labels, samples, start, n, places.rows, places.capacity)
        if not np.isfinite(records[step, RECORD_LOSS]):
            return step
        for layer in range(last_layer, min(last_layer, 1) - 1, -1):
            run(BACKWARD, layer, network, data, batch, recipe, rule, threads)
    return last


@kernel
def train_steps(network, data, samples, batch_size, first, last, learning_rates, recipe, records):
    """The steps first..last-1 of an epoch of exact minibatch SGD; returns `last`, or the step whose loss is not finite

    network         see Network          parameters, state and workspace updated in place
    data            see Data             rows and targets read, lists overwritten where rows are CODED
    samples         (n,) int64           read: the order of the epoch; step s takes batch_size of them from s * batch_size on
    learning_rates  (n_steps,) float32   read
    records         (n_steps, 3)         overwritten, see `record`
    """
    return steps(serial, network, data, samples, batch_size, first, last, learning_rates, recipe, records, np.int64(1))


@kernel
def train_steps_parallel(network, data, samples, batch_size, first, last, learning_rates, recipe, records, threads):
    """`train_steps` on several threads, with bitwise the same result"""
    return steps(
        side_by_side, network, data, samples, batch_size, first, last, learning_rates, recipe, records, threads
    )
