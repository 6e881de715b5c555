"""The number of processors that the process may use."""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

# joblib sets the first two in its workers, Dask the first; users may set any of them.
VARIABLES = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_THREAD_LIMIT", "LOKY_MAX_CPU_COUNT")


# A quota may change while the process runs.  Reading it takes 0.2 ms, as long as training a small network for an epoch.
VALID_SECONDS = 1.0


def default_threads(root: Path | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Return the physical cores that the process may use, within its CPU quota and the limits in its environment."""
    if root is not None:
        return int(min(usable_cores(root), environment_limit(environment)))
    cpus = frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return int(min(_cores_lately(cpus, int(time.monotonic() / VALID_SECONDS)), environment_limit(environment)))


@functools.lru_cache(maxsize=1)
def _cores_lately(cpus: frozenset[int] | None, period: int) -> int:
    """Return `usable_cores`, read once in every period, and for other `cpus` that the process may run on."""
    return usable_cores(Path("/"))


def usable_cores(root: Path) -> int:
    """Return the physical cores that the process may use, within its CPU quota."""
    return int(min(physical_cores(root), cpu_quota(root)))


def physical_cores(root: Path = Path("/")) -> int:
    """Return the number of physical cores that the process may run on."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cores = set()
    for cpu in os.sched_getaffinity(0):
        try:
            cores.add((root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text())
        except OSError:
            cores.add(str(cpu))
    return len(cores)


def cpu_quota(root: Path = Path("/")) -> float:
    """Return the CPU quota of the control groups, in processors, rounded up; infinity without a limit.

    A limit applies to all nested groups, so the smallest one among the process's group and its ancestors counts.
    """
    quotas = [quota for folder in _cpu_groups(root) for quota in _quotas(folder)]
    return max(1, math.ceil(min(quotas))) if quotas else math.inf


def environment_limit(environment: Mapping[str, str] = os.environ) -> float:
    """Return the smallest number of threads that the environment asks for; infinity if it asks for none."""
    limits = []
    for name in VARIABLES:
        first = environment.get(name, "").split(",")[0].strip()  # OMP_NUM_THREADS may list one number per nesting level
        if first.isdecimal() and int(first) > 0:
            limits.append(int(first))
    return min(limits, default=math.inf)


def _cpu_groups(root: Path) -> Iterator[Path]:
    """Yield the folders of the process's control groups that may limit its processors, and of their ancestors."""
    mount = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # version 2
            tops = [mount]
        elif "cpu" in controllers.split(","):  # version 1
            tops = [mount / controllers, mount / "cpu"]
        else:
            continue
        names = [name for name in path.split("/") if name not in ("", "..")]
        for top in dict.fromkeys(tops):
            # in a container the path may be the host's, and then only the top exists
            yield from (top.joinpath(*names[:depth]) for depth in range(len(names) + 1))


def _quotas(group: Path) -> Iterator[float]:
    """Yield the number of processors that a control group is limited to, if there is a limit."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota = (group / "cpu.cfs_quota_us").read_text()
            period = (group / "cpu.cfs_period_us").read_text()
        if quota != "max" and int(quota) > 0 and int(period) > 0:
            yield int(quota) / int(period)
    except (OSError, ValueError):  # no limit, or it can't be read
        return
