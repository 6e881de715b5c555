"""Public names that have changed: the old ones work for one more release, with a DeprecationWarning."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import TypeVar

Class = TypeVar("Class", bound=type)


def renamed(**names: str) -> Callable[[Class], Class]:
    """Let a class accept the old names of its arguments and attributes, given as ``old="new"``.

    Raises
    ------
    TypeError
        If the class is called with an argument under both names.
    """

    def decorate(cls: Class) -> Class:
        init = cls.__init__  # type: ignore[misc]

        @functools.wraps(init)
        def accept_old_names(self, *args, **kwargs):
            for old in names.keys() & kwargs.keys():
                new = names[old]
                if new in kwargs:
                    raise TypeError(f"{cls.__name__}: {old} is the old name of {new}, give only {new}")
                _warn(cls, old, new)
                kwargs[new] = kwargs.pop(old)
            init(self, *args, **kwargs)

        cls.__init__ = accept_old_names  # type: ignore[misc]
        for old, new in names.items():
            setattr(cls, old, _alias(cls, old, new))
        return cls

    return decorate


def _alias(cls: type, old: str, new: str) -> property:
    def get(self):
        _warn(cls, old, new)
        return getattr(self, new)

    def set(self, value):
        _warn(cls, old, new)
        setattr(self, new, value)

    return property(get, set)


def _warn(cls: type, old: str, new: str) -> None:
    warnings.warn(f"{cls.__name__}: {old} is now called {new}", DeprecationWarning, stacklevel=3)
