"""A course of training, epoch by epoch: what `train` loops over, `partial_fit` goes on with, and checkpoints keep."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastmlp import checks
from fastmlp.data.order import epoch_order
from fastmlp.data.targets import check_sample_weight, take_targets
from fastmlp.engine.executor import Executor
from fastmlp.engine.threads import resolve
from fastmlp.engine.workspace import pack
from fastmlp.kernels.step.record import Targets
from fastmlp.model import MLP, Metrics
from fastmlp.optimizers import SGD, Optimizer

if TYPE_CHECKING:
    from fastmlp.data.streams import Stream

BUFFER_BYTES = 1 << 27  # of a stream's shuffle buffer, by default; three of them may be in memory for a moment


class DivergenceError(ArithmeticError):
    """The loss, or a weight, became NaN or infinite.

    Attributes
    ----------
    model : MLP
        With the weights from before the epoch in which that happened, and the history until then.
    epoch : int or None
        The epoch, counted from 1; None in `MLP.partial_fit`.
    learning_rate : float
        Of the step in which that happened.
    """

    def __init__(self, epoch: int | None, learning_rate: float, model: MLP):
        where = "" if epoch is None else f" in epoch {epoch}"
        super().__init__(
            f"the loss or a weight became NaN or infinite{where}, at learning rate {learning_rate:g}; "
            "try a smaller learning_rate. The weights from before that are in this error's .model"
        )
        self.epoch, self.learning_rate, self.model = epoch, learning_rate, model

    def __reduce__(self):  # an exception's own would call __init__ with the message
        return type(self), (self.epoch, self.learning_rate, self.model), self.__dict__


class ArrayData:
    """A data set in memory, which a run works on: of its samples, every epoch takes those in `samples`, or all."""

    def __init__(self, run: Executor, x, targets: Targets, input_scale, sparse, samples: np.ndarray | None, shuffle):
        self.samples = np.arange(x.shape[0]) if samples is None else samples
        self.run, self.n_samples, self.shuffle, self.weights = run, len(self.samples), shuffle, targets.weights
        run.set_data(x, input_scale, targets, sparse=sparse)

    def train(self, rates: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        """An epoch: what `Executor.train` returns, and the weights of its samples together."""
        order = epoch_order(self.samples, self.shuffle, rng)
        return self.run.train(order, rates), _total(self.weights, order, len(order))


class StreamData:
    """A data set that a run gets in parts."""

    def __init__(self, run: Executor, stream: Stream, targets: Targets, input_scale, shuffle: bool, buffer: int | None):
        self.run, self.stream, self.targets, self.input_scale = run, stream, targets, input_scale
        self.n_samples, self.shuffle = stream.shape[0], shuffle
        self.buffer = buffer or max(1, BUFFER_BYTES * stream.shape[0] // max(stream.nbytes, 1))

    def train(self, rates: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        """See `ArrayData.train`."""
        records: list[np.ndarray] = []
        n_outputs, done = self.run.parameters.widths[-1], 0
        # closed: or a traceback that somebody keeps would keep the thread that reads
        with closing(self.stream.windows(rng, self.shuffle, self.run.batch_size, self.buffer)) as windows:
            for x, samples in windows:
                self.run.set_data(x, self.input_scale, take_targets(self.targets, samples, n_outputs), repeated=False)
                n_steps = self.run.n_steps(len(samples))
                records.append(self.run.train(np.arange(len(samples)), rates[done : done + n_steps]))
                done += n_steps
                if not np.isfinite(records[-1][:, 0]).all():
                    break
        return np.concatenate(records), _total(self.targets.weights, np.s_[:], self.n_samples)


def _total(weights: np.ndarray, samples: np.ndarray | slice, n_samples: int) -> float:
    """The weights of some samples, of which there are `n_samples`, together."""
    return float(weights[samples].sum(dtype=np.float64)) if weights.size else float(n_samples)


def mean(total: float, weight: float) -> float:
    """The weighted mean; NaN over samples that have no weight."""
    return float(total / weight) if weight > 0 else float("nan")


def learning_rates(learning_rate, epoch: int, epochs: int, n_steps: int) -> np.ndarray:
    """The rates (n_steps,) float32 of the steps of one epoch."""
    if hasattr(learning_rate, "rate"):
        rates = learning_rate.rate(epoch + np.arange(n_steps) / n_steps, epochs)
    elif callable(learning_rate):
        rates = [learning_rate(step) for step in range(epoch * n_steps, (epoch + 1) * n_steps)]
    else:
        return np.full(n_steps, learning_rate, np.float32)
    rates = np.asarray(rates, np.float32)
    if rates.shape != (n_steps,) or not (np.isfinite(rates) & (rates >= 0)).all():
        raise ValueError(
            f"learning_rate must give a finite rate of at least 0 for every step, got {rates!r} in epoch {epoch + 1}"
        )
    return rates


_TINY = np.finfo(np.float32).tiny  # the smallest normal number
_SMALLEST_EPSILON = 1e-12  # beside which the square root of a subnormal, 1e-19, vanishes in float32


def flush_subnormals(run: Executor) -> None:
    """Set subnormal numbers in the optimizer's state to 0.

    Where a gradient has become 0, as of units that are dead, the state shrinks with every step, but rounding keeps it
    above 0 for ever, and processors are slow with such numbers: such a layer took 2.3 times as long with momentum, 3.6
    times with Adam.  Their effect on a step is below float32's rounding.
    """
    arguments: dict[str, Any] = run.arguments
    if arguments["optimizer"].settings().get("epsilon", 1.0) >= _SMALLEST_EPSILON:
        state = run.network.state
        state[np.abs(state) < _TINY] = 0


class Moment(NamedTuple):
    """What an interrupted epoch, or a call of `partial_fit` that fails, has to restore beside the parameters."""

    state: np.ndarray
    updates: int
    random: Mapping[str, Any]

    @classmethod
    def of(cls, run: Executor, rng: np.random.Generator) -> Moment:
        return cls(run.network.state.copy(), run.n_updates, rng.bit_generator.state)

    def restore(self, run: Executor, rng: np.random.Generator) -> None:
        run.network.state[:] = self.state
        run.n_updates = self.updates
        rng.bit_generator.state = self.random


class Course:
    """A training: model, run, data, learning rates and random numbers.

    Attributes
    ----------
    done : int
        How many epochs are.
    largest_rate : float
        The largest learning rate of the last of them.
    """

    def __init__(self, model: MLP, run: Executor, data, learning_rate, epochs: int, rng: np.random.Generator, entropy):
        self.model, self.run, self.data, self.learning_rate = model, run, data, learning_rate
        self.epochs, self.rng, self.entropy, self.done = epochs, rng, entropy, 0
        self.largest_rate = 0.0
        self._packed = model._parameters.buffer.copy()  # what the run's copy of the parameters holds
        self._recorded: list[str] = []  # names in the history
        self._moment: Moment | None = None  # when the epoch began that is not over yet

    def epoch(self) -> dict[str, Any]:
        """Train for an epoch; returns what the history is to have of it.

        Raises
        ------
        DivergenceError
            If the loss, or a weight, becomes NaN or infinite.
        """
        start = time.perf_counter()
        n_samples = self.data.n_samples
        rates = learning_rates(self.learning_rate, self.done, self.epochs, self.run.n_steps(n_samples))
        with self.model._parameters.training.held():
            self._pack()
            self._moment = Moment.of(self.run, self.rng)
            records, weight = self.data.train(rates, self.rng)
        seconds = time.perf_counter() - start
        total_loss, correct, _ = records.sum(axis=0)
        if not np.isfinite(total_loss):
            raise DivergenceError(self.done + 1, float(rates[len(records) - 1]), self.model)
        flush_subnormals(self.run)
        self.largest_rate = float(rates.max())
        return {
            "epoch": self.done + 1,
            "seconds": seconds,
            "train_loss": mean(total_loss, weight),
            "train_accuracy": float(correct / n_samples) if self.model.has_accuracy else float("nan"),
            "learning_rate": float(rates[0]),
        }

    def _pack(self) -> None:
        """Bring what was written to the model since the last epoch, by a callback or another thread, to the run."""
        parameters = self.model._parameters
        # as integers, of which even NaN equals itself
        if not np.array_equal(parameters.buffer.view(np.int32), self._packed.view(np.int32)):
            pack(self.run.network, parameters)
            self._packed[:] = parameters.buffer

    def close(self, record: dict[str, Any]) -> None:
        """The epoch is whole: put it into the history."""
        self._recorded = list(record)
        for name, value in record.items():  # a callback may have a list of its own there, or have replaced the dict
            self.model.history.setdefault(name, []).append(value)
        self.done += 1
        self._moment = None
        self._packed[:] = self.model._parameters.buffer

    def take_back(self) -> None:
        """Restore everything as it was after the last epoch that is whole."""
        if self._moment is None:  # no epoch is under way: what callbacks wrote since stays
            return
        with self.model._parameters.lock.writing():
            self.model._parameters.buffer[:] = self._packed
        for name in self._recorded:  # Ctrl-C may have come before the last of them
            del self.model.history.get(name, [])[self.done :]
        self._moment.restore(self.run, self.rng)
        self._moment = None
        pack(self.run.network, self.model._parameters)

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What the epochs to come depend on, beside the model: JSON's types, and arrays."""
        state = {
            "entropy": str(self.entropy),
            "rng": self.rng.bit_generator.state,
            "updates": self.run.n_updates,
            "done": self.done,
            "largest_rate": self.largest_rate,
        }
        return state, {"state": self.run.network.state}

    def load_state(self, saved: MLP, state: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Go on from a state, and from the model that was saved with it."""
        self.model._parameters.buffer[:] = saved._parameters.buffer
        self._pack()
        self.run.network.state[:] = arrays["state"]
        self.run.n_updates = state["updates"]
        self.rng.bit_generator.state = state["rng"]
        self.model.history = saved.history
        self.done, self.largest_rate = state["done"], state["largest_rate"]

    def pause(self, batch_size: int) -> Pause:
        """What `partial_fit` goes on with, in batches of `batch_size` by default."""
        rate = self.learning_rate
        if not isinstance(rate, float):
            rate = self.largest_rate or None  # of one step of warming up it is 0
        updates = self.run.n_updates
        arguments = {**self.run.arguments, "batch_size": batch_size}
        return Pause(arguments, rate, self.run.network.state, updates, self.rng)


@dataclass
class Pause:
    """A training between two calls of `partial_fit`: how its `Executor` is made, the learning rate, the optimizer's
    state, the number of updates, and random numbers; and the run, once there is one."""

    arguments: dict[str, Any]
    learning_rate: float | None
    state: np.ndarray
    updates: int
    rng: np.random.Generator
    run: Executor | None = None

    def __getstate__(self) -> dict[str, Any]:
        updates = self.updates if self.run is None else self.run.n_updates
        return {**self.__dict__, "updates": updates, "run": None}  # a run is full of addresses

    def resume(self, model: MLP, batch_size: int, n_samples: int, optimizer: Optimizer | None = None) -> Executor:
        """The run, for steps of `batch_size` of `n_samples`; with the settings of an `optimizer` of the same rule."""
        if n_samples < batch_size:  # one step, for which a run has room that is large enough
            room = 0 if self.run is None else self.run.batch_size
            batch_size = room if n_samples <= room <= batch_size else min(batch_size, max(n_samples, 2 * room))
        if optimizer is not None and optimizer.rule == self.arguments["optimizer"].rule:
            self.arguments = {**self.arguments, "optimizer": optimizer}
        if self.run is None or self.run.batch_size != batch_size:
            run = Executor(
                model._parameters, model.activations, model.loss, **{**self.arguments, "batch_size": batch_size}
            )
            run.network.state[:] = self.state
            run.n_updates = self.updates if self.run is None else self.run.n_updates
            self.run, self.state = run, run.network.state
        else:
            self.run.set_optimizer(self.arguments["optimizer"])
        pack(self.run.network, model._parameters)
        return self.run


def partial_fit(
    model: MLP, x, y, sample_weight, learning_rate, batch_size, optimizer: Optimizer | None = None, shuffle=True
) -> Metrics:
    """See `MLP.partial_fit`; `optimizer` as in `Pause.resume`, `shuffle` as in `fastmlp.train`."""
    x = model._check_features(x)
    targets = model._encode(y, x.shape[0])
    if sample_weight is not None:
        targets = targets._replace(weights=check_sample_weight(sample_weight, x.shape[0]))
    if learning_rate is not None:
        learning_rate = checks.check_positive(learning_rate, "learning_rate")
    if batch_size is not None:
        batch_size = checks.check_integer(batch_size, "batch_size", 1)
    with model._parameters.training.held():  # a run has one place for its data, and one for its parameters
        if model._pause is None:
            arguments = {
                "batch_size": 128, "has_bias": model.has_bias, "optimizer": SGD(), "threads": resolve(model.threads),
                "settings": {"delta": model.delta},
            }  # fmt: skip
            model._pause = Pause(arguments, None, np.zeros(0, np.float32), 0, np.random.default_rng())
        pause = model._pause
        rate = learning_rate or pause.learning_rate or pause.arguments["optimizer"].learning_rate
        run = pause.resume(model, batch_size or pause.arguments["batch_size"], x.shape[0], optimizer)
        moment, buffer = Moment.of(run, pause.rng), model._parameters.buffer.copy()
        try:
            run.set_data(x, model.input_scale, targets, repeated=False)
            order = epoch_order(np.arange(x.shape[0]), shuffle, pause.rng)
            records = run.train(order, np.full(run.n_steps(len(order)), rate, np.float32))
            total_loss, correct, _ = records.sum(axis=0)
            if not np.isfinite(total_loss):
                raise DivergenceError(None, rate, model)
            flush_subnormals(run)
        except BaseException:  # Ctrl-C too
            moment.restore(run, pause.rng)
            with model._parameters.lock.writing():
                model._parameters.buffer[:] = buffer
            raise
    accuracy = float(correct / len(order)) if model.has_accuracy else float("nan")
    return Metrics(mean(total_loss, _total(targets.weights, order, len(order))), accuracy)
