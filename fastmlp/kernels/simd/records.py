"""Records: named fields at an address, which Python sets and kernels read and set.

A `Layout` lists the fields once.  From it come a NumPy structured dtype, for Python, and a Numba type, for kernels, so
that neither side counts positions.  A field is a number, an array (its address and its size), or another record.

Numba's own type for structured dtypes compiles in the same time, but its name spells out every field and is part of
the name of every function that takes one: the compiled code of two regions took 801 KB in the cache, and takes 681 KB
with this one.  It also has addresses in place of arrays, and no records within records.
"""

import ctypes

import numba
import numpy as np
from numba import types
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, lower_getattr_generic, lower_setattr_generic, models, register_model

from fastmlp.kernels.simd.addresses import array_at
from fastmlp.kernels.simd.llvm import I64, Record, Span, operation

_ARRAY = np.dtype([("address", np.int64), ("size", np.int64)])


class Layout:
    """The fields of a record.

    Parameters
    ----------
    name : str
        A name that no other layout has.
    fields : dict
        By name: a NumPy scalar type; a list of one, or of one Layout, for an array of such elements; or a Layout, for a
        record that is a part of this one.

    Attributes
    ----------
    dtype : dtype
        In it, an array is a pair of ``address`` and ``size``.
    type : Record
        The Numba type.
    """

    def __init__(self, name: str, fields: dict):
        self.name, self.fields = name, fields
        self.dtype = np.dtype([(field, _dtype_of(kind)) for field, kind in fields.items()], align=True)
        self.type = Record(self)
        # of the arrays among the fields
        self.elements = {field: _dtype_of(kind[0]) for field, kind in fields.items() if isinstance(kind, list)}

    def zeros(self, shape=()):
        """Return an array of records, all fields 0."""
        return np.zeros(shape, self.dtype)

    def offset(self, field: str) -> int:
        """Return where a field starts, in bytes."""
        return self.dtype.fields[field][1]

    def numba_type(self, field: str):
        """Return the Numba type of a field; None if there is no such field."""
        kind = self.fields.get(field)
        if isinstance(kind, list):
            return Span(_numba_type_of(kind[0]))
        return None if kind is None else _numba_type_of(kind)


def _dtype_of(kind):
    if isinstance(kind, list):
        return _ARRAY
    return kind.dtype if isinstance(kind, Layout) else np.dtype(kind)


def _numba_type_of(kind):
    return kind.type if isinstance(kind, Layout) else numba.from_dtype(np.dtype(kind))


def set_array(layout: Layout, record: np.ndarray, field: str, array: np.ndarray) -> None:
    """Set a field to an array in one piece, which the caller keeps alive.

    Raises
    ------
    TypeError
        If the array's elements are not those of the field, or lie apart.
    """
    want = layout.elements[field]
    if array.dtype != want or not array.flags.c_contiguous:
        raise TypeError(f"{field} must be a contiguous array of {want}, got {array.dtype}, strides {array.strides}")
    record[field] = array.__array_interface__["data"][0], array.size  # `array.ctypes` takes twice as long


class _View:
    """What a Record is under NUMBA_DISABLE_JIT=1."""

    def __init__(self, layout: Layout, address: int):
        memory = (ctypes.c_char * layout.dtype.itemsize).from_address(int(address))
        self.__dict__.update(_layout=layout, _address=address, _record=np.frombuffer(memory, layout.dtype)[0])

    def __getattr__(self, field):
        kind, value = self._layout.fields[field], self._record[field]
        if isinstance(kind, Layout):
            return _View(kind, self._address + self._layout.offset(field))
        if not isinstance(kind, list):
            return value
        if isinstance(kind[0], Layout):
            return _Views(kind[0], value["address"], value["size"])
        return array_at(kind[0], value["address"], value["size"])

    def __setattr__(self, field, value):
        if field not in self._layout.fields:
            raise AttributeError(field)
        self._record[field] = value


class _Views:
    """An array of records under NUMBA_DISABLE_JIT=1."""

    def __init__(self, layout: Layout, address: int, size: int):
        self.layout, self.address, self.size = layout, address, size

    def __getitem__(self, i):
        return _View(self.layout, self.address + i * self.layout.dtype.itemsize)


def make_record_at(layout: Layout):
    """Return the function for kernels that gives the record of this layout at an address."""

    @operation(lambda address: _View(layout, address))
    def record_at(typingctx, address):
        return layout.type(types.intp), lambda context, builder, signature, args: args[0]

    return record_at


@register_model(Record)
class _RecordModel(models.PrimitiveModel):
    """A record is its address."""

    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, I64)


@infer_getattr
class _RecordAttributes(AttributeTemplate):
    key = Record

    def generic_resolve(self, record, field):
        return record.layout.numba_type(field)


def _emit_pointer(context, builder, record, address, field):
    """Address of a number"""
    number = context.get_value_type(record.layout.numba_type(field))
    return builder.inttoptr(builder.add(address, I64(record.layout.offset(field))), number.as_pointer())


@lower_getattr_generic(Record)
def _get_field(context, builder, record, address, field):
    result = record.layout.numba_type(field)
    start = builder.add(address, I64(record.layout.offset(field)))
    if isinstance(result, Record):
        return start
    if not isinstance(result, Span):
        return builder.load(_emit_pointer(context, builder, record, address, field))
    span = numba.core.cgutils.create_struct_proxy(result)(context, builder)
    pair = builder.inttoptr(start, I64.as_pointer())
    span.data = builder.inttoptr(builder.load(pair), span.data.type)
    span.size = builder.load(builder.gep(pair, [I64(1)]))
    return span._getvalue()


@lower_setattr_generic(Record)
def _set_field(context, builder, signature, args, field):
    record = signature.args[0]
    if not isinstance(record.layout.numba_type(field), types.Number):
        raise NotImplementedError(f"kernels set numbers only, not {field}")
    builder.store(args[1], _emit_pointer(context, builder, record, args[0], field))
