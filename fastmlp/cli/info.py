"""`fastmlp info`"""

from __future__ import annotations

from typing import Any

import numpy as np

import fastmlp
from fastmlp.cli.command import add_command, add_json_option, print_result


def add_parser(commands) -> None:
    """Add `fastmlp info` to the commands."""
    parser = add_command(
        commands, "info", run, "Show processor, vector width and cache folder.", example="fastmlp info"
    )
    add_json_option(parser)


def run(options) -> None:
    import llvmlite
    import numba

    from fastmlp.engine import threads
    from fastmlp.kernels import jit
    from fastmlp.kernels.simd import processors

    flags = set(jit.CPU_FEATURES.split(","))
    known = [name for name in ("avx512f", "avx512vbmi2", "avx2", "fma", "neon") if f"+{name}" in flags]
    result = {
        "fastmlp": fastmlp.__version__,
        "numpy": np.__version__,
        "numba": numba.__version__,
        "llvmlite": llvmlite.__version__,
        "processor": jit.CPU_NAME,
        "vector_extensions": known,
        "tiles": [[int(processors.ROWS), int(width)] for width in (processors.WIDE, processors.NARROW)],
        "threads": threads.resolve(None),
        "cache_folder": None if jit.CACHE_FOLDER is None else str(jit.CACHE_FOLDER),
        "compiled_kernels": len(jit.cached_files()),
    }
    print_result(options, result, _describe(result))


def _describe(result: dict[str, Any]) -> str:
    tiles = " and ".join(f"{rows} x {columns}" for rows, columns in result["tiles"])
    where = result["cache_folder"] or "kept in memory: no cache folder can be written"
    extensions = ", ".join(result["vector_extensions"]) or "no vector extension that fastmlp knows"
    lines = {
        "fastmlp": result["fastmlp"],
        "numpy": f"{result['numpy']}, numba {result['numba']}, llvmlite {result['llvmlite']}",
        "processor": f"{result['processor']}: {extensions}",
        "tiles": f"{tiles} float32",
        "threads": result["threads"],
        "compiled code": f"{where} ({result['compiled_kernels']} kernels)",
    }
    return "\n".join(f"{name:13}  {value}" for name, value in lines.items())
