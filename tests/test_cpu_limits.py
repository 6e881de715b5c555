import math
import os
import subprocess
import sys

import pytest

from fastmlp.engine import cpu_limits, threads


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


GROUP_1 = "9:memory:/other\n3:cpu,cpuacct:/docker/abc\n2:cpuset:/docker/abc\n"


@pytest.mark.parametrize(
    ("files", "want"),
    [
        ({}, math.inf),
        ({"proc/self/cgroup": "0::/\n"}, math.inf),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, math.inf),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "nonsense\n"}, math.inf),
        # nested: the smallest counts, wherever it is
        (
            {
                "proc/self/cgroup": "0::/a/b/c\n",
                "sys/fs/cgroup/a/cpu.max": "100000 100000\n",
                "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
                "sys/fs/cgroup/a/b/c/cpu.max": "400000 100000\n",
            },
            1,
        ),
        # the limit of a group next to ours is none of ours
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/b/cpu.max": "100000 100000\n"}, math.inf),
        # the path is the host's, and the container sees its own group at the top
        ({"proc/self/cgroup": "0::/../docker/abc\n", "sys/fs/cgroup/cpu.max": "300000 100000\n"}, 3),
        # version 1
        (
            {
                "proc/self/cgroup": GROUP_1,
                "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "250000\n",
                "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
        (
            {
                "proc/self/cgroup": GROUP_1,
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "50000\n",
            },
            2,
        ),
        (
            {
                "proc/self/cgroup": GROUP_1,
                "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us": "100000\n",
            },
            math.inf,
        ),
    ],
)
def test_the_quota_is_the_control_groups(files, want, tmp_path):
    assert cpu_limits.cpu_quota(write(tmp_path, files)) == want


@pytest.mark.parametrize(
    ("environment", "want"),
    [
        ({}, math.inf),
        ({"OMP_NUM_THREADS": "1"}, 1),
        ({"OMP_NUM_THREADS": "4,2"}, 4),
        ({"OMP_NUM_THREADS": "8", "NUMBA_NUM_THREADS": "2"}, 2),
        ({"LOKY_MAX_CPU_COUNT": "3", "OMP_THREAD_LIMIT": "5"}, 3),
        ({"OMP_NUM_THREADS": "", "NUMBA_NUM_THREADS": "0", "OMP_THREAD_LIMIT": "many"}, math.inf),
    ],
)
def test_the_environment_limits(environment, want):
    assert cpu_limits.environment_limit(environment) == want


def test_the_default_is_the_smallest_of_cores_quota_and_environment(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    siblings = "sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    write(tmp_path, {siblings.format(cpu): f"{cpu % 4},{cpu % 4 + 4}\n" for cpu in range(8)})
    assert cpu_limits.default_threads(tmp_path, {}) == 4
    write(tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "300000 100000\n"})
    assert cpu_limits.default_threads(tmp_path, {}) == 3
    assert cpu_limits.default_threads(tmp_path, {"OMP_NUM_THREADS": "2"}) == 2
    assert cpu_limits.default_threads(tmp_path, {"OMP_NUM_THREADS": "16"}) == 3


def test_a_limit_set_after_the_import_holds_for_the_default_alone(monkeypatch):
    monkeypatch.setattr("numba.core.config.NUMBA_NUM_THREADS", 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads.resolve(None) == 1
    assert threads.resolve(2) == 2


def test_joblibs_workers_share_the_cores():
    joblib = pytest.importorskip("joblib")
    code = (
        "import joblib\n"
        "from fastmlp.engine.threads import resolve\n"
        f"assert joblib.Parallel(n_jobs=2)(joblib.delayed(resolve)(None) for _ in range(2)) == "
        f"[max(1, {joblib.cpu_count()} // 2)] * 2\n"
    )
    environment = {name: value for name, value in os.environ.items() if name not in cpu_limits.VARIABLES}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
