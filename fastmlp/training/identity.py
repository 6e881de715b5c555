"""The identity of a training run: all arguments of `fastmlp.train` that affect its result, as JSON types."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import re
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fastmlp.data.arrays import is_csr
from fastmlp.data.frames import MAX_LEVELS

# Arguments that may differ when a run is resumed: they affect its speed, its reports and its length.
IRRELEVANT = frozenset({"callbacks", "checkpoint", "communicator", "epochs", "progress", "sparse", "threads"})
# Arguments that the first version did not have, with their defaults.  These are left out, so that its checkpoints can
# be resumed.
ADDED = {
    "average_every": 1,
    "missing": "indicator",
    "max_levels": MAX_LEVELS,
    "samples": None,
    "weight_rate_factors": None,
    "bias_rate_factor": 1.0,
    "scale_rate_factor": None,
    "ema_decay": 0.0,
}

_CHUNK = 1 << 20  # numbers converted at a time
_STREAM_ROWS = 50  # rows sampled from a stream, which is too large to be read as a whole


def identity(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the arguments of `fastmlp.train` by name, except those that do not affect its result."""
    return {
        name: describe(value)
        for name, value in arguments.items()
        if name not in IRRELEVANT and not (name in ADDED and describe(value) == ADDED[name])
    }


def describe(value) -> Any:
    """Return a description of `value` in JSON types, the same in every process, and different for different values.

    Arrays, data frames and sparse matrices become checksums of all their numbers.  Functions are described by their
    names, constants and defaults, objects by their public attributes.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return describe(value.item())
    if isinstance(value, bytes):
        return f"bytes {value.hex()}"
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if is_csr(value):
        return _describe_csr(value)
    if hasattr(value, "windows"):  # a stream
        rows = np.unique(np.linspace(0, value.shape[0] - 1, _STREAM_ROWS).astype(np.int64))
        return [*value.shape, str(value.dtype), *(_checksum(value.rows(int(i), int(i) + 1), value.dtype) for i in rows)]
    if hasattr(value, "weights") and hasattr(value, "biases"):  # a model to start from
        return {"weights": describe(value.weights), "biases": describe(value.biases)}
    if isinstance(value, np.ndarray) or hasattr(value, "__array__"):
        return _describe_array(np.asarray(value))
    if isinstance(value, Mapping):
        return [[describe(key), describe(each)] for key, each in value.items()]
    if isinstance(value, (list, tuple)):
        return _describe_list(value)
    return _describe_object(value)


def _describe_list(values: list | tuple) -> Any:
    """Describe long lists of numbers or strings like arrays, and keep short ones, such as widths, readable."""
    if len(values) > 20 and not hasattr(values[0], "__array__"):
        with contextlib.suppress(ValueError):  # elements of unequal lengths
            return _describe_array(np.asarray(values))
    return [describe(each) for each in values]


def _describe_array(array: np.ndarray) -> str:
    kind = array.dtype.kind
    if kind == "O":
        array, kind = array.astype(str), "U"
    if kind in "SU":  # as wide as the longest string
        array = np.char.encode(array, "utf-8") if kind == "U" else array
        dtype = np.dtype(f"S{max(1, int(np.char.str_len(array).max(initial=0)))}")
    else:  # the width of integers does not matter
        dtype = np.dtype(np.float64 if kind == "f" else np.int64 if kind in "bi" else array.dtype.newbyteorder("="))
    return f"{'x'.join(map(str, array.shape))} {dtype.str} {_checksum(array, dtype):08x}"


def _checksum(array: np.ndarray, dtype: np.dtype | type, checksum: int = 0) -> int:
    """Return the CRC-32 of an array, converted to `dtype` in C order, without copying all of it."""
    array = np.atleast_1d(array)
    rows = max(1, _CHUNK // max(1, array[:1].size))
    for start in range(0, len(array), rows):
        checksum = zlib.crc32(array[start : start + rows].astype(dtype).tobytes(), checksum)
    return checksum


def _describe_csr(matrix) -> str:
    matrix = matrix.tocsr()
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    checksum = _checksum(matrix.data[: matrix.nnz], matrix.dtype)
    for part in (matrix.indices[: matrix.nnz], matrix.indptr):  # which may have 32 bits or 64
        checksum = _checksum(part, np.int64, checksum)
    return f"csr {'x'.join(map(str, matrix.shape))} {matrix.dtype.str} {checksum:08x}"


def _describe_object(value) -> Any:
    """Describe an optimizer, a schedule, a function or any other object."""
    name = type(value).__qualname__
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: describe(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"object": name, **fields}
    if isinstance(value, functools.partial):
        parts = (value.func, list(value.args), dict(value.keywords))
        return {"object": name, "parts": [describe(part) for part in parts]}
    if hasattr(value, "__qualname__"):
        return _describe_function(value)
    if hasattr(value, "state_dict"):  # its attributes change during training, and are restored by load_state_dict
        return {"object": name}
    if type(value).__repr__ is not object.__repr__:
        return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
    public = {key: describe(each) for key, each in vars(value).items() if not key.startswith("_")}
    return {"object": name, **public}


def _describe_function(function) -> Any:
    described: dict[str, Any] = {"function": function.__qualname__}
    code = getattr(function, "__code__", None)
    if code is not None:
        described["constants"] = [
            describe(constant)
            for constant in code.co_consts
            if isinstance(constant, (int, float, str, bytes)) and constant != function.__doc__
        ]
        described["names"] = list(code.co_names)
        described["defaults"] = describe(function.__defaults__)
        described["closure"] = _describe_closure(function.__closure__ or ())
    return described


def _describe_closure(cells: Iterable) -> list:
    """Describe the constants in a closure; other objects may change, or refer to the function itself."""
    described = []
    for cell in cells:
        with contextlib.suppress(ValueError):  # an empty cell
            if isinstance(cell.cell_contents, (bool, int, float, str, bytes, np.generic)):
                described.append(describe(cell.cell_contents))
    return described
