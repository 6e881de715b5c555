"""Rows of a batch, from where they lie in the data set to the panels of the first layer's input."""

from collections import namedtuple

import numpy as np

from fastmlp.kernels.jit import inline_llvm, kernel
from fastmlp.kernels.ops.dense import CACHE_LINE, ceil_div, element_offset
from fastmlp.kernels.simd.processors import NARROW, PANEL
from fastmlp.kernels.simd.vector import (
    get_float32,
    get_float64,
    load_float32,
    load_float64,
    load_uint8,
    mul,
    put,
    splat,
    standardize_float32,
    standardize_float64,
    standardize_one_float32,
    standardize_one_float64,
    standardize_one_uint8,
    standardize_uint8,
    store,
)

# Kinds of rows.  CODED: bytes that a table translates, for the kernels of `sparse`; CSR: compressed sparse rows; WORDS:
# the same, coded, as the words of `fastmlp.kernels.ops.grouped.make_words`.  Rows of an unknown kind are read as NaN.
UINT8, FLOAT32, FLOAT64, CODED, CSR, WORDS = range(6)
KINDS = {np.dtype(np.uint8): UINT8, np.dtype(np.float32): FLOAT32, np.dtype(np.float64): FLOAT64}

# A data set: the bytes of its array, the kind and size of its elements, the bytes of a row and from one row to the
# next, and what its elements are multiplied by (float32).  Of CSR, whose array holds the values that are stored: sample
# i's are those from starts[i] on and before starts[i + 1], and `indices` (bytes) tells the feature of each, in
# ascending order, by integers of index_itemsize bytes, which is 0 for all other kinds.
Rows = namedtuple("Rows", "data kind itemsize row_bytes stride scale indices index_itemsize starts")


@inline_llvm
def load_element(rows, at):
    """Return the element at byte `at`, as float32"""
    if rows.kind == UINT8:
        return np.float32(rows.data[at])
    if rows.kind == FLOAT32:
        return get_float32(rows.data, at)
    if rows.kind == FLOAT64:
        return get_float64(rows.data, at)
    return np.float32(np.nan)


@kernel
def gather(workspace, inp, rows, samples, start, first, last):
    """inp = data[samples[start:]] * scale, for the rows first..last-1 of the batch

    inp      (batch_size, n_in)   overwritten, in workspace
    rows     see Rows             read
    samples  (n,)                 read from `start` on
    """
    scale = splat(rows.scale)
    for i in range(first, last):
        at = samples[start + i] * rows.stride
        whole = at + ceil_div(inp.columns, NARROW) * NARROW * rows.itemsize <= rows.data.size
        for k in range(0, inp.columns, PANEL):
            to = element_offset(inp, i, k)
            columns = min(PANEL, inp.columns - k)
            if not whole:  # at the data's end, where a vector would read on behind it
                for c in range(columns):
                    workspace[to + c] = rows.scale * load_element(rows, at + (k + c) * rows.itemsize)
            elif rows.kind == UINT8:
                for c in range(0, columns, NARROW):
                    store(mul(scale, load_uint8(rows.data, at + k + c)), workspace, to + c)
            elif rows.kind == FLOAT32:
                for c in range(0, columns, NARROW):
                    store(mul(scale, load_float32(rows.data, at + (k + c) * 4)), workspace, to + c)
            elif rows.kind == FLOAT64:
                for c in range(0, columns, NARROW):
                    store(mul(scale, load_float64(rows.data, at + (k + c) * 8)), workspace, to + c)
            else:
                for c in range(0, columns, NARROW):
                    store(splat(np.float32(np.nan)), workspace, to + c)


@kernel
def gather_standardized(workspace, inp, rows, scale, samples, start, first, last):
    """inp = (data[samples[start:]] - offset) * factor, for the rows first..last-1 of the batch

    inp      (batch_size, n_in)   overwritten, in workspace
    rows     see Rows             read, of the kinds UINT8, FLOAT32 and FLOAT64
    scale    (2 * m,) float64     read: m offsets, then m factors, n_in of each up to whole vectors
    samples  (n,)                 read from `start` on

    All in float64, and rounded once: in float32, numbers that are large beside their deviation would lose their digits.
    """
    if rows.kind < UINT8 or rows.kind > FLOAT64:
        for i in range(first, last):
            for c in range(0, inp.columns, NARROW):
                store(splat(np.float32(np.nan)), workspace, element_offset(inp, i, c))
        return
    for i in range(first, last):
        at = samples[start + i] * rows.stride
        whole = at + ceil_div(inp.columns, NARROW) * NARROW * rows.itemsize <= rows.data.size
        for c in range(0, inp.columns, NARROW):
            to, here = element_offset(inp, i, c), at + c * rows.itemsize
            if not whole:  # at the data's end, where a vector would read on behind it
                for k in range(min(NARROW, inp.columns - c)):
                    put(standardized_element(rows, here + k * rows.itemsize, scale, c + k), workspace, to + k)
            elif rows.kind == UINT8:
                store(standardize_uint8(rows.data, here, scale, c), workspace, to)
            elif rows.kind == FLOAT32:
                store(standardize_float32(rows.data, here, scale, c), workspace, to)
            elif rows.kind == FLOAT64:
                store(standardize_float64(rows.data, here, scale, c), workspace, to)


@inline_llvm
def standardized_element(rows, at, scale, feature):
    """(x - offset) * factor of the element at byte `at`, as float32"""
    if rows.kind == UINT8:
        return standardize_one_uint8(rows.data, at, scale, feature)
    if rows.kind == FLOAT32:
        return standardize_one_float32(rows.data, at, scale, feature)
    if rows.kind == FLOAT64:
        return standardize_one_float64(rows.data, at, scale, feature)
    return np.float32(np.nan)


@inline_llvm
def cache_lines(rows):
    """Cache lines of a row."""
    return ceil_div(rows.row_bytes, CACHE_LINE)
