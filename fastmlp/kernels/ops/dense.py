"""The dense layer: forward, input gradient, and weight gradient with the update fused into it.

Matrices lie in panels of PANEL columns (see `Matrix`).  All three kernels are one product: a tile of ROWS rows is
summed up in registers, put into `scratch` (in L1), and finished there: bias and activation, the derivative, or the
optimizer (plain SGD is one FMA, from the registers).  So no gradient of a weight ever exists outside of a tile.

A tile always has ROWS rows.  Where a matrix, or a thread's part of it, ends within one, the tile reads on behind it,
and only the rows that belong there are stored.  Columns up to a multiple of NARROW are the matrix's own, and written;
nobody reads what comes out there.

Every sum runs in order, from the bias (or 0) over the inputs (or the samples), one FMA each, whatever the tile.
"""

from collections import namedtuple

import numpy as np

from fastmlp.kernels.jit import inline_llvm, kernel
from fastmlp.kernels.ops.activations import activation_backward, activation_forward
from fastmlp.kernels.ops.optimizers import PLAIN, optimizer_update
from fastmlp.kernels.simd.addresses import int64s_at, prefetch_at
from fastmlp.kernels.simd.processors import NARROW, PANEL, ROWS, WIDE
from fastmlp.kernels.simd.tiles import add_rows, fma_rows, repeat_narrow, repeat_wide, store_rows, transpose_block
from fastmlp.kernels.simd.vector import add, load, store

# Where a matrix lies in a flat array: element (i, j) at start + j // PANEL * panel + i * row + j % PANEL.
# Inputs, outputs and their gradients have row == PANEL; a row-major matrix of weights or logits has panel == PANEL.
Matrix = namedtuple("Matrix", "start panel row rows columns")

CACHE_LINE = np.int64(64)

# Rows of a data set that will be read soon: the addresses of the data and of the samples' numbers, the bytes from row
# to row and of an element, and which of the samples they are.
Prefetch = namedtuple("Prefetch", "data samples stride itemsize first last")


@inline_llvm
def prefetch_rows(prefetch, k):
    """Ask for PANEL elements from the k-th on of the rows of `prefetch` to come into cache."""
    samples = int64s_at(prefetch.samples, prefetch.last)
    for i in range(prefetch.first, prefetch.last):
        at = prefetch.data + samples[i] * prefetch.stride + k * prefetch.itemsize
        for line in range(0, PANEL * prefetch.itemsize, CACHE_LINE):
            prefetch_at(at + line)


@inline_llvm
def no_prefetch():
    """No rows to be fetched."""
    zero = np.int64(0)
    return Prefetch(zero, zero, zero, zero, zero, zero)


@inline_llvm
def ceil_div(n, size):
    return (n + size - 1) // size


@inline_llvm
def strips(matrix):
    """Strips of WIDE columns, the last one perhaps of NARROW: a tile's width."""
    return ceil_div(matrix.columns, WIDE)


@inline_llvm
def strip_columns(matrix, strip):
    """Columns of a strip: WIDE, or NARROW where that holds what is left."""
    return NARROW if matrix.columns - strip * WIDE <= NARROW else WIDE


@inline_llvm
def column_start(matrix, j):
    """Return where column j starts."""
    return matrix.start + j // PANEL * matrix.panel + j % PANEL


@inline_llvm
def element_offset(matrix, i, j):
    """Return where element (i, j) lies."""
    return column_start(matrix, j) + i * matrix.row


@inline_llvm
def multiply_rows(tile, a, start, panel, b, first, row, length, prefetch):
    """tile + a @ b, in order; a has ROWS rows and `length` columns in panels, b's rows lie `row` apart"""
    for k in range(0, length, PANEL):
        prefetch_rows(prefetch, k)
        for q in range(min(PANEL, length - k)):
            tile = fma_rows(tile, a, start + q, PANEL, b, first)
            first += row
        start += panel
    return tile


@inline_llvm
def multiply_columns(tile, a, start, b, first, length):
    """tile + a.T @ b, in order; a has `length` rows and ROWS columns, both lie in panels"""
    for _ in range(length):
        tile = fma_rows(tile, a, start, 1, b, first)
        start += PANEL
        first += PANEL
    return tile


@kernel
def tile_of_rows(scratch, to, columns, initial, zero, a, start, panel, b, first, row, length, prefetch):
    """scratch = initial + a @ b, for ROWS rows of a and one strip of columns of b

    scratch  (ROWS, WIDE)       overwritten, from `to` on
    initial  (columns,)         read from `zero` on: what every row's sums start from
    a        (ROWS, length)     read, in panels
    b        (length, columns)  read from `first` on, its rows `row` apart
    """
    if columns == WIDE:
        wide = multiply_rows(repeat_wide(initial, zero), a, start, panel, b, first, row, length, prefetch)
        store_rows(wide, scratch, to, WIDE)
    else:
        narrow = multiply_rows(repeat_narrow(initial, zero), a, start, panel, b, first, row, length, prefetch)
        store_rows(narrow, scratch, to, WIDE)


@kernel
def tile_of_columns(workspace, to, columns, zeros, start, first, length, parameters, at, row, rate):
    """dweight = a.T @ b, for ROWS columns of a and one strip of columns of b: a tile of the weight gradient

    a           (length, ROWS)     read from `start` on, in a panel
    b           (length, columns)  read from `first` on, in a panel
    parameters  (ROWS, columns)    from `at` on, rows `row` apart: += rate * dweight, if rate is not 0
    workspace   (ROWS, WIDE)       from `to` on: = dweight, if rate is 0
    """
    if columns == WIDE:
        wide = multiply_columns(repeat_wide(workspace, zeros), workspace, start, workspace, first, length)
        if rate != 0:
            add_rows(wide, rate, parameters, at, row)
        else:
            store_rows(wide, workspace, to, WIDE)
    else:
        narrow = multiply_columns(repeat_narrow(workspace, zeros), workspace, start, workspace, first, length)
        if rate != 0:
            add_rows(narrow, rate, parameters, at, row)
        else:
            store_rows(narrow, workspace, to, WIDE)


@inline_llvm
def tiles(matrix):
    """Tiles of a matrix, strip by strip: what callers split over threads."""
    return strips(matrix) * ceil_div(matrix.rows, ROWS)


@kernel
def dense_forward(workspace, out, inp, parameters, weight, bias, activation, scratch, first, last, prefetch):
    """out = activation(inp @ weight + bias), for the tiles first..last-1 of out

    out      (batch_size, n_out)   overwritten
    inp      (batch_size, n_in)    read
    weight   (n_in, n_out)         read, in parameters
    bias     (n_out,)              read, in parameters
    scratch  (ROWS, WIDE)          overwritten, in workspace

    Tiles are independent.  2 * batch_size * n_in * n_out flop.
    Meanwhile the rows of `prefetch` are fetched into cache.
    """
    in_strip = ceil_div(out.rows, ROWS)
    for tile in range(first, last):
        strip, i = tile // in_strip, tile % in_strip * ROWS
        columns = strip_columns(out, strip)
        tile_of_rows(
            workspace, scratch, columns, parameters, bias + strip * WIDE,
            workspace, inp.start + i * inp.row, inp.panel,
            parameters, column_start(weight, strip * WIDE), weight.row, weight.rows, prefetch,
        )  # fmt: skip
        at = element_offset(out, i, strip * WIDE)
        for r in range(min(ROWS, out.rows - i)):
            for c in range(0, columns, NARROW):
                z = load(workspace, scratch + r * WIDE + c)
                store(activation_forward(z, activation), workspace, at + r * out.row + c)


@kernel
def dense_backward_input(workspace, inp, dout, weight_t, zeros, activation, slope, scratch, first, last):
    """inp = (dout @ weight.T) * activation'(inp), for the tiles first..last-1 of inp

    inp       (batch_size, n_in)    the layer's input, itself the output of `activation`; overwritten by its gradient
    dout      (batch_size, n_out)   read
    weight_t  (n_out, n_in)         read: the weights from before their update, transposed
    zeros     (WIDE,)               read: zeros
    slope     (batch_size, n_in)    read, so far behind inp, for the code SLOPE; else 0
    scratch   (ROWS, WIDE)          overwritten

    All in workspace.  Tiles are independent.  2 * batch_size * n_in * n_out flop.
    """
    in_strip = ceil_div(inp.rows, ROWS)
    for tile in range(first, last):
        strip, i = tile // in_strip, tile % in_strip * ROWS
        columns = strip_columns(inp, strip)
        tile_of_rows(
            workspace, scratch, columns, workspace, zeros,
            workspace, dout.start + i * dout.row, dout.panel,
            workspace, column_start(weight_t, strip * WIDE), weight_t.row, weight_t.rows, no_prefetch(),
        )  # fmt: skip
        at = element_offset(inp, i, strip * WIDE)
        for r in range(min(ROWS, inp.rows - i)):
            for c in range(0, columns, NARROW):
                out = load(workspace, at + slope + r * inp.row + c)
                dout_vector = load(workspace, scratch + r * WIDE + c)
                store(activation_backward(dout_vector, out, activation), workspace, at + r * inp.row + c)


@kernel
def dense_update(
    workspace, inp, dout, parameters, state, weight, zeros, rule, scratch, first_strip, last_strip, first_row, last_row
):
    """weight -= the optimizer's step for dweight = inp.T @ dout, for some strips of columns and some rows of weight

    inp      (batch_size, n_in)    read
    dout     (batch_size, n_out)   read
    weight   (n_in, n_out)         updated in place, in parameters; the optimizer's state likewise, at the same place
    zeros    (WIDE,)               read: zeros
    scratch  (ROWS, WIDE)          overwritten, in workspace

    Rows and strips are independent.  2 * batch_size * n_in * n_out flop, and 2 * n_in * n_out for the update.
    """
    plain = rule.rule == PLAIN and rule.weight_decay == 0
    for strip in range(first_strip, last_strip):
        columns, k = strip_columns(weight, strip), first_row
        while k < last_row:
            rows = min(ROWS, last_row - k, PANEL - k % PANEL)  # columns of inp in one panel
            at = element_offset(weight, k, strip * WIDE)
            direct = plain and rows == ROWS  # the update is one FMA: from the registers
            tile_of_columns(
                workspace, scratch, columns, zeros, column_start(inp, k), column_start(dout, strip * WIDE), dout.rows,
                parameters, at, weight.row, -rule.learning_rate if direct else np.float32(0),
            )  # fmt: skip
            if not direct:
                for r in range(rows):
                    optimizer_update(
                        parameters, state, at + r * weight.row, workspace, scratch + r * WIDE, columns, rule
                    )
            k += rows


@kernel
def bias_update(workspace, dout, parameters, state, bias, rule, scratch, first, last):
    """bias -= the optimizer's step for dbias = the sum of dout's rows, for the strips first..last-1

    dout  (batch_size, n_out)   read, in workspace
    bias  (n_out,)              updated in place, in parameters; the optimizer's state likewise, at the same place

    Weight decay is the caller's to leave out of the rule.
    """
    for strip in range(first, last):
        columns = strip_columns(dout, strip)
        at = column_start(dout, strip * WIDE)
        for c in range(0, columns, NARROW):
            total = load(workspace, at + c)
            for i in range(1, dout.rows):
                total = add(total, load(workspace, at + i * dout.row + c))
            store(total, workspace, scratch + c)
        optimizer_update(parameters, state, bias + strip * WIDE, workspace, scratch, columns, rule)


@kernel
def transpose(workspace, weight_t, parameters, weight, first, last):
    """weight_t = weight.T, for the blocks of NARROW rows first..last-1 of weight

    weight_t  (n_out, n_in)   overwritten, in workspace
    weight    (n_in, n_out)   read, in parameters
    """
    for block in range(first, last):
        i = block * NARROW
        for j in range(0, weight.columns, NARROW):
            transpose_block(
                workspace,
                element_offset(weight_t, j, i),
                weight_t.row,
                parameters,
                element_offset(weight, i, j),
                weight.row,
            )
