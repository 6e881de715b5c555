"""The number of threads to train on."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import threading
from pathlib import Path

import numba
from numba.core import config

from fastmlp import checks
from fastmlp.engine.cpu_limits import default_threads

# Minimum arithmetic of a step for which threads pay off.  Entering and leaving a parallel region takes about 1 us under
# OpenMP and 100 us under Numba's workqueue, and a step has three regions or more.
MIN_FLOP, MIN_FLOP_WORKQUEUE = 1e6, 1e8
# Minimum arithmetic of a call, in smallest steps.  Threads that sleep take 50 us to wake up, in which one core does the
# work of five.
MIN_CALL = 20

_workqueue = threading.Lock()  # Numba's workqueue serves one Python thread at a time


def _has_numba_started_threads() -> bool:
    """Return whether Numba has loaded its threading layer, for fastmlp or for the user's own code."""
    return bool(getattr(sys.modules.get("numba.np.ufunc.parallel"), "_is_initialized", False))


def _is_forked() -> bool:
    """Return whether this process was forked and has not executed another program since."""
    try:
        flags = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[6])
    except (OSError, ValueError, IndexError):  # not Linux
        return multiprocessing.parent_process() is not None
    return bool(flags & _FORKED_WITHOUT_EXEC)


_FORKED_WITHOUT_EXEC = 0x40  # PF_FORKNOEXEC of Linux

# Whether this process was forked from one that had started threads.  They do not exist here, and OpenMP would abort the
# process at its first parallel region.  The fork may have happened before this module was imported.
_state = {"forked": _has_numba_started_threads() and _is_forked()}


def _after_fork_in_child() -> None:
    _state["forked"] = _state["forked"] or _has_numba_started_threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def resolve(threads: int | None) -> int:
    """Return the number of threads for the argument `threads`.

    None stands for all physical cores, within the CPU quota of the process and the limits in its environment
    (`OMP_NUM_THREADS` and the others in `fastmlp.engine.cpu_limits`).  Numba's own limit, `NUMBA_NUM_THREADS`, always
    applies.
    """
    n_threads = default_threads() if threads is None else checks.check_integer(threads, "threads", 1)
    return min(n_threads, config.NUMBA_NUM_THREADS)


@contextlib.contextmanager
def thread_scope(threads: int, flop: float, n_steps: int):
    """Reserve threads for steps of `flop` each, and yield how many to use.

    One thread is used for small steps, for few of them, in a process forked from one that used threads, and next to
    another Python thread under Numba's workqueue.  With one thread, nothing parallel is entered or even loaded.  The
    result does not depend on the number.
    """
    if threads == 1 or flop < MIN_FLOP or flop * n_steps < MIN_CALL * MIN_FLOP or _state["forked"]:
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
