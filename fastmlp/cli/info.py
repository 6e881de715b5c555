"""`fastmlp info`"""

import numpy as np

import fastmlp
from fastmlp.cli.command import add_command


def add_parser(commands) -> None:
    """Add `fastmlp info` to the commands."""
    add_command(commands, "info", run, "Show processor, vector width and cache folder.")


def run(options) -> None:
    import llvmlite
    import numba

    from fastmlp.engine import threads
    from fastmlp.kernels import jit
    from fastmlp.kernels.simd import processors

    flags = set(jit.CPU_FEATURES.split(","))
    known = [name for name in ("avx512f", "avx512vbmi2", "avx2", "fma", "neon") if f"+{name}" in flags]
    n_files = len(jit.cached_files())
    print(f"fastmlp        {fastmlp.__version__}")
    print(f"numpy          {np.__version__}, numba {numba.__version__}, llvmlite {llvmlite.__version__}")
    print(f"processor      {jit.CPU_NAME}: {', '.join(known) or 'no vector extension that fastmlp knows'}")
    print(f"tiles          {processors.ROWS} x {processors.WIDE} and {processors.ROWS} x {processors.NARROW} float32")
    print(f"threads        {threads.resolve(None)}")
    print(f"compiled code  {jit.CACHE_FOLDER or 'kept in memory: no cache folder can be written'} ({n_files} kernels)")
