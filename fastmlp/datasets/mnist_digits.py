"""The handwritten digits of MNIST; the files and their attribution are in ``mnist/``."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path

from fastmlp.datasets.idx import load_idx

FOLDER = Path(__file__).parent / "mnist"

MNIST = namedtuple("MNIST", "x_train y_train x_test y_test")
MNIST.__doc__ = """Images (n, 784) uint8, rows of 28 x 28 pixels from 0 (background) to 255, and labels (n,) uint8."""


def load_mnist() -> MNIST:
    """Load the MNIST database of handwritten digits (LeCun, Cortes and Burges) from files in the package.

    Returns
    -------
    MNIST
        ``x_train`` uint8 (60000, 784), ``y_train`` uint8 (60000,), ``x_test`` uint8 (10000, 784), ``y_test`` (10000,).
    """
    return MNIST(
        load_idx(FOLDER / "train-images-idx3-ubyte.gz").reshape(-1, 784),
        load_idx(FOLDER / "train-labels-idx1-ubyte.gz"),
        load_idx(FOLDER / "t10k-images-idx3-ubyte.gz").reshape(-1, 784),
        load_idx(FOLDER / "t10k-labels-idx1-ubyte.gz"),
    )
