import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastmlp

CODE = """
import numpy as np, fastmlp
from fastmlp.kernels import jit
fastmlp.train(np.eye(4), np.array([0, 1, 0, 1]), epochs=1, threads=1)
print(jit.CACHE_FOLDER)
"""


def run(cache, package=None):
    path = Path(fastmlp.__file__).parent.parent if package is None else package
    env = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(path)}
    command = [sys.executable, "-c", CODE]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True, cwd=path).stdout.strip()


def test_an_edit_of_any_source_gives_another_cache_folder(tmp_path):
    package = tmp_path / "package"
    shutil.copytree(
        Path(fastmlp.__file__).parent, package / "fastmlp", ignore=shutil.ignore_patterns("__pycache__", "mnist")
    )
    (package / "fastmlp/datasets/mnist").mkdir()
    first = run(tmp_path / "cache", package)
    assert list(Path(first).rglob("*.nbc"))
    assert run(tmp_path / "cache", package) == first
    with open(package / "fastmlp/kernels/vector.py", "a") as file:
        file.write("# edited\n")
    assert run(tmp_path / "cache", package) != first


def test_no_cache_folder_is_no_error(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("a file, not a folder")
    assert run(blocked / "cache") == "None"


@pytest.mark.parametrize("cpu", [("haswell", "+avx2,+fma,+avx")])
def test_kernels_for_a_narrower_processor_run_here(tmp_path, cpu):
    name, features = cpu
    code = (
        "import numpy as np, fastmlp\nfrom fastmlp import reference\nfrom fastmlp.kernels import vector\n"
        "x = (np.random.default_rng(0).integers(0, 255, (90, 70)) * (np.arange(70) % 4 == 0)).astype(np.uint8)\n"
        "y = np.arange(90) % 3\n"
        "a = fastmlp.train(x, y, hidden=(50, 40), epochs=2, seed=0)\n"
        "b = reference.train(x, y, hidden=(50, 40), epochs=2, seed=0)\n"
        "print(int(vector.WIDE), max(np.abs(p - q).max() for p, q in zip(a.weights, b.weights)) < 1e-5)\n"
    )
    env = {**os.environ, "NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert result.stdout == "16 True\n"
