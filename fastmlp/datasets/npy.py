"""Reader of NPY files, NumPy's format for one array."""

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
        The array, read-only.

    Raises
    ------
    ValueError
        If the file is not an NPY file, is truncated, or holds Python objects.
    OSError
        If the file can't be read.
    """
    path = os.fspath(path)
    with open(path, "rb") as file:
        head = file.read(12)
        # from version 2 on, the header may claim a size of up to 4 GB, which NumPy would allocate
        if head[6:7] > b"\1" and int.from_bytes(head[8:], "little") > os.fstat(file.fileno()).st_size:
            raise ValueError(f"{path} is not a .npy file, or is cut short: its header is longer than the file")
    try:
        return open_memmap(path, mode="r")
    except OSError:
        raise
    except Exception as error:  # the header is Python code, and NumPy lets most errors of its parser through
        raise ValueError(f"{path} is not a .npy file of numbers, or is cut short: {error}") from None
