import numpy as np
import pytest
from helpers import Memory

from fastmlp import reference
from fastmlp.data.arrays import check_features
from fastmlp.data.encoding import rows_of
from fastmlp.engine.workspace import padded
from fastmlp.kernels.ops.gather import gather, gather_standardized


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("n_features", [1, 3, 15, 16, 17, 64, 65, 130])
@pytest.mark.parametrize("extra", [0, 3])
def test_rows_are_gathered_up_to_the_end_of_the_data(dtype, n_features, extra):
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (12, n_features + extra)).astype(dtype)[:, :n_features]
    rows = rows_of(check_features(data), 0.25)
    samples = np.array([5, 11, 0, 11, 3, 7], np.int64)
    work = Memory(20_000)
    inp = work.panels(np.full((5, n_features), np.nan, np.float32))
    gather(work.array, inp, rows, samples, 1, 0, 5)
    np.testing.assert_array_equal(work.read(inp), reference.gather(data, samples[1:], 0.25))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("n_features", [1, 3, 16, 17, 64, 65, 130])
@pytest.mark.parametrize("extra", [0, 3])
def test_rows_are_standardized_in_float64_up_to_the_end_of_the_data(dtype, n_features, extra):
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (12, n_features + extra)).astype(dtype)[:, :n_features]
    if dtype == np.float64:
        data += 1.7e9
    offset, factor = data.mean(axis=0) + rng.random(n_features), rng.random(n_features).astype(np.float32)
    scale = np.concatenate([padded(offset, np.float64), padded(factor, np.float64)])
    samples = np.array([5, 11, 0, 11, 3, 7], np.int64)
    work = Memory(20_000)
    inp = work.panels(np.full((5, n_features), np.nan, np.float32))
    gather_standardized(work.array, inp, rows_of(data, 1.0), scale, samples, 1, 0, 3)
    gather_standardized(work.array, inp, rows_of(data, 1.0), scale, samples, 1, 3, 5)
    np.testing.assert_array_equal(work.read(inp), reference.gather_standardized(data, samples[1:], offset, factor))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize(("first", "last"), [(0, 0), (1, 3), (4, 5)])
def test_rows_outside_of_the_share_are_left_alone(dtype, first, last):
    data = np.random.default_rng(0).integers(1, 256, (12, 70)).astype(dtype)
    samples, work = np.arange(12)[::-1].copy(), Memory(20_000)
    inp = work.panels(np.full((5, 70), np.nan, np.float32))
    gather(work.array, inp, rows_of(data, "auto"), samples, 2, first, last)
    got = work.read(inp)
    scale = 1 / 255 if dtype is np.uint8 else 1
    np.testing.assert_array_equal(got[first:last], reference.gather(data, samples[2:7], scale)[first:last])
    assert np.isnan(np.delete(got, np.s_[first:last], axis=0)).all()
    assert np.isnan(work.array[inp.start + 2 * inp.panel :]).all()


@pytest.mark.parametrize("kind", [-1, 99])
def test_rows_of_an_unknown_kind_are_read_as_nan(kind):
    work, samples = Memory(4_000), np.arange(4)
    for inside in (True, False):  # whole vectors, and the data's end
        rows = rows_of(np.ones((5 if inside else 4, 19), np.float32), 1.0)._replace(kind=kind)
        inp = work.panels(np.zeros((4, 19), np.float32))
        gather(work.array, inp, rows, samples, 0, 0, 4)
        assert np.isnan(work.read(inp)).all()
