"""Reports are pages that stand alone, and say what the model does."""

import re
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest
from helpers import import_or_skip
from scipy.sparse import csr_matrix

import fastmlp
from fastmlp.report import evaluation, pictures, statistics

RNG = np.random.default_rng(0)
X = RNG.standard_normal((200, 5)).astype(np.float32)
LABELS = np.array(["a<b", "c&d", "e"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 1)]
VOID = {"meta", "img", "br", "line", "path", "circle", "rect", "polyline", "col"}


class Page(HTMLParser):
    """A page whose elements are closed in order; its text, and what a browser would load."""

    def __init__(self, path):
        super().__init__()
        self.open, self.texts, self.loaded, self.tags = [], [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.loaded += [value for name, value in attributes if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.texts))


def train(x=X, y=LABELS, **arguments):
    return fastmlp.train(x, y, **{"hidden": (8,), "epochs": 3, "seed": 0, "threads": 1, **arguments})


def report(model, x, y, tmp_path, **arguments):
    fastmlp.report.write(model, x, y, tmp_path / "page.html", **arguments)
    return Page(tmp_path / "page.html")


def test_a_page_stands_alone_and_says_what_was_measured(tmp_path):
    model = train(validation=0.2)
    page = report(model, X, LABELS, tmp_path, title="<Flowers>", data="all of them")
    assert all(address.startswith("data:image/png;base64,") for address in page.loaded)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "url(" not in (tmp_path / "page.html").read_text(encoding="utf-8")
    loss, accuracy = model.evaluate(X, LABELS)
    for text in (
        "<Flowers>", "200 samples: all of them", f"{100 * accuracy:.2f}%", f"{loss:.4g}", "5-8-3", "cross_entropy",
        "a<b", "c&d", "Confusion matrix", "Precision", "First layer", fastmlp.__version__,
    ):  # fmt: skip
        assert text in page.text, text


@pytest.mark.parametrize("kind", ["regression", "two targets", "several labels", "csr", "poisson"])
def test_every_kind_of_model_has_one(kind, tmp_path):
    x, y, loss = X, X[:, 0], None
    if kind == "two targets":
        y = X[:, :2]
    elif kind == "several labels":
        y, loss = (X[:, :2] > 0).astype(int), "binary_cross_entropy"
    elif kind == "csr":
        x, y = csr_matrix(np.maximum(X, 0)), LABELS
    elif kind == "poisson":
        y, loss = np.abs(X[:, 0]), "poisson"
    model = train(x, y, loss=loss)
    page = report(model, x, y, tmp_path)
    assert f"{model.evaluate(x, y).loss:.4g}" in page.text


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_mistakes_in_a_frame_are_its_rows(library, tmp_path):
    frames = import_or_skip(library)
    frame = frames.DataFrame(
        {"size": X[:, 0].astype(float), "city": ["Oslo", "Rome", None, "Bern"] * 50, "new": X[:, 1] > 0}
    )
    y = RNG.integers(0, 2, 200)
    model = train(frame, y, epochs=1)
    page = report(model, frame, y, tmp_path)
    for text in ("size", "city", "Oslo", "True", "city=Rome"):
        assert text in page.text, text


def test_pictures_of_mistakes_are_those_samples(tmp_path):
    mnist = fastmlp.load_mnist()
    model = train(mnist.x_train[:2000], mnist.y_train[:2000], epochs=1)
    x, y = mnist.x_test[:300], mnist.y_test[:300]
    page = report(model, x, y, tmp_path)
    found = evaluation.evaluate(model, x, y)
    wrong = np.flatnonzero(model.predict(x) != y)
    assert set(found.worst(1000)) == set(wrong)
    assert len([tag for tag in page.tags if tag == "figure"]) >= min(24, len(wrong))


def test_losses_of_samples_are_those_that_evaluate_averages():
    for y, loss in ((LABELS, "cross_entropy"), (X[:, :2], "huber"), ((X[:, :2] > 0) * 1, "binary_cross_entropy")):
        model = train(X, y, loss=loss, delta=0.3)
        found = evaluation.evaluate(model, X, y)
        assert found.losses.mean() == pytest.approx(model.evaluate(X, y).loss, rel=1e-5)


def test_bad_arguments_are_refused_before_a_file_is_touched(tmp_path):
    model = train()
    path = tmp_path / "page.html"
    path.write_text("mine")
    for arguments, match in (({"image_shape": (2, 2)}, "image_shape"), ({"image_shape": "square"}, "image_shape")):
        with pytest.raises(ValueError, match=match):
            fastmlp.report.write(model, X, LABELS, path, **arguments)
    with pytest.raises(ValueError, match="x"):
        fastmlp.report.write(model, X[:, :3], LABELS, path)
    assert path.read_text() == "mine"


def test_wilsons_interval_and_the_bootstrap():
    found = statistics.wilson_interval(9, 10)
    z, p, n = 1.959964, 0.9, 10
    middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    np.testing.assert_allclose([found.low, found.high], np.array([middle - half, middle + half]) / (1 + z**2 / n), 1e-5)
    values = RNG.exponential(size=2000)
    found = statistics.mean_interval(values)
    assert found.low < found.value < found.high
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * values.std() / np.sqrt(2000), rel=0.1)


def test_a_png_holds_its_pixels():
    pixels = RNG.integers(0, 256, (7, 5), dtype=np.uint8)
    data = pictures.png(pixels)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    start = data.index(b"IDAT")
    size = int.from_bytes(data[start - 4 : start], "big")
    rows = np.frombuffer(zlib.decompress(data[start + 4 : start + 4 + size]), np.uint8).reshape(7, 6)
    np.testing.assert_array_equal(rows[:, 1:], pixels)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3e-9, 4e-9), (5, 5.001), (0, 123456)])
def test_ticks_are_few_round_numbers_in_the_range(low, high):
    found = np.array(pictures.ticks(low, high))
    assert 2 <= len(found) <= 11
    assert (found >= low - 1e-12 * abs(high)).all()
    assert (found <= high * (1 + 1e-12)).all()
    np.testing.assert_allclose(np.diff(found), found[1] - found[0], rtol=1e-6)
