"""Prediction of one sample, without anything that a call does not need."""

from __future__ import annotations

import numpy as np

from fastmlp.data.scaling import RobustScale
from fastmlp.engine.bounds import call_checked
from fastmlp.engine.executor import Executor
from fastmlp.engine.workspace import padded_outputs
from fastmlp.kernels.step import epoch

_LARGEST = float(np.finfo(np.float32).max)
_NO_RECORDS = np.zeros((0, 3))


class SingleRow:
    """Predicts one sample at a time: everything is prepared but the sample itself.

    Parameters
    ----------
    run : Executor
        For batches of one sample, on the parameters themselves.
    dtype : dtype
        Of the samples.
    """

    def __init__(self, run: Executor, dtype: np.dtype, input_scale):
        n_features, n_outputs = run.parameters.widths[0], run.parameters.widths[-1]
        self.run, self.given, self.lock = run, np.zeros((1, n_features), dtype), run.parameters.lock
        self.x, self.robust = self.given, None
        if isinstance(input_scale, RobustScale):
            self.x, self.robust, input_scale = self.given.astype(np.float32), input_scale, 1.0
        self.n_outputs, self.flat = n_outputs, padded_outputs(1, n_outputs)[0]
        run.set_data(self.x, input_scale)
        run.predict(1, self.flat)
        self.order = np.zeros(1, np.int64)
        run._point("samples", self.order)
        self.arguments = run.record.ctypes.data, 0, 1, np.zeros(1, np.float32), _NO_RECORDS, self.flat

    def predict(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Return copies as `compute_outputs` does; None if `x` may hold a number that is not finite."""
        with self.lock.alone():  # kernels release the GIL, and there is one place for the sample
            self.given[...] = x
            if self.given.dtype.kind == "f" and not abs(self.given).max() <= _LARGEST:
                return None
            if self.robust is not None:
                self.x[...] = self.robust.apply(self.given)
            call_checked(epoch.train_steps, *self.arguments)
            flat = self.flat.copy()
        return flat, flat[None, : self.n_outputs]
