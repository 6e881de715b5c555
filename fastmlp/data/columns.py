"""Read the columns of data frames of pandas and Polars, neither of which is imported.

A column holds numbers, or categories: text, booleans, or the values of a categorical dtype.
"""

from __future__ import annotations

import decimal
import numbers
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastmlp.checks import _LARGEST, shorten
from fastmlp.data.arrays import as_array, check_collected, is_frame

TEXT, BOOLEAN, NUMBER = "text", "booleans", "numbers"  # what levels are


@dataclass(frozen=True)
class Numbers:
    """A column of numbers.

    Attributes
    ----------
    values : ndarray (n,) of integers or floats
        Finite, but for NaN where a value is missing.
    """

    values: np.ndarray

    @property
    def missing(self) -> np.ndarray:
        """(n,) bool"""
        return np.isnan(self.values) if self.values.dtype.kind == "f" else np.zeros(len(self.values), bool)

    def __getitem__(self, rows) -> Numbers:
        return Numbers(self.values[rows])


@dataclass(frozen=True)
class Categories:
    """A column of categories.

    Attributes
    ----------
    kind : str or None
        TEXT, BOOLEAN or NUMBER; None if all values are missing.
    levels : tuple
        All different values, in the order of a categorical dtype, or sorted.  Some may not occur.
    codes : ndarray (n,) of integers
        Indices of `levels`; -1 where a value is missing.
    """

    kind: str | None
    levels: tuple
    codes: np.ndarray

    @property
    def missing(self) -> np.ndarray:
        """(n,) bool"""
        return self.codes < 0

    def __getitem__(self, rows) -> Categories:
        return Categories(self.kind, self.levels, self.codes[rows])


@dataclass(frozen=True)
class Table:
    """The columns of a data frame, read and checked; rows are taken by index, as from an array."""

    names: tuple[str, ...]
    columns: tuple[Numbers | Categories, ...]
    shape: tuple[int, int]

    def __getitem__(self, rows) -> Table:
        columns = tuple(column[rows] for column in self.columns)
        return Table(self.names, columns, (len(np.arange(self.shape[0])[rows]), self.shape[1]))

    def __len__(self) -> int:
        return self.shape[0]


def needs_encoding(x) -> bool:
    """Return whether `x` is a data frame, or the Table of one, that holds more than numbers."""
    if isinstance(x, Table):
        return True
    return is_frame(x) and (hasattr(x, "isna") or hasattr(x, "iter_columns")) and not has_numbers_only(x)


def read_table(frame, name: str = "x") -> Table:
    """Return the columns of a data frame, or a Table as it is.

    Raises
    ------
    TypeError
        If a column holds neither numbers, text, booleans nor categories of these, or several of them.
    ValueError
        If the frame has no rows or columns, or a number is infinite, in float32 too.
    """
    if isinstance(frame, Table):
        return frame
    check_collected(frame, name)
    labels = list(frame.columns)
    shape = tuple(frame.shape)
    if 0 in shape:
        raise ValueError(f"{name} must have at least one sample and one feature, got a data frame of shape {shape}")
    series = [frame.iloc[:, k] if hasattr(frame, "iloc") else frame[label] for k, label in enumerate(labels)]
    columns = tuple(_read(each, _Place(name, label)) for each, label in zip(series, labels))
    return Table(tuple(map(str, labels)), columns, shape)


def has_numbers_only(frame) -> bool:
    """Return whether all columns of a data frame are of a numeric dtype, and no value is missing."""
    if not all(map(_is_number, frame.dtypes)):
        return False
    if hasattr(frame, "isna"):
        integers = all(isinstance(dtype, np.dtype) and dtype.kind in "iu" for dtype in frame.dtypes)
        return integers or not frame.isna().to_numpy().any()
    return not any(
        series.null_count() or (series.dtype.is_float() and series.is_nan().any()) for series in frame.iter_columns()
    )


def _is_number(dtype) -> bool:
    """Return whether a dtype of pandas or Polars is of integers or floats."""
    if hasattr(dtype, "is_numeric"):  # Polars
        return bool(dtype.is_numeric()) and not dtype.is_decimal()
    return getattr(dtype, "kind", "O") in "iuf"


class _Place:
    """The name of an argument and the label of a column, for errors."""

    def __init__(self, name: str, label):
        self.name, self.label = name, label

    def refuse(self, what: str, hint: str = "") -> TypeError:
        """Return an error that says what the column holds."""
        return TypeError(
            f"{self.name} must hold numbers, text, booleans or categories, got {what} in the column {self.label!r}"
            f"{hint}"
        )


def _read(series, place: _Place) -> Numbers | Categories:
    column = _read_polars(series, place) if hasattr(series, "is_null") else _read_pandas(series, place)
    if isinstance(column, Numbers):
        bad = np.flatnonzero(np.abs(column.values) > _LARGEST)
        if bad.size:
            raise ValueError(
                f"{place.name} must be finite (in float32), got infinity or too large a number in row {bad[0]}, "
                f"column {place.label!r}"
            )
    return column


def _read_pandas(series, place: _Place) -> Numbers | Categories:
    dtype = series.dtype
    kind = getattr(dtype, "kind", "O")
    if str(dtype) == "category":
        return _categories(series.cat.categories.tolist(), np.asarray(series.cat.codes), place)
    if isinstance(dtype, np.dtype) and kind in "iuf":
        return Numbers(series.to_numpy())
    if kind in "iuf":
        return Numbers(series.to_numpy(np.float64, na_value=np.nan))
    missing = np.asarray(series.isna(), bool)
    if kind == "b":
        values = np.asarray(series) if isinstance(dtype, np.dtype) else series.to_numpy(bool, na_value=False)
        return _booleans(values, missing)
    if kind in "mMc":
        raise place.refuse(f"the dtype {dtype}", _HINTS.get(kind, ""))
    return _objects(series.tolist(), missing, dtype, place)


def _read_polars(series, place: _Place) -> Numbers | Categories:
    dtype, missing = series.dtype, series.is_null().to_numpy()
    if _is_number(dtype):
        return Numbers(series.to_numpy())  # floats with NaN where integers are missing
    kind = str(dtype).partition("(")[0]
    if kind == "Boolean":
        return _booleans(series.fill_null(False).to_numpy(), missing)
    if kind == "Enum":
        codes = np.where(missing, -1, series.to_physical().fill_null(0).to_numpy().astype(np.int64))
        return _categories(dtype.categories.to_list(), codes, place)
    if kind in ("Date", "Datetime", "Time", "Duration"):
        raise place.refuse(f"the dtype {dtype}", _HINTS["M"])
    return _objects(series.to_list(), missing, dtype, place)


_HINTS = {
    "M": "; make numbers of it, such as the year, the weekday or the seconds since a date",
    "m": "; make numbers of it, such as its seconds",
}


def _booleans(values: np.ndarray, missing: np.ndarray) -> Categories:
    return Categories(BOOLEAN, (False, True), np.where(missing, -1, values.astype(np.int8)).astype(np.int8))


def _categories(levels: list, codes: np.ndarray, place: _Place) -> Categories:
    """Return a column of a categorical dtype, whose codes are -1 where a value is missing."""
    kind = _kind_of({type(level) for level in levels})
    if levels and kind is None:
        raise place.refuse(f"categories of {_type_names(levels)}", '; convert them to text, as by .astype("string")')
    return Categories(kind, tuple(_plain(level, kind) for level in levels), codes)


def _objects(values: list, missing: np.ndarray, dtype, place: _Place) -> Numbers | Categories:
    """Return a column of Python's objects, which must all be text, booleans or numbers."""
    present = [value for value, absent in zip(values, missing.tolist()) if not absent] if missing.any() else values
    kind = _kind_of(set(map(type, present)))
    if present and kind is None:
        dates = any(hasattr(value, "isoformat") for value in present[:1])
        raise place.refuse(f"the dtype {dtype} with {_type_names(present)}", _HINTS["M"] if dates else "")
    if kind == NUMBER:
        numbers_ = np.full(len(values), np.nan)
        numbers_[~missing] = [float(value) for value in present]
        return Numbers(numbers_)
    levels = (False, True) if kind == BOOLEAN else tuple(sorted(set(map(str, present))))
    code = {level: k for k, level in enumerate(levels)}
    codes = np.full(len(values), -1, np.int32)
    codes[~missing] = np.fromiter(map(code.__getitem__, present), np.int32, len(present))
    return Categories(kind, levels, codes)


def _kind_of(types: set[type]) -> str | None:
    """Return what values of these types are; None for other types, a mixture, or none."""
    if types and all(issubclass(each, str) for each in types):
        return TEXT
    if types and types <= {bool, np.bool_}:
        return BOOLEAN
    real = all(issubclass(each, (numbers.Real, decimal.Decimal)) and not issubclass(each, bool) for each in types)
    return NUMBER if types and real else None


def _type_names(values: list) -> str:
    names = sorted({type(value).__name__ for value in values})
    return shorten(names)


def _plain(level: Any, kind: str | None) -> Any:
    """Return a level as a type of JSON."""
    if kind == TEXT:
        return str(level)
    if kind == BOOLEAN:
        return bool(level)
    return int(level) if isinstance(level, numbers.Integral) else float(level)


def numbers_of(column: Categories) -> np.ndarray:
    """Return the values of a column whose levels are numbers, as float64 with NaN where a value is missing."""
    return as_array([*map(float, column.levels), np.nan], "levels")[column.codes]
