"""A network as the kernels see it, and each layer's part of a training step.

A network is a table of layers, flat too, and three flat arrays, so that one compiled set of kernels serves them all:

parameters  weights in panels and biases          state  the optimizer's, laid out like parameters
workspace   activations, which their gradients overwrite, and scratch

Every function here does one thread's share.  Work is split by outputs, never within a sum, so that the result is the
same for any number of threads.
"""

from collections import namedtuple

import numpy as np

from fastmlp.kernels.jit import inline_llvm, inline_numba
from fastmlp.kernels.ops.dense import (
    Matrix,
    bias_update,
    ceil_div,
    dense_backward_input,
    dense_forward,
    dense_update,
    no_prefetch,
    strips,
    tiles,
    transpose,
)
from fastmlp.kernels.ops.optimizers import without_decay
from fastmlp.kernels.ops.rows import dense_backward_row, dense_forward_row
from fastmlp.kernels.simd.addresses import address_of, int64s_at
from fastmlp.kernels.simd.processors import NARROW, PANEL, ROWS, WIDE

# Columns of the table of layers: sizes, activation code, 1 where there is a bias; places of weights and bias in
# parameters with the strides of the weights' Matrix; place and strides of the layer's output in workspace, and where
# its transposed weights lie there.  What forward and backward kernels apply: the activation, or where the layer keeps
# its slope, nothing and SLOPE; how far behind the output the slope lies (0: none), and the share of units that is
# dropped, of 2**32.
N_IN, N_OUT, ACTIVATION, HAS_BIAS, WEIGHT, WEIGHT_PANEL, WEIGHT_ROW, BIAS = range(8)
OUTPUT, OUTPUT_PANEL, OUTPUT_ROW, TRANSPOSED, FORWARD_CODE, BACKWARD_CODE, SLOPE_AT, DROPOUT_THRESHOLD = range(8, 16)
TABLE_COLUMNS = np.int64(16)

# places: where in workspace the first layer's input lies, the table of coded input, PANEL zeros, the threads' scratch,
# the losses' rows, and the gradients' squares; and how many rows each matrix has room for.
WorkspaceLayout = namedtuple("WorkspaceLayout", "capacity input input_panel table zeros scratch rows squares")
Network = namedtuple("Network", "layers parameters state workspace layout")

# Floats from one thread's scratch to the next: 8 KB, or the prefetcher of one core keeps taking lines from the other.
SCRATCH = np.int64(2048)

# A batch: `size` samples of `samples` from `start` on; from `following` on those of the next, to be fetched into cache.
Batch = namedtuple("Batch", "samples start size following")


@inline_llvm
def layer_row(network, layer):
    """A layer's row of the table."""
    return int64s_at(address_of(network.layers) + layer * TABLE_COLUMNS * 8, TABLE_COLUMNS)


@inline_llvm
def network_input(network, batch_size):
    """The input of the first layer, a Matrix in workspace."""
    layout = network.layout
    return Matrix(layout.input, layout.input_panel, PANEL, batch_size, network.layers[N_IN])


@inline_llvm
def input_of(network, layer, batch_size):
    """The input of a layer, a Matrix in workspace."""
    return network_input(network, batch_size) if layer == 0 else output_of(network, layer - 1, batch_size)


@inline_llvm
def output_of(network, layer, batch_size):
    """The output of a layer, a Matrix in workspace."""
    row = layer_row(network, layer)
    return Matrix(row[OUTPUT], row[OUTPUT_PANEL], row[OUTPUT_ROW], batch_size, row[N_OUT])


@inline_llvm
def rows_of(matrix, first, n):
    """The rows of a matrix from `first` on."""
    return Matrix(matrix.start + first * matrix.row, matrix.panel, matrix.row, n, matrix.columns)


@inline_llvm
def weight_of(network, layer):
    """The weights of a layer, a Matrix in parameters."""
    row = layer_row(network, layer)
    return Matrix(row[WEIGHT], row[WEIGHT_PANEL], row[WEIGHT_ROW], row[N_IN], row[N_OUT])


@inline_llvm
def transposed_of(network, layer):
    """The transposed weights of a layer, a Matrix in workspace."""
    row = layer_row(network, layer)
    panel = ceil_div(row[N_OUT], NARROW) * NARROW * PANEL
    return Matrix(row[TRANSPOSED], panel, PANEL, row[N_OUT], row[N_IN])


@inline_llvm
def partition(units, thread, threads):
    """The units first..last-1 that are a thread's."""
    return units * thread // threads, units * (thread + 1) // threads


@inline_numba
def forward_dense(network, layer, batch_size, thread, threads):
    """Output of a layer from its input: a share of the tiles."""
    row, out = layer_row(network, layer), output_of(network, layer, batch_size)
    first, last = partition(tiles(out), thread, threads)
    dense_forward(
        network.workspace, out, input_of(network, layer, batch_size), network.parameters, weight_of(network, layer),
        row[BIAS], row[FORWARD_CODE], network.layout.scratch + thread * SCRATCH, first, last, no_prefetch(),
    )  # fmt: skip


@inline_numba
def forward_rows(network, layer, batch_size, first_row, last_row, thread):
    """Output of a layer for the rows first_row..last_row-1, multiples of NARROW (or the end)."""
    row, n_rows = layer_row(network, layer), last_row - first_row
    out = rows_of(output_of(network, layer, batch_size), first_row, n_rows)
    inp = rows_of(input_of(network, layer, batch_size), first_row, n_rows)
    dense_forward(
        network.workspace, out, inp, network.parameters, weight_of(network, layer), row[BIAS], row[FORWARD_CODE],
        network.layout.scratch + thread * SCRATCH, np.int64(0), tiles(out), no_prefetch(),
    )  # fmt: skip


@inline_numba
def transpose_weight(network, layer, thread, threads):
    """A layer's weights transposed, for `backward_inner`, which updates them first: a share of the rows."""
    weight = weight_of(network, layer)
    first, last = partition(ceil_div(weight.rows, NARROW), thread, threads)
    transpose(network.workspace, transposed_of(network, layer), network.parameters, weight, first, last)


@inline_numba
def backward_bias(network, layer, batch_size, rule, first_strip, last_strip, thread):
    """Biases updated, from the gradient of the layer's output: the strips first_strip..last_strip-1."""
    row = layer_row(network, layer)
    if row[HAS_BIAS]:
        bias_update(
            network.workspace, output_of(network, layer, batch_size), network.parameters, network.state, row[BIAS],
            without_decay(rule), network.layout.scratch + thread * SCRATCH, first_strip, last_strip,
        )  # fmt: skip


@inline_numba
def backward_inner(network, layer, batch_size, rule, first_column, last_column, thread):
    """Weights updated, and the layer's input overwritten by its gradient: for the columns of the input (rows of the
    weights) first_column..last_column-1, multiples of WIDE (or the end)

    No other thread reads or writes these columns or rows meanwhile.
    """
    workspace, layout, weight = network.workspace, network.layout, weight_of(network, layer)
    inp, dout = input_of(network, layer, batch_size), output_of(network, layer, batch_size)
    scratch = layout.scratch + thread * SCRATCH
    dense_update(
        workspace, inp, dout, network.parameters, network.state, weight, layout.zeros, rule, scratch,
        np.int64(0), strips(weight), first_column, last_column,
    )  # fmt: skip
    in_strip = ceil_div(batch_size, ROWS)
    first, last = first_column // WIDE * in_strip, ceil_div(last_column, WIDE) * in_strip
    below = layer_row(network, layer - 1)
    dense_backward_input(
        workspace, inp, dout, transposed_of(network, layer), layout.zeros, below[BACKWARD_CODE], below[SLOPE_AT],
        scratch, first, last,
    )  # fmt: skip


@inline_numba
def forward_row(network, layer, first, last):
    """Output of a layer for a batch of one sample: the strips first..last-1 of STRIP columns."""
    row, one = layer_row(network, layer), np.int64(1)
    dense_forward_row(
        network.workspace, output_of(network, layer, one), input_of(network, layer, one), network.parameters,
        weight_of(network, layer), row[BIAS], row[FORWARD_CODE], first, last,
    )  # fmt: skip


@inline_numba
def backward_row(network, layer, batch_size, rule, first_column, last_column, thread):
    """`backward_inner` for a batch of one sample."""
    below = layer_row(network, layer - 1)
    dense_backward_row(
        network.workspace, input_of(network, layer, batch_size), output_of(network, layer, batch_size),
        network.parameters, network.state, weight_of(network, layer), below[BACKWARD_CODE], below[SLOPE_AT], rule,
        network.layout.scratch + thread * SCRATCH, first_column // 16, ceil_div(last_column, 16),
    )  # fmt: skip
