import os
import subprocess
import sys
from pathlib import Path

import pytest
from numba.core import config

import fastmlp
from fastmlp.engine import compilation
from fastmlp.kernels import jit
from fastmlp.kernels.step import regions


def test_every_region_has_a_time():
    names = {name for name, value in vars(regions).items() if isinstance(value, jit.entry)}
    assert names == set(compilation.SECONDS)
    assert all(getattr(regions, name).name == name for name in names)
    assert set(compilation.USUAL) <= names


def test_both_processes_have_about_as_much_to_do():
    ours, theirs = compilation.split(list(compilation.SECONDS))
    assert sorted(ours + theirs) == sorted(compilation.SECONDS)
    ours_take, theirs_take = (sum(compilation.SECONDS[name] for name in part) for part in (ours, theirs))
    assert abs(ours_take + compilation.HERE_ALREADY - theirs_take) < 1.0
    assert compilation.split(["weigh_rows"]) == (["weigh_rows"], [])  # not worth a process


def test_a_second_process_that_can_not_be_started_is_no_error(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    with compilation._second_process(["weigh_rows"]):
        pass


CODE = """
import io, sys
import numpy as np, fastmlp
from fastmlp.engine import compilation
from fastmlp.kernels.step import regions
x, y = np.eye(200, 70, dtype=np.float32), np.arange(200) % 3

def said(**arguments):
    sys.stderr = io.StringIO()
    fastmlp.train(x, y, epochs=1, seed=0, **arguments)
    return sys.stderr.getvalue()

compilation._can_share = lambda: True
sys.executable = sys.argv[1]
print(repr(said(sparse=True, progress=False)))
print(said(sparse=False).count("compiling kernels for this processor, once: about"))
print(repr(said(sparse=False)), regions.dense_first_forward.is_ready, regions.row_backward.is_ready)
"""


@pytest.mark.skipif(config.DISABLE_JIT, reason="nothing is compiled")
@pytest.mark.parametrize("python", ["fails", "works"])
def test_compiling_is_announced_once_and_needs_no_second_process(tmp_path, python):
    executable = {"fails": tmp_path / "python", "works": sys.executable}[python]
    if python == "fails":
        executable.write_text("#!/bin/sh\nexit 1\n")
        executable.chmod(0o755)
    where = str(Path(fastmlp.__file__).parent.parent)
    result = subprocess.run(
        [sys.executable, "-c", CODE, str(executable)], capture_output=True, text=True, check=False, cwd=where,
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": where},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["''", "1", "'' True False"]
