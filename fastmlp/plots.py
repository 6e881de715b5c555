"""Pictures of a model, as matplotlib figures: ``pip install 'fastmlp[plot]'``.

Each function returns a `matplotlib.figure.Figure`, which notebooks show by themselves and ``figure.savefig`` writes to
a file.  None of them calls `show`, and matplotlib's settings stay as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp.checks import check_integer
from fastmlp.optional import require
from fastmlp.report import history as recorded
from fastmlp.report.evaluation import evaluate, input_names, rows, sample_shape
from fastmlp.report.pictures import to_bytes
from fastmlp.report.sections import describe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fastmlp.many.search import SearchResult
    from fastmlp.model import MLP

_COLORS = {"a": ("#1464c0", "-"), "b": ("#c2410c", "--")}  # as in reports
_MOST_NUMBERS = 30  # classes, up to which a confusion matrix holds numbers


def _figure(width: float, height: float) -> Figure:
    figure = require("matplotlib.figure", "plot").Figure
    return figure(figsize=(width, height), layout="constrained")


def history(model: MLP) -> Figure:
    """Plot loss, accuracy and other metrics over the epochs, of training and validation.

    Parameters
    ----------
    model : MLP

    Returns
    -------
    matplotlib.figure.Figure
        One axes for each metric that the history holds; the learning rate only if it changes.

    Raises
    ------
    ValueError
        If the history is empty, as of a model that fastmlp did not train.
    ImportError
        If matplotlib is missing.
    """
    found = recorded.curves(model)
    if "learning_rate" in found and len(set(found["learning_rate"][0].y)) == 1:
        del found["learning_rate"]
    if not found:
        raise ValueError("the model's history must hold at least one epoch, got an empty one")
    figure = _figure(4.5 * len(found), 3.5)
    for axes, (metric, lines) in zip(figure.subplots(1, len(found), squeeze=False)[0], found.items()):
        for line in lines:
            color, style = _COLORS[line.css_class]
            marker = "o" if len(line.x) == 1 else ""
            axes.plot(line.x, line.y, color=color, linestyle=style, marker=marker, label=line.name)
        axes.set_title(recorded.title(metric))
        axes.set_xlabel(recorded.step_name(model))
        axes.grid(alpha=0.3)
        if lines[0].name:
            axes.legend()
    return figure


def confusion(model: MLP, x, y) -> Figure:
    """Plot the confusion matrix of a classifier: how many samples of each class were predicted as each class.

    Parameters
    ----------
    model : MLP
    x, y : array_like
        As in `MLP.evaluate`.

    Returns
    -------
    matplotlib.figure.Figure
        Rows are actual classes, columns predicted ones; colors are fractions of the actual class.

    Raises
    ------
    ValueError, TypeError
        If the model has no classes, or `x` and `y` do not suit it.
    ImportError
        If matplotlib is missing.
    """
    if model.classes is None:
        raise ValueError(f"confusion needs a model of classes, got one with the loss {model.loss!r}")
    evaluation = evaluate(model, x, y)
    counts, names = evaluation.confusion(), evaluation.names
    side = min(12.0, 2.0 + 0.5 * len(names))
    figure = _figure(side + 1, side)
    axes = figure.subplots()
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    picture = axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(picture, label="fraction of the actual class")
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")
    if len(names) <= _MOST_NUMBERS:
        axes.set_xticks(
            range(len(names)), [_plain(name) for name in names], rotation=90 if max(map(len, names)) > 3 else 0
        )
        axes.set_yticks(range(len(names)), [_plain(name) for name in names])
        for i, j in np.ndindex(*counts.shape):
            if counts[i, j]:
                color = "white" if fractions[i, j] > 0.5 else "black"
                axes.text(j, i, str(counts[i, j]), ha="center", va="center", color=color, fontsize=8)
    return figure


def first_layer_weights(model: MLP, *, n: int = 64, image_shape: Any = "auto") -> Figure:
    """Plot the weights into the first layer's units, as pictures where the input is a picture.

    Parameters
    ----------
    model : MLP
    n : int
        Maximum number of units; those with the largest weights are shown.
    image_shape : tuple of int, "auto" or None
        Shape of a sample as a picture, (height, width).  "auto" takes 8 x 8 or more features for a square picture,
        unless they have names; None plots features by units.

    Returns
    -------
    matplotlib.figure.Figure
        Blue where a feature raises a unit's sum, red where it lowers it.

    Raises
    ------
    ValueError, TypeError
        If `image_shape` does not suit the model, or `n` is not a positive integer.
    ImportError
        If matplotlib is missing.
    """
    shape = sample_shape(model, image_shape)
    weight = np.asarray(model.weights[0])
    order = np.argsort(-np.square(weight).sum(axis=0), kind="stable")[: check_integer(n, "n", 1)]
    most = float(np.quantile(np.abs(weight[:, order]), 0.995)) or 1.0
    settings: dict[str, Any] = {"cmap": "RdBu", "vmin": -most, "vmax": most}
    if shape is None or len(shape) != 2:
        figure = _figure(8, 4)
        axes = figure.subplots()
        picture = axes.imshow(weight[:, np.sort(order)].T, aspect="auto", interpolation="nearest", **settings)
        axes.set_xlabel("feature")
        axes.set_ylabel("unit")
        names = input_names(model)
        if (model.feature_names or model.encoder) and len(names) <= _MOST_NUMBERS:
            axes.set_xticks(range(len(names)), [_plain(str(name)) for name in names], rotation=90)
        figure.colorbar(picture, label="weight")
        return figure
    figure, cells = _grid(len(order), 8, 1.0)
    for axes, unit in zip(cells, order):
        axes.imshow(weight[:, unit].reshape(shape), **settings)
    return figure


def mistakes(model: MLP, x, y, *, n: int = 25, image_shape: Any = "auto") -> Figure:
    """Plot the samples with the highest loss, of classifiers those that are wrong.

    Parameters
    ----------
    model : MLP
    x, y : array_like
        As in `MLP.evaluate`.
    n : int
        Maximum number of samples.
    image_shape : tuple of int, "auto" or None
        Shape of a sample as a picture, (height, width) or (height, width, 3).  "auto" takes 8 x 8 or more features for
        a square picture, unless they have names; None plots features as lines.

    Returns
    -------
    matplotlib.figure.Figure
        Titles are the actual label, and the predicted one with its probability.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.
    ImportError
        If matplotlib is missing.
    """
    shape = sample_shape(model, image_shape)
    n = check_integer(n, "n", 1)
    evaluation = evaluate(model, x, y)
    worst = evaluation.worst(n)
    if len(worst) == 0:
        figure = _figure(4, 1)
        figure.text(0.5, 0.5, "no mistakes", ha="center", va="center")
        return figure
    samples = rows(model._check_features(x), worst)  # a data frame as the network sees it
    figure, cells = _grid(len(worst), 5, 1.6)
    pixels = to_bytes(samples) if shape is not None else samples
    for axes, sample, values in zip(cells, worst, pixels):
        if shape is None:
            axes.plot(values, color=_COLORS["a"][0], linewidth=1)
        else:
            axes.imshow(values.reshape(shape), cmap="gray", vmin=0, vmax=255)
        actual, predicted = (_plain(text) for text in describe(evaluation, sample))
        axes.set_title(f"{actual}\npredicted {predicted}", fontsize=8)
    return figure


def search(result: SearchResult) -> Figure:
    """Plot the scores of a search over each of the settings that were drawn.

    Parameters
    ----------
    result : SearchResult
        From `fastmlp.search`.

    Returns
    -------
    matplotlib.figure.Figure
        A point for each training run, darker for more epochs.  Numbers over more than two orders of magnitude have a
        logarithmic axis; other settings have a place for each of their values.

    Raises
    ------
    ValueError
        If all training runs diverged.
    ImportError
        If matplotlib is missing.
    """
    rows = [row for row in result.trials if row["score"] is not None]
    if not rows:
        raise ValueError(f"result has no scores to plot, as all {len(result.trials)} training runs diverged")
    figure = _figure(3.5 * len(result.settings), 3.5)
    most = max(row["epochs"] for row in rows)
    for axes, name in zip(figure.subplots(1, len(result.settings), sharey=True, squeeze=False)[0], result.settings):
        values = [row[name] for row in rows]
        if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
            if min(values) > 0 and max(values) > 100 * min(values):
                axes.set_xscale("log")
        else:
            texts = sorted({str(value) for value in values})
            values = [texts.index(str(value)) for value in values]
            axes.set_xticks(range(len(texts)), [_plain(text) for text in texts], rotation=90)
        axes.scatter(
            values, [row["score"] for row in rows], color=_COLORS["a"][0], s=20,
            alpha=[min(1.0, 0.2 + 0.8 * row["epochs"] / most) for row in rows],
        )  # fmt: skip
        axes.set_xlabel(_plain(name))
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("score")
    return figure


def _plain(text: str) -> str:
    """Return a text that matplotlib does not read as mathematics."""
    return text.replace("$", r"\$")


def _grid(n: int, columns: int, size: float) -> tuple[Figure, list]:
    """Return a figure, and `n` axes without ticks in rows of `columns`."""
    columns = min(columns, n)
    n_rows = -(-n // columns)
    figure = _figure(size * columns, size * n_rows)
    cells = figure.subplots(n_rows, columns, squeeze=False).reshape(-1)
    for axes in cells:
        axes.set_xticks([])
        axes.set_yticks([])
    for axes in cells[n:]:
        axes.set_axis_off()
    return figure, list(cells[:n])


def check_path(path: str) -> None:
    """Raise the error that saving a figure there would raise, as far as it can be known without one."""
    from fastmlp.io.atomic_write import check_writable

    formats = require("matplotlib.backend_bases", "plot").FigureCanvasBase.get_supported_filetypes()
    if Path(path).suffix[1:].lower() not in formats:
        raise ValueError(f"a plot's file name must end in one of .{', .'.join(sorted(formats))}, got {path!r}")
    check_writable(path)
