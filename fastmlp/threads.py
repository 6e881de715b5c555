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


def physical_cores() -> int:
    """Physical cores that the process may use."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cores = set()
    for cpu in os.sched_getaffinity(0):
        try:
            topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
            cores.add(topology.read_text())
        except OSError:
            cores.add(str(cpu))
    return len(cores)


def resolve(threads: int | None) -> int:
    """The number of threads for the argument `threads`; None stands for all physical cores."""
    if threads is None:
        return min(physical_cores(), config.NUMBA_NUM_THREADS)
    return min(inputs.check_integer(threads, "threads", 1), config.NUMBA_NUM_THREADS)


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


class Pace:
    """Whether several threads are faster than one just now, from how long they took.

    Where other processes want the same cores, a thread that has to wait for its turn holds up all others at the end of
    every region: on two cores with two busy processes beside it, an epoch of MNIST took 19 s instead of 0.05 s.  The
    result is the same for any number of threads, so one can stand in; the others are tried again from time to time.

    Parameters
    ----------
    flop : float
        Arithmetic of a step.
    """

    STEPS, TRIAL_STEPS = 64, 8  # of a call on several threads, and of one that may be slow
    SHORTEST_WAIT, LONGEST_WAIT = 2, 1024  # calls between two trials

    def __init__(self, flop: float):
        self.slow = 4 * flop / 1e11  # seconds a step, four times what one core of a good machine takes
        self.alone = self.together = 0.0  # seconds a step, when it was measured last; 0: never
        self.wait = self.left = 0

    def next(self, threads: int, most: int) -> tuple[int, int]:
        """How many threads to use for the next call, of so many that there are, and its steps, at most `most`."""
        if threads == 1:
            return 1, most
        if self.together <= self.slow:
            self.wait = self.left = 0
            return threads, min(most, self.STEPS if self.together else self.TRIAL_STEPS)
        single = 0 < self.alone < self.together
        if self.left == 0:  # try the other one
            self.left = self.wait = min(max(2 * self.wait, self.SHORTEST_WAIT), self.LONGEST_WAIT)
            single = not single
        else:
            self.left -= 1
        return (1, min(most, self.STEPS)) if single else (threads, min(most, self.TRIAL_STEPS))

    def note(self, threads: int, seconds: float, steps: int) -> None:
        """A call took so long."""
        if threads == 1:
            self.alone = seconds / steps
        else:
            self.together = seconds / steps
