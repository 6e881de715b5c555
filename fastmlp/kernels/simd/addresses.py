"""Arrays, functions and cache lines by their address: what is called by address gets its arrays so, as spans."""

import ctypes
import operator

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from fastmlp.kernels.simd.llvm import (
    I8,
    I32,
    I64,
    Record,
    Span,
    emit_address,
    emit_call,
    emit_check,
    emit_place,
    operation,
)


def array_at(dtype, address, size):
    """Return the array of `size` elements that lies at `address`, in Python."""
    if not size:
        return np.zeros(0, dtype)
    c_type = np.ctypeslib.as_ctypes_type(dtype)
    return np.ctypeslib.as_array((c_type * int(size)).from_address(int(address)))


def _make_array_at(dtype):
    span = Span(numba.from_dtype(np.dtype(dtype)))

    @operation(lambda address, size: array_at(dtype, address, size))
    def span_at(typingctx, address, size):
        """Return the array of `size` elements that lies at `address`; whoever passed the address keeps it alive."""

        def codegen(context, builder, signature, args):
            value = cgutils.create_struct_proxy(span)(context, builder)
            value.data = builder.inttoptr(args[0], context.get_value_type(span.dtype).as_pointer())
            value.size = args[1]
            return value._getvalue()

        return span(types.intp, types.intp), codegen

    return span_at


floats_at, bytes_at = _make_array_at(np.float32), _make_array_at(np.uint8)
int32s_at, int64s_at, words_at = _make_array_at(np.int32), _make_array_at(np.int64), _make_array_at(np.uint32)
doubles_at = _make_array_at(np.float64)


def _address_of_python(array):
    return array.ctypes.data


@operation(_address_of_python)
def address_of(typingctx, array):
    """Return where the array's elements start in memory"""

    def codegen(context, builder, signature, args):
        data, _ = emit_place(context, builder, signature.args[0], args[0])
        return builder.ptrtoint(data, I64)

    return types.intp(array), codegen


def _call_region_python(address, record, kind, layer, first, last, thread):
    arguments = [int(value) for value in (record, kind, layer, first, last, thread)]
    ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * len(arguments))(int(address))(*arguments)


@operation(_call_region_python)
def call_region(typingctx, address, record, kind, layer, first, last, thread):
    """Call the region at `address`, see `fastmlp.kernels.step.regions`; `record` is the record's address."""

    def codegen(context, builder, signature, args):
        function_type = ir.FunctionType(ir.VoidType(), [I64] * len(args[1:]))
        builder.call(builder.inttoptr(args[0], function_type.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(*[types.intp] * 7), codegen


@operation(lambda address: None)
def prefetch_at(typingctx, address):
    """Ask for the cache line at `address` to come into the second-level cache."""

    def codegen(context, builder, signature, args):
        pointer = builder.inttoptr(args[0], I8.as_pointer())
        emit_call(builder, "llvm.prefetch.p0", ir.VoidType(), pointer, I32(0), I32(2), I32(1))
        return context.get_dummy_value()

    return types.void(types.intp), codegen


# ---------------------------------------------------------------------------------------------- span[i]


@intrinsic
def _get_item(typingctx, span, offset):
    def codegen(context, builder, signature, args):
        if isinstance(span.dtype, Record):  # which is its address
            data, size = emit_place(context, builder, span, args[0])
            emit_check(context, builder, args[1], I64(1), size)
            itemsize = I64(span.dtype.layout.dtype.itemsize)
            return builder.add(builder.ptrtoint(data, I64), builder.mul(args[1], itemsize))
        return builder.load(emit_address(context, builder, signature.args[0], *args))

    return span.dtype(span, types.intp), codegen


@intrinsic
def _set_item(typingctx, span, offset, value):
    def codegen(context, builder, signature, args):
        builder.store(args[2], emit_address(context, builder, signature.args[0], *args[:2]))
        return context.get_dummy_value()

    return types.void(span, types.intp, span.dtype), codegen


@overload(operator.getitem)
def _span_getitem(span, offset):
    if isinstance(span, Span) and isinstance(offset, types.Integer):
        return lambda span, offset: _get_item(span, offset)


@overload(operator.setitem)
def _span_setitem(span, offset, value):
    if isinstance(span, Span) and isinstance(offset, types.Integer):
        return lambda span, offset, value: _set_item(span, offset, value)
