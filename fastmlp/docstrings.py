"""Docstrings that list the names of a table."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable


def quoted(name: str) -> str:
    return f'"{name}"'


def either(names: Iterable[str]) -> str:
    """Names as a sentence lists them: a, b or c."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def with_names(docstring: str | None, **words: str) -> str | None:
    """Return a docstring with words in the place of their {names}; lines that become too long are wrapped."""
    if docstring is None:  # python -OO
        return None
    lines = []
    for line in docstring.split("\n"):
        filled = line
        for name, word in words.items():
            filled = filled.replace(f"{{{name}}}", word)
        indent = line[: len(line) - len(line.lstrip())]
        lines += [line] if filled == line else textwrap.wrap(filled, 120, subsequent_indent=indent)
    return "\n".join(lines)
