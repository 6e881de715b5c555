"""Vectors of NARROW float32: the few operations that kernels need on them.

Loads and stores take a flat array and the offset of the first element.  They do not check their range, except under
``NUMBA_BOUNDSCHECK=1``.  Arrays are validated once, in `fastmlp.data`, before a kernel sees them.
"""

import numpy as np
from llvmlite import ir
from numba import types

from fastmlp.kernels.simd.llvm import (
    FLOAT,
    I8,
    I64,
    Vector,
    constant,
    emit_address,
    emit_fma,
    emit_fold,
    emit_load,
    emit_place,
    emit_select,
    emit_splat,
    emit_store,
    fold_python,
    operation,
)
from fastmlp.kernels.simd.processors import NARROW

# ---------------------------------------------------------------------------------------------- loads and stores


def _converting_load(dtype, python):
    """Return an intrinsic that loads NARROW values of `dtype` at byte `offset` of a uint8 array, as float32."""
    element = {np.uint8: I8, np.float32: FLOAT, np.float64: ir.DoubleType()}[dtype]
    memory = ir.VectorType(element, int(NARROW))
    size = np.dtype(dtype).itemsize

    @operation(python)
    def load(typingctx, array, offset):
        def codegen(context, builder, signature, args):
            pointer = emit_address(context, builder, signature.args[0], *args, count=int(NARROW) * size)
            value = emit_load(builder, pointer, memory, 1)
            target = Vector(NARROW).ir
            if dtype is np.uint8:
                return builder.uitofp(value, target)
            return builder.fptrunc(value, target) if dtype is np.float64 else value

        return Vector(NARROW)(array, types.intp), codegen

    return load


def _from_bytes(dtype):
    size = np.dtype(dtype).itemsize
    return lambda array, offset: array[offset : offset + NARROW * size].view(dtype).astype(np.float32)


load_uint8 = _converting_load(np.uint8, _from_bytes(np.uint8))
load_float32 = _converting_load(np.float32, _from_bytes(np.float32))
load_float64 = _converting_load(np.float64, _from_bytes(np.float64))


def _standardizing_load(dtype, n):
    """Make an intrinsic that loads n values of `dtype` at byte `at` of a uint8 array, brings them to float64, subtracts
    scale[i:], multiplies by scale[i + size / 2:], and only then rounds to float32: a vector, or a number if n is 1."""
    element = {np.uint8: I8, np.float32: FLOAT, np.float64: ir.DoubleType()}[dtype]
    size, several = np.dtype(dtype).itemsize, n > 1
    of_values, of_doubles = (ir.VectorType(t, n) if several else t for t in (element, ir.DoubleType()))
    result = Vector(n) if several else types.float32

    def python(array, at, scale, i):
        values = array[at : at + n * size].view(dtype).astype(np.float64)
        half = scale.size // 2
        rounded = ((values - scale[i : i + n]) * scale[half + i : half + i + n]).astype(np.float32)
        return rounded if several else rounded[0]

    @operation(python)
    def load(typingctx, array, at, scale, i):
        def codegen(context, builder, signature, args):
            pointer = emit_address(context, builder, signature.args[0], *args[:2], count=n * size)
            x = emit_load(builder, pointer, of_values, 1)
            if dtype is np.uint8:
                x = builder.uitofp(x, of_doubles)
            elif dtype is np.float32:
                x = builder.fpext(x, of_doubles)
            half = builder.udiv(emit_place(context, builder, signature.args[2], args[2])[1], I64(2))
            offset, factor = (
                emit_load(builder, emit_address(context, builder, signature.args[2], args[2], k, n), of_doubles, 8)
                for k in (args[3], builder.add(half, args[3]))
            )
            target = Vector(n).ir if several else FLOAT
            return builder.fptrunc(builder.fmul(builder.fsub(x, offset), factor), target)

        return result(array, types.intp, scale, types.intp), codegen

    return load


standardize_uint8, standardize_float32, standardize_float64 = (
    _standardizing_load(dtype, int(NARROW)) for dtype in (np.uint8, np.float32, np.float64)
)
standardize_one_uint8, standardize_one_float32, standardize_one_float64 = (
    _standardizing_load(dtype, 1) for dtype in (np.uint8, np.float32, np.float64)
)


@operation(lambda array, offset: array[offset : offset + NARROW].copy())
def load(typingctx, array, offset):
    """array[offset : offset + NARROW]"""

    def codegen(context, builder, signature, args):
        pointer = emit_address(context, builder, signature.args[0], *args, count=int(NARROW))
        return emit_load(builder, pointer, Vector(NARROW).ir, 4)

    return Vector(NARROW)(array, types.intp), codegen


def _store_python(vector, array, offset):
    array[offset : offset + len(vector)] = vector


@operation(_store_python)
def store(typingctx, vector, array, offset):
    """array[offset : offset + n] = vector"""

    def codegen(context, builder, signature, args):
        value, target, start = args
        emit_store(builder, value, emit_address(context, builder, signature.args[1], target, start, count=vector.n))
        return context.get_dummy_value()

    return types.void(vector, array, types.intp), codegen


def _converting_get(dtype):
    size = np.dtype(dtype).itemsize
    element = {np.float32: FLOAT, np.float64: ir.DoubleType()}[dtype]

    @operation(lambda array, offset: np.float32(array[offset : offset + size].view(dtype)[0]))
    def get(typingctx, array, offset):
        def codegen(context, builder, signature, args):
            pointer = emit_address(context, builder, signature.args[0], *args, count=size)
            value = builder.load(builder.bitcast(pointer, element.as_pointer()))
            value.align = 1
            return builder.fptrunc(value, FLOAT) if dtype is np.float64 else value

        return types.float32(array, types.intp), codegen

    return get


get_float32, get_float64 = _converting_get(np.float32), _converting_get(np.float64)


def _get_python(array, offset):
    return array[offset] if array.dtype.kind == "f" else int(array[offset])


@operation(_get_python)
def get(typingctx, array, offset):
    """array[offset]: a float, or an integer that is not negative as int64"""
    is_float = array.dtype in types.real_domain

    def codegen(context, builder, signature, args):
        value = builder.load(emit_address(context, builder, signature.args[0], *args))
        return value if is_float else builder.zext(value, I64)

    return (array.dtype if is_float else types.intp)(array, types.intp), codegen


def _put_python(value, array, offset):
    array[offset] = value


@operation(_put_python)
def put(typingctx, value, array, offset):
    """array[offset] = value: a float, or an int64 that the array's type can hold"""
    is_float = array.dtype in types.real_domain

    def codegen(context, builder, signature, args):
        number = args[0] if is_float else builder.trunc(args[0], context.get_data_type(array.dtype))
        builder.store(number, emit_address(context, builder, signature.args[1], *args[1:]))
        return context.get_dummy_value()

    return types.void(array.dtype if is_float else types.intp, array, types.intp), codegen


# ---------------------------------------------------------------------------------------------- arithmetic


@operation(lambda value: np.full(NARROW, value, np.float32))
def splat(typingctx, value):
    """Return a vector with `value` (float32) in every lane."""
    return Vector(NARROW)(types.float32), lambda context, builder, signature, args: emit_splat(
        builder, args[0], int(NARROW)
    )


def _binary(python, emit):
    @operation(python)
    def binary(typingctx, x, y):
        return x(x, y), lambda context, builder, signature, args: emit(builder, *args)

    return binary


add = _binary(lambda x, y: x + y, lambda builder, x, y: builder.fadd(x, y))
sub = _binary(lambda x, y: x - y, lambda builder, x, y: builder.fsub(x, y))
mul = _binary(lambda x, y: x * y, lambda builder, x, y: builder.fmul(x, y))
div = _binary(lambda x, y: x / y, lambda builder, x, y: builder.fdiv(x, y))
# The comparison is false for NaN, so maximum(x, y) is y where either is NaN.
maximum = _binary(lambda x, y: np.where(x > y, x, y), lambda builder, x, y: emit_select(builder, ">", x, y))


def _reduction(combine_python, combine):
    @operation(fold_python(combine_python))
    def reduction(typingctx, x):
        return types.float32(x), lambda context, builder, signature, args: emit_fold(builder, args[0], combine)

    return reduction


sum_lanes = _reduction(lambda x, y: x + y, lambda builder, x, y: builder.fadd(x, y))
max_lanes = _reduction(lambda x, y: np.where(x > y, x, y), lambda builder, x, y: emit_select(builder, ">", x, y))


@operation(lambda x, y, z: x * y + z)
def fma(typingctx, x, y, z):
    """x * y + z, rounded once"""
    return x(x, y, z), lambda context, builder, signature, args: emit_fma(builder, *args)


@operation(lambda x, y, z: np.where(x > 0, y, z))
def where_positive(typingctx, x, y, z):
    """y where x > 0, else z"""

    def codegen(context, builder, signature, args):
        positive = builder.fcmp_ordered(">", args[0], constant(args[0].type, 0.0))
        return builder.select(positive, args[1], args[2])

    return x(x, y, z), codegen


@operation(lambda x, n, fill: np.where(np.arange(NARROW) < n, x, np.float32(fill)))
def first_lanes(typingctx, x, n, fill):
    """Return the first n lanes of x, and `fill` in the others"""

    def codegen(context, builder, signature, args):
        lanes = ir.Constant(ir.VectorType(I64, x.n), list(range(x.n)))
        kept = builder.icmp_signed("<", lanes, emit_splat(builder, args[1], x.n))
        return builder.select(kept, args[0], emit_splat(builder, args[2], x.n))

    return x(x, types.intp, types.float32), codegen


def _first_equal_python(x, value):
    equal = np.flatnonzero(x == value)
    return int(equal[0]) if equal.size else NARROW


@operation(_first_equal_python)
def first_equal(typingctx, x, value):
    """Return the first lane of x that equals `value`; NARROW where none does"""

    def codegen(context, builder, signature, args):
        equal = builder.fcmp_ordered("==", args[0], emit_splat(builder, args[1], x.n))
        bits = builder.zext(builder.bitcast(equal, ir.IntType(x.n)), I64)
        return builder.cttz(builder.or_(bits, I64(1 << x.n)), ir.Constant(ir.IntType(1), 1))

    return types.intp(x, types.float32), codegen
