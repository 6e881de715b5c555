"""`Trainer`: the loop over epochs."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np

from fastmlp.data.columns import Table
from fastmlp.data.encoding import Encodings
from fastmlp.data.frames import FrameEncoder
from fastmlp.data.scaling import InputScale, RobustScale, robust_scale, standard_scale
from fastmlp.data.targets import check_sample_weight, weighted_mean
from fastmlp.engine.executor import Executor
from fastmlp.engine.parameters import starting_parameters
from fastmlp.engine.training_state import TrainingState
from fastmlp.errors import DivergenceError
from fastmlp.kernels.step.epoch import RECORD_LOSS
from fastmlp.model import MLP, Metrics
from fastmlp.training.checkpoints import Checkpoint, Checkpoints, pack_state, unpack_state
from fastmlp.training.data import ArrayData, RankData, StreamData, rank_batch_size, split_validation
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
    stop : Event, optional
        Once another thread sets it, training ends as after Ctrl-C.

    Attributes
    ----------
    model : MLP
    state : TrainingState
        Beside the model all that the epochs to come depend on.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        entropy: int | None = None,
        ranks: Ranks | None = None,
        stop: threading.Event | None = None,
    ):
        self.settings, self.ranks = settings, ranks or Ranks()
        x, y = settings.data.x, settings.data.y
        sequence = np.random.SeedSequence(entropy)
        init_rng, split_rng, order_rng, dropout_rng = (np.random.default_rng(s) for s in sequence.spawn(4))
        samples, self.validation = split_validation(
            settings.given["validation"], x, y, settings.targets.weights, settings.samples, split_rng
        )
        self.encoder, self.encodings = self._encode(samples)
        self.x: Any = self.encodings.x
        self.model = self._new_model(samples, init_rng)
        self.batch_size = min(settings.batch_size, x.shape[0] if samples is None else len(samples))
        executor = self._new_executor(seed=int(dropout_rng.integers(0, 2**62)))
        executor.stop = stop
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
        self._before: TrainingState | None = None  # the state when the epochs began that are not complete yet

    def _encode(self, samples: np.ndarray | None) -> tuple[FrameEncoder | None, Encodings]:
        """Return what encodes a data frame (None for other data), and the data as they are trained on."""
        settings, data = self.settings, self.settings.data
        if not isinstance(data.x, Table):
            return None, data.encodings

        def encode() -> tuple[FrameEncoder, Encodings]:
            encoder = self._new_encoder(samples)
            return encoder, Encodings(encoder.transform(data.x))

        if samples is not None or getattr(settings.given["init"], "encoder", None) is not None:
            return encode()
        scale = settings.input_scale
        key = scale if isinstance(scale, (str, float)) else tuple(part.tobytes() for part in scale)
        return data.once(("encoded", key, settings.missing, settings.max_levels), encode)

    def _new_encoder(self, samples: np.ndarray | None) -> FrameEncoder:
        """Return what encodes a data frame: the encoder of the initial model, or one learnt from `samples`."""
        settings = self.settings
        known = getattr(settings.given["init"], "encoder", None)
        if known is None:
            return FrameEncoder.learn(
                settings.data.x, samples, input_scale=settings.input_scale, missing=settings.missing,
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
            scale = self._learnt_scale(scale, samples)
        widths = (x.shape[1], *settings.hidden, settings.n_outputs)
        parameters, has_bias = starting_parameters(settings.given["init"], widths, rng)
        model = MLP(parameters, settings.activations, settings.loss, settings.classes, scale, has_bias)
        model.threads, model.delta = settings.given["threads"], settings.delta
        model.feature_names, model.encoder = settings.data.feature_names, self.encoder
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

    def _learnt_scale(self, name: str, samples: np.ndarray | None) -> InputScale | RobustScale:
        """Return the scale of this name of the samples; that of all of them is shared with other training runs."""
        learn: Any = {"standardize": standard_scale, "robust": robust_scale}[name]
        if samples is None:
            return self.settings.data.once(name, lambda: learn(self.x, None))
        if name == "robust":  # a scaled copy for this training run alone
            self.encodings = Encodings(self.x)
        return learn(self.x, samples)

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
            settings.n_threads, regularization=settings.regularization, rate_factors=settings.rate_factors,
            settings={"smoothing": settings.label_smoothing, "delta": settings.delta},
            seed=(seed + ranks.rank * RANK_SEED) % 2**62, splits_update=ranks.size > 1 and settings.average_every == 1,
        )  # fmt: skip
        executor.announces_compiling = settings.progress is not False
        return executor

    def _new_data(self, executor: Executor, samples: np.ndarray | None) -> ArrayData | StreamData:
        settings, scale = self.settings, self.model.input_scale
        targets, shuffle = settings.targets, settings.shuffle
        if settings.data.is_stream:
            return StreamData(executor, self.x, targets, scale, bool(shuffle), settings.shuffle_buffer)
        sparse = None if isinstance(settings.sparse, str) else settings.sparse
        arguments = executor, self.encodings, targets, scale, sparse, samples, shuffle
        if isinstance(self.ranks, SeveralRanks):
            return RankData(
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
                    records = self.train_epochs(1 if checkpoints is not None else self._epochs_at_once())
                    evaluated = ranks.from_first(self._evaluate)
                    self.commit_epochs([{**record, **evaluated} for record in records])
                    for _ in records:
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

    def _epochs_at_once(self) -> int:
        """Return how many epochs to train before anything else: several if they are short, and nobody looks on."""
        settings = self.settings
        if settings.callbacks or settings.metrics or self.validation is not None or callable(settings.learning_rate):
            return 1
        return min(self.data.epochs_at_once, settings.epochs - self.state.epochs_done)

    def train_epochs(self, n_epochs: int = 1) -> list[dict[str, Any]]:
        """Train for some epochs, and return what is to be recorded of them, where the seconds are their mean.

        If one of several fails, those before it are trained.

        Raises
        ------
        DivergenceError
            If the loss, or a weight, becomes NaN or infinite.
        """
        start = time.perf_counter()
        done, n_samples, n_steps = self.state.epochs_done, self.data.n_samples, self.data.n_steps
        rates = self.ranks.from_first(lambda: self._learning_rates(n_epochs))
        n_epochs = len(rates) // n_steps
        with self.model._parameters.training.held():
            self._pack()
            self._before = self.state.copy()
            packed = self.executor.network.parameters.copy() if n_epochs > 1 else None
            sums, weights = self.data.train(rates, self.state.rng)
        seconds = (time.perf_counter() - start) / n_epochs
        if not np.isfinite(sums[-1, RECORD_LOSS]):
            if packed is None:
                raise DivergenceError(done + 1, float(rates[len(sums) - 1]), self.model)
            self.restore_parameters()
            self.executor.network.parameters[:] = packed  # with what lies between the weights, which may be NaN now
            n_complete = (len(sums) - 1) // n_steps
            # a weight may have become infinite in an epoch before the last
            return self.train_epochs(max(1, n_complete if len(sums) < len(rates) else n_epochs // 2))
        self.executor.flush_subnormals()
        if not isinstance(self.settings.learning_rate, float):
            self.state.learning_rate = float(rates[-n_steps:].max()) or None  # of one step of warming up it is 0
        return [
            {
                "epoch": done + k + 1,
                "seconds": seconds,
                "train_loss": weighted_mean(total_loss, weights[k]),
                "train_accuracy": float(correct / n_samples) if self.model.has_accuracy else float("nan"),
                "learning_rate": float(rates[k * n_steps]),
            }
            for k, (total_loss, correct, _) in enumerate(sums.reshape(n_epochs, n_steps, -1).sum(axis=1))
        ]

    def _learning_rates(self, n_epochs: int) -> np.ndarray:
        """Return the learning rates of all steps of the next epochs; of fewer, if those of a later one are wrong."""
        settings, done, rates = self.settings, self.state.epochs_done, []
        for epoch in range(done, done + n_epochs):
            try:
                rates.append(learning_rates(settings.learning_rate, epoch, settings.epochs, self.data.n_steps))
            except Exception:  # which comes again in the epoch's turn
                if not rates:
                    raise
                break
        return np.concatenate(rates)

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

    def commit_epochs(self, records: list[dict[str, Any]]) -> None:
        """Put complete epochs into the history."""
        self._recorded = list(records[0])
        for name in records[0]:  # a callback may have a list of its own there, or have replaced the dict
            self.model.history.setdefault(name, []).extend(record[name] for record in records)
        self.state.epochs_done += len(records)
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
        self.executor.pack()
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
