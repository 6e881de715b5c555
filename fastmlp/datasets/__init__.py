"""Data sets: MNIST, which comes with the package, and readers of IDX and NPY files."""

from fastmlp.datasets.idx import load_idx
from fastmlp.datasets.mnist_digits import MNIST, load_mnist
from fastmlp.datasets.npy import load_npy

__all__ = ["MNIST", "load_idx", "load_mnist", "load_npy"]
