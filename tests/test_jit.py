import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastmlp

# Compiles a kernel and a function that is called by address.
CODE = """
import numpy as np
from numba.core import config
outside = config.CACHE_DIR
from fastmlp.kernels import dense, jit, losses, regions
out = np.zeros(16, np.float32)
losses.softmax(out, dense.Matrix(0, 64, 16, 1, 4), 0, 1)
assert regions.elements_rows.address != 0
assert config.CACHE_DIR == outside
print(jit.CACHE_FOLDER, out[0], jit.is_cached())
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
    assert {path.name.split("-")[0] for path in kept} >= {"losses.softmax", "regions.elements_rows"}
    assert run(CODE, package, NUMBA_CACHE_DIR=cache) == [folder, "0.25", "True"]
    assert files(folder) == kept
    with open(package / "fastmlp/kernels/vector.py", "a") as file:
        file.write("\nmul = add\n")  # 1 + 1 / 4, in kernels whose own files are as they were
    edited, second, _ = run(CODE, package, NUMBA_CACHE_DIR=cache)
    assert edited != folder
    assert second == "1.25"
    assert files(folder) == kept


def test_warmup_compiles_everything(tmp_path):
    code = """
import numpy as np, scipy.sparse, fastmlp
from fastmlp.kernels import jit
from fastmlp.kernels.losses import LOSSES
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


NARROWER = """
import numpy as np, fastmlp
from fastmlp import reference
from fastmlp.kernels import processors
x = (np.random.default_rng(0).integers(0, 255, (90, 70)) * (np.arange(70) % 4 == 0)).astype(np.uint8)
y = np.arange(90) % 3
a = fastmlp.train(x, y, hidden=(50, 40), epochs=2, seed=0)
b = reference.train(x, y, hidden=(50, 40), epochs=2, seed=0)
print(int(processors.WIDE), max(np.abs(p - q).max() for p, q in zip(a.weights, b.weights)) < 1e-5)
"""


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="names processors of x86")
def test_kernels_for_a_narrower_processor_run_here():
    assert run(NARROWER, NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES="+avx2,+fma,+avx") == ["16", "True"]
