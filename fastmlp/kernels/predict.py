"""Outputs of a network for many samples, chunk by chunk, each of which stays in cache."""

import numpy as np

from fastmlp.kernels.dense import ceil_div
from fastmlp.kernels.epoch import loss_and_gradient, record
from fastmlp.kernels.gather import gather
from fastmlp.kernels.jit import kernel
from fastmlp.kernels.losses import MSE, NOTEBOOK, batch_softmax, softmax
from fastmlp.kernels.network import (
    N_IN,
    OUTPUT,
    OUTPUT_ROW,
    Batch,
    forward_dense,
    forward_sparse,
    network_input,
    output_of,
)
from fastmlp.kernels.sparse import BLOCK, GROUP, copy_rows, locate, make_lists
from fastmlp.kernels.vector import NARROW

# The sparse kernels are taken where less than this share of the groups of features of a sample hold a non-zero one.
SPARSE_BELOW = 0.6


@kernel
def is_sparse(lists, n_features, batch_size):
    """Whether lists just made are so short that the sparse kernels are faster than the dense ones."""
    words, groups = np.int64(0), ceil_div(n_features, GROUP)
    for block in range(ceil_div(batch_size, BLOCK)):
        for g in range(groups):
            words += lists.count[block * lists.groups + g]
    return words < SPARSE_BELOW * groups * batch_size


@kernel
def predict_logits(network, rows, lists, coded, samples):
    """The last layer's output for the samples, into its Matrix in workspace, chunk by chunk of `capacity` rows

    lists, coded  for rows of bytes and a chunk: lists, and CODED rows that chunks are copied to; or empty ones, and the
                  dense kernels are taken throughout

    The last layer's OUTPUT has room for all samples; those of the others, and the input, for one chunk.
    """
    n_layers, zero, one = network.layers.shape[0], np.int64(0), np.int64(1)
    logits = network.layers[n_layers - 1]
    origin = logits[OUTPUT]
    for start in range(0, samples.size, network.places.capacity):
        n = min(network.places.capacity, samples.size - start)
        logits[OUTPUT] = origin + start * logits[OUTPUT_ROW]
        sparse = False
        if lists.groups > 0:
            copy_rows(coded, rows, samples, start, n)
            locate(lists, coded, samples, zero, n, n * coded.stride)
            make_lists(lists, coded, n, zero, lists.groups)
            sparse = is_sparse(lists, network.layers[0, N_IN], n)
        if sparse:
            forward_sparse(network, rows, lists, Batch(samples, start, n, samples.size), zero, one)
        else:
            gather(network.workspace, network_input(network, n), rows, samples, start, zero, n)
            forward_dense(network, zero, n, zero, one)
        for layer in range(1, n_layers):
            forward_dense(network, layer, n, zero, one)
    logits[OUTPUT] = origin


@kernel
def probabilities(network, n, loss):
    """The last layer's n outputs in workspace, turned into probabilities in place."""
    logits = output_of(network, network.layers.shape[0] - 1, n)
    if loss == NOTEBOOK:
        batch_softmax(network.workspace, logits)
    elif loss != MSE:
        softmax(network.workspace, logits, np.int64(0), n)


@kernel
def evaluate_losses(network, n, loss, targets, samples, records):
    """records[0] = sums over the last layer's n outputs in workspace, see `record`; the outputs are overwritten."""
    logits = output_of(network, network.layers.shape[0] - 1, n)
    rows, capacity, first = network.places.rows, ceil_div(n, NARROW) * NARROW, np.int64(0)
    loss_and_gradient(network.workspace, logits, loss, targets, samples, first, rows, capacity, first, n)
    record(records, first, network.workspace, loss, targets.labels, samples, first, n, rows, capacity)
