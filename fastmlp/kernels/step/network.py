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
from fastmlp.kernels.ops.optimizers import scale_rule
from fastmlp.kernels.ops.rows import dense_backward_row, dense_forward_row
from fastmlp.kernels.simd.processors import NARROW, PANEL, ROWS, WIDE
from fastmlp.kernels.simd.records import Layout

# A row of the table of layers.  Offsets and strides make up a Matrix each, or an array: of the weights and the bias in
# parameters, of the output and the transposed weights in workspace.
LAYER = Layout(
    "layer",
    {
        "n_in": np.int64,
        "n_out": np.int64,
        "activation": np.int64,
        "has_bias": np.int64,  # whether the bias is updated
        "weight": np.int64,
        "weight_panel": np.int64,
        "weight_row": np.int64,
        "bias": np.int64,
        "output": np.int64,
        "output_panel": np.int64,
        "output_row": np.int64,
        "transposed": np.int64,
        # what forward and backward kernels apply: the activation; or nothing and SLOPE, where the layer keeps its slope
        "forward_code": np.int64,
        "backward_code": np.int64,
        "slope": np.int64,  # from the output to the slope; 0: none is kept
        "dropout_threshold": np.int64,  # of the units, in units of 2**-32
        # what the optimizer's settings are multiplied by, see `weight_rule` and `bias_rule`
        "weight_rate": np.float32,
        "weight_epsilon": np.float32,
        "weight_decay": np.float32,
        "bias_rate": np.float32,
    },
)

# Where things lie in workspace: the first layer's input, a Matrix; the table of coded input; PANEL zeros; the threads'
# scratch; the losses' rows; and the squares of the gradient, summed up by strips.  Matrices have room for `capacity`
# rows.
WorkspaceLayout = namedtuple("WorkspaceLayout", "capacity input input_panel table zeros scratch rows squares")
WORKSPACE_LAYOUT = Layout("workspace_layout", dict.fromkeys(WorkspaceLayout._fields, np.int64))
Network = namedtuple("Network", "layers parameters state workspace layout")

# Floats from one thread's scratch to the next: 8 KB, or the prefetcher of one core keeps taking lines from the other.
SCRATCH = np.int64(2048)

# A batch: `size` samples of `samples` from `start` on; from `following` on those of the next, to be fetched into cache.
Batch = namedtuple("Batch", "samples start size following")

# A part of a step's work: of everything that is split into n_parts, the parts first..last-1, done by a thread.
Work = namedtuple("Work", "first last n_parts thread")


@inline_llvm
def partition(units, work):
    """Return which of some units of work belong to a part: first and last + 1."""
    return units * work.first // work.n_parts, units * work.last // work.n_parts


@inline_llvm
def scratch_of(network, thread):
    """Return where a thread's scratch starts in workspace."""
    return network.layout.scratch + thread * SCRATCH


@inline_llvm
def network_input(network, batch_size):
    """Return the input of the first layer, a Matrix in workspace."""
    layout = network.layout
    return Matrix(layout.input, layout.input_panel, PANEL, batch_size, network.layers[0].n_in)


@inline_llvm
def input_of(network, layer, batch_size):
    """Return the input of a layer, a Matrix in workspace."""
    return network_input(network, batch_size) if layer == 0 else output_of(network, layer - 1, batch_size)


@inline_llvm
def output_of(network, layer, batch_size):
    """Return the output of a layer, a Matrix in workspace."""
    row = network.layers[layer]
    return Matrix(row.output, row.output_panel, row.output_row, batch_size, row.n_out)


@inline_llvm
def rows_of(matrix, first, n):
    """Return the rows of a matrix from `first` on."""
    return Matrix(matrix.start + first * matrix.row, matrix.panel, matrix.row, n, matrix.columns)


@inline_llvm
def weight_of(network, layer):
    """Return the weights of a layer, a Matrix in parameters."""
    row = network.layers[layer]
    return Matrix(row.weight, row.weight_panel, row.weight_row, row.n_in, row.n_out)


@inline_llvm
def transposed_of(network, layer):
    """Return the transposed weights of a layer, a Matrix in workspace."""
    row = network.layers[layer]
    panel = ceil_div(row.n_out, NARROW) * NARROW * PANEL
    return Matrix(row.transposed, panel, PANEL, row.n_out, row.n_in)


@inline_llvm
def weight_rule(network, layer, rule):
    """The update rule for the weights of a layer."""
    row = network.layers[layer]
    return scale_rule(rule, row.weight_rate, row.weight_epsilon, row.weight_decay)


@inline_llvm
def bias_rule(network, layer, rule):
    """The update rule for the biases of a layer, which do not decay."""
    return scale_rule(rule, network.layers[layer].bias_rate, np.float32(1), np.float32(0))


@inline_numba
def forward_dense(network, layer, batch_size, work):
    """Compute the output of a layer from its input: a partition of the tiles."""
    row, out = network.layers[layer], output_of(network, layer, batch_size)
    first, last = partition(tiles(out), work)
    dense_forward(
        network.workspace, out, input_of(network, layer, batch_size), network.parameters, weight_of(network, layer),
        row.bias, row.forward_code, scratch_of(network, work.thread), first, last, no_prefetch(),
    )  # fmt: skip


@inline_numba
def forward_rows(network, layer, batch_size, first_row, last_row, thread):
    """Output of a layer for the rows first_row..last_row-1, multiples of NARROW (or the end)."""
    row, n_rows = network.layers[layer], last_row - first_row
    out = rows_of(output_of(network, layer, batch_size), first_row, n_rows)
    inp = rows_of(input_of(network, layer, batch_size), first_row, n_rows)
    dense_forward(
        network.workspace, out, inp, network.parameters, weight_of(network, layer), row.bias, row.forward_code,
        scratch_of(network, thread), np.int64(0), tiles(out), no_prefetch(),
    )  # fmt: skip


@inline_numba
def transpose_weight(network, layer, work):
    """Transpose a layer's weights, for `backward_inner`, which updates them first: a partition of the rows."""
    weight = weight_of(network, layer)
    first, last = partition(ceil_div(weight.rows, NARROW), work)
    transpose(network.workspace, transposed_of(network, layer), network.parameters, weight, first, last)


@inline_numba
def backward_bias(network, layer, batch_size, rule, first_strip, last_strip, thread):
    """Biases updated, from the gradient of the layer's output: the strips first_strip..last_strip-1."""
    row = network.layers[layer]
    if row.has_bias:
        bias_update(
            network.workspace, output_of(network, layer, batch_size), network.parameters, network.state, row.bias,
            bias_rule(network, layer, rule), scratch_of(network, thread), first_strip, last_strip,
        )  # fmt: skip


@inline_numba
def backward_inner(network, layer, batch_size, rule, first_column, last_column, thread):
    """Weights updated, and the layer's input overwritten by its gradient: for the columns of the input (rows of the
    weights) first_column..last_column-1, multiples of WIDE (or the end)

    No other thread reads or writes these columns or rows meanwhile.
    """
    workspace, layout, weight = network.workspace, network.layout, weight_of(network, layer)
    inp, dout = input_of(network, layer, batch_size), output_of(network, layer, batch_size)
    scratch = scratch_of(network, thread)
    dense_update(
        workspace, inp, dout, network.parameters, network.state, weight, layout.zeros,
        weight_rule(network, layer, rule), scratch, np.int64(0), strips(weight), first_column, last_column,
    )  # fmt: skip
    in_strip = ceil_div(batch_size, ROWS)
    first, last = first_column // WIDE * in_strip, ceil_div(last_column, WIDE) * in_strip
    below = network.layers[layer - 1]
    dense_backward_input(
        workspace, inp, dout, transposed_of(network, layer), layout.zeros, below.backward_code, below.slope,
        scratch, first, last,
    )  # fmt: skip


@inline_numba
def forward_row(network, layer, first, last):
    """Output of a layer for a batch of one sample: the strips first..last-1 of STRIP columns."""
    row, one = network.layers[layer], np.int64(1)
    dense_forward_row(
        network.workspace, output_of(network, layer, one), input_of(network, layer, one), network.parameters,
        weight_of(network, layer), row.bias, row.forward_code, first, last,
    )  # fmt: skip


@inline_numba
def backward_row(network, layer, batch_size, rule, first_column, last_column, thread):
    """`backward_inner` for a batch of one sample."""
    below = network.layers[layer - 1]
    dense_backward_row(
        network.workspace, input_of(network, layer, batch_size), output_of(network, layer, batch_size),
        network.parameters, network.state, weight_of(network, layer), below.backward_code, below.slope,
        weight_rule(network, layer, rule), scratch_of(network, thread), first_column // NARROW,
        ceil_div(last_column, NARROW),
    )  # fmt: skip
