"""The paired comparison of two commits: its statistics, its turns, its copies of trees, and what it prints."""

import json
import math
import os
import random
import re
import subprocess
import sys
import time
import types
from pathlib import Path

import ab
import numpy as np
import pytest
from duet import cases, comparison, report, self_test, sides, slowdowns, turns, verdicts, worker
from duet.verdicts import ALPHA, FASTER, SAME, SLOWER, THRESHOLD, UNSETTLED, Panel
from numba.core import config

ROOT = Path(__file__).resolve().parent.parent

# ---------------------------------------------------------------------------------------------- statistics


def coverage(interval, draw, n, repetitions=4000):
    """How often an interval of 99% around `n` figures that `draw` makes holds 0, the center of all of them."""
    rng = np.random.default_rng(1)
    found = [interval(draw(rng, n), rng) for _ in range(repetitions)]
    return np.mean([low < 0 < high for low, high in found])


def ours(figures, rng):
    interval = verdicts.interval_of(figures, 0.99)
    return interval.low, interval.high


def bootstrap(figures, rng):
    means = figures[rng.integers(0, len(figures), (1000, len(figures)))].mean(axis=1)
    return np.quantile(means, [0.005, 0.995])


NOISES = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "heavy tails": lambda rng, n: rng.standard_t(3, n),
    # a process in four is slower for as long as it lives, as where code comes to lie
    "two states": lambda rng, n: (rng.random(n) < 0.25) * 4.0 - (rng.random(n) < 0.25) * 4.0 + rng.standard_normal(n),
}


@pytest.mark.parametrize("n", [8, 10, 20, 30])
@pytest.mark.parametrize("noise", NOISES)
def test_intervals_cover_what_they_say(noise, n):
    assert coverage(ours, NOISES[noise], n) > 0.985


def test_a_bootstrap_over_few_pairs_covers_too_little():
    assert coverage(bootstrap, NOISES["normal"], 8, 1000) < 0.975


def panel_of(rng, changes, noises, looks=(8, 12, 18, 27)):
    """The verdicts on cases with these changes (log ratios) and this noise of a pair."""
    panel = Panel([str(i) for i in range(len(changes))])
    for n in range(1, looks[-1] + 1):
        for name in panel.unsettled:
            panel.add(name, changes[int(name)] + noises[int(name)] * rng.standard_t(5))
        if n in looks:
            panel.look(last=n == looks[-1])
    return panel


def test_a_comparison_of_equals_raises_no_alarm():
    rng, n_cases, n = np.random.default_rng(2), 130, 200
    noises = rng.uniform(0.003, 0.08, n_cases)
    alarms = [{SLOWER, FASTER} & set(panel_of(rng, np.zeros(n_cases), noises).verdicts.values()) for _ in range(n)]
    assert sum(map(bool, alarms)) <= 0.01 * n


def test_without_a_correction_for_many_cases_there_would_be_alarms():
    rng, n = np.random.default_rng(3), 2000
    intervals = [verdicts.interval_of(0.05 * rng.standard_normal(8), 1 - ALPHA) for _ in range(n)]
    assert sum(abs(interval.estimate) > THRESHOLD and interval.p_value < ALPHA for interval in intervals) > 0.002 * n
    assert not verdicts.holm({str(i): interval.p_value for i, interval in enumerate(intervals)}, n, ALPHA)


@pytest.mark.parametrize(("change", "noise"), [(0.03, 0.01), (0.05, 0.02)])
def test_slowdowns_are_caught_among_many_cases(change, noise):
    rng, n = np.random.default_rng(4), 60
    said = [panel_of(rng, [math.log1p(change), *np.zeros(129)], [noise] * 130).verdicts["0"] for _ in range(n)]
    assert said.count(SLOWER) >= 0.95 * n


def test_what_noise_hides_is_not_settled():
    rng = np.random.default_rng(5)
    panel = panel_of(rng, [0.03, 0.0, -0.2, 0.0], [0.2, 0.2, 0.01, 0.002])
    assert list(panel.verdicts.values()) == [UNSETTLED, UNSETTLED, FASTER, SAME]
    assert panel.unsettled == ["0", "1"]


def test_fewer_pairs_than_eight_settle_nothing():
    panel = Panel(["a"])
    for _ in range(7):
        panel.add("a", 1.0)
    panel.look()
    assert panel.verdicts == {"a": UNSETTLED}
    assert not panel.intervals


def test_looks_together_may_err_as_often_as_one(monkeypatch):
    panel, levels = Panel(["a"]), []
    monkeypatch.setattr(verdicts, "holm", lambda p_values, n_hypotheses, alpha: levels.append(alpha) or set())
    for i in range(6):
        panel.add("a", (-1) ** i * 1.0)
        panel.look(last=i == 5)
    assert len(levels) == 6
    assert sum(levels) == pytest.approx(ALPHA)


def test_holm_rejects_step_by_step():
    p_values = {"a": 0.001, "b": 0.0030, "c": 0.0049, "d": 0.9}
    assert verdicts.holm(p_values, 4, 0.01) == {"a", "b", "c"}
    assert verdicts.holm({**p_values, "a": 0.003}, 4, 0.01) == set()
    assert verdicts.holm(p_values, 10, 0.01) == {"a"}


def test_one_disturbed_pair_in_ten_does_not_widen_an_interval():
    figures = np.linspace(-0.01, 0.01, 10)
    clean, disturbed = (verdicts.interval_of(f, 0.99) for f in (figures, np.append(figures[:9], 0.5)))
    assert disturbed.high - disturbed.low == pytest.approx(clean.high - clean.low, rel=0.5)


# ---------------------------------------------------------------------------------------------- turns


def test_turns_are_abba_or_baab_at_random():
    generator = random.Random(0)
    fours = [turns.abba(generator) for _ in range(200)]
    assert set(fours) == {"ABBA", "BAAB"}
    assert 70 < fours.count("ABBA") < 130


class Drifting:
    """A worker on a machine that becomes slower every turn and is often busy; the head's second fork is slower."""

    turns = 0

    def __init__(self, side, change, drift):
        self.side, self.change, self.drift = types.SimpleNamespace(name=side), change, drift
        self.process, self.forks = self, 0

    def poll(self):
        return None

    def ask(self, **request):
        if "case" in request:
            self.forks += 1
            return {"seconds": 0.001}
        if "end" in request:
            return {"done": True}
        Drifting.turns += 1
        slices = [0.001 * math.exp(self.drift * Drifting.turns + self.change)] * request["slices"]
        slices[1:] = [2 * one for one in slices[1:]]
        if self.side.name == "head" and self.forks == 2:
            slices = [2 * one for one in slices]
        return {"slices": slices}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("drift", [0.0, 2e-4])
def test_neither_a_drift_nor_disturbances_nor_an_unlucky_process_count(seed, drift):
    workers = [Drifting("base", 0, drift), Drifting("head", 0.04, drift)]
    figure = turns.measure_pair(workers, "kernel", [0], 1.0, random.Random(seed))
    assert figure == pytest.approx(0.04, abs=drift + 1e-9)  # no more than from one turn to the next
    assert workers[0].forks == workers[1].forks == 4


@pytest.mark.parametrize("of_one", [1e-6, 1e-4, 0.005, 0.04])
@pytest.mark.parametrize(("seconds", "forks"), [(0.18, 3), (0.75, 3), (4.0, 16)])
def test_both_sides_do_the_same_work_in_the_seconds_of_a_case(of_one, seconds, forks):
    plan = turns.divide(seconds, of_one, 0.005)
    of_turn = plan.number * plan.slices * of_one
    assert of_turn == pytest.approx(0.005, rel=0.4) or plan.number == plan.slices == 1
    assert 4 * of_turn * plan.quads * plan.forks == pytest.approx(seconds, rel=0.4)
    assert plan.forks == pytest.approx(forks, abs=1) or of_one > 0.01


def test_what_takes_long_is_measured_once_in_every_turn():
    assert turns.divide(1.0, 3.0, 0.005) == turns.Plan(number=1, slices=1, quads=1, forks=1)


# ---------------------------------------------------------------------------------------------- cases


def test_cases_are_those_of_the_suite():
    from benchmarks import bench_kernels, data

    names = cases.names()
    assert len(set(names)) == len(names)
    assert bench_kernels.Kernels.params[0] == cases.KERNELS
    assert bench_kernels.Kernels.params[1] == cases.SHAPES
    losses = [(loss, n) for loss in bench_kernels.Losses.params[0] for n in bench_kernels.Losses.params[1]]
    assert sorted(losses) == sorted(cases.LOSSES)
    assert {case for case, _ in cases.EPOCHS} <= set(data.CASES)
    epochs = [name for name in names if name.startswith("epoch")]
    assert [cases.threads_of(name) for name in epochs] == [1] * (len(epochs) // 2) + [2] * (len(epochs) // 2)


def test_what_a_commit_lacks_is_missing():
    with pytest.raises(cases.Missing, match="KeyError"):
        cases.make("kernel no_such_kernel, 128x784x128")


# ---------------------------------------------------------------------------------------------- trees


@pytest.fixture
def repository(tmp_path):
    root = tmp_path / "repository"
    (root / "fastmlp").mkdir(parents=True)
    (root / "fastmlp" / "a.py").write_text("1\n")
    (root / "fastmlp" / "b.py").write_text("2\n")
    (root / "pyproject.toml").write_text('[project]\nname = "x"\ndependencies = ["numpy"]\n')
    (root / "other.py").write_text("")
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        subprocess.run(command, cwd=root, check=True)
    return root


def files(tree):
    return {str(path.relative_to(tree)): path.read_text() for path in tree.rglob("*") if path.is_file()}


def test_a_commit_is_exported_without_the_rest(repository, tmp_path):
    tree = sides.export(repository, "HEAD", tmp_path / "trees")
    assert set(files(tree)) == {"fastmlp/a.py", "fastmlp/b.py", "pyproject.toml"}
    assert sides.export(repository, "HEAD", tmp_path / "trees") == tree


def test_the_working_tree_is_exported_as_it_is(repository, tmp_path):
    (repository / "fastmlp" / "a.py").write_text("changed\n")
    (repository / "fastmlp" / "b.py").unlink()
    (repository / "fastmlp" / "new.py").write_text("new\n")
    (repository / ".gitignore").write_text("ignored.py\n")
    (repository / "fastmlp" / "ignored.py").write_text("")
    found = files(sides.export(repository, sides.WORKING_TREE, tmp_path / "trees"))
    assert {name: text for name, text in found.items() if name != "pyproject.toml"} == {
        "fastmlp/a.py": "changed\n", "fastmlp/new.py": "new\n",
    }  # fmt: skip


def test_an_unknown_commit_is_an_error_that_names_it(repository, tmp_path):
    with pytest.raises(ValueError, match="a commit must be one of this repository, got 'no-such-commit'"):
        sides.export(repository, "no-such-commit", tmp_path / "trees")


def test_a_side_is_named_as_a_reader_knows_it(repository, tmp_path):
    made = sides.make_sides(repository, ["HEAD", sides.WORKING_TREE], tmp_path)
    assert [side.name for side in made] == ["HEAD", "the working tree"]


def test_an_interrupted_copy_of_the_benchmarks_is_made_anew(tmp_path, monkeypatch):
    def interrupted(source, to, **options):
        to.mkdir(parents=True)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sides.shutil, "copytree", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sides.tools(tmp_path)
    assert (sides.tools(tmp_path) / "benchmarks" / "duet" / "worker.py").is_file()
    assert [path.name for path in (tmp_path / "tools").iterdir()] == [sides.tools(tmp_path).name]


def test_packages_that_cannot_be_installed_are_an_error_that_names_them(tmp_path, monkeypatch):
    def run(command, **options):
        return subprocess.CompletedProcess(command, int("pip" in command))

    monkeypatch.setattr(sides.subprocess, "run", run)
    with pytest.raises(ValueError, match="pip could not install numpy<1, scipy, threadpoolctl"):
        sides._environment(["numpy<1"], tmp_path)


def test_one_python_serves_both_sides_where_they_need_the_same(repository, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(sides, "_environment", lambda wanted, folder: made.append(wanted) or Path(str(len(made))))
    monkeypatch.setattr(sides, "_has_all", lambda python: True)
    old = sides.export(repository, "HEAD", tmp_path / "trees")
    assert sides.choose_pythons(repository, [old, old], tmp_path) == [Path(sys.executable)] * 2
    asv = repository / ".asv" / "env" / "0123" / "bin" / "python"
    asv.parent.mkdir(parents=True)
    asv.touch()
    assert sides.choose_pythons(repository, [old, old], tmp_path) == [asv] * 2
    project = repository / "pyproject.toml"
    project.write_text(project.read_text().replace("numpy", "numpy>=2"))
    new = sides.export(repository, sides.WORKING_TREE, tmp_path / "trees")
    assert sides.choose_pythons(repository, [old, new], tmp_path) == [Path("1"), Path("2")]
    assert made == [["numpy"], ["numpy>=2"]]


def test_a_sides_processes_find_its_tree_first():
    side = sides.Side("HEAD", Path("/tree"), Path("python"), Path("/cache"))
    variables = sides.environment(side, Path("/tool"))
    assert re.split("[:;]", variables["PYTHONPATH"])[0] == str(side.tree)
    assert variables["NUMBA_CACHE_DIR"] == str(side.cache)


def test_a_side_never_imports_what_its_tree_lacks_from_elsewhere(tmp_path, monkeypatch):
    class Finder:
        __module__ = "__editable___fastmlp_0_1_0_finder"

    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    worker.isolate()
    assert not any(isinstance(finder, Finder) for finder in sys.meta_path)
    assert sys.meta_path
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}/tool")
    monkeypatch.setattr(sys, "modules", {"fastmlp": types.SimpleNamespace(__file__=str(tmp_path / "fastmlp.py"))})
    worker.check_isolation()
    monkeypatch.setitem(sys.modules, "fastmlp.data", types.SimpleNamespace(__file__="/elsewhere/data.py"))
    with pytest.raises(RuntimeError, match=r"fastmlp\.data must come from .*, got /elsewhere/data\.py"):
        worker.check_isolation()


def test_older_names_of_modules_and_members_are_found(monkeypatch):
    from benchmarks import internals

    old = types.SimpleNamespace(sparse_update=print, make_lists=len)

    def import_module(place):
        if place != "fastmlp.kernels.sparse":
            raise ModuleNotFoundError(f"No module named {place!r}", name=place.rpartition(".")[0])
        return old

    monkeypatch.setattr(internals.importlib, "import_module", import_module)
    assert internals.grouped.grouped_update is print
    assert internals.grouped.make_lists is len
    with pytest.raises(AttributeError, match=r"grouped_add|sparse_add"):
        _ = internals.grouped.grouped_add
    with pytest.raises(ImportError, match="no dense that"):
        _ = internals.dense


# ---------------------------------------------------------------------------------------------- slowed copies


@pytest.fixture
def package(tmp_path):
    """The working tree as a side, in a folder of its own."""
    if not (ROOT / ".git").exists():
        pytest.skip("needs the repository")
    tree = sides.export(ROOT, sides.WORKING_TREE, tmp_path / "trees")
    return sides.Side("HEAD", tree, Path(sys.executable), tmp_path / "cache" / "tree")


def test_a_kernel_does_a_fraction_again():
    source = '@kernel\ndef train(x, n):\n    """Doc."""\n    log.append((x, n))\n    return n\n'
    again = "    train_once(x, n * SHARE // 10000)\n    return done"
    namespace = {"kernel": lambda function: function, "log": []}
    exec(slowdowns.done_again(source, "train", again, 3.5), namespace)
    assert namespace["train"]("x", 200) == 200
    assert namespace["log"] == [("x", 200), ("x", 7)]


CODE = """
import sys, numpy as np, fastmlp
from fastmlp.kernels.step import epoch
from fastmlp.kernels.step.record import record_at
calls = []
once = getattr(epoch, "train_steps_once", None)
if once:
    def noted(address, first, last, *rest):
        record = record_at(address)
        calls.append((int(record.mode), int(first), int(last), int(record.epoch_size)))
        return once(address, first, last, *rest)
    epoch.train_steps_once = noted
rng = np.random.default_rng(0)
x = (rng.integers(1, 9, (40, 30)) * (rng.random((40, 30)) < 0.2)).astype(np.uint8)
arguments = dict(hidden=(20,), batch_size=8, epochs=1, seed=0, threads=1, progress=False)
model = fastmlp.train(x, rng.integers(0, 3, 40), **arguments)
normal = fastmlp.train(x + np.float32(0.5), rng.integers(0, 3, 40), **arguments)
assert np.isfinite(model.history["train_loss"] + normal.history["train_loss"]).all()
print(calls)
np.save(sys.argv[1], np.concatenate([model.predict_proba(x), normal.predict_proba(x)]))
"""


def trained(side, folder):
    """What the code above prints and predicts without compiling, in a side's tree."""
    environment = {**sides.environment(side, ROOT), "NUMBA_DISABLE_JIT": "1"}
    path = folder / "predicted.npy"
    run = subprocess.run(
        [sys.executable, "-c", CODE, str(path)], env=environment, cwd=folder, text=True, capture_output=True
    )
    assert run.returncode == 0, run.stderr
    return run.stdout, np.load(path)


@pytest.mark.skipif(config.BOUNDSCHECK, reason="runs without compiled code")
def test_slowed_copies_train_and_predict(package, tmp_path):
    package.cache.mkdir(parents=True)
    _, wanted = trained(package, tmp_path)
    for kind, slowdown in slowdowns.SLOWDOWNS.items():
        printed, predicted = trained(slowdowns.slowed(package, slowdown, 50), tmp_path)
        calls = [rest for mode, *rest in eval(printed) if mode == (2 if kind == "prediction" else 0)]
        if kind == "prediction":
            np.testing.assert_array_equal(predicted, wanted)
        if kind == "epoch":
            assert [0, 5, 40] in calls  # all batches
            assert [0, 3, 20] in calls  # and half of the samples
        assert np.isfinite(predicted).all()


def test_slowed_copies_have_trees_and_caches_of_their_own(package):
    package.cache.mkdir(parents=True)
    slow = [slowdowns.slowed(package, slowdowns.SLOWDOWNS["epoch"], percent) for percent in (3, 3, 5)]
    assert slow[0] == slow[1]
    assert len({side.tree for side in [package, *slow]}) == len({side.cache for side in [package, *slow]}) == 3


def test_every_slowdown_has_cases_and_is_tried():
    planned = self_test.experiments("")
    assert planned[0] == ("nothing", 0, cases.names())
    assert {(kind, percent) for kind, percent, _ in planned[1:]} == {
        (kind, percent) for kind in slowdowns.SLOWDOWNS for percent in (3, 5, 10)
    }
    assert all(names for _, _, names in planned)
    goals = self_test.experiments("", goals=True)
    assert [percent for _, percent, _ in goals] == [0, 3, 5, 5, 5]
    assert goals[0][2] == [name for _, _, names in goals[1:] for name in names]
    assert not any(cases.threads_of(name) > 1 for name in goals[0][2])
    assert {kind for kind, _, _ in self_test.experiments("^kernel")} == {"nothing", "dense kernel", "sparse kernel"}


# ---------------------------------------------------------------------------------------------- processes

CASES = """
import os, subprocess, sys, types
class Missing(Exception): pass
def load(kinds): pass
def make(name):
    if name == "hangs":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        print(child.pid, file=open(os.environ["PIDS"], "a"), flush=True)
        child.wait()
    return types.SimpleNamespace(slice=lambda number: 0.01 / (name != "breaks"), uses_core_time=True, seconds=0.01)
"""


@pytest.fixture
def workers(tmp_path, monkeypatch):
    """Two processes with cases of their own: one breaks in its first turn, one hangs."""
    monkeypatch.setenv("PIDS", str(tmp_path / "pids"))
    tool = tmp_path / "tool"
    (tool / "benchmarks" / "duet").mkdir(parents=True)
    for name in ("__init__.py", "duet/__init__.py"):
        (tool / "benchmarks" / name).touch()
    (tool / "benchmarks" / "duet" / "worker.py").write_text(Path(worker.__file__).read_text())
    (tool / "benchmarks" / "duet" / "cases.py").write_text(CASES)
    side = sides.Side("HEAD", tmp_path, Path(sys.executable), tmp_path)
    made = [turns.Worker(side, tool), turns.Worker(side, tool)]
    for one in made:
        assert one.answer() == {"ready": True}
    yield made
    for one in made:
        one.kill()
        one.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_case_that_breaks_in_its_turn_is_named_and_the_next_can_be_measured(workers):
    cores, generator = comparison.available_cores()[:1], random.Random(0)
    with pytest.raises(turns.Failure, match="HEAD: breaks: exit status 1"):
        turns.measure_pair(workers, "breaks", cores, 0.1, generator)
    assert turns.measure_pair(workers, "works", cores, 0.1, generator) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_killed_worker_takes_with_it_what_it_has_started(workers, tmp_path):
    workers[0].send(case="hangs", cores=comparison.available_cores()[:1], timed=False)
    pids = tmp_path / "pids"
    while not pids.exists() or not pids.read_text().endswith("\n"):
        time.sleep(0.01)
    assert os.getsid(workers[0].process.pid) != os.getsid(0)  # or Ctrl-C would reach it too
    workers[0].kill()
    with pytest.raises(turns.Failure, match="ended with status -9"):
        workers[0].answer()  # at the end of the pipe, which all of them held


# ---------------------------------------------------------------------------------------------- comparisons


class Stub:
    """A worker whose times are made up: the side's name says by which factor it is slower."""

    lacks: tuple[str, ...] = ()
    noise = 0.002
    log: list = []  # noqa: RUF012
    killed: list = []  # noqa: RUF012
    generator = random.Random(0)

    def __init__(self, side, tool, kinds=()):
        self.side, self.pending = side, None
        self.process = self
        self.layout = Stub.generator.gauss(0, self.noise)

    def poll(self):
        return None

    def ask(self, **request):
        Stub.log.append((self.side.name, request))
        if "case" in request:
            if self.side.name != "base" and request["case"] in self.lacks:
                return {"missing": "AttributeError"}
            return {"seconds": 0.001}
        if "end" in request:
            return {"done": True}
        factor = float(self.side.name) if self.side.name != "base" else 1.0
        return {"slices": [0.001 * factor * math.exp(self.layout)] * request["slices"]}

    def answer(self):
        return {"done": True}

    def send(self, **request):
        pass

    def close(self):
        pass

    def kill(self):
        Stub.killed.append(self.side.name)


@pytest.fixture
def stub(monkeypatch):
    monkeypatch.setattr(Stub, "generator", random.Random(0))
    monkeypatch.setattr(Stub, "log", [])
    monkeypatch.setattr(Stub, "killed", [])
    monkeypatch.setattr(comparison, "Worker", Stub)
    monkeypatch.setattr(comparison, "available_cores", lambda: [0, 1, 2])
    monkeypatch.setattr(turns, "PAUSE", 0)
    monkeypatch.setattr(comparison, "ROUND_COST", 0.0)  # stubs take no time
    monkeypatch.setattr(comparison, "CASE_COST", 0.0)
    monkeypatch.setattr(comparison, "seconds_of", lambda name: 1e-6)

    def make_sides(root, commits, folder):
        names = ["base", *commits[1:]]
        return [sides.Side(name, Path(f"/{name}"), Path("python"), Path("/cache")) for name in names]

    monkeypatch.setattr(sides, "make_sides", make_sides)
    return Stub


ONLY = ["--only", "^kernel dense_(forward|update), 128|^epoch, 784-128-10 mnist, batch 128"]


def run(*arguments, tmp_path):
    return ab.main(["base", *arguments, *ONLY, "--seed", "0", "--folder", str(tmp_path), "--budget", "30"])


@pytest.mark.parametrize(("factor", "verdict", "status"), [("1.0", SAME, 0), ("1.05", SLOWER, 1), ("0.9", FASTER, 0)])
def test_exit_status_and_json_say_what_is_slower(stub, tmp_path, capsys, factor, verdict, status):
    path, comment = tmp_path / "found.json", tmp_path / "comment.md"
    assert run(factor, "--json", str(path), "--markdown", str(comment), tmp_path=tmp_path) == status
    found = json.loads(path.read_text())
    assert len(found["cases"]) == 4
    for case in found["cases"]:
        assert case["verdict"] == verdict
        assert case["low"] < case["change"] < case["high"]
        assert case["change"] == pytest.approx(100 * (float(factor) - 1), abs=0.5)
        assert case["pairs"] == len(case["log_ratios"]) >= 8
    printed = capsys.readouterr().out
    assert f"4 {verdict}" in printed
    assert all(case["case"] in printed for case in found["cases"])
    assert ("| kernel dense_update, 128x784x128 |" in comment.read_text()) == (verdict != SAME)


def test_cases_that_noise_hides_are_listed(stub, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(stub, "noise", 1.0)
    names = ["kernel dense_update, 128x784x128"]
    made = comparison.Comparison(sides.make_sides(ROOT, ["base", "1.03"], tmp_path), tmp_path, names, 0.2, seed=0)
    panel = made.run()
    assert panel.verdicts == {"kernel dense_update, 128x784x128": UNSETTLED}
    lines = report.summary(panel, made.missing, made.left_out)
    assert "The budget did not settle: kernel dense_update, 128x784x128." in lines
    assert "0 slower, 0 faster, 1 not settled, 0 same, of 1 case." in lines
    comment = report.markdown(panel, "Time", made.missing, made.left_out)
    assert "by more than 1.5%" not in comment  # nothing is known about the case
    assert "No case was found to be slower or faster." in comment


def test_cases_that_are_not_measured_take_their_share_of_the_budget(stub, tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "CASE_COST", 1.0)
    names, made = cases.names()[:8], sides.make_sides(ROOT, ["base", "1.0"], tmp_path)
    measured = comparison.Comparison(made, tmp_path, names[:2], 100, others=names[2:], seed=0, lanes=2)
    assert measured._share_of_others() == pytest.approx(4 * 6, rel=0.01)  # four rounds of two lanes
    measured.budget = 10
    assert measured._share_of_others() == pytest.approx(10 - 4 * 2, rel=0.01)
    for budget in (100, 9):  # the second is too small for the others
        compared = comparison.Comparison(made, tmp_path, names[:2], budget, others=names[2:], seed=0, lanes=2)
        panel = compared.run()
        assert panel.n_hypotheses == 8
        assert list(panel.verdicts) == names[:2]
        assert not compared.left_out


def test_a_small_budget_leaves_out_the_last_cases(stub, tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "CASE_COST", 1.0)
    names = cases.names()[:8]
    made = comparison.Comparison(sides.make_sides(ROOT, ["base", "1.0"], tmp_path), tmp_path, names, 14, seed=0)
    panel = made.run()
    assert [*panel.verdicts, *made.left_out] == names
    assert len(panel.verdicts) == 3  # four rounds of two lanes
    assert set(panel.verdicts.values()) == {SAME}


def test_what_one_side_lacks_is_not_compared(stub, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(stub, "lacks", ("kernel dense_update, 128x784x128",))
    path = tmp_path / "found.json"
    assert run("1.0", "--json", str(path), tmp_path=tmp_path) == 0
    found = json.loads(path.read_text())
    assert len(found["cases"]) == 3
    assert found["missing"] == {"kernel dense_update, 128x784x128": "1.0 lacks it: AttributeError"}
    assert "Not compared" in capsys.readouterr().out


def test_a_case_that_the_base_fails_at_is_not_compared_and_one_of_the_head_is_an_error(stub, tmp_path, monkeypatch):
    def ask(self, **request):
        if request.get("case") == "kernel dense_update, 128x784x128" and self.side.name == failing:
            raise turns.Failure("exit status 11")
        return answered(self, **request)

    answered, failing = stub.ask, "base"
    monkeypatch.setattr(stub, "ask", ask)
    path = tmp_path / "found.json"
    assert run("1.0", "--json", str(path), tmp_path=tmp_path) == 0
    assert json.loads(path.read_text())["missing"] == {"kernel dense_update, 128x784x128": "base fails at it"}
    failing = "1.0"
    assert run("1.0", tmp_path=tmp_path) == 2


@pytest.mark.parametrize("case", ["1 thread", "2 threads"])
def test_an_interrupt_ends_all_processes(stub, tmp_path, monkeypatch, case, capsys):
    def ask(self, **request):
        if len(stub.log) > 8 and request.get("case", "").endswith(case):
            raise KeyboardInterrupt
        return answered(self, **request)

    answered = stub.ask
    monkeypatch.setattr(stub, "ask", ask)
    assert run("1.0", tmp_path=tmp_path) == 130
    assert {"base", "1.0"} <= set(stub.killed)
    assert capsys.readouterr().err.endswith("ab.py: interrupted\n")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs the repository")
def test_what_ends_a_comparison_ends_its_processes(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks" / "ab.py"), "HEAD", "--folder", str(tmp_path)]
    with subprocess.Popen([*command, "--only", "kernel transpose"], stderr=subprocess.PIPE, text=True) as process:
        started = process.stderr.readline()
        process.terminate()
        printed = process.stderr.read()  # until all processes have closed it
        assert process.wait() == 130
    assert started.startswith("compiling ")
    assert printed == "ab.py: interrupted\n"


def test_a_side_is_compiled_once(tmp_path, stub):
    (tmp_path / "cache").mkdir()
    made = [sides.Side(name, Path(f"/{name}"), Path("python"), tmp_path / "cache") for name in ("base", "1.0")]
    first = comparison.Comparison(made, tmp_path, cases.names()[:2], 1, seed=0)
    first.generator, first.cores = random.Random(0), [0, 1]
    first._compile()
    asked = len(stub.log)
    assert asked > 0
    first._compile()
    assert len(stub.log) == asked


def test_one_thread_is_pinned_to_a_core_and_two_to_two(stub, tmp_path):
    run("1.0", tmp_path=tmp_path)
    measured = [request for _, request in stub.log[8:] if "case" in request]
    pinned = {}
    for request in measured:
        pinned.setdefault(cases.threads_of(request["case"]), set()).add(tuple(request["cores"]))
    assert pinned[2] == {(1, 2), (0, 1, 2)} or pinned[2] == {(1, 2)}
    assert {(1,), (2,)} <= pinned[1]


def test_a_self_test_reports_power_and_alarms(stub, tmp_path, monkeypatch, capsys):
    slow = {"epoch": 0.9, "dense kernel": 1.0, "sparse kernel": 1.0, "prediction": 0.5}

    def slowed(side, slowdown, percent):
        (kind,) = (name for name, one in slowdowns.SLOWDOWNS.items() if one is slowdown)
        return sides.Side(str(1 + slow[kind] * percent / 100), Path(f"/{kind}{percent}"), side.python, side.cache)

    monkeypatch.setattr(slowdowns, "slowed", slowed)
    path = tmp_path / "found.json"
    status = ab.main(
        ["--self-test", "--repetitions", "2", "--only", "10000|dense_update, 128|^epoch, 784-128-10 normal",
         "--seed", "0", "--folder", str(tmp_path), "--budget", "30", "--json", str(path)]
    )  # fmt: skip
    results = json.loads(path.read_text())
    assert status == 0
    assert len(results) == 2 * (1 + 3 * 3)
    for result in results:
        for case in result["cases"]:
            assert case["verdict"] == (SLOWER if result["percent"] else SAME)
            assert case["change"] == pytest.approx(result["percent"], abs=0.6)
    printed = capsys.readouterr()
    assert "False alarms in 0 of 2 comparisons" in printed.out
    assert "2 of 2" in printed.out
    assert "repetition 2 of 2" in printed.err
    results = [{**result, "cases": [{**case, "verdict": UNSETTLED} for case in result["cases"]]} for result in results]
    assert len(self_test.failures(self_test.summarize(results))) == 3


def test_goals_need_a_case(stub, tmp_path, capsys):
    assert ab.main(["--self-test", "--goals", "--only", "^loss", "--folder", str(tmp_path)]) == 2
    assert "--only must match a case that --goals are about, got '^loss'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "a commit to compare with is missing"),
        (["HEAD", "--budget", "0"], "--budget must be a number of seconds > 0, got 0"),
        (["HEAD", "--only", "("], r"--only must be a regular expression, got '\('"),
        (["HEAD", "--only", "nothing of that"], "--only matches no case, got 'nothing of that'"),
        (["HEAD", "--lanes", "0"], "--lanes must be an integer >= 1, got 0"),
        (["HEAD", "--budget", "inf"], "--budget must be a number of seconds > 0, got inf"),
        (["HEAD", "--goals"], "--goals is of the self-test"),
        (["--self-test", "--repetitions", "0"], "--repetitions must be an integer >= 1, got 0"),
        (["HEAD", "--json", "none/a.json"], "--json must be a file in a folder that exists, got 'none/a.json'"),
        (["HEAD", "--markdown", "/"], "--markdown must be a file in a folder that exists, got '/'"),
    ],
)
def test_wrong_arguments_are_errors(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        ab.main(arguments)
    assert re.search(message, capsys.readouterr().err)


def test_a_folder_is_that_of_the_caller(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # git and workers have others
    assert ab.parse(["HEAD", "--folder", "made"]).folder == tmp_path / "made"


def test_what_is_not_installed_is_an_error_at_once(stub, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ab.importlib.util, "find_spec", lambda name: None)
    assert run("1.0", tmp_path=tmp_path) == 2
    assert capsys.readouterr().err == "ab.py: SciPy is not installed: pip install -e '.[benchmark]'\n"


def test_an_unknown_commit_ends_with_status_2(tmp_path, capsys):
    assert ab.main(["no-such-commit", "--folder", str(tmp_path)]) == 2
    assert "no-such-commit" in capsys.readouterr().err
