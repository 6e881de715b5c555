"""Plots are figures that show what they should, and leave matplotlib's state alone."""

import subprocess
import sys

import numpy as np
import pytest
from helpers import import_or_skip

import fastmlp
from fastmlp import plots

matplotlib = import_or_skip("matplotlib")

RNG = np.random.default_rng(0)
X = RNG.standard_normal((120, 5)).astype(np.float32)
LABELS = np.array(["a$b", "c", "d"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 1)]


@pytest.fixture(scope="module")
def model():
    return fastmlp.train(X, LABELS, hidden=(8,), epochs=4, validation=0.25, seed=0, threads=1)


def draw(figure, tmp_path):
    figure.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000


def test_the_history_has_a_line_for_training_and_one_for_validation(model, tmp_path):
    figure = model.plot_history()
    draw(figure, tmp_path)
    (loss,) = [axes for axes in figure.axes if "loss" in (axes.get_title() + axes.get_ylabel()).lower()]
    drawn = [list(line.get_ydata()) for line in loss.lines]
    assert drawn == [model.history["train_loss"], model.history["validation_loss"]]


def test_a_model_without_a_history_is_refused(model):
    other = fastmlp.train(X, LABELS, epochs=1, seed=0)
    other.history = {}
    with pytest.raises(ValueError, match="history"):
        other.plot_history()


def test_the_confusion_matrix_counts(model, tmp_path):
    figure = plots.confusion(model, X, LABELS)
    draw(figure, tmp_path)
    predicted = model.predict(X)
    counts = [[int(np.sum((a == LABELS) & (b == predicted))) for b in model.classes] for a in model.classes]
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == [str(count) for row in counts for count in row if count]


@pytest.mark.parametrize("kind", ["image", "features", "frame"])
def test_first_layer_weights_and_mistakes(kind, tmp_path):
    if kind == "image":
        mnist = fastmlp.load_mnist()
        x, y = mnist.x_train[:500], mnist.y_train[:500]
    elif kind == "frame":
        x = import_or_skip("pandas").DataFrame({"size": X[:, 0], "city": ["Oslo", None, "Rome"] * 40})
        y = RNG.integers(0, 2, 120)
    else:
        x, y = X, X[:, 0]
    model = fastmlp.train(x, y, hidden=(4,), epochs=1, seed=0, threads=1)
    weights = plots.first_layer_weights(model, n=4)
    draw(weights, tmp_path)
    if kind == "image":
        shown = [axes.images[0].get_array().ravel() for axes in weights.axes if axes.images]
        units = {tuple(np.float32(unit)) for unit in model.weights[0].T}
        assert {tuple(np.float32(picture)) for picture in shown} == units
    if kind == "frame":
        labels = [label.get_text() for label in weights.axes[0].get_xticklabels()]
        assert labels == model.encoder.feature_names
    figure = plots.mistakes(model, x, y, n=3)
    draw(figure, tmp_path)
    assert 1 <= sum(axes.axison or bool(axes.images) for axes in figure.axes) <= 3


def test_files_whose_kind_is_unknown_are_refused_before_training(tmp_path, capsys):
    from fastmlp.cli import main

    assert main(["train", "--plot", str(tmp_path / "history.doc")]) == 1
    assert "must end in one of" in capsys.readouterr().err


def test_drawing_imports_no_pyplot(tmp_path):
    code = (
        "import sys, numpy as np, fastmlp\n"
        "model = fastmlp.train(np.eye(4), [0, 1, 0, 1], epochs=2, progress=False)\n"
        "model.plot_history().savefig(sys.argv[1])\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    run = [sys.executable, "-c", code, str(tmp_path / "history.svg")]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout == "False\n"
