"""The pictures of 'How the kernels work', drawn as SVG from the sizes and the data that the kernels use.

Colors are CSS variables of `assets/pictures.css`, so that pictures follow the page's light or dark scheme.
"""

from __future__ import annotations

from html import escape

import numpy as np

from fastmlp import load_mnist, reference
from fastmlp.kernels.simd.processors import PROCESSORS
from fastmlp.kernels.simd.strips import BLOCK, GROUP

WIDTH = 720


class Drawing:
    """Shapes of an SVG picture, which is as wide as its column on the page."""

    def __init__(self, height: int, title: str):
        self.height, self.title = height, title
        self.shapes: list[str] = []

    def box(self, x, y, width, height, kind: str = "plain") -> None:
        self.shapes.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" class="fm-{kind}" rx="1.5"/>'
        )

    def text(self, x, y, text: str, kind: str = "label", anchor: str = "start") -> None:
        self.shapes.append(f'<text x="{x:g}" y="{y:g}" class="fm-{kind}" text-anchor="{anchor}">{escape(text)}</text>')

    def arrow(self, x1, y1, x2, y2) -> None:
        """An arrow to the right or down."""
        back = (-6, -3, -6, 3) if y1 == y2 else (-3, -6, 3, -6)
        head = f"M{x2 + back[0]:g} {y2 + back[1]:g}L{x2:g} {y2:g}L{x2 + back[2]:g} {y2 + back[3]:g}"
        self.shapes.append(f'<path d="M{x1:g} {y1:g}L{x2:g} {y2:g}{head}" class="fm-arrow"/>')

    def svg(self) -> str:
        """The picture on one line, as Markdown takes it for a block of HTML."""
        return (
            f'<svg class="fm-picture" viewBox="0 0 {WIDTH} {self.height}" role="img" '
            f'xmlns="http://www.w3.org/2000/svg"><title>{escape(self.title)}</title>{"".join(self.shapes)}</svg>'
        )


def tiles() -> str:
    """A tile of accumulators for each kind of processor."""
    kinds = [(name, PROCESSORS[name]) for name in ("avx512", "avx2", "neon")]
    drawing = Drawing(178, "A tile of outputs for each kind of processor")
    x = 10.0
    for name, processor in kinds:
        cell = 8.0
        vectors = processor.wide // processor.lanes
        drawing.text(x, 16, f"{name}: {processor.rows} x {processor.wide}")
        for row in range(processor.rows):
            for vector in range(vectors):
                width = processor.lanes * cell
                drawing.box(x + vector * width, 26 + row * 12, width - 2, 10, "strong")
        count = processor.rows * vectors
        drawing.text(x, 40 + processor.rows * 12, f"{count} accumulators of {processor.lanes} floats", "small")
        x += processor.wide * cell + 36
    drawing.text(10, 168, "one box: one register", "small")
    return drawing.svg()


def panels() -> str:
    """Activations of a layer, cut into panels of columns and blocks of samples."""
    processor = PROCESSORS["avx512"]
    samples, units = 2 * int(BLOCK), 3 * processor.panel
    panel_kb = int(BLOCK) * processor.panel * 4 // 1024
    drawing = Drawing(250, "Activations cut into panels and blocks")
    scale_x, scale_y, x0, y0 = 2.2, 0.75, 130, 34
    for panel in range(units // processor.panel):
        for block in range(samples // int(BLOCK)):
            x, y = x0 + panel * processor.panel * scale_x, y0 + block * int(BLOCK) * scale_y
            width, height = processor.panel * scale_x - 5, int(BLOCK) * scale_y - 5
            drawing.box(x, y, width, height, "strong" if panel == block == 0 else "plain")
    middle = x0 + processor.panel * scale_x / 2
    drawing.text(middle, y0 + 46, f"{int(BLOCK)} x {processor.panel} floats", "inside", "middle")
    drawing.text(middle, y0 + 62, f"{panel_kb} KB: stays in L1", "inside", "middle")
    for panel in range(3):
        drawing.text(
            x0 + (panel + 0.5) * processor.panel * scale_x, 22, f"panel of {processor.panel} units", anchor="middle"
        )
    for block in range(2):
        drawing.text(118, y0 + (block + 0.5) * int(BLOCK) * scale_y, f"{int(BLOCK)} samples", anchor="end")
    return drawing.svg()


def lists() -> str:
    """Real pixels of four digits, and the lists that are made of them."""
    group, row = int(GROUP), 14
    images = load_mnist().x_test[:4]
    start = (row * 28 // group) * group
    pixels = images[:, start : start + 8 * group]
    drawing = Drawing(290, "Pixels of four samples, and the lists of four groups of three pixels")
    drawing.text(10, 18, f"pixels {start} to {start + pixels.shape[1] - 1} of four samples, in groups of {group}")
    cell = 26.0
    for sample, values in enumerate(pixels):
        drawing.text(10, 46 + sample * 24, f"sample {sample}", "small")
        for i, value in enumerate(values):
            x = 66 + i * cell + (i // group) * 4
            if x + cell > WIDTH:
                break
            drawing.box(x, 30 + sample * 24, cell - 2, 22, "strong" if value else "empty")
            if value:
                drawing.text(x + cell / 2 - 1, 45 + sample * 24, str(int(value)), "inside", "middle")
    made = reference.make_lists(pixels, group)
    shown = [g for g, (samples, _) in enumerate(made) if len(samples)][:4]
    drawing.text(10, 158, "the list of a group: one word of 32 bits for each sample that is not empty there")
    for place, g in enumerate(shown):
        x = 10 + place * 176
        drawing.text(x, 180, f"pixels {start + g * group} to {start + g * group + group - 1}", "small")
        for i, (sample, values) in enumerate(zip(*made[g])):
            drawing.box(x, 188 + i * 24, 160, 22, "strong")
            bytes_ = "  ".join(f"{int(value):3d}" for value in values)
            drawing.text(x + 80, 203 + i * 24, f"sample {sample} |  {bytes_}", "inside", "middle")
    return drawing.svg()


def threads() -> str:
    """A training step of a network with one hidden layer: its regions, on two threads."""
    drawing = Drawing(150, "A step on two threads")
    regions = [
        ("lists", "made by groups"), ("hidden layer", "by panels"), ("output, loss", "by samples"),
        ("all weights", "by columns"),
    ]  # fmt: skip
    width = (WIDTH - 100) / len(regions)
    for thread in range(2):
        drawing.text(10, 42 + thread * 40, f"thread {thread}")
    for i, (name, how) in enumerate(regions):
        x = 80 + i * width
        for thread in range(2):
            drawing.box(x, 24 + thread * 40, width - 14, 28, "strong" if thread == 0 else "second")
            drawing.text(x + (width - 14) / 2, 42 + thread * 40, name, "inside", "middle")
        drawing.text(x + (width - 14) / 2, 116, how, "small", "middle")
        if i:
            drawing.box(x - 9, 18, 2, 80, "strong")
    drawing.text(80, 142, "a bar: both wait for each other", "small")
    return drawing.svg()


def density() -> str:
    """How often each pixel of MNIST is not zero."""
    share = (load_mnist().x_train > 0).mean(axis=0).reshape(28, 28)
    drawing = Drawing(212, f"How often each pixel is not zero; {1 - share.mean():.0%} of all are zero")
    for level in range(1, 11):  # one path for each of ten shades
        rows, columns = np.nonzero(np.ceil(share * 10) == level)
        path = "".join(f"M{20 + j * 7} {8 + i * 7}h7v7h-7z" for i, j in zip(rows, columns))
        drawing.shapes.append(f'<path d="{path}" class="fm-heat" fill-opacity="{level / 10:g}"/>')
    drawing.box(20, 8, 196, 196, "frame")
    never = int(np.sum(share == 0))
    for line, text in enumerate(
        [
            f"{1 - share.mean():.0%} of MNIST's pixels are zero.",
            f"{never} of the 784 are zero in every training image;",
            f"the most frequent is drawn in {share.max():.0%} of them.",
            "Products with zero change nothing, so they are left out.",
        ]
    ):
        drawing.text(250, 60 + line * 26, text)
    return drawing.svg()


PICTURES = {draw.__name__: draw for draw in (tiles, panels, lists, threads, density)}
