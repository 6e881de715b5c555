"""How many threads to train on."""

from __future__ import annotations

import contextlib
import os
import threading

import numba
from numba.core import config

from fastmlp import inputs
from fastmlp.cpu_limits import default_threads

# Below so much arithmetic a step, threads cost more than they save: a parallel region takes about a microsecond to
# enter and leave under OpenMP, and a step has three or more; under Numba's workqueue it takes a hundred.
MIN_FLOP, MIN_FLOP_WORKQUEUE = 1e6, 1e8

_workqueue = threading.Lock()  # Numba's workqueue serves one Python thread at a time
_state = {"used": False, "forked": False}


def _after_fork_in_child() -> None:
    _state["forked"] = _state["used"]  # OpenMP's threads are gone in the child, and it would end at its first region


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
        _state["used"] = True
        numba.set_num_threads(min(threads, config.NUMBA_NUM_THREADS))
        stack.callback(numba.set_num_threads, outside)
        yield threads
