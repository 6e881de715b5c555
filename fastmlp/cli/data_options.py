"""The options that say what data are and how they are read, and the readers of a command's data."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np

from fastmlp.datasets import Dataset, read

DATA = (
    "a .csv, .tsv, .parquet, .npz, .npy, IDX or svmlight file; or a folder of IDX files like MNIST's, of .npy files, "
    "or with one sub-folder of images per class"
)


def add_data_options(parser: argparse.ArgumentParser, pictures: bool = False) -> None:
    """Add the options for reading data; those for `pictures` are of use with a model."""
    group = parser.add_argument_group("data")
    group.add_argument(
        "--target", metavar="COLUMN",
        help="column of a table to predict, by name or number (-1 is the last); or file of the labels of an IDX or "
        ".npy file, or their name in a .npz file",
    )  # fmt: skip
    group.add_argument(
        "--ignore", type=lambda text: text.split(","), default=[], metavar="COLUMN[,COLUMN...]",
        help="columns of a table to leave out",
    )  # fmt: skip
    group.add_argument(
        "--header", action=argparse.BooleanOptionalAction, help="whether a .csv or .tsv file starts with column names"
    )
    group.add_argument("--size", type=_size, metavar="WIDTHxHEIGHT", help="size to resize images to")
    if pictures:
        group.add_argument(
            "--prepare", choices=("auto", "digit", "none"), default="auto",
            help='"digit" makes an image like those of MNIST: gray, light on dark, centered by mass, 28 x 28 pixels; '
            '"auto" does so if the model has 784 inputs and the classes 0 to 9',
        )  # fmt: skip


def read_data(options, path: str, labelled: bool = True, model=None, like: Dataset | None = None) -> Dataset:
    """Read `path` as the options say, and as a model, or the data that it belongs to, needs it."""
    more: dict[str, Any] = {"ignore": options.ignore, "header": options.header, "size": options.size}
    if like is not None:
        if like.kind == "images":
            more["color"] = len(like.image_shape or ()) == 3
        target = options.target if like.kind in ("table", "npz") else None  # else it is the file of other labels
        return read(path, target, n_features=like.x.shape[1], **more)
    if model is None:
        return read(path, options.target, labelled=labelled, **more)
    if options.prepare == "digit" or (options.prepare == "auto" and _reads_digits(model)):
        more["prepare"] = _as_digit
    data = read(path, options.target, labelled=labelled, n_features=model.n_features, **more)
    if data.kind == "images" and data.x.shape[1] != model.n_features and "prepare" not in more:
        color = model.n_features == 3 * data.x.shape[1]
        if color or data.x.shape[1] == 3 * model.n_features:  # the model was trained on images of the other kind
            data = read(path, options.target, labelled=labelled, color=color, **more)
    if data.names is not None and model.feature_names is not None:
        data = _model_columns(data, model)
    return data


def labels_of(y: np.ndarray, model) -> np.ndarray:
    """Return labels in the type of the model's classes: names of folders are strings, but may mean integers."""
    if y.dtype.kind == "U" and model.classes is not None and model.classes.dtype.kind in "iu":
        try:
            return y.astype(np.int64)
        except ValueError:  # the model says what is wrong with them
            pass
    return y


def describe_data(name: str, data: Dataset) -> str:
    """Return a line about samples and their labels."""
    n_samples, n_features = data.x.shape
    what = f"{n_samples:,} sample{'s' * (n_samples != 1)} of {n_features:,} feature{'s' * (n_features != 1)}"
    if data.y is not None and data.y.dtype.kind != "f" and data.y.ndim == 1:
        what += f", {len(np.unique(data.y))} classes"
    return f"{name}: {what}"


def measure(model, x, y) -> dict[str, float]:
    """Return the loss of a model, and its accuracy, or R2 for a regression, by name."""
    loss, accuracy = model.evaluate(x, y)
    if model.has_accuracy:
        return {"loss": loss, "accuracy": accuracy}
    from fastmlp.training.metrics import r2

    return {"loss": loss, "r2": r2(model, x, y)}


def describe_scores(scores: dict[str, float], name: str) -> str:
    """Return a line about what `measure` returned, and on what."""
    if "accuracy" in scores:
        return f"{name} accuracy {scores['accuracy']:.4f}  {name} loss {scores['loss']:.4f}"
    more = f"  {name} r2 {scores['r2']:.4f}" if "r2" in scores else ""
    return f"{name} loss {scores['loss']:.4g}{more}"


def _model_columns(data: Dataset, model) -> Dataset:
    """Take the columns that the model knows, in its order."""
    wanted = model.feature_names
    names = set(data.names or ())
    if not set(wanted) <= names:
        return data  # the model says what is missing
    unknown = [name for name in data.names or () if name not in set(wanted)]
    if unknown:
        print(f"columns that the model does not use: {', '.join(unknown)}", file=sys.stderr)
    return data._replace(x=data.x[wanted], names=list(wanted))


def _as_digit(image: np.ndarray) -> np.ndarray:
    from fastmlp.datasets.digit_image import digit_image

    return digit_image(image)


def _reads_digits(model) -> bool:
    classes = model.classes
    return model.n_features == 784 and classes is not None and classes.tolist() == list(range(10))


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = map(int, text.lower().split("x"))
    except ValueError:
        width = height = 0
    if width < 1 or height < 1:
        raise argparse.ArgumentTypeError(f"must be a width and a height like 28x28, got {text!r}")
    return width, height
