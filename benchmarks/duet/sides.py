"""The two sides of a comparison: a commit's tree by itself, and a Python that has what it needs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

WORKING_TREE = "."
PACKAGE = "fastmlp"
NEEDS = ("numpy", "numba", "safetensors", "rich", "scipy", "threadpoolctl")  # of the package and the benchmarks


@dataclass(frozen=True)
class Side:
    """A tree to measure: `tree` holds the package, `python` runs it, `cache` keeps its compiled code."""

    name: str
    tree: Path
    python: Path
    cache: Path


def git(repository: Path, *arguments: str, **options) -> str:
    """Return what git prints."""
    run = subprocess.run(
        ["git", "-C", str(repository), *arguments], capture_output=True, text=True, check=False, **options
    )
    if run.returncode:
        raise ValueError(f"git {' '.join(arguments)}: {run.stderr.strip()}")
    return run.stdout.strip()


def name_of(commit: str) -> str:
    """Return what a commit, or the working tree, is called in messages."""
    return "the working tree" if commit == WORKING_TREE else commit


def export(repository: Path, commit: str, folder: Path) -> Path:
    """Put a commit's package and pyproject.toml, or the working tree's, into a folder of their own; returns it.

    The folder's name is a digest of the content, so that it is the same length for all: the length of paths moves the
    stack of a process, and what lies there with it.
    """
    with tempfile.TemporaryDirectory(dir=_made(folder)) as temporary:
        fresh = Path(temporary) / "tree"
        fresh.mkdir()
        if commit == WORKING_TREE:
            _copy_working_tree(repository, fresh)
        else:
            _extract(repository, commit, fresh)
        tree = folder / digest(fresh)
        if not tree.exists():
            fresh.rename(tree)
    return tree


def digest(folder: Path) -> str:
    """Return a digest of all files in a folder but compiled Python."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"):
        total.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()[:16]


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _extract(repository: Path, commit: str, to: Path) -> None:
    try:
        git(repository, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
    except ValueError:
        raise ValueError(f"a commit must be one of this repository, got {commit!r}") from None
    archive = to.parent / "archive.tar"
    git(repository, "archive", "--output", str(archive), commit, PACKAGE, "pyproject.toml")
    with tarfile.open(archive) as tar:
        if hasattr(tarfile, "data_filter"):
            tar.extractall(to, filter="data")
        else:
            tar.extractall(to)


def _copy_working_tree(repository: Path, to: Path) -> None:
    listed = git(repository, "ls-files", "-z", "--cached", "--others", "--exclude-standard", PACKAGE, "pyproject.toml")
    for name in filter(None, listed.split("\0")):
        source, target = repository / name, to / name
        if source.is_file():  # else deleted, and not committed yet
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def requirements(tree: Path) -> list[str]:
    """Return the dependencies that a tree's pyproject.toml states, sorted."""
    text = (tree / "pyproject.toml").read_text()
    try:
        import tomllib
    except ImportError:  # before Python 3.11
        import tomli as tomllib
    return sorted(tomllib.loads(text)["project"].get("dependencies", []))


def choose_pythons(repository: Path, trees: list[Path], folder: Path) -> list[Path]:
    """Return a Python for each tree: one for all where their dependencies are the same, else one environment each.

    That one is asv's, where an environment of asv's has what is needed, or else the one that runs this.
    """
    wanted = [requirements(tree) for tree in trees]
    if all(one == wanted[0] for one in wanted):
        environments = sorted((repository / ".asv" / "env").glob("*/bin/python"))
        for python in [*environments, Path(sys.executable)]:
            if _has_all(python):
                return [python] * len(trees)
    return [_environment(one, folder) for one in wanted]


def _has_all(python: Path) -> bool:
    code = f"import importlib.util as i, sys; sys.exit(not all(map(i.find_spec, {NEEDS!r})))"
    return subprocess.run([str(python), "-c", code], check=False, capture_output=True).returncode == 0


def _environment(wanted: list[str], folder: Path) -> Path:
    """A virtual environment with these dependencies, made if need be."""
    packages = [*wanted, "scipy", "threadpoolctl"]
    path = folder / f"env-{hashlib.sha256(repr(packages).encode()).hexdigest()[:16]}"
    python = path / ("Scripts/python.exe" if sysconfig.get_platform().startswith("win") else "bin/python")
    if not (path / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(path)], check=True)
        if subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=False).returncode:
            raise ValueError(f"pip could not install {', '.join(packages)} in {path}")
        (path / "complete").touch()
    return python


def make_sides(repository: Path, commits: list[str], folder: Path) -> list[Side]:
    """Return a Side for each commit, ready to be measured but for compiling."""
    trees = [export(repository, commit, folder / "trees") for commit in commits]
    pythons = choose_pythons(repository, trees, folder)
    return [
        Side(name_of(commit), tree, python, _made(folder / "cache" / tree.name))
        for commit, tree, python in zip(commits, trees, pythons)
    ]


def tools(folder: Path) -> Path:
    """Return a folder with a copy of these benchmarks, for both sides, which have no others."""
    source = Path(__file__).resolve().parent.parent
    to = folder / "tools" / digest(source)
    if not to.exists():
        with tempfile.TemporaryDirectory(dir=_made(to.parent)) as temporary:  # half a copy would be taken for one
            fresh = Path(temporary) / "tool"
            shutil.copytree(source, fresh / source.name, ignore=shutil.ignore_patterns("__pycache__"))
            fresh.rename(to)
    return to


def environment(side: Side, tool: Path) -> dict[str, str]:
    """Return the variables of a side's processes: those of this one, and where code is."""
    drop = ("PYTHONPATH", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
    kept = {name: value for name, value in os.environ.items() if name not in drop}
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join([str(side.tree), str(tool)]),
        "NUMBA_CACHE_DIR": str(side.cache),
    }
