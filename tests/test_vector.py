import numpy as np
import pytest
from numba.core import config

from fastmlp.kernels.jit import kernel
from fastmlp.kernels.simd import addresses, functions, processors, tiles
from fastmlp.kernels.simd import vector as v

N = int(v.NARROW)


@kernel
def apply_exp(out, x):
    for i in range(0, x.size, v.NARROW):
        v.store(functions.exp(v.load(x, i)), out, i)


@kernel
def apply_log(out, x):
    for i in range(0, x.size, v.NARROW):
        v.store(functions.log(v.load(x, i)), out, i)


@kernel
def apply_tanh(out, x):
    for i in range(0, x.size, v.NARROW):
        v.store(functions.tanh(v.load(x, i)), out, i)


def ulps(got, want):
    return np.abs(got - want) / np.spacing(np.abs(want).astype(np.float32))


@pytest.mark.skipif(config.DISABLE_JIT, reason="NumPy's functions stand in for these")
# the bounds: over every float32 between 1e-3 and the ends, the largest errors are 1.011, 0.827 and 1.331
@pytest.mark.parametrize(
    ("function", "exact", "x", "bound"),
    [
        (apply_exp, np.exp, np.linspace(-87, 88, 4096), 1.25),
        (apply_exp, np.exp, np.linspace(-1, 1, 4096), 1.25),
        (apply_log, np.log, np.geomspace(1.2e-38, 3.4e38, 4096), 1),
        (apply_log, np.log, np.linspace(0.5, 2, 4096), 1),
        (apply_tanh, np.tanh, np.linspace(-12, 12, 4096), 1.5),
        (apply_tanh, np.tanh, np.linspace(0.5, 0.75, 4096), 1.5),  # where two formulas meet
        (apply_tanh, np.tanh, np.geomspace(1e-20, 1, 4096), 1.5),
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
def test_nan_stays_nan_in_its_lane_alone(function):
    x = np.where(np.arange(N) % 3 == 1, np.nan, 0.5).astype(np.float32)
    out = np.zeros_like(x)
    function(out, x)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(x))


def test_exp_and_tanh_end_at_their_limits_and_log_shows_infinity():
    x = np.resize(np.float32([-np.inf, -1e30, 1e30, np.inf]), N)
    out = np.full_like(x, np.nan)
    apply_exp(out, x)
    assert (out[:2] <= 2e-38).all()
    assert (out[2:4] >= 1e38).all()  # exp is held to finite numbers
    apply_tanh(out, x)
    np.testing.assert_array_equal(out, np.sign(x))
    apply_log(out, np.full(N, np.inf, np.float32))
    assert not np.isfinite(out).any()


@kernel
def arithmetic(out, x, y, z):
    a, b, c = v.load(x, 0), v.load(y, 0), v.load(z, 0)
    v.store(v.add(a, b), out, 0)
    v.store(v.sub(a, b), out, v.NARROW)
    v.store(v.mul(a, b), out, 2 * v.NARROW)
    v.store(v.div(a, b), out, 3 * v.NARROW)
    v.store(v.maximum(a, b), out, 4 * v.NARROW)
    v.store(v.where_positive(a, b, c), out, 5 * v.NARROW)
    v.store(v.fma(a, b, c), out, 6 * v.NARROW)


def test_arithmetic_is_numpys():
    x, y, z = np.random.default_rng(0).standard_normal((3, N)).astype(np.float32)
    x[:4], y[:4] = [np.nan, 1, 0, -0.0], [2, np.nan, 3, 4]
    out = np.full(7 * N, np.nan, np.float32)
    arithmetic(out, x, y, z)
    bigger = np.where(x > y, x, y)  # the second where either is NaN
    want = [x + y, x - y, x * y, x / y, bigger, np.where(x > 0, y, z)]
    np.testing.assert_array_equal(out[: 6 * N].reshape(6, N), want)
    once = (x.astype(np.float64) * y + z).astype(np.float32)
    np.testing.assert_allclose(out[6 * N :], once, rtol=1e-6, atol=1e-7 if config.DISABLE_JIT else 0)


@kernel
def convert(out, raw, at):
    v.store(v.load_uint8(raw, at), out, 0)
    v.store(v.load_float32(raw, at), out, v.NARROW)
    v.store(v.load_float64(raw, at), out, 2 * v.NARROW)
    out[3 * v.NARROW] = v.get_float32(raw, at)
    out[3 * v.NARROW + 1] = v.get_float64(raw, at)


@pytest.mark.parametrize("at", [0, 1, 3, 8])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_elements_are_loaded_from_any_byte(at, dtype):
    rng, out = np.random.default_rng(0), np.zeros(3 * N + 2, np.float32)
    values = rng.integers(0, 256, N).astype(dtype) if dtype is np.uint8 else rng.standard_normal(N).astype(dtype)
    raw = np.zeros(8 * N + at, np.uint8)
    raw[at : at + values.nbytes] = values.view(np.uint8)
    with np.errstate(all="ignore"):  # bytes of one type are nonsense as another
        convert(out, raw, at)
    place = [np.uint8, np.float32, np.float64].index(dtype)
    np.testing.assert_array_equal(out[place * N : (place + 1) * N], values.astype(np.float32))
    if place > 0:
        assert out[3 * N + place - 1] == np.float32(values[0])


@kernel
def wide_tile(out, added, a, b, initial):
    tile = tiles.fma_rows(tiles.repeat_wide(initial, 0), a, 1, 3, b, 2)
    tiles.store_rows(tile, out, 5, 40)
    tiles.add_rows(tile, np.float32(-2), added, 5, 40)


@kernel
def narrow_tile(out, added, a, b, initial):
    tile = tiles.fma_rows(tiles.repeat_narrow(initial, 0), a, 1, 3, b, 2)
    tiles.store_rows(tile, out, 5, 40)
    tiles.add_rows(tile, np.float32(-2), added, 5, 40)


@pytest.mark.parametrize(("function", "n"), [(wide_tile, int(processors.WIDE)), (narrow_tile, N)])
def test_tiles(function, n):
    rng, rows = np.random.default_rng(0), int(processors.ROWS)
    a, b, initial = (rng.integers(-9, 9, size).astype(np.float32) for size in (3 * rows + 1, n + 2, n))
    out, added = np.full(40 * rows + 5, np.nan, np.float32), np.full(40 * rows + 5, 7, np.float32)
    inside = 5 + 40 * np.arange(rows)[:, None] + np.arange(n)
    function(out, added, a, b, initial)
    want = initial + a[1::3][:rows, None] * b[2:]
    np.testing.assert_array_equal(out[inside], want)
    np.testing.assert_array_equal(added[inside], 7 - 2 * want)
    assert np.isnan(np.delete(out, inside)).all()
    assert (np.delete(added, inside) == 7).all()


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
    assert out[0] == x.sum()  # exact, of whole numbers
    assert out[1] == 77
    assert out[2] == 9
    np.testing.assert_array_equal(out[N:], [*x[:5], *[-1] * (N - 5)])
    reductions(out, x, np.float32(500))
    assert out[2] == N


@kernel
def transpose(target, source):
    tiles.transpose_block(target, 3, 20, source, 5, 18)


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


@kernel
def write_at(array, offset):
    v.store(v.splat(np.float32(0)), array, offset)
    return np.float32(0)


@kernel
def write_tile_at(array, offset):
    tiles.store_rows(tiles.repeat_narrow(array, 0), array, offset - (processors.ROWS - 1), 1)
    return np.float32(0)


@pytest.mark.skipif(not config.BOUNDSCHECK or config.DISABLE_JIT, reason="ranges are checked under NUMBA_BOUNDSCHECK=1")
@pytest.mark.parametrize("function", [read_at, write_at, write_tile_at])
@pytest.mark.parametrize("offset", [-1, 1, 1000])
def test_bounds_are_checked_where_asked_for(function, offset):
    array, first = np.zeros(N + int(processors.ROWS) - 1, np.float32), int(processors.ROWS) - 1
    assert function(array, first) == 0
    with pytest.raises(IndexError, match="out of bounds"):
        function(array, -1 if offset < 0 else first + offset)


@kernel
def array_at(address, size):
    return addresses.floats_at(address, size)[size - 1]


def test_an_array_is_found_by_its_address():
    array = np.arange(7, dtype=np.float32)
    assert array_at(array.ctypes.data, np.int64(7)) == 6
