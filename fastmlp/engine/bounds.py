"""Errors of compiled code that is called by its address, under ``NUMBA_BOUNDSCHECK=1``.

Numba can't raise from a function that is called by its address: it reports the exception to `sys.unraisablehook` and
returns.  Here the report becomes an exception of the call.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

from numba.core import config

_lock = threading.RLock()  # the hook is the process's: one call at a time


def call_checked(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a kernel.  Under ``NUMBA_BOUNDSCHECK=1``, raise the first error of the regions that it called, whatever
    thread they ran on; regions continue after an error, so that the kernel has ended by then.

    Raises
    ------
    IndexError
        If a region was about to read or write outside of an array.
    """
    if not config.BOUNDSCHECK:
        return function(*arguments)
    errors: list[BaseException] = []
    with _lock:
        outside = sys.unraisablehook
        sys.unraisablehook = lambda report: errors.append(report.exc_value or report.exc_type())
        try:
            result = function(*arguments)
        finally:
            sys.unraisablehook = outside
    if errors:
        raise errors[0]
    return result
