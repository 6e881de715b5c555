"""A network at work: its memory laid out for the kernels, the data, and the call into compiled code."""

from __future__ import annotations

import ctypes
import threading
import time
from functools import cached_property

import numpy as np

from fastmlp.engine.averaged_weights import AveragedWeights
from fastmlp.engine.bounds import call_checked
from fastmlp.engine.compilation import compile_regions
from fastmlp.engine.data_reader import INPUT_PATHS, DataReader
from fastmlp.engine.parameters import Parameters
from fastmlp.engine.scaled_weights import ScaledWeights
from fastmlp.engine.thread_tuner import ThreadTuner
from fastmlp.engine.threads import thread_scope
from fastmlp.engine.workspace import (
    is_finite,
    network_for,
    pack,
    packed_views,
    unpack,
)
from fastmlp.kernels.jit import REGION_ARGUMENTS
from fastmlp.kernels.ops.gather import CSR
from fastmlp.kernels.ops.losses import NOTEBOOK
from fastmlp.kernels.ops.optimizers import DEFER, TINY
from fastmlp.kernels.step import epoch, regions
from fastmlp.kernels.step.record import EVALUATE, PREDICT, TRAIN
from fastmlp.losses import CODES
from fastmlp.optimizers import SGD, Optimizer
from fastmlp.rate_factors import RateFactors
from fastmlp.regularization import Regularization, dropout_threshold

# Arithmetic of one call into compiled code, at most: about half a second on one core, after which Ctrl-C is answered.
FLOP_PER_CALL = 5e10
# What the epochs that are trained at once take at most, all together: Ctrl-C takes back what one core does in 15 ms.
FLOP_AT_ONCE, SAMPLES_AT_ONCE, EPOCHS_AT_ONCE = 1e9, 100_000, 256

_REGION = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * len(REGION_ARGUMENTS))

_NO_RECORDS, _NO_OUTPUTS = np.zeros((0, 3)), np.zeros(0, np.float32)


class Executor(DataReader):
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
    splits_update : bool
        Whether training steps leave the gradient in the state, and `update` applies it.
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
        splits_update: bool = False,
    ):
        self.packed, self.trains, self.splits_update = packed, optimizer is not None, splits_update
        self.arguments = {
            "batch_size": batch_size, "has_bias": has_bias, "optimizer": optimizer, "threads": threads,
            "regularization": regularization, "rate_factors": rate_factors, "settings": settings, "seed": seed,
        }  # fmt: skip
        regularization = regularization or Regularization()
        self.parameters, self.loss, self.batch_size, self.threads = parameters, CODES[loss], batch_size, threads
        optimizer, factors = optimizer or SGD(), rate_factors or RateFactors()
        has_scale = factors.scale_rate_factor is not None
        stores_gradient = regularization.needs_full_gradient or has_scale
        defers = stores_gradient or splits_update
        averages = 2 if regularization.ema_decay else 0  # the average, and what is trained
        self.network = network_for(
            parameters, (*activations, "identity"), has_bias, batch_size,
            optimizer.n_state_arrays + has_scale + averages + defers, threads, packed, regularization.dropout,
            self.trains, has_scale,
        )  # fmt: skip
        # what goes on from step to step; a gradient that `update` applies does not
        n_state_arrays = optimizer.n_state_arrays + has_scale + averages + stores_gradient
        self.optimizer_state = self.network.state[: n_state_arrays * self.network.parameters.size]
        for layer, own in zip(self.network.layers, factors.of_layers(parameters.widths, optimizer)):
            for field, value in own.items():
                layer[field] = value
        self.flop = 6 * batch_size * sum(weight.size for weight in parameters.weights)
        self.steps_per_call, self.tuner = max(1, int(FLOP_PER_CALL / self.flop)), ThreadTuner(self.flop)
        self.announces_compiling = False  # on standard error
        self.stop: threading.Event | None = None  # set by another thread, it ends training as Ctrl-C does
        super().__init__()
        for field in ("parameters", "state", "workspace", "layers"):
            self._point(field, getattr(self.network, field))
        self._set(
            layout=self.network.layout, loss=self.loss, batch_size=batch_size, delta=1, dropout_seed=seed,
            rule=DEFER if defers else optimizer.rule, update_rule=optimizer.rule,
            input_dropout_threshold=dropout_threshold(regularization.input_dropout),
        )  # fmt: skip
        self._set(**{**regularization.settings(), **(settings or {})})
        self.moments = self.network.state[: optimizer.n_state_arrays * self.network.parameters.size]
        self.set_optimizer(optimizer)
        self.scale: ScaledWeights | None = None
        self.average: AveragedWeights | None = None
        if has_scale:
            self._learn_scale(factors.scale_rate_factor)
        if averages:
            self._average(optimizer.n_state_arrays + has_scale, regularization.ema_decay)

    def _learn_scale(self, rate: float | None) -> None:
        """Have a scale of the input be learnt, whose state lies behind the optimizer's."""
        self.scale = ScaledWeights(self.network, self.parameters, len(self.moments))
        self._set(shadow=self.scale.start, scale_at=self.scale.at, scale_rate=rate)

    def _average(self, n_state_arrays: int, decay: float) -> None:
        """Have the parameters be a moving average, which lies behind so many arrays of the state."""
        start = n_state_arrays * self.network.parameters.size
        self.average = AveragedWeights(self.network, self.parameters, start)
        self._set(average_at=start, average_rate=1 - decay)

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
        # beside a larger eps the square root of a subnormal, 1e-19, vanishes in float32
        flushes = getattr(optimizer, "eps", 1.0) >= 1e-12
        self._set(n_flushed=self.moments.size if flushes else 0, **optimizer.settings())

    def flush_subnormals(self) -> None:
        """Set subnormal numbers in the optimizer's state to 0, as is done between epochs.

        Where a gradient has become 0, as of units that are dead, the state shrinks with every step, but rounding keeps
        it above 0 for ever, and processors are slow with such numbers: such a layer took 2.3 times as long with
        momentum, 3.6 times with Adam.  Their effect on a step is below float32's rounding.
        """
        state = self.moments[: self.record["n_flushed"]]
        state[np.abs(state) < TINY] = 0

    @property
    def n_updates(self) -> int:
        """How many times the parameters have been updated."""
        return int(self.record["n_updates"])

    @n_updates.setter
    def n_updates(self, value: int) -> None:
        self.record["n_updates"] = value

    def _regions(self, mode: int) -> dict[str, str]:
        """Return the names of the regions that a mode takes, by the fields of the record for their addresses."""
        path, inner = INPUT_PATHS[self.input_path], "row" if self.batch_size == 1 else "inner"
        names = {"first_forward": f"{path}_first_forward", "inner_forward": f"{inner}_forward"}
        if mode == TRAIN:
            names |= {"first_update": f"{path}_first_update", "inner_backward": f"{inner}_backward"}
            if self.record["rule"] == DEFER != self.record["update_rule"] and not self.splits_update:
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
        if mode == self.regions_mode:
            return
        names = self._regions(mode)
        compile_regions(list(names.values()), self.announces_compiling)
        addresses = {field: getattr(regions, name).address for field, name in names.items()}
        self._set(mode=mode, **{"deferred_update": 0, "weigh_rows": 0, "average": 0, **addresses})
        self.regions_mode = mode

    def _steps(self, mode: int, order, rates, records, outputs, n_epochs: int = 1) -> int:
        """Do the steps for the samples of `order`; returns how many were done before a loss that is not finite."""
        epoch_size = len(order) // n_epochs
        n_steps = n_epochs * self.n_steps(epoch_size)
        flop = self.flop if mode == TRAIN else self.flop // 3  # the gradients take two thirds
        self._point("samples", order)
        self._set(epoch_size=epoch_size)
        self._point_regions(mode)
        first = 0
        while first < n_steps:
            if self.stop is not None and self.stop.is_set():
                raise KeyboardInterrupt
            with thread_scope(self.threads, flop, n_steps) as available:
                threads, steps = self.tuner.next(available, min(self.steps_per_call, n_steps - first))
                arguments = self.record.ctypes.data, first, first + steps, rates, records, outputs
                call = epoch.train_steps if threads == 1 else epoch.train_steps_parallel
                is_loaded, start = getattr(call, "signatures", True), time.perf_counter()
                reached = call_checked(call, *arguments) if threads == 1 else call_checked(call, *arguments, threads)
                if is_loaded:  # else compiled code has been loaded in that time
                    samples = self._start(first + steps, epoch_size) - self._start(first, epoch_size)
                    self.tuner.note(time.perf_counter() - start, samples / self.batch_size)
            if reached < first + steps:
                return reached
            first = reached
        return n_steps

    def _start(self, step, epoch_size: int):
        """Return where the samples of a step, or of an array of steps, start in the order of some epochs."""
        epoch, step = divmod(step, self.n_steps(epoch_size))
        return epoch * epoch_size + step * self.batch_size

    def _all_steps(self, mode: int, order, rates, records, outputs, n_epochs: int = 1) -> int:
        """`_steps` of data that the kernels can read, made so window by window where need be."""
        order = np.ascontiguousarray(order, np.int64)
        if self.windows is None:
            self._set_first_bias()
            if self.rows.kind == CSR:  # draws with replacement can take long rows several times
                lengths, size = np.diff(self.rows.starts)[order], len(order) // n_epochs
                starts = self._start(np.arange(n_epochs * self.n_steps(size)), size)
                self._make_room(int(np.add.reduceat(lengths, starts).max()))
            return self._steps(mode, order, rates, records, outputs, n_epochs)
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

    def epochs_at_once(self, epoch_size: int) -> int:
        """Return how many epochs `train` may do at once: several if they are short."""
        if self.windows is not None:
            return 1
        # a step takes as long as one of 16 samples, at least: it reads all parameters and the optimizer's state
        flop = self.flop / self.batch_size * max(self.batch_size, 16) * self.n_steps(epoch_size)
        return max(1, min(int(FLOP_AT_ONCE / flop), SAMPLES_AT_ONCE // epoch_size, EPOCHS_AT_ONCE))

    def train(self, order: np.ndarray, rates: np.ndarray, n_epochs: int = 1) -> np.ndarray:
        """Train on the samples of `order` (int64), a batch a step, and bring the parameters up to date.

        With several epochs, each of them has as many of the samples, and its last batch may be short.

        Returns
        -------
        ndarray (n_steps, 3)
            Sums over each batch of the loss, of right predictions, and of squared label differences.  Where the loss is
            not finite training stops: that step is the last one, and the parameters are left as they were.  They are
            too if the last step made one that is not finite, and the last loss is NaN then.
        """
        records = self.train_packed(order, rates, n_epochs)
        self.unpack(records)
        return records

    def train_packed(self, order: np.ndarray, rates: np.ndarray, n_epochs: int = 1) -> np.ndarray:
        """Do the steps of `train` on the packed parameters alone; `unpack` brings the others up to date."""
        records = np.zeros((n_epochs * self.n_steps(len(order) // n_epochs), 3))
        done = self._all_steps(TRAIN, order, rates, records, _NO_OUTPUTS, n_epochs)
        return records[: done + 1]

    def unpack(self, records: np.ndarray) -> None:
        """Bring the parameters up to date, unless the last loss is not finite; it becomes NaN if one of them is not."""
        if not np.isfinite(records[-1, epoch.RECORD_LOSS]):
            return
        if not is_finite(self._views):
            records[-1, epoch.RECORD_LOSS] = np.nan
        elif self.average is not None:
            self.average.unpack()
        else:
            unpack(self._views, self.parameters)

    @property
    def gradient(self) -> np.ndarray:
        """The gradient that a step has left in the state, laid out like the packed parameters."""
        return self.network.state[-self.network.parameters.size :]

    def update(self) -> None:
        """Update the packed parameters by `gradient`, as the last step would have done."""
        compile_regions(["deferred_update"], self.announces_compiling)
        self.record["n_parts"] = 1
        region = _REGION(regions.deferred_update.address)
        for kind in (regions.SQUARES, regions.UPDATE):
            call_checked(region, self.record.ctypes.data, int(kind), 0, 0, 1, 0)

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
