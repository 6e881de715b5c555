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

from fastmlp.kernels.activations import activation_forward
from fastmlp.kernels.dense import CACHE_LINE, ceil_div, column_start
from fastmlp.kernels.jit import inlined, kernel
from fastmlp.kernels.optimizers import PLAIN, sgd_update
from fastmlp.kernels.vector import (
    NARROW,
    PANEL,
    STRIP,
    append_words,
    broadcast_like,
    fma,
    get_word,
    int64s_at,
    load,
    load_like,
    prefetch_at,
    splat_like,
    store,
    zero_narrow,
    zero_strip,
)

BLOCK = np.int64(128)  # samples of a list; a block's activations in one panel are 32 KB, and stay in L1
GROUP = np.int64(3)  # features of a group
LIST = np.int64(144)  # words of a list: BLOCK, and 16 that are written behind its end
HASH = np.int64(1024)  # places for the 255 values that floats are coded by; a power of two
ALL_GROUPS = np.int64(16)  # lists are made for so many groups at a time

# A batch's lists: that of block b and group g has count[b * groups + g] words from words[(b * groups + g) * LIST] on;
# groups is a multiple of ALL_GROUPS.  offsets: where the rows of the batch start, BLOCK * blocks of them.
Lists = namedtuple("Lists", "offsets count words groups")


@inlined
def sparse_strips(matrix):
    """Strips of STRIP columns, the last one perhaps of NARROW: what callers split over threads."""
    return ceil_div(matrix.columns, STRIP)


@inlined
def is_wide(matrix, strip):
    """Whether a strip has more than NARROW columns."""
    return matrix.columns - strip * STRIP > NARROW


@kernel
def encode(out, first, stride, bits, n_features, keys, codes, values, count):
    """Rows of float32 as bytes: 0 for 0.0, and another number for every other value

    out     bytes of rows `stride` apart, from `first` on   the bytes of what is not 0.0 are overwritten
    bits    (n * n_features,) uint32                        read: the floats' bits
    keys    (HASH,) uint32, 0 where empty                   updated: the values known, by open addressing
    codes   (HASH,) uint8                                   updated: their bytes
    values  (256,) uint32                                   updated: the value of each byte

    Takes and returns the number of values, with that of 0.0; 257 where there are more than 256.
    """
    for i in range(bits.size // n_features):
        for j in range(n_features):
            value = bits[i * n_features + j]
            if value != 0:
                h = np.int64((np.uint64(value) * np.uint64(2654435761)) >> np.uint64(20)) & (HASH - 1)
                while keys[h] != value:
                    if keys[h] == 0:
                        if count == 256:
                            return 257
                        keys[h], codes[h], values[count] = value, count, value
                        count += 1
                    else:
                        h = (h + 1) & (HASH - 1)
                out[first + i * stride + j] = codes[h]
    return count


@kernel
def locate(lists, rows, samples, start, batch_size, zero_row):
    """lists.offsets = where the rows of samples[start : start + batch_size] start, then zero_row up to whole 16s"""
    for i in range(batch_size):
        lists.offsets[i] = samples[start + i] * rows.stride
    for i in range(batch_size, ceil_div(batch_size, 16) * 16):
        lists.offsets[i] = zero_row


@kernel
def make_lists(lists, rows, batch_size, first, last):
    """The lists of the groups first..last-1, multiples of ALL_GROUPS, for the rows that `locate` found"""
    for block in range(ceil_div(batch_size, BLOCK)):
        origin = block * lists.groups
        end = min(BLOCK, batch_size - block * BLOCK)
        for group in range(first, last, ALL_GROUPS):
            for g in range(origin + group, origin + group + ALL_GROUPS):
                lists.count[g] = 0
            for i in range(0, end, 16):
                sample = block * BLOCK + i
                append_words(rows.data, lists.offsets, sample, group, lists.count, lists.words, origin * LIST, LIST)


# Cache lines of the next batch's rows, which are wanted soon: the addresses of the data and of the samples' numbers,
# the bytes from row to row, the lines of a row, and which of the lines, counted over all rows, are to be asked for: so
# many with every group, from the first up to the last.
Lines = namedtuple("Lines", "data samples stride per_row per_group first last")


@inlined
def fetch_lines(lines, g):
    """Ask for the lines of the g-th group to come into cache."""
    first = min(lines.first + g * lines.per_group, lines.last)
    i, line = first // lines.per_row, first % lines.per_row
    samples = int64s_at(lines.samples, i + lines.per_group)
    for _ in range(first, min(first + lines.per_group, lines.last)):
        prefetch_at(lines.data + samples[i] * lines.stride + line * CACHE_LINE)
        line += 1
        if line == lines.per_row:
            i, line = i + 1, np.int64(0)


@inlined
def add_products(zero, workspace, at, table, lists, block, parameters, weight_at, weight_row, groups, ahead):
    """Rows of a block's output from `at` on += the products of all groups; the lines ahead are fetched meanwhile"""
    for g in range(groups):
        fetch_lines(ahead, g)
        index = block * lists.groups + g
        n = lists.count[index]
        if n > 0:
            w = weight_at + g * GROUP * weight_row
            w0 = load_like(zero, parameters, w)
            w1 = load_like(zero, parameters, w + weight_row)
            w2 = load_like(zero, parameters, w + 2 * weight_row)
            for p in range(index * LIST, index * LIST + n):
                word = get_word(lists.words, p)
                to = at + (word & 255) * PANEL
                total = load_like(zero, workspace, to)
                total = fma(broadcast_like(zero, workspace, table + ((word >> 8) & 255)), w0, total)
                total = fma(broadcast_like(zero, workspace, table + ((word >> 16) & 255)), w1, total)
                total = fma(broadcast_like(zero, workspace, table + (word >> 24)), w2, total)
                store(total, workspace, to)


@kernel
def sparse_start(workspace, out, parameters, bias, strip):
    """out = bias in every row, for one strip of columns: what `sparse_add` adds to"""
    wide = is_wide(out, strip)
    at, bias_at = column_start(out, strip * STRIP), bias + strip * STRIP
    if wide:
        row = load_like(zero_strip(), parameters, bias_at)
        for i in range(out.rows):
            store(row, workspace, at + i * out.row)
    else:
        row16 = load_like(zero_narrow(), parameters, bias_at)
        for i in range(out.rows):
            store(row16, workspace, at + i * out.row)


@kernel
def sparse_add(workspace, out, table, lists, block, parameters, weight, strip, ahead):
    """out += inp @ weight, for the samples of a block and one strip of columns; the lines ahead are fetched meanwhile

    out     (batch_size, n_out)   updated in place, in workspace
    table   (256,)                read, in workspace
    lists   of inp                read
    weight  (n_in, n_out)         read, in parameters
    """
    at, groups = column_start(out, strip * STRIP) + block * BLOCK * PANEL, ceil_div(weight.rows, GROUP)
    w = column_start(weight, strip * STRIP)
    if is_wide(out, strip):
        add_products(zero_strip(), workspace, at, table, lists, block, parameters, w, weight.row, groups, ahead)
    else:
        add_products(zero_narrow(), workspace, at, table, lists, block, parameters, w, weight.row, groups, ahead)


@kernel
def sparse_finish(workspace, out, activation, strip):
    """out = activation(out), for one strip of columns"""
    at = column_start(out, strip * STRIP)
    columns = STRIP if is_wide(out, strip) else NARROW
    for i in range(out.rows):
        for c in range(at + i * out.row, at + i * out.row + columns, NARROW):
            store(activation_forward(load(workspace, c), activation), workspace, c)


@inlined
def update_group(zero, workspace, dout_at, table, lists, g, blocks, parameters, state, at, weight_row, rule, scratch):
    """Three rows of weights updated from the lists of group g in all blocks"""
    d0 = d1 = d2 = zero
    for block in range(blocks):
        index = block * lists.groups + g
        block_at = dout_at + block * BLOCK * PANEL
        for p in range(index * LIST, index * LIST + lists.count[index]):
            word = get_word(lists.words, p)
            dout = load_like(zero, workspace, block_at + (word & 255) * PANEL)
            d0 = fma(broadcast_like(zero, workspace, table + ((word >> 8) & 255)), dout, d0)
            d1 = fma(broadcast_like(zero, workspace, table + ((word >> 16) & 255)), dout, d1)
            d2 = fma(broadcast_like(zero, workspace, table + (word >> 24)), dout, d2)
    if rule.rule == PLAIN and rule.weight_decay == 0:
        rate = splat_like(zero, -rule.learning_rate)
        store(fma(rate, d0, load_like(zero, parameters, at)), parameters, at)
        at += weight_row
        store(fma(rate, d1, load_like(zero, parameters, at)), parameters, at)
        at += weight_row
        store(fma(rate, d2, load_like(zero, parameters, at)), parameters, at)
    else:
        store(d0, workspace, scratch)
        store(d1, workspace, scratch + STRIP)
        store(d2, workspace, scratch + 2 * STRIP)


@kernel
def sparse_update(workspace, dout, table, lists, parameters, state, weight, rule, scratch, strip):
    """weight -= the optimizer's step for dweight = inp.T @ dout, for one strip of columns

    dout     (batch_size, n_out)   read, in workspace
    table    (256,)                read, in workspace
    lists    of inp                read
    weight   (n_in, n_out)         updated in place, in parameters; the optimizer's state likewise, at the same place
    scratch  (GROUP, STRIP)        overwritten, in workspace

    With the rule PLAIN and no weight decay, weights of features that are zero in the whole batch stay as they are.
    """
    wide = is_wide(weight, strip)
    columns = STRIP if wide else NARROW
    dout_at, weight_at = column_start(dout, strip * STRIP), column_start(weight, strip * STRIP)
    blocks = ceil_div(dout.rows, BLOCK)
    skips = rule.rule == PLAIN and rule.weight_decay == 0
    for g in range(ceil_div(weight.rows, GROUP)):
        n = np.int64(0)
        for block in range(blocks):
            n += lists.count[block * lists.groups + g]
        if n == 0 and skips:
            continue
        at = weight_at + g * GROUP * weight.row
        if wide:
            update_group(
                zero_strip(), workspace, dout_at, table, lists, g, blocks,
                parameters, state, at, weight.row, rule, scratch,
            )  # fmt: skip
        else:
            update_group(
                zero_narrow(), workspace, dout_at, table, lists, g, blocks,
                parameters, state, at, weight.row, rule, scratch,
            )  # fmt: skip
        if not skips:
            for r in range(min(GROUP, weight.rows - g * GROUP)):
                sgd_update(parameters, state, at + r * weight.row, workspace, scratch + r * STRIP, columns, rule)
