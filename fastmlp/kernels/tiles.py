"""Tiles, tuples of ROWS vectors: what the dense kernels accumulate in; and blocks of 16 x 16, transposed."""

import numpy as np
from numba import types
from numba.core import cgutils

from fastmlp.kernels.llvm import (
    I64,
    Vector,
    emit_address,
    emit_fma,
    emit_load,
    emit_splat,
    emit_store,
    indices,
    operation,
)
from fastmlp.kernels.vector import NARROW, ROWS, WIDE

# ---------------------------------------------------------------------------------------------- tiles
#
# A tile is a tuple of ROWS vectors.


def _make_repeat(n):
    @operation(lambda array, offset: (array[offset : offset + n].copy(),) * int(ROWS))
    def repeat(typingctx, array, offset):
        """A tile with array[offset : offset + n] in every row"""

        def codegen(context, builder, signature, args):
            pointer = emit_address(context, builder, signature.args[0], *args, count=int(n))
            row = emit_load(builder, pointer, Vector(n).ir, 4)
            return context.make_tuple(builder, signature.return_type, [row] * int(ROWS))

        return types.UniTuple(Vector(n), int(ROWS))(array, types.intp), codegen

    return repeat


repeat_wide, repeat_narrow = _make_repeat(WIDE), _make_repeat(NARROW)


def _fma_rows_python(tile, a, start, stride, b, offset):
    row = b[offset : offset + len(tile[0])]
    return tuple(total + a[start + r * stride] * row for r, total in enumerate(tile))


@operation(_fma_rows_python)
def fma_rows(typingctx, tile, a, start, stride, b, offset):
    """tile[r] + a[start + r * stride] * b[offset : offset + n], for every row r"""
    n = tile.dtype.n

    def codegen(context, builder, signature, args):
        tile_value, a_value, at, step, b_value, b_at = args
        pointer = emit_address(context, builder, signature.args[4], b_value, b_at, count=n)
        row = emit_load(builder, pointer, Vector(n).ir, 4)
        sums = []
        for r, total in enumerate(cgutils.unpack_tuple(builder, tile_value)):
            where = builder.add(at, builder.mul(step, I64(r)))
            factor = builder.load(emit_address(context, builder, signature.args[1], a_value, where))
            sums.append(emit_fma(builder, emit_splat(builder, factor, n), row, total))
        return context.make_tuple(builder, signature.return_type, sums)

    return tile(tile, a, types.intp, types.intp, b, types.intp), codegen


def _store_rows_python(tile, array, start, stride):
    for r, row in enumerate(tile):
        array[start + r * stride : start + r * stride + len(row)] = row


@operation(_store_rows_python)
def store_rows(typingctx, tile, array, start, stride):
    """array[start + r * stride : + n] = tile[r], for every row r"""

    def codegen(context, builder, signature, args):
        tile_value, target, at, step = args
        for r, row in enumerate(cgutils.unpack_tuple(builder, tile_value)):
            where = builder.add(at, builder.mul(step, I64(r)))
            emit_store(
                builder, row, emit_address(context, builder, signature.args[1], target, where, count=tile.dtype.n)
            )
        return context.get_dummy_value()

    return types.void(tile, array, types.intp, types.intp), codegen


def _add_rows_python(tile, factor, array, start, stride):
    for r, row in enumerate(tile):
        array[start + r * stride : start + r * stride + len(row)] += factor * row


@operation(_add_rows_python)
def add_rows(typingctx, tile, factor, array, start, stride):
    """array[start + r * stride : + n] += factor * tile[r], for every row r"""
    n = tile.dtype.n

    def codegen(context, builder, signature, args):
        tile_value, factor_value, target, at, step = args
        factors = emit_splat(builder, factor_value, n)
        for r, row in enumerate(cgutils.unpack_tuple(builder, tile_value)):
            where = builder.add(at, builder.mul(step, I64(r)))
            pointer = emit_address(context, builder, signature.args[2], target, where, count=n)
            emit_store(builder, emit_fma(builder, factors, row, emit_load(builder, pointer, Vector(n).ir, 4)), pointer)
        return context.get_dummy_value()

    return types.void(tile, types.float32, array, types.intp, types.intp), codegen


# ---------------------------------------------------------------------------------------------- transpose


def _transpose_python(target, to, to_stride, source, start, stride):
    for i in range(16):
        for j in range(16):
            target[to + j * to_stride + i] = source[start + i * stride + j]


def emit_transpose(builder, rows):
    """16 vectors of 16 elements, transposed in four rounds of interleaving: after round k, vectors i and i + 8 of the
    round before stand interleaved in vectors 2 i and 2 i + 1."""
    low = [k for i in range(8) for k in (i, i + 16)]
    high = [k + 8 for k in low]
    for _ in range(4):
        rows = [builder.shuffle_vector(rows[i], rows[i + 8], indices(half)) for i in range(8) for half in (low, high)]
    return rows


@operation(_transpose_python)
def transpose_block(typingctx, target, to, to_stride, source, start, stride):
    """target[to + j * to_stride + i] = source[start + i * stride + j], for i and j in 0..15"""
    t = Vector(16).ir

    def codegen(context, builder, signature, args):
        target_value, to_value, to_step, source_value, at, step = args
        rows = []
        for i in range(16):
            where = builder.add(at, builder.mul(step, I64(i)))
            pointer = emit_address(context, builder, signature.args[3], source_value, where, count=16)
            rows.append(emit_load(builder, pointer, t, 4))
        for j, column in enumerate(emit_transpose(builder, rows)):
            where = builder.add(to_value, builder.mul(to_step, I64(j)))
            emit_store(
                builder, column, emit_address(context, builder, signature.args[0], target_value, where, count=16)
            )
        return context.get_dummy_value()

    return types.void(target, types.intp, types.intp, source, types.intp, types.intp), codegen


def _fma_transposed_python(total, a, at, b, start, stride):
    block = np.stack([b[start + j * stride : start + j * stride + 16] for j in range(16)], axis=1)
    for k in range(16):
        total = total + a[at + k] * block[k]
    return total


@operation(_fma_transposed_python)
def fma_transposed(typingctx, total, a, at, b, start, stride):
    """total[j] + the sum over k in 0..15 of a[at + k] * b[start + j * stride + k], for j in 0..15, in the order of k"""

    def codegen(context, builder, signature, args):
        value, a_value, a_at, b_value, b_at, step = args
        rows = []
        for j in range(16):
            where = builder.add(b_at, builder.mul(step, I64(j)))
            pointer = emit_address(context, builder, signature.args[3], b_value, where, count=16)
            rows.append(emit_load(builder, pointer, Vector(16).ir, 4))
        for k, column in enumerate(emit_transpose(builder, rows)):
            factor = builder.load(emit_address(context, builder, signature.args[1], a_value, builder.add(a_at, I64(k))))
            value = emit_fma(builder, emit_splat(builder, factor, 16), column, value)
        return value

    return total(total, a, types.intp, b, types.intp, types.intp), codegen
