"""Encode data frames as arrays of numbers, in a way that is learnt from the training samples."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastmlp.checks import _LARGEST, check_choice, check_integer, check_positive, shorten
from fastmlp.data.arrays import check_names
from fastmlp.data.columns import BOOLEAN, NUMBER, TEXT, Categories, Numbers, Table, numbers_of, read_table
from fastmlp.data.scaling import SCALES, check_input_scale, robust_scale, smooth_clip, standard_scale

MISSING = ("indicator", "error")
MAX_LEVELS = 256


@dataclass(frozen=True)
class NumberColumn:
    """How a column of numbers becomes one feature, or two with the indicator of missing values.

    The feature is ``(x - offset) * factor``, computed in float64, then `smooth_clip` of that if `clips`.

    Attributes
    ----------
    name : str
    median : float
        Replaces missing values.
    offset, factor : float
    clips, has_indicator : bool
    """

    name: str
    median: float
    offset: float
    factor: float
    clips: bool
    has_indicator: bool

    kind: ClassVar[str] = "number"

    @property
    def feature_names(self) -> list[str]:
        return [self.name, *_indicator_name(self)]

    def encode(self, out: np.ndarray, column: Numbers) -> None:
        """Write the features (n, n_features) of a column."""
        values, missing = column.values.astype(np.float64), column.missing
        values[missing] = self.median
        z = (values - self.offset) * self.factor
        out[:, 0] = smooth_clip(z) if self.clips else z
        if self.has_indicator:
            out[:, 1] = missing


@dataclass(frozen=True)
class CategoryColumn:
    """How a column of categories becomes features: one for each level, 1 where the value is that level and 0 elsewhere.

    Two levels share one feature, -1 for the first and 1 for the second.  Missing values and values that are not among
    the levels make it 0.  The indicator of missing values is one feature more.

    Attributes
    ----------
    name : str
    level_kind : str or None
        "text", "booleans" or "numbers"; None if all values were missing.
    levels : tuple
        The values in the training samples.
    has_indicator : bool
    """

    name: str
    level_kind: str | None
    levels: tuple
    has_indicator: bool

    kind: ClassVar[str] = "category"

    @property
    def feature_names(self) -> list[str]:
        levels = self.levels[1:] if len(self.levels) == 2 else self.levels
        return [*(f"{self.name}={level}" for level in levels), *_indicator_name(self)]

    def encode(self, out: np.ndarray, column: Categories) -> None:
        """Write the features (n, n_features) of a column."""
        position = {level: k for k, level in enumerate(self.levels)}
        # the last one is for the code -1 of missing values
        known = np.array([*(position.get(level, -1) for level in column.levels), -1])[column.codes]
        out[:] = 0
        if len(self.levels) == 2:
            out[:, 0] = np.array([-1, 1, 0], np.float32)[known]
        else:
            rows = np.flatnonzero(known >= 0)
            out[rows, known[rows]] = 1
        if self.has_indicator:
            out[:, -1] = column.missing


def _indicator_name(column: NumberColumn | CategoryColumn) -> list[str]:
    return [f"{column.name} is missing"] if column.has_indicator else []


@dataclass(frozen=True)
class FrameEncoder:
    """How the columns of a data frame become the features of a network.

    Attributes
    ----------
    columns : tuple of NumberColumn or CategoryColumn
        In the order of the frame.
    missing : "indicator" or "error"
        Whether missing values are encoded or refused.
    """

    columns: tuple[NumberColumn | CategoryColumn, ...]
    missing: str = "indicator"

    @classmethod
    def learn(
        cls, frame, rows=None, *, input_scale: Any = "auto", missing: str = "indicator", max_levels: int = MAX_LEVELS,
    ) -> FrameEncoder:  # fmt: skip
        """Return an encoder for frames like this one.

        Parameters
        ----------
        frame : data frame or Table
        rows : ndarray of int, optional
            The training samples, from which everything is learnt; by default all.
        input_scale : float, "auto", "standardize" or "robust"
            Scale of the columns of numbers, as in `fastmlp.train`.
        missing : "indicator" or "error"
            "indicator": a missing number is replaced by the median, a missing category has no level, and a column in
            which values are missing gets one feature more, 1 for these and 0 elsewhere.  "error": missing values are
            refused, in training and in prediction.
        max_levels : int
            Maximum number of levels per column.

        Raises
        ------
        ValueError, TypeError
            If an argument is not as described, or a column has too many levels, missing values that are refused, or
            neither numbers nor categories.
        """
        check_choice(missing, "missing", MISSING)
        max_levels = check_integer(max_levels, "max_levels", 2)
        check_number_scale(input_scale)
        table = read_table(frame, "x")
        _check_missing(table, missing, "x")
        taken = table if rows is None else table[rows]
        columns: list[NumberColumn | CategoryColumn] = []
        for name, column in zip(taken.names, taken.columns):
            if isinstance(column, Numbers):
                columns.append(_learn_numbers(name, column, input_scale))
            else:
                columns.append(_learn_categories(name, column, max_levels))
        return cls(tuple(columns), missing)

    @property
    def names(self) -> list[str]:
        """Names of the columns of the frame."""
        return [column.name for column in self.columns]

    @property
    def feature_names(self) -> list[str]:
        """Names of the features, such as "age", "age is missing", "city=Rome"."""
        return [name for column in self.columns for name in column.feature_names]

    @property
    def n_features(self) -> int:
        return sum(len(column.feature_names) for column in self.columns)

    def transform(self, frame, name: str = "x") -> np.ndarray:
        """Return the features of a frame with the same columns, (n, n_features) float32.

        Raises
        ------
        ValueError, TypeError
            If the columns are not those of the training samples, or one holds something else.
        """
        table = read_table(frame, name)
        check_names(list(table.names), self.names, name)
        _check_missing(table, self.missing, name)
        out = np.empty((len(table), self.n_features), np.float32)
        first = 0
        for known, column in zip(self.columns, table.columns):
            last = first + len(known.feature_names)
            known.encode(out[:, first:last], _as_learnt(column, known, name))
            first = last
        return out

    def to_json(self) -> dict[str, Any]:
        """Return the encoder in JSON's types."""
        columns = [{"kind": column.kind, **dataclasses.asdict(column)} for column in self.columns]
        return {"missing": self.missing, "columns": columns}

    @classmethod
    def from_json(cls, value: Any) -> FrameEncoder:
        """Return the encoder that `to_json` described.

        Raises
        ------
        ValueError, TypeError, KeyError
            If `value` is no such description.
        """
        check_choice(value["missing"], "missing", MISSING)
        kinds: dict[str, Any] = {kind.kind: kind for kind in (NumberColumn, CategoryColumn)}
        columns = []
        for described in _typed(value["columns"], list, "columns"):
            fields = dict(_typed(described, dict, "a column"))
            kind = fields.pop("kind")
            check_choice(kind, "kind", kinds)
            column = kinds[kind](**{key: tuple(each) if key == "levels" else each for key, each in fields.items()})
            _check_column(column)
            columns.append(column)
        if not columns:
            raise ValueError("an encoder must have at least one column")
        return cls(tuple(columns), value["missing"])


def check_number_scale(input_scale) -> float | str:
    """Return a scale for the columns of numbers of a frame: a float or one of SCALES."""
    if isinstance(input_scale, str):
        check_choice(input_scale, "input_scale", SCALES)
        return input_scale
    if np.ndim(input_scale) > 0:
        raise ValueError(
            f"input_scale must be a number or one of {', '.join(map(repr, SCALES))} for a data frame with categories "
            f"or missing values, got {type(input_scale).__name__}"
        )
    return check_positive(input_scale, "input_scale")


def _check_missing(table: Table, missing: str, name: str) -> None:
    if missing != "error":
        return
    for label, column in zip(table.names, table.columns):
        rows = np.flatnonzero(column.missing)
        if rows.size:
            raise ValueError(
                f"{name} must not have missing values with missing='error', got {rows.size} in the column {label!r}, "
                f"the first in row {rows[0]}"
            )


def _learn_numbers(name: str, column: Numbers, input_scale) -> NumberColumn:
    missing = column.missing
    has_indicator = bool(missing.any())
    present = column.values[~missing][:, None] if has_indicator else column.values[:, None]
    if len(present) == 0:
        return NumberColumn(name, 0.0, 0.0, 1.0, False, True)
    if present.dtype.kind in "iu":
        present = present.astype(np.float64)
    scale = check_input_scale(1.0 if input_scale == "auto" else input_scale, 1)
    offset = np.zeros(1)
    if isinstance(scale, str):
        offset, scale = {"standardize": standard_scale, "robust": robust_scale}[scale](present)
    factor = float(np.asarray(scale).reshape(-1)[0])
    median = float(np.median(present.astype(np.float64, copy=False)))
    return NumberColumn(name, median, float(offset[0]), factor, input_scale == "robust", has_indicator)


def _learn_categories(name: str, column: Categories, max_levels: int) -> CategoryColumn:
    levels = column.levels
    if column.kind != BOOLEAN:
        used = np.unique(column.codes)
        levels = tuple(column.levels[k] for k in used[used >= 0])
    if len(levels) > max_levels:
        raise ValueError(
            f"x must have at most max_levels={max_levels} different values in a column of text or categories, got "
            f"{len(levels)} in the column {name!r}: {shorten(list(levels))}; leave the column out, or pass a larger "
            "max_levels"
        )
    return CategoryColumn(name, column.kind if levels else None, levels, bool(column.missing.any()))


def _as_learnt(column: Numbers | Categories, known: NumberColumn | CategoryColumn, name: str) -> Any:
    """Return a column as the kind that was learnt; a column without any value is of every kind."""
    wanted = NUMBER if isinstance(known, NumberColumn) else known.level_kind
    if wanted is not None and column.missing.all():
        n = len(column.missing)
        if isinstance(known, NumberColumn):
            return Numbers(np.full(n, np.nan))
        return Categories(wanted, (), np.full(n, -1))
    kind = NUMBER if isinstance(column, Numbers) else column.kind
    if wanted is not None and kind != wanted:
        raise TypeError(f"{name} must hold {wanted} in the column {known.name!r}, as in training, got {kind}")
    if isinstance(known, NumberColumn) and isinstance(column, Categories):
        return Numbers(numbers_of(column))
    if isinstance(known, CategoryColumn) and isinstance(column, Numbers):
        levels, codes = np.unique(column.values, return_inverse=True)
        return Categories(NUMBER, tuple(levels.tolist()), np.where(column.missing, -1, codes))
    return column


def _typed(value, kind: type, what: str) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{what} must be a {kind.__name__}, got {str(value)[:100]}")
    return value


_LEVEL_TYPES: dict[str | None, tuple[type, ...]] = {TEXT: (str,), BOOLEAN: (bool,), NUMBER: (int, float), None: ()}


def _check_column(column: NumberColumn | CategoryColumn) -> None:
    """Raise an error unless the fields of a column, which come from a file, have the right types."""
    _typed(column.name, str, "name")
    _typed(column.has_indicator, bool, "has_indicator")
    if isinstance(column, NumberColumn):
        _typed(column.clips, bool, "clips")
        for field in ("median", "offset", "factor"):
            if not abs(_typed(getattr(column, field), float, field)) <= _LARGEST:
                raise ValueError(f"{field} must be finite, got {getattr(column, field)}")
        return
    known = _LEVEL_TYPES[column.level_kind]
    if not all(type(level) in known for level in column.levels) or len(set(column.levels)) < len(column.levels):
        raise ValueError(f"levels of {column.name!r} must be different {column.level_kind}")
