"""`read`: a data set from a file or a folder, in whichever format it is."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from fastmlp.datasets import images, tables
from fastmlp.datasets.array_files import array_folder, read_array_folder, read_npz, read_pair
from fastmlp.datasets.dataset import Dataset
from fastmlp.datasets.svmlight import read_svmlight

_KNOWN = (
    "IDX, .npz, .npy, .csv, .tsv, .parquet and svmlight files, and folders of IDX files like MNIST's, of .npy files, "
    "or with one sub-folder of images per class"
)
_SVMLIGHT_LINE = re.compile(rb"\s*[^\s:,;]+(\s+qid:\d+)?(\s+\d+:[-+.\deEinfa]+)+\s*(#.*)?$")
_SVMLIGHT_SUFFIXES = (".svm", ".svmlight", ".libsvm")


def read(
    path: str | os.PathLike,
    target: str | int | None = None,
    *,
    labelled: bool = True,
    ignore: Iterable[str | int] = (),
    header: bool | None = None,
    size: tuple[int, int] | None = None,
    color: bool | None = None,
    prepare: Callable[[np.ndarray], np.ndarray] | None = None,
    n_features: int | None = None,
) -> Dataset:
    """Read samples and their labels or targets from a file or a folder.

    Parameters
    ----------
    path : str or path
        One of these, told apart by name or, where that says nothing, by content:

        - a folder of IDX files, plain or compressed, with the names that MNIST's and Fashion-MNIST's have; or an IDX
          file of samples;
        - a ``.npz`` file of arrays named x and y, or x_train, y_train, x_test, y_test; or images and labels;
        - a ``.npy`` file of samples, or a folder of ``.npy`` files named like the arrays of a ``.npz`` file;
        - a table: ``.csv``, ``.tsv`` (both also ``.gz``) or ``.parquet``, which needs pandas or Polars;
        - an svmlight file, which needs scikit-learn;
        - an image, a folder with one sub-folder of images per class, or one with these in ``train`` and ``test``; which
          needs Pillow.
    target : str or int, optional
        Column of the target in a table, by name or number (from 0; -1 is the last), which a table needs; name of the
        labels in a ``.npz`` file; or file of the labels of an IDX or ``.npy`` file.
    labelled : bool
        Whether labels or targets are needed.
    ignore : iterable of str or int
        Columns of a table to leave out.
    header : bool, optional
        Whether the first line of a CSV file has the names of the columns.  By default it must, and it is an error if it
        looks like data.
    size : (width, height), optional
        Size to resize images to.  Without it all of them must have one size.
    color : bool, optional
        Whether images have red, green and blue pixels, or gray ones.  By default they are gray if all of them are.
    prepare : function, optional
        Makes an image (height, width) or (height, width, channels) into a row of uint8, in place of the two above.
    n_features : int, optional
        Number of features of an svmlight file, which does not hold it.

    Returns
    -------
    Dataset
        A record with ``x``, ``y``, ``kind``, ``names`` (of columns) and more.

    Raises
    ------
    ValueError, TypeError
        If the file is damaged, is of no known format, or does not hold what is needed; the message names the file, and
        the column or row.
    OSError
        If a file can't be read.
    ImportError
        If a package is missing that reads this format.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path, target, labelled, size, color, prepare)
    kind = _kind(path)
    if kind == "table":
        return tables.read_table(path, target, labelled, ignore, header)
    if kind == "npz":
        return read_npz(path, _name(target), labelled)
    if kind in ("idx", "npy"):
        return read_pair(path, _name(target), labelled, kind)
    if kind == "svmlight":
        return read_svmlight(path, n_features)
    if labelled:
        raise ValueError(
            f"{path} is one image, which has no label; pass a folder with one sub-folder of images per class"
        )
    return images.read_images([path], size, color, prepare)


def _name(target: str | int | None) -> str | None:
    return None if target is None else str(target)


def _read_folder(path: Path, target, labelled: bool, size, color, prepare) -> Dataset:
    found = array_folder(path)
    if found is None and not any(images.is_image(file) or file.is_dir() for file in path.iterdir()):
        raise ValueError(f"{path} holds no data set; what can be read are {_KNOWN}")
    if target is not None:
        raise ValueError(f"target must not be given for the folder {path}, whose labels are known; got {target!r}")
    if found is not None:
        return read_array_folder(path, *found, labelled)
    return images.read_image_folder(path, labelled, size, color, prepare)


def _kind(path: Path) -> str:
    """Return the format of a file, by its name, or else by how it begins."""
    name = path.name.lower()
    with open(path, "rb") as file:  # raises the OS's own error if it can't be read
        start = file.read(1 << 16)
    if tables.is_table(path):
        return "table"
    if images.is_image(path):
        return "images"
    if name.endswith((".npz", ".npy")):
        return name[-3:]
    if name.removesuffix(".gz").removesuffix(".bz2").endswith(_SVMLIGHT_SUFFIXES):
        return "svmlight"
    if name.endswith(".gz"):
        start = _unpacked(path)
    if start[:2] == b"\0\0" and len(start) > 3 and start[2] in range(8, 15):
        return "idx"
    if re.search(r"idx\d-ubyte(\.gz)?$", name):  # damaged, which its reader says
        return "idx"
    magic: dict[str, tuple[bytes, ...]] = {"npy": (b"\x93NUMPY",), "images": (b"\x89PNG", b"\xff\xd8\xff")}
    for kind, starts in magic.items():
        if start.startswith(starts):
            return kind
    lines = [line for line in start.splitlines()[:2] if line.strip() and not line.startswith(b"#")]
    if lines and _SVMLIGHT_LINE.match(lines[0]):
        return "svmlight"
    raise ValueError(f"{path} is not a data set that can be read; these are {_KNOWN}")


def _unpacked(path: Path) -> bytes:
    """Return how a gzip file begins once it is unpacked; nothing if it is damaged."""
    try:
        with gzip.open(path) as file:
            return file.read(1 << 16)
    except (OSError, EOFError, zlib.error):
        return b""
