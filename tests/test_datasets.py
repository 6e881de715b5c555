import gzip
import hashlib
import time

import numpy as np
import pytest

import fastmlp
from fastmlp.datasets import load_idx
from fastmlp.datasets.mnist_digits import FOLDER

# of the uncompressed files, as published for the original ones
DIGESTS = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


@pytest.mark.parametrize("name", DIGESTS)
def test_mnists_files_are_the_original_ones(name):
    with gzip.open(FOLDER / f"{name}.gz") as file:
        assert hashlib.sha256(file.read()).hexdigest() == DIGESTS[name]


def test_mnist_has_its_shapes_and_attribution():
    mnist = fastmlp.load_mnist()
    assert [(a.shape, a.dtype) for a in mnist] == [
        ((60000, 784), np.uint8), ((60000,), np.uint8), ((10000, 784), np.uint8), ((10000,), np.uint8),
    ]  # fmt: skip
    assert mnist.y_train[:5].tolist() == [5, 0, 4, 1, 9]
    assert (FOLDER / "README.md").read_text().count("LeCun") == 1


def test_idx_files_of_other_types_and_broken_ones(tmp_path):
    path = tmp_path / "numbers"
    path.write_bytes(bytes([0, 0, 0x0C, 2, 0, 0, 0, 1, 0, 0, 0, 2]) + np.array([1, -2], ">i4").tobytes())
    np.testing.assert_array_equal(load_idx(path), [[1, -2]])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="cut short"):
        load_idx(path)
    path.write_bytes(b"hello")
    with pytest.raises(ValueError, match="not an IDX file"):
        load_idx(path)


HEAD = bytes([0, 0, 8, 1, 0, 0, 3, 232])
BODY = np.random.default_rng(0).bytes(1000)


def test_the_digests_are_those_of_the_readme():
    text = (FOLDER / "README.md").read_text()
    assert all(f"| {digest} |" in text for digest in DIGESTS.values())


def test_loading_takes_no_longer_than_it_may():
    start = time.perf_counter()
    fastmlp.load_mnist()
    assert time.perf_counter() - start < 5  # 0.3 s on an idle machine


def test_compressed_and_plain_files_are_the_same(tmp_path):
    (tmp_path / "plain").write_bytes(HEAD + BODY)
    (tmp_path / "packed.gz").write_bytes(gzip.compress(HEAD + BODY))
    for name in ("plain", "packed.gz"):
        np.testing.assert_array_equal(load_idx(tmp_path / name), np.frombuffer(BODY, np.uint8))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HEAD[:2],
        HEAD[:6],
        HEAD[:4] + b"\0\0",
        HEAD,
        HEAD + BODY[:-1],
        bytes([0, 0, 7, 1, 0, 0, 0, 1, 1]),
        bytes([0, 1, 8, 1, 0, 0, 0, 1, 1]),
        bytes([0, 0, 8, 3]) + b"\xff" * 12,
    ],
    ids=[
        "empty",
        "no type",
        "half a size",
        "a size cut",
        "no data",
        "a byte short",
        "type 7",
        "head 0 1",
        "huge sizes",
    ],
)
def test_broken_idx_files_are_refused_by_name(tmp_path, data):
    path = tmp_path / "numbers"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"numbers (is|must|holds)"):
        load_idx(path)


def damaged(place):
    data = bytearray(gzip.compress(HEAD + BODY))
    data[place] ^= 255
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        HEAD + BODY,
        gzip.compress(HEAD + BODY)[:5],
        gzip.compress(HEAD + BODY)[:12],
        gzip.compress(HEAD + BODY)[:500],
        gzip.compress(HEAD + BODY)[:-8],
        damaged(500),
    ],
    ids=["not gzip", "cut in its header", "cut at the start", "cut half way", "no checksum", "another byte"],
)
def test_broken_compressed_files_are_refused_by_name(tmp_path, data):
    path = tmp_path / "numbers.gz"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"numbers\.gz is"):
        load_idx(path)


def test_a_missing_file_is_the_operating_systems_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_idx(tmp_path / "nothing.gz")
