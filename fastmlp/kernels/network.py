"""A training step, an epoch, and prediction, composed of the kernels.

A network is a table of layers and three flat arrays, so that one compiled set of kernels serves them all:

parameters  weights in panels and biases          state  the optimizer's, laid out like parameters
workspace   activations, which their gradients overwrite, and scratch
"""

from collections import namedtuple

import numpy as np

from fastmlp.kernels.activations import IDENTITY
from fastmlp.kernels.dense import (
    Matrix,
    bias_update,
    ceil_div,
    dense_backward_input,
    dense_forward,
    dense_update,
    strips,
    tiles,
    transpose,
)
from fastmlp.kernels.gather import cache_lines, gather, prefetch_lines
from fastmlp.kernels.jit import inlined, kernel
from fastmlp.kernels.losses import (
    CROSS_ENTROPY,
    LOSS,
    MSE,
    NOTEBOOK,
    PREDICTED,
    SOFTMAX_MSE,
    batch_softmax,
    cross_entropy,
    mse,
    notebook,
    softmax,
    softmax_mse,
)
from fastmlp.kernels.optimizers import Rule
from fastmlp.kernels.vector import NARROW, PANEL

# Columns of the table of layers: sizes, activation code, 1 where there is a bias; places of weights and bias in
# parameters with the strides of the weights' Matrix; place and strides of the layer's output in workspace.
(N_IN, N_OUT, ACTIVATION, HAS_BIAS, WEIGHT, WEIGHT_PANEL, WEIGHT_ROW, BIAS, OUTPUT, OUTPUT_PANEL, OUTPUT_ROW) = range(
    11
)
TABLE_COLUMNS = 11

# places: where in workspace the first layer's input lies, the transposed weights, PANEL zeros, a tile's scratch, and the
# losses' rows; and how many rows each matrix has room for.
Places = namedtuple("Places", "capacity input input_panel transposed zeros scratch rows")
Network = namedtuple("Network", "layers parameters state workspace places")

# targets: labels (n,) int32 for the losses of classes, values (n * n_outputs,) float32 for regression; the other empty.
Targets = namedtuple("Targets", "labels values")

# What a step does with a gradient: codes of loss and update rule, and the rule's numbers.
Recipe = namedtuple("Recipe", "loss rule momentum weight_decay")

PREFETCH_TILES = 4  # tiles of the weight gradient between two shares of the next batch's cache lines

RECORD_LOSS, RECORD_CORRECT, RECORD_LABEL_ERROR = range(3)


@inlined
def network_input(network, batch_size):
    """The input of the first layer, a Matrix in workspace."""
    places = network.places
    return Matrix(places.input, places.input_panel, PANEL, batch_size, network.layers[0, N_IN])


@inlined
def input_of(network, layer, batch_size):
    """The input of a layer, a Matrix in workspace."""
    return network_input(network, batch_size) if layer == 0 else output_of(network, layer - 1, batch_size)


@inlined
def output_of(network, layer, batch_size):
    """The output of a layer, a Matrix in workspace."""
    row = network.layers[layer]
    return Matrix(row[OUTPUT], row[OUTPUT_PANEL], row[OUTPUT_ROW], batch_size, row[N_OUT])


@inlined
def weight_of(network, layer):
    """The weights of a layer, a Matrix in parameters."""
    row = network.layers[layer]
    return Matrix(row[WEIGHT], row[WEIGHT_PANEL], row[WEIGHT_ROW], row[N_IN], row[N_OUT])


@inlined
def share(units, thread, threads):
    """The units first..last-1 that are a thread's."""
    return units * thread // threads, units * (thread + 1) // threads


@kernel
def forward_layer(network, layer, batch_size, thread, threads):
    """Output of a layer from its input: a thread's share of the tiles."""
    row = network.layers[layer]
    out = output_of(network, layer, batch_size)
    first, last = share(tiles(out), thread, threads)
    dense_forward(
        network.workspace, out, input_of(network, layer, batch_size), network.parameters, weight_of(network, layer),
        row[BIAS], row[ACTIVATION], network.places.scratch, first, last,
    )  # fmt: skip


@kernel
def backward_layer(network, layer, batch_size, rule, rows, samples, following, thread, threads):
    """From the gradient of a layer's output: its parameters updated, its input overwritten by the input's gradient."""
    places, workspace, parameters, state = network.places, network.workspace, network.parameters, network.state
    inp, dout = input_of(network, layer, batch_size), output_of(network, layer, batch_size)
    weight = weight_of(network, layer)
    # the input gradient uses the weights from before their update
    weight_t = Matrix(
        places.transposed, ceil_div(weight.columns, NARROW) * NARROW * PANEL, PANEL, weight.columns, weight.rows
    )
    if layer > 0:
        first, last = share(ceil_div(weight.rows, NARROW), thread, threads)
        transpose(workspace, weight_t, parameters, weight, first, last)
    first, last = share(tiles(weight), thread, threads)
    lines = min(batch_size, samples.size - following) * cache_lines(rows)  # of the next batch, to be fetched meanwhile
    for tile in range(first, last, PREFETCH_TILES):
        end = min(tile + PREFETCH_TILES, last)
        prefetch_lines(rows, samples, following, lines * tile // tiles(weight), lines * end // tiles(weight))
        dense_update(workspace, inp, dout, parameters, state, weight, places.zeros, rule, places.scratch, tile, end)
    if network.layers[layer, HAS_BIAS]:
        bias_rule = Rule(rule.rule, rule.learning_rate, rule.momentum, np.float32(0))
        first, last = share(strips(weight), thread, threads)
        bias = network.layers[layer, BIAS]
        bias_update(workspace, dout, parameters, state, bias, bias_rule, places.scratch, first, last)
    if layer > 0:
        activation = network.layers[layer - 1, ACTIVATION]
        first, last = share(tiles(inp), thread, threads)
        dense_backward_input(workspace, inp, dout, weight_t, places.zeros, activation, places.scratch, first, last)


@kernel
def loss_and_gradient(workspace, logits, loss, targets, samples, start, rows, capacity, first, last):
    """The losses of the rows first..last-1 of a batch, and their gradients in place of the logits."""
    if loss == CROSS_ENTROPY:
        cross_entropy(workspace, logits, targets.labels, samples, start, rows, capacity, first, last)
    elif loss == SOFTMAX_MSE:
        softmax_mse(workspace, logits, targets.labels, samples, start, rows, capacity, first, last)
    elif loss == NOTEBOOK:
        notebook(workspace, logits, targets.labels, samples, start, rows, capacity)
    else:
        mse(workspace, logits, targets.values, samples, start, rows, capacity, first, last)


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


@kernel
def train_steps(network, rows, targets, samples, batch_size, first, last, learning_rates, recipe, records):
    """The steps first..last-1 of an epoch of exact minibatch SGD; returns `last`, or the step whose loss is not finite

    network         see Network          parameters, state and workspace updated in place
    rows, targets   see Rows, Targets    read
    samples         (n,) int64           read: the order of the epoch; step s takes samples[s * batch_size:][:batch_size]
    learning_rates  (n_steps,) float32   read
    records         (n_steps, 3)         overwritten, see `record`
    """
    places, workspace, n_layers = network.places, network.workspace, network.layers.shape[0]
    zero = np.int64(0)
    for step in range(first, last):
        start = step * batch_size
        n = min(batch_size, samples.size - start)
        gather(workspace, network_input(network, n), rows, samples, start, np.int64(0), n)
        for layer in range(n_layers):
            forward_layer(network, layer, n, np.int64(0), np.int64(1))
        logits = output_of(network, n_layers - 1, n)
        loss_and_gradient(
            workspace, logits, recipe.loss, targets, samples, start, places.rows, places.capacity, zero, n
        )
        record(records, step, workspace, recipe.loss, targets.labels, samples, start, n, places.rows, places.capacity)
        if not np.isfinite(records[step, RECORD_LOSS]):
            return step
        rule = Rule(recipe.rule, learning_rates[step], recipe.momentum, recipe.weight_decay)
        for layer in range(n_layers - 1, -1, -1):
            following = start + n if layer == 0 else samples.size
            backward_layer(network, layer, n, rule, rows, samples, following, np.int64(0), np.int64(1))
    return last


@kernel
def predict_logits(network, rows, samples):
    """The last layer's output for the samples, into its Matrix in workspace, chunk by chunk of `capacity` rows

    The last layer's OUTPUT has room for all samples; those of the others, and the input, for one chunk.
    """
    workspace, n_layers = network.workspace, network.layers.shape[0]
    chunk = network.places.capacity
    logits = network.layers[n_layers - 1]
    origin = logits[OUTPUT]
    for start in range(0, samples.size, chunk):
        n = min(chunk, samples.size - start)
        gather(workspace, network_input(network, n), rows, samples, start, np.int64(0), n)
        logits[OUTPUT] = origin + start * logits[OUTPUT_ROW]
        for layer in range(n_layers):
            forward_layer(network, layer, n, np.int64(0), np.int64(1))
    logits[OUTPUT] = origin


@kernel
def probabilities(network, n, loss):
    """The last layer's n outputs in workspace, turned into probabilities in place."""
    logits = output_of(network, network.layers.shape[0] - 1, n)
    if loss == NOTEBOOK:
        batch_softmax(network.workspace, logits)
    elif loss != MSE:
        softmax(network.workspace, logits, 0, n)


@kernel
def evaluate_losses(network, n, loss, targets, samples, records):
    """records[0] = sums over the last layer's n outputs in workspace, see `record`; the outputs are overwritten."""
    logits = output_of(network, network.layers.shape[0] - 1, n)
    rows, capacity = network.places.rows, ceil_div(n, NARROW) * NARROW
    first = np.int64(0)
    loss_and_gradient(network.workspace, logits, loss, targets, samples, first, rows, capacity, first, n)
    record(records, first, network.workspace, loss, targets.labels, samples, first, n, rows, capacity)
