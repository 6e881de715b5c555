"""Vectors of float32 as a Numba type, and the few operations that kernels need on them.

Numba has no SIMD type; LLVM has.  ``Vector(n)`` is a Numba type whose data model is LLVM's ``<n x float>``.  LLVM
spreads a value over as many registers as it takes, so one ``Vector(32)`` *is* two AVX-512 accumulators, and what is
written here compiles to exactly the instructions meant, whatever the auto-vectoriser would have liked.

Every operation has two bodies: LLVM code for compiled kernels, and a line of NumPy (the argument of `operation`) that
stands in for it under ``NUMBA_DISABLE_JIT=1``, so that kernels can be stepped through.

Loads and stores take a flat array and the offset of the first element.  They do not check their range, except under
``NUMBA_BOUNDSCHECK=1``.  Arrays are validated once, in `fastmlp.inputs`, before a kernel sees them.
"""

import ctypes

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic, models, register_model

from fastmlp.kernels.jit import CPU_FEATURES

# Sizes, in one place.  A tile is ROWS rows of WIDE or NARROW columns of accumulators, and has to leave registers for a
# row of weights and a broadcast: 8 x 32 takes 16 of AVX-512's 32 registers, 4 x 16 takes 8 of AVX2's 16 and 16 of
# NEON's 32.  On one core of Zen 4 (peak 118 GFLOP/s) the tiles 8 x 32, 6 x 64 and 16 x 16 reach 117, 114 and 117
# forward and 113, 114 and 113 in the weight gradient; 8 x 32 reads the fewest bytes of weights per FMA of the three
# that need at most one load per FMA, and divides a batch of 128 and a panel of 64 without a rest.
AVX512 = "+avx512f" in CPU_FEATURES.split(",")
#
# They are NumPy integers because Numba gives a Python int the type of its value, and compiles a function once more for
# every value that it is called with.
PANEL = np.int64(64)  # columns of a panel of activations, deltas or weights
NARROW = np.int64(16)  # columns of a narrow tile, and lanes of elementwise vectors
WIDE = np.int64(32 if AVX512 else 16)  # columns of a wide tile
ROWS = np.int64(8 if AVX512 else 4)  # rows of a tile; divides PANEL
STRIP = np.int64(64 if AVX512 else 32)  # columns that a sparse kernel takes at once, in 3 rows; divides PANEL

_FLOAT, _I8, _I16, _I32, _I64 = ir.FloatType(), ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)


class Vector(types.Type):
    """The Numba type of n float32 values."""

    def __init__(self, n):
        n = int(n)
        self.n, self.ir = n, ir.VectorType(_FLOAT, n)
        super().__init__(name=f"float32x{n}")


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, fe_type.ir)


def operation(python):
    """Decorate an intrinsic: LLVM code in compiled kernels, `python` under NUMBA_DISABLE_JIT=1."""
    return lambda typing: python if config.DISABLE_JIT else intrinsic(typing)


# ---------------------------------------------------------------------------------------------- pieces of LLVM code


def _constant(t, value):
    return ir.Constant(t, [value] * t.count)


def _undefined(t):
    return ir.Constant(t, ir.Undefined)


def _indices(values):
    return ir.Constant(ir.VectorType(_I32, len(values)), list(values))


def _call(builder, name, result, *args):
    function_type = ir.FunctionType(result, [a.type for a in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), args)


def _fma(builder, x, y, z):
    return _call(builder, f"llvm.fma.v{x.type.count}f32", x.type, x, y, z)


def _splat(builder, scalar, n):
    empty = _undefined(ir.VectorType(scalar.type, n))
    return builder.shuffle_vector(builder.insert_element(empty, scalar, _I32(0)), empty, _indices([0] * n))


def _address(context, builder, array_type, array, offset, count=1):
    """Address of array[offset]; under NUMBA_BOUNDSCHECK=1 after a check that [offset, offset + count) exists."""
    array = context.make_array(array_type)(context, builder, array)
    if config.BOUNDSCHECK:
        end = builder.add(offset, _I64(count))
        below = builder.icmp_signed("<", offset, _I64(0))
        outside = builder.or_(below, builder.icmp_signed(">", end, array.nitems))
        with builder.if_then(outside, likely=False):
            context.call_conv.return_user_exc(builder, IndexError, ("vector access is out of bounds",))
    return builder.gep(array.data, [offset])


def _load(builder, pointer, t, align):
    value = builder.load(builder.bitcast(pointer, t.as_pointer()))
    value.align = align
    return value


def _store(builder, value, pointer):
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer())).align = 4


def _select(builder, condition, x, y):
    return builder.select(builder.fcmp_ordered(condition, x, y), x, y)


def _fold(builder, value, combine):
    """All lanes combined into one, halves first: the order is the same on every machine."""
    n = value.type.count
    while n > 1:
        n //= 2
        halves = [
            builder.shuffle_vector(value, _undefined(value.type), _indices(range(start, start + n))) for start in (0, n)
        ]
        value = combine(builder, *halves)
    return builder.extract_element(value, _I32(0))


def _fold_python(combine):
    def fold(vector):
        while len(vector) > 1:
            vector = combine(vector[: len(vector) // 2], vector[len(vector) // 2 :])
        return vector[0]

    return fold


# ---------------------------------------------------------------------------------------------- loads and stores


def _converting_load(dtype, python):
    """An intrinsic that loads NARROW values of `dtype` at byte `offset` of a uint8 array, as float32."""
    element = {np.uint8: _I8, np.float32: _FLOAT, np.float64: ir.DoubleType()}[dtype]
    memory = ir.VectorType(element, int(NARROW))
    size = np.dtype(dtype).itemsize

    @operation(python)
    def load(typingctx, array, offset):
        def codegen(context, builder, signature, args):
            pointer = _address(context, builder, signature.args[0], *args, count=int(NARROW) * size)
            value = _load(builder, pointer, memory, 1)
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


@operation(lambda array, offset: array[offset : offset + NARROW].copy())
def load(typingctx, array, offset):
    """array[offset : offset + NARROW]"""

    def codegen(context, builder, signature, args):
        pointer = _address(context, builder, signature.args[0], *args, count=int(NARROW))
        return _load(builder, pointer, Vector(NARROW).ir, 4)

    return Vector(NARROW)(array, types.intp), codegen


def _store_python(vector, array, offset):
    array[offset : offset + len(vector)] = vector


@operation(_store_python)
def store(typingctx, vector, array, offset):
    """array[offset : offset + n] = vector"""

    def codegen(context, builder, signature, args):
        value, target, start = args
        _store(builder, value, _address(context, builder, signature.args[1], target, start, count=vector.n))
        return context.get_dummy_value()

    return types.void(vector, array, types.intp), codegen


@operation(lambda address: None)
def prefetch_at(typingctx, address):
    """Ask for the cache line at `address` to come into the second-level cache."""

    def codegen(context, builder, signature, args):
        pointer = builder.inttoptr(args[0], _I8.as_pointer())
        _call(builder, "llvm.prefetch.p0", ir.VoidType(), pointer, _I32(0), _I32(2), _I32(1))
        return context.get_dummy_value()

    return types.void(types.intp), codegen


def _converting_get(dtype):
    size = np.dtype(dtype).itemsize
    element = {np.float32: _FLOAT, np.float64: ir.DoubleType()}[dtype]

    @operation(lambda array, offset: np.float32(array[offset : offset + size].view(dtype)[0]))
    def get(typingctx, array, offset):
        def codegen(context, builder, signature, args):
            pointer = _address(context, builder, signature.args[0], *args, count=size)
            value = builder.load(builder.bitcast(pointer, element.as_pointer()))
            value.align = 1
            return builder.fptrunc(value, _FLOAT) if dtype is np.float64 else value

        return types.float32(array, types.intp), codegen

    return get


get_float32, get_float64 = _converting_get(np.float32), _converting_get(np.float64)

# ---------------------------------------------------------------------------------------------- arithmetic


@operation(lambda value: np.full(NARROW, value, np.float32))
def splat(typingctx, value):
    """A vector with `value` (float32) in every lane."""
    return Vector(NARROW)(types.float32), lambda context, builder, signature, args: _splat(
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
maximum = _binary(lambda x, y: np.where(x > y, x, y), lambda builder, x, y: _select(builder, ">", x, y))


def _reduction(combine_python, combine):
    @operation(_fold_python(combine_python))
    def reduction(typingctx, x):
        return types.float32(x), lambda context, builder, signature, args: _fold(builder, args[0], combine)

    return reduction


sum_lanes = _reduction(lambda x, y: x + y, lambda builder, x, y: builder.fadd(x, y))
max_lanes = _reduction(lambda x, y: np.where(x > y, x, y), lambda builder, x, y: _select(builder, ">", x, y))


@operation(lambda x, y, z: x * y + z)
def fma(typingctx, x, y, z):
    """x * y + z, rounded once"""
    return x(x, y, z), lambda context, builder, signature, args: _fma(builder, *args)


@operation(lambda x, y, z: np.where(x > 0, y, z))
def where_positive(typingctx, x, y, z):
    """y where x > 0, else z"""

    def codegen(context, builder, signature, args):
        positive = builder.fcmp_ordered(">", args[0], _constant(args[0].type, 0.0))
        return builder.select(positive, args[1], args[2])

    return x(x, y, z), codegen


@operation(lambda x, n, fill: np.where(np.arange(NARROW) < n, x, np.float32(fill)))
def first_lanes(typingctx, x, n, fill):
    """The first n lanes of x, and `fill` in the others"""

    def codegen(context, builder, signature, args):
        lanes = ir.Constant(ir.VectorType(_I64, x.n), list(range(x.n)))
        kept = builder.icmp_signed("<", lanes, _splat(builder, args[1], x.n))
        return builder.select(kept, args[0], _splat(builder, args[2], x.n))

    return x(x, types.intp, types.float32), codegen


def _first_equal_python(x, value):
    equal = np.flatnonzero(x == value)
    return int(equal[0]) if equal.size else NARROW


@operation(_first_equal_python)
def first_equal(typingctx, x, value):
    """The first lane of x that equals `value`; NARROW where none does"""

    def codegen(context, builder, signature, args):
        equal = builder.fcmp_ordered("==", args[0], _splat(builder, args[1], x.n))
        bits = builder.zext(builder.bitcast(equal, ir.IntType(x.n)), _I64)
        return builder.cttz(builder.or_(bits, _I64(1 << x.n)), ir.Constant(ir.IntType(1), 1))

    return types.intp(x, types.float32), codegen


# ---------------------------------------------------------------------------------------------- exp, log and tanh

_LOG2_E, _LN2_HIGH, _LN2_LOW = 1.4426950408889634, 0.693359375, -2.12194440e-4
_EXP_MIN, _EXP_MAX = -87.0, 88.0  # beyond, exp is denormal or infinite in float32


def _polynomial(builder, x, coefficients):
    value = _constant(x.type, coefficients[0])
    for c in coefficients[1:]:
        value = _fma(builder, value, x, _constant(x.type, c))
    return value


def _emit_exp(builder, x):
    """Cephes' expf: x = k ln 2 + r, exp(x) = 2**k exp(r), within about 1 ulp.  NaN stays NaN."""
    t, ti = x.type, ir.VectorType(_I32, x.type.count)
    x = builder.select(builder.fcmp_ordered("<", x, _constant(t, _EXP_MIN)), _constant(t, _EXP_MIN), x)
    x = builder.select(builder.fcmp_ordered(">", x, _constant(t, _EXP_MAX)), _constant(t, _EXP_MAX), x)
    k = _call(builder, f"llvm.rint.v{t.count}f32", t, builder.fmul(x, _constant(t, _LOG2_E)))
    r = _fma(builder, k, _constant(t, -_LN2_HIGH), x)
    r = _fma(builder, k, _constant(t, -_LN2_LOW), r)
    p = _polynomial(
        builder, r, (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5)
    )
    p = builder.fadd(_fma(builder, p, builder.fmul(r, r), r), _constant(t, 1.0))
    exponent = builder.shl(builder.add(builder.fptosi(k, ti), _constant(ti, 127)), _constant(ti, 23))
    return builder.fmul(p, builder.bitcast(exponent, t))


def _emit_log(builder, x):
    """Cephes' logf for normal x > 0: x = 2**e m, log(x) = e ln 2 + log(m), within about 1 ulp.  NaN stays NaN."""
    t, ti = x.type, ir.VectorType(_I32, x.type.count)
    bits = builder.bitcast(x, ti)
    e = builder.sitofp(builder.sub(builder.lshr(bits, _constant(ti, 23)), _constant(ti, 126)), t)
    m = builder.or_(builder.and_(bits, _constant(ti, 0x007FFFFF)), _constant(ti, 0x3F000000))
    m = builder.bitcast(m, t)  # in [0.5, 1)
    small = builder.fcmp_ordered("<", m, _constant(t, 0.5**0.5))
    e = builder.select(small, builder.fsub(e, _constant(t, 1.0)), e)
    m = builder.fsub(builder.select(small, builder.fadd(m, m), m), _constant(t, 1.0))
    p = _polynomial(
        builder,
        m,
        (
            7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
            -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
        ),
    )  # fmt: skip
    square = builder.fmul(m, m)
    y = builder.fmul(builder.fmul(p, m), square)
    y = _fma(builder, e, _constant(t, _LN2_LOW), y)
    y = _fma(builder, square, _constant(t, -0.5), y)
    y = _fma(builder, e, _constant(t, _LN2_HIGH), builder.fadd(m, y))
    return builder.fadd(y, builder.fsub(x, x))  # x - x is NaN for NaN and infinity, else 0


def _unary(python, emit):
    @operation(python)
    def unary(typingctx, x):
        return x(x), lambda context, builder, signature, args: emit(builder, args[0])

    return unary


def _emit_tanh(builder, x):
    """Cephes' tanhf: a polynomial for |x| < 0.625, else 1 - 2 / (exp(2 |x|) + 1) with x's sign."""
    t, ti = x.type, ir.VectorType(_I32, x.type.count)
    square = builder.fmul(x, x)
    p = _polynomial(
        builder,
        square,
        (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1),
    )
    near = _fma(builder, builder.fmul(p, square), x, x)
    magnitude = _call(builder, f"llvm.fabs.v{t.count}f32", t, x)
    e = _emit_exp(builder, builder.fadd(magnitude, magnitude))
    one = _constant(t, 1.0)
    far = builder.fsub(one, builder.fdiv(_constant(t, 2.0), builder.fadd(e, one)))
    sign = builder.and_(builder.bitcast(x, ti), _constant(ti, -(1 << 31)))
    far = builder.bitcast(builder.or_(builder.bitcast(far, ti), sign), t)
    return builder.select(builder.fcmp_ordered("<", magnitude, _constant(t, 0.625)), near, far)


exp = _unary(lambda x: np.exp(np.clip(x, np.float32(_EXP_MIN), np.float32(_EXP_MAX))), _emit_exp)
log = _unary(np.log, _emit_log)
tanh = _unary(np.tanh, _emit_tanh)


# ---------------------------------------------------------------------------------------------- tiles
#
# A tile is a tuple of ROWS vectors.


def _make_repeat(n):
    @operation(lambda array, offset: (array[offset : offset + n].copy(),) * int(ROWS))
    def repeat(typingctx, array, offset):
        """A tile with array[offset : offset + n] in every row"""

        def codegen(context, builder, signature, args):
            pointer = _address(context, builder, signature.args[0], *args, count=int(n))
            row = _load(builder, pointer, Vector(n).ir, 4)
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
        pointer = _address(context, builder, signature.args[4], b_value, b_at, count=n)
        row = _load(builder, pointer, Vector(n).ir, 4)
        sums = []
        for r, total in enumerate(cgutils.unpack_tuple(builder, tile_value)):
            where = builder.add(at, builder.mul(step, _I64(r)))
            factor = builder.load(_address(context, builder, signature.args[1], a_value, where))
            sums.append(_fma(builder, _splat(builder, factor, n), row, total))
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
            where = builder.add(at, builder.mul(step, _I64(r)))
            _store(builder, row, _address(context, builder, signature.args[1], target, where, count=tile.dtype.n))
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
        factors = _splat(builder, factor_value, n)
        for r, row in enumerate(cgutils.unpack_tuple(builder, tile_value)):
            where = builder.add(at, builder.mul(step, _I64(r)))
            pointer = _address(context, builder, signature.args[2], target, where, count=n)
            _store(builder, _fma(builder, factors, row, _load(builder, pointer, Vector(n).ir, 4)), pointer)
        return context.get_dummy_value()

    return types.void(tile, types.float32, array, types.intp, types.intp), codegen


# ---------------------------------------------------------------------------------------------- transpose


def _transpose_python(target, to, to_stride, source, start, stride):
    for i in range(16):
        for j in range(16):
            target[to + j * to_stride + i] = source[start + i * stride + j]


def _emit_transpose(builder, rows):
    """16 vectors of 16 elements, transposed in four rounds of interleaving: after round k, vectors i and i + 8 of the
    round before stand interleaved in vectors 2 i and 2 i + 1."""
    low = [k for i in range(8) for k in (i, i + 16)]
    high = [k + 8 for k in low]
    for _ in range(4):
        rows = [builder.shuffle_vector(rows[i], rows[i + 8], _indices(half)) for i in range(8) for half in (low, high)]
    return rows


@operation(_transpose_python)
def transpose_block(typingctx, target, to, to_stride, source, start, stride):
    """target[to + j * to_stride + i] = source[start + i * stride + j], for i and j in 0..15"""
    t = Vector(16).ir

    def codegen(context, builder, signature, args):
        target_value, to_value, to_step, source_value, at, step = args
        rows = []
        for i in range(16):
            where = builder.add(at, builder.mul(step, _I64(i)))
            pointer = _address(context, builder, signature.args[3], source_value, where, count=16)
            rows.append(_load(builder, pointer, t, 4))
        for j, column in enumerate(_emit_transpose(builder, rows)):
            where = builder.add(to_value, builder.mul(to_step, _I64(j)))
            _store(builder, column, _address(context, builder, signature.args[0], target_value, where, count=16))
        return context.get_dummy_value()

    return types.void(target, types.intp, types.intp, source, types.intp, types.intp), codegen


# ---------------------------------------------------------------------------------------------- calls and addresses


def _make_array_at(dtype):
    numba_type = types.Array(numba.from_dtype(np.dtype(dtype)), 1, "C")
    c_type = np.ctypeslib.as_ctypes_type(dtype)

    def python(address, size):
        return np.ctypeslib.as_array((c_type * int(size)).from_address(int(address))) if size else np.zeros(0, dtype)

    @operation(python)
    def array_at(typingctx, address, size):
        """The array of `size` elements that lies at `address`; whoever passed the address keeps it alive."""

        from numba.np.arrayobj import populate_array  # slow to import, and needed for compiling alone

        def codegen(context, builder, signature, args):
            array = context.make_array(numba_type)(context, builder)
            item = context.get_abi_sizeof(context.get_data_type(numba_type.dtype))
            pointer = builder.inttoptr(args[0], context.get_data_type(numba_type.dtype).as_pointer())
            size, itemsize = args[1], ir.Constant(_I64, item)
            none = ir.Constant(array.meminfo.type, None)
            populate_array(array, pointer, [size], [itemsize], itemsize, none)
            return array._getvalue()

        return numba_type(types.intp, types.intp), codegen

    return array_at


floats_at, bytes_at = _make_array_at(np.float32), _make_array_at(np.uint8)
int32s_at, int64s_at, words_at = _make_array_at(np.int32), _make_array_at(np.int64), _make_array_at(np.uint32)


def _address_of_python(array):
    return array.ctypes.data


@operation(_address_of_python)
def address_of(typingctx, array):
    """Where the array's elements start in memory"""

    def codegen(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.ptrtoint(data, _I64)

    return types.intp(array), codegen


def _call_at_python(address, a, b, c, d, e):
    ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 5)(int(address))(int(a), int(b), int(c), int(d), int(e))


@operation(_call_at_python)
def call_at(typingctx, address, a, b, c, d, e):
    """Call the function of five int64 at `address`."""

    def codegen(context, builder, signature, args):
        function_type = ir.FunctionType(ir.VoidType(), [_I64] * 5)
        builder.call(builder.inttoptr(args[0], function_type.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(*[types.intp] * 6), codegen


# ---------------------------------------------------------------------------------------------- sparse kernels
#
# Vectors of STRIP or NARROW columns: these operations take their width from a vector that is passed along.


def _make_zero(n):
    @operation(lambda: np.zeros(n, np.float32))
    def zero(typingctx):
        return Vector(n)(), lambda context, builder, signature, args: _constant(Vector(n).ir, 0.0)

    return zero


zero_strip, zero_narrow = _make_zero(STRIP), _make_zero(NARROW)


@operation(lambda like, array, offset: array[offset : offset + len(like)].copy())
def load_like(typingctx, like, array, offset):
    """array[offset : offset + n], n of the vector `like`"""

    def codegen(context, builder, signature, args):
        pointer = _address(context, builder, signature.args[1], *args[1:], count=like.n)
        return _load(builder, pointer, like.ir, 4)

    return like(like, array, types.intp), codegen


@operation(lambda like, array, offset: np.full(len(like), array[offset], np.float32))
def broadcast_like(typingctx, like, array, offset):
    """array[offset] in every lane, as many as `like` has"""

    def codegen(context, builder, signature, args):
        value = builder.load(_address(context, builder, signature.args[1], *args[1:]))
        return _splat(builder, value, like.n)

    return like(like, array, types.intp), codegen


@operation(lambda like, value: np.full(len(like), value, np.float32))
def splat_like(typingctx, like, value):
    """`value` (float32) in every lane, as many as `like` has"""
    return like(like, types.float32), lambda context, builder, signature, args: _splat(builder, args[1], like.n)


@operation(lambda array, offset: int(array[offset]))
def get_word(typingctx, array, offset):
    """array[offset] of an array of unsigned integers, as int64"""

    def codegen(context, builder, signature, args):
        return builder.zext(builder.load(_address(context, builder, signature.args[0], *args)), _I64)

    return types.intp(array, types.intp), codegen


def _append_words_python(data, offsets, i, group, count, words, to, stride):
    for g in range(group, group + 16):
        for k in range(i, i + 16):
            x = data[offsets[k] + 3 * g : offsets[k] + 3 * g + 3].astype(np.uint32)
            if x.any():
                words[to + g * stride + count[to // stride + g]] = (k & 127) | x[0] << 8 | x[1] << 16 | x[2] << 24
                count[to // stride + g] += 1


@operation(_append_words_python)
def append_words(typingctx, data, offsets, i, group, count, words, to, stride):
    """Append the words (sample, three bytes) of samples i..i+15 and groups group..group+15 that are not empty

    data     bytes; sample k's row starts at offsets[k], group g of it 3 * g further on   read, 64 bytes a row
    count    lengths of the lists; that of group g at to // stride + g                   updated
    words    the lists; that of group g at to + g * stride                               16 words written behind its end

    16 rows of 16 words are made by a byte shuffle, transposed in registers, and compressed.
    """
    bytes_type, words_type = ir.VectorType(_I8, 64), ir.VectorType(_I32, 16)

    def codegen(context, builder, signature, args):
        data_value, offsets_value, first, group_value, count_value, words_value, to_value, stride_value = args
        types_ = signature.args
        spread = _indices([k for q in range(16) for k in (64, 3 * q, 3 * q + 1, 3 * q + 2)])
        byte = builder.mul(group_value, _I64(3))
        rows = []
        for k in range(16):
            sample = builder.add(first, _I64(k))
            start = builder.load(_address(context, builder, types_[1], offsets_value, sample))
            pointer = _address(context, builder, types_[0], data_value, builder.add(start, byte), count=64)
            row = _load(builder, pointer, bytes_type, 1)
            row = builder.bitcast(builder.shuffle_vector(row, _constant(bytes_type, 0), spread), words_type)
            tag = builder.trunc(builder.and_(sample, _I64(127)), _I32)
            rows.append(builder.or_(row, _splat(builder, tag, 16)))
        list_of_group = builder.add(builder.sdiv(to_value, stride_value), group_value)
        for g, column in enumerate(_emit_transpose(builder, rows)):
            at = builder.add(list_of_group, _I64(g))
            length_pointer = _address(context, builder, types_[4], count_value, at)
            length = builder.load(length_pointer)
            full = builder.icmp_unsigned(
                "!=", builder.and_(column, _constant(words_type, -256)), _constant(words_type, 0)
            )
            packed = _call(
                builder, "llvm.experimental.vector.compress.v16i32", words_type, column, full, _undefined(words_type)
            )
            end = builder.add(builder.mul(at, stride_value), length)
            _store(builder, packed, _address(context, builder, types_[5], words_value, end, count=16))
            bits = builder.zext(builder.bitcast(full, ir.IntType(16)), _I64)
            builder.store(builder.add(length, _call(builder, "llvm.ctpop.i64", _I64, bits)), length_pointer)
        return context.get_dummy_value()

    intp = types.intp
    return types.void(data, offsets, intp, intp, count, words, intp, intp), codegen
