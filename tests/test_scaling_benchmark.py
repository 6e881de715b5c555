"""benchmarks/scaling.py: what it models, and that it keeps that apart from what it has measured."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "scaling.py"
spec = importlib.util.spec_from_file_location("scaling", SCRIPT)
scaling = importlib.util.module_from_spec(spec)
spec.loader.exec_module(scaling)

IDEAL, SLOW = scaling.Network(0.0, 1e30), scaling.Network(1e-3, 1e6)
LINEAR = {n: 1e-6 * n for n in (1, 2, 4, 1024)}  # seconds by samples


def test_an_exchange_costs_messages_and_bytes():
    network = scaling.Network(1e-5, 1e9)
    assert scaling.allreduce_seconds(1, 1e6, network) == 0
    assert scaling.allreduce_seconds(2, 1e6, network) == pytest.approx(2e-5 + 1e-3)
    assert scaling.allreduce_seconds(8, 1e6, network) == pytest.approx(6e-5 + 2 * 7 / 8 * 1e-3)


def test_compute_is_between_what_was_measured():
    measured = {1: 1.0, 4: 2.0, 8: 10.0}
    assert [scaling.compute_seconds(n, measured) for n in (1, 4, 6, 8, 16)] == [1.0, 2.0, 6.0, 10.0, 26.0]


def test_without_costs_of_an_exchange_ranks_help_as_far_as_there_are_samples():
    ideal = scaling.speedups(64, 1, 1e6, IDEAL, LINEAR, LINEAR)
    assert list(ideal) == [1, 2, 4, 8, 16, 32, 64]
    assert list(ideal.values()) == pytest.approx(list(ideal))
    assert scaling.last_that_helps(ideal) == 64


def test_a_slow_network_does_not_help_unless_averages_are_rare():
    often, rarely = (scaling.speedups(512, every, 1e5, SLOW, LINEAR, LINEAR) for every in (1, 100_000))
    assert max(often.values()) == often[1] == 1.0
    assert scaling.last_that_helps(often) == 1
    assert scaling.last_that_helps(rarely) >= 16


def test_the_report_tells_measured_from_modelled():
    arguments = ["--hidden", "16", "--batch-size", "8", "--average-every", "1", "4", "--steps", "5"]
    arguments += ["--network", "lab=20,1.2"]
    run = subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=True)
    measured, modelled = run.stdout.split("MODELLED, not measured")
    assert measured.startswith("MEASURED on this machine: 784-16-10")
    assert re.search(r"average_every=4 +\d", measured)
    assert "lab: 20 us, 1.2 GB/s" in modelled
    assert len(re.findall(r"^ +8 +[14] +1\.00", modelled, re.MULTILINE)) == 2
    wrong = subprocess.run([sys.executable, str(SCRIPT), "--network", "lab"], capture_output=True, text=True)
    assert "must be like lab=20,1.2, got 'lab'" in wrong.stderr
