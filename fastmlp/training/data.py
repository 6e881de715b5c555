"""The data that an epoch trains on, in memory or read in parts, and the validation set."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from fastmlp.data.encoding import Encodings
from fastmlp.data.order import check_samples, epoch_order, split
from fastmlp.data.targets import check_not_weightless, take_targets, total_weight
from fastmlp.engine.averaging import Averager
from fastmlp.engine.executor import Executor
from fastmlp.kernels.step.record import Targets

if TYPE_CHECKING:
    from fastmlp.data.streams import Stream
    from fastmlp.training.ranks import SeveralRanks

BUFFER_BYTES = 1 << 27  # of a stream's shuffle buffer, by default; three of them may be in memory for a moment


class ArrayData:
    """A data set in memory, whose `samples` (None: all) are trained on in every epoch."""

    def __init__(
        self, executor: Executor, encodings: Encodings, targets: Targets, input_scale, sparse,
        samples: np.ndarray | None, shuffle,
    ):  # fmt: skip
        x = encodings.x
        self.samples = np.arange(x.shape[0]) if samples is None else samples
        self.executor, self.n_samples = executor, len(self.samples)
        self.shuffle, self.weights = shuffle, targets.weights
        executor.set_data(x, input_scale, targets, sparse=sparse, encodings=encodings)

    @property
    def n_steps(self) -> int:
        """Number of steps of an epoch."""
        return self.executor.n_steps(self.n_samples)

    @property
    def epochs_at_once(self) -> int:
        """Number of epochs that `train` may do at once."""
        return self.executor.epochs_at_once(self.n_samples)

    def train(self, rates: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, list[float]]:
        """Train for as many epochs as there are rates for, one for each step.

        Returns the result of `Executor.train`, and the samples' total weight in each epoch.
        """
        n_epochs = len(rates) // self.n_steps
        orders = [epoch_order(self.samples, self.shuffle, rng) for _ in range(n_epochs)]
        records = self.executor.train(orders[0] if n_epochs == 1 else np.concatenate(orders), rates, n_epochs)
        return records, [total_weight(self.weights, order, len(order)) for order in orders]


class RankData(ArrayData):
    """A data set in memory whose batches are trained on by several processes, a part of each batch by each process.

    Parameters
    ----------
    ranks : SeveralRanks
    batch_size : int
        Samples of a step, of all processes together.
    average_every : int
        Number of steps after which the processes agree on the parameters; 1: on the gradient of every step.

    The others are those of `ArrayData`.
    """

    def __init__(self, *arguments, ranks: SeveralRanks, batch_size: int, average_every: int):
        super().__init__(*arguments)
        self.ranks, self.batch_size, self.average_every = ranks, batch_size, average_every
        self.averager = Averager(self.executor, ranks.communicator)

    @property
    def n_steps(self) -> int:
        return -(-self.n_samples // self.batch_size)

    @property
    def epochs_at_once(self) -> int:
        """See `ArrayData.epochs_at_once`."""
        return 1

    def train(self, rates: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, list[float]]:
        """See `ArrayData.train`."""
        order = epoch_order(self.samples, self.shuffle, rng)
        records, diverged = np.zeros((self.n_steps, 3)), False
        for first in range(0, self.n_steps, self.average_every):
            last = min(first + self.average_every, self.n_steps)
            diverged = self._train_piece(order, rates, first, last, records)
            if diverged:
                break
        if not diverged:
            self.executor.unpack(records)
        records = self.ranks.sum(records)
        finite = np.isfinite(records[:, 0])
        n_done = self.n_steps if finite.all() else int(np.argmin(finite)) + 1
        return records[:n_done], [total_weight(self.weights, order, len(order))]

    def _train_piece(self, order: np.ndarray, rates: np.ndarray, first: int, last: int, records: np.ndarray) -> bool:
        """Do some steps, average, and return whether the loss of any process is not finite."""
        executor, n_updates = self.executor, self.executor.n_updates
        error, fraction, diverged = None, 0.0, False
        try:
            whole = order[first * self.batch_size : last * self.batch_size]
            part = rank_part(whole, self.batch_size, self.ranks.rank, self.ranks.size)
            total = total_weight(self.weights, whole, len(whole))
            fraction = total_weight(self.weights, part, len(part)) / total if total > 0 else 1 / self.ranks.size
            if len(part):
                done = executor.train_packed(part, rates[first:last])
                records[first : first + len(done)] = done
                diverged = not np.isfinite(done[-1, 0])
            elif executor.splits_update:  # in a short last batch: a step that does not count, for what updates need
                executor.train_packed(whole[:1], rates[first:last])
            executor.n_updates = n_updates + last - first
        except BaseException as caught:
            error = caught
        diverged, failed = self.averager.average(fraction, diverged, error is not None)
        if failed:
            self.ranks.raise_together(error)
        return diverged


def rank_part(samples: np.ndarray, batch_size: int, rank: int, n_ranks: int) -> np.ndarray:
    """Return the samples of one process, of batches that lie behind each other; the last one may be short.

    Every batch is split into parts as equal as can be, of which the larger ones come first.
    """
    n_full = len(samples) // batch_size * batch_size
    full = samples[:n_full].reshape(-1, batch_size)[:, _part(batch_size, rank, n_ranks)]
    rest = samples[n_full:]
    return np.concatenate([full.ravel(), rest[_part(len(rest), rank, n_ranks)]])


def rank_batch_size(batch_size: int, rank: int, n_ranks: int) -> int:
    """Return how many samples of a batch are in a process's part."""
    part = _part(batch_size, rank, n_ranks)
    return part.stop - part.start


def _part(n: int, rank: int, n_ranks: int) -> slice:
    each, rest = divmod(n, n_ranks)
    first = rank * each + min(rank, rest)
    return slice(first, first + each + (rank < rest))


class StreamData:
    """A data set that is read in parts."""

    def __init__(
        self, executor: Executor, stream: Stream, targets: Targets, input_scale, shuffle: bool, buffer: int | None
    ):
        self.executor, self.stream, self.targets, self.input_scale = executor, stream, targets, input_scale
        self.n_samples, self.shuffle = stream.shape[0], shuffle
        self.buffer = buffer or max(1, BUFFER_BYTES * stream.shape[0] // max(stream.nbytes, 1))

    @property
    def n_steps(self) -> int:
        """Number of steps of an epoch."""
        return self.executor.n_steps(self.n_samples)

    @property
    def epochs_at_once(self) -> int:
        """See `ArrayData.epochs_at_once`."""
        return 1

    def train(self, rates: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, list[float]]:
        """See `ArrayData.train`."""
        records: list[np.ndarray] = []
        n_outputs, done = self.executor.parameters.widths[-1], 0
        # closed: or a traceback that somebody keeps would keep the thread that reads
        with closing(self.stream.windows(rng, self.shuffle, self.executor.batch_size, self.buffer)) as windows:
            for x, samples in windows:
                self.executor.set_data(
                    x, self.input_scale, take_targets(self.targets, samples, n_outputs), repeated=False
                )
                n_steps = self.executor.n_steps(len(samples))
                records.append(self.executor.train(np.arange(len(samples)), rates[done : done + n_steps]))
                done += n_steps
                if not np.isfinite(records[-1][:, 0]).all():
                    break
        return np.concatenate(records), [total_weight(self.targets.weights, np.s_[:], self.n_samples)]


def split_validation(validation, x, y, weights, samples, rng):
    """Return the samples to train on (None: all) and the validation set: (x, y), (x, y, sample_weight) or None.

    `samples` are those that may be trained on, of which a fraction is held out; None: all.
    """
    if validation is None:
        return samples, None
    if isinstance(validation, (float, np.floating)):
        n = x.shape[0] if samples is None else len(samples)
        if not 0 < validation < 1 or not 0 < round(n * validation) < n:
            raise ValueError(
                f"validation, as a fraction, must be in (0, 1) and leave samples in both parts, got {validation!r}"
            )
        if hasattr(x, "windows"):
            raise ValueError("validation, as a fraction, needs x in memory; pass (x, y)")
        kept, held_out = split(n, float(validation), rng)
        if samples is not None:
            kept, held_out = samples[kept], samples[held_out]
        return kept, _held_out(x, y, weights, kept, held_out)
    if isinstance(validation, np.ndarray) and validation.dtype.kind in "iu" and validation.ndim == 1:
        return _hold_out(check_samples(validation, x.shape[0], "validation"), x, y, weights, samples)
    if isinstance(validation, (str, bytes)) or not isinstance(validation, Sequence) or len(validation) not in (2, 3):
        raise TypeError(
            "validation must be (x, y), (x, y, sample_weight), an array of indices or a fraction like 0.1, "
            f"got {type(validation).__name__}"
        )
    return samples, tuple(validation)


def _hold_out(held_out: np.ndarray, x, y, weights, samples):
    """Return the samples to train on, all others if none are given, and the validation set."""
    if hasattr(x, "windows"):
        raise ValueError("validation, as indices, needs x in memory; pass (x, y)")
    if samples is None:
        samples = np.setdiff1d(np.arange(x.shape[0]), held_out)
        if samples.size == 0:
            raise ValueError(f"validation must leave samples to train on, got all {x.shape[0]} indices")
    return samples, _held_out(x, y, weights, samples, held_out)


def _held_out(x, y, weights, kept, held_out):
    """Return the validation set, once the weights of both parts are known to be not all 0."""
    for part, purpose in ((kept, "trained on"), (held_out, "held out for validation")):
        check_not_weightless(weights, part, purpose)
    held = (x[held_out], np.asarray(y)[held_out])
    return held if weights.size == 0 else (*held, weights[held_out])
