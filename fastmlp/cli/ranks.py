"""The processes that mpiexec has started to run one command together."""

from __future__ import annotations

import os
from typing import Any

from fastmlp.optional import require

SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE")  # in the environment, of Open MPI, and of MPICH and Intel MPI


def world() -> Any:
    """Return the communicator of all processes that mpiexec has started, or None if it has started one or none."""
    if not any(os.environ.get(name, "1") not in ("", "1") for name in SIZES):
        return None
    return require("mpi4py.MPI", "mpi").COMM_WORLD
