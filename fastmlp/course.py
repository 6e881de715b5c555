"""A course of training, epoch by epoch: what `train` loops over, `partial_fit` goes on with, and checkpoints keep."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp import inputs
from fastmlp.batches import epoch_order
from fastmlp.kernels import context as places
from fastmlp.kernels.context import Targets
from fastmlp.model import MLP, Metrics
from fastmlp.optimizers import SGD, Optimizer
from fastmlp.run import Run
from fastmlp.threads import resolve
from fastmlp.workspace import pack

if TYPE_CHECKING:
    from fastmlp.streams import Stream

BUFFER_BYTES = 1 << 27  # of a stream's shuffle buffer, by default; three of them may be in memory for a moment


class DivergenceError(ArithmeticError):
    """The loss, or a weight, became NaN or infinite.

    Attributes
    ----------
    model : MLP
        With the weights from before the epoch in which that happened, and the history until then.
    epoch : int or None
        The epoch, counted from 1; None in `MLP.partial_fit`.
    """

    def __init__(self, epoch: int | None, learning_rate: float, model: MLP):
        where = "" if epoch is None else f" in epoch {epoch}"
        super().__init__(
            f"the loss or a weight became NaN or infinite{where}, at learning rate {learning_rate:g}; "
            "try a smaller learning_rate. The weights from before that are in this error's .model"
        )
        self.epoch, self.model = epoch, model


class ArrayData:
    """A data set in memory, which a run works on: of its samples, every epoch takes those in `samples`, or all."""

    def __init__(self, run: Run, x, targets: Targets, input_scale, sparse, samples: np.ndarray | None, shuffle):
        self.samples = np.arange(x.shape[0]) if samples is None else samples
        self.run, self.n_samples, self.shuffle, self.weights = run, len(self.samples), shuffle, targets.weights
        run.set_data(x, input_scale, targets, sparse=sparse)

    def train(self, rates: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        """An epoch: what `Run.train` returns, and the weights of its samples together."""
        order = epoch_order(self.samples, self.shuffle, rng)
        return self.run.train(order, rates), _total(self.weights, order, len(order))


class StreamData:
    """A data set that a run gets in parts."""

    def __init__(self, run: Run, stream: Stream, targets: Targets, input_scale, shuffle: bool, buffer: int | None):
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
                self.run.set_data(
                    x, self.input_scale, inputs.take_targets(self.targets, samples, n_outputs), repeated=False
                )
                n_steps = self.run.n_steps(len(samples))
                records.append(self.run.train(np.arange(len(samples)), rates[done : done + n_steps]))
                done += n_steps
                if not np.isfinite(records[-1][:, 0]).all():
                    break
        return np.concatenate(records), _total(self.targets.weights, np.s_[:], self.n_samples)


def _total(weights: np.ndarray, samples: np.ndarray | slice, n_samples: int) -> float:
    """The weights of some samples, of which there are `n_samples`, together."""
    return float(weights[samples].sum(dtype=np.float64)) if weights.size else float(n_samples)


def _mean(total_loss: float, weight: float) -> float:
    """The mean loss of samples of some weight together: 0 where that is 0, as it is where such samples are drawn."""
    return float(total_loss / weight) if weight > 0 else float(total_loss)


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


class Course:
    """A training: model, run, data, learning rates and random numbers.

    Attributes
    ----------
    done : int
        How many epochs are.
    """

    def __init__(self, model: MLP, run: Run, data, learning_rate, epochs: int, rng: np.random.Generator, entropy):
        self.model, self.run, self.data, self.learning_rate = model, run, data, learning_rate
        self.epochs, self.rng, self.entropy, self.done = epochs, rng, entropy, 0
        self._before = model._parameters.buffer.copy()

    def epoch(self) -> dict[str, Any]:
        """Train for an epoch; returns what the history is to have of it."""
        self._before[:] = self.model._parameters.buffer
        start = time.perf_counter()
        n_samples = self.data.n_samples
        rates = learning_rates(self.learning_rate, self.done, self.epochs, self.run.n_steps(n_samples))
        records, weight = self.data.train(rates, self.rng)
        seconds = time.perf_counter() - start
        total_loss, correct, _ = records.sum(axis=0)
        diverged = not np.isfinite(total_loss)
        return {
            "epoch": self.done + 1,
            "seconds": seconds,
            "train_loss": _mean(total_loss, weight),
            "train_accuracy": float(correct / n_samples) if self.model.has_accuracy else float("nan"),
            "learning_rate": float(rates[len(records) - 1 if diverged else 0]),
        }

    def close(self, record: dict[str, Any]) -> None:
        """The epoch is whole: put it into the history."""
        for name, values in self.model.history.items():
            values.append(record[name])
        self.done += 1
        self._before[:] = self.model._parameters.buffer

    def take_back(self) -> None:
        """The weights of the last epoch that is whole."""
        self.model._parameters.buffer[:] = self._before

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What the epochs to come depend on, beside the model: JSON's types, and arrays."""
        state = {
            "entropy": str(self.entropy),
            "rng": self.rng.bit_generator.state,
            "updates": int(self.run.context[places.N_UPDATES]),
        }
        return state, {"state": self.run.network.state}

    def load_state(self, saved: MLP, state: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Go on from a state, and from the model that was saved with it."""
        self.model._parameters.buffer[:] = saved._parameters.buffer
        pack(self.run.network, self.model._parameters)
        self.run.network.state[:] = arrays["state"]
        self.run.context[places.N_UPDATES] = state["updates"]
        self.rng.bit_generator.state = state["rng"]
        self.model.history = saved.history
        self.done = len(saved.history["epoch"])
        self._before[:] = self.model._parameters.buffer

    def pause(self) -> Pause:
        """What `partial_fit` goes on with."""
        rate = self.learning_rate
        if not isinstance(rate, float):
            rate = self.model.history["learning_rate"][-1] if self.done else None
        updates = int(self.run.context[places.N_UPDATES])
        return Pause(self.run.arguments, rate, self.run.network.state, updates, self.rng)


@dataclass
class Pause:
    """A training between two calls of `partial_fit`: how its `Run` is made, the learning rate, the optimizer's state,
    the number of updates, and random numbers; and the run, once there is one."""

    arguments: dict[str, Any]
    learning_rate: float | None
    state: np.ndarray
    updates: int
    rng: np.random.Generator
    run: Run | None = None

    def __getstate__(self) -> dict[str, Any]:
        updates = self.updates if self.run is None else int(self.run.context[places.N_UPDATES])
        return {**self.__dict__, "updates": updates, "run": None}  # a run is full of addresses

    def resume(self, model: MLP, batch_size: int, optimizer: Optimizer | None = None) -> Run:
        """The run, for batches of up to `batch_size`; with the settings of an `optimizer`, if it has the same rule."""
        if optimizer is not None and optimizer.rule == self.arguments["optimizer"].rule:
            self.arguments = {**self.arguments, "optimizer": optimizer}
        if self.run is None or self.run.batch_size != batch_size:
            run = Run(model._parameters, model.activations, model.loss, **{**self.arguments, "batch_size": batch_size})
            run.network.state[:] = self.state
            run.context[places.N_UPDATES] = self.updates if self.run is None else self.run.context[places.N_UPDATES]
            self.run, self.state = run, run.network.state
        else:
            for place, value in self.arguments["optimizer"].settings().items():
                self.run.settings[place] = value
        pack(self.run.network, model._parameters)
        return self.run


def partial_fit(
    model: MLP, x, y, sample_weight, learning_rate, batch_size, optimizer: Optimizer | None = None, shuffle=True
) -> Metrics:
    """See `MLP.partial_fit`; `optimizer` as in `Pause.resume`, `shuffle` as in `fastmlp.train`."""
    x = model._check_features(x)
    targets = model._encode(y, x.shape[0])
    if sample_weight is not None:
        targets = targets._replace(weights=inputs.check_sample_weight(sample_weight, x.shape[0]))
    if model._pause is None:
        arguments = {
            "batch_size": 128, "has_bias": model.has_bias, "optimizer": SGD(), "threads": resolve(model.threads),
            "settings": {places.DELTA: model.delta},
        }  # fmt: skip
        model._pause = Pause(arguments, None, np.zeros(0, np.float32), 0, np.random.default_rng())
    pause = model._pause
    rate = pause.learning_rate if learning_rate is None else inputs.check_positive(learning_rate, "learning_rate")
    if rate is None:
        rate = pause.arguments["optimizer"].learning_rate
    if batch_size is None:
        batch_size = pause.arguments["batch_size"]
    # room for a batch is made for as many samples as there are; a power of two, as a run is made anew for another size
    batch_size = min(inputs.check_integer(batch_size, "batch_size", 1), 1 << (x.shape[0] - 1).bit_length())
    run = pause.resume(model, batch_size, optimizer)
    run.set_data(x, model.input_scale, targets, repeated=False)
    order = epoch_order(np.arange(x.shape[0]), shuffle, pause.rng)
    records = run.train(order, np.full(run.n_steps(len(order)), rate, np.float32))
    total_loss, correct, _ = records.sum(axis=0)
    if not np.isfinite(total_loss):
        raise DivergenceError(None, rate, model)
    accuracy = float(correct / len(order)) if model.has_accuracy else float("nan")
    return Metrics(_mean(total_loss, _total(targets.weights, order, len(order))), accuracy)
