"""Pictures of digits made into the input that MNIST's digits are: 28 x 28 pixels, centered by mass.

LeCun's page describes how MNIST was made: digits were scaled to fit into 20 x 20 pixels, keeping their aspect ratio,
and put into 28 x 28 pixels such that their center of mass is at the center.
"""

from __future__ import annotations

import math

import numpy as np

SIZE = 28  # pixels of a side
BOX = 20  # pixels of a side that digits are scaled to fit into
LARGEST = 4096  # pixels of a side of what is read: a photograph, and no more work than a second's

# Differences from the background up to this fraction of the largest are paper, shade and JPEG's noise.  0.16 of clean
# ink on clean paper is the edge of a line.
_NOISE = 0.16
_BRIGHT = 0.95  # lines that are fainter are made as bright as MNIST's; the brightest pixel of its digits is 254 or 255
_LUMINANCE = np.array([0.299, 0.587, 0.114])  # of red, green and blue, ITU-R BT.601, as in Pillow


def digit_image(image) -> np.ndarray:
    """Make a picture of a digit into a row of pixels as in MNIST.

    The picture becomes gray; dark ink on light paper is inverted; what is drawn is scaled to fit into 20 x 20 pixels,
    keeping its aspect ratio, and its center of mass is moved to the center of 28 x 28 pixels.  A picture that is made
    like this already, such as MNIST's own, stays as it is.

    Parameters
    ----------
    image : array_like (height, width) or (height, width, channels)
        Gray, gray with alpha, RGB or RGBA, as integers from 0 to 255, floats from 0 to 1, or booleans.

    Returns
    -------
    ndarray (784,) of uint8
        From 0 (background) to 255; all zero if nothing is drawn.

    Raises
    ------
    ValueError, TypeError
        If `image` is not such an array.
    """
    ink = _ink(_gray(_check_image(image)))
    box = _bounding_box(ink)
    if box is None:
        return np.zeros(SIZE * SIZE, np.uint8)
    ink = ink[box]
    step = max(ink.shape) / BOX
    small = resampling(ink.shape[0], step) @ ink @ resampling(ink.shape[1], step).T
    if small.max() < _BRIGHT:  # thin lines that were scaled down
        small /= small.max()
    return _center(np.rint(255 * small)).astype(np.uint8).reshape(-1)


def resampling(n_in: int, step: float) -> np.ndarray:
    """Return the matrix (n_out, n_in) that resamples a row of pixels to as many as it needs at `step` old ones each.

    Each new pixel is the mean of the old ones that it covers, with nothing beyond the ends; where new pixels are
    smaller, the old ones are interpolated linearly.
    """
    n_out = max(1, math.ceil(n_in / step - 1e-9))
    first = (n_in - n_out * step) / 2  # the ends of the row lie equally far inside the outermost new pixels
    if step < 1:
        position = np.clip(first + (np.arange(n_out) + 0.5) * step - 0.5, 0, n_in - 1)
        return np.maximum(1 - np.abs(position[:, None] - np.arange(n_in)), 0)
    edges = first + np.arange(n_out + 1)[:, None] * step
    covered = np.clip(edges - np.arange(n_in), 0, 1)  # of each old pixel, the part before an edge
    return np.diff(covered, axis=0) / step


def _check_image(image) -> np.ndarray:
    """Return `image` as floats from 0 to 1."""
    image = np.asarray(image)
    shape = "x".join(map(str, image.shape))
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 2, 3, 4)):
        raise ValueError(f"image must have the shape (height, width) or (height, width, 1 to 4), got {shape}")
    if not 0 < image.shape[0] <= LARGEST or not 0 < image.shape[1] <= LARGEST:
        raise ValueError(f"image must be 1 to {LARGEST} pixels high and wide, got {shape}")
    if image.dtype.kind not in "buif":
        raise TypeError(f"image must hold numbers, got {image.dtype}")
    largest = 255 if image.dtype.kind in "ui" else 1
    if not (image.min() >= 0 and image.max() <= largest):  # NaN neither
        raise ValueError(f"image must hold {image.dtype} from 0 to {largest}, got {image.min()} to {image.max()}")
    return image.astype(np.float64) / largest


def _gray(image: np.ndarray) -> np.ndarray:
    """Return gray values (height, width); what is transparent is white, or black where the ink is bright."""
    if image.ndim == 2:
        return image
    channels = image.shape[2]
    gray = image[:, :, :3] @ _LUMINANCE if channels > 2 else image[:, :, 0]
    if channels in (1, 3):
        return gray
    alpha = image[:, :, -1]
    if not alpha.any():
        return np.zeros(alpha.shape)
    paper = 1.0 if (gray * alpha).sum() < 0.5 * alpha.sum() else 0.0
    return gray * alpha + paper * (1 - alpha)


def _ink(gray: np.ndarray) -> np.ndarray:
    """Return how much ink there is, from 0 to 1: the difference from the background, the median of the border."""
    background = float(np.median(np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])))
    difference = gray - background if background < 0.5 else background - gray
    most = difference.max()
    if most <= 0:
        return np.zeros_like(gray)
    if most < _BRIGHT:
        difference /= most
    if 0 < background < 1:  # no clean paper
        difference = (difference - _NOISE) / (1 - _NOISE)
    return np.maximum(difference, 0)


def _bounding_box(ink: np.ndarray) -> tuple[slice, slice] | None:
    """Return the rows and columns that hold ink."""
    sides = []
    for axis in (1, 0):
        where = np.flatnonzero(ink.any(axis=axis))
        if where.size == 0:
            return None
        sides.append(slice(int(where[0]), int(where[-1]) + 1))
    return sides[0], sides[1]


def _center(small: np.ndarray) -> np.ndarray:
    """Return 28 x 28 pixels with the center of mass of `small` at their center, as far as all of it stays inside."""
    total = small.sum()
    out = np.zeros((SIZE, SIZE))
    corner = []
    for axis, n in enumerate(small.shape):
        middle = float(small.sum(axis=1 - axis) @ (np.arange(n) + 0.5)) / total
        # rounded up, as MNIST's are: their centers of mass lie up to one pixel right of and below the center
        corner.append(min(max(math.ceil(SIZE / 2 - middle), 0), SIZE - n))
    out[corner[0] : corner[0] + small.shape[0], corner[1] : corner[1] + small.shape[1]] = small
    return out
