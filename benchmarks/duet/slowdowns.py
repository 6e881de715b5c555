"""Copies of a tree in which something takes some per cent longer: a fraction of its work is done twice.

Each kernel that is made slower keeps its name, and calls what it was: once for everything, and once more for a
fraction of the rows, or of the samples of an epoch.  Every row takes the same time, so the fraction is the slowdown,
but for what a call costs that does not depend on rows.
"""

from __future__ import annotations

import ast
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .sides import PACKAGE, Side, digest

# The second calls, as code; SHARE is the fraction in 1/10000, `_once` is added to a name for what the kernel was.
_ROWS = """
    rows = np.int64((2 * (last_row - first_row) * SHARE + 10000 * ROWS) // (20000 * ROWS)) * ROWS
    dense_update_once(
        workspace, inp, dout, parameters, state, weight, zeros, rule, scratch, first_strip, last_strip, first_row,
        min(first_row + rows, last_row),
    )
"""
_GROUPS = """
    rows = np.int64((2 * weight.rows * SHARE + 10000 * GROUP) // (20000 * GROUP)) * GROUP
    some = Matrix(weight.start, weight.panel, weight.row, rows, weight.columns)
    grouped_update_once(workspace, dout, table, lists, parameters, state, some, rule, scratch, first, last)
"""
_SAMPLES = """
    record = record_at(record_address)
    n_samples, size = record.epoch_size, record.batch_size
    more = (min(last * size, n_samples) - first * size) * SHARE // 10000
    if record.mode {condition} and done == last and more > 0 and n_samples == record.samples.size:
        record.epoch_size = first * size + more
        {name}_once(
            record_address, first, first + (more + size - 1) // size, learning_rates, sums, outputs{threads}
        )
        record.epoch_size = n_samples
    return done
"""
# What one of them needs beside its module's own imports.
_MATRIX = "from fastmlp.kernels.ops.dense import Matrix\n"


@dataclass(frozen=True)
class Slowdown:
    """What is made slower: by kernels and the code that does a fraction of their work again, and the cases it slows.

    kernels  code by name
    imports  what that code needs beside the imports of the kernels' modules
    cases    a pattern; the work of these consists of what is done twice
    goal     the smallest slowdown, in per cent, of which at least 95% are to be caught
    """

    kernels: dict[str, str]
    imports: str
    cases: str
    goal: int


def _steps(condition: str) -> dict[str, str]:
    return {
        "train_steps": _SAMPLES.format(name="train_steps", condition=condition, threads=""),
        "train_steps_parallel": _SAMPLES.format(name="train_steps_parallel", condition=condition, threads=", threads"),
    }


SLOWDOWNS = {
    # in batches of one, the part of a call that is done again is whole steps; 20-64-64-1 has a large part that is not
    "epoch": Slowdown(_steps("!= PREDICT"), "", r"^epoch, 784-.*batch (16|128),", 3),
    "dense kernel": Slowdown({"dense_update": _ROWS}, "", r"^kernel dense_update, .*x784x", 5),
    "sparse kernel": Slowdown({"grouped_update": _GROUPS}, _MATRIX, r"^kernel grouped_update, .*x784x", 5),
    "prediction": Slowdown(_steps("== PREDICT"), "", r"^predict.*, 10000 samples$", 5),
}
PERCENTS = (3, 5, 10)


def slowed(side: Side, slowdown: Slowdown, percent: float) -> Side:
    """Return a side with a copy of the tree in which what `slowdown` names takes so many per cent longer."""
    parent = side.tree.parent
    with tempfile.TemporaryDirectory(dir=parent) as temporary:
        fresh = Path(temporary) / "tree"
        shutil.copytree(side.tree, fresh, ignore=shutil.ignore_patterns("__pycache__"))
        for name, again in slowdown.kernels.items():
            path = file_of(fresh, name)
            path.write_text(done_again(path.read_text(), name, again, percent, slowdown.imports))
        tree = parent / digest(fresh)
        if not tree.exists():
            fresh.rename(tree)
    cache = side.cache.parent / tree.name
    cache.mkdir(exist_ok=True)
    return Side(f"{side.name} slowed by {percent:g}%", tree, side.python, cache)


def file_of(tree: Path, kernel: str) -> Path:
    """Return the file that defines a kernel."""
    pattern = re.compile(rf"^@kernel\ndef {kernel}\(", re.MULTILINE)
    found = [path for path in (tree / PACKAGE / "kernels").rglob("*.py") if pattern.search(path.read_text())]
    if len(found) != 1:
        raise ValueError(f"{kernel} must be defined in one file of the kernels, got {len(found)}")
    return found[0]


def done_again(source: str, kernel: str, again: str, percent: float, imports: str = "") -> str:
    """Return source code in which `kernel` calls what it was, and then does what the code `again` says."""
    (function,) = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == kernel]
    arguments = ", ".join(argument.arg for argument in function.args.args)
    lines = source.splitlines()
    assert lines[function.lineno - 1].startswith(f"def {kernel}(")
    lines[function.lineno - 1] = lines[function.lineno - 1].replace(f"def {kernel}(", f"def {kernel}_once(", 1)
    body = again.replace("SHARE", str(round(100 * percent))).strip("\n")
    lines += ["", "", imports, "@kernel", f"def {kernel}({arguments}):", f"    done = {kernel}_once({arguments})", body]
    return "\n".join(lines) + "\n"
