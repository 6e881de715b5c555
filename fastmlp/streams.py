"""Data sets larger than memory: their rows are read in the background and shuffled in a buffer, window by window."""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from fastmlp import inputs

# What is read at a time: so much that a disk need not seek for every row, so little that it is still in cache when it
# is checked and put into its window, and that a window has rows from many places of the set.
CHUNK_BYTES = 1 << 21
MIN_CHUNKS = 8  # of a window


def open_stream(x, name: str = "x") -> Stream | None:
    """`x` as a stream if it is a folder of .npy files, in the order of their names, or a memmap or a view of one; None
    if it is anything else."""
    if isinstance(x, (str, os.PathLike)):
        return Stream(_files(x, name), name)
    return None if inputs.memmap_of(x) is None else Stream([inputs.as_array(x, name)], name)


def load_targets(y, name: str = "y"):
    """`y` as an ordinary array if it is a folder of .npy files or a memmap; anything else as it is."""
    if isinstance(y, (str, os.PathLike)):
        shards = [np.array(_open(path, name)) for path in _files(y, name)]
    elif inputs.memmap_of(y) is not None:
        shards = [inputs.as_array(y, name)]
    else:
        return y
    for shard in shards:
        if shard.ndim not in (1, 2):
            raise ValueError(f"{name} must have one or two dimensions, got {inputs._describe(shard)}")
        # strings may be longer in one file than in another, but integers and floats are not mixed
        if shard.shape[1:] != shards[0].shape[1:] or shard.dtype.kind != shards[0].dtype.kind:
            got = " and ".join(inputs._describe(each) for each in (shards[0], shard))
            raise ValueError(f"{name} must have equal columns and kinds of dtype in all files, got {got}")
    targets = np.concatenate(shards)
    _release(y)
    return targets


class Stream:
    """Rows of files, one file behind the other, as one array that is never in memory as a whole.

    `shape` is (n_samples, n_features); `dtype`, uint8, float32 or float64, is that of the rows that come out, and
    `nbytes` what all of them would take.  The files of a folder are open only while they are read.  No file may become
    shorter meanwhile: a memmap without a file behind it ends the process.
    """

    def __init__(self, sources: Sequence[np.ndarray | Path], name: str):
        layouts = [(shard.shape, shard.dtype, shard.strides) for shard in (_open(source, name) for source in sources)]
        _check_layouts(layouts, sources, name)
        self.name, self.sources, self.layouts = name, sources, layouts
        self.starts: list[int] = np.cumsum([0, *(shape[0] for shape, _, _ in layouts)]).tolist()
        (_, n_features), dtype, _ = layouts[0]
        self.shape = self.starts[-1], n_features
        if 0 in self.shape:
            raise ValueError(f"{name} must have at least one sample and one feature, got the shape {self.shape}")
        # as in inputs.check_features: a model does not depend on where its data were
        dtype = inputs.row_dtype(dtype)
        self.dtype, row_bytes = dtype, n_features * dtype.itemsize
        self.nbytes = self.shape[0] * row_bytes
        # a view of some columns brings the pages of whole rows into memory
        self.chunk_rows = max(1, CHUNK_BYTES // max(row_bytes, *(abs(strides[0]) for _, _, strides in layouts)))

    def rows(self, first: int, last: int) -> np.ndarray:
        """The rows from `first` to before `last`, a copy (last - first, n_features), all finite."""
        if not 0 <= first <= last <= self.shape[0]:
            raise ValueError(f"rows of {self.name} must be from 0 to {self.shape[0]}, got {first} to {last}")
        out = np.empty((last - first, self.shape[1]), self.dtype)
        for start in range(first, last, self.chunk_rows):
            self._read(out[start - first :][: self.chunk_rows], start)
        return out

    def _read(self, out: np.ndarray, first: int) -> None:
        """out = the rows from `first` on, whose pages do not stay in memory."""
        last = first + len(out)
        for k in range(bisect_right(self.starts, first) - 1, bisect_left(self.starts, last)):
            source, start = self.sources[k], self.starts[k]
            shard = _open(source, self.name)
            if (shard.shape, shard.dtype, shard.strides) != self.layouts[k]:
                raise ValueError(f"{self.name} must stay as it was when it was opened, but {source} was changed")
            part = shard[max(0, first - start) : last - start]
            with np.errstate(over="ignore"):  # what becomes infinite is refused below
                out[max(0, start - first) :][: len(part)] = part
            _release(shard)
        if self.dtype.kind == "f":
            inputs._check_finite(out, self.name, first)

    def windows(
        self, rng: np.random.Generator, shuffle: bool, batch_size: int, buffer_samples: int
    ) -> Generator[tuple[np.ndarray, np.ndarray], None, None]:
        """One epoch as pairs of a window (n, n_features), C-contiguous, and its rows' numbers in the set, (n,) int64.

        Chunks of consecutive rows, in random order, are cut into windows, and each of these is permuted; without
        `shuffle` all is in the order of the set.  All windows but the last have as many whole batches as the buffer has
        room for, one at least; a set that fits into the buffer is one window.

        A thread reads the next window while the caller works on the last; there are never more than these two.  Only
        the caller's thread draws from `rng`, and the same numbers whatever time reading takes.  Close the generator,
        or drop it, to end the thread early.
        """
        inputs.check_choice(shuffle, "shuffle", (True, False))
        batch_size = inputs.check_integer(batch_size, "batch_size", 1)
        buffer_samples = inputs.check_integer(buffer_samples, "buffer_samples", 1)
        chunk_rows = min(self.chunk_rows, max(1, buffer_samples // MIN_CHUNKS))
        n = self.shape[0]
        sequence = _Sequence(n, chunk_rows, rng if shuffle else None)
        size = n if n <= buffer_samples else max(1, buffer_samples // batch_size) * batch_size
        return self._read_ahead(sequence, [*range(0, n, size), n], rng if shuffle else None)

    def _read_ahead(self, sequence: _Sequence, borders: list[int], rng: np.random.Generator | None):
        """The windows between `borders` of a sequence."""
        pool, stopped = ThreadPoolExecutor(1, "fastmlp-stream"), threading.Event()

        def read(start: int, end: int):
            places = np.arange(end - start) if rng is None else rng.permutation(end - start)
            return pool.submit(self._window, sequence.chunks(start, end), places, stopped)

        try:
            ahead = read(*borders[:2])
            for start, end in zip(borders[1:], borders[2:]):
                window = ahead.result()
                ahead = read(start, end)
                yield window
            yield ahead.result()
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)

    def _window(self, chunks: Iterable[tuple[int, int]], places: np.ndarray, stopped: threading.Event):
        """The rows of `chunks` and their numbers, the i-th of them at places[i]."""
        x, samples = np.empty((len(places), self.shape[1]), self.dtype), np.empty(len(places), np.int64)
        filled = 0
        for first, last in chunks:
            if stopped.is_set():
                break
            here = places[filled : filled + last - first]
            x[here], samples[here] = self.rows(first, last), np.arange(first, last)
            filled += last - first
        return x, samples


class _Sequence:
    """The numbers of n rows, chunk by chunk; the chunks in random order if there is an rng."""

    def __init__(self, n: int, chunk_rows: int, rng: np.random.Generator | None):
        first = np.arange(0, n, chunk_rows)
        self.first = first if rng is None else rng.permutation(first)
        self.last = np.minimum(self.first + chunk_rows, n)
        self.starts = np.append(0, np.cumsum(self.last - self.first))

    def chunks(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """From place `start` of the sequence to before `end`: the first and last row of each chunk."""
        for k in range(np.searchsorted(self.starts, start, "right") - 1, np.searchsorted(self.starts, end)):
            first = int(self.first[k] + max(0, start - self.starts[k]))
            yield first, int(min(self.last[k], self.first[k] + end - self.starts[k]))


def _check_layouts(layouts, sources, name: str) -> None:
    """All shards (shape, dtype, strides) are rows of as many numbers of one dtype."""
    shape, dtype, _ = layouts[0]
    for source, (got, got_dtype, _) in zip(sources, layouts):
        given = f"the shape {got} and dtype {got_dtype}" + (f" in {source}" if isinstance(source, Path) else "")
        if got_dtype.kind not in "buif":
            raise TypeError(f"{name} must hold numbers (uint8, float32 or float64), got {given}")
        if len(got) != 2:
            raise ValueError(f"{name} must have two dimensions (n_samples, n_features), got {given}")
        if got[1:] != shape[1:] or got_dtype != dtype:
            raise ValueError(f"{name} must have {shape[1]} columns of dtype {dtype} in all files, got {given}")


def _files(folder: str | os.PathLike, name: str) -> list[Path]:
    """The .npy files of a folder, sorted by name."""
    path = Path(folder)
    files = sorted(path.absolute().glob("*.npy"))
    if not files:
        found = "has none" if path.is_dir() else "is a file" if path.exists() else "does not exist"
        raise ValueError(f"{name} must be an array or a folder of .npy files, got {str(path)!r}, which {found}")
    return files


def _open(source: np.ndarray | Path, name: str) -> np.ndarray:
    """A file as a memmap; an array as it is."""
    if isinstance(source, np.ndarray):
        return source
    try:
        return open_memmap(source, mode="r")  # which np.load(mmap_mode="r") calls for what is no .npz and no pickle
    except Exception as error:  # a damaged header raises tokenize.TokenError, and more
        raise ValueError(f"{name} must hold readable .npy files, got {str(source)!r}: {error}") from error


def _release(array) -> None:
    """Take the pages of a memmap out of this process; the operating system keeps them while it has room."""
    memmap = inputs.memmap_of(array)
    # changes to a memmap of mode "c" are in these pages alone
    if memmap is not None and memmap.mode != "c" and hasattr(mmap, "MADV_DONTNEED"):
        with contextlib.suppress(OSError):  # of pages that are locked
            memmap._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
