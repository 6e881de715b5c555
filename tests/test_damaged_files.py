"""Readers of files, on random damage: ValueError, or a result, and no memory beyond the file's size.

FASTMLP_FUZZ=10000 makes so many files for each reader.
"""

import gzip
import io
import os
import random
import tracemalloc

import numpy as np
import pytest
from helpers import import_or_skip
from mutations import mutate_bytes, mutate_safetensors

import fastmlp
from fastmlp.datasets import load_idx, load_npy

CASES = int(os.environ.get("FASTMLP_FUZZ", "300"))
MEMORY = 3_000_000  # bytes: that of the files of a few KB here, and of the longest JSON made of them

RNG = np.random.default_rng(0)
X = RNG.random((40, 6)).astype(np.float32)
LABELS = np.array(["no", "yes", "wörd"])[np.arange(40) % 3]


def read_once(reader, path):
    """Return whether a file can be read, and the most memory that reading it takes."""
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        reader(path)
        good = True
    except ValueError:
        good = False
    except BaseException as error:
        raise AssertionError(f"{error!r} for {path.read_bytes()[:2000]!r}") from error
    return good, tracemalloc.get_traced_memory()[1] - before


def check(reader, path, files):
    """Read every one of `files` from `path`; returns how many could be read."""
    n_good = 0
    tracemalloc.start()
    try:
        for data in files:
            path.write_bytes(data)
            good, peak = read_once(reader, path)
            limit = MEMORY + 10 * len(data)
            if peak >= limit:  # once in thousands of files Python enlarges its table of interned strings, by 4 MB
                path.write_bytes(data)
                peak = read_once(reader, path)[1]
            assert peak < limit, (peak, data[:2000])
            n_good += good
    finally:
        tracemalloc.stop()
    return n_good


@pytest.mark.parametrize("kind", ["classifier", "regression", "frame"])
def test_damaged_models(kind, tmp_path):
    rng = random.Random(os.urandom(8) if "FASTMLP_FUZZ" in os.environ else kind)
    path = tmp_path / "model"
    y, scale = (LABELS, "standardize") if kind == "classifier" else (X[:, :3], "auto")
    x = X
    if kind == "frame":
        x = import_or_skip("pandas").DataFrame(X).assign(city=["Oslo", None, "Rome", "Bern"] * (len(X) // 4))
        scale = "robust"
    fastmlp.train(x, y, hidden=(5, 4), epochs=2, validation=0.2, input_scale=scale).save(path)
    data = path.read_bytes()
    good = check(fastmlp.load, path, (mutate_safetensors(data, rng) for _ in range(CASES)))
    assert 0 < good < CASES


def test_a_damaged_checkpoint_is_left_out_or_harmless(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # which takes most of the time
    rng = random.Random(os.urandom(8) if "FASTMLP_FUZZ" in os.environ else 0)
    arguments = {"hidden": (5,), "optimizer": "adam", "dropout": 0.2, "seed": 0, "checkpoint": tmp_path}
    whole = fastmlp.train(X, LABELS, epochs=2, **{**arguments, "checkpoint": None})
    fastmlp.train(X, LABELS, epochs=1, **arguments)
    first, newest = tmp_path / "epoch-000001.safetensors", tmp_path / "epoch-000002.safetensors"
    data = first.read_bytes()

    def resume(_):
        model = fastmlp.train(X, LABELS, epochs=2, **arguments)
        newest.unlink()
        for a, b in zip(model.weights, whole.weights):  # as if the checkpoint were whole, or not there
            assert a.tobytes() == b.tobytes()

    damaged = list(filter(lambda other: other != data, (mutate_safetensors(data, rng) for _ in range(CASES))))
    assert check(resume, first, damaged) == len(damaged)


NUMBERS = RNG.integers(0, 255, (20, 30))


def idx(array, code):
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, code, array.ndim]) + sizes + array.tobytes()


@pytest.mark.parametrize(("name", "head"), [("numbers", 12), ("numbers.gz", 60)])
def test_damaged_idx_files(name, head, tmp_path):
    rng = random.Random(os.urandom(8) if "FASTMLP_FUZZ" in os.environ else name)
    kinds = [idx(NUMBERS.astype(">u1"), 8), idx(NUMBERS.astype(">f4"), 13), idx(NUMBERS.astype(">i4")[0], 12)]
    for data in kinds:
        plain = (mutate_bytes(data, rng, head) for _ in range(CASES // 3))
        if name.endswith(".gz"):  # damage of the file inside, and of the compressed one
            files = (
                gzip.compress(part) if rng.random() < 0.5 else mutate_bytes(gzip.compress(data), rng, head)
                for part in plain
            )  # fmt: skip
        else:
            files = plain
        check(load_idx, tmp_path / name, files)


def test_damaged_npy_files(tmp_path):
    rng = random.Random(os.urandom(8) if "FASTMLP_FUZZ" in os.environ else 0)
    for array in (NUMBERS.astype(np.uint8), NUMBERS.astype(np.float32), NUMBERS.astype(">f8").T):
        file = io.BytesIO()
        np.save(file, array)
        check(load_npy, tmp_path / "x.npy", (mutate_bytes(file.getvalue(), rng, 128) for _ in range(CASES // 3)))


def test_a_header_that_an_npy_file_only_claims_takes_no_memory(tmp_path):
    data = b"\x93NUMPY\x03\x00" + (600_000_000).to_bytes(4, "little") + b"{'descr': '|u1'"
    assert check(load_npy, tmp_path / "x.npy", [data]) == 0


@pytest.mark.parametrize(
    "data",
    [
        bytes([0, 0, 14, 3]) + b"\x7f\xff\xff\xff" * 3,
        bytes([0, 0, 8, 2]) + b"\0\x10\0\0" * 2 + bytes(100),
        bytes([0, 0, 8, 255]) + b"\0\0\0\1" * 255,
    ],
)
def test_a_size_that_an_idx_file_only_claims_takes_no_memory(data, tmp_path):
    assert check(load_idx, tmp_path / "x", [data]) == 0
    assert check(load_idx, tmp_path / "x.gz", [gzip.compress(data)]) == 0
