"""What tests share: matrices in panels amid NaN, one tolerance for sums of products, optional libraries."""

import importlib
import os
from types import ModuleType

import numpy as np
import pytest
import scipy.sparse

from fastmlp.kernels.ops.dense import Matrix
from fastmlp.kernels.simd.processors import NARROW, PANEL, ROWS
from fastmlp.memory import aligned_zeros, round_up

# Libraries whose tests must not be skipped, separated by commas.
REQUIRED = frozenset(filter(None, os.environ.get("FASTMLP_REQUIRE", "").split(",")))

EPS = np.finfo(np.float32).eps


def import_or_skip(name: str) -> ModuleType:
    """Import a library; skip the test if it is absent, unless FASTMLP_REQUIRE lists its package."""
    if name.partition(".")[0] in REQUIRED:
        return importlib.import_module(name)
    return pytest.importorskip(name)


def close(got, x, w, bias=0.0):
    """Whether `got` is x @ w + bias up to float32's rounding of a sum of K + 1 terms."""
    x, w = np.asarray(x, np.float64), np.asarray(w, np.float64)
    bound = (x.shape[1] + 1) * EPS * (np.abs(x) @ np.abs(w) + np.abs(bias))
    return np.all(np.abs(got - (x @ w + bias)) <= bound)


class Memory:
    """A flat array of NaN, in which matrices are laid out one after the other."""

    def __init__(self, size=400_000):
        self.array = aligned_zeros(size)
        self.array[:] = np.nan
        self.used = 0

    def take(self, size):
        start, self.used = self.used, self.used + round_up(int(size), int(NARROW))
        assert self.used <= self.array.size
        return start

    def panels(self, values, rows=None):
        """Put a matrix into panels; it has room for whole tiles of rows and for PANEL columns in each panel."""
        n, columns = values.shape
        capacity = round_up(max(n, rows or 0), 16)
        panel = capacity * int(PANEL)
        start = self.take(-(-columns // int(PANEL)) * panel)
        matrix = Matrix(start, panel, int(PANEL), n, columns)
        for j in range(columns):
            self.array[self.column(matrix, j)] = values[:, j]
        return matrix

    @staticmethod
    def column(matrix, j):
        start = matrix.start + j // int(PANEL) * matrix.panel + j % int(PANEL)
        return start + np.arange(matrix.rows) * matrix.row

    def read(self, matrix):
        return read(self.array, matrix)

    def vector(self, values, room=64):
        start = self.take(round_up(len(values), room))
        self.array[start : start + round_up(len(values), room)] = 0
        self.array[start : start + len(values)] = values
        return start


def read(array, matrix):
    """The elements of a matrix that lies in a flat array."""
    return np.stack([array[Memory.column(matrix, j)] for j in range(matrix.columns)], axis=1)


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


# around the height and the widths of a tile, and the width of a panel
SIZES = sorted({1, 2, int(ROWS) - 1, int(ROWS), int(ROWS) + 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 129})


# Forms of the same data, and the input paths that read them.
FORMS = {
    "dense": "dense",
    "grouped": "grouped sparse",
    "grouped csr": "grouped sparse",
    "sparse": "sparse",
    "sparse csr": "sparse",
}


def set_form(run, form, x, input_scale, targets=None):
    """Give a run data in one of FORMS, whatever its batch size."""
    data = scipy.sparse.csr_matrix(x) if form.endswith("csr") else x
    run.set_data(data, input_scale, targets, input_path=FORMS[form])
    assert run.input_path == FORMS[form]


class Script:
    """A callback that puts values of our own into the history, before the callbacks behind it."""

    def __init__(self, name, values):
        self.name, self.values = name, values

    def on_epoch_end(self, model):
        model.history[self.name][-1] = self.values[len(model.history[self.name]) - 1]
