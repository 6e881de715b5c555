"""Lists made in registers: what is not zero, packed.

Only AVX-512 has an instruction that packs.  Below it `llvm.experimental.vector.compress` becomes code that goes lane by
lane, three times as slow as a permutation looked up by the mask, and with ARM's SVE it is compiled to wrong code.  So
it is emitted for AVX-512 alone, and there is a lookup for AVX2 and one for NEON.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastmlp.kernels.simd.llvm import (
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
from fastmlp.kernels.simd.processors import LANES, PROCESSOR
from fastmlp.kernels.simd.strips import BLOCK, GROUP
from fastmlp.kernels.simd.tiles import emit_transpose

_LANES = int(LANES)


def _emit_table(builder, name, rows):
    """Return the address of a constant table of bytes."""
    data = ir.Constant(ir.ArrayType(I8, sum(map(len, rows))), bytearray(b"".join(map(bytes, rows))))
    table = builder.module.globals.get(name)
    if table is None:
        table = cgutils.global_constant(builder.module, name, data)
    return builder.bitcast(table, I8.as_pointer())


def _lanes_of(mask):
    """Return the lanes whose bit is set, in order"""
    return [k for k in range(_LANES) if mask >> k & 1]


def _emit_packers_compress(builder, full, bits):
    """AVX-512: vpcompressd"""

    def pack(vector):
        kind = "f32" if isinstance(vector.type.element, ir.FloatType) else "i32"
        name = f"llvm.experimental.vector.compress.v{_LANES}{kind}"
        return emit_call(builder, name, vector.type, vector, full, undefined(vector.type))

    return pack


def _emit_packers_permute(builder, full, bits):
    """AVX2: a permutation of 8 lanes, 2 KB for all masks"""
    rows = [(_lanes_of(mask) + [0] * _LANES)[:_LANES] for mask in range(1 << _LANES)]
    pointer = builder.gep(_emit_table(builder, "fastmlp_permutations", rows), [builder.mul(bits, I64(_LANES))])
    words = ir.VectorType(I32, _LANES)
    order = builder.zext(emit_load(builder, pointer, ir.VectorType(I8, _LANES), 1), words)

    def pack(vector):
        packed = emit_call(builder, "llvm.x86.avx2.permd", words, builder.bitcast(vector, words), order)
        return builder.bitcast(packed, vector.type)

    return pack


def _emit_packers_table(builder, full, bits):
    """NEON: a lookup of bytes by `tbl`, 256 bytes for all masks"""
    rows = []
    for mask in range(1 << _LANES):
        row = [4 * lane + byte for lane in _lanes_of(mask) for byte in range(4)]
        rows.append((row + [255] * 16)[:16])
    pointer = builder.gep(_emit_table(builder, "fastmlp_lookups", rows), [builder.mul(bits, I64(16))])
    bytes_type = ir.VectorType(I8, 16)
    order = emit_load(builder, pointer, bytes_type, 1)

    def pack(vector):
        packed = emit_call(
            builder, "llvm.aarch64.neon.tbl1.v16i8", bytes_type, builder.bitcast(vector, bytes_type), order
        )
        return builder.bitcast(packed, vector.type)

    return pack


_PACKERS = {"compress": _emit_packers_compress, "permute": _emit_packers_permute, "table": _emit_packers_table}


def _emit_scalar_append(builder, full, vectors, pointers):
    """Lane by lane: every lane is written to the end, which moves on behind those that count."""
    end = I64(0)
    for lane in range(_LANES):
        for vector, pointer in zip(vectors, pointers):
            builder.store(builder.extract_element(vector, I32(lane)), builder.gep(pointer, [end]))
        end = builder.add(end, builder.zext(builder.extract_element(full, I32(lane)), I64))
    return end


def emit_append(builder, full, vectors, pointers):
    """Store the lanes of each of the vectors that are `full`, one behind the other from its pointer on; LANES are
    written, and the number of those that count is returned."""
    if PROCESSOR.packing == "scalar":
        return _emit_scalar_append(builder, full, vectors, pointers)
    bits = builder.zext(builder.bitcast(full, ir.IntType(_LANES)), I64)
    pack = _PACKERS[PROCESSOR.packing](builder, full, bits)
    for vector, pointer in zip(vectors, pointers):
        emit_store(builder, pack(vector), pointer)
    return emit_call(builder, "llvm.ctpop.i64", I64, bits)


def _emit_words(builder, pointer):
    """LANES groups of three bytes from `pointer` on, each as a word whose lowest byte is 0."""
    if _LANES == 16:  # 64 bytes, which the shuffle takes across lanes
        n, parts = 64, 1
    else:  # 16 bytes for every four groups, shuffled within lanes
        n, parts = 16, _LANES // 4
    spread = indices([k for q in range(4 * (n // 16)) for k in (n, 3 * q, 3 * q + 1, 3 * q + 2)])
    bytes_type = ir.VectorType(I8, n)
    rows = []
    for part in range(parts):
        row = emit_load(builder, builder.gep(pointer, [I64(12 * part)]), bytes_type, 1)
        rows.append(builder.shuffle_vector(row, constant(bytes_type, 0), spread))
    whole = rows[0] if parts == 1 else builder.shuffle_vector(*rows, indices(range(2 * n)))
    return builder.bitcast(whole, ir.VectorType(I32, _LANES))


def _append_words_python(data, offsets, i, group, count, words, to, stride):
    for g in range(group, group + _LANES):
        for k in range(i, i + _LANES):
            x = data[offsets[k] + 3 * g : offsets[k] + 3 * g + 3].astype(np.uint32)
            if x.any():
                words[to + g * stride + count[to // stride + g]] = (
                    (k & (BLOCK - 1)) | x[0] << 8 | x[1] << 16 | x[2] << 24
                )
                count[to // stride + g] += 1


@operation(_append_words_python)
def append_words(typingctx, data, offsets, i, group, count, words, to, stride):
    """Append the words (sample, three bytes) of LANES samples from i on and LANES groups that are not empty

    data     bytes; sample k's row starts at offsets[k], group g of it 3 * g further on   read, 64 bytes a row
    count    lengths of the lists; that of group g at to // stride + g                   updated
    words    the lists; that of group g at to + g * stride                               LANES written behind its end

    Rows of words are made by a byte shuffle, transposed in registers, and packed.
    """
    words_type = ir.VectorType(I32, _LANES)

    def codegen(context, builder, signature, args):
        data_value, offsets_value, first, group_value, count_value, words_value, to_value, stride_value = args
        types_ = signature.args
        byte = builder.mul(group_value, I64(int(GROUP)))
        rows = []
        for k in range(_LANES):
            sample = builder.add(first, I64(k))
            start = builder.load(emit_address(context, builder, types_[1], offsets_value, sample))
            pointer = emit_address(context, builder, types_[0], data_value, builder.add(start, byte), count=4 * _LANES)
            tag = builder.trunc(builder.and_(sample, I64(int(BLOCK) - 1)), I32)
            rows.append(builder.or_(_emit_words(builder, pointer), emit_splat(builder, tag, _LANES)))
        list_of_group = builder.add(builder.sdiv(to_value, stride_value), group_value)
        for g, column in enumerate(emit_transpose(builder, rows)):
            at = builder.add(list_of_group, I64(g))
            length_pointer = emit_address(context, builder, types_[4], count_value, at)
            length = builder.load(length_pointer)
            full = builder.icmp_unsigned(
                "!=", builder.and_(column, constant(words_type, -256)), constant(words_type, 0)
            )
            end = builder.add(builder.mul(at, stride_value), length)
            pointer = emit_address(context, builder, types_[5], words_value, end, count=_LANES)
            builder.store(builder.add(length, emit_append(builder, full, [column], [pointer])), length_pointer)
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

    numbers  (n,) int32     from `to` on: first + lane    as many as the vector has are written
    values   (n,) float32   from `to` on: the lane        likewise
    """

    def codegen(context, builder, signature, args):
        lanes, numbers_value, values_value, end, number = args
        lane = builder.trunc(number, I32)
        for part in range(0, vector.n, _LANES):
            own = builder.shuffle_vector(lanes, undefined(lanes.type), indices(range(part, part + _LANES)))
            order = ir.Constant(ir.VectorType(I32, _LANES), list(range(part, part + _LANES)))
            full = builder.fcmp_unordered("!=", own, constant(own.type, 0.0))
            pointers = [
                emit_address(context, builder, target_type, target, end, count=_LANES)
                for target_type, target in zip(signature.args[1:3], (numbers_value, values_value))
            ]
            vectors = [builder.add(emit_splat(builder, lane, _LANES), order), own]
            end = builder.add(end, emit_append(builder, full, vectors, pointers))
        return end

    return types.intp(vector, numbers, values, types.intp, types.intp), codegen
