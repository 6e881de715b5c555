"""Versions and processor, as reports name them."""

from __future__ import annotations

import platform
from pathlib import Path


def versions() -> str:
    """Return the versions of what computed a report."""
    import llvmlite
    import numba
    import numpy

    from fastmlp import __version__

    parts = {
        "fastmlp": __version__, "Python": platform.python_version(), "NumPy": numpy.__version__,
        "Numba": numba.__version__, "llvmlite": llvmlite.__version__,
    }  # fmt: skip
    return ", ".join(f"{name} {version}" for name, version in parts.items())


def processor() -> str:
    """Return the processor's name, as the operating system has it and as the compiler does."""
    from fastmlp.kernels.jit import CPU_NAME

    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    except OSError:  # not Linux
        pass
    return f"{name} (compiled for {CPU_NAME})"


def system() -> str:
    """Return the operating system's name."""
    return f"{platform.system()} {platform.release()}".strip()
