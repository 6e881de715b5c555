"""Measure the inner loop of every hot kernel in machine code, for each kind of processor: a table without noise.

    python benchmarks/machine_code.py [ROW ...]

Rows are those of the table of processors in fastmlp/kernels; the default is all that this machine can
compile for.  Kernels are compiled, in a process of its own for each row, and not run: any x86 machine will do for all
of x86.  Of the innermost loops of a kernel, the one that consists most of FMAs is measured, once around:

fmas    vector FMAs; loads and stores are those of memory that is not on the stack
stack   accesses of the stack, which are spills: values that found no register
calls   of functions, as FMAs are where the processor has none
bytes   of machine code
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

# Processor and features to compile for, by row of the table of processors.
TARGETS = {
    "avx512": ("skylake-avx512", "+avx512f,+avx512bw,+avx512vl,+avx512dq,+avx512cd,+avx2,+fma,+avx,+sse4.2,+popcnt,"
               "+bmi,+bmi2,+f16c"),
    "avx2": ("haswell", "+avx2,+fma,+avx,+sse4.2,+popcnt,+bmi,+bmi2,+f16c"),
    "neon": ("generic", "+neon"),
    "other": ("x86-64", "+sse2"),
}  # fmt: skip
# Kernels, the regions in which they are compiled, and the modules that have them.
KERNELS = {
    "tile_of_rows": ("dense_first_forward", "dense"),
    "tile_of_columns": ("dense_first_update", "dense"),
    "dense_forward_row": ("row_forward", "rows"),
    "dense_backward_row": ("row_backward", "rows"),
    "transpose": ("inner_forward", "dense"),
    "make_lists": ("grouped_first_forward", "grouped"),
    "grouped_add": ("grouped_first_forward", "grouped"),
    "grouped_update": ("grouped_first_update", "grouped"),
    "find_nonzeros": ("sparse_first_forward", "sparse"),
    "sparse_forward": ("sparse_first_forward", "sparse"),
    "sparse_update": ("sparse_first_update", "sparse"),
    "sparse_update_row": ("sparse_first_update", "sparse"),
}
COUNTS = ("fmas", "loads", "stores", "stack", "calls", "bytes")


def rows_here() -> list[str]:
    """Return the rows that this machine can compile for."""
    arm = platform.machine().lower() in ("aarch64", "arm64")
    return [row for row in TARGETS if (row == "neon") == arm]


def measure(row: str) -> dict[str, dict[str, int]]:
    """Return the counts of every kernel's inner loop, compiled for a row in a new process."""
    name, features = TARGETS[row]
    with tempfile.TemporaryDirectory() as folder:
        variables = {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": folder}
        run = subprocess.run(
            [sys.executable, str(Path(__file__).resolve()), "--compile", row],
            capture_output=True, text=True, check=False, env={**os.environ, **variables},
        )  # fmt: skip
    if run.returncode:
        raise RuntimeError(f"compiling for {row} failed:\n{run.stderr}")
    return json.loads(run.stdout)


def _compile(row: str) -> dict[str, dict[str, int]]:
    """In a process with a row's variables: compile, and count."""
    import inner_loops
    import internals

    found: dict[str, dict[str, int]] = {}
    try:
        if row != internals.processors.NAME:
            raise RuntimeError(f"the target for {row} is compiled as {internals.processors.NAME}")
    except (AttributeError, ImportError):  # a version without the table
        return found
    for kernel, (region, module) in KERNELS.items():
        try:
            _ = getattr(internals.regions, region).address
            function = getattr(getattr(internals, module), kernel)
        except (AttributeError, ImportError):  # not in this version
            continue
        for compiled in function.overloads.values():
            found[kernel] = inner_loops.measure(compiled.library.get_asm_str(), function.__name__)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "rows", nargs="*", metavar="ROW", help=f"default, and all there are here: {' '.join(rows_here())}"
    )
    parser.add_argument("--compile", metavar="ROW", choices=TARGETS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.compile:
        print(json.dumps(_compile(options.compile)))
        return
    if unknown := set(options.rows) - set(rows_here()):
        parser.error(f"rows must be some of {', '.join(rows_here())} on this machine, got {', '.join(sorted(unknown))}")
    print(f"{'row':8} {'kernel':22}" + "".join(f"{count:>8}" for count in COUNTS))
    for row in options.rows or rows_here():
        for kernel, counts in measure(row).items():
            print(f"{row:8} {kernel:22}" + "".join(f"{counts[count]:8}" for count in COUNTS), flush=True)


if __name__ == "__main__":
    main()
