"""Packages that fastmlp works without, imported where they are needed."""

from __future__ import annotations

import importlib
from typing import Any


def require(package: str, extra: str) -> Any:
    """Return the imported package; where it is missing, an error that says which of fastmlp's extras has it."""
    name = package.partition(".")[0]
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != name:  # it is there, and misses something itself
            raise
        raise ImportError(f"this needs {name}: pip install 'fastmlp[{extra}]'", name=name) from None
