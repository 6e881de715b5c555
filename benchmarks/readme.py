"""Print the README's tables and draw its picture, from the package's own tables and from figures measured before.

    python benchmarks/readme.py               # rewrite the tables in README.md and docs/assets/speed.svg
    python benchmarks/readme.py --measure     # measure first, about ten minutes, and write benchmarks/figures.json

Leave the machine alone while it measures.  Other libraries are timed if they are installed: pip install jax torch
scikit-learn.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
import textwrap
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "benchmarks" / "figures.json"
PICTURE = ROOT / "docs" / "assets" / "speed.svg"
KINDS = {"AVX-512": [], "AVX2": ["--avx2"]}
# Rows of measure.py in the README, with what they are called there.
ROWS = {
    "mnist": "an epoch of MNIST, 784-128-10, batch 128, against the reference",
    "batch-16": "the same, batch 16",
    "batch-1": "the same, batch 1",
    "dense": "the same network, batch 128, on standard-normal input, without zeros",
    "dense-rate": "arithmetic rate of 784-512-512-10 on that input, against `numpy.dot`",
    "mnist-rate": "the same on MNIST, counting products with zero too",
    "prediction": "labels of 10,000 images, against `x @ W` of the first layer in NumPy",
}
NAMES = {"fastmlp": "**fastmlp**", "numpy": "NumPy, `fastmlp.reference`", "torch": "PyTorch", "sklearn": "scikit-learn"}
DETAILS = {"jax": "JAX, the whole epoch under `jit`", "torch": "PyTorch, one preloaded tensor"}


def features() -> str:
    """Return the table of what the library can do; the names come from the package's tables."""
    import fastmlp
    from fastmlp.activations import ACTIVATIONS
    from fastmlp.initializers import INITS
    from fastmlp.losses import LOSSES
    from fastmlp.optimizers import OPTIMIZERS
    from fastmlp.schedules import SCHEDULES

    def code(names) -> str:
        return ", ".join(f"`{name}`" for name in names)

    classes = dict.fromkeys(row.kind.__name__ for row in SCHEDULES.values() if row.kind is not float)
    callbacks = [name for name, kind in vars(fastmlp.callbacks).items() if hasattr(kind, "on_epoch_end")]
    rows = {
        "input": "arrays of uint8, float32 and float64; data frames of pandas and Polars, with categories, text, "
        "booleans and missing values; SciPy's sparse matrices, never made dense; memory-mapped arrays and folders of "
        '`.npy` files larger than memory; `input_scale`: a number, one per feature, "standardize", "robust"',
        "targets": "labels of any kind; several labels per sample; one or many numbers; `sample_weight`, "
        "`class_weight`",
        "losses": f"{code(LOSSES)}; `label_smoothing`",
        "activations": f"{code(ACTIVATIONS)}; one per layer",
        "optimizers": f"{code(kind.__name__ for kind in OPTIMIZERS.values())}, as in PyTorch",
        "schedules": f"a number, {code(classes)}, `Warmup` before any of them, or a function",
        "initializers": f"{code(INITS)}; arrays, or a model to start from",
        "learning rates": '`weight_rate_factors` of each layer, or "ntk", the NTK parametrization; `bias_rate_factor`; '
        "`scale_rate_factor`, for a learnt factor of each feature",
        "regularization": "`dropout`, `input_dropout`, `l1`, `l2`, weight decay, `clip_norm`, `max_norm`, and "
        "`ema_decay`, a moving average of the weights",
        "metrics": 'loss and accuracy; `metrics`: "top_5", "mae", "r2", or any function',
        "callbacks": f"{code(callbacks)}, or any function",
        "resuming": '`checkpoint="run/"` resumes after a crash, bitwise as if nothing had happened; '
        "`model.partial_fit` trains on data that arrive in pieces",
        "tables": '`fastmlp.tabular(frame, target)`, or `MLPClassifier(preset="tabular")`: RealMLP-TD-S, a recipe '
        "that needs no tuning",
        "many networks": "`train_many`, each with settings of its own, in threads, processes, under MPI or Dask; "
        "`Ensemble`, bagged, of seeds or selected, in one file or ONNX graph; `search`, random or by successive "
        "halving, which resumes",
        "several machines": "`mpiexec -n 4 fastmlp train ...`, or `communicator=MPI.COMM_WORLD`; `average_every` "
        "steps apart, instead of in each step",
        "scikit-learn": '`MLPClassifier` and `MLPRegressor`, drop-in replacements; `solver="lbfgs"` for small data',
        "import and export": "`from_torch`, `from_keras`, `from_sklearn`; `model.to_torch()`, "
        '`model.to_onnx("model.onnx")`',
        "pictures and reports": "`model.plot_history()`, `fastmlp.plots`, `fastmlp report`",
        "command line": "`train`, `evaluate`, `predict`, `report` on your own files; `demo`, a page to draw digits on",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in rows.items())])


def peers(figures: dict[str, Any]) -> str:
    """Return the table of libraries: seconds per epoch, and how much faster fastmlp is."""
    columns = [(kind, threads) for kind in KINDS for threads in ("1", "2") if threads in figures.get(kind, {})]
    head = ["library", *(f"{kind}, {threads} core{'s' * (threads != '1')}" for kind, threads in columns)]
    first = figures[columns[0][0]][columns[0][1]]["libraries"]
    lines = [head, ["---"] * len(head)]
    for name in sorted(first, key=lambda name: first[name]["seconds"]):
        cells = []
        for kind, threads in columns:
            libraries = figures[kind][threads]["libraries"]
            seconds, ours = libraries[name]["seconds"], libraries["fastmlp"]["seconds"]
            cells.append(f"**{seconds:.3f} s**" if name == "fastmlp" else f"{seconds:.3f} s ({seconds / ours:.1f}x)")
        lines.append([_name(name), *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _name(library: str) -> str:
    module, _, version = library.partition("+")[0].partition(" ")
    text = DETAILS.get(module) or NAMES.get(module, module)
    return text if not version else re.sub(r"^[^,]+", lambda match: f"{match[0]} {version}", text)


def ratios(figures: dict[str, Any]) -> str:
    """Return the table of what measure.py measured on one core."""
    kinds = [kind for kind in KINDS if "measure" in figures.get(kind, {})]
    lines = [["", *kinds], ["---"] * (1 + len(kinds))]
    for row, title in ROWS.items():
        cells = [figures[kind]["measure"][row] for kind in kinds]
        lines.append([title, *(f"**{cell['value']}** ({cell['details']})" for cell in cells)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine(figures: dict[str, Any]) -> str:
    """Return a line about the machine that was measured."""
    return f"Measured on an {figures['processor']}; AVX2 is the same processor without its AVX-512 instructions."


def headline(figures: dict[str, Any]) -> str:
    """Return the README's first sentence about speed."""
    parts = []
    for kind in KINDS:
        libraries = figures[kind]["1"]["libraries"]
        ours, numpy = (
            next(row["seconds"] for library, row in libraries.items() if library.startswith(name))
            for name in ("fastmlp", "numpy")
        )
        parts.append(f"{numpy / ours:.1f}x faster than NumPy with {kind} ({ours:.3f} s against {numpy:.3f} s an epoch)")
    return textwrap.fill(f"On MNIST, on one core, it is {' and '.join(parts)}.", 120)


def picture(figures: dict[str, Any]) -> str:
    """Return an SVG of the seconds per epoch of all libraries on one core."""
    kind = next(kind for kind in KINDS if kind in figures)
    libraries = figures[kind]["1"]["libraries"]
    names = sorted(libraries, key=lambda name: libraries[name]["seconds"])
    longest, x0, width, bar = libraries[names[-1]]["seconds"], 190, 430, 26
    height = 40 + len(names) * (bar + 8)
    title = f"Seconds per epoch of MNIST, 784-128-10, batch 128, on one core with {kind}"
    shapes = [f'<text x="10" y="20" class="title">{escape(title)}</text>']
    for i, name in enumerate(names):
        y, seconds = 34 + i * (bar + 8), libraries[name]["seconds"]
        module, _, version = name.partition("+")[0].partition(" ")
        label = f"{NAMES.get(module, module).strip('*').partition(',')[0]} {version}".strip()
        label = label.replace("jax", "JAX")
        kind_of = "ours" if module == "fastmlp" else "theirs"
        shapes.append(f'<text x="{x0 - 10}" y="{y + 18}" text-anchor="end">{escape(label)}</text>')
        shapes.append(
            f'<rect x="{x0}" y="{y}" width="{width * seconds / longest:.1f}" height="{bar}" rx="3" class="{kind_of}"/>'
        )
        shapes.append(f'<text x="{x0 + width * seconds / longest + 8:.1f}" y="{y + 18}">{seconds:.3f} s</text>')
    style = (
        "text{font:14px system-ui,sans-serif;fill:#24292f}.title{font-weight:600}"
        ".ours{fill:#3f51b5}.theirs{fill:#b0b8c4}"
        "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.ours{fill:#8c9eff}.theirs{fill:#57606a}}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {height}" role="img" width="720">'
        f"<title>{escape(title)}</title><style>{style}</style>{''.join(shapes)}</svg>\n"
    )


def blocks(figures: dict[str, Any]) -> dict[str, str]:
    """Return what stands between ``<!-- name -->`` and ``<!-- end of name -->`` in the README."""
    return {
        "headline": headline(figures),
        "features": features(),
        "machine": machine(figures),
        "libraries": peers(figures),
        "ratios": ratios(figures),
    }


def fill(text: str, figures: dict[str, Any]) -> str:
    """Return the README with its blocks made anew."""
    for name, block in blocks(figures).items():
        start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, found, rest = text.partition(start)
        _, found_end, after = rest.partition(end)
        if not (found and found_end):
            raise ValueError(f"README.md must have a block that begins with {start!r} and ends with {end!r}")
        text = f"{before}{start}{block}\n{end}{after}"
    return text


def measure() -> dict[str, Any]:
    """Measure everything on this machine."""
    figures: dict[str, Any] = {"processor": _processor()}
    for kind, options in KINDS.items():
        if kind == "AVX-512" and "avx512f" not in _flags():
            continue
        figures[kind] = {}
        for threads in ("1", "2"):
            figures[kind][threads] = _run("peers.py", "--threads", threads, *options)
        figures[kind]["measure"] = _run("measure.py", *options, *ROWS)
    return figures


def _run(script: str, *arguments: str) -> Any:
    command = [sys.executable, str(ROOT / "benchmarks" / script), "--json", *arguments]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def _cpuinfo(field: str) -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")


def _processor() -> str:
    from llvmlite import binding

    return f"{_cpuinfo('model name') or platform.processor() or platform.machine()} ({binding.get_host_cpu_name()})"


def _flags() -> list[str]:
    return _cpuinfo("flags").split()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="measure anew on this machine, first")
    if parser.parse_args().measure:
        FIGURES.write_text(json.dumps(measure(), indent=1) + "\n", encoding="utf-8")
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    readme = ROOT / "README.md"
    readme.write_text(fill(readme.read_text(encoding="utf-8"), figures), encoding="utf-8")
    PICTURE.write_text(picture(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
