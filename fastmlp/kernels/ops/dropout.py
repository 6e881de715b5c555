"""Random numbers from counters, and what is done with them: dropout of inputs and of hidden units.

Whether a value is dropped depends on the seed, the number of the update, the layer, the place of the sample in its
batch, and the column, and on nothing else: so it is the same for any number of threads, and after resuming.

The mixer of 32 bits has the constants of Wellons (2018, "prospecting for hash functions"), which are below 2**31, so
that products fit into int64.
"""

from collections import namedtuple

import numpy as np
from llvmlite import ir
from numba import types

from fastmlp.kernels.jit import inline_llvm, kernel
from fastmlp.kernels.ops.activations import activation_backward, activation_forward, forward_and_slope, keeps_slope
from fastmlp.kernels.ops.dense import ceil_div, element_offset, strip_columns
from fastmlp.kernels.simd.llvm import I32, Vector, constant, emit_splat, operation
from fastmlp.kernels.simd.processors import NARROW, ROWS, WIDE
from fastmlp.kernels.simd.vector import get, load, mul, put, splat, store

# Two keys of 32 bits; a value is kept where its number is at least `threshold`, out of 2**32, and multiplied by `scale`
# then.
Dropout = namedtuple("Dropout", "first second threshold scale")

_MASK, _FIRST, _SECOND = np.int64(0xFFFFFFFF), np.int64(0x21F0AAAD), np.int64(0x735A2D97)


@inline_llvm
def mix(x):
    """32 bits from 32 bits, each of which depends on all"""
    x ^= x >> 16
    x = (x * _FIRST) & _MASK
    x ^= x >> 15
    x = (x * _SECOND) & _MASK
    return x ^ (x >> 15)


@inline_llvm
def dropout_of(seed, update, layer, threshold):
    """Return the Dropout of a layer (-1: the input) in the update-th update; `seed` holds 62 bits"""
    first = mix((mix(((seed & _MASK) + update) & _MASK) + layer + 1) & _MASK)
    second = mix((mix(((seed >> 31) + update) & _MASK) ^ (layer + 1)) & _MASK)
    return Dropout(first, second, threshold, np.float32(2**32 / (2**32 - np.float64(threshold))))


@inline_llvm
def random_bits(dropout, counter):
    """Return the counter's 32 bits"""
    return mix(mix((counter + dropout.first) & _MASK) ^ dropout.second)


def _keep_lanes_python(first, second, threshold, scale, counter):
    bits = [random_bits(Dropout(first, second, threshold, scale), np.int64(counter + i)) for i in range(NARROW)]
    return np.where(np.array(bits) >= threshold, np.float32(scale), np.float32(0))


@operation(_keep_lanes_python)
def keep_lanes(typingctx, first, second, threshold, scale, counter):
    """scale where the random bits of counter + lane are at least `threshold`, else 0"""
    n = int(NARROW)
    words = ir.VectorType(I32, n)

    def emit_mix(builder, x):
        for shift, factor in ((16, _FIRST), (15, _SECOND), (15, None)):
            x = builder.xor(x, builder.lshr(x, constant(words, shift)))
            if factor is not None:
                x = builder.mul(x, constant(words, int(factor)))
        return x

    def codegen(context, builder, signature, args):
        first_word, second_word, least, start = (builder.trunc(args[i], I32) for i in (0, 1, 2, 4))
        lanes = ir.Constant(words, list(range(n)))
        x = builder.add(emit_splat(builder, builder.add(start, first_word), n), lanes)
        x = emit_mix(builder, builder.xor(emit_mix(builder, x), emit_splat(builder, second_word, n)))
        kept = builder.icmp_unsigned(">=", x, emit_splat(builder, least, n))
        return builder.select(kept, emit_splat(builder, args[3], n), constant(Vector(n).ir, 0.0))

    return Vector(n)(types.intp, types.intp, types.intp, types.float32, types.intp), codegen


@kernel
def finish_forward(workspace, out, slope, activation, dropout, first, last):
    """out = drop(activation(out)), and the derivative of that, for the tiles first..last-1 of out

    out    (batch_size, n_out)   overwritten
    slope  (batch_size, n_out)   overwritten: laid out like `out`, so far behind it
    """
    in_strip = ceil_div(out.rows, ROWS)
    for tile in range(first, last):
        strip, i = tile // in_strip, tile % in_strip * ROWS
        for r in range(i, min(i + ROWS, out.rows)):
            for c in range(0, strip_columns(out, strip), NARROW):
                column = strip * WIDE + c
                at = element_offset(out, r, column)
                z = load(workspace, at)
                if keeps_slope(activation):
                    value, derivative = forward_and_slope(z, activation)
                else:
                    value = activation_forward(z, activation)
                    derivative = activation_backward(splat(np.float32(1)), value, activation)
                if dropout.threshold > 0:
                    kept = keep_lanes(
                        dropout.first, dropout.second, dropout.threshold, dropout.scale, r * out.columns + column
                    )
                    value, derivative = mul(value, kept), mul(derivative, kept)
                store(value, workspace, at)
                store(derivative, workspace, at + slope)


@kernel
def prepare_rows(workspace, inp, factor, dropout, first, last):
    """inp = drop(inp * factor), for the rows first..last-1

    inp     (batch_size, n_in)   updated in place, in workspace
    factor  (n_in,)              read, up to whole vectors; may be empty
    """
    for i in range(first, last):
        for c in range(0, inp.columns, NARROW):
            at = element_offset(inp, i, c)
            x = load(workspace, at)
            if factor.size > 0:
                x = mul(x, load(factor, c))
            if dropout.threshold > 0:
                x = mul(
                    x,
                    keep_lanes(dropout.first, dropout.second, dropout.threshold, dropout.scale, i * inp.columns + c),
                )
            store(x, workspace, at)


@kernel
def prepare_entries(entries, n_features, factor, dropout, first, last):
    """Do the same for lists of entries: the values of the samples first..last-1 updated in place"""
    for i in range(first, last):
        for p in range(entries.begin[i], entries.end[i]):
            feature, value = get(entries.feature, p), get(entries.value, p)
            if factor.size > 0:
                value *= get(factor, feature)
            if dropout.threshold > 0:
                kept = random_bits(dropout, i * n_features + feature) >= dropout.threshold
                value = value * dropout.scale if kept else np.float32(0)
            put(value, entries.value, p)
