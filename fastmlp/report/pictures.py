"""Pictures for pages that load nothing: PNG files in data URIs, and charts in SVG that follow the page's colors."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

_COLOR_TYPES = {1: 0, 3: 2, 4: 6}  # PNG's, by the number of channels
_WIDTH, _HEIGHT = 480, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 12, 40
_MOST_POINTS = 1000  # of a line


def png(pixels: np.ndarray) -> bytes:
    """Encode pixels (height, width) or (height, width, 3 or 4) of uint8 as a PNG file."""
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    height, width = pixels.shape[:2]
    lines = np.zeros((height, 1 + width * channels), np.uint8)  # each begins with its filter, which is none
    lines[:, 1:] = pixels.reshape(height, -1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, _COLOR_TYPES[channels], 0, 0, 0)
    data = zlib.compress(lines.tobytes(), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def image(pixels: np.ndarray, alt: str, css_class: str = "pixels") -> str:
    """Return an <img> that holds its pixels."""
    data = base64.b64encode(png(pixels)).decode()
    height, width = pixels.shape[:2]
    return (
        f'<img class="{css_class}" width="{width}" height="{height}" alt="{escape(alt)}" '
        f'src="data:image/png;base64,{data}">'
    )


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Return pixels as uint8; floats are stretched from the least to the largest of all."""
    if values.dtype == np.uint8:
        return values
    values = values.astype(np.float64)
    low, high = values.min(), values.max()
    return np.rint(255 * (values - low) / (high - low if high > low else 1)).astype(np.uint8)


def signed_colors(values: np.ndarray) -> np.ndarray:
    """Return RGBA pixels (..., 4): blue for positive values, red for negative ones, more opaque the larger.

    Zero is transparent, so that the picture suits light pages and dark ones.
    """
    values = np.nan_to_num(values.astype(np.float64))
    most = float(np.quantile(np.abs(values), 0.995)) or float(np.abs(values).max()) or 1.0
    strength = np.minimum(np.abs(values) / most, 1)
    colors = np.where((values >= 0)[..., None], (33, 118, 214), (214, 69, 48))
    return np.concatenate([colors, np.rint(255 * strength)[..., None]], axis=-1).astype(np.uint8)


def sheet(pictures: np.ndarray, columns: int) -> np.ndarray:
    """Put RGBA pictures (n, height, width, 4) side by side, with transparent gaps."""
    n, height, width, channels = pictures.shape
    n_rows = -(-n // columns)
    out = np.zeros((n_rows * (height + 1) - 1, columns * (width + 1) - 1, channels), np.uint8)
    for i, picture in enumerate(pictures):
        y, x = i // columns * (height + 1), i % columns * (width + 1)
        out[y : y + height, x : x + width] = picture
    return out


class Series(NamedTuple):
    """A line, or points, of a chart; `css_class` is "a" or "b"."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    css_class: str = "a"


def ticks(low: float, high: float, n: int = 5) -> list[float]:
    """Return about `n` round numbers from `low` to `high`."""
    if not high > low:
        return [low]
    rough = (high - low) / n
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def chart(series: Sequence[Series], title: str, x_label: str, y_label: str, points: bool = False) -> str:
    """Return an SVG chart of lines, or of points with the diagonal, which has no value that is not finite."""
    series = [_finite(each) for each in series]
    series = [each for each in series if len(each.x)]
    if not series:
        return ""
    x_range, y_range = (_range(np.concatenate([each[axis] for each in series])) for axis in (1, 2))
    if points:
        x_range = y_range = min(x_range[0], y_range[0]), max(x_range[1], y_range[1])

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_range[0]) / (x_range[1] - x_range[0])
        up = (y - y_range[0]) / (y_range[1] - y_range[0])
        return _LEFT + across * (_WIDTH - _LEFT - _RIGHT), _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM)

    parts = [f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">']
    parts += _axes(place, x_range, y_range, x_label, y_label)
    if points:
        (x0, y0), (x1, y1) = place(x_range[0], x_range[0]), place(x_range[1], x_range[1])
        parts.append(f'<line class="grid" x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"/>')
    for each in series:
        places = [place(x, y) for x, y in zip(each.x, each.y)]
        if points or len(places) == 1:
            radius = 2 if points else 4
            parts += [f'<circle class="{each.css_class}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>' for x, y in places]
        else:
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            parts.append(f'<polyline class="{each.css_class}" points="{line}"/>')
    legend = "".join(f'<span class="key {each.css_class}">{escape(each.name)}</span>' for each in series)
    return f"<figure>{''.join(parts)}</svg><figcaption>{escape(title)} {legend}</figcaption></figure>"


def _finite(series: Series) -> Series:
    """Return a series without what is not finite, thinned to as many points as can be told apart."""
    x, y = (np.asarray(values, np.float64) for values in series[1:3])
    keep = np.isfinite(x) & np.isfinite(y)
    x, y = x[keep], y[keep]
    if len(x) > _MOST_POINTS:
        chosen = np.linspace(0, len(x) - 1, _MOST_POINTS).round().astype(int)
        x, y = x[chosen], y[chosen]
    return series._replace(x=x.tolist(), y=y.tolist())


def _range(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if high > low:
        margin = 0.04 * (high - low)
        return low - margin, high + margin
    return low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)


def _axes(place, x_range, y_range, x_label: str, y_label: str) -> list[str]:
    parts = []
    for value in ticks(*y_range):
        x, y = place(x_range[0], value)
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.6g}</text>')
    for value in ticks(*x_range):
        x, y = place(value, y_range[0])
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{value:.6g}</text>')
    parts.append(
        f'<line class="axis" x1="{_LEFT}" y1="{_HEIGHT - _BOTTOM}" x2="{_WIDTH - _RIGHT}" y2="{_HEIGHT - _BOTTOM}"/>'
    )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>')
    if y_label:
        y = (_TOP + _HEIGHT - _BOTTOM) / 2
        parts.append(f'<text transform="translate(13 {y}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>')
    return parts
