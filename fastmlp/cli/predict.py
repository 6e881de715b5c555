"""`fastmlp predict`"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from typing import TextIO

import numpy as np

import fastmlp
from fastmlp.cli.command import add_command, add_json_option, print_result, to_json
from fastmlp.cli.data_options import DATA, add_data_options, read_data


def add_parser(commands) -> None:
    """Add `fastmlp predict` to the commands."""
    parser = add_command(
        commands, "predict", run, "Write a saved model's labels and probabilities as CSV.", "MODEL FILE",
        example="fastmlp predict digits.safetensors drawing.png",
    )  # fmt: skip
    parser.add_argument("model", metavar="MODEL", help="a file that `fastmlp train --save` wrote")
    parser.add_argument(
        "data", metavar="FILE", help=f"{DATA}; or an image, or a folder of images; labels need not be there"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="where to write, instead of to the terminal")
    add_data_options(parser, pictures=True)
    add_json_option(parser)


def run(options) -> None:
    model = fastmlp.load(options.model)
    data = read_data(options, options.data, labelled=False, model=model)
    names, columns = predictions(model, data.x)
    if data.files is not None:
        names, columns = ["file", *names], [data.files, *columns]
    if options.json:
        rows = [dict(zip(names, row)) for row in zip(*columns)]
        if options.output is None:
            print_result(options, rows, "")
            return
        with open(options.output, "w", encoding="utf-8") as file:
            json.dump(to_json(rows), file, allow_nan=False)
        return
    if options.output is None:
        _write(sys.stdout, names, columns)
        return
    with open(options.output, "w", newline="", encoding="utf-8") as file:
        _write(file, names, columns)


def predictions(model: fastmlp.MLP, x) -> tuple[list[str], list[Iterable]]:
    """Return what a model predicts as columns: labels and probabilities, or the outputs of a regression."""
    predicted = model.predict(x)
    if not model.has_accuracy:
        return _named("prediction", predicted), list(predicted.T)
    probabilities = model.predict_proba(x)
    if model.classes is None:  # several labels a sample
        names = _named("label", predicted) + _named("probability", predicted)
        return names, [*predicted.T, *probabilities.T]
    return ["label", *(f"probability_{label}" for label in model.classes)], [predicted, *probabilities.T]


def _named(name: str, columns: np.ndarray) -> list[str]:
    n = columns.shape[1]
    return [name] if n == 1 else [f"{name}_{k}" for k in range(n)]


def _write(file: TextIO, names: list[str], columns: list[Iterable]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(zip(*map(_texts, columns)))


def _texts(column: Iterable) -> Iterator[str]:
    return (str(value) for value in column)  # the shortest text that is this float32
