"""The script that looks for growing memory finds some where there is some."""

import importlib.util
import sys
from pathlib import Path

import pytest

# By its path: the package of benchmarks sets environment variables.
SPEC = importlib.util.spec_from_file_location("long_run", Path(__file__).parent.parent / "benchmarks" / "long_run.py")
long_run = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(long_run)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


KEPT = []


class Leak:
    """Rounds that keep a megabyte each, or none."""

    megabytes = 0

    def __init__(self, folder, threads):
        KEPT.clear()

    def run(self):
        KEPT.append(b"x" * (self.megabytes << 20))


@pytest.mark.parametrize(("megabytes", "status"), [(0, 0), (1, 1)])
def test_a_process_that_grows_fails(megabytes, status, monkeypatch, capsys):
    monkeypatch.setattr(long_run, "Rounds", Leak)
    monkeypatch.setattr(Leak, "megabytes", megabytes)
    # the garbage of other tests is not what is looked for
    monkeypatch.setattr(long_run, "resident", lambda: 100.0 + sum(map(len, KEPT)) / 2**20)
    assert long_run.main(["--minutes", "0.01", "--warm-up", "0.001"]) == status
    printed = capsys.readouterr()
    assert ("the process grew by more than 8 MB" in printed.err) == bool(status)
    assert "MB after the warm-up" in printed.out
    KEPT.clear()


def test_memory_that_is_kept_is_counted():
    before, kept = long_run.resident(), b"x" * (64 << 20)
    assert 32 < long_run.resident() - before < 128
    assert len(kept) == 64 << 20


def test_every_kind_of_round_runs(tmp_path):
    rounds = long_run.Rounds(tmp_path, 1)
    rounds.run()
    assert len(rounds.kinds) >= 8


def test_a_run_that_is_too_short_to_tell_is_no_success(monkeypatch, capsys):
    monkeypatch.setattr(long_run, "Rounds", Leak)
    times = iter([0.0, 0.0, 100.0, 100.0, 1e6, 1e6, 1e6, 1e6])
    monkeypatch.setattr(long_run.time, "monotonic", lambda: next(times))
    assert long_run.main([]) == 2
    assert "run longer" in capsys.readouterr().err
