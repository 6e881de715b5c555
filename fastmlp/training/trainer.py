"""`Trainer`: the loop over epochs."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from fastmlp.data.columns import Table
from fastmlp.data.frames import FrameEncoder
from fastmlp.data.scaling import robust_scale, standard_scale
from fastmlp.data.targets import check_sample_weight, weighted_mean
from fastmlp.engine.executor import Executor
from fastmlp.engine.parameters import starting_parameters
from fastmlp.engine.training_state import TrainingState, flush_subnormals
from fastmlp.errors import DivergenceError
from fastmlp.model import MLP, Metrics
from fastmlp.training.checkpoints import Checkpoint, Checkpoints, pack_state, unpack_state
from fastmlp.training.data import ArrayData, SharedData, StreamData, rank_batch_size, split_validation
from fastmlp.training.events import call_callbacks
from fastmlp.training.progress import HISTORY, ProgressBar
from fastmlp.training.ranks import Ranks, SeveralRanks
from fastmlp.training.settings import TrainingSettings

RANK_SEED = 0x9E3779B97F4A7C15  # between the seeds of the processes' dropout


class Trainer:
    """Train a model, epoch by epoch.

    Parameters
    ----------
    settings : TrainingSettings
    entropy : int, optional
        What all random numbers derive from; by default the system's entropy.
    ranks : Ranks, optional
        The processes that train together, with the same settings and entropy.

    Attributes
    ----------
    model : MLP
    state : TrainingState
        Beside the model all that the epochs to come depend on.
    """

    def __init__(self, settings: TrainingSettings, entropy: int | None = None, ranks: Ranks | None = None):
        self.settings, self.ranks = settings, ranks or Ranks()
        sequence = np.random.SeedSequence(entropy)
        init_rng, split_rng, order_rng, dropout_rng = (np.random.default_rng(s) for s in sequence.spawn(4))
        y = settings.y
        samples, self.validation = split_validation(
            settings.given["validation"], settings.x, y, settings.targets.weights, split_rng
        )
        self.encoder = self._new_encoder(samples)
        self.x: Any = settings.x if self.encoder is None else self.encoder.transform(settings.x)
        self.model = self._new_model(samples, init_rng)
        self.batch_size = min(settings.batch_size, settings.x.shape[0] if samples is None else len(samples))
        executor = self._new_executor(seed=int(dropout_rng.integers(0, 2**62)))
        self.executor, self.data = executor, self._new_data(executor, samples)
        self.train_set = (
            (self.x, y) if samples is None or not settings.metrics else (self.x[samples], np.asarray(y)[samples])
        )
        rate = settings.learning_rate
        self.state = TrainingState(
            {**executor.arguments, "batch_size": settings.batch_size}, order_rng,
            learning_rate=rate if isinstance(rate, float) else None, entropy=sequence.entropy,
        )  # fmt: skip
        self.state.attach(executor)
        self._packed = self.model._parameters.buffer.copy()  # the parameters that the executor has
        self._recorded: list[str] = []  # names in the history
        self._before: TrainingState | None = None  # the state when the epoch began that is not complete yet

    def _new_encoder(self, samples: np.ndarray | None) -> FrameEncoder | None:
        """Return what encodes a data frame, learnt from the samples that are trained on; None for other data."""
        settings, init = self.settings, self.settings.given["init"]
        if not isinstance(settings.x, Table):
            return None
        known = getattr(init, "encoder", None)
        if known is None:
            return FrameEncoder.learn(
                settings.x, samples, input_scale=settings.input_scale, missing=settings.missing,
                max_levels=settings.max_levels,
            )  # fmt: skip
        if settings.input_scale not in ("auto", 1.0):
            raise ValueError(
                "input_scale must be 'auto' where init is a model with an encoder, which scales the numbers, "
                f"got {settings.input_scale!r}"
            )
        return known

    def _new_model(self, samples: np.ndarray | None, rng: np.random.Generator) -> MLP:
        """Return the untrained model, once the validation set is known to fit it."""
        settings = self.settings
        x, scale = self.x, settings.input_scale
        if self.encoder is not None:  # which scales the columns of numbers
            scale = 1.0
        elif isinstance(scale, str) and scale != "auto":
            scale = {"standardize": standard_scale, "robust": robust_scale}[scale](x, samples)
        widths = (x.shape[1], *settings.hidden, settings.n_outputs)
        parameters, has_bias = starting_parameters(settings.given["init"], widths, rng)
        model = MLP(parameters, settings.activations, settings.loss, settings.classes, scale, has_bias)
        model.threads, model.delta = settings.given["threads"], settings.delta
        model.feature_names, model.encoder = settings.feature_names, self.encoder
        names = [f"{part}_{name}" for name in settings.metrics for part in ("train", "validation")]
        model.history = {name: [] for name in (*HISTORY, *names)}
        if self.validation is not None:  # refuse bad data before training, not after the first epoch
            held_out = model._check_features(self.validation[0], "validation x")
            if self.encoder is not None:  # encoded once, not in every epoch
                self.validation = (held_out, *self.validation[1:])
            n_samples = held_out.shape[0]
            model._encode(self.validation[1], n_samples, "validation y")
            if len(self.validation) == 3 and self.validation[2] is not None:
                check_sample_weight(self.validation[2], n_samples, "validation sample_weight")
        return model

    def _new_executor(self, seed: int) -> Executor:
        settings, model, ranks = self.settings, self.model, self.ranks
        if self.batch_size < ranks.size:
            raise ValueError(
                f"batch_size, and the training samples, must be at least as many as the ranks, {ranks.size}, "
                f"got {self.batch_size}"
            )
        batch_size = rank_batch_size(self.batch_size, ranks.rank, ranks.size)
        executor = Executor(
            model._parameters, model.activations, model.loss, batch_size, model.has_bias, settings.optimizer,
            settings.n_threads, regularization=settings.regularization,
            settings={"smoothing": settings.label_smoothing, "delta": settings.delta},
            seed=(seed + ranks.rank * RANK_SEED) % 2**62, splits_update=ranks.size > 1 and settings.average_every == 1,
        )  # fmt: skip
        executor.announces_compiling = settings.progress is not False
        return executor

    def _new_data(self, executor: Executor, samples: np.ndarray | None) -> ArrayData | StreamData:
        settings, scale = self.settings, self.model.input_scale
        x, targets, shuffle = self.x, settings.targets, settings.shuffle
        if settings.is_stream:
            return StreamData(executor, x, targets, scale, bool(shuffle), settings.shuffle_buffer)
        sparse = None if isinstance(settings.sparse, str) else settings.sparse
        arguments = executor, x, targets, scale, sparse, samples, shuffle
        if isinstance(self.ranks, SeveralRanks):
            return SharedData(
                *arguments, ranks=self.ranks, batch_size=self.batch_size, average_every=settings.average_every
            )
        return ArrayData(*arguments)

    def run(self, checkpoints: Checkpoints | None = None, resumed: Checkpoint | None = None) -> MLP:
        """Train, save a checkpoint after every epoch, and return the model; begin with a checkpoint, if there is one.

        After Ctrl-C the model has the parameters of the last complete epoch.
        """
        model, epochs, ranks = self.model, self.settings.epochs, self.ranks
        self._call("on_train_begin")
        is_finished = resumed is not None and self._resume(resumed)
        progress = self.settings.progress if ranks.is_first else False
        try:
            with ProgressBar(progress, epochs, self.state.epochs_done, self.data.n_samples) as advance:
                while not is_finished and self.state.epochs_done < epochs:
                    record = self.train_epoch()
                    self.commit_epoch(ranks.from_first(lambda: {**record, **self._evaluate()}))  # noqa: B023, at once
                    advance(model)
                    is_finished = self._call("on_epoch_end")
                    if checkpoints is not None:
                        ranks.from_first(lambda: self._save(checkpoints, is_finished))  # noqa: B023
        except KeyboardInterrupt as error:
            if not ranks.know(error):
                raise
            model.interrupted = True
        finally:  # after an error too: the model, which a callback may have kept, can be trained further
            self.restore_parameters()
            self.state.detach()
            model._training_state = self.state
        self._call("on_train_end")
        return model

    def _call(self, event: str) -> bool:
        """Call the callbacks, in the first process, and return whether training is to end."""
        model, ranks = self.model, self.ranks
        is_finished = ranks.from_first(lambda: call_callbacks(self.settings.callbacks, event, model))
        ranks.share(model._parameters)
        if event == "on_train_end":  # in which callbacks may have more
            model.history = ranks.from_first(lambda: model.history)
        return is_finished

    def train_epoch(self) -> dict[str, Any]:
        """Train for an epoch, and return what is to be recorded of it.

        Raises
        ------
        DivergenceError
            If the loss, or a weight, becomes NaN or infinite.
        """
        start = time.perf_counter()
        schedule, epoch, n_samples = self.settings.learning_rate, self.state.epochs_done, self.data.n_samples
        rates = self.ranks.from_first(
            lambda: learning_rates(schedule, epoch, self.settings.epochs, self.data.n_steps)
        )  # fmt: skip
        with self.model._parameters.training.held():
            self._pack()
            self._before = self.state.copy()
            records, weight = self.data.train(rates, self.state.rng)
        seconds = time.perf_counter() - start
        total_loss, correct, _ = records.sum(axis=0)
        if not np.isfinite(total_loss):
            raise DivergenceError(epoch + 1, float(rates[len(records) - 1]), self.model)
        flush_subnormals(self.executor)
        if not isinstance(schedule, float):
            self.state.learning_rate = float(rates.max()) or None  # of one step of warming up it is 0
        return {
            "epoch": epoch + 1,
            "seconds": seconds,
            "train_loss": weighted_mean(total_loss, weight),
            "train_accuracy": float(correct / n_samples) if self.model.has_accuracy else float("nan"),
            "learning_rate": float(rates[0]),
        }

    def _evaluate(self) -> dict[str, float]:
        """Return what is to be recorded of the model as it is now."""
        model, validation = self.model, self.validation
        nothing = Metrics(float("nan"), float("nan"))
        loss, accuracy = nothing if validation is None else model.evaluate(*validation)
        record = {"validation_loss": loss, "validation_accuracy": accuracy}
        for name, metric in self.settings.metrics.items():
            record[f"train_{name}"] = metric(model, *self.train_set)
            record[f"validation_{name}"] = float("nan") if validation is None else metric(model, *validation[:2])
        return record

    def _pack(self) -> None:
        """Give the executor what a callback or another thread has written to the model since the last epoch."""
        parameters = self.model._parameters
        # as integers, of which even NaN equals itself
        if not np.array_equal(parameters.buffer.view(np.int32), self._packed.view(np.int32)):
            self.executor.pack()
            self._packed[:] = parameters.buffer

    def commit_epoch(self, record: dict[str, Any]) -> None:
        """Put a complete epoch into the history."""
        self._recorded = list(record)
        for name, value in record.items():  # a callback may have a list of its own there, or have replaced the dict
            self.model.history.setdefault(name, []).append(value)
        self.state.epochs_done += 1
        self._before = None
        self._packed[:] = self.model._parameters.buffer

    def restore_parameters(self) -> None:
        """Restore the parameters, the history and the state from the end of the last complete epoch."""
        if self._before is None:  # no epoch is under way: what callbacks have written since stays
            return
        with self.model._parameters.lock.writing():
            self.model._parameters.buffer[:] = self._packed
        self.state.restore(self._before)
        for name in self._recorded:  # Ctrl-C may have come before the last of them
            del self.model.history.get(name, [])[self.state.epochs_done :]
        self._before = None
        self.executor.pack()

    def _save(self, checkpoints: Checkpoints, is_finished: bool) -> None:
        state, arrays = self.state.to_checkpoint()
        state["callbacks"], more = pack_state(self.settings.callbacks)
        checkpoints.save(self.model.state(), {**state, "finished": is_finished}, {**arrays, **more})

    def _resume(self, saved: Checkpoint) -> bool:
        """Continue from a checkpoint, and return whether its training run was finished."""
        self.model._parameters.buffer[:] = saved.model.parameters.buffer
        self._pack()
        rate = self.state.learning_rate
        self.state.load_checkpoint(saved.state, saved.arrays)
        if rate is not None:  # in float64
            self.state.learning_rate = rate
        self.model.history = saved.model.history
        unpack_state(self.settings.callbacks, saved.state["callbacks"], saved.arrays)
        return saved.state["finished"]


def learning_rates(learning_rate, epoch: int, epochs: int, n_steps: int) -> np.ndarray:
    """Return the rates (n_steps,) float32 of the steps of one epoch."""
    if hasattr(learning_rate, "rate"):
        rates = learning_rate.rate(epoch + np.arange(n_steps) / n_steps, epochs)
    elif callable(learning_rate):
        rates = [learning_rate(step) for step in range(epoch * n_steps, (epoch + 1) * n_steps)]
    else:
        return np.full(n_steps, learning_rate, np.float32)
    rates = np.asarray(rates, np.float32)
    if rates.shape != (n_steps,) or not (np.isfinite(rates) & (rates >= 0)).all():
        raise ValueError(
            f"learning_rate must give a finite rate >= 0 for every step, got {rates!r} in epoch {epoch + 1}"
        )
    return rates
