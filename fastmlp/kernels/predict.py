"""Outputs turned into probabilities."""

from fastmlp.kernels.dense import Matrix
from fastmlp.kernels.jit import kernel
from fastmlp.kernels.losses import NOTEBOOK, batch_softmax, softmax
from fastmlp.kernels.vector import PANEL


@kernel
def probabilities(outputs, row, n, n_classes, loss):
    """outputs = their softmax, in place

    outputs  (n, n_classes)   flat, rows `row` apart; rows are read and written in whole vectors
    """
    matrix = Matrix(0, PANEL, row, n, n_classes)
    if loss == NOTEBOOK:
        batch_softmax(outputs, matrix)
    else:
        softmax(outputs, matrix, 0, n)
