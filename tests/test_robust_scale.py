"""``input_scale="robust"``: medians, interquartile ranges and smooth clipping."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.sparse import csr_matrix

from fastmlp.data.scaling import CLIP, RobustScale, check_input_scale, robust_scale, smooth_clip

RNG = np.random.default_rng(0)


def by_definition(x, samples=slice(None)):
    """Algorithm of arXiv 2407.04491, section 3: medians and factors, in float64."""
    least, low, median, high, largest = np.quantile(x[samples].astype(np.float64), [0, 0.25, 0.5, 0.75, 1], axis=0)
    factor = np.zeros(x.shape[1])
    for j in range(x.shape[1]):
        if high[j] != low[j]:
            factor[j] = 1 / (high[j] - low[j])
        elif largest[j] != least[j]:
            factor[j] = 2 / (largest[j] - least[j])
    return median, factor


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 101])
def test_the_scale_is_that_of_the_definition(dtype, n):
    x = (RNG.standard_normal((n, 7)) * 40 + 100).astype(dtype)
    scale, (median, factor) = robust_scale(x), by_definition(x)
    np.testing.assert_allclose(scale.offset, median, rtol=1e-13)
    np.testing.assert_allclose(scale.factor, factor, rtol=1e-11)


def test_a_range_of_zero_falls_back():
    x = np.zeros((100, 4))
    x[:10, 1] = 8  # the quartiles are 0: half of the range, 4, takes their place
    x[:40, 2] = 8  # they are 0 and 8
    x[:, 3] = 1 / 3
    scale = robust_scale(x)
    np.testing.assert_array_equal(scale.factor, [0, 1 / 4, 1 / 8, 0])
    np.testing.assert_array_equal(scale.offset, [0, 0, 0, 1 / 3])
    np.testing.assert_array_equal(scale.apply(x + 5)[:, [0, 3]], 0)  # constant in training: 0 wherever it is later
    assert scale.apply(x)[0, 1] == np.float32(2 / np.sqrt(1 + 4 / 9))


def test_ranges_whose_inverse_is_infinite_count_as_none():
    x = np.where(np.arange(10) % 2, 1e-40, -1e-40)[:, None] * [1.0, 1e-200]
    np.testing.assert_array_equal(robust_scale(x).factor, 0)
    x[0, 0] = 8
    np.testing.assert_array_equal(robust_scale(x).factor, [1 / 4, 0])


@pytest.mark.parametrize("blocks", [1, 1 << 22])
def test_only_some_samples_are_looked_at(blocks, monkeypatch):
    monkeypatch.setattr("fastmlp.data.scaling._QUARTILES_AT_ONCE", blocks)
    x, samples = RNG.standard_normal((60, 9)), np.arange(3, 58, 5)
    scale, (median, factor) = robust_scale(x, samples), by_definition(x, samples)
    np.testing.assert_allclose(scale.offset, median, rtol=1e-13)
    np.testing.assert_allclose(scale.factor, factor, rtol=1e-11)


def test_smooth_clipping_is_that_of_the_definition():
    z = np.array([-1e77, -1e9, -3, -0.01, 0, 0.01, 1, 3, 1e9])
    got = smooth_clip(z)
    np.testing.assert_allclose(got, z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-15)
    np.testing.assert_allclose(got[[0, 1, -1]], [-CLIP, -CLIP, CLIP], rtol=1e-15)
    assert abs(got[3] + 0.01) < 1e-7


@pytest.mark.parametrize("at_once", [1, 1 << 18])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_samples_are_scaled_in_float64(dtype, at_once, monkeypatch):
    monkeypatch.setattr("fastmlp.data.scaling._AT_ONCE", at_once)
    x = (RNG.standard_normal((50, 6)) * 40 + 100).astype(dtype)
    scale = robust_scale(x)
    z = (x.astype(np.float64) - scale.offset) * scale.factor
    got = scale.apply(x[::2])
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, (z / np.sqrt(1 + (z / 3) ** 2)).astype(np.float32)[::2])


def test_large_numbers_that_differ_by_little_keep_their_digits():
    x = 1.7e9 + np.arange(11.0)[:, None]
    z = robust_scale(x).apply(x)
    np.testing.assert_allclose(z[:, 0], smooth_clip(np.arange(-5, 6) / 5), rtol=1e-6)


@settings(max_examples=100, deadline=None)
@given(arrays.arrays(np.float32, st.tuples(st.integers(1, 20), st.integers(1, 3)),
                     elements=st.floats(-(2.0**120), 2.0**120, width=32)))  # fmt: skip
def test_whatever_is_scaled_stays_within_the_bounds_and_in_order(x):
    scale = robust_scale(x)
    z = scale.apply(x)
    assert np.isfinite(z).all()
    assert np.abs(z).max() <= CLIP
    order = np.argsort(x, axis=0)
    assert (np.diff(np.take_along_axis(z, order, 0), axis=0) >= 0).all()
    later = scale.apply(np.full((1, x.shape[1]), np.finfo(np.float32).max))
    assert np.isfinite(later).all()


def test_sparse_matrices_and_streams_are_refused():
    x = csr_matrix(np.eye(3, dtype=np.float32))
    with pytest.raises(ValueError, match=r"input_scale='robust' needs medians of an array.*sparse matrix"):
        robust_scale(x)
    with pytest.raises(ValueError, match=r"x must be an array with input_scale='robust'.*pass x\.toarray\(\)"):
        robust_scale(x.toarray()).apply(x)
    with pytest.raises(ValueError, match="read in parts"):
        robust_scale(object())


def test_the_argument_is_checked():
    assert check_input_scale("robust", 3) == "robust"
    scale = check_input_scale(RobustScale(np.zeros(3, int), [1, 2, 3]), 3)
    assert isinstance(scale, RobustScale)
    for part in scale:
        assert part.dtype == np.float64
        with pytest.raises(ValueError, match="read-only"):
            part[0] = 5
    for bad in (RobustScale(np.zeros(2), np.ones(3)), RobustScale(np.zeros(3), np.full(3, np.inf))):
        with pytest.raises(ValueError, match="input_scale must"):
            check_input_scale(bad, 3)
