"""Reports: a page of HTML that says how good a model is on labeled data, and what it gets wrong."""

from __future__ import annotations

import datetime
import os
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fastmlp.model import MLP
    from fastmlp.report.evaluation import Evaluation

__all__ = ["write"]

_TITLES = {"classes": "What it gets wrong", "labels": "What it gets wrong", "regression": "Largest errors"}


def write(
    model: MLP,
    x,
    y,
    path: str | os.PathLike,
    *,
    title: str = "Report on a model",
    data: str = "",
    image_shape: Any = "auto",
) -> None:
    """Evaluate a model on labeled data and write a report about it, one page of HTML that needs no other file.

    It has the model's facts and history; accuracy and loss with 95% confidence intervals; confusion matrix, precision
    and recall of classifiers, errors of regressions; the worst mistakes; and the first layer's weights.

    Parameters
    ----------
    model : MLP
    x, y : array_like
        As in `MLP.evaluate`: data that the model was not trained on.
    path : str or path
        An existing file is replaced once the new one is complete.
    title : str
        The page's heading.
    data : str
        What `x` and `y` are, such as "MNIST's test set".
    image_shape : tuple of int, "auto" or None
        Shape of a sample as a picture, (height, width) or (height, width, 3).  "auto" takes 8 x 8 or more features for
        a square picture, unless they have names; None shows samples as rows.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.
    OSError
        If the file can't be written; an existing file is left as it was.
    """
    from fastmlp.io.atomic_write import replace_file

    replace_file(path, to_html(model, x, y, title, data, image_shape).encode())


def to_html(model: MLP, x, y, title: str, data: str, image_shape: Any) -> str:
    """Return the page that `write` writes."""
    from fastmlp.report import evaluation as evaluations
    from fastmlp.report import sections

    shape = evaluations.sample_shape(model, image_shape)
    found = evaluations.evaluate(model, x, y)
    parts = [
        sections.key_numbers(found),
        sections.section("Model", sections.facts(_model_facts(model))),
        sections.section("Training", sections.curves(model)),
    ]
    if found.kind == "classes":
        parts.append(sections.section("Confusion matrix", sections.confusion(found)))
    if found.kind == "regression":
        parts.append(sections.section("Predictions", sections.scatter(found)))
    parts += [
        sections.section("Errors" if found.kind == "regression" else "Precision and recall", sections.scores(found)),
        sections.section(_TITLES[found.kind], sections.mistakes(model, found, x, shape)),
        sections.section("First layer", sections.first_layer(model, shape)),
        sections.section("Time and versions", sections.facts(_circumstances(model, found))),
    ]
    style = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
    on = f"Evaluated on {found.n_samples:,} samples" + (f": {data}" if data else "")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f'<header><h1>{escape(title)}</h1><p class="soft">{escape(on)}.</p></header>\n'
        f"<main>\n{chr(10).join(part for part in parts if part)}\n</main>\n</body>\n</html>\n"
    )


def _model_facts(model: MLP) -> list[tuple[str, str]]:
    from fastmlp.data.scaling import RobustScale

    n_parameters = sum(array.size for array in (*model.weights, *(model.biases if model.has_bias else ())))
    pairs = [
        ("network", f"{'-'.join(map(str, model.widths))}, {n_parameters:,} parameters"),
        ("activations", ", ".join(model.activations) or "none: a linear model"),
        ("loss", model.loss),
    ]
    if model.classes is not None:
        names = [str(label) for label in model.classes[:12].tolist()]
        more = len(model.classes) - len(names)
        pairs.append(("classes", ", ".join(names) + (f" and {more} more" if more else "")))
    if model.feature_names is not None:
        more = len(model.feature_names) - 12
        shown = ", ".join(map(str, model.feature_names[:12]))
        pairs.append(("features", shown + (f" and {more} more" if more > 0 else "")))
    scale = model.input_scale
    if model.encoder is not None:
        pairs.append(("input", "categories as 0 and 1, missing values marked, numbers scaled"))
    elif isinstance(scale, RobustScale):
        pairs.append(("input", "(x - median) / interquartile range, clipped smoothly"))
    elif hasattr(scale, "offset"):
        pairs.append(("input", "(x - offset) * factor, with an offset and a factor for each feature"))
    else:
        pairs.append(("input", "x / 255 for uint8, else x" if isinstance(scale, str) else f"x * {scale:.6g}"))
    return pairs


def _circumstances(model: MLP, found: Evaluation) -> list[tuple[str, str]]:
    from fastmlp.engine.threads import resolve
    from fastmlp.report import environment

    pairs = []
    seconds = [float(value) for value in model.history.get("seconds", [])]
    if seconds:
        median = float(np.median(seconds))
        pairs.append(
            ("training", f"{_time(sum(seconds))} for {len(seconds)} epochs, {_time(median)} for the median one")
        )
    rate = found.n_samples / found.seconds if found.seconds else float("inf")
    return [
        *pairs,
        ("prediction", f"{_time(found.seconds)} for {found.n_samples:,} samples, {rate:,.0f} per second"),
        ("threads", str(resolve(model.threads))),
        ("versions", environment.versions()),
        ("processor", environment.processor()),
        ("system", environment.system()),
        ("written", datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")),
    ]


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"
