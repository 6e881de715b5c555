"""Reader of IDX files, the format of MNIST.

A file holds, in big-endian order: two zero bytes, a type byte, the number of dimensions, one 32-bit size per dimension,
and the data in C order.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib

import numpy as np

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST_COMPRESSED = 1032  # deflate compresses by at most this factor


def load_idx(path: str | os.PathLike) -> np.ndarray:
    """Read an IDX file, which is compressed with gzip if its name ends in ``.gz``.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    ndarray
        The data, in native byte order.

    Raises
    ------
    ValueError
        If the file is not an IDX file, or is truncated.
    """
    try:
        return _read(path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{os.fspath(path)} is not a complete gzip file: {error}") from None


def _read(path) -> np.ndarray:
    name = os.fspath(path)
    compressed = name.endswith(".gz")
    with (gzip.open if compressed else open)(path, "rb") as file:
        head = file.read(4)
        if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _DTYPES:
            raise ValueError(f"{name} is not an IDX file: it starts with {head!r}")
        sizes = file.read(4 * head[3])
        if len(sizes) != 4 * head[3]:
            raise ValueError(f"{name} is cut short: it should hold {head[3]} sizes")
        shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
        n_bytes = math.prod(shape) * np.dtype(_DTYPES[head[2]]).itemsize
        size = os.path.getsize(path) if os.path.isfile(path) else math.inf  # unknown for a pipe
        if n_bytes > size * (_MOST_COMPRESSED if compressed else 1):  # before memory is allocated
            raise ValueError(f"{name} is cut short: it should hold {n_bytes} bytes of data")
        try:
            array = np.empty(shape, _DTYPES[head[2]])
        except (ValueError, MemoryError):
            raise ValueError(f"{name} is not an IDX file that fits into memory: its shape is {shape}") from None
        if file.readinto(array.reshape(-1).view(np.uint8).data) != array.nbytes:
            raise ValueError(f"{name} is cut short: it should hold {array.nbytes} bytes of data")
        file.read(1)  # at the end of the file gzip verifies its checksum
    return array.astype(array.dtype.newbyteorder("="), copy=False)
