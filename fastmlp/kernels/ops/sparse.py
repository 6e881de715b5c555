"""The first layer on lists of what is not zero in its input: for CSR matrices, and for batches of one sample.

Every sample has a list of entries, a feature and a value each, in the order of the features.  The forward pass adds up
rows of weights, sample by sample, in registers.  For the backward pass the entries are sorted by features, in two runs
over them, which count and place them; for a single sample they are in that order already.

Every sum runs in the order of the dense kernels, leaving out zeros alone, so that both give the same result.
"""

from collections import namedtuple

import numpy as np

from fastmlp.kernels.jit import inline_llvm, kernel
from fastmlp.kernels.ops.activations import activation_forward
from fastmlp.kernels.ops.dense import CACHE_LINE, ceil_div, column_start
from fastmlp.kernels.ops.gather import FLOAT32, FLOAT64, UINT8, load_element
from fastmlp.kernels.ops.grouped import is_wide
from fastmlp.kernels.ops.optimizers import PLAIN, optimizer_update
from fastmlp.kernels.simd.addresses import address_of, doubles_at, floats_at, int32s_at, int64s_at, prefetch_at
from fastmlp.kernels.simd.packing import append_nonzeros
from fastmlp.kernels.simd.processors import NARROW, PANEL, STRIP
from fastmlp.kernels.simd.strips import (
    add_strip,
    fma_strip,
    load_strip,
    scale_strip,
    store_strip,
    zero_narrow,
    zero_strip,
)
from fastmlp.kernels.simd.vector import get, load, load_float32, load_float64, load_uint8, mul, put, splat, store

# Features of a block: threads sort whole blocks, and blocks without an entry are passed over.  A block's part of
# `until` is 8 cache lines, so that no two threads write to the same one.
FEATURES = np.int64(64)

# A batch's entries.
#   feature, value         of sample i: begin[i]..end[i]-1, features ascending; rows of dense input start `room` apart
#   sample_offset, factor  the same, sorted by feature: entry q's sample, as the offset of its row in a panel, is
#                          sample_offset[2 * q], and its value is factor[2 * q + 1] (two views of one array)
#   until                  where a feature's sorted entries end, 0 without any; they start where the last ones ended
#   touched                whether a block of FEATURES features has entries
Nonzeros = namedtuple("Nonzeros", "begin end feature value room until touched sample_offset factor")


@kernel
def find_nonzeros(entries, rows, samples, start, first, last):
    """Entries of the samples first..last-1 of a batch of dense rows

    entries  see Nonzeros; `begin` and `end` and what they stand for   overwritten
    rows     see Rows                                                 read
    samples  (n,)                                                     read from `start` on
    """
    scale, n_features = splat(rows.scale), rows.row_bytes // rows.itemsize
    whole = n_features // NARROW * NARROW
    for i in range(first, last):
        at, to = samples[start + i] * rows.stride, i * entries.room
        entries.begin[i] = to
        if rows.kind == UINT8:
            for k in range(0, whole, NARROW):
                x = mul(scale, load_uint8(rows.data, at + k))
                to = append_nonzeros(x, entries.feature, entries.value, to, k)
        elif rows.kind == FLOAT32:
            for k in range(0, whole, NARROW):
                x = mul(scale, load_float32(rows.data, at + k * 4))
                to = append_nonzeros(x, entries.feature, entries.value, to, k)
        elif rows.kind == FLOAT64:
            for k in range(0, whole, NARROW):
                x = mul(scale, load_float64(rows.data, at + k * 8))
                to = append_nonzeros(x, entries.feature, entries.value, to, k)
        else:
            for k in range(0, whole, NARROW):
                to = append_nonzeros(splat(np.float32(np.nan)), entries.feature, entries.value, to, k)
        for k in range(whole, n_features):
            value = rows.scale * load_element(rows, at + k * rows.itemsize)
            if value != 0:
                entries.feature[to], entries.value[to] = k, value
                to += 1
        entries.end[i] = to


@kernel
def copy_nonzeros(entries, rows, samples, start, first, last):
    """Do the same from the rows of a CSR matrix; its values are multiplied by the scale"""
    to = np.int64(0)
    for i in range(first):
        sample = samples[start + i]
        to += rows.starts[sample + 1] - rows.starts[sample]
    n = rows.data.size // rows.itemsize
    features32, features64 = int32s_at(address_of(rows.indices), n), int64s_at(address_of(rows.indices), n)
    has_features = rows.index_itemsize == 4 or rows.index_itemsize == 8
    values32, values64 = floats_at(address_of(rows.data), n), doubles_at(address_of(rows.data), n)
    for i in range(first, last):
        sample = samples[start + i]
        at, end = rows.starts[sample], rows.starts[sample + 1]
        entries.begin[i], entries.end[i] = to, to + end - at
        shift = to - at
        if rows.index_itemsize == 4:
            for p in range(at, end):
                put(get(features32, p), entries.feature, p + shift)
        elif rows.index_itemsize == 8:
            for p in range(at, end):
                put(get(features64, p), entries.feature, p + shift)
        if rows.itemsize == 4 and has_features:
            for p in range(at, end):
                put(rows.scale * get(values32, p), entries.value, p + shift)
        elif rows.itemsize == 8 and has_features:
            for p in range(at, end):
                put(rows.scale * np.float32(get(values64, p)), entries.value, p + shift)
        else:
            for p in range(at, end):
                put(np.int64(0), entries.feature, p + shift)
                put(np.float32(np.nan), entries.value, p + shift)
        to += end - at


@inline_llvm
def fetch_lines(start, size):
    """Ask for the cache lines of `size` bytes to come into cache."""
    for at in range(0, size, CACHE_LINE):
        prefetch_at(start + at)


@inline_llvm
def fetch_sample(rows, sample):
    """Ask for what a sample's entries are made of to come into cache."""
    if rows.index_itemsize == 0:
        fetch_lines(address_of(rows.data) + sample * rows.stride, rows.row_bytes)
    else:
        at, size = rows.starts[sample], rows.starts[sample + 1] - rows.starts[sample]
        fetch_lines(address_of(rows.data) + at * rows.itemsize, size * rows.itemsize)
        fetch_lines(address_of(rows.indices) + at * rows.index_itemsize, size * rows.index_itemsize)


@inline_llvm
def entry_of(entries, i, feature):
    """Return the first entry of sample i of a feature that is not below `feature`, by bisection."""
    low, high = entries.begin[i], entries.end[i]
    while low < high:
        middle = (low + high) // 2
        if entries.feature[middle] < feature:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def sort_nonzeros(entries, batch_size, n_features, first, last):
    """Sort a batch's entries by features, for the blocks first..last-1 of FEATURES features

    entries  see Nonzeros; `until`, `touched`, `sample_offset` and `factor`   overwritten for these features
    """
    first_feature, last_feature = first * FEATURES, last * FEATURES
    for block in range(first, last):
        if entries.touched[block]:
            entries.touched[block] = 0
            for f in range(block * FEATURES, (block + 1) * FEATURES):
                entries.until[f] = 0
    q = np.int64(0)
    for i in range(batch_size):
        begin, end = entries.begin[i], entries.end[i]
        if first > 0:
            begin = entry_of(entries, i, first_feature)
            q += begin - entries.begin[i]  # entries of lower features come first
        if last_feature < n_features:
            end = entry_of(entries, i, last_feature)
        for p in range(begin, end):
            f = get(entries.feature, p)
            put(get(entries.until, f) + 1, entries.until, f)
            put(np.int64(1), entries.touched, f // FEATURES)
    for block in range(first, last):
        if entries.touched[block]:
            for f in range(block * FEATURES, (block + 1) * FEATURES):
                count = entries.until[f]
                entries.until[f] = q if count > 0 else 0
                q += count
    for i in range(batch_size):
        begin = entry_of(entries, i, first_feature) if first > 0 else entries.begin[i]
        end = entry_of(entries, i, last_feature) if last_feature < n_features else entries.end[i]
        for p in range(begin, end):
            f = get(entries.feature, p)
            to = get(entries.until, f)
            put(i * PANEL, entries.sample_offset, 2 * to)
            put(get(entries.value, p), entries.factor, 2 * to + 1)
            put(to + 1, entries.until, f)


@inline_llvm
def sum_rows(zero, entries, i, parameters, bias, weight_at, weight_row):
    """bias + the products of a sample's entries with their features' rows of weights"""
    total = load_strip(zero, parameters, bias)
    for p in range(entries.begin[i], entries.end[i]):
        row = weight_at + get(entries.feature, p) * weight_row
        total = fma_strip(total, get(entries.value, p), parameters, row)
    return total


@kernel
def sparse_forward(workspace, out, entries, parameters, weight, bias, activation, strip, rows, samples, following):
    """out = activation(inp @ weight + bias), for one strip of columns; of the first strip, the next batch is fetched

    out                (batch_size, n_out)   overwritten, in workspace
    entries            of inp                read
    weight             (n_in, n_out)         read, in parameters
    bias               (n_out,)              read, in parameters
    rows, samples      see Rows              the next batch's are samples[following : following + batch_size]
    """
    wide = is_wide(out, strip)
    at, weight_at = column_start(out, strip * STRIP), column_start(weight, strip * STRIP)
    bias_at, columns = bias + strip * STRIP, STRIP if wide else NARROW
    for i in range(out.rows):
        if strip == 0 and following + i < samples.size:
            fetch_sample(rows, samples[following + i])
        to = at + i * out.row
        if wide:
            store_strip(sum_rows(zero_strip(), entries, i, parameters, bias_at, weight_at, weight.row), workspace, to)
        else:
            store_strip(sum_rows(zero_narrow(), entries, i, parameters, bias_at, weight_at, weight.row), workspace, to)
        for c in range(to, to + columns, NARROW):
            store(activation_forward(load(workspace, c), activation), workspace, c)


@inline_llvm
def sum_entries(zero, entries, begin, end, workspace, dout_at):
    """Gradient of a feature's row of weights, from its entries begin..end-1 of those sorted by features"""
    total = zero
    for q in range(begin, end):
        total = fma_strip(total, get(entries.factor, 2 * q + 1), workspace, dout_at + get(entries.sample_offset, 2 * q))
    return total


@kernel
def sparse_update(workspace, dout, entries, parameters, state, weight, rule, scratch, strip):
    """weight -= the optimizer's step for dweight = inp.T @ dout, for one strip of columns

    dout     (batch_size, n_out)    read, in workspace
    entries  of inp, sorted         read
    weight   (n_in, n_out)          updated in place, in parameters; the optimizer's state likewise, at the same place
    scratch  (STRIP,)               overwritten, in workspace

    With the rule PLAIN and no weight decay, weights of features that are zero in the whole batch stay as they are.
    """
    wide, begin = is_wide(weight, strip), np.int64(0)
    dout_at, weight_at = column_start(dout, strip * STRIP), column_start(weight, strip * STRIP)
    if rule.rule == PLAIN and rule.weight_decay == 0:  # with loops of its own, whose registers hold no other rule
        for block in range(ceil_div(weight.rows, FEATURES)):
            if not entries.touched[block]:
                continue
            for f in range(block * FEATURES, min((block + 1) * FEATURES, weight.rows)):
                end = entries.until[f]
                if end == 0:
                    continue
                at = weight_at + f * weight.row
                if wide:
                    total = sum_entries(zero_strip(), entries, begin, end, workspace, dout_at)
                    add_strip(total, -rule.learning_rate, parameters, at)
                else:
                    narrow = sum_entries(zero_narrow(), entries, begin, end, workspace, dout_at)
                    add_strip(narrow, -rule.learning_rate, parameters, at)
                begin = end
        return
    columns = STRIP if wide else NARROW
    for f in range(weight.rows):
        end = entries.until[f]
        if wide:
            store_strip(sum_entries(zero_strip(), entries, begin, end, workspace, dout_at), workspace, scratch)
        else:
            store_strip(sum_entries(zero_narrow(), entries, begin, end, workspace, dout_at), workspace, scratch)
        optimizer_update(parameters, state, weight_at + f * weight.row, workspace, scratch, columns, rule)
        begin = max(begin, end)


@inline_llvm
def update_rows(zero, entries, workspace, dout_at, parameters, weight_at, weight_row, learning_rate):
    """Update the rows of weights of a single sample's entries"""
    dout = load_strip(zero, workspace, dout_at)
    for p in range(entries.begin[0], entries.end[0]):
        at = weight_at + get(entries.feature, p) * weight_row
        add_strip(scale_strip(dout, get(entries.value, p)), -learning_rate, parameters, at)


@kernel
def sparse_update_row(workspace, dout, entries, parameters, weight, learning_rate, strip):
    """`sparse_update` for a batch of one sample, by plain SGD; the entries need not be sorted"""
    dout_at, weight_at = column_start(dout, strip * STRIP), column_start(weight, strip * STRIP)
    if is_wide(weight, strip):
        update_rows(zero_strip(), entries, workspace, dout_at, parameters, weight_at, weight.row, learning_rate)
    else:
        update_rows(zero_narrow(), entries, workspace, dout_at, parameters, weight_at, weight.row, learning_rate)
