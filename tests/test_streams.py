import subprocess
import sys
import threading
import tracemalloc
from contextlib import closing
from pathlib import Path
from typing import ClassVar
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmlp.data.arrays import check_features
from fastmlp.data.streams import Stream, load_targets, open_stream

DTYPES = {
    "u1": "u1", "f4": "f4", "f8": "f8", ">f4": "f4", ">f8": "f8", "f2": "f4", "i1": "f4", "<i4": "f8", ">i8": "f8",
    "u8": "f8", "?": "f4", "g": "f8",
}  # fmt: skip


def rng(seed=3):
    return np.random.default_rng(seed)


def numbered(n, columns=3, dtype=np.float32):
    """Rows that tell where they are."""
    return (np.arange(n * columns) % 251).reshape(n, columns).astype(dtype)


def memmap(path, x, mode="r"):
    created = np.memmap(path, x.dtype, "w+", shape=x.shape)
    created[...] = x
    created.flush()
    return np.memmap(path, x.dtype, mode, shape=x.shape)


def shards(folder, *arrays):
    folder.mkdir(exist_ok=True)
    for k, array in enumerate(arrays):
        np.save(folder / f"{k:03}.npy", array)
    return folder


def pieces(x, *lengths):
    return np.split(x, np.cumsum(lengths))


def running():
    return [thread for thread in threading.enumerate() if thread.name.startswith("fastmlp-stream")]


def naive_windows(x, chunk_rows, generator, shuffle, batch_size, buffer_samples):
    """What `Stream.windows` yields, without threads, files, or a thought for memory."""
    firsts = np.arange(0, len(x), chunk_rows)
    if shuffle:
        firsts = firsts[generator.permutation(len(firsts))]
    sequence = [i for first in firsts for i in range(first, min(first + chunk_rows, len(x)))]
    size = max(batch_size, buffer_samples // batch_size * batch_size)
    if len(sequence) <= buffer_samples:
        size = len(sequence)
    for start in range(0, len(sequence), size):
        window = np.array(sequence[start : start + size])
        samples = window.copy()
        if shuffle:
            samples[generator.permutation(len(window))] = window
        yield x[samples], samples


@pytest.mark.parametrize("lengths", [(), (5,), (1, 1), (8, 1), (0, 4, 0), (19,), (20, 0)])
def test_rows_are_the_arrays_over_the_borders_of_files_and_chunks(tmp_path, lengths):
    x = numbered(20)
    stream = open_stream(shards(tmp_path / "x", *pieces(x, *lengths)))
    assert (stream.shape, stream.dtype, stream.nbytes) == (x.shape, x.dtype, x.nbytes)
    for stream.chunk_rows in (1, 3, 100):
        for first in range(21):
            for last in range(first, 21):
                rows = stream.rows(first, last)
                np.testing.assert_array_equal(rows, x[first:last], strict=True)
                assert type(rows) is np.ndarray
                assert rows.flags.owndata
                assert rows.flags.c_contiguous


@pytest.mark.parametrize(("first", "last"), [(-1, 3), (2, 1), (0, 21), (21, 21)])
def test_rows_that_are_not_there_are_refused(tmp_path, first, last):
    stream = open_stream(memmap(tmp_path / "x", numbered(20)))
    with pytest.raises(ValueError, match=f"rows of x must be between 0 and 20, got {first} to {last}"):
        stream.rows(first, last)


def test_files_come_in_the_order_of_their_names(tmp_path):
    x = numbered(6)
    for name, part in (("b", x[2:4]), ("c", x[4:]), ("a", x[:2])):
        np.save(tmp_path / f"{name}.npy", part)
    (tmp_path / "a.txt").write_text("not a shard")
    for folder in (tmp_path, str(tmp_path)):
        np.testing.assert_array_equal(open_stream(folder).rows(0, 6), x)


def test_a_folder_may_be_relative(tmp_path, monkeypatch):
    x = numbered(6)
    shards(tmp_path / "x", x)
    monkeypatch.chdir(tmp_path)
    stream = open_stream("x")
    monkeypatch.chdir(tmp_path / "x")
    np.testing.assert_array_equal(stream.rows(0, 6), x)


@pytest.mark.parametrize(("given_dtype", "wanted"), DTYPES.items())
@pytest.mark.parametrize("kind", ["memmap", "folder"])
def test_rows_have_dtypes_that_kernels_take(tmp_path, given_dtype, wanted, kind):
    x = numbered(20, dtype=given_dtype)
    stream = open_stream(memmap(tmp_path / "x", x) if kind == "memmap" else shards(tmp_path / "x", x[:7], x[7:]))
    assert stream.dtype == np.dtype(wanted)
    assert stream.dtype.isnative
    assert stream.nbytes == 60 * np.dtype(wanted).itemsize
    rows = stream.rows(0, 20)
    np.testing.assert_array_equal(rows, check_features(x), strict=True)
    assert rows.dtype.isnative


VIEWS = {
    "whole": lambda x: x,
    "some rows": lambda x: x[5:17],
    "every third row": lambda x: x[1::3],
    "backwards": lambda x: x[::-1],
    "columns": lambda x: x[:, 2:5],
    "one column": lambda x: x[:, 3:4],
    "both, with steps": lambda x: x[3::2, ::-2],
    "transposed": lambda x: x.T,
    "another shape": lambda x: x.reshape(40, 3),
    "no memmap any more": lambda x: np.asarray(x)[2:],
    "sliding": lambda x: np.lib.stride_tricks.sliding_window_view(np.asarray(x)[:, 0], 4),
    "repeated": lambda x: np.broadcast_to(x[4], (9, 6)),
    "fortran": lambda x: x.reshape(20, 6, order="F"),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())
def test_views_of_memmaps_are_streams(tmp_path, view):
    x = numbered(20, columns=6)
    stream = open_stream(view(memmap(tmp_path / "x", x)))
    assert isinstance(stream, Stream)
    np.testing.assert_array_equal(stream.rows(0, len(view(x))), view(x), strict=True)


@pytest.mark.parametrize("shard_order", ["C", "F"])
def test_files_may_have_their_columns_together(tmp_path, shard_order):
    x = numbered(20)
    folder = shards(tmp_path / "x", np.asarray(x[:9], order=shard_order), x[9:])
    np.testing.assert_array_equal(open_stream(folder).rows(0, 20), x)


def test_what_is_in_memory_is_no_stream(tmp_path):
    x = memmap(tmp_path / "x", numbered(20))
    for given_x in (np.zeros((3, 2)), [[1.0, 2.0]], None, 3, b"x", x + 1, x[[1, 2]], x.copy(), np.array(x)):
        assert open_stream(given_x) is None


def test_chunks_are_about_two_megabytes_and_of_a_row_at_least(tmp_path):
    x = np.memmap(tmp_path / "x", np.float32, "w+", shape=(100, 1000))
    assert open_stream(x).chunk_rows == (1 << 21) // 4000
    # what is read of a column are the pages of whole rows
    assert open_stream(x[:, :1]).chunk_rows == (1 << 21) // 4000
    assert open_stream(x[::-1, :1]).chunk_rows == (1 << 21) // 4000
    assert open_stream(x.reshape(-1, 1)).chunk_rows == (1 << 21) // 4
    wide = np.memmap(tmp_path / "wide", np.float32, "w+", shape=(2, 1 << 20))
    assert open_stream(wide).chunk_rows == 1


def test_as_many_files_as_there_are_need_no_descriptors(tmp_path):
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("the system does not tell which files are open")
    folder = shards(tmp_path / "x", *pieces(numbered(100), *[1] * 99))
    before = len(list(descriptors.iterdir()))
    stream = open_stream(folder)
    stream.rows(0, 100)
    assert len(list(descriptors.iterdir())) == before


@pytest.mark.parametrize("mode", ["r+", "w+", "c"])
def test_changes_to_a_memmap_are_kept(tmp_path, mode):
    x = numbered(2000, columns=40)
    mapped = memmap(tmp_path / "x", x, "r+")
    if mode != "r+":
        mapped = np.memmap(tmp_path / "x", np.float32, mode, shape=x.shape)
    mapped[...] = x + 1
    stream = open_stream(mapped)
    for _ in range(2):
        np.testing.assert_array_equal(stream.rows(0, 2000), x + 1)
    np.testing.assert_array_equal(mapped, x + 1)


@pytest.mark.parametrize("source", ["memmap", "view"])
def test_pages_that_were_read_are_given_back(tmp_path, source):
    smaps = Path("/proc/self/smaps")
    if not smaps.exists():
        pytest.skip("the system does not tell which pages are in memory")
    path = tmp_path / "pages-of-the-stream"
    x = memmap(path, numbered(50_000, columns=20))

    def resident():
        lines = smaps.read_text().splitlines()
        maps = [k for k, line in enumerate(lines) if line.endswith(path.name)]
        return sum(int(line.split()[1]) for k in maps for line in lines[k : k + 8] if line.startswith("Rss:"))

    view = x if source == "memmap" else np.asarray(x)[10:]
    for read in (lambda: open_stream(view).rows(0, 49_000), lambda: load_targets(view)):
        assert x[::100].sum() > 0
        assert resident() > 1000  # kB: what reading without a stream leaves behind
        read()
        assert resident() < 300


def test_many_rows_are_read_chunk_by_chunk(tmp_path):
    class Counted(Stream):
        lengths: ClassVar[list] = []

        def _read(self, out, first):
            self.lengths.append((first, len(out)))
            super()._read(out, first)

    x = numbered(20)
    stream = Counted([memmap(tmp_path / "x", x)], "x")
    stream.chunk_rows = 7
    np.testing.assert_array_equal(stream.rows(2, 20), x[2:])
    assert stream.lengths == [(2, 7), (9, 7), (16, 4)]


def test_pages_that_are_locked_stay(tmp_path):
    class Locked:
        def madvise(self, *_):
            raise OSError("Invalid argument")

    x = memmap(tmp_path / "x", numbered(20))
    stream = open_stream(x)
    with patch.object(x, "_mmap", Locked()):
        np.testing.assert_array_equal(stream.rows(0, 20), x)


NOT_FINITE = [
    (np.nan, "f4"), (np.inf, "f4"), (-np.inf, "f8"), (1e39, "f8"), (-1e39, "f8"), (np.inf, "f2"),
    (np.finfo("g").max, "g"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "dtype"), NOT_FINITE)
@pytest.mark.parametrize("row", [0, 6, 7, 19])
def test_what_is_not_finite_is_refused_with_its_row_in_the_whole_set(tmp_path, value, dtype, row):
    x = numbered(20, dtype=dtype)
    x[row, 1] = value
    stream = open_stream(shards(tmp_path / "x", x[:7], x[7:]), "validation x")
    wanted = rf"^validation x must be finite \(in float32\), got NaN, infinity or too large a number in row {row}$"
    for stream.chunk_rows in (2, 100):
        with pytest.raises(ValueError, match=wanted):
            stream.rows(0, 20)
        with pytest.raises(ValueError, match=wanted):
            list(stream.windows(rng(), True, 4, 8))
    np.testing.assert_array_equal(stream.rows(row + 1, 20), x[row + 1 :])
    with pytest.raises(ValueError, match="x must be finite") as ours:
        stream.rows(0, 20)
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="x must be finite") as theirs:
        check_features(x, name="validation x")
    assert str(ours.value) == str(theirs.value)


@pytest.fixture(scope="module")
def path_of_set(tmp_path_factory):
    x = rng(8).integers(0, 256, (400, 2), np.uint8)
    path = tmp_path_factory.mktemp("streams") / "x"
    memmap(path, x)
    return path


@given(
    n=st.integers(1, 90), chunk_rows=st.integers(1, 20), batch_size=st.integers(1, 40),
    buffer_samples=st.integers(1, 120), shuffle=st.booleans(), seed=st.integers(0, 9),
)  # fmt: skip
@settings(derandomize=True, deadline=None, max_examples=150)
def test_windows_of_every_size(path_of_set, n, chunk_rows, batch_size, buffer_samples, shuffle, seed):
    x = np.memmap(path_of_set, np.uint8, "r", shape=(400, 2))[:n]
    stream, ours, theirs = open_stream(x), rng(seed), rng(seed)
    stream.chunk_rows = chunk_rows
    chunk_rows = max(1, min(chunk_rows, buffer_samples // 8))
    naive = naive_windows(x, chunk_rows, theirs, shuffle, batch_size, buffer_samples)

    windows = list(stream.windows(ours, shuffle, batch_size, buffer_samples))
    for window, samples in windows:
        expected_window, expected_samples = next(naive)
        np.testing.assert_array_equal(window, expected_window, strict=True)
        np.testing.assert_array_equal(samples, expected_samples, strict=True)
        np.testing.assert_array_equal(window, x[samples])
        assert window.flags.c_contiguous
        assert len(window) <= max(batch_size, buffer_samples)
    assert next(naive, None) is None
    assert ours.bit_generator.state == theirs.bit_generator.state

    order = np.concatenate([samples for _, samples in windows])
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    if not shuffle:
        np.testing.assert_array_equal(order, np.arange(n))
        assert ours.bit_generator.state == rng(seed).bit_generator.state
    assert all(len(samples) % batch_size == 0 for _, samples in windows[:-1])
    assert sum(-(-len(samples) // batch_size) for _, samples in windows) == -(-n // batch_size)
    if n <= buffer_samples:
        assert len(windows) == 1


def test_windows_go_over_the_borders_of_files(tmp_path):
    x = numbered(300)
    stream = open_stream(shards(tmp_path / "x", *pieces(x, 100, 1, 0, 57)))
    for shuffle in (True, False):
        for (window, samples), (rows, numbers) in zip(
            stream.windows(rng(), shuffle, 7, 64), naive_windows(x, 8, rng(), shuffle, 7, 64), strict=True
        ):
            np.testing.assert_array_equal(window, rows, strict=True)
            np.testing.assert_array_equal(samples, numbers)


def test_a_window_has_rows_from_all_over_the_set_and_epochs_differ(tmp_path):
    stream, generator = open_stream(memmap(tmp_path / "x", numbered(4000))), rng()
    first, second = (next(stream.windows(generator, True, 50, 800))[1] for _ in range(2))
    assert not np.array_equal(first, second)
    for samples in (first, second):
        assert len(set(samples // 100)) >= 8  # chunks of a hundred rows
        assert (np.abs(np.diff(samples)) == 1).mean() < 0.05


def test_a_set_that_fits_is_permuted_as_a_whole(tmp_path):
    stream = open_stream(memmap(tmp_path / "x", numbered(1000)))
    ((_, samples),) = stream.windows(rng(), True, 64, 1000)
    np.testing.assert_array_equal(np.sort(samples), np.arange(1000))
    assert (np.abs(np.diff(samples)) == 1).mean() < 0.02


class Slow(Stream):
    """A stream that waits before it reads: each time for what `wait` does with the number of reads till then."""

    def __init__(self, x, wait):
        super().__init__([x], "x")
        self.wait, self.reads, self.threads = wait, 0, set()

    def rows(self, first, last):
        self.threads.add(threading.get_ident())
        self.wait(self.reads)
        self.reads += 1
        return super().rows(first, last)


@pytest.mark.parametrize("who", ["reader", "caller"])
def test_windows_do_not_depend_on_who_waits(tmp_path, who):
    x, nap, ours, theirs = memmap(tmp_path / "x", numbered(64)), threading.Event(), rng(), rng()
    stream = Slow(x, lambda reads: nap.wait(0.001 if who == "reader" else 0))
    for (window, samples), (rows, numbers) in zip(
        stream.windows(ours, True, 4, 16), naive_windows(x, 2, theirs, True, 4, 16), strict=True
    ):
        np.testing.assert_array_equal(window, rows)
        np.testing.assert_array_equal(samples, numbers)
        nap.wait(0.01 if who == "caller" else 0)
    assert ours.random() == theirs.random()


def test_one_thread_reads_the_next_window_while_the_caller_has_the_last(tmp_path):
    second, third = threading.Event(), threading.Event()

    def wait(reads):  # eight chunks are a window
        if reads == 15:
            second.set()
        if reads == 16:
            third.set()

    class Drawn:
        def __init__(self):
            self.threads = set()

        def permutation(self, n):
            self.threads.add(threading.get_ident())
            return np.arange(n) if isinstance(n, int) else n

    stream, drawn = Slow(memmap(tmp_path / "x", numbered(64)), wait), Drawn()
    with closing(stream.windows(drawn, True, 4, 16)) as windows:
        next(windows)
        assert second.wait(10)
        assert not third.wait(0.05)  # or there would be three windows in memory
        next(windows)
        assert third.wait(10)
    assert drawn.threads == {threading.get_ident()}
    assert len(stream.threads) == 1
    assert threading.get_ident() not in stream.threads


def test_two_windows_are_in_memory(tmp_path):
    x = np.memmap(tmp_path / "x", np.uint8, "w+", shape=(20_000, 1000))
    stream = open_stream(x)
    stream.chunk_rows = 100
    windows = stream.windows(rng(), True, 100, 4000)
    tracemalloc.start()
    try:
        while (window := next(windows, None)) is not None:
            assert len(window[0]) == 4000
            del window  # so that it can't be there when the reader begins with the one after the next
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 4e6 < peak < 2.3 * 4e6


class Broken(Exception):
    pass


@pytest.mark.parametrize("reads", [0, 7, 8, 20, 31])
def test_errors_of_the_reader_reach_the_caller(tmp_path, reads):
    def wait(now):
        if now == reads:
            raise Broken

    stream = Slow(memmap(tmp_path / "x", numbered(64)), wait)
    got = []
    with pytest.raises(Broken):
        got.extend(stream.windows(rng(), True, 4, 16))
    assert stream.reads == reads
    assert not running()


def test_files_that_are_gone_or_changed_are_named(tmp_path):
    folder = shards(tmp_path / "x", *pieces(numbered(40), 20))
    stream = open_stream(folder)
    path = folder / "001.npy"
    path.unlink()
    with pytest.raises(ValueError, match=r"x must hold readable \.npy files, got .*001\.npy"):
        list(stream.windows(rng(), True, 4, 16))
    for changed in (numbered(19), numbered(20, 4), numbered(20, dtype=np.uint8), np.asfortranarray(numbered(20))):
        np.save(path, changed)
        with pytest.raises(ValueError, match=r"x must not change while it is read, but .*001\.npy did"):
            list(stream.windows(rng(), True, 4, 16))
    assert not running()


def test_closing_early_ends_the_thread_after_the_chunk_that_it_reads(tmp_path):
    reading, go_on = threading.Event(), threading.Event()

    def wait(reads):
        if reads == 9:
            reading.set()
            assert go_on.wait(10)

    stream = Slow(memmap(tmp_path / "x", numbered(64)), wait)
    windows = stream.windows(rng(), True, 4, 16)
    next(windows)
    assert reading.wait(10)
    assert running()
    timer = threading.Timer(0.1, go_on.set)
    timer.start()
    windows.close()
    timer.join()
    assert not running()
    assert stream.reads == 10  # of the 16 of two windows


def test_a_caller_that_raises_or_never_begins_leaves_no_thread(tmp_path):
    stream = open_stream(memmap(tmp_path / "x", numbered(64)))

    def work():
        for _ in stream.windows(rng(), True, 4, 16):
            assert running()
            raise Broken

    with pytest.raises(Broken):
        work()
    assert not running()
    for _ in stream.windows(rng(), True, 4, 16):
        break  # the generator is dropped here
    assert not running()
    stream.windows(rng(), True, 4, 16)
    assert not running()
    list(stream.windows(rng(), True, 4, 16))
    assert not running()


def test_an_abandoned_stream_does_not_keep_python_from_ending(tmp_path):
    memmap(tmp_path / "x", numbered(64))
    code = (
        "import sys, numpy as np; from fastmlp.data.streams import open_stream\n"
        "x = np.memmap(sys.argv[1], np.float32, 'r', shape=(64, 3))\n"
        "windows = open_stream(x).windows(np.random.default_rng(0), True, 4, 16)\n"
        "next(windows); print('done')"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "x")]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert (run.stdout, run.stderr) == ("done\n", "")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"shuffle": "replacement"}, ValueError, "shuffle must be one of True, False, got 'replacement'"),
        ({"batch_size": 0}, ValueError, "batch_size must be an integer >= 1, got 0"),
        ({"batch_size": 2.5}, TypeError, r"batch_size must be an integer.*2\.5"),
        ({"buffer_samples": 0}, ValueError, "buffer_samples must be an integer >= 1, got 0"),
        ({"buffer_samples": "1"}, TypeError, "buffer_samples must be an integer.*'1'"),
    ],
)
def test_bad_arguments_of_windows_are_refused_at_once(tmp_path, arguments, error, message):
    stream = open_stream(memmap(tmp_path / "x", numbered(64)))
    with pytest.raises(error, match=message):
        stream.windows(rng(), **{"shuffle": True, "batch_size": 4, "buffer_samples": 16, **arguments})


X = numbered(4)


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ([], ValueError, r"train x must be an array or a folder of \.npy files, got '.*folder', which has none"),
        ([X[:0]], ValueError, r"train x must have at least one sample and one feature, got the shape \(0, 3\)"),
        ([X[:0], X[:0]], ValueError, r"train x must have at least one sample.*\(0, 3\)"),
        ([X[:, :0]], ValueError, r"train x must have at least one sample and one feature, got the shape \(4, 0\)"),
        ([X[:, 0]], ValueError, r"train x must have two dimensions.*shape \(4,\) and dtype float32 in .*000\.npy"),
        ([X, X[0]], ValueError, r"train x must have two dimensions.*shape \(3,\) and dtype float32 in .*001\.npy"),
        ([X[None]], ValueError, r"train x must have two dimensions.*shape \(1, 4, 3\)"),
        ([X[0, 0]], ValueError, r"train x must have two dimensions.*shape \(\)"),
        ([X, X[:, :2]], ValueError, r"train x must have 3 columns of dtype float32.*shape \(4, 2\).*001\.npy"),
        ([X, X, X.astype("f8")], ValueError, r"train x must have 3 columns of dtype float32.*float64 in .*002\.npy"),
        ([X, X.astype(">f4")], ValueError, r"train x must have 3 columns of dtype float32.*>f4"),
        ([X.astype("U4")], TypeError, r"train x must hold numbers.*<U4 in .*000\.npy"),
        ([X.astype(complex)], TypeError, r"train x must hold numbers.*complex128"),
        ([X.astype("M8[s]")], TypeError, r"train x must hold numbers.*datetime64"),
        ([X, X.astype([("a", "f4")])], TypeError, r"train x must hold numbers.*001\.npy"),
        ([X.astype(object)], ValueError, r"train x must hold readable \.npy files.*000\.npy': .*object"),
    ],
)
def test_bad_folders_are_refused(tmp_path, arrays, error, message):
    with pytest.raises(error, match=message):
        open_stream(shards(tmp_path / "folder", *arrays), "train x")


def damaged(whole):
    """Contents of files that are no shards."""
    header = bytearray(whole)
    header[20] = ord("(")
    return {
        "empty": b"", "text": b"1, 2, 3\n", "magic only": whole[:6], "half a header": whole[:40],
        "half the rows": whole[: len(whole) - 20], "damaged header": bytes(header), "no values": whole[:128],
    }  # fmt: skip


@pytest.mark.parametrize("kind", [*damaged(b"0" * 128), "folder", "npz", "pickle"])
@pytest.mark.parametrize("opens", [open_stream, load_targets])
def test_files_that_cannot_be_read_are_named(tmp_path, kind, opens):
    folder = shards(tmp_path / "x", X)
    path = folder / "broken.npy"
    if kind == "folder":
        path.mkdir()
    elif kind == "npz":
        np.savez(tmp_path / "x.npz", X)
        (tmp_path / "x.npz").rename(path)
    elif kind == "pickle":
        path.write_bytes(b"\x80\x04K\x01.")
    else:
        path.write_bytes(damaged((folder / "000.npy").read_bytes())[kind])
    with pytest.raises(ValueError, match=r"part must hold readable \.npy files, got .*broken\.npy': ."):
        opens(folder, "part")


@pytest.mark.parametrize("opens", [open_stream, load_targets])
def test_paths_that_are_no_folders_are_refused(tmp_path, opens):
    np.save(tmp_path / "x.npy", X)
    wanted = r"part must be an array or a folder of \.npy files, got '.*{}', which {}$"
    with pytest.raises(ValueError, match=wanted.format("nowhere", "does not exist")):
        opens(str(tmp_path / "nowhere"), "part")
    with pytest.raises(ValueError, match=wanted.format(r"x\.npy", "is a file")):
        opens(tmp_path / "x.npy", "part")
    with pytest.raises(ValueError, match=r"^[xy] must be an array or a folder"):
        opens(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda x: x[0], ValueError, r"train x must have two dimensions.*shape \(3,\) and dtype float32$"),
        (lambda x: x[None], ValueError, r"train x must have two dimensions.*shape \(1, 4, 3\)"),
        (lambda x: x[:0], ValueError, r"train x must have at least one sample and one feature.*\(0, 3\)"),
        (lambda x: x[:, 1:1], ValueError, r"train x must have at least one sample and one feature.*\(4, 0\)"),
        (lambda x: x.view("S4"), TypeError, r"train x must hold numbers.*S4$"),
        (lambda x: x.view([("a", "u1", 4)]), TypeError, "train x must hold numbers"),
    ],
)
def test_bad_memmaps_are_refused(tmp_path, change, error, message):
    x = memmap(tmp_path / "x", X)
    with pytest.raises(error, match=message):
        open_stream(change(x), "train x")


LABELS = {
    "integers": (np.arange(4), np.arange(7, dtype=np.int32)),
    "floats": (np.ones(3, "f4"), np.zeros(2)),
    "columns": (np.ones((3, 2)), np.zeros((4, 2))),
    "strings": (np.array(["cat", "dog"]), np.array(["mouse"])),
    "one": (np.arange(9),),
}


@pytest.mark.parametrize("arrays", LABELS.values(), ids=LABELS.keys())
def test_targets_of_a_folder_come_into_memory(tmp_path, arrays):
    y = load_targets(shards(tmp_path / "y", *arrays))
    np.testing.assert_array_equal(y, np.concatenate(arrays), strict=True)
    assert type(y) is np.ndarray
    assert y.flags.owndata


@pytest.mark.parametrize("view", [lambda y: y, lambda y: y[1::2], lambda y: y[:, None], lambda y: np.asarray(y)[3:]])
def test_targets_of_a_memmap_come_into_memory(tmp_path, view):
    labels = np.arange(30)
    mapped = memmap(tmp_path / "y", labels, "r+")
    y = load_targets(view(mapped))
    mapped[...] = 0
    np.testing.assert_array_equal(y, view(labels), strict=True)
    assert type(y) is np.ndarray
    assert y.flags.owndata


def test_other_targets_stay_as_they_are(tmp_path):
    for y in ([1, 2], np.arange(3), None, 7, memmap(tmp_path / "y", np.arange(3)) + 1):
        assert load_targets(y) is y


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ([], r"labels must be an array or a folder of \.npy files, got '.*', which has none"),
        ([np.zeros((2, 2, 2))], r"labels must have one or two dimensions, got .*\(2, 2, 2\)"),
        ([np.arange(3), np.array(3)], r"labels must have one or two dimensions, got .*\(\)"),
        ([np.arange(3), np.zeros((3, 1), int)], r"labels must have equal columns.*\(3,\).*\(3, 1\)"),
        ([np.zeros((3, 2)), np.zeros((3, 1))], r"labels must have equal columns.*\(3, 2\).*\(3, 1\)"),
        ([np.arange(3), np.zeros(3)], r"labels must have equal columns and kinds.*int64.*float64"),
    ],
)
def test_bad_targets_are_refused(tmp_path, arrays, message):
    with pytest.raises(ValueError, match=message):
        load_targets(shards(tmp_path / "y", *arrays), "labels")


MEMORY = """
import os, sys
import numpy as np
from fastmlp.data.streams import open_stream

path, n, columns, buffer_samples = sys.argv[1], *map(int, sys.argv[2:])
x = np.memmap(path, np.uint8, "r", shape=(n, columns))
rows = total = 0
for window, samples in open_stream(x).windows(np.random.default_rng(0), True, 128, buffer_samples):
    rows += len(window)
    total += int(samples.sum())
assert (rows, total) == (n, n * (n - 1) // 2)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def test_a_set_larger_than_the_buffer_is_never_in_memory(tmp_path):
    if not Path("/proc/self/status").exists():
        pytest.skip("the system does not tell how much memory a process has had")
    n, columns = 1_500_000, 1000
    path = tmp_path / "x"
    x = np.memmap(path, np.uint8, "w+", shape=(n, columns))  # a sparse file: zeros take no room
    x[::100_000] = 7
    command = [sys.executable, "-c", MEMORY, str(path), str(n), str(columns), str(64_000)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    path.unlink()
    assert (run.returncode, run.stderr) == (0, "")
    assert int(run.stdout) < 400_000  # kB: two windows, and Python with Numba
