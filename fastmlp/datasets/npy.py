"""NPY files, NumPy's format of one array."""

from __future__ import annotations

import os

import numpy as np
from numpy.lib.format import open_memmap


def load_npy(path: str | os.PathLike) -> np.memmap:
    """Open a ``.npy`` file without reading its data into memory.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    memmap
        Read-only.

    Raises
    ------
    ValueError
        If it is not an NPY file, is cut short, or holds Python objects.
    OSError
        If it can't be read.
    """
    path = os.fspath(path)
    with open(path, "rb") as file:
        head = file.read(12)
        # from version 2 on, the header may claim to have up to 4 GB, which NumPy would ask memory for
        if head[6:7] > b"\1" and int.from_bytes(head[8:], "little") > os.fstat(file.fileno()).st_size:
            raise ValueError(f"{path} is not a .npy file, or is cut short: its header is longer than the file")
    try:
        return open_memmap(path, mode="r")
    except OSError:
        raise
    except Exception as error:  # the header is Python code, and NumPy passes on most errors of its parser
        raise ValueError(f"{path} is not a .npy file of numbers, or is cut short: {error}") from None
