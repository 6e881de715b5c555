"""The columns of a data frame as the inputs of an ONNX file, and their encoding as operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fastmlp.data.columns import TEXT
from fastmlp.data.frames import CategoryColumn, FrameEncoder, NumberColumn
from fastmlp.data.scaling import CLIP, RobustScale

# What stands for a missing text, as far as it is no level: ONNX's strings have no missing values, and these are what
# NumPy makes of the ones of pandas and Polars.
MISSING_TEXTS = ("", "nan", "None", "<NA>", "NaN")

ML_DOMAIN, ML_OPSET = "ai.onnx.ml", 2  # of LabelEncoder, which maps strings to numbers


def input_names(encoder: FrameEncoder, taken: Sequence[str]) -> list[str]:
    """Return the names of the inputs: those of the columns, with a number behind them where they are taken or empty."""
    names: list[str] = []
    for column in encoder.columns:
        name, k = column.name, 1
        while not name or name in names or name in taken:
            k += 1
            name = f"{column.name}_{k}"
        names.append(name)
    return names


def is_text(column: NumberColumn | CategoryColumn) -> bool:
    """Return whether a column is an input of strings; all others are of float64."""
    return isinstance(column, CategoryColumn) and column.level_kind in (TEXT, None)


def encode_columns(graph, encoder: FrameEncoder, names: Sequence[str]) -> str:
    """Add what `FrameEncoder.transform` does with the inputs `names`, (n, 1) each; return the features' name."""
    parts: list[str] = []  # of (n, some features) float32
    features: list[int] = []  # the features that the parts have, in their order
    numbers, number_features = {}, []
    indicators, indicator_features = [], []
    first = 0
    for name, column in zip(names, encoder.columns):
        last = first + len(column.feature_names)
        if isinstance(column, NumberColumn):
            numbers[name] = column
            number_features.append(first)
            if column.has_indicator:
                indicators.append(name)
                indicator_features.append(first + 1)
        else:
            parts += _category(graph, name, column)
            features += range(first, last)
        first = last
    if numbers:
        parts.append(_numbers(graph, numbers, replaces_missing=encoder.missing == "indicator"))
        features += number_features
    if indicators:
        parts.append(_float(graph, graph.add("IsNaN", _side_by_side(graph, indicators))))
        features += indicator_features
    out = _side_by_side(graph, parts)
    if features == [*range(first)]:
        return out
    return graph.add("Gather", out, graph.constant(np.argsort(features)), axis=1)


def _numbers(graph, numbers: Mapping[str, NumberColumn], replaces_missing: bool) -> str:
    """Add the scaled columns of numbers, in float64 as in NumPy."""

    def row(values) -> str:
        return graph.constant(np.array([list(values)], np.float64))

    columns = list(numbers.values())
    x = _side_by_side(graph, list(numbers))
    if replaces_missing:
        x = graph.add("Where", graph.add("IsNaN", x), row(column.median for column in columns), x)
    x = graph.add("Sub", x, row(column.offset for column in columns))
    x = graph.add("Mul", x, row(column.factor for column in columns))
    if any(column.clips for column in columns):  # all do then
        x = smooth_clip(graph, x)
    return _float(graph, x)


def robust(graph, x: str, scale: RobustScale) -> str:
    """Add `RobustScale.apply` of numbers of any type."""
    x = graph.add("Sub", graph.add("Cast", x, to=graph.onnx.TensorProto.DOUBLE), graph.constant(scale.offset))
    return _float(graph, smooth_clip(graph, graph.add("Mul", x, graph.constant(scale.factor))))


def smooth_clip(graph, z: str) -> str:
    """Add z / sqrt(1 + (z / 3)**2) of float64."""
    ratio = graph.add("Div", z, graph.constant(np.array([CLIP])))
    square = graph.add("Mul", ratio, ratio)
    return graph.add("Div", z, graph.add("Sqrt", graph.add("Add", square, graph.constant(np.array([1.0])))))


def _category(graph, name: str, column: CategoryColumn) -> list[str]:
    """Add the features of a column of categories; return their names, of (n, n_levels) and (n, 1) for the indicator."""
    n_levels = len(column.levels)
    if is_text(column):
        missing = [text for text in MISSING_TEXTS if column.has_indicator and text not in column.levels]
        code = graph.add(
            "LabelEncoder", name, domain=ML_DOMAIN, keys_strings=[*column.levels, *missing],
            values_int64s=[*range(n_levels), *(n_levels for _ in missing)], default_int64=-1,
        )  # fmt: skip
        levels = np.arange(n_levels)[None]
    else:
        if any(float(level) != level for level in column.levels):
            raise ValueError(f"levels of the column {column.name!r} must be numbers that float64 has")
        code, levels = name, np.array([column.levels], np.float64)
    parts = []
    if n_levels:
        hot = _float(graph, graph.add("Equal", code, graph.constant(levels)))
        if n_levels == 2:
            hot = graph.add("MatMul", hot, graph.constant(np.array([[-1], [1]], np.float32)))
        parts.append(hot)
    if column.has_indicator:
        absent = graph.add("Equal", code, graph.constant(np.array([[n_levels]]))) if is_text(column) else ""
        parts.append(_float(graph, absent or graph.add("IsNaN", name)))
    return parts


def _float(graph, x: str) -> str:
    return graph.add("Cast", x, to=graph.onnx.TensorProto.FLOAT)


def _side_by_side(graph, parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)
