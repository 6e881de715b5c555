"""The asv suite: every benchmark runs, none is skipped, and what it publishes can be looked at."""

import functools
import http.server
import json
import math
import re
import shutil
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest
from numba.core import config

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="asv needs the repository"),
    pytest.mark.skipif(config.DISABLE_JIT or config.BOUNDSCHECK, reason="slow without optimised code"),
]


def asv(folder, *arguments):
    command = [sys.executable, "-m", "asv", "--config", str(folder / "asv.conf.json"), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A folder with the results of every benchmark on this commit, run once each."""
    folder = tmp_path_factory.mktemp("asv")
    settings = json.loads((ROOT / "asv.conf.json").read_text())
    settings |= {"repo": str(ROOT), "benchmark_dir": str(ROOT / "benchmarks"), "branches": ["HEAD"]}
    settings |= {f"{name}_dir": str(folder / name) for name in ("env", "results", "html")}
    (folder / "asv.conf.json").write_text(json.dumps(settings))
    asv(folder, "machine", "--yes", "--machine", "test")
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    asv(
        folder, "run", "--python=same", "--quick", "--machine", "test", "--set-commit-hash", head.stdout.strip(),
        "--show-stderr",
    )  # fmt: skip
    return folder


def measured(folder):
    """The values of every benchmark, by name."""
    (path,) = (path for path in (folder / "results" / "test").glob("*.json") if path.name != "machine.json")
    stored = json.loads(path.read_text())
    column = stored["result_columns"].index("result")
    return {name: values[column] for name, values in stored["results"].items()}


def test_every_benchmark_runs_and_none_is_skipped(results):
    known = json.loads((results / "results" / "benchmarks.json").read_text())
    known.pop("version")
    found = measured(results)
    functions = sum(
        len(re.findall(r"^ {4}def (?:time|track|peakmem)_\w+", path.read_text(), re.MULTILINE))
        for path in (ROOT / "benchmarks").glob("bench_*.py")
    )
    assert len(known) == functions
    assert set(found) == set(known)
    for name, benchmark in known.items():
        count = math.prod(len(values) for values in benchmark["params"])
        values = found[name]
        assert values is not None, name
        assert len(values) == count, name
        assert all(value is not None and value > 0 for value in values), name  # NaN: skipped; None: failed


def test_no_commit_is_timed_with_the_code_of_another():
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); os.environ.pop('NUMBA_CACHE_DIR', None); import benchmarks\n"
        "from fastmlp.kernels import jit; print(jit.CACHE_FOLDER)"
    )
    run = subprocess.run([sys.executable, "-c", code, str(ROOT)], capture_output=True, text=True, check=True, cwd=ROOT)
    folder = Path(run.stdout.strip())
    assert folder.is_relative_to(sys.prefix)  # the environment's own
    assert re.fullmatch(r"kernels-[0-9a-f]{16}", folder.name)  # and of these sources: see test_jit


# Opens a graph as a person would, and writes down how many points are drawn.
WATCH = """<iframe id="site" src="index.html#{benchmark}" width="1200" height="900"></iframe><p id="points">none</p>
<script>
setInterval(() => {
  const site = document.getElementById("site").contentWindow;
  const plot = site.$ && site.$("#main-graph").data("plot");
  if (!plot) return;
  const points = plot.getData().flatMap(series => series.data).filter(point => point && point[1] > 0);
  if (points.length) document.getElementById("points").textContent = points.length;
}, 100);
</script>"""


# The site asks content delivery networks for these; here they come from the npm registry, and are served beside it.
SCRIPTS = {
    "jquery-3.3.1.min.js": ("jquery@3.3.1", "dist/jquery.min.js"),
    "jquery.flot.min.js": ("flot@0.8.3", "jquery.flot.js"),
    "jquery.flot.time.min.js": ("flot@0.8.3", "jquery.flot.time.js"),
    "jquery.flot.selection.min.js": ("flot@0.8.3", "jquery.flot.selection.js"),
    "jquery.flot.categories.min.js": ("flot@0.8.3", "jquery.flot.categories.js"),
    "jquery.flot.orderBars.js": ("flot-orderbars@1.0.0", "js/jquery.flot.orderBars.js"),
    "stupidtable.min.js": ("stupid-table-plugin@1.1.3", "stupidtable.min.js"),
    "md5.min.js": ("blueimp-md5@2.19.0", "js/md5.min.js"),
    "bootstrap.min.js": ("bootstrap@3.1.1", "dist/js/bootstrap.min.js"),
}


@pytest.fixture(scope="module")
def site(results):
    """The published site, with the scripts that it takes from elsewhere."""
    asv(results, "publish")
    html, npm = results / "html", shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    index = (html / "index.html").read_text()
    for name, (package, path) in SCRIPTS.items():
        archive = html / f"{package.replace('@', '-')}.tgz"
        if not archive.exists() and subprocess.run([npm, "pack", package], cwd=html, capture_output=True).returncode:
            pytest.skip("npm's registry can not be reached")
        with tarfile.open(archive) as file:
            (html / name).write_bytes(file.extractfile(f"package/{path}").read())
        index, found = re.subn(rf'src="https://[^"]*/{re.escape(name)}"[^>]*>', f'src="{name}">', index)
        assert found == 1, name
    (html / "index.html").write_text(index)
    return html


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize("benchmark", ["bench_train.Epoch.time_epoch", "bench_train.Ratio.track_ratio"])
def test_published_graphs_show_points(site, benchmark):
    (site / "watch.html").write_text(WATCH.replace("{benchmark}", benchmark))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = subprocess.run(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom",
             f"http://127.0.0.1:{server.server_port}/watch.html"],
            capture_output=True, text=True, check=True, timeout=120,
        ).stdout  # fmt: skip
        server.shutdown()
    assert int(re.search(r'id="points">(\w+)<', page).group(1)) > 0
