"""A network at work: its memory laid out for the kernels, the data, and the call into compiled code."""

from __future__ import annotations

import threading

import numpy as np

from fastmlp import inputs
from fastmlp.kernels import epoch as kernels
from fastmlp.kernels.epoch import EVALUATE, PREDICT, TRAIN
from fastmlp.kernels.losses import LOSSES
from fastmlp.kernels.optimizers import PLAIN
from fastmlp.kernels.vector import NARROW
from fastmlp.optimizers import SGD
from fastmlp.parameters import Parameters, aligned_zeros, round_up
from fastmlp.threads import team
from fastmlp.workspace import is_finite, network_for, set_table, sparse_lists, unpack

# Arithmetic of one call into compiled code, at most: about half a second on one core, after which Ctrl-C is answered.
FLOP_PER_CALL = 5e10

_LARGEST = float(np.finfo(np.float32).max)
_NO_RECORDS, _NO_OUTPUTS = np.zeros((0, 3)), np.zeros(0, np.float32)


class Run:
    """Trains, evaluates or predicts with `parameters`.

    Parameters
    ----------
    parameters : Parameters
        Kept up to date by `unpack` if `packed`.
    activations : sequence of str
        Of the hidden layers.
    loss : str
    batch_size : int
        Samples of a step.
    has_bias : bool
        Whether training updates biases.
    optimizer : SGD
        Of training.
    threads : int
        How many to use at most.
    packed : bool
        Work on a copy of the weights in panels, as training and the sparse kernels need it; else on `parameters`.
    """

    def __init__(
        self,
        parameters: Parameters,
        activations,
        loss: str,
        batch_size: int,
        has_bias: bool = True,
        optimizer: SGD | None = None,
        threads: int = 1,
        packed: bool = True,
    ):
        self.parameters, self.loss, self.batch_size, self.threads = parameters, LOSSES[loss], batch_size, threads
        optimizer = optimizer or SGD()
        self.network = network_for(
            parameters, (*activations, "identity"), has_bias, batch_size, optimizer.rule != PLAIN, threads, packed
        )
        self.flop = 6 * batch_size * sum(weight.size for weight in parameters.weights)
        self.steps_per_call = max(1, int(FLOP_PER_CALL / self.flop))
        self.settings = np.array([1, 0, optimizer.momentum, optimizer.weight_decay], np.float32)
        self.lists = sparse_lists(0, batch_size)
        self.context = np.zeros(kernels.CONTEXT, np.int64)
        network, context = self.network, self.context
        self._point(kernels.PARAMETERS, network.parameters)
        self._point(kernels.STATE, network.state)
        self._point(kernels.WORKSPACE, network.workspace)
        self._point(kernels.LAYERS, network.layers)
        self._point(kernels.SETTINGS, self.settings)
        context[kernels.PLACES : kernels.PLACES + len(network.places)] = network.places
        context[[kernels.LOSS_CODE, kernels.RULE_CODE, kernels.BATCH_SIZE]] = self.loss, optimizer.rule, batch_size

    def _point(self, place: int, array: np.ndarray) -> None:
        """Tell the kernels where an array is; this object has to keep it alive."""
        self.context[place : place + 2] = array.ctypes.data, array.size

    def set_data(self, x: np.ndarray, input_scale, targets=None, sparse: bool | None = None) -> None:
        """Work on checked features and encoded targets.

        `sparse`: which kernels the first layer takes; by default those that are faster on `x`.  Floats of more than 256
        values take the dense ones.
        """
        if sparse is None:
            sparse = inputs.is_sparse(x)
        if sparse and self.lists.groups == 0:
            self.lists = sparse_lists(x.shape[1], self.batch_size)
        coded = inputs.coded_rows(x, input_scale) if sparse else None
        if coded is None:
            self.rows = inputs.rows_of(x, input_scale)
        else:
            self.rows, table = coded
            set_table(self.network, table)
        self.targets = targets
        rows, lists = self.rows, self.lists
        self.settings[kernels.SCALE] = rows.scale
        self._point(kernels.DATA, rows.data)
        self._point(kernels.OFFSETS, lists.offsets)
        self._point(kernels.COUNT, lists.count)
        self._point(kernels.WORDS, lists.words)
        if targets is not None:
            self._point(kernels.LABELS, targets.labels)
            self._point(kernels.VALUES, targets.values)
        context = self.context
        context[kernels.ROWS_KIND : kernels.ROWS_STRIDE + 1] = rows.kind, rows.itemsize, rows.row_bytes, rows.stride
        context[kernels.GROUPS] = lists.groups

    def _steps(self, mode: int, order, rates, records, outputs) -> int:
        """Do the steps for the samples of `order`; returns how many were done before a loss that is not finite."""
        n_steps = self.n_steps(len(order))
        self._point(kernels.SAMPLES, order)
        self.context[kernels.MODE] = mode
        self.context[kernels.AHEAD_ADDRESS] = kernels.ahead_region.address
        if mode == TRAIN:
            self.context[kernels.BACK_ADDRESS] = kernels.back_region.address
        if mode != PREDICT:
            self.context[kernels.LOSS_ADDRESS] = kernels.LOSS_ENTRIES[self.loss].address
        for first in range(0, n_steps, self.steps_per_call):
            last = min(first + self.steps_per_call, n_steps)
            arguments = self.context, first, last, rates, records, outputs
            with team(self.threads, self.flop) as threads:
                if threads == 1:
                    reached = kernels.train_steps(*arguments)
                else:
                    reached = kernels.train_steps_parallel(*arguments, threads)
            if reached < last:
                return reached
        return n_steps

    def n_steps(self, n_samples: int) -> int:
        return -(-n_samples // self.batch_size)

    def train(self, order: np.ndarray, rates: np.ndarray) -> np.ndarray:
        """Train on the samples of `order` (int64), a batch a step, and bring the parameters up to date.

        Returns
        -------
        ndarray (n_steps, 3)
            Sums over each batch of the loss, of right predictions, and of squared label differences.  Where the loss is
            not finite training stops: that step is the last one, and the parameters are left as they were.  They are
            too if the last step made one that is not finite, and the last loss is NaN then.
        """
        records = np.zeros((self.n_steps(len(order)), 3))
        done = self._steps(TRAIN, np.ascontiguousarray(order, np.int64), rates, records, _NO_OUTPUTS)
        if done < len(records):
            return records[: done + 1]
        if is_finite(self.network, self.parameters):
            unpack(self.network, self.parameters)
        else:
            records[-1, kernels.RECORD_LOSS] = np.nan
        return records

    def evaluate(self, n_samples: int) -> np.ndarray:
        """Sums (3,) over the first samples of what `train` returns for each batch."""
        n_steps = self.n_steps(n_samples)
        records, rates = np.zeros((n_steps, 3)), np.zeros(n_steps, np.float32)
        self._steps(EVALUATE, np.arange(n_samples, dtype=np.int64), rates, records, _NO_OUTPUTS)
        return records.sum(axis=0)

    def predict(self, n_samples: int, outputs: np.ndarray) -> None:
        """Put the first samples' outputs into `outputs`, flat, rows padded to whole vectors."""
        rates = np.zeros(self.n_steps(n_samples), np.float32)
        self._steps(PREDICT, np.arange(n_samples, dtype=np.int64), rates, _NO_RECORDS, outputs)


class SingleRow:
    """Predicts one sample at a time: everything is prepared but the sample itself.

    Parameters
    ----------
    run : Run
        For batches of one sample, on the parameters themselves.
    dtype : dtype
        Of the samples.
    """

    def __init__(self, run: Run, dtype: np.dtype, input_scale):
        n_features, n_outputs = run.parameters.widths[0], run.parameters.widths[-1]
        self.run, self.x, self.lock = run, np.zeros((1, n_features), dtype), threading.Lock()
        self.flat, self.outputs = padded_outputs(1, n_outputs)
        run.set_data(self.x, input_scale, sparse=False)
        run.predict(1, self.flat)
        self.order = np.zeros(1, np.int64)
        run._point(kernels.SAMPLES, self.order)
        self.arguments = run.context, 0, 1, np.zeros(1, np.float32), _NO_RECORDS, self.flat

    def predict(self, x: np.ndarray) -> np.ndarray | None:
        """Outputs (1, n_outputs), a copy; None if `x` may hold a number that is not finite."""
        with self.lock:  # kernels release the GIL, and there is one place for the sample
            self.x[...] = x
            if self.x.dtype.kind == "f" and not abs(self.x).max() <= _LARGEST:
                return None
            kernels.train_steps(*self.arguments)
            return self.outputs.copy()


def padded_outputs(n_samples: int, n_outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """An array for `Run.predict`, and a view of it as (n_samples, n_outputs)."""
    row = round_up(n_outputs, int(NARROW))
    flat = aligned_zeros(n_samples * row)
    return flat, flat.reshape(n_samples, row)[:, :n_outputs]
