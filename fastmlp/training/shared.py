"""The data of training runs: checked and encoded once, for any number of runs and threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from fastmlp.data.arrays import as_array, check_features, feature_names, memmap_of
from fastmlp.data.columns import Table, is_table, needs_encoding, read_table
from fastmlp.data.encoding import Encodings
from fastmlp.data.once import Once
from fastmlp.data.targets import check_classes, check_labels, encode_labels, encode_targets, find_classes
from fastmlp.data.targets import target_validator as validator_of
from fastmlp.kernels.step.record import Targets
from fastmlp.losses import ELEMENTWISE
from fastmlp.training.data import BUFFER_BYTES


class SharedData:
    """Samples and targets of `fastmlp.train`, and what training runs make of all of them.

    Nothing in it changes once it is made, so that threads may share it.

    Parameters
    ----------
    x, y, shuffle_buffer
        The arguments of `fastmlp.train`.

    Attributes
    ----------
    x : ndarray, CSR matrix, Stream, or Table of a data frame that has to be encoded
    y : array_like
        As given, or read into memory.
    feature_names : list of str or None
        The columns of a data frame.
    """

    def __init__(self, x, y, shuffle_buffer: int | None = None):
        names = feature_names(x)  # refuses what has not been collected
        self._frame = x if is_table(x) and not needs_encoding(x) else None
        self.x, self.y = _open(x, y, shuffle_buffer)
        self.feature_names = list(self.x.names) if isinstance(self.x, Table) else names
        self._made = Once()

    def for_initial(self, init: Any) -> SharedData:
        """Return the data as a training run has them that begins with `init`: an encoder's model encodes any frame."""
        frame = self._frame
        if frame is None or getattr(init, "encoder", None) is None:
            return self
        return self.once("of an encoder", lambda: SharedData(read_table(frame), self.y))

    @property
    def is_stream(self) -> bool:
        """Whether `x` is read in parts."""
        return hasattr(self.x, "windows")

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return what `make` returned when this key was asked for first."""
        return self._made.get(key, make)

    @property
    def encodings(self) -> Encodings:
        """What kernels read of `x`."""
        return self.once("encodings", lambda: Encodings(self.x))

    @property
    def default_loss(self) -> str:
        """The loss that suits the targets."""
        return self.once("loss", lambda: default_loss(self.y))

    def targets(self, loss: str, classes) -> tuple[np.ndarray | None, Targets, int]:
        """Return the classes (None if targets are not labels), the encoded targets, and the number of outputs."""
        if loss not in ELEMENTWISE:
            return self._labels(classes)
        if classes is not None:
            raise ValueError(f"classes needs labels, which the loss {loss!r} does not have")
        validator = validator_of(loss)

        def encode() -> tuple[None, Targets, int]:
            y = validator(self.y, self.x.shape[0])
            return None, encode_targets(y), y.shape[1]

        return self.once(("targets", validator), encode)

    def _labels(self, classes) -> tuple[np.ndarray, Targets, int]:
        labels = self.once("labels", lambda: check_labels(self.y, self.x.shape[0]))

        given = None if classes is None else check_classes(classes)

        def encode() -> tuple[np.ndarray, Targets, int]:
            found = find_classes(labels) if given is None else given
            return found, encode_labels(labels, found), len(found)

        key = None if given is None else (given.dtype.str, given.tobytes())
        return self.once(("encoded labels", key), encode)


def _open(x, y, shuffle_buffer):
    """Return checked features, or a stream of those that do not fit into its buffer, and targets in memory.

    Data frames that have to be encoded become Tables.
    """
    if all(not isinstance(data, (str, os.PathLike)) and memmap_of(data) is None for data in (x, y)):
        return _check_in_memory(x), y
    from fastmlp.data.streams import load_targets, open_stream

    stream, y = open_stream(x), load_targets(y)
    if stream is None:
        return _check_in_memory(x), y
    if shuffle_buffer is None and stream.nbytes <= BUFFER_BYTES:
        return check_features(stream.rows(0, stream.shape[0])), y
    return stream, y


def _check_in_memory(x):
    return read_table(x) if needs_encoding(x) else check_features(x)


def default_loss(y) -> str:
    """Return the loss that suits the targets."""
    y = as_array(y, "y")
    if y.dtype.kind == "f":
        return "mse"
    return "binary_cross_entropy" if y.ndim == 2 and y.shape[1] > 1 and y.dtype.kind in "bui" else "cross_entropy"
