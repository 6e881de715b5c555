"""The sections of a report, as HTML."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp.report import history as recorded
from fastmlp.report.evaluation import Evaluation, input_names, rows
from fastmlp.report.pictures import Series, chart, image, sheet, signed_colors, to_bytes
from fastmlp.report.statistics import Interval, regression_scores

if TYPE_CHECKING:
    from fastmlp.model import MLP

MOST_IN_MATRIX = 26  # classes; of more, the most frequent confusions are listed
MOST_LISTED = 30
N_MISTAKES = 24
N_ROWS = 12
MOST_COLUMNS = 8  # features of a sample that is shown as a row
MOST_UNITS = 64
MOST_POINTS = 500


def section(title: str, *parts: str) -> str:
    """Return a section with a heading, or nothing where there are no contents."""
    contents = "".join(parts)
    return f"<section><h2>{escape(title)}</h2>{contents}</section>" if contents else ""


def facts(pairs: Iterable[tuple[str, Any]]) -> str:
    """Return a list of names and values."""
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in pairs)
    return f'<dl class="facts">{items}</dl>'


def table(head: Iterable[str], lines: Iterable[Iterable[str]], caption: str) -> str:
    """Return a table of texts, of which the first in every line is its heading; texts are escaped."""
    top = "".join(f'<th scope="col">{escape(text)}</th>' for text in head)
    body = ""
    for first, *rest in lines:
        cells = "".join(f"<td>{escape(text)}</td>" for text in rest)
        body += f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>'
    return _scroll(f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>", caption)


def _scroll(contents: str, caption: str) -> str:
    """Return a table under its caption; one that is too wide scrolls by itself, by keyboard too."""
    return (
        f'<p class="soft">{escape(caption)}</p>'
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}">{contents}</div>'
    )


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f}%"


def key_numbers(evaluation: Evaluation) -> str:
    """Return accuracy and loss with their confidence intervals."""
    items = []
    if evaluation.right is not None:
        name = "accuracy" if evaluation.kind == "classes" else "accuracy, mean over labels"
        items.append(_number(name, evaluation.accuracy(), lambda value: f"{100 * value:.2f}%"))
        if evaluation.kind == "labels":
            items.append(_number("all labels right", evaluation.all_right(), lambda value: f"{100 * value:.2f}%"))
    items.append(_number("loss", evaluation.loss(), lambda value: f"{value:.4g}"))
    return f'<ul class="numbers">{"".join(items)}</ul>'


def _number(name: str, interval: Interval, form) -> str:
    between = f"95% confidence: {form(interval.low)} to {form(interval.high)}"
    return (
        f"<li><span>{escape(name)}</span><b>{form(interval.value)}</b><span>{between}</span>"
        f"<span>({escape(interval.method)})</span></li>"
    )


def curves(model: MLP) -> str:
    """Return charts of the history."""
    charts = [
        chart(lines, recorded.title(metric), recorded.step_name(model), "")
        for metric, lines in recorded.curves(model).items()
        if metric != "learning_rate" or len(set(lines[0].y)) > 1
    ]
    found = "".join(charts)
    note = "Values of training are means over an epoch's batches, each before its step."
    return f'<div class="charts">{found}</div><p class="soft">{note}</p>' if found else ""


def confusion(evaluation: Evaluation) -> str:
    """Return the confusion matrix as a table; of many classes, the most frequent confusions."""
    counts, names = evaluation.confusion(), evaluation.names
    if len(names) > MOST_IN_MATRIX:
        return _most_confused(counts, names)
    totals = np.maximum(counts.sum(axis=1), 1)
    wrong = counts - np.diag(counts.diagonal())
    most_wrong = max(1, wrong.max())
    body = ""
    for i, name in enumerate(names):
        cells = ""
        for j, count in enumerate(counts[i]):
            strength = count / totals[i] if i == j else count / most_wrong
            css_class = "diagonal" if i == j else "" if count else "zero"
            cells += f'<td class="{css_class}" style="--v:{0.55 * strength:.3f}">{count or "·"}</td>'
        body += f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>'
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    caption = "Confusion matrix: a row for each actual class, a column for each predicted one"
    return _scroll(
        f'<table class="confusion"><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table>',
        caption,
    )


def _most_confused(counts: np.ndarray, names: list[str]) -> str:
    wrong = counts - np.diag(counts.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_LISTED]
    pairs = [divmod(int(index), len(names)) for index in order]
    lines = [
        (names[i], names[j], f"{wrong[i, j]}", _percent(wrong[i, j] / counts[i].sum())) for i, j in pairs if wrong[i, j]
    ]
    head = ("actual", "predicted", "samples", "of the class")
    return table(head, lines, f"The most frequent confusions of {len(names)} classes") if lines else ""


def scores(evaluation: Evaluation) -> str:
    """Return precision, recall and F1 of every class or label; of a regression, the errors of every output."""
    if evaluation.kind == "regression":
        errors = regression_scores(evaluation.actual, evaluation.predicted)
        lines = [(name, *(f"{values[i]:.4g}" for values in errors.values())) for i, name in enumerate(evaluation.names)]
        return table(("output", *errors), lines, "Errors of every output")
    found = evaluation.scores()
    lines = [
        (name, _percent(found.precision[i]), _percent(found.recall[i]), _percent(found.f1[i]), f"{found.support[i]}")
        for i, name in enumerate(evaluation.names)
    ]
    return table(
        ("class" if evaluation.kind == "classes" else "label", "precision", "recall", "F1", "samples"), lines,
        "Precision: of those predicted, how many are; recall: of those that are, how many were predicted",
    )  # fmt: skip


def scatter(evaluation: Evaluation) -> str:
    """Return a regression's predictions over the actual values, of a part of the samples."""
    chosen = np.unique(np.linspace(0, evaluation.n_samples - 1, MOST_POINTS).round().astype(int))
    charts = [
        chart(
            [Series("", evaluation.actual[chosen, i], evaluation.predicted[chosen, i])],
            f"{name}: predicted over actual, {len(chosen)} samples", "actual", "predicted", points=True,
        )
        for i, name in enumerate(evaluation.names[:4])
    ]  # fmt: skip
    return f'<div class="charts">{"".join(charts)}</div>'


def mistakes(model: MLP, evaluation: Evaluation, x, shape: tuple[int, ...] | None) -> str:
    """Return the samples with the highest loss, of classifiers those that are wrong, as pictures or rows."""
    samples = evaluation.worst(N_MISTAKES if shape else N_ROWS)
    if len(samples) == 0:
        return "<p>There are none.</p>"
    features = rows(x, samples)
    if shape is None:
        return _mistakes_as_rows(model, evaluation, samples, features)
    pixels = to_bytes(features).reshape(-1, *shape)
    items = ""
    for sample, picture in zip(samples, pixels):
        actual, predicted = describe(evaluation, sample)
        caption = escape(f"{actual}, predicted {predicted}")
        items += f"<figure>{image(picture, f'sample {sample}')}<figcaption>{caption}</figcaption></figure>"
    return f'<div class="mistakes">{items}</div>'


def describe(evaluation: Evaluation, sample: int) -> tuple[str, str]:
    """Return what a sample is, and what it was predicted as, in words."""
    actual, predicted = evaluation.actual[sample], evaluation.predicted[sample]
    if evaluation.kind == "classes":
        assert evaluation.probabilities is not None
        certainty = _percent(evaluation.probabilities[sample, predicted])
        return evaluation.names[actual], f"{evaluation.names[predicted]} ({certainty})"
    if evaluation.kind == "labels":
        return _labels(evaluation.names, actual), _labels(evaluation.names, predicted)
    return _numbers(actual), _numbers(predicted)


def _labels(names: list[str], has: np.ndarray) -> str:
    return ", ".join(name for name, one in zip(names, has) if one) or "none"


def _numbers(values: np.ndarray) -> str:
    return ", ".join(f"{value:.4g}" for value in values[:4]) + (", ..." if len(values) > 4 else "")


def _mistakes_as_rows(model: MLP, evaluation: Evaluation, samples: np.ndarray, features: np.ndarray) -> str:
    columns = list(range(min(MOST_COLUMNS, features.shape[1])))
    names = input_names(model) if features.shape[1] == model.n_features else model.feature_names or []
    head = ["sample", "actual", "predicted", "loss", *(str(names[i]) for i in columns)]
    lines = [
        (
            str(sample),
            *describe(evaluation, sample),
            f"{evaluation.losses[sample]:.3g}",
            *(_cell(row[i]) for i in columns),
        )
        for sample, row in zip(samples, features)
    ]
    more = features.shape[1] - len(columns)
    return table(
        head, lines, f"Highest loss first; {more} more features are not shown" if more else "Highest loss first"
    )


def _cell(value: Any) -> str:
    """Return a value of a sample as text: frames hold categories and missing values, too."""
    is_number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    return f"{value:.4g}" if is_number else str(value)


def first_layer(model: MLP, shape: tuple[int, ...] | None) -> str:
    """Return the weights of the first layer: as pictures, or the features by how much weight they have."""
    weight = np.asarray(model.weights[0])
    if shape is None or len(shape) != 2:
        return _features_by_weight(model, weight)
    order = np.argsort(-np.square(weight).sum(axis=0), kind="stable")[:MOST_UNITS]
    pictures = signed_colors(weight[:, order].T.reshape(-1, *shape))
    which = f"the {len(order)} of {weight.shape[1]} with the largest weights" if len(order) < weight.shape[1] else "all"
    picture = image(sheet(pictures, min(8, len(order))), "Weights of the first layer's units", "pixels weights")
    return (
        f"<figure>{picture}<figcaption>Weights into the first layer's units, {which}: blue where a bright pixel "
        "raises a unit's sum, red where it lowers it.</figcaption></figure>"
    )


def _features_by_weight(model: MLP, weight: np.ndarray) -> str:
    norms = np.sqrt(np.square(weight.astype(np.float64)).sum(axis=1))
    order = np.argsort(-norms, kind="stable")[:MOST_LISTED]
    names = input_names(model)
    most = norms.max() or 1.0
    body = "".join(
        f'<tr><th scope="row">{escape(str(names[i]))}</th><td>{norms[i]:.3g}</td>'
        f'<td class="wide"><span class="bar" style="width:{100 * norms[i] / most:.1f}%"></span></td></tr>'
        for i in order
    )
    caption = "Norm of the weights from each feature, as it is after scaling"
    if len(order) < len(norms):
        caption += f"; the {len(order)} largest of {len(norms)}"
    head = '<th scope="col">feature</th><th scope="col">norm</th><td></td>'
    return _scroll(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>", caption)
