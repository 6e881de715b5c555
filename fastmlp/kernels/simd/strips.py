"""Strips, tuples of vectors of LANES: STRIP or NARROW columns of a row, or of GROUP rows one behind the other.

A register is a value of its own here, not part of a wider vector that LLVM splits: a load is followed by its FMAs
before the next one, so that GROUP rows of accumulators stay in registers.  On Zen 3 the weight gradient from lists took
325 us with wide vectors, which spilled, and 178 so.

Operations take their width from a strip that is passed along.
"""

import numpy as np
from numba import types
from numba.core import cgutils

from fastmlp.kernels.simd.llvm import (
    I64,
    Vector,
    constant,
    emit_address,
    emit_fma,
    emit_load,
    emit_splat,
    emit_store,
    operation,
)
from fastmlp.kernels.simd.processors import LANES, NARROW, STRIP

# Features of a group: the rows of weights that the grouped kernels hold in registers, and the bytes of a word.  Pairs
# were bound by stores, and quads are no faster than triples.
GROUP = np.int64(3)
# Samples of a list: a power of two up to 256, as a sample's number in its block is the lowest byte of a word.  The
# outputs of a block in one panel of 64 columns are 32 KB, and stay in L1.
BLOCK = np.int64(128)
_LANES, _GROUP = int(LANES), int(GROUP)


def _strip_type(columns, rows=1):
    return types.UniTuple(Vector(_LANES), int(columns) // _LANES * rows)


def _make_zero(columns, rows=1):
    n = int(columns) // _LANES * rows

    @operation(lambda: (np.zeros(_LANES, np.float32),) * n)
    def zero(typingctx):
        def codegen(context, builder, signature, args):
            return context.make_tuple(builder, signature.return_type, [constant(Vector(_LANES).ir, 0.0)] * n)

        return _strip_type(columns, rows)(), codegen

    return zero


zero_strip, zero_narrow = _make_zero(STRIP), _make_zero(NARROW)
zero_group_strip, zero_group_narrow = _make_zero(STRIP, _GROUP), _make_zero(NARROW, _GROUP)


def _emit_pointers(context, builder, array_type, array, offset, n):
    """Return addresses of n vectors, one behind the other"""
    first = emit_address(context, builder, array_type, array, offset, count=n * _LANES)
    return [builder.gep(first, [I64(q * _LANES)]) for q in range(n)]


def _load_strip_python(like, array, offset):
    return tuple(array[offset + q * _LANES : offset + (q + 1) * _LANES].copy() for q in range(len(like)))


@operation(_load_strip_python)
def load_strip(typingctx, like, array, offset):
    """array[offset : offset + n], n columns of the strip `like`"""

    def codegen(context, builder, signature, args):
        pointers = _emit_pointers(context, builder, signature.args[1], args[1], args[2], like.count)
        vectors = [emit_load(builder, pointer, like.dtype.ir, 4) for pointer in pointers]
        return context.make_tuple(builder, signature.return_type, vectors)

    return like(like, array, types.intp), codegen


def _store_strip_python(strip, array, offset):
    for q, vector in enumerate(strip):
        array[offset + q * _LANES : offset + (q + 1) * _LANES] = vector


@operation(_store_strip_python)
def store_strip(typingctx, strip, array, offset):
    """array[offset : offset + n] = strip"""

    def codegen(context, builder, signature, args):
        pointers = _emit_pointers(context, builder, signature.args[1], args[1], args[2], strip.count)
        for vector, pointer in zip(cgutils.unpack_tuple(builder, args[0]), pointers):
            emit_store(builder, vector, pointer)
        return context.get_dummy_value()

    return types.void(strip, array, types.intp), codegen


def _fma_strip_python(total, factor, array, offset):
    return tuple(factor * x + t for x, t in zip(_load_strip_python(total, array, offset), total))


@operation(_fma_strip_python)
def fma_strip(typingctx, total, factor, array, offset):
    """total + factor * array[offset : offset + n]"""

    def codegen(context, builder, signature, args):
        factors = emit_splat(builder, args[1], _LANES)
        pointers = _emit_pointers(context, builder, signature.args[2], args[2], args[3], total.count)
        sums = [
            emit_fma(builder, factors, emit_load(builder, pointer, total.dtype.ir, 4), vector)
            for vector, pointer in zip(cgutils.unpack_tuple(builder, args[0]), pointers)
        ]
        return context.make_tuple(builder, signature.return_type, sums)

    return total(total, types.float32, array, types.intp), codegen


@operation(lambda strip, factor: tuple(factor * vector for vector in strip))
def scale_strip(typingctx, strip, factor):
    """factor * strip"""

    def codegen(context, builder, signature, args):
        factors = emit_splat(builder, args[1], _LANES)
        vectors = [builder.fmul(factors, vector) for vector in cgutils.unpack_tuple(builder, args[0])]
        return context.make_tuple(builder, signature.return_type, vectors)

    return strip(strip, types.float32), codegen


def _emit_add(context, builder, array_type, array, offset, factors, vectors):
    """array[offset : offset + n] += factors * vectors"""
    for vector, pointer in zip(vectors, _emit_pointers(context, builder, array_type, array, offset, len(vectors))):
        emit_store(builder, emit_fma(builder, factors, vector, emit_load(builder, pointer, vector.type, 4)), pointer)


def _add_strip_python(strip, factor, array, offset):
    for q, vector in enumerate(strip):
        array[offset + q * _LANES : offset + (q + 1) * _LANES] += factor * vector


@operation(_add_strip_python)
def add_strip(typingctx, strip, factor, array, offset):
    """array[offset : offset + n] += factor * strip"""

    def codegen(context, builder, signature, args):
        factors = emit_splat(builder, args[1], _LANES)
        vectors = cgutils.unpack_tuple(builder, args[0])
        _emit_add(context, builder, signature.args[2], args[2], args[3], factors, vectors)
        return context.get_dummy_value()

    return types.void(strip, types.float32, array, types.intp), codegen


# ---------------------------------------------------------------------------------------------- GROUP rows
#
# A group's rows are a strip three times as long: row r is the r-th third of its vectors.


def _rows_of(group):
    n = len(group) // _GROUP
    return [group[r * n : (r + 1) * n] for r in range(_GROUP)]


def _load_group_python(like, array, offset, row):
    return sum((_load_strip_python(part, array, offset + r * row) for r, part in enumerate(_rows_of(like))), ())


@operation(_load_group_python)
def load_group(typingctx, like, array, offset, row):
    """Rows array[offset + r * row : + n], of the shape of `like`"""

    def codegen(context, builder, signature, args):
        vectors = []
        for r in range(_GROUP):
            at = builder.add(args[2], builder.mul(args[3], I64(r)))
            pointers = _emit_pointers(context, builder, signature.args[1], args[1], at, like.count // _GROUP)
            vectors += [emit_load(builder, pointer, like.dtype.ir, 4) for pointer in pointers]
        return context.make_tuple(builder, signature.return_type, vectors)

    return like(like, array, types.intp, types.intp), codegen


def _store_group_python(group, array, offset, row):
    for r, strip in enumerate(_rows_of(group)):
        _store_strip_python(strip, array, offset + r * row)


@operation(_store_group_python)
def store_group(typingctx, group, array, offset, row):
    """array[offset + r * row : + n] = row r"""

    def codegen(context, builder, signature, args):
        for r, strip in enumerate(_rows_of(cgutils.unpack_tuple(builder, args[0]))):
            at = builder.add(args[2], builder.mul(args[3], I64(r)))
            for vector, pointer in zip(
                strip, _emit_pointers(context, builder, signature.args[1], args[1], at, len(strip))
            ):
                emit_store(builder, vector, pointer)
        return context.get_dummy_value()

    return types.void(group, array, types.intp, types.intp), codegen


def _add_group_python(group, factor, array, offset, row):
    for r, strip in enumerate(_rows_of(group)):
        _add_strip_python(strip, factor, array, offset + r * row)


@operation(_add_group_python)
def add_group(typingctx, group, factor, array, offset, row):
    """array[offset + r * row : + n] += factor * row r"""

    def codegen(context, builder, signature, args):
        factors = emit_splat(builder, args[1], _LANES)
        for r, strip in enumerate(_rows_of(cgutils.unpack_tuple(builder, args[0]))):
            at = builder.add(args[3], builder.mul(args[4], I64(r)))
            _emit_add(context, builder, signature.args[2], args[2], at, factors, strip)
        return context.get_dummy_value()

    return types.void(group, types.float32, array, types.intp, types.intp), codegen


def _emit_factors(context, builder, table_type, table, at, word):
    """Return the floats that the three upper bytes of a word stand for, each in all lanes"""
    factors = []
    for r in range(_GROUP):
        byte = builder.lshr(word, I64(8 * (r + 1)))
        if r < _GROUP - 1:
            byte = builder.and_(byte, I64(255))
        factor = builder.load(emit_address(context, builder, table_type, table, builder.add(at, byte)))
        factors.append(emit_splat(builder, factor, _LANES))
    return factors


def _factors_python(table, at, word):
    return [table[at + ((word >> 8 * (r + 1)) & 255)] for r in range(_GROUP)]


def _fma_word_python(group, word, table_at, array, offset):
    rows = zip(_rows_of(group), _factors_python(array, table_at, word))
    return sum((_fma_strip_python(strip, factor, array, offset) for strip, factor in rows), ())


@operation(_fma_word_python)
def fma_word(typingctx, group, word, table_at, array, offset):
    """Row r + factor r * array[offset : offset + n], the factors being array[table_at + byte r + 1 of the word]"""

    def codegen(context, builder, signature, args):
        group_value, word_value, table, array_value, at = args
        array_type = signature.args[3]
        factors = _emit_factors(context, builder, array_type, array_value, table, word_value)
        rows = _rows_of(list(cgutils.unpack_tuple(builder, group_value)))
        n = group.count // _GROUP
        for q, pointer in enumerate(_emit_pointers(context, builder, array_type, array_value, at, n)):
            vector = emit_load(builder, pointer, group.dtype.ir, 4)
            for row, factor in zip(rows, factors):
                row[q] = emit_fma(builder, factor, vector, row[q])
        return context.make_tuple(builder, signature.return_type, [*rows[0], *rows[1], *rows[2]])

    return group(group, types.intp, types.intp, array, types.intp), codegen


def _add_word_python(group, word, table_at, array, offset):
    for strip, factor in zip(_rows_of(group), _factors_python(array, table_at, word)):
        _add_strip_python(strip, factor, array, offset)


@operation(_add_word_python)
def add_word(typingctx, group, word, table_at, array, offset):
    """array[offset : offset + n] += factor r * row r, for r in order, the factors as in `fma_word`"""

    def codegen(context, builder, signature, args):
        group_value, word_value, table, array_value, at = args
        array_type = signature.args[3]
        factors = _emit_factors(context, builder, array_type, array_value, table, word_value)
        rows = _rows_of(cgutils.unpack_tuple(builder, group_value))
        n = group.count // _GROUP
        for q, pointer in enumerate(_emit_pointers(context, builder, array_type, array_value, at, n)):
            total = emit_load(builder, pointer, group.dtype.ir, 4)
            for row, factor in zip(rows, factors):
                total = emit_fma(builder, factor, row[q], total)
            emit_store(builder, total, pointer)
        return context.get_dummy_value()

    return types.void(group, types.intp, types.intp, array, types.intp), codegen
