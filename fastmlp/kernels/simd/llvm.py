"""What the modules of vector operations are made of: the type, and pieces of LLVM code.

Numba has no SIMD type; LLVM has.  ``Vector(n)`` is a Numba type whose data model is LLVM's ``<n x float>``.  LLVM
spreads a value over as many registers as it takes, so one ``Vector(32)`` *is* two AVX-512 accumulators, and what is
written with it compiles to exactly the instructions meant, whatever the auto-vectorizer would have liked.

Every operation has two bodies: LLVM code for compiled kernels, and a line of NumPy (the argument of `operation`) that
stands in for it under ``NUMBA_DISABLE_JIT=1``, so that kernels can be stepped through.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic, make_attribute_wrapper, models, register_model

FLOAT, I8, I32, I64 = ir.FloatType(), ir.IntType(8), ir.IntType(32), ir.IntType(64)


class Vector(types.Type):
    """The Numba type of n float32 values."""

    def __init__(self, n):
        n = int(n)
        self.n, self.ir = n, ir.VectorType(FLOAT, n)
        super().__init__(name=f"float32x{n}")


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, fe_type.ir)


class Span(types.Type):
    """The Numba type of an array in one piece, as its address and its size.

    Numba counts references to its own arrays, wherever a function takes one or a tuple gives one out; in the loops of
    kernels LLVM can't take that out again, and all accumulators were saved around each call that counts.  Measured on
    the sparse update in batches of 16: 17.7 us with arrays, 8.9 without.
    """

    def __init__(self, dtype):
        self.dtype = dtype
        super().__init__(name=f"span({dtype})")


@register_model(Span)
class SpanModel(models.StructModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, [("data", types.CPointer(fe_type.dtype)), ("size", types.intp)])


make_attribute_wrapper(Span, "size", "size")


class Record(types.Type):
    """The Numba type of a record of one Layout, see `fastmlp.kernels.simd.records`."""

    def __init__(self, layout):
        self.layout = layout
        super().__init__(name=f"record({layout.name})")


def operation(python):
    """Decorate an intrinsic: LLVM code in compiled kernels, `python` under NUMBA_DISABLE_JIT=1."""
    return lambda typing: python if config.DISABLE_JIT else intrinsic(typing)


def constant(t, value):
    return ir.Constant(t, [value] * t.count)


def undefined(t):
    return ir.Constant(t, ir.Undefined)


def indices(values):
    return ir.Constant(ir.VectorType(I32, len(values)), list(values))


def emit_call(builder, name, result, *args):
    function_type = ir.FunctionType(result, [a.type for a in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), args)


def emit_fma(builder, x, y, z):
    return emit_call(builder, f"llvm.fma.v{x.type.count}f32", x.type, x, y, z)


def emit_splat(builder, scalar, n):
    empty = undefined(ir.VectorType(scalar.type, n))
    return builder.shuffle_vector(builder.insert_element(empty, scalar, I32(0)), empty, indices([0] * n))


def emit_place(context, builder, array_type, array):
    """Return where an array's elements start, and how many there are."""
    if isinstance(array_type, Span):
        span = cgutils.create_struct_proxy(array_type)(context, builder, value=array)
        return span.data, span.size
    array = context.make_array(array_type)(context, builder, array)
    return array.data, array.nitems


def emit_address(context, builder, array_type, array, offset, count=1):
    """Address of array[offset]; under NUMBA_BOUNDSCHECK=1 after a check that [offset, offset + count) exists."""
    data, size = emit_place(context, builder, array_type, array)
    emit_check(context, builder, offset, I64(count), size)
    return builder.gep(data, [offset])


def emit_check(context, builder, offset, count, size):
    """Under NUMBA_BOUNDSCHECK=1, an error unless [offset, offset + count) lies within `size`."""
    if config.BOUNDSCHECK:
        end = builder.add(offset, count)
        below = builder.icmp_signed("<", offset, I64(0))
        outside = builder.or_(below, builder.icmp_signed(">", end, size))
        with builder.if_then(outside, likely=False):
            context.call_conv.return_user_exc(builder, IndexError, ("vector access is out of bounds",))


def emit_load(builder, pointer, t, align):
    value = builder.load(builder.bitcast(pointer, t.as_pointer()))
    value.align = align
    return value


def emit_store(builder, value, pointer):
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer())).align = 4


def emit_select(builder, condition, x, y):
    return builder.select(builder.fcmp_ordered(condition, x, y), x, y)


def emit_fold(builder, value, combine):
    """Return all lanes combined into one, halves first: the order is the same on every machine."""
    n = value.type.count
    while n > 1:
        n //= 2
        halves = [
            builder.shuffle_vector(value, undefined(value.type), indices(range(start, start + n))) for start in (0, n)
        ]
        value = combine(builder, *halves)
    return builder.extract_element(value, I32(0))


def fold_python(combine):
    def fold(vector):
        while len(vector) > 1:
            vector = combine(vector[: len(vector) // 2], vector[len(vector) // 2 :])
        return vector[0]

    return fold
