"""A network at work: its memory laid out for the kernels, the data, and the call into compiled code."""

from __future__ import annotations

import time
from functools import cached_property

import numpy as np

from fastmlp import checks
from fastmlp.data.arrays import is_csr
from fastmlp.data.encoding import coded_rows, coded_words, is_sparse, rows_of
from fastmlp.data.scaling import InputScale, RobustScale
from fastmlp.data.windows import DenseWindows, folds
from fastmlp.engine.averaged_weights import AveragedWeights
from fastmlp.engine.bounds import call_checked
from fastmlp.engine.compilation import compile_regions
from fastmlp.engine.packing_check import packs_correctly
from fastmlp.engine.parameters import Parameters, shifted_bias
from fastmlp.engine.scaled_weights import ScaledWeights
from fastmlp.engine.thread_tuner import ThreadTuner
from fastmlp.engine.threads import thread_scope
from fastmlp.engine.workspace import (
    is_finite,
    lists_for,
    network_for,
    nonzeros_for,
    pack,
    packed_views,
    set_bias,
    set_table,
    unpack,
)
from fastmlp.kernels.ops.gather import CSR
from fastmlp.kernels.ops.grouped import GROUP
from fastmlp.kernels.ops.losses import NOTEBOOK
from fastmlp.kernels.ops.optimizers import DEFER
from fastmlp.kernels.simd.processors import NARROW, STRIP, WIDE
from fastmlp.kernels.simd.records import set_array
from fastmlp.kernels.step import epoch, regions
from fastmlp.kernels.step.record import EVALUATE, PREDICT, RECORD, TRAIN
from fastmlp.losses import CODES
from fastmlp.memory import aligned_zeros, round_up
from fastmlp.optimizers import SGD, Optimizer
from fastmlp.rate_factors import RateFactors
from fastmlp.regularization import Regularization, dropout_threshold

# Arithmetic of one call into compiled code, at most: about half a second on one core, after which Ctrl-C is answered.
FLOP_PER_CALL = 5e10

# Lists of groups are made for batches of so many samples at least, below which entries by sample are faster; and for
# CSR matrices of so many features at most, and of eight for every entry of a step, as a step looks at every group.
MIN_GROUPS_BATCH, MAX_GROUPS_FEATURES = 5, 10_000

# How the first layer can read its input, and the regions that do so.
INPUT_PATHS = {"dense": "dense", "grouped sparse": "grouped", "sparse": "sparse"}  # prefixes of their names

_LARGEST = float(np.finfo(np.float32).max)
_NO_RECORDS, _NO_OUTPUTS = np.zeros((0, 3)), np.zeros(0, np.float32)


class Executor:
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
    optimizer : Optimizer
        Of training.
    threads : int
        How many to use at most.
    packed : bool
        Work on a copy of the weights in panels, as training and the sparse kernels need it; else on `parameters`.
    regularization : Regularization, optional
        Of training.
    rate_factors : RateFactors, optional
        Of training.
    settings : dict
        Fields of the record that the loss needs, by name: "delta" and "smoothing".
    seed : int
        Of dropout, 62 bits.
    """

    def __init__(
        self,
        parameters: Parameters,
        activations,
        loss: str,
        batch_size: int,
        has_bias: bool = True,
        optimizer: Optimizer | None = None,
        threads: int = 1,
        packed: bool = True,
        regularization: Regularization | None = None,
        rate_factors: RateFactors | None = None,
        settings: dict[str, float] | None = None,
        seed: int = 0,
    ):
        self.packed, self.trains = packed, optimizer is not None
        self.arguments = {
            "batch_size": batch_size, "has_bias": has_bias, "optimizer": optimizer, "threads": threads,
            "regularization": regularization, "rate_factors": rate_factors, "settings": settings, "seed": seed,
        }  # fmt: skip
        trains, regularization = optimizer is not None, regularization or Regularization()
        self.parameters, self.loss, self.batch_size, self.threads = parameters, CODES[loss], batch_size, threads
        optimizer = optimizer or SGD()
        factors = rate_factors or RateFactors()
        has_scale = factors.scale_rate_factor is not None
        defers = regularization.needs_full_gradient or has_scale
        averages = 2 if regularization.ema_decay else 0  # the average, and what is trained
        n_state_arrays = optimizer.n_state_arrays + has_scale + averages + defers
        self.network = network_for(
            parameters, (*activations, "identity"), has_bias, batch_size, n_state_arrays, threads, packed,
            regularization.dropout, trains, has_scale,
        )  # fmt: skip
        for layer, own in zip(self.network.layers, factors.of_layers(parameters.widths, optimizer)):
            for field, value in own.items():
                layer[field] = value
        self.flop = 6 * batch_size * sum(weight.size for weight in parameters.weights)
        self.steps_per_call, self.tuner = max(1, int(FLOP_PER_CALL / self.flop)), ThreadTuner(self.flop)
        self.lists, self.entries = lists_for(0, batch_size), nonzeros_for(0, 0, 0)
        self.announces_compiling = False  # on standard error
        self.windows: DenseWindows | None = None
        self.folded: InputScale | None = None  # of which the packed first bias has the offset
        self.record = RECORD.zeros()  # what the kernels read
        for field in ("parameters", "state", "workspace", "layers"):
            self._point(field, getattr(self.network, field))
        self._set(
            layout=self.network.layout, loss=self.loss, batch_size=batch_size, delta=1, dropout_seed=seed,
            rule=DEFER if defers else optimizer.rule, update_rule=optimizer.rule,
            input_dropout_threshold=dropout_threshold(regularization.input_dropout),
        )  # fmt: skip
        self._set(**optimizer.settings(), **regularization.settings())
        self._set(**settings or {})
        self.moments = self.network.state[: optimizer.n_state_arrays * self.network.parameters.size]
        self.scale: ScaledWeights | None = None
        if has_scale:
            self.scale = ScaledWeights(self.network, parameters, len(self.moments))
            self._set(shadow=self.scale.start, scale_at=self.scale.at, scale_rate=factors.scale_rate_factor)
        self.average: AveragedWeights | None = None
        if averages:
            start = (optimizer.n_state_arrays + has_scale) * self.network.parameters.size
            self.average = AveragedWeights(self.network, parameters, start)
            self._set(average_at=start, average_rate=1 - regularization.ema_decay)

    def _set(self, **values) -> None:
        """Set fields of the record."""
        for field, value in values.items():
            self.record[field] = value

    def _point(self, field: str, array: np.ndarray) -> None:
        """Tell the kernels where an array is; this object has to keep it alive."""
        set_array(RECORD, self.record, field, array)

    @cached_property
    def _views(self):
        return packed_views(self.network, self.parameters)

    def pack(self) -> None:
        """Continue with what `parameters` holds now."""
        pack(self._views, self.parameters)
        if self.average is not None:
            self.average.follow()
        if self.scale is not None:
            self.scale.follow()

    def set_optimizer(self, optimizer: Optimizer) -> None:
        """Continue with the settings of an optimizer that has the same update rule."""
        self._set(**optimizer.settings())

    @property
    def n_updates(self) -> int:
        """How many times the parameters have been updated."""
        return int(self.record["n_updates"])

    @n_updates.setter
    def n_updates(self, value: int) -> None:
        self.record["n_updates"] = value

    def set_data(
        self, x, input_scale, targets=None, sparse: bool | None = None, repeated: bool = True,
        input_path: str | None = None,
    ) -> None:  # fmt: skip
        """Work on checked features and encoded targets.

        `sparse` says whether the first layer skips zeros; by default it does where that is faster on `x`.  `repeated`
        says whether the data are read more than once, so that coding a CSR matrix pays off.  `input_path` overrides
        both: "dense", "grouped sparse" or "sparse" forces that path of the first layer, or fails where `x` and
        `input_scale` rule it out.

        A CSR matrix whose scale has an offset stays sparse in prediction, where the offset is folded into the first
        bias; else a few batches of it are made dense at a time.
        """
        if isinstance(input_scale, RobustScale):
            x, input_scale = input_scale.apply(x), 1.0
        csr, n_features, coded = is_csr(x), x.shape[1], None
        if self.folded is not None:
            set_bias(self.network, 0, self.parameters.biases[0])
        self.windows = self.folded = None
        if csr and isinstance(input_scale, InputScale) and input_scale.offset.any():
            if self.trains or not self.packed or not folds(input_scale):
                self._check_path(input_path, "dense")
                self.windows = DenseWindows(x, input_scale, targets)
                return
            self.folded, input_scale = input_scale, input_scale._replace(offset=np.zeros(n_features))
        prepares = self._set_input_scale(input_scale)
        if isinstance(input_scale, InputScale):
            input_scale = 1.0
        if csr and sparse is False:
            raise ValueError("sparse=False needs an array; a sparse matrix has kernels of its own")
        if input_path is not None:
            groups, sparse = input_path == "grouped sparse", input_path == "sparse"
        elif self.batch_size < MIN_GROUPS_BATCH:
            groups = False
        elif csr:
            entries_of_step = self.batch_size * x.nnz / x.shape[0]
            groups = repeated and n_features <= min(MAX_GROUPS_FEATURES, 8 * entries_of_step)
        else:
            groups = is_sparse(x, int(GROUP)) if sparse is None else sparse
        if groups and not prepares:
            coded = coded_words(x, input_scale) if csr else coded_rows(x, input_scale)
        if coded is not None:
            self.input_path = "grouped sparse"
            self.rows, table = coded
            set_table(self.network, table)
            if self.lists.groups == 0:
                self.lists = lists_for(n_features, self.batch_size)
        else:
            self.rows = rows_of(x, input_scale)
            if self.standard.size:
                sparse = False  # what was zero is not any more
            if sparse is None:
                sparse = csr or self.batch_size == 1 or is_sparse(x)
            self.input_path = "sparse" if sparse or csr else "dense"
        if self.input_path != "dense" and not csr and not packs_correctly(self.input_path):
            self.input_path, self.rows = "dense", rows_of(x, input_scale)
        self._check_path(input_path, self.input_path)
        if self.input_path == "sparse" and csr:
            lengths = np.diff(self.rows.starts)
            self._make_room(int(np.sort(lengths)[-self.batch_size :].sum()))
        elif self.input_path == "sparse" and self.entries.room < n_features + NARROW:
            self.entries = nonzeros_for(n_features, self.batch_size, n_features)
        self.targets = targets
        rows, lists = self.rows, self.lists
        for field in ("data", "indices", "starts"):
            self._point(field, getattr(rows, field))
        for field in ("offsets", "count", "words"):
            self._point(field, getattr(lists, field))
        self._point_entries()
        if targets is not None:
            self._point("labels", targets.labels)
            self._point("values", targets.values)
            self._point("sample_weights", targets.weights)
        self._set(
            rows_kind=rows.kind, itemsize=rows.itemsize, row_bytes=rows.row_bytes, stride=rows.stride, scale=rows.scale,
            index_itemsize=rows.index_itemsize, groups=lists.groups, prepares=prepares,
            has_input=prepares or self.input_path != "dense", first_unit=WIDE if self.input_path == "dense" else STRIP,
        )  # fmt: skip

    @staticmethod
    def _check_path(input_path: str | None, taken: str) -> None:
        """Raise an error if a path was forced and another one has to be taken."""
        if input_path is None:
            return
        checks.check_choice(input_path, "input_path", tuple(INPUT_PATHS))
        if input_path != taken:
            raise ValueError(f"input_path={input_path!r} can't read this x with this input_scale")

    def _point_entries(self) -> None:
        """Tell the kernels where entries are."""
        for field in ("begin", "end", "feature", "value", "until", "touched", "sample_offset", "factor"):
            self._point(field, getattr(self.entries, field))
        self.record["room"] = self.entries.room

    def _make_room(self, most: int) -> None:
        """Have room for the entries of a batch of a CSR matrix, at most so many, which lie behind each other."""
        if self.entries.until.size == 0 or self.entries.feature.size < most:
            self.entries = nonzeros_for(self.parameters.widths[0], self.batch_size, 0, size=most)
            self._point_entries()

    def _set_input_scale(self, input_scale) -> bool:
        """Have the input prepared where every feature has its own scale, or inputs are dropped; return whether it is.

        With an offset it is standardized as it is gathered, in float64, else multiplied by the factors behind that.
        """
        self.standard, self.factor = np.zeros(0), _NO_OUTPUTS
        own = isinstance(input_scale, InputScale)
        if own and input_scale.offset.any():
            self.standard = np.concatenate([padded(part, np.float64) for part in input_scale])
        elif own:
            self.factor = padded(input_scale.factor)
        self._point("input_standard", self.standard)
        self._point("input_factor", self.factor)
        return own or bool(self.record["input_dropout_threshold"])

    def _set_first_bias(self) -> None:
        """Put the first bias, with what is folded into it, where the kernels look for it."""
        if self.folded is not None:
            set_bias(self.network, 0, shifted_bias(self.parameters, self.folded))

    def _regions(self, mode: int) -> dict[str, str]:
        """Return the names of the regions that a mode takes, by the fields of the record for their addresses."""
        path, inner = INPUT_PATHS[self.input_path], "row" if self.batch_size == 1 else "inner"
        names = {"first_forward": f"{path}_first_forward", "inner_forward": f"{inner}_forward"}
        if mode == TRAIN:
            names |= {"first_update": f"{path}_first_update", "inner_backward": f"{inner}_backward"}
            if self.record["rule"] == DEFER:
                names["deferred_update"] = "deferred_update" if self.scale is None else "scaled_update"
            if self.average is not None:
                names["average"] = "parameter_average"
        if self.network.layers["slope"].any():
            names["finish_forward"] = "finish_tiles"
        if mode != PREDICT:
            names["loss_rows"] = regions.LOSS_REGIONS[self.loss].name
            if self.record["sample_weights"]["size"]:
                names["weigh_rows"] = "weigh_rows"
        return names

    def _point_regions(self, mode: int) -> None:
        """Tell the kernels where the regions are that a mode takes, and compile those that are not yet."""
        names = self._regions(mode)
        compile_regions(list(names.values()), self.announces_compiling)
        addresses = {field: getattr(regions, name).address for field, name in names.items()}
        self._set(mode=mode, **{"deferred_update": 0, "weigh_rows": 0, "average": 0, **addresses})

    def _steps(self, mode: int, order, rates, records, outputs) -> int:
        """Do the steps for the samples of `order`; returns how many were done before a loss that is not finite."""
        n_steps = self.n_steps(len(order))
        self._point("samples", order)
        self._point_regions(mode)
        first = 0
        while first < n_steps:
            with thread_scope(self.threads, self.flop) as available:
                threads, steps = self.tuner.next(available, min(self.steps_per_call, n_steps - first))
                arguments = self.record.ctypes.data, first, first + steps, rates, records, outputs
                call = epoch.train_steps if threads == 1 else epoch.train_steps_parallel
                is_loaded, start = getattr(call, "signatures", True), time.perf_counter()
                reached = call_checked(call, *arguments) if threads == 1 else call_checked(call, *arguments, threads)
                if is_loaded:  # else compiled code has been loaded in that time
                    samples = min((first + steps) * self.batch_size, len(order)) - first * self.batch_size
                    self.tuner.note(time.perf_counter() - start, samples / self.batch_size)
            if reached < first + steps:
                return reached
            first = reached
        return n_steps

    def _all_steps(self, mode: int, order, rates, records, outputs) -> int:
        """`_steps` of data that the kernels can read, made so window by window where need be."""
        order = np.ascontiguousarray(order, np.int64)
        if self.windows is None:
            self._set_first_bias()
            if self.rows.kind == CSR:  # draws with replacement can take long rows several times
                lengths = np.diff(self.rows.starts)[order]
                self._make_room(int(np.add.reduceat(lengths, np.arange(0, len(order), self.batch_size)).max()))
            return self._steps(mode, order, rates, records, outputs)
        windows, done, row = self.windows, 0, len(outputs) // max(1, len(order))
        size = self._window_size(mode)
        try:
            for start in range(0, len(order), size):
                samples = order[start : start + size]
                x, targets = windows.take(samples, self.parameters.widths[-1])
                self.set_data(x, windows.input_scale, targets, sparse=False)
                some = np.arange(len(samples))
                reached = self._steps(mode, some, rates[done:], records[done:], outputs[start * row :])
                done += reached
                if reached < self.n_steps(len(samples)):
                    break
        finally:
            self.windows = windows
        return done

    def _window_size(self, mode: int) -> int:
        """Samples of a window: whole batches where they depend on each other."""
        assert self.windows is not None
        whole = mode == TRAIN or self.loss == NOTEBOOK
        return self.windows.size(self.batch_size, whole)

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
        done = self._all_steps(TRAIN, order, rates, records, _NO_OUTPUTS)
        if done < len(records):
            return records[: done + 1]
        if not is_finite(self._views):
            records[-1, epoch.RECORD_LOSS] = np.nan
        elif self.average is not None:
            self.average.unpack()
        else:
            unpack(self._views, self.parameters)
        return records

    def evaluate(self, n_samples: int) -> np.ndarray:
        """Return sums (3,) over the first samples of what `train` returns for each batch."""
        n_steps = self._most_steps(EVALUATE, n_samples)
        records, rates = np.zeros((n_steps, 3)), np.zeros(n_steps, np.float32)
        self._all_steps(EVALUATE, np.arange(n_samples), rates, records, _NO_OUTPUTS)
        return records.sum(axis=0)

    def predict(self, n_samples: int, outputs: np.ndarray) -> None:
        """Put the first samples' outputs into `outputs`, flat, rows padded to whole vectors."""
        rates = np.zeros(self._most_steps(PREDICT, n_samples), np.float32)
        self._all_steps(PREDICT, np.arange(n_samples), rates, _NO_RECORDS, outputs)

    def _most_steps(self, mode: int, n_samples: int) -> int:
        """Return how many steps there are, of which windows smaller than a batch make more."""
        size = self.batch_size if self.windows is None else min(self.batch_size, self._window_size(mode))
        return -(-n_samples // size)


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
        self.flat, self.outputs = padded_outputs(1, n_outputs)
        run.set_data(self.x, input_scale)
        run.predict(1, self.flat)
        self.order = np.zeros(1, np.int64)
        run._point("samples", self.order)
        self.arguments = run.record.ctypes.data, 0, 1, np.zeros(1, np.float32), _NO_RECORDS, self.flat

    def predict(self, x: np.ndarray) -> np.ndarray | None:
        """Outputs (1, n_outputs), a copy; None if `x` may hold a number that is not finite."""
        with self.lock.alone():  # kernels release the GIL, and there is one place for the sample
            self.given[...] = x
            if self.given.dtype.kind == "f" and not abs(self.given).max() <= _LARGEST:
                return None
            if self.robust is not None:
                self.x[...] = self.robust.apply(self.given)
            call_checked(epoch.train_steps, *self.arguments)
            return self.outputs.copy()


def padded(values: np.ndarray, dtype: type = np.float32) -> np.ndarray:
    """Return a copy, with zeros up to a whole vector."""
    size = round_up(len(values), int(NARROW))
    array: np.ndarray = aligned_zeros(size * np.dtype(dtype).itemsize // 4).view(dtype)
    array[: len(values)] = values
    return array


def padded_outputs(n_samples: int, n_outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an array for `Executor.predict`, and a view of it as (n_samples, n_outputs)."""
    row = round_up(n_outputs, int(NARROW))
    flat = aligned_zeros(n_samples * row)
    return flat, flat.reshape(n_samples, row)[:, :n_outputs]
