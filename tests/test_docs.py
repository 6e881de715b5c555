"""The documentation: its examples run, and the site needs nothing from elsewhere."""

from __future__ import annotations

import doctest
import importlib.util
import inspect
import os
import unittest
from pathlib import Path

import pytest

import fastmlp

sybil = pytest.importorskip("sybil")
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser  # noqa: E402

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
REQUIRED = os.environ.get("FASTMLP_REQUIRE", "").split(",")


def examples_of(page: Path, **names):
    """The examples of a page, which share one namespace."""
    document = sybil.Sybil(parsers=[PythonCodeBlockParser(), SkipParser()]).parse(page)
    document.namespace.update(names)
    return list(document.examples())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_of_a_page_run_one_after_the_other(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    no_torch = importlib.util.find_spec("torch") is None and "torch" not in REQUIRED
    for example in examples_of(page, no_torch=no_torch):
        try:
            example.evaluate()
        except unittest.SkipTest:
            assert no_torch


@pytest.mark.parametrize("page", sorted((DOCS / "guides").glob("*.md")), ids=lambda page: page.stem)
def test_every_guide_has_examples(page):
    assert len(examples_of(page)) >= 2


PUBLIC = [name for name in dir(fastmlp) if not name.startswith("_")]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", ["", *PUBLIC])
def test_examples_in_docstrings_of_public_names_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    thing = getattr(fastmlp, name) if name else fastmlp
    finder = doctest.DocTestFinder(exclude_empty=True, recurse=inspect.isclass(thing) or name == "callbacks")
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for example in finder.find(thing, name or "fastmlp", module=False, globs={"fastmlp": fastmlp}):
        runner.run(example)
    assert runner.summarize(verbose=False).failed == 0
