"""Prediction and evaluation in parts, by an executor, and what a loss makes of the last layer's outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.data.arrays import is_csr
from fastmlp.data.targets import slice_targets
from fastmlp.engine.executor import Executor
from fastmlp.engine.workspace import padded_outputs
from fastmlp.kernels.ops.dense import Matrix
from fastmlp.kernels.simd.processors import PANEL
from fastmlp.kernels.step.record import Targets
from fastmlp.losses import OUTPUTS, output_of

# Samples per step of prediction: their activations in one panel take 32 KB, which fits into the first-level cache.
CHUNK = 128
# Samples copied as bytes at a time for the sparse kernels: a few MB, which fit into the last-level cache.
SLICE = 32 * CHUNK


def compute_outputs(executor: Executor, x, input_scale: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the outputs of the last layer: a flat array with padded rows, and a view of it as (n, n_out)."""
    n_samples = x.shape[0]
    flat, outputs = padded_outputs(n_samples, executor.parameters.widths[-1])
    row = len(flat) // n_samples
    for part, rows in _parts(x, SLICE):
        executor.set_data(rows, input_scale, sparse=_sparse(x), repeated=False)
        executor.predict(part.stop - part.start, flat[part.start * row :])
    return flat, outputs


def compute_totals(executor: Executor, x, targets: Targets, input_scale: Any, whole: bool) -> np.ndarray:
    """Return sums (3,) over the samples, as `Executor.evaluate` does; `whole`: as a single batch."""
    total, n_outputs = np.zeros(3), executor.parameters.widths[-1]
    for part, rows in _parts(x, x.shape[0] if whole else SLICE):
        executor.set_data(rows, input_scale, slice_targets(targets, part, n_outputs), _sparse(x), repeated=False)
        total += executor.evaluate(part.stop - part.start)
    return total


def _sparse(x) -> bool | None:
    """Return `sparse` for `Executor.set_data`: False for few samples, whose weights are not packed."""
    return None if is_csr(x) or x.shape[0] >= CHUNK else False


def _parts(x, size: int):
    """Split `x` into pairs of a slice of `size` samples and its rows, so that the sparse kernels' copy stays small.

    A CSR matrix is not copied, and stays in one part.
    """
    n = x.shape[0]
    if is_csr(x):
        return [(slice(0, n), x)]
    slices = [slice(start, min(start + size, n)) for start in range(0, n, size)]
    return [(part, x[part]) for part in slices]


def to_probabilities(loss: str, flat: np.ndarray, outputs: np.ndarray) -> None:
    """Turn the results of `compute_outputs` into probabilities, in place."""
    convert = OUTPUTS[output_of(loss)].to_probabilities
    if convert is None:
        raise ValueError(f"the loss {loss!r} must have probabilities, got the output {output_of(loss)!r}")
    convert(flat, _matrix(flat, outputs))


def to_predictions(loss: str, classes: np.ndarray | None, flat: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Return labels, or outputs of a regression, from the results of `compute_outputs`, which are overwritten."""
    output = OUTPUTS[output_of(loss)]
    if output.to_predictions is not None:
        return output.to_predictions(outputs)
    if classes is None:
        raise ValueError(f"a model with the loss {loss!r} must have classes, got None")
    if output.whole_batch:  # the largest sum in a row need not be its largest probability
        to_probabilities(loss, flat, outputs)
    return classes[outputs.argmax(axis=1)]


def _matrix(flat: np.ndarray, outputs: np.ndarray) -> Matrix:
    """Return a description of padded outputs for the kernels."""
    return Matrix(0, int(PANEL), len(flat) // len(outputs), *outputs.shape)
