"""The first layer on inputs that are mostly zero: products with zero are not computed.

Inputs are bytes, and a table of 256 floats says what they stand for (0 for 0).  Features are taken in groups of three.
For every group and every block of BLOCK samples there is a list of the samples in which one of the three is not zero,
one 32-bit word each: sample, and three bytes.  Both directions go through the same lists:

forward   the group's three rows of weights are held in registers; each word adds its products to one row of the
          output, which lies in L1
update    a word's row of the output's gradient is loaded once for three rows of accumulators, from which the weights
          are updated in place

Every sum runs in the order of the dense kernels, leaving out zeros alone, so that both give the same result.
"""

from collections import namedtuple

import numpy as np

from fastmlp.kernels.jit import inline_llvm, kernel
from fastmlp.kernels.ops.activations import activation_forward
from fastmlp.kernels.ops.dense import CACHE_LINE, ceil_div, column_start
from fastmlp.kernels.ops.gather import WORDS
from fastmlp.kernels.ops.optimizers import PLAIN, optimizer_update
from fastmlp.kernels.simd.addresses import address_of, int32s_at, int64s_at, prefetch_at
from fastmlp.kernels.simd.packing import append_words
from fastmlp.kernels.simd.processors import LANES, NARROW, PANEL, STRIP
from fastmlp.kernels.simd.strips import (
    BLOCK,
    GROUP,
    add_group,
    add_word,
    fma_word,
    load_group,
    load_strip,
    store_group,
    store_strip,
    zero_group_narrow,
    zero_group_strip,
    zero_narrow,
    zero_strip,
)
from fastmlp.kernels.simd.vector import get, load, put, store

LIST_CAPACITY = BLOCK + NARROW  # words of a list: up to NARROW, a register's lanes, are written behind its end
HASH_SIZE = np.int64(1024)  # of the table of up to 255 values that floats are coded by: a power of two, a quarter full
_GOLDEN = np.uint64(2654435761)  # 2**32 over the golden ratio: multiplicative hashing (Knuth)
L1_FLOATS = np.int64(4096)  # of outputs that are to stay in L1, 16 KB: half of it or less
GROUPS_PER_PASS = NARROW  # lists are made for so many groups at a time: a multiple of LANES on every processor

# A batch's lists.  The list of block b and group g is the i-th, i = b * groups + g: it has count[i] words, from
# words[i * LIST_CAPACITY] on.  groups is a multiple of GROUPS_PER_PASS.  offsets: where the rows of the batch start,
# BLOCK * blocks of them.
Lists = namedtuple("Lists", "offsets count words groups")


@inline_llvm
def count_strips(matrix):
    """Strips of STRIP columns, the last one perhaps of NARROW: what callers split over threads."""
    return ceil_div(matrix.columns, STRIP)


@inline_llvm
def is_wide(matrix, strip):
    """Return whether a strip has more than NARROW columns."""
    return matrix.columns - strip * STRIP > NARROW


@inline_llvm
def wide_strips(matrix, first, last):
    """Return where the wide ones among the strips first..last-1 end: only the last may have NARROW columns."""
    return last - 1 if first < last and not is_wide(matrix, last - 1) else last


@inline_llvm
def next_strip(rows, rows_at, weight, weight_at, column):
    """Return where the next strips of two matrices are, and at which column of its panel such a strip begins."""
    rows_at, weight_at, column = rows_at + STRIP, weight_at + STRIP, column + STRIP
    if column == PANEL:
        return rows_at + rows.panel - PANEL, weight_at + weight.panel - PANEL, np.int64(0)
    return rows_at, weight_at, column


@inline_llvm
def strips_at_once(batch_size, n_parts):
    """Return how many strips to work on with every list: as many as have outputs that fit into L1.

    Processors mispredict the end of a list, but less often if the next loop is as long.  With AVX2 on Zen 5, epochs of
    MNIST took 0.83 of the time of strip by strip in batches of 16, 0.89 of 32 and 0.95 of 64.  With two threads, they
    took 1.12 of it in batches of 64, so threads take their strips one by one.
    """
    return max(np.int64(1), L1_FLOATS // (min(batch_size, BLOCK) * STRIP)) if n_parts == 1 else np.int64(1)


@kernel
def encode(out, first, stride, bits, n_features, keys, codes, values, count):
    """Rows of float32 as bytes: 0 for 0.0, and another number for every other value

    out     bytes of rows `stride` apart, from `first` on   the bytes of what is not 0.0 are overwritten
    bits    (n * n_features,) uint32                        read: the floats' bits
    keys    (HASH_SIZE,) uint32, 0 where empty                   updated: the values known, by open addressing
    codes   (HASH_SIZE,) uint8                                   updated: their bytes
    values  (256,) uint32                                   updated: the value of each byte

    Takes and returns the number of values, with that of 0.0; 257 where there are more than 256.
    """
    for i in range(bits.size // n_features):
        for j in range(n_features):
            value = bits[i * n_features + j]
            if value != 0:
                h = np.int64((np.uint64(value) * _GOLDEN) >> np.uint64(20)) & (HASH_SIZE - 1)
                while keys[h] != value:
                    if keys[h] == 0:
                        if count == 256:
                            return 257
                        keys[h], codes[h], values[count] = value, count, value
                        count += 1
                    else:
                        h = (h + 1) & (HASH_SIZE - 1)
                out[first + i * stride + j] = codes[h]
    return count


@kernel
def locate(lists, rows, samples, start, batch_size, zero_row):
    """lists.offsets = where the rows of samples[start : start + batch_size] start, then zero_row, up to whole NARROW"""
    for i in range(batch_size):
        lists.offsets[i] = samples[start + i] * rows.stride
    for i in range(batch_size, ceil_div(batch_size, NARROW) * NARROW):
        lists.offsets[i] = zero_row


@kernel
def make_lists(lists, rows, batch_size, first, last):
    """Make the lists of the groups first..last-1, multiples of GROUPS_PER_PASS, for the rows that `locate` found"""
    for block in range(ceil_div(batch_size, BLOCK)):
        origin = block * lists.groups
        end = min(BLOCK, batch_size - block * BLOCK)
        for group in range(first, last, GROUPS_PER_PASS):
            for g in range(origin + group, origin + group + GROUPS_PER_PASS):
                lists.count[g] = 0
            for g in range(group, group + GROUPS_PER_PASS, LANES):
                for i in range(block * BLOCK, block * BLOCK + end, LANES):
                    append_words(
                        rows.data, lists.offsets, i, g, lists.count, lists.words, origin * LIST_CAPACITY, LIST_CAPACITY
                    )


@kernel
def make_words(words, starts, codes, row_starts, indices, index_itemsize):
    """Write the rows of a CSR matrix as words of 64 bits, one for every group that is not empty: its number in the
    upper half, in the lower one three bytes and a byte that is 0, the sample's place

    words       (n_entries,) int64      overwritten, as far as there are words
    starts      (n_samples + 1,) int64  overwritten: where a row's words start, and the last one's end
    codes       (n_entries,) uint8      read: the values as bytes
    row_starts, indices, index_itemsize   see Rows   read
    """
    to, n = np.int64(0), row_starts.size - 1
    features32, features64 = int32s_at(address_of(indices), codes.size), int64s_at(address_of(indices), codes.size)
    for i in range(n):
        starts[i] = to
        last = np.int64(-1)
        for p in range(row_starts[i], row_starts[i + 1]):
            feature = get(features32, p) if index_itemsize == 4 else get(features64, p)
            group = feature // GROUP
            byte = np.int64(codes[p]) << (8 * (feature - group * GROUP + 1))
            if group != last:
                words[to] = (group << 32) | byte
                to, last = to + 1, group
            else:
                words[to - 1] |= byte
    starts[n] = to


@inline_llvm
def word_of(words, begin, end, group):
    """Return the first of the words begin..end-1 of a group that is not below `group`, by bisection."""
    while begin < end:
        middle = (begin + end) // 2
        if np.int64(words[middle] >> 32) < group:
            begin = middle + 1
        else:
            end = middle
    return begin


@kernel
def make_lists_from_words(lists, rows, samples, start, batch_size, first, last):
    """`make_lists` from rows that are words"""
    words = int64s_at(address_of(rows.data), rows.data.size // 8)
    for block in range(ceil_div(batch_size, BLOCK)):
        origin = block * lists.groups
        for g in range(origin + first, origin + last):
            lists.count[g] = 0
        for i in range(block * BLOCK, min((block + 1) * BLOCK, batch_size)):
            sample, tag = samples[start + i], i - block * BLOCK
            begin, end = rows.starts[sample], rows.starts[sample + 1]
            if first > 0:
                begin = word_of(words, begin, end, first)
            if last < lists.groups:
                end = word_of(words, begin, end, last)
            for p in range(begin, end):
                word = get(words, p)
                index = origin + (word >> 32)
                n = get(lists.count, index)
                put((word & 0xFFFFFFFF) | tag, lists.words, index * LIST_CAPACITY + n)
                put(n + 1, lists.count, index)


# What of the next batch comes into cache: some cache lines with every group, or where rows are words, some samples.
# `rows`, the samples' numbers from the batch on, the lines of a row, and which of the lines, counted over all rows, or
# of the samples, are to be asked for: so many with every group, from the first up to the last.
GroupPrefetch = namedtuple("GroupPrefetch", "rows samples per_row per_group first last")


@inline_llvm
def prefetch_group(prefetch, g):
    """Ask for what belongs to the g-th group to come into cache."""
    first = min(prefetch.first + g * prefetch.per_group, prefetch.last)
    last, data = min(first + prefetch.per_group, prefetch.last), address_of(prefetch.rows.data)
    if prefetch.rows.kind == WORDS:
        for i in range(first, last):
            sample = prefetch.samples[i]
            for at in range(prefetch.rows.starts[sample] * 8, prefetch.rows.starts[sample + 1] * 8, CACHE_LINE):
                prefetch_at(data + at)
    else:
        i, line = first // prefetch.per_row, first % prefetch.per_row
        for _ in range(first, last):
            prefetch_at(data + prefetch.samples[i] * prefetch.rows.stride + line * CACHE_LINE)
            line += 1
            if line == prefetch.per_row:
                i, line = i + 1, np.int64(0)


@inline_llvm
def add_products(zero, workspace, at, table, lists, index, parameters, weight_at, weight_row):
    """Rows of a block's output from `at` on += the products of the list with this index"""
    rows = load_group(zero, parameters, weight_at, weight_row)
    for p in range(index * LIST_CAPACITY, index * LIST_CAPACITY + lists.count[index]):
        word = get(lists.words, p)
        add_word(rows, word, table, workspace, at + (word & 255) * PANEL)


@kernel
def grouped_start(workspace, out, parameters, bias, strip):
    """out = bias in every row, for one strip of columns: what `grouped_add` adds to"""
    wide = is_wide(out, strip)
    at, bias_at = column_start(out, strip * STRIP), bias + strip * STRIP
    if wide:
        row = load_strip(zero_strip(), parameters, bias_at)
        for i in range(out.rows):
            store_strip(row, workspace, at + i * out.row)
    else:
        narrow = load_strip(zero_narrow(), parameters, bias_at)
        for i in range(out.rows):
            store_strip(narrow, workspace, at + i * out.row)


@kernel
def grouped_add(workspace, out, table, lists, block, parameters, weight, first, last, prefetch):
    """out += inp @ weight, for the samples of a block and the strips first..last-1

    out     (batch_size, n_out)   updated in place, in workspace
    table   (256,)                read, in workspace
    lists   of inp                read
    weight  (n_in, n_out)         read, in parameters

    Meanwhile the rows of `prefetch` are fetched into cache.
    """
    n_wide, first_column = wide_strips(out, first, last), first * STRIP % PANEL
    out_at, weight_at = column_start(out, first * STRIP) + block * BLOCK * PANEL, column_start(weight, first * STRIP)
    for g in range(ceil_div(weight.rows, GROUP)):
        prefetch_group(prefetch, g)
        index = block * lists.groups + g
        if lists.count[index] == 0:
            continue
        at, w, column = out_at, weight_at + g * GROUP * weight.row, first_column
        for _ in range(first, n_wide):
            add_products(zero_group_strip(), workspace, at, table, lists, index, parameters, w, weight.row)
            at, w, column = next_strip(out, at, weight, w, column)
        if n_wide < last:
            add_products(zero_group_narrow(), workspace, at, table, lists, index, parameters, w, weight.row)


@kernel
def grouped_finish(workspace, out, activation, strip):
    """out = activation(out), for one strip of columns"""
    at = column_start(out, strip * STRIP)
    columns = STRIP if is_wide(out, strip) else NARROW
    for i in range(out.rows):
        for c in range(at + i * out.row, at + i * out.row + columns, NARROW):
            store(activation_forward(load(workspace, c), activation), workspace, c)


@inline_llvm
def sum_group(zero, workspace, dout_at, table, lists, g, blocks):
    """Gradient of a group's rows of weights in one strip, from its lists in all blocks"""
    dweight = zero
    for block in range(blocks):
        index = block * lists.groups + g
        block_at = dout_at + block * BLOCK * PANEL
        for p in range(index * LIST_CAPACITY, index * LIST_CAPACITY + lists.count[index]):
            word = get(lists.words, p)
            dweight = fma_word(dweight, word, table, workspace, block_at + (word & 255) * PANEL)
    return dweight


@inline_llvm
def count_words(lists, g, blocks):
    """Words in the lists of a group"""
    n = np.int64(0)
    for block in range(blocks):
        n += lists.count[block * lists.groups + g]
    return n


@kernel
def grouped_update(workspace, dout, table, lists, parameters, state, weight, rule, scratch, first, last):
    """weight -= the optimizer's step for dweight = inp.T @ dout, for the strips first..last-1

    dout     (batch_size, n_out)   read, in workspace
    table    (256,)                read, in workspace
    lists    of inp                read
    weight   (n_in, n_out)         updated in place, in parameters; the optimizer's state likewise, at the same place
    scratch  (GROUP, STRIP)        overwritten, in workspace

    With the rule PLAIN and no weight decay, weights of features that are zero in the whole batch stay as they are.
    """
    n_wide, first_column, blocks = wide_strips(weight, first, last), first * STRIP % PANEL, ceil_div(dout.rows, BLOCK)
    dout_at, weight_at = column_start(dout, first * STRIP), column_start(weight, first * STRIP)
    groups, group_row = ceil_div(weight.rows, GROUP), GROUP * weight.row
    if rule.rule == PLAIN and rule.weight_decay == 0:  # with loops of its own, whose registers hold no other rule
        for g in range(groups):
            if count_words(lists, g, blocks) == 0:
                continue
            at, w, column = dout_at, weight_at + g * group_row, first_column
            for _ in range(first, n_wide):
                dweight = sum_group(zero_group_strip(), workspace, at, table, lists, g, blocks)
                add_group(dweight, -rule.learning_rate, parameters, w, weight.row)
                at, w, column = next_strip(dout, at, weight, w, column)
            if n_wide < last:
                narrow = sum_group(zero_group_narrow(), workspace, at, table, lists, g, blocks)
                add_group(narrow, -rule.learning_rate, parameters, w, weight.row)
        return
    for strip in range(first, last):
        columns = STRIP if strip < n_wide else NARROW
        at, weight_at = column_start(dout, strip * STRIP), column_start(weight, strip * STRIP)
        for g in range(groups):
            if strip < n_wide:
                wide = sum_group(zero_group_strip(), workspace, at, table, lists, g, blocks)
                store_group(wide, workspace, scratch, STRIP)
            else:
                thin = sum_group(zero_group_narrow(), workspace, at, table, lists, g, blocks)
                store_group(thin, workspace, scratch, STRIP)
            for r in range(min(GROUP, weight.rows - g * GROUP)):
                w = weight_at + g * group_row + r * weight.row
                optimizer_update(parameters, state, w, workspace, scratch + r * STRIP, columns, rule)
