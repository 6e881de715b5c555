"""Lists made in registers: what is not zero, packed."""

import numpy as np
from llvmlite import ir
from numba import types

from fastmlp.kernels.llvm import (
    I8,
    I32,
    I64,
    constant,
    emit_address,
    emit_call,
    emit_load,
    emit_splat,
    emit_store,
    indices,
    operation,
    undefined,
)
from fastmlp.kernels.tiles import emit_transpose


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
    bytes_type, words_type = ir.VectorType(I8, 64), ir.VectorType(I32, 16)

    def codegen(context, builder, signature, args):
        data_value, offsets_value, first, group_value, count_value, words_value, to_value, stride_value = args
        types_ = signature.args
        spread = indices([k for q in range(16) for k in (64, 3 * q, 3 * q + 1, 3 * q + 2)])
        byte = builder.mul(group_value, I64(3))
        rows = []
        for k in range(16):
            sample = builder.add(first, I64(k))
            start = builder.load(emit_address(context, builder, types_[1], offsets_value, sample))
            pointer = emit_address(context, builder, types_[0], data_value, builder.add(start, byte), count=64)
            row = emit_load(builder, pointer, bytes_type, 1)
            row = builder.bitcast(builder.shuffle_vector(row, constant(bytes_type, 0), spread), words_type)
            tag = builder.trunc(builder.and_(sample, I64(127)), I32)
            rows.append(builder.or_(row, emit_splat(builder, tag, 16)))
        list_of_group = builder.add(builder.sdiv(to_value, stride_value), group_value)
        for g, column in enumerate(emit_transpose(builder, rows)):
            at = builder.add(list_of_group, I64(g))
            length_pointer = emit_address(context, builder, types_[4], count_value, at)
            length = builder.load(length_pointer)
            full = builder.icmp_unsigned(
                "!=", builder.and_(column, constant(words_type, -256)), constant(words_type, 0)
            )
            packed = emit_call(
                builder, "llvm.experimental.vector.compress.v16i32", words_type, column, full, undefined(words_type)
            )
            end = builder.add(builder.mul(at, stride_value), length)
            emit_store(builder, packed, emit_address(context, builder, types_[5], words_value, end, count=16))
            bits = builder.zext(builder.bitcast(full, ir.IntType(16)), I64)
            builder.store(builder.add(length, emit_call(builder, "llvm.ctpop.i64", I64, bits)), length_pointer)
        return context.get_dummy_value()

    intp = types.intp
    return types.void(data, offsets, intp, intp, count, words, intp, intp), codegen


def _append_nonzeros_python(vector, numbers, values, to, first):
    lanes = np.flatnonzero(vector)
    numbers[to : to + lanes.size], values[to : to + lanes.size] = first + lanes, vector[lanes]
    return to + lanes.size


@operation(_append_nonzeros_python)
def append_nonzeros(typingctx, vector, numbers, values, to, first):
    """Append the lanes of `vector` that are not zero; returns where the lists end now

    numbers  (n,) int32     from `to` on: first + lane    16 of them are written
    values   (n,) float32   from `to` on: the lane        16 of them are written
    """
    numbers_type = ir.VectorType(I32, vector.n)

    def codegen(context, builder, signature, args):
        lanes, numbers_value, values_value, at, number = args
        full = builder.fcmp_unordered("!=", lanes, constant(lanes.type, 0.0))
        all_numbers = builder.add(
            emit_splat(builder, builder.trunc(number, I32), vector.n), ir.Constant(numbers_type, list(range(vector.n)))
        )
        for whole, target_type, target, name in (
            (all_numbers, signature.args[1], numbers_value, "i32"),
            (lanes, signature.args[2], values_value, "f32"),
        ):
            name = f"llvm.experimental.vector.compress.v{vector.n}{name}"
            packed = emit_call(builder, name, whole.type, whole, full, undefined(whole.type))
            emit_store(builder, packed, emit_address(context, builder, target_type, target, at, count=vector.n))
        bits = builder.zext(builder.bitcast(full, ir.IntType(vector.n)), I64)
        return builder.add(at, emit_call(builder, "llvm.ctpop.i64", I64, bits))

    return types.intp(vector, numbers, values, types.intp, types.intp), codegen
