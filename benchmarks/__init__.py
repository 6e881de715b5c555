"""Benchmarks: those named bench_* are run by asv, the others are scripts (see the README)."""

import os
import sys
from pathlib import Path

# asv imports the scripts too, and they import each other by the names that scripts have.
sys.path.append(str(Path(__file__).resolve().parent))

# Each environment keeps compiled code for itself, and fastmlp keeps that of each version of its sources apart, so that
# one commit is never timed with another's kernels.  BLAS is not made slower, whatever the machine's settings say.
os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(sys.prefix) / "fastmlp-cache"))
for variable in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(variable, None)
