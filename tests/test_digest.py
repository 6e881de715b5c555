"""The same seed gives the same weights, bit by bit, on every processor: digests of some that were trained."""

import hashlib

import numpy as np
import pytest
import scipy.sparse
from numba.core import config

import fastmlp
from fastmlp import SGD, Adam

pytestmark = pytest.mark.skipif(config.DISABLE_JIT, reason="NumPy has no fused multiply-add, and other sums")

# By arithmetic, so that the test depends on no generator but that of training.
ROW, COLUMN = np.indices((300, 50))
BYTES = ((ROW * 37 + COLUMN * 101 + ROW * COLUMN) % 256 * ((ROW * 7 + COLUMN * 3 + ROW * COLUMN % 11) % 5 == 0)).astype(
    np.uint8
)
FLOATS = ((ROW * 37 + COLUMN * 101 + ROW * COLUMN * 13) % 499 / 100 - 2.5).astype(np.float32)
LABELS = (FLOATS[:, 3] + FLOATS[:, 5] > 0) + (FLOATS[:, 7] > 1).astype(np.int64)
TARGETS = FLOATS[:, :2] * FLOATS[:, 2:4]

TRAININGS = {
    "bytes": (BYTES, LABELS, {"batch_size": 32}),
    "floats": (FLOATS, LABELS, {"batch_size": 16, "activation": "tanh", "optimizer": SGD(0.9)}),
    "large batches": (FLOATS, LABELS, {"batch_size": 128, "activation": "gelu", "optimizer": Adam()}),
    "single samples": (BYTES, LABELS, {"batch_size": 1, "activation": "sigmoid", "learning_rate": 0.01}),
    "dropout": (FLOATS, LABELS, {"batch_size": 7, "dropout": 0.3, "optimizer": Adam()}),
    "input dropout": (BYTES, LABELS, {"batch_size": 64, "activation": "gelu", "optimizer": SGD(0.9),
                                      "input_dropout": 0.2}),
    "sparse matrix": (scipy.sparse.csr_matrix(FLOATS * (BYTES > 0)), LABELS, {"batch_size": 5, "activation": "tanh",
                                                                             "optimizer": Adam()}),
    "regression": (FLOATS, TARGETS, {"batch_size": 100, "activation": "sigmoid", "optimizer": SGD(0.9)}),
}  # fmt: skip

DIGESTS = {
    "bytes": "0c692c22743f5f64",
    "floats": "879d4053d6ebb0a7",
    "large batches": "ec1149f10f13317c",
    "single samples": "73986bbe1343075e",
    "dropout": "fba545f8a9d4d030",
    "input dropout": "1e0be47821c65c3d",
    "sparse matrix": "bc194d4d83eeedec",
    "regression": "547919a7aa57fb96",
}


def digest_of(model):
    digest = hashlib.sha256()
    for array in model.weights + model.biases:
        assert np.isfinite(array).all()
        digest.update(np.ascontiguousarray(array, "<f4").tobytes())
    return digest.hexdigest()[:16]


@pytest.mark.parametrize("name", TRAININGS)
def test_weights_have_the_same_bits_on_every_processor(name):
    x, y, options = TRAININGS[name]
    model = fastmlp.train(x, y, **{"hidden": (40, 9), "epochs": 2, "seed": 0, "learning_rate": 0.05} | options)
    assert digest_of(model) == DIGESTS[name]
