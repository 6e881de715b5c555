"""Data sets: MNIST, which comes with the package, and readers of files and folders."""

from fastmlp.datasets.dataset import Dataset
from fastmlp.datasets.idx import load_idx
from fastmlp.datasets.mnist_digits import MNIST, load_mnist
from fastmlp.datasets.npy import load_npy
from fastmlp.datasets.reader import read

__all__ = ["MNIST", "Dataset", "load_idx", "load_mnist", "load_npy", "read"]
