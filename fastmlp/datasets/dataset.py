"""The record that every reader returns."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Dataset(NamedTuple):
    """Samples as they were read from a file or a folder.

    Attributes
    ----------
    x : ndarray, memmap, data frame or CSR matrix (n_samples, n_features)
    y : ndarray (n_samples,) or (n_samples, n_outputs), or None
        Labels or targets; None if there are none.
    kind : str
        "idx", "npz", "npy", "table", "svmlight" or "images".
    names : list of str or None
        Columns of `x`, if it is a data frame.
    target : str or None
        Name of the column that `y` was, if the data are a table.
    files : list of str or None
        The file of each sample, if they are images.
    image_shape : tuple of int or None
        (height, width) or (height, width, 3) of a sample, if the samples are images.
    validation, test : (x, y) or None
        Further samples that were found beside those to train on.
    """

    x: Any
    y: Any
    kind: str
    names: list[str] | None = None
    target: str | None = None
    files: list[str] | None = None
    image_shape: tuple[int, ...] | None = None
    validation: tuple[Any, Any] | None = None
    test: tuple[Any, Any] | None = None


def as_rows(x: np.ndarray, source: str) -> tuple[np.ndarray, tuple[int, ...] | None]:
    """Return `x` as (n_samples, n_features), and the shape of an image if its samples have two or three dimensions."""
    if x.ndim < 2:
        raise ValueError(f"{source} must hold samples in rows, (n_samples, n_features), got the shape {x.shape}")
    if x.ndim == 2:
        return x, None
    shape = x.shape[1:]
    is_image = len(shape) == 2 or (len(shape) == 3 and shape[-1] == 3)
    return x.reshape(len(x), -1), shape if is_image else None


def as_targets(y: np.ndarray, n_samples: int, source: str) -> np.ndarray:
    """Return `y` without a second dimension of size 1, after checking its length."""
    if y.ndim not in (1, 2):
        raise ValueError(f"{source} must have the shape (n_samples,) or (n_samples, n_outputs), got {y.shape}")
    if len(y) != n_samples:
        raise ValueError(f"{source} must have a label for each of {n_samples} samples, got {len(y)}")
    return y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
