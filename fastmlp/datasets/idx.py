"""IDX files, the format of MNIST: big-endian; two zero bytes, a type byte, the number of dimensions, then one 32-bit
size per dimension, then the data in C order."""

from __future__ import annotations

import gzip
import os

import numpy as np

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def load_idx(path: str | os.PathLike) -> np.ndarray:
    """Read an IDX file, compressed with gzip if its name ends in ``.gz``.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    ndarray
        In native byte order.

    Raises
    ------
    ValueError
        If it is not an IDX file, or is cut short.
    """
    with (gzip.open if os.fspath(path).endswith(".gz") else open)(path, "rb") as file:
        head = file.read(4)
        if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _DTYPES:
            raise ValueError(f"{os.fspath(path)} is not an IDX file: it starts with {head!r}")
        shape = tuple(np.frombuffer(file.read(4 * head[3]), ">u4").astype(int))
        array = np.empty(shape, _DTYPES[head[2]])
        try:
            n_read = file.readinto(array.reshape(-1).view(np.uint8).data)
        except EOFError:  # gzip's way to say that the file ends early
            n_read = -1
        if len(shape) != head[3] or n_read != array.nbytes:
            raise ValueError(f"{os.fspath(path)} is cut short: it should hold {array.nbytes} bytes of data")
    return array.astype(array.dtype.newbyteorder("="), copy=False)
