import numpy as np
import pytest
from numba.core import config

from fastmlp.kernels import vector as v
from fastmlp.kernels.jit import kernel

N = int(v.NARROW)


@kernel
def apply_exp(out, x):
    for i in range(0, x.size, v.NARROW):
        v.store(v.exp(v.load(x, i)), out, i)


@kernel
def apply_log(out, x):
    for i in range(0, x.size, v.NARROW):
        v.store(v.log(v.load(x, i)), out, i)


@kernel
def apply_tanh(out, x):
    for i in range(0, x.size, v.NARROW):
        v.store(v.tanh(v.load(x, i)), out, i)


def ulps(got, want):
    return np.abs(got - want) / np.spacing(np.abs(want).astype(np.float32))


@pytest.mark.skipif(config.DISABLE_JIT, reason="NumPy's functions stand in for these")
@pytest.mark.parametrize(
    ("function", "exact", "x", "bound"),
    [
        (apply_exp, np.exp, np.linspace(-87, 88, 4096), 2),
        (apply_exp, np.exp, np.linspace(-1, 1, 4096), 2),
        (apply_log, np.log, np.geomspace(1e-30, 1e30, 4096), 2),
        (apply_log, np.log, np.linspace(0.5, 2, 4096), 2),
        (apply_tanh, np.tanh, np.linspace(-12, 12, 4096), 3),
        (apply_tanh, np.tanh, np.geomspace(1e-20, 1, 4096), 3),
    ],
)
def test_functions_are_exact_to_a_few_units_in_the_last_place(function, exact, x, bound):
    x = x.astype(np.float32)
    out = np.full_like(x, np.nan)
    function(out, x)
    want = exact(x.astype(np.float64))
    near_zero = np.abs(want) < 1e-30
    assert ulps(out, want)[~near_zero].max() <= bound


@pytest.mark.parametrize("function", [apply_exp, apply_log, apply_tanh])
def test_nan_stays_nan(function):
    x = np.full(N, np.nan, np.float32)
    out = np.zeros_like(x)
    function(out, x)
    assert np.isnan(out).all()


@kernel
def reductions(out, x, value):
    vector = v.load(x, 0)
    out[0] = v.sum_lanes(vector)
    out[1] = v.max_lanes(vector)
    out[2] = v.first_equal(vector, value)
    v.store(v.first_lanes(vector, 5, np.float32(-1)), out, v.NARROW)


def test_reductions_and_lanes():
    x = np.arange(N, dtype=np.float32)
    x[9] = x[12] = 77
    out = np.full(2 * N, np.nan, np.float32)
    reductions(out, x, np.float32(77))
    assert out[0] == x.sum()
    assert out[1] == 77
    assert out[2] == 9
    np.testing.assert_array_equal(out[N:], [*x[:5], *[-1] * (N - 5)])
    reductions(out, x, np.float32(500))
    assert out[2] == N


@kernel
def transpose(target, source):
    v.transpose_block(target, 3, 20, source, 5, 18)


def test_transpose_block():
    source = np.arange(400, dtype=np.float32)
    target = np.zeros(400, np.float32)
    transpose(target, source)
    block = source[5 : 5 + 16 * 18].reshape(16, 18)[:, :16]
    np.testing.assert_array_equal(target[3 : 3 + 16 * 20].reshape(16, 20)[:, :16], block.T)
    assert target[:3].sum() == 0


@kernel
def read_at(array, offset):
    return v.sum_lanes(v.load(array, offset))


@pytest.mark.skipif(not config.BOUNDSCHECK or config.DISABLE_JIT, reason="ranges are checked under NUMBA_BOUNDSCHECK=1")
@pytest.mark.parametrize("offset", [-1, 1, 1000])
def test_bounds_are_checked_where_asked_for(offset):
    array = np.zeros(N, np.float32)
    assert read_at(array, 0) == 0
    with pytest.raises(IndexError, match="out of bounds"):
        read_at(array, offset)


@kernel
def array_at(address, size):
    return v.floats_at(address, size)[size - 1]


def test_an_array_is_found_by_its_address():
    array = np.arange(7, dtype=np.float32)
    assert array_at(array.ctypes.data, np.int64(7)) == 6
