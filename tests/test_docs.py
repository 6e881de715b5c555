"""The documentation: its examples run, and the site needs nothing from elsewhere."""

from __future__ import annotations

import doctest
import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
import unittest
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from helpers import REQUIRED, import_or_skip
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

import fastmlp
from fastmlp.kernels.simd.processors import PROCESSORS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def examples_of(page: Path, **names):
    """The examples of a page, which share one namespace."""
    document = Sybil(parsers=[PythonCodeBlockParser(), SkipParser()]).parse(page)
    document.namespace.update(names)
    return list(document.examples())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_of_a_page_run_one_after_the_other(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    no_optuna = importlib.util.find_spec("optuna") is None
    no_torch = importlib.util.find_spec("torch") is None and "torch" not in REQUIRED
    for example in examples_of(page, no_torch=no_torch, no_optuna=no_optuna):
        try:
            example.evaluate()
        except unittest.SkipTest:
            assert no_torch or no_optuna or "skip: next -->" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", sorted((DOCS / "guides").glob("*.md")), ids=lambda page: page.stem)
def test_every_guide_has_examples(page):
    assert len(examples_of(page)) >= 2


PUBLIC = [name for name in dir(fastmlp) if not name.startswith("_")]


@pytest.mark.parametrize("name", ["", *PUBLIC])
def test_examples_in_docstrings_of_public_names_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    thing = getattr(fastmlp, name) if name else fastmlp
    finder = doctest.DocTestFinder(exclude_empty=True, recurse=inspect.isclass(thing) or name == "callbacks")
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for example in finder.find(thing, name or "fastmlp", module=False, globs={"fastmlp": fastmlp, "np": np}):
        runner.run(example)
    assert runner.summarize(verbose=False).failed == 0


NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_kept_without_outputs(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The site, with empty pages for notebooks, which only run where it is built to be read."""
    import_or_skip("mkdocs")
    for package in ("material", "mkdocstrings", "nbclient", "nbconvert"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("docs") / "site"
    environment = {**os.environ, "FASTMLP_RUN_NOTEBOOKS": "false", "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    build = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert build.returncode == 0, build.stderr
    return folder


class _Loaded(HTMLParser):
    """Addresses that a browser loads while it shows a page."""

    def __init__(self, text: str):
        super().__init__()
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video", "audio", "embed"):
            self.addresses.append(given.get("src") or "")
        elif tag == "link" and given.get("rel") != "canonical":
            self.addresses.append(given.get("href") or "")


def test_no_page_loads_anything_from_another_host(site):
    for page in site.rglob("*.html"):
        loaded = _Loaded(page.read_text(encoding="utf-8")).addresses
        assert loaded
        assert not [address for address in loaded if re.match(r"(https?:)?//", address)]
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(.?(https?:)?//|@import", sheet.read_text(encoding="utf-8"))


def test_the_first_page_begins_like_the_readme(site):
    text = (site / "index.html").read_text(encoding="utf-8")
    assert "fastmlp trains multilayer perceptrons, networks of dense layers, on a CPU." in text
    assert 'src="assets/license.svg"' in text


def test_the_reference_has_every_public_name_and_every_argument_of_train(site):
    pages = "".join(page.read_text(encoding="utf-8") for page in (site / "reference").glob("*.html"))
    documented = set(re.findall(r'id="([\w.]+)"', pages))
    modules = {"callbacks", "reference"}
    assert {name for name in fastmlp.__all__ if name not in modules} <= {name.split(".")[-1] for name in documented}
    for name in inspect.signature(fastmlp.train).parameters:
        assert f"<code>{name}</code>" in pages
    assert "{activations}" not in pages  # names of tables are filled in


def test_pictures_have_the_kernels_sizes(site):
    page = (site / "kernels.html").read_text(encoding="utf-8")
    assert page.count('<svg class="fm-picture"') == 5
    for name in ("avx512", "avx2", "neon"):
        assert f"{name}: {PROCESSORS[name].rows} x {PROCESSORS[name].wide}" in page


def test_badges_say_what_the_package_says():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    license_badge, python_badge = ((DOCS / "assets" / f"{name}.svg").read_text() for name in ("license", "python"))
    (license_name,) = re.findall(r'^license = "(.*)"$', project, re.MULTILINE)
    (python,) = re.findall(r'^requires-python = "(.*)"$', project, re.MULTILINE)
    assert f"license: {license_name}" in license_badge
    assert f"python: {python.replace('>', '&gt;')}" in python_badge


def test_the_citation_has_the_packages_version_and_license():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {fastmlp.__version__}\n" in citation
    assert "\nlicense: MIT\n" in citation


def test_the_workflow_runs_the_lines_of_the_readme():
    (line,) = re.findall(r"^\.venv/bin/pip install .*pytest.*$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    workflow = (ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8")
    for command in line.replace(".venv/bin/", "").split(" && "):
        assert f"- run: {command}\n" in workflow
