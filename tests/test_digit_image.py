import numpy as np
import pytest
from strokes import DRAWINGS, render

import fastmlp
from fastmlp.datasets.digit_image import BOX, SIZE, digit_image, resampling


@pytest.fixture(scope="module")
def digits():
    return fastmlp.load_mnist().x_test[:3000].reshape(-1, SIZE, SIZE)


def test_mnists_own_digits_stay_as_they_are(digits):
    same = [np.array_equal(digit_image(image), image.reshape(-1)) for image in digits]
    assert np.mean(same) > 0.999  # the center of mass of a few is between two pixels up to float64's rounding


def test_where_the_digit_is_and_which_way_round_does_not_matter(digits):
    for image in digits[:50]:
        expected = digit_image(image)
        wide = np.zeros((90, 61), np.uint8)
        wide[40:68, 3:31] = image
        assert np.array_equal(digit_image(wide), expected)
        assert np.array_equal(digit_image(255 - wide), expected)  # dark on light
        assert np.array_equal(digit_image(image[:, :, None].repeat(3, axis=2)), expected)
        assert np.array_equal(digit_image(image / 255), expected)


def difference(a, b):
    """The mean difference of two rows of pixels, of which one may be moved by a pixel: centers are whole pixels."""
    a, b = (each.reshape(SIZE, SIZE).astype(int) for each in (a, b))
    moves = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    return min(np.abs(a - np.roll(b, move, axis=(0, 1))).mean() for move in moves)


def test_size_hardly_matters():
    for drawings in DRAWINGS.values():
        small, large = (digit_image(render(drawings[0], size=size)) for size in (84, 280))
        assert difference(small, large) < 5


@pytest.mark.parametrize("shape", [(13, 31), (100, 7), (1, 1), (28, 28), (3, 200)])
def test_what_is_drawn_fits_the_box_and_is_centered(shape):
    rng = np.random.default_rng(0)
    image = np.zeros((250, 250), np.uint8)
    image[20 : 20 + shape[0], 30 : 30 + shape[1]] = rng.integers(100, 256, shape)
    out = digit_image(image).reshape(SIZE, SIZE)
    sides = [np.flatnonzero(out.any(axis=axis)) for axis in (1, 0)]
    assert max(np.ptp(side) + 1 for side in sides) == BOX
    assert out.max() >= 242
    for axis in (0, 1):  # as in MNIST, up to a pixel right of and below the middle
        middle = out.sum(axis=1 - axis) @ (np.arange(SIZE) + 0.5) / out.sum()
        assert 0 <= middle - SIZE / 2 < 1.01


def test_transparency_and_gray_paper():
    ink = render(DRAWINGS[3][0])
    expected = digit_image(ink)
    black, white = np.zeros((*ink.shape, 3), np.uint8), np.full((*ink.shape, 3), 255, np.uint8)
    for color in (black, white):  # a line on nothing
        assert np.array_equal(digit_image(np.dstack([color, ink])), expected)
        assert np.array_equal(digit_image(np.dstack([color[:, :, 0], ink])), expected)
    paper = 200 - 0.6 * ink + np.random.default_rng(0).normal(0, 4, ink.shape)  # a photograph in poor light
    assert difference(digit_image(paper.astype(np.uint8)), expected) < 5


@pytest.mark.parametrize("image", [np.zeros((5, 9), np.uint8), np.full((7, 7), 255, np.uint8), np.zeros((4, 4, 4))])
def test_nothing_drawn_is_all_zero(image):
    assert not digit_image(image).any()


def test_resampling_keeps_the_sum_and_the_proportions():
    rng = np.random.default_rng(0)
    for n_in in (1, 2, 7, 20, 53, 140):
        for step in (1.0, 1.3, 2.65, 7.0):
            row = rng.random(n_in)
            assert np.isclose((resampling(n_in, step) @ row).sum() * step, row.sum())
        assert np.allclose(resampling(n_in, 0.4).sum(axis=1), 1)
    assert np.array_equal(resampling(20, 1.0), np.eye(20))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros(784), "must have the shape"),
        (np.zeros((2, 2, 5)), "must have the shape"),
        (np.zeros((0, 4)), "1 to 4096 pixels"),
        (np.zeros((1, 5000), np.uint8), "1 to 4096 pixels"),
        (np.array([["a"]]), "must hold numbers"),
        (np.full((2, 2), 1.5), "from 0 to 1"),
        (np.full((2, 2), np.nan), "from 0 to 1"),
        (np.full((2, 2), 256), "from 0 to 255"),
        (np.full((2, 2), -1), "from 0 to 255"),
    ],
)
def test_what_is_no_picture_is_refused(image, message):
    with pytest.raises((ValueError, TypeError), match=message):
        digit_image(image)
