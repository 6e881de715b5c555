"""Tiles, tuples of ROWS vectors: what the dense kernels accumulate in; and blocks, transposed."""

import numpy as np
from numba import types
from numba.core import cgutils

from fastmlp.kernels.simd.llvm import (
    I64,
    Vector,
    emit_address,
    emit_fma,
    emit_load,
    emit_splat,
    emit_store,
    indices,
    operation,
    undefined,
)
from fastmlp.kernels.simd.processors import LANES, NARROW, ROWS, WIDE

# ---------------------------------------------------------------------------------------------- tiles
#
# A tile is a tuple of ROWS vectors.


def _make_repeat(n):
    @operation(lambda array, offset: (array[offset : offset + n].copy(),) * int(ROWS))
    def repeat(typingctx, array, offset):
        """Return a tile with array[offset : offset + n] in every row"""

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


def _interleave(builder, a, b, part, unit):
    """Units of lanes of a and b in turn, of the first (part 0) or the second half of every 4 lanes"""
    n = a.type.count
    lanes = []
    for quad in range(0, n, 4):
        for at in range(quad + 2 * part, quad + 2 * part + 2, unit):
            lanes += [*range(at, at + unit), *range(n + at, n + at + unit)]
    return builder.shuffle_vector(a, b, indices(lanes))


def _pick(builder, a, b, quads):
    """Blocks of 4 lanes: those of a, then those of b, by their numbers"""
    n = a.type.count
    lanes = [base + 4 * q + k for base in (0, n) for q in quads for k in range(4)]
    return builder.shuffle_vector(a, b, indices(lanes))


def _transpose_quads(builder, rows):
    """n vectors of n blocks of 4 lanes, transposed"""
    if len(rows) == 1:
        return rows
    if len(rows) == 2:
        return [_pick(builder, *rows, [q]) for q in range(2)]
    even, odd = ([_pick(builder, *pair, [q, q + 2]) for pair in (rows[:2], rows[2:])] for q in range(2))
    return [_pick(builder, *pair, quads) for quads in ([0, 2], [1, 3]) for pair in (even, odd)]


def emit_transpose(builder, rows):
    """n vectors of n elements (4, 8 or 16), transposed: within blocks of 4 lanes first, as most processors' shuffles
    work, and then the blocks."""
    columns = []
    for at in range(0, len(rows), 4):
        a, b, c, d = rows[at : at + 4]
        for part in range(2):
            ab, cd = (_interleave(builder, x, y, part, 1) for x, y in ((a, b), (c, d)))
            columns += [_interleave(builder, ab, cd, half, 2) for half in range(2)]
    by_lane = [_transpose_quads(builder, columns[lane::4]) for lane in range(4)]
    return [by_lane[k % 4][k // 4] for k in range(len(rows))]


_LANES, _NARROW = int(LANES), int(NARROW)


def _emit_block(context, builder, array_type, array, start, stride):
    """Return a block of LANES x LANES elements from array[start] on, its rows `stride` apart, transposed"""
    rows = []
    for i in range(_LANES):
        at = builder.add(start, builder.mul(stride, I64(i)))
        pointer = emit_address(context, builder, array_type, array, at, count=_LANES)
        rows.append(emit_load(builder, pointer, Vector(_LANES).ir, 4))
    return emit_transpose(builder, rows)


def _transpose_python(target, to, to_stride, source, start, stride):
    for i in range(_NARROW):
        for j in range(_NARROW):
            target[to + j * to_stride + i] = source[start + i * stride + j]


@operation(_transpose_python)
def transpose_block(typingctx, target, to, to_stride, source, start, stride):
    """target[to + j * to_stride + i] = source[start + i * stride + j], for i and j below NARROW"""

    def codegen(context, builder, signature, args):
        target_value, to_value, to_step, source_value, at, step = args
        for i in range(0, _NARROW, _LANES):
            for j in range(0, _NARROW, _LANES):
                here = builder.add(builder.add(at, builder.mul(step, I64(i))), I64(j))
                for k, column in enumerate(_emit_block(context, builder, signature.args[3], source_value, here, step)):
                    there = builder.add(builder.add(to_value, builder.mul(to_step, I64(j + k))), I64(i))
                    pointer = emit_address(context, builder, signature.args[0], target_value, there, count=_LANES)
                    emit_store(builder, column, pointer)
        return context.get_dummy_value()

    return types.void(target, types.intp, types.intp, source, types.intp, types.intp), codegen


def _fma_transposed_python(total, a, at, b, start, stride):
    block = np.stack([b[start + j * stride : start + j * stride + _NARROW] for j in range(_NARROW)], axis=1)
    for k in range(_NARROW):
        total = total + a[at + k] * block[k]
    return total


@operation(_fma_transposed_python)
def fma_transposed(typingctx, total, a, at, b, start, stride):
    """total[j] + the sum of a[at + k] * b[start + j * stride + k] over k in order, for j and k below NARROW"""

    def codegen(context, builder, signature, args):
        value, a_value, a_at, b_value, b_at, step = args
        parts = []
        for j in range(0, _NARROW, _LANES):
            part = builder.shuffle_vector(value, undefined(value.type), indices(range(j, j + _LANES)))
            for k in range(0, _NARROW, _LANES):
                here = builder.add(builder.add(b_at, builder.mul(step, I64(j))), I64(k))
                for q, column in enumerate(_emit_block(context, builder, signature.args[3], b_value, here, step)):
                    where = builder.add(a_at, I64(k + q))
                    factor = builder.load(emit_address(context, builder, signature.args[1], a_value, where))
                    part = emit_fma(builder, emit_splat(builder, factor, _LANES), column, part)
            parts.append(part)
        while len(parts) > 1:
            parts = [
                builder.shuffle_vector(x, y, indices(range(2 * x.type.count))) for x, y in zip(parts[::2], parts[1::2])
            ]
        return parts[0]

    return total(total, a, types.intp, b, types.intp, types.intp), codegen
