"""Readers of data sets in array files: pairs of IDX or .npy files, folders of them, and .npz files."""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path

import numpy as np

from fastmlp.datasets.dataset import Dataset, as_rows, as_targets
from fastmlp.datasets.idx import load_idx
from fastmlp.datasets.npy import load_npy

_SAMPLES = ("x", "images", "image", "data", "features", "inputs")
_TARGETS = ("y", "labels", "label", "targets", "target")
_PARTS = {
    "": "", "train": "train", "training": "train", "t10k": "test", "test": "test", "testing": "test",
    "val": "validation", "valid": "validation", "validation": "validation",
}  # fmt: skip


def _role(name: str) -> tuple[str, str] | None:
    """Return what an array is by its name: ("x" or "y", part), such as ("y", "test") for "test_labels"."""
    words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
    word = "".join(words)
    for role, names in (("x", _SAMPLES), ("y", _TARGETS)):
        for known in names:
            for part, meaning in _PARTS.items():
                if word in (known + part, part + known):
                    return role, meaning
    return None


def read_npz(path: Path, target: str | None, labelled: bool) -> Dataset:
    """Read arrays named x and y, or x_train, y_train, x_test and so on; `target` is the name of y."""
    arrays = _npz_arrays(path)
    held = ", ".join(f"{name!r} {array.shape}" for name, array in arrays.items()) or "nothing"
    found: dict[tuple[str, str], str] = {}
    for name in arrays:
        role = _role(name)
        if role is not None:
            if role in found:
                raise ValueError(f"{path} holds {found[role]!r} and {name!r}, which may both be {role[0]}: {held}")
            found[role] = name
    part = "train" if ("x", "train") in found else ""
    if target is not None:
        if target not in arrays:
            raise ValueError(f"target must be one of the arrays in {path}, {held}, got {target!r}")
        found = {role: name for role, name in found.items() if name != target} | {("y", part): target}
    if ("x", part) not in found or (labelled and ("y", part) not in found):
        wanted = "x and y, or x_train and y_train" if labelled else "x"
        raise ValueError(f"{path} must hold {wanted}, got {held}")
    return _dataset({role: (f"{path}: {name}", arrays[name]) for role, name in found.items()}, part, "npz")


def _npz_arrays(path: Path) -> dict[str, np.ndarray]:
    with open(path, "rb") as opened:  # NumPy would leave damaged files open
        try:
            with np.load(opened, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, KeyError) as error:
            raise ValueError(f"{path} is not a .npz file of numbers and strings, or is cut short: {error}") from None
        except (AttributeError, TypeError):  # one array, of a .npy file
            raise ValueError(f"{path} is not a .npz file but a .npy file") from None


def _dataset(arrays: dict[tuple[str, str], tuple[str, np.ndarray]], part: str, kind: str) -> Dataset:
    """Return the data set of named arrays by role and part, whose samples to train on are those of `part`."""
    x, y, image_shape = _part(arrays, part)
    more = {
        which: _part(arrays, which)[:2]
        for which in ("validation", "test")
        if which != part and {("x", which), ("y", which)} <= arrays.keys()
    }
    return Dataset(x, y, kind, image_shape=image_shape, validation=more.get("validation"), test=more.get("test"))


def _part(arrays: dict[tuple[str, str], tuple[str, np.ndarray]], part: str) -> tuple:
    """Return x, y and the shape of an image of one part of the arrays; y is None if there is none."""
    source, array = arrays["x", part]
    x, image_shape = as_rows(array, source)
    if ("y", part) not in arrays:
        return x, None, image_shape
    source, y = arrays["y", part]
    return x, as_targets(y, len(x), source), image_shape


def read_pair(path: Path, target: str | None, labelled: bool, kind: str) -> Dataset:
    """Read an IDX or .npy file of samples, and the file of its labels: `target`, or the one whose name fits."""
    load = load_idx if kind == "idx" else load_npy
    arrays: dict[tuple[str, str], tuple[str, np.ndarray]] = {("x", ""): (str(path), load(path))}
    labels = Path(target) if target is not None else _labels_of(path)
    if labels is not None and (target is not None or labels.exists()):
        if not labels.exists():
            raise FileNotFoundError(f"target must be the file of the labels of {path}, but there is no {labels}")
        arrays["y", ""] = str(labels), (load_npy if labels.suffix == ".npy" else load_idx)(labels)
    elif labelled:
        guess = "" if labels is None else f"; there is no {labels}"
        raise ValueError(f"target must be the file of the labels of {path}{guess}")
    return _dataset(arrays, "", kind)


def _labels_of(path: Path) -> Path | None:
    """Return where the labels of a file of samples would be, by its name."""
    name = path.name
    for samples, labels in (("images", "labels"), ("features", "labels"), ("inputs", "targets"), ("data", "labels")):
        if samples in name:
            return path.with_name(re.sub(r"idx\d", "idx1", name.replace(samples, labels)))
    match = re.fullmatch(r"(.*[^A-Za-z])?([xX])([^A-Za-z].*)", name)
    if match is None:
        return None
    y = "y" if match[2] == "x" else "Y"
    names = [f"{match[1] or ''}{letter}{match[3]}" for letter in (y, "y")]  # X_train.npy beside y_train.npy
    return next((path.with_name(name) for name in names if path.with_name(name).exists()), path.with_name(names[0]))


_IDX = re.compile(r"(?P<name>.*)[-.]idx\d-ubyte(\.gz)?$")


def array_folder(path: Path) -> tuple[str, dict[tuple[str, str], Path]] | None:
    """Return the kind and the files, by role and part, of a folder of IDX files like MNIST's, or of .npy files."""
    for kind in ("idx", "npy"):
        found: dict[tuple[str, str], Path] = {}
        for file in sorted(path.iterdir()):
            match = _IDX.match(file.name)
            name = match["name"] if match else file.stem
            role = _role(name) if (match is not None if kind == "idx" else file.suffix == ".npy") else None
            if role is None:
                continue
            # the same file may be there plain and compressed
            if role in found and found[role].name.removesuffix(".gz") != file.name.removesuffix(".gz"):
                raise ValueError(f"{path} holds {found[role].name} and {file.name}, of which one must be chosen")
            found.setdefault(role, file)
        if any(role == "x" for role, _ in found):
            return kind, found
    return None


def read_array_folder(path: Path, kind: str, files: dict[tuple[str, str], Path], labelled: bool) -> Dataset:
    """Read the files that `array_folder` found."""
    load = load_idx if kind == "idx" else load_npy
    part = "train" if ("x", "train") in files else ""
    if ("x", part) not in files:  # there are only those to test with
        part = next(which for role, which in files if role == "x")
    if labelled and ("y", part) not in files:
        raise ValueError(f"{path} holds no labels for {files['x', part].name}, such as {_labels_of(files['x', part])}")
    return _dataset({role: (str(file), load(file)) for role, file in files.items()}, part, kind)
