"""How many threads to train on."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import threading
from pathlib import Path

import numba
from numba.core import config

from fastmlp import inputs
from fastmlp.cpu_limits import default_threads

# Below so much arithmetic a step, threads cost more than they save: a parallel region takes about a microsecond to
# enter and leave under OpenMP, and a step has three or more; under Numba's workqueue it takes a hundred.
MIN_FLOP, MIN_FLOP_WORKQUEUE = 1e6, 1e8

_workqueue = threading.Lock()  # Numba's workqueue serves one Python thread at a time


def _has_numba_started_threads() -> bool:
    """Whether Numba has loaded its threading layer, for these kernels or for a user's own."""
    return bool(getattr(sys.modules.get("numba.np.ufunc.parallel"), "_is_initialized", False))


def _is_forked() -> bool:
    """Whether this process is the fork of another one, and runs no program of its own since."""
    try:
        flags = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[6])
    except (OSError, ValueError, IndexError):  # not Linux
        return multiprocessing.parent_process() is not None
    return bool(flags & _FORKED_WITHOUT_EXEC)


_FORKED_WITHOUT_EXEC = 0x40  # PF_FORKNOEXEC of Linux

# Whether threads were started in a process that this one was forked from.  They are gone here, and OpenMP would end the
# process at its first parallel region.  The fork may have come before this module was imported.
_state = {"forked": _has_numba_started_threads() and _is_forked()}


def _after_fork_in_child() -> None:
    _state["forked"] = _state["forked"] or _has_numba_started_threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def resolve(threads: int | None) -> int:
    """Return the number of threads for the argument `threads`.

    None stands for all physical cores, as far as the process's CPU quota and its environment (`OMP_NUM_THREADS` and the
    others in `fastmlp.cpu_limits`) allow.  Numba's own limit, which it takes from `NUMBA_NUM_THREADS`, holds always.
    """
    n_threads = default_threads() if threads is None else inputs.check_integer(threads, "threads", 1)
    return min(n_threads, config.NUMBA_NUM_THREADS)


@contextlib.contextmanager
def team(threads: int, flop: float):
    """Threads for steps of `flop` each: yields how many to use.  With 1, nothing parallel is entered or even loaded.

    The result does not depend on it, so that one thread can stand in wherever more are not to be had: for small steps,
    in a process forked from one that used threads, and beside another Python thread under Numba's workqueue.
    """
    if threads == 1 or flop < MIN_FLOP or _state["forked"]:
        yield 1
        return
    outside = numba.get_num_threads()  # loads the threading layer, which compiled code from the cache relies on
    with contextlib.ExitStack() as stack:
        if numba.threading_layer() == "workqueue":
            if flop < MIN_FLOP_WORKQUEUE or not _workqueue.acquire(blocking=False):
                yield 1
                return
            stack.callback(_workqueue.release)
        numba.set_num_threads(min(threads, config.NUMBA_NUM_THREADS))
        stack.callback(numba.set_num_threads, outside)
        yield threads
