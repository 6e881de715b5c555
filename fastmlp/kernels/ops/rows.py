"""Layers behind the first, for a batch of one sample: a pass over the weights each way.

A tile would compute ROWS rows, and a transposed copy of the weights would cost more than its use.  The results are
bitwise those of the kernels in `fastmlp.kernels.ops.dense`.
"""

import numpy as np

from fastmlp.kernels.jit import inline_llvm, kernel
from fastmlp.kernels.ops.activations import activation_backward, activation_forward
from fastmlp.kernels.ops.dense import ceil_div, column_start, element_offset
from fastmlp.kernels.ops.optimizers import PLAIN, optimizer_update
from fastmlp.kernels.simd.processors import NARROW, PANEL, STRIP
from fastmlp.kernels.simd.strips import fma_strip, load_strip, store_strip, zero_narrow, zero_strip
from fastmlp.kernels.simd.tiles import fma_transposed
from fastmlp.kernels.simd.vector import fma, get, load, mul, splat, store


@inline_llvm
def row_product(zero, inp_array, start, panel, parameters, bias, first, row, length):
    """bias + a row of `length` columns in panels @ weight, for as many columns as `zero` has"""
    total = load_strip(zero, parameters, bias)
    for k in range(0, length, PANEL):
        for q in range(start, start + min(PANEL, length - k)):
            total = fma_strip(total, get(inp_array, q), parameters, first)
            first += row
        start += panel
    return total


@kernel
def dense_forward_row(workspace, out, inp, parameters, weight, bias, activation, first, last):
    """`dense_forward` of a single row, for the strips first..last-1 of STRIP columns

    out, inp, weight, bias   as in `dense_forward`
    """
    for c in range(first * STRIP, min(last * STRIP, out.columns), STRIP):
        at, weight_at = column_start(out, c), column_start(weight, c)
        if out.columns - c > NARROW:
            wide = row_product(
                zero_strip(), workspace, inp.start, inp.panel, parameters, bias + c, weight_at, weight.row, weight.rows
            )
            store_strip(wide, workspace, at)
        else:
            narrow = row_product(
                zero_narrow(), workspace, inp.start, inp.panel, parameters, bias + c, weight_at, weight.row, weight.rows
            )
            store_strip(narrow, workspace, at)
        for j in range(at, at + min(STRIP, ceil_div(out.columns - c, NARROW) * NARROW), NARROW):
            store(activation_forward(load(workspace, j), activation), workspace, j)


@kernel
def dense_backward_row(workspace, inp, dout, parameters, state, weight, activation, slope, rule, scratch, first, last):
    """`dense_backward_input` and `dense_update` of a single row, for the blocks of 16 columns first..last-1 of inp

    inp     (1, n_in)       the layer's input, itself the output of `activation`; overwritten by its gradient
    dout    (1, n_out)      read; zero up to a whole vector
    weight  (n_in, n_out)   updated in place, in parameters; the optimizer's state likewise, at the same place
    slope   (1, n_in)       read, so far behind inp, for the code SLOPE; else 0
    scratch (NARROW,)       overwritten, in workspace
    """
    plain = rule.rule == PLAIN and rule.weight_decay == 0
    rate = splat(-rule.learning_rate)
    for j in range(first * 16, min(last * 16, weight.rows), 16):
        total, at = splat(np.float32(0)), element_offset(inp, 0, j)
        for k in range(0, weight.columns, NARROW):
            total = fma_transposed(
                total, workspace, element_offset(dout, 0, k), parameters, element_offset(weight, j, k), weight.row
            )
        for k in range(0, weight.columns, NARROW):
            dout_vector, to = load(workspace, element_offset(dout, 0, k)), element_offset(weight, j, k)
            for r in range(min(16, weight.rows - j)):
                dweight = mul(splat(workspace[at + r]), dout_vector)
                if plain:
                    store(fma(rate, dweight, load(parameters, to)), parameters, to)
                else:
                    store(dweight, workspace, scratch)
                    optimizer_update(parameters, state, to, workspace, scratch, NARROW, rule)
                to += weight.row
        store(activation_backward(total, load(workspace, at + slope), activation), workspace, at)
