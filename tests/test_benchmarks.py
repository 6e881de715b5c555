"""The asv suite: every benchmark runs, and none is skipped."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from numba.core import config

ROOT = Path(__file__).resolve().parent.parent

pytestmark = [
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="asv needs the repository"),
    pytest.mark.skipif(config.DISABLE_JIT or config.BOUNDSCHECK, reason="slow without optimized code"),
]


def asv(folder, *arguments):
    command = [sys.executable, "-m", "asv", "--config", str(folder / "asv.conf.json"), *arguments]
    variables = {**os.environ, "FASTMLP_BENCHMARKS_ONCE": "1"}
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=variables)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A folder with the results of every benchmark on this commit, run once each."""
    folder = tmp_path_factory.mktemp("asv")
    settings = json.loads((ROOT / "asv.conf.json").read_text())
    settings |= {"repo": str(ROOT), "benchmark_dir": str(ROOT / "benchmarks"), "branches": ["HEAD"]}
    settings |= {f"{name}_dir": str(folder / name) for name in ("env", "results", "html")}
    (folder / "asv.conf.json").write_text(json.dumps(settings))
    asv(folder, "machine", "--yes", "--machine", "test")
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    asv(
        folder, "run", "--python=same", "--quick", "--machine", "test", "--set-commit-hash", head.stdout.strip(),
        "--show-stderr",
    )  # fmt: skip
    return folder


def measured(folder):
    """The values of every benchmark, by name."""
    (path,) = (path for path in (folder / "results" / "test").glob("*.json") if path.name != "machine.json")
    stored = json.loads(path.read_text())
    column = stored["result_columns"].index("result")
    return {name: values[column] for name, values in stored["results"].items()}


def test_every_benchmark_runs_and_none_is_skipped(results):
    known = json.loads((results / "results" / "benchmarks.json").read_text())
    known.pop("version")
    found = measured(results)
    functions = sum(
        len(re.findall(r"^ {4}def (?:time|track|peakmem)_\w+", path.read_text(), re.MULTILINE))
        for path in (ROOT / "benchmarks").glob("bench_*.py")
    )
    assert len(known) == functions
    assert set(found) == set(known)
    for name, benchmark in known.items():
        count = math.prod(len(values) for values in benchmark["params"])
        values = found[name]
        assert values is not None, name
        assert len(values) == count, name
        least = 0 if "machine_code" in name else 1e-9  # an inner loop without spills is a good one
        assert all(value is not None and value >= least for value in values), name  # NaN: skipped; None: failed


def test_no_commit_is_timed_with_the_code_of_another():
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); os.environ.pop('NUMBA_CACHE_DIR', None); import benchmarks\n"
        "from fastmlp.kernels import jit; print(jit.CACHE_FOLDER)"
    )
    run = subprocess.run([sys.executable, "-c", code, str(ROOT)], capture_output=True, text=True, check=True, cwd=ROOT)
    folder = Path(run.stdout.strip())
    assert folder.is_relative_to(sys.prefix)  # the environment's own
    assert re.fullmatch(r"kernels-[0-9a-f]{16}", folder.name)  # and of these sources: see test_jit
