import hashlib
import os
import pickle
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fastmlp
from fastmlp.kernels.simd import processors

# Compiles a kernel and a function that is called by address.
CODE = """
import numpy as np
from numba.core import config
outside = config.CACHE_DIR
from fastmlp.kernels.ops import dense, losses
from fastmlp.kernels import jit
from fastmlp.kernels.step import regions
out = np.zeros(16, np.float32)
losses.softmax(out, dense.Matrix(0, 64, 16, 1, 4), 0, 1)
assert regions.elementwise_rows.address != 0
assert config.CACHE_DIR == outside
print(jit.CACHE_FOLDER, out[0], bool(jit.cached_files()))
"""

# The same for two small ones, which takes no time.
TINY = """
from fastmlp.kernels import jit
@jit.kernel
def halve(x):
    return x / 2
@jit.entry(1)
def nothing(x):
    pass
assert nothing.address != 0
print(jit.CACHE_FOLDER, halve(0.5), bool(jit.cached_files()))
"""

WHERE = "from fastmlp.kernels import jit; print(jit.CACHE_FOLDER)"


def run(code, cwd=None, **variables):
    """What `code` prints in a process of its own, with the package in `cwd`, in the caller's environment with JIT."""
    cwd = Path(fastmlp.__file__).parent.parent if cwd is None else cwd
    env = {name: value for name, value in os.environ.items() if name != "NUMBA_DISABLE_JIT"}
    env |= {"PYTHONPATH": str(cwd), **{name: str(value) for name, value in variables.items()}}
    result = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False, cwd=cwd)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


@pytest.fixture
def package(tmp_path):
    """A folder with a copy of the package, without the data."""
    here = tmp_path / "package"
    ignored = shutil.ignore_patterns("__pycache__", "mnist")
    shutil.copytree(Path(fastmlp.__file__).parent, here / "fastmlp", ignore=ignored)
    (here / "fastmlp/datasets/mnist").mkdir()
    return here


def files(folder):
    return {path: path.stat().st_mtime_ns for path in Path(folder).rglob("*.nb?")}


def test_compiled_code_is_kept_and_an_edit_of_a_kernel_takes_effect(package, tmp_path):
    cache = tmp_path / "cache"
    folder, first, cached = run(CODE, package, NUMBA_CACHE_DIR=cache)
    assert (first, cached) == ("0.25", "True")
    assert Path(folder).parent == cache
    kept = files(folder)
    assert {path.name.split("-")[0] for path in kept} >= {"losses.softmax", "regions.elementwise_rows"}
    assert run(CODE, package, NUMBA_CACHE_DIR=cache) == [folder, "0.25", "True"]
    assert files(folder) == kept
    with open(package / "fastmlp/kernels/simd/vector.py", "a") as file:
        file.write("\nmul = add\n")  # 1 + 1 / 4, in kernels whose own files are as they were
    edited, second, _ = run(CODE, package, NUMBA_CACHE_DIR=cache)
    assert edited != folder
    assert second == "1.25"
    assert files(folder) == kept


def test_warmup_compiles_everything(tmp_path):
    code = """
import numpy as np, scipy.sparse, fastmlp
from fastmlp.kernels import jit
from fastmlp.losses import LOSSES
from fastmlp.warmup import warmup
files = lambda: sorted(jit.CACHE_FOLDER.rglob("*.nb?"))
warmup()
compiled = files()
assert len(compiled) > 10
for loss in LOSSES:
    y = np.arange(200) % (2 if loss == "binary_cross_entropy" else 3)
    for x in (np.eye(200, 70), np.eye(200, 70, dtype=np.uint8), np.random.default_rng(0).random((200, 70)),
              scipy.sparse.csr_matrix(np.eye(200, 70))):
        for n in (1, None):
            model = fastmlp.train(x, y, hidden=(70, 9), loss=loss, epochs=1, validation=0.3, threads=n)
            fastmlp.train(x[:9], y[:9], loss=loss, epochs=1, batch_size=1, learning_rate=1e-3, threads=n)
        model.predict(x), model.predict(x[:1]), model.has_accuracy and model.predict_proba(x)
print(files() == compiled)
"""
    assert run(code, NUMBA_CACHE_DIR=tmp_path) == ["True"]


def test_an_edit_outside_of_the_kernels_compiles_nothing(package, tmp_path):
    first = run(WHERE, package, NUMBA_CACHE_DIR=tmp_path)
    (package / "fastmlp/schedules.py").write_text("# edited\n" + (package / "fastmlp/schedules.py").read_text())
    assert run(WHERE, package, NUMBA_CACHE_DIR=tmp_path) == first


def test_kernels_import_nothing_from_outside(package):
    for path in (package / "fastmlp/kernels").rglob("*.py"):  # or the digest would miss what they depend on
        imported = re.findall(r"(?:from|import) (fastmlp[.\w]*)", path.read_text())
        assert all(name.startswith("fastmlp.kernels") for name in imported), path


@pytest.mark.parametrize(("name", "values"), [("NUMBA_BOUNDSCHECK", (0, 1)), ("NUMBA_CPU_NAME", ("haswell", "znver3"))])
def test_code_compiled_for_other_flags_lies_in_another_folder(name, values, tmp_path):
    first, second = (run(WHERE, NUMBA_CACHE_DIR=tmp_path, **{name: value}) for value in values)
    assert first != second


def test_a_folder_that_can_not_be_made_is_no_error(tmp_path):
    (tmp_path / "file").write_text("a file, not a folder")
    assert run(CODE, NUMBA_CACHE_DIR=tmp_path / "file/cache") == ["None", "0.25", "False"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_can_not_be_written_is_no_error(tmp_path):
    tmp_path.chmod(0o500)
    assert run(CODE, NUMBA_CACHE_DIR=tmp_path) == ["None", "0.25", "False"]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="their cache folders have other names")
def test_without_numbas_setting_the_folder_is_the_users(tmp_path):
    (folder,) = run(WHERE, NUMBA_CACHE_DIR="", XDG_CACHE_HOME=tmp_path)
    assert Path(folder).parent == tmp_path / "fastmlp"


def start(code, **variables):
    """A process that runs `code` with the package, with JIT."""
    env = {name: value for name, value in os.environ.items() if name != "NUMBA_DISABLE_JIT"}
    root = Path(fastmlp.__file__).parent.parent
    env |= {"PYTHONPATH": str(root), **{name: str(value) for name, value in variables.items()}}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", code], env=env, text=True, cwd=root, **pipes)


def framed(data):
    """A file of compiled code with these contents, whose checksum is right."""
    return hashlib.sha256(data).digest() + data


DAMAGES = [
    lambda data: b"",
    lambda data: data[: len(data) // 2],
    lambda data: os.urandom(len(data)),
    lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    lambda data: framed(b"no pickle"),
    lambda data: framed(pickle.dumps(("something", "else"))),
    lambda data: framed(pickle.dumps(None)),
]


def test_damaged_files_are_compiled_again_and_replaced(tmp_path):
    folder, _, _ = run(TINY, NUMBA_CACHE_DIR=tmp_path)
    whole = {path: path.read_bytes() for path in Path(folder).iterdir()}
    assert {path.name.split("-")[0] for path in whole} == {"__main__.halve", "__main__.nothing"}
    for damage in DAMAGES:
        damaged = {path: damage(data) for path, data in whole.items()}
        for path, data in damaged.items():
            path.write_bytes(data)
        assert run(TINY, NUMBA_CACHE_DIR=tmp_path) == [folder, "0.25", "True"]
        assert set(Path(folder).iterdir()) == set(whole)
        for path, data in damaged.items():
            now = path.read_bytes()
            assert data != now == framed(now[32:])


def test_a_folder_in_the_place_of_a_file_is_no_error(tmp_path):
    folder, _, _ = run(TINY, NUMBA_CACHE_DIR=tmp_path)
    for path in Path(folder).iterdir():
        path.unlink()
        path.mkdir()
    assert run(TINY, NUMBA_CACHE_DIR=tmp_path) == [folder, "0.25", "True"]
    assert not any(path.name.endswith(".tmp") for path in Path(folder).iterdir())


FULL = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # writing more raises OSError, as on a full disk
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no limits of resources")
def test_a_full_disk_is_no_error_and_leaves_nothing(tmp_path):
    folder, first, cached = run(FULL + TINY, NUMBA_CACHE_DIR=tmp_path)
    assert (first, cached) == ("0.25", "False")
    assert list(Path(folder).iterdir()) == []
    assert run(TINY, NUMBA_CACHE_DIR=tmp_path) == [folder, "0.25", "True"]


@pytest.mark.skipif(sys.platform == "win32", reason="has other cache folders")
@pytest.mark.parametrize("home", ["/proc/nobody", "/dev/null"])
def test_a_home_that_is_not_there_is_no_error(home):
    assert run(CODE, NUMBA_CACHE_DIR="", XDG_CACHE_HOME="", HOME=home) == ["None", "0.25", "False"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_compiled_code_in_a_folder_that_can_not_be_written_is_used(tmp_path):
    folder, _, _ = run(CODE, NUMBA_CACHE_DIR=tmp_path)
    kept = files(folder)
    Path(folder).chmod(0o500)
    try:
        assert run(CODE, NUMBA_CACHE_DIR=tmp_path) == [folder, "0.25", "True"]
    finally:
        Path(folder).chmod(0o700)
    assert files(folder) == kept


def test_processes_side_by_side_share_an_empty_cache(tmp_path):
    # FASTMLP_PROCESSES=100 starts so many, which compile real kernels
    n, code = int(os.environ.get("FASTMLP_PROCESSES", "0")), CODE
    if n == 0:
        n, code = 4, TINY
    processes = [start(code, NUMBA_CACHE_DIR=tmp_path) for _ in range(n)]
    results = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), results
    assert len({tuple(out.split()) for out, _ in results}) == 1
    (folder,) = tmp_path.iterdir()
    kept = files(folder)
    assert len(kept) == len(list(folder.iterdir()))  # no part of a file is left
    assert run(code, NUMBA_CACHE_DIR=tmp_path)[1:] == ["0.25", "True"]
    assert files(folder) == kept


def test_folders_of_other_versions_are_removed_once_unused_for_a_month(tmp_path):
    day = 24 * 3600

    def make(name, days):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "file.nbc").touch()
        os.utime(folder, (time.time() - days * day,) * 2)
        return folder

    old = make("kernels-0123456789abcdef", 31)
    used = make("kernels-0123456789abcde0", 29)
    others = [make("kernels-mine", 1000), make("notes", 1000), make("kernels-0123456789abcdef0", 1000)]
    folder, _, _ = run(TINY, NUMBA_CACHE_DIR=tmp_path)
    assert not old.exists()
    assert all((path / "file.nbc").exists() for path in [used, *others])
    old_part, new_part = Path(folder) / "a.tmp", Path(folder) / "b.tmp"
    old_part.touch()
    new_part.touch()
    os.utime(old_part, (time.time() - 2 * day,) * 2)
    next(Path(folder).glob("__main__.halve*")).unlink()
    os.utime(folder, (time.time() - 40 * day,) * 2)
    assert run(TINY, NUMBA_CACHE_DIR=tmp_path) == [folder, "0.25", "True"]  # itself is never removed
    assert not old_part.exists()
    assert new_part.exists()


def test_use_is_noted_in_the_folders_time(tmp_path):
    folder, _, _ = run(TINY, NUMBA_CACHE_DIR=tmp_path)
    os.utime(folder, (time.time() - 20 * 24 * 3600,) * 2)
    run(TINY, NUMBA_CACHE_DIR=tmp_path)
    assert Path(folder).stat().st_mtime > time.time() - 3600


def test_users_own_kernels_are_cached_where_they_were(tmp_path):
    (tmp_path / "mine.py").write_text("import numba\n@numba.njit(cache=True)\ndef f(x): return x + 1\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from fastmlp.kernels import jit; import mine; mine.f(1)"
    run(code, NUMBA_CACHE_DIR="")
    assert [path.name for path in (tmp_path / "__pycache__").glob("mine.f*.nbi")]


OF_ROW = """
import hashlib, numpy as np, fastmlp
from fastmlp.kernels.simd import processors
x = (np.random.default_rng(0).integers(0, 255, (90, 70)) * (np.arange(70) % 4 == 0)).astype(np.uint8)
y, digest = np.arange(90) % 3, hashlib.sha256()
for sparse in (True, False):
    for activation in ("relu", "gelu"):
        model = fastmlp.train(
            x, y, hidden=(50, 40), activation=activation, epochs=2, seed=0, sparse=sparse, progress=False
        )
        for weight in model.weights:
            digest.update(weight.tobytes())
print(processors.NAME, digest.hexdigest())
"""
SETTINGS = {
    "avx2": {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma,+avx"},
    "other": {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse2"},
}


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="names processors of x86")
@pytest.mark.parametrize("row", SETTINGS)
def test_every_row_of_the_table_of_processors_gives_the_same_bits(row):
    if row == "avx2" and processors.NAME not in ("avx512", "avx2"):
        pytest.skip("this processor has no AVX2")
    name, digest = run(OF_ROW, **SETTINGS[row])
    assert name == row
    assert run(OF_ROW)[1] == digest
