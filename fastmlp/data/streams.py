"""Data sets larger than memory, read in the background and shuffled in a buffer, window by window."""

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

from fastmlp import checks
from fastmlp.data.arrays import as_array, check_finite, memmap_of, row_dtype

# Bytes read at a time: enough that a disk need not seek for every row, but few enough that they are still in cache when
# they are checked and copied into a window, and that a window mixes rows from many parts of the data set.
CHUNK_BYTES = 1 << 21
MIN_CHUNKS = 8  # per window


def open_stream(x, name: str = "x") -> Stream | None:
    """Return a stream if `x` is a folder of .npy files, read in the order of their names, or a memmap or a view of one.

    For anything else return None.
    """
    if isinstance(x, (str, os.PathLike)):
        return Stream(_files(x, name), name)
    return None if memmap_of(x) is None else Stream([as_array(x, name)], name)


def load_targets(y, name: str = "y"):
    """Read `y` into memory if it is a folder of .npy files or a memmap; return anything else unchanged."""
    if isinstance(y, (str, os.PathLike)):
        shards = [np.array(_open(path, name)) for path in _files(y, name)]
    elif memmap_of(y) is not None:
        shards = [as_array(y, name)]
    else:
        return y
    for shard in shards:
        if shard.ndim not in (1, 2):
            raise ValueError(f"{name} must have one or two dimensions, got {checks.describe(shard)}")
        # strings may be longer in one file than in another, but integers and floats are not mixed
        if shard.shape[1:] != shards[0].shape[1:] or shard.dtype.kind != shards[0].dtype.kind:
            got = " and ".join(checks.describe(each) for each in (shards[0], shard))
            raise ValueError(f"{name} must have equal columns and kinds of dtype in all files, got {got}")
    targets = np.concatenate(shards)
    _release(y)
    return targets


class Stream:
    """The rows of one or more files, in order, as one array that is never in memory as a whole.

    `shape` is (n_samples, n_features).  `dtype` is the dtype of the rows returned: uint8, float32 or float64.  `nbytes`
    is the size of all of them.  The files of a folder are open only while they are read.  Files must not be truncated
    meanwhile: reading a memmap beyond the end of its file crashes the process.
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
        # as in check_features: the model must not depend on where the data are stored
        dtype = row_dtype(dtype)
        self.dtype, row_bytes = dtype, n_features * dtype.itemsize
        self.nbytes = self.shape[0] * row_bytes
        # reading some columns loads the pages of whole rows
        self.chunk_rows = max(1, CHUNK_BYTES // max(row_bytes, *(abs(strides[0]) for _, _, strides in layouts)))

    def rows(self, first: int, last: int) -> np.ndarray:
        """Return a copy of rows `first` to `last`, exclusive: (last - first, n_features), all finite."""
        if not 0 <= first <= last <= self.shape[0]:
            raise ValueError(f"rows of {self.name} must be between 0 and {self.shape[0]}, got {first} to {last}")
        out = np.empty((last - first, self.shape[1]), self.dtype)
        for start in range(first, last, self.chunk_rows):
            self._read(out[start - first :][: self.chunk_rows], start)
        return out

    def _read(self, out: np.ndarray, first: int) -> None:
        """Read rows into `out`, starting at `first`, and release their pages."""
        last = first + len(out)
        for k in range(bisect_right(self.starts, first) - 1, bisect_left(self.starts, last)):
            source, start = self.sources[k], self.starts[k]
            shard = _open(source, self.name)
            if (shard.shape, shard.dtype, shard.strides) != self.layouts[k]:
                raise ValueError(f"{self.name} must not change while it is read, but {source} did")
            part = shard[max(0, first - start) : last - start]
            with np.errstate(over="ignore"):  # infinities are refused below
                out[max(0, start - first) :][: len(part)] = part
            _release(shard)
        if self.dtype.kind == "f":
            check_finite(out, self.name, first)

    def windows(
        self, rng: np.random.Generator, shuffle: bool, batch_size: int, buffer_samples: int
    ) -> Generator[tuple[np.ndarray, np.ndarray], None, None]:
        """Yield one epoch as pairs of a window (n, n_features), C-contiguous, and the numbers of its rows, (n,) int64.

        Chunks of consecutive rows come in random order, are cut into windows, and the rows of each window are permuted.
        Without `shuffle`, everything stays in order.  Every window but the last holds as many whole batches as fit into
        the buffer, at least one.  A data set that fits into the buffer is one window.

        A thread reads the next window while the caller works on the current one, so at most two are in memory.  Only
        the caller's thread draws from `rng`, so results do not depend on timing.  Close or drop the generator to stop
        the thread early.
        """
        checks.check_choice(shuffle, "shuffle", (True, False))
        batch_size = checks.check_integer(batch_size, "batch_size", 1)
        buffer_samples = checks.check_integer(buffer_samples, "buffer_samples", 1)
        chunk_rows = min(self.chunk_rows, max(1, buffer_samples // MIN_CHUNKS))
        n = self.shape[0]
        sequence = _Sequence(n, chunk_rows, rng if shuffle else None)
        size = n if n <= buffer_samples else max(1, buffer_samples // batch_size) * batch_size
        return self._read_ahead(sequence, [*range(0, n, size), n], rng if shuffle else None)

    def _read_ahead(self, sequence: _Sequence, borders: list[int], rng: np.random.Generator | None):
        """Yield the windows of a sequence that `borders` separate, reading one ahead."""
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
        """Return the rows of `chunks` and their numbers, the i-th of them at position places[i]."""
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
    """The numbers of n rows, chunk by chunk; the chunks are in random order if there is an rng."""

    def __init__(self, n: int, chunk_rows: int, rng: np.random.Generator | None):
        first = np.arange(0, n, chunk_rows)
        self.first = first if rng is None else rng.permutation(first)
        self.last = np.minimum(self.first + chunk_rows, n)
        self.starts = np.append(0, np.cumsum(self.last - self.first))

    def chunks(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the first and last row, exclusive, of every chunk from position `start` to `end` of the sequence."""
        for k in range(np.searchsorted(self.starts, start, "right") - 1, np.searchsorted(self.starts, end)):
            first = int(self.first[k] + max(0, start - self.starts[k]))
            yield first, int(min(self.last[k], self.first[k] + end - self.starts[k]))


def _check_layouts(layouts, sources, name: str) -> None:
    """Raise an error unless all shards, given as (shape, dtype, strides), have the same columns and dtype."""
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
    """Return the .npy files of a folder, sorted by name."""
    path = Path(folder)
    files = sorted(path.absolute().glob("*.npy"))
    if not files:
        found = "has none" if path.is_dir() else "is a file" if path.exists() else "does not exist"
        raise ValueError(f"{name} must be an array or a folder of .npy files, got {str(path)!r}, which {found}")
    return files


def _open(source: np.ndarray | Path, name: str) -> np.ndarray:
    """Open a file as a memmap; return an array unchanged."""
    if isinstance(source, np.ndarray):
        return source
    try:
        return open_memmap(source, mode="r")  # unlike np.load, refuses .npz files and pickles
    except Exception as error:  # a damaged header raises tokenize.TokenError and others
        raise ValueError(f"{name} must hold readable .npy files, got {str(source)!r}: {error}") from error


def _release(array) -> None:
    """Release the pages of a memmap from this process; the operating system may keep them cached."""
    memmap = memmap_of(array)
    # in mode "c", changes exist only in these pages
    if memmap is not None and memmap.mode != "c" and hasattr(mmap, "MADV_DONTNEED"):
        with contextlib.suppress(OSError):  # the pages may be locked
            memmap._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
