"""CSR matrices whose input scale has an offset, so that zeros are not zero after scaling."""

from __future__ import annotations

import os

import numpy as np

from fastmlp.data.arrays import row_dtype
from fastmlp.data.scaling import InputScale
from fastmlp.data.targets import take_targets
from fastmlp.kernels.step.record import Targets

# Summing x * factor instead of (x - offset) * factor loses as many digits as offset * factor has before the point.
MOST_DEVIATIONS = 16.0
WINDOW_BYTES = 1 << 26


def folds(scale: InputScale) -> bool:
    """Return whether the offset can be folded into the bias without losing too many digits of float32."""
    return bool(np.abs(scale.offset * scale.factor).max() <= MOST_DEVIATIONS)


class DenseWindows:
    """Samples of a CSR matrix as dense arrays, one window at a time.

    Parameters
    ----------
    x : CSR matrix
        Checked.
    input_scale : InputScale
    targets : Targets, optional
    """

    def __init__(self, x, input_scale: InputScale, targets: Targets | None):
        self.x, self.input_scale, self.targets = x, input_scale, targets
        self.row_bytes = x.shape[1] * row_dtype(x.dtype).itemsize

    def size(self, batch_size: int, whole_batches: bool) -> int:
        """Return the number of samples per window: as many batches as fit into WINDOW_BYTES.

        It is less than a batch if that does not fit and `whole_batches` is False.

        Raises
        ------
        ValueError
            If a whole batch does not fit into memory.
        """
        rows = max(1, WINDOW_BYTES // self.row_bytes)
        if rows >= batch_size:
            return rows // batch_size * batch_size
        if not whole_batches:
            return rows
        # the window and the float32 copy of a batch in the kernels
        needed = batch_size * (self.row_bytes + 4 * self.x.shape[1])
        if needed > _memory():
            raise ValueError(
                "x is a sparse matrix whose input_scale has an offset, so its batches have to be made dense: "
                f"{batch_size} samples of {self.x.shape[1]} features take {needed / 1e9:.3g} GB, more than there is; "
                "use a smaller batch_size, or an input_scale without an offset"
            )
        return batch_size

    def take(self, samples: np.ndarray, n_outputs: int) -> tuple[np.ndarray, Targets | None]:
        """Return some samples as a dense array (n, n_features), and their targets."""
        part = self.x[samples]
        dense = np.zeros(part.shape, row_dtype(part.dtype))
        dense[np.repeat(np.arange(len(samples)), np.diff(part.indptr)), part.indices] = part.data
        return dense, None if self.targets is None else take_targets(self.targets, samples, n_outputs)


def _memory() -> float:
    """Return the size of the machine's memory in bytes, or infinity if it is unknown."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return float("inf")
