"""Lists of a model's arrays; values assigned to an element are checked and copied into the model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

import numpy as np

from fastmlp.engine.locks import SharedLock


class Views(list):
    """Views into a model's parameters, one per layer.

    ``views[0] = array`` and ``views[:] = arrays`` copy into the model; the number of layers is fixed.

    Parameters
    ----------
    arrays : iterable of ndarray of float32
    name : str
        Name of the list in error messages.
    lock : SharedLock
        Held while values are written.
    """

    def __init__(self, arrays: Iterable[np.ndarray], name: str, lock: SharedLock):
        super().__init__(arrays)
        self.name, self._lock = name, lock

    def __reduce__(self):  # copies and pickles are plain lists of arrays
        return list, (list(self),)

    def __setitem__(self, index, value) -> None:
        if not isinstance(index, slice):
            self._write([(index, self[index], value)])
            return
        indices = range(len(self))[index]
        try:
            values = list(value)
        except TypeError:
            raise TypeError(f"model.{self.name} must be a list of {len(indices)} arrays, got {value!r}") from None
        if len(values) != len(indices):
            raise ValueError(f"model.{self.name} must have one array per layer, {len(indices)}, got {len(values)}")
        self._write([(i, self[i], each) for i, each in zip(indices, values)])

    def _write(self, pairs: list[tuple[int, np.ndarray, Any]]) -> None:
        """Check all values, then copy them into the views."""
        checked = [(view, self._check(index, view, value)) for index, view, value in pairs]
        with self._lock.writing():
            for view, array in checked:
                view[...] = array

    def _check(self, index: int, view: np.ndarray, value) -> np.ndarray:
        wanted = f"model.{self.name}[{index}] must be an array of finite numbers of shape {view.shape}"
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise ValueError(f"{wanted}: {error}") from None
        if array.dtype.kind not in "buif":
            raise TypeError(f"{wanted}, got dtype {array.dtype}")
        if array.shape != view.shape:
            raise ValueError(f"{wanted}, got shape {array.shape}")
        with np.errstate(over="ignore"):  # infinities are refused below
            array = np.array(array, np.float32)
        if not np.isfinite(array).all():
            raise ValueError(f"{wanted}, got NaN, infinity or a number too large for float32")
        return array

    def _refuse(self, *_, **__) -> NoReturn:
        raise TypeError(f"model.{self.name} has one array per layer, a fixed number: assign to its elements")

    append = extend = insert = pop = remove = clear = reverse = sort = _refuse
    __delitem__ = __iadd__ = __imul__ = _refuse
