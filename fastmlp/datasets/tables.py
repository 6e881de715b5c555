"""Reader of tables: CSV, TSV and Parquet files as data frames of pandas or Polars."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import re
import warnings
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from fastmlp.datasets.dataset import Dataset
from fastmlp.optional import require

SEPARATORS = {".csv": ",;\t|", ".tsv": "\t", ".tab": "\t"}
PARQUET = (".parquet", ".pq")
# Texts that stand for a missing value, the same for both packages.
MISSING = ["", "?", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "<NA>"]
_N_SHOWN = 20  # columns that an error lists


def read_table(
    path: Path, target: str | int | None, labelled: bool, ignore: Iterable[str | int] = (), header: bool | None = None
) -> Dataset:
    """Read a table; one of its columns is the target, and those in `ignore` are left out.

    A first column without a name holds the numbers of rows, as pandas and R write them, and is left out too.
    """
    frame, has_names = (_read_parquet(path), True) if _suffix(path) in PARQUET else _read_csv(path, header)
    names = [str(name) for name in frame.columns]
    left_out = {_column(names, name, path, "ignore") for name in ignore}
    if has_names and re.fullmatch(r"(Unnamed: 0|__index_level_0__)?", names[0]):
        left_out.add(names[0])
    if target is None:
        if labelled:
            raise ValueError(f"target must be a column of {path}, which are {_listed(names)}; got none")
        column = None
    elif not labelled and isinstance(target, str) and target not in names:
        column = None  # to predict from a table it may be without its target
    else:
        column = _column(names, target, path, "target")
    if column is not None:
        left_out.add(column)
    kept = [name for name in names if name not in left_out]
    if not kept:
        raise ValueError(f"{path} must have a column besides the target, got {_listed(names)}")
    if len(frame) == 0:
        raise ValueError(f"{path} holds no rows")
    y = None if column is None else _targets(_series(frame, names.index(column)), column, path)
    x = frame[kept]
    if not has_names:  # numbered, so that a table with the target and one without it agree
        kept = [str(k) for k in range(len(kept))]
        x.columns = kept
    return Dataset(x, y, "table", names=kept, target=column)


def is_table(path: Path) -> bool:
    """Return whether the name of a file is that of a table."""
    return _suffix(path) in PARQUET or _suffix(path) in SEPARATORS


def _suffix(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_N_SHOWN]))
    return shown if len(names) <= _N_SHOWN else f"{shown} and {len(names) - _N_SHOWN} more"


def _column(names: list[str], wanted: str | int, path: Path, argument: str) -> str:
    """Return the name of a column that is given by its name or its number."""
    if isinstance(wanted, str) and wanted in names:
        return wanted
    try:
        return names[int(wanted)]
    except (ValueError, IndexError):
        raise ValueError(f"{argument} must be a column of {path}, which are {_listed(names)}; got {wanted!r}") from None


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else open(path, "rb")  # type: ignore[return-value]


def _read_csv(path: Path, header: bool | None) -> tuple[Any, bool]:
    """Return a CSV or TSV file as a data frame, and whether its columns have names."""
    try:
        with _open(path) as file:
            data = file.read()
        text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="")
        line = text.readline()
        while line and not line.strip():
            line = text.readline()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is not a complete gzip file: {error}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be text in UTF-8: {error}") from None
    if not line:
        raise ValueError(f"{path} is empty")
    bare = re.sub(r'"[^"]*"', "", line)
    separator = max(SEPARATORS[_suffix(path)], key=bare.count)
    names = [name.strip() for name in next(csv.reader([line], delimiter=separator))]
    if header is None:
        _check_header(names, path)
        header = True
    if header and len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{path} must have columns of different names, got {twice!r} twice")
    try:
        frame = (_pandas_csv if _package() == "pandas" else _polars_csv)(data, separator, header)
        if len(frame.columns) != len(names):
            raise ValueError(f"its rows have {len(frame.columns)} fields")
    except ValueError as error:
        reason = _long_row(data, separator, len(names)) or " ".join(str(error).split())
        raise ValueError(f"{path} can't be read as a table: {reason}") from None
    frame.columns = names if header else [str(k) for k in range(len(names))]
    return frame, header


def _long_row(data: bytes, separator: str, n_columns: int) -> str | None:
    """Return a text about the first row with too many fields, if there is one."""
    reader = csv.reader(io.StringIO(data.decode("utf-8-sig", "replace"), newline=""), delimiter=separator)
    try:
        for row in reader:
            if len(row) > n_columns:
                return f"line {reader.line_num} has {len(row)} fields, but the first line has {n_columns}"
    except csv.Error:  # such as a field without end
        pass
    return None


def _check_header(names: list[str], path: Path) -> None:
    """Refuse a first line that holds data; columns may be numbered from 0."""
    numbers = [name for name in names if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", name)]
    counted = len(numbers) > 1 and numbers == [str(k) for k in range(len(numbers))]
    if numbers and not counted:
        raise ValueError(
            f"{path} must have the names of its columns in the first line, got the number {numbers[0]}; "
            "say header=False (--no-header) if there are none, header=True (--header) if this is a name"
        )


def _package() -> str:
    """Return which of the two packages reads tables."""
    return "pandas" if importlib.util.find_spec("pandas") else "polars"


def _pandas_csv(data: bytes, separator: str, header: bool):
    pandas = require("pandas", "tabular")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pandas.errors.ParserWarning)  # rows that are too long, cut
            return pandas.read_csv(
                io.BytesIO(data), sep=separator, header=0 if header else None, index_col=False, low_memory=False,
                encoding="utf-8-sig", skipinitialspace=True, na_values=MISSING, keep_default_na=False,
            )  # fmt: skip
    except pandas.errors.ParserWarning as error:
        raise ValueError(str(error)) from None


def _polars_csv(data: bytes, separator: str, header: bool):
    polars = require("polars", "tabular")
    try:
        frame = polars.read_csv(
            data, separator=separator, has_header=header, infer_schema_length=None, null_values=MISSING
        )
    except polars.exceptions.PolarsError as error:
        raise ValueError(str(error).splitlines()[0]) from None
    for name, dtype in zip(frame.columns, frame.dtypes):
        if dtype != polars.String:
            continue
        text = frame[name].str.strip_chars_start()  # as pandas reads "1, 2"
        text = text.set(text.is_in(MISSING).fill_null(False), None)
        numbers = text.str.strip_chars().cast(polars.Float64, strict=False)
        is_number = numbers.null_count() == text.null_count() < len(text)
        frame = frame.with_columns((numbers if is_number else text).alias(name))
    return frame


def _read_parquet(path: Path):
    if _package() == "pandas" and (importlib.util.find_spec("pyarrow") or importlib.util.find_spec("fastparquet")):
        read = require("pandas", "tabular").read_parquet
    else:
        read = require("polars", "tabular").read_parquet
    with open(path, "rb") as file:  # raises the OS's own error if it can't be read
        try:
            return read(file)
        except Exception as error:  # each of the libraries has its own
            raise ValueError(f"{path} is not a Parquet file: {str(error).splitlines()[0]}") from None


def _series(frame, position: int):
    return frame.iloc[:, position] if hasattr(frame, "iloc") else frame.to_series(position)


def _targets(series, name: str, path: Path) -> np.ndarray:
    """Return a column as labels or numbers."""
    missing = series.isna() if hasattr(series, "isna") else series.is_null()
    rows = np.flatnonzero(np.asarray(missing))
    if rows.size:
        raise ValueError(
            f"{path} must have a target in every row, got none in column {name!r}, row {rows[0]} (the first is row 0)"
            + (f", and {rows.size - 1} more" if rows.size > 1 else "")
        )
    values = series.to_numpy()
    if values.dtype == object:
        values = np.array(values.tolist())
    if values.dtype.kind not in "buifUS":
        raise TypeError(f"{path}: the target {name!r} must hold labels or numbers, got {series.dtype}")
    return values
