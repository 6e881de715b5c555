import numpy as np
import pytest
from numba.core import config

from fastmlp import reference
from fastmlp.activations import ACTIVATIONS, CODES
from fastmlp.kernels.jit import kernel
from fastmlp.kernels.ops.activations import (
    SLOPE,
    activate,
    activation_backward,
    activation_forward,
    forward_and_slope,
    keeps_slope,
)
from fastmlp.kernels.simd import vector as v

N = int(v.NARROW)
EPS = np.finfo(np.float32).eps


@kernel
def forward(out, z, activation):
    for i in range(0, z.size, v.NARROW):
        v.store(activation_forward(v.load(z, i), activation), out, i)


@kernel
def backward(dz, dout, out, activation):
    for i in range(0, out.size, v.NARROW):
        v.store(activation_backward(v.load(dout, i), v.load(out, i), activation), dz, i)


def apply(z, activation):
    z = np.resize(np.asarray(z, np.float32), -(-len(z) // N) * N)
    out = np.full_like(z, np.nan)
    with np.errstate(all="ignore"):  # NumPy warns where it stands in for compiled code
        forward(out, z, CODES[activation])
    return z, out


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_forward_is_the_references_to_a_few_units_in_the_last_place(activation):
    z, out = apply([*np.linspace(-80, 80, 2001), *np.linspace(-0.7, 0.7, 2001), 0.0, -0.0, 1e-30, -1e-30], activation)
    want = reference.activation_forward(z.astype(np.float64), activation)
    # sums that cancel far from zero, where the function is flat
    near_zero = {"softplus": 2 * EPS, "hard_sigmoid": 2 * EPS, "gelu": EPS, "gelu_tanh": EPS}.get(activation, 0)
    np.testing.assert_allclose(out, want, rtol=6 * EPS, atol=near_zero)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_nan_stays_nan_in_its_lane_alone(activation):
    z, out = apply(np.where(np.arange(N) == 5, np.nan, 0.5), activation)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(z))


@pytest.mark.parametrize(
    ("activation", "below", "above"),
    [
        ("relu", 0, np.inf),
        ("sigmoid", 0, 1),
        ("tanh", -1, 1),
        ("identity", -np.inf, np.inf),
        ("elu", -1, np.inf),
        ("leaky_relu", -np.inf, np.inf),
        ("softplus", 0, np.inf),
        ("hard_sigmoid", 0, 1),
    ],
)
def test_at_infinity_and_far_out_are_the_limits(activation, below, above):
    _, out = apply([-np.inf, np.inf], activation)
    np.testing.assert_allclose(out[:2], [below, above], rtol=0, atol=1e-37)
    if activation in ("sigmoid", "tanh"):
        _, out = apply([-1e30, 1e30], activation)
        np.testing.assert_allclose(out[:2], [below, above], rtol=0, atol=1e-37)


@pytest.mark.skipif(config.DISABLE_JIT, reason="NumPy's tanh stands in, and is not a few polynomials glued together")
def test_tanh_is_odd_and_does_not_fall():
    z, out = apply(np.linspace(-12, 12, 4096), "tanh")
    np.testing.assert_array_equal(apply(-z, "tanh")[1], -out)
    assert np.diff(out).min() >= -EPS  # also where the polynomial and the exponential meet
    assert np.abs(out).max() <= 1


OF_OUTPUT = [name for name, row in ACTIVATIONS.items() if not row.keeps_slope]
WITH_SLOPE = [name for name, row in ACTIVATIONS.items() if row.keeps_slope]


def test_kernels_and_reference_agree_with_the_table():
    assert set(ACTIVATIONS) == set(reference.ACTIVATIONS)
    assert len({*CODES.values(), SLOPE}) == len(ACTIVATIONS) + 1
    for name, row in ACTIVATIONS.items():
        assert keeps_slope(row.code) == reference.keeps_slope(name) == row.keeps_slope, name


@pytest.mark.parametrize("code", [max(CODES.values()) + 1, -1])
def test_an_unknown_code_gives_nan(code):
    z, out, slope = np.ones((3, 2 * N), np.float32)
    forward(out, z, code)
    assert np.isnan(out).all()
    backward(out, np.ones_like(z), z, code)
    assert np.isnan(out).all()
    both(out, slope, z, code)
    assert np.isnan(out).all()
    assert np.isnan(slope).all()


@kernel
def both(out, slope, z, activation):
    for i in range(0, z.size, v.NARROW):
        value, derivative = forward_and_slope(v.load(z, i), activation)
        v.store(value, out, i)
        v.store(derivative, slope, i)


@pytest.mark.parametrize("activation", WITH_SLOPE)
def test_slopes_that_are_kept_are_the_references(activation):
    z = np.linspace(-12, 12, 1600).astype(np.float32)
    out, slope = np.full_like(z, np.nan), np.full_like(z, np.nan)
    both(out, slope, z, CODES[activation])
    want = reference.forward_and_slope(z.astype(np.float64), activation)
    np.testing.assert_allclose(out, want[0], rtol=6 * EPS, atol=EPS)
    np.testing.assert_allclose(slope, want[1], rtol=6 * EPS, atol=3 * EPS)  # sums that cancel


@pytest.mark.parametrize("activation", WITH_SLOPE)
def test_slopes_of_the_reference_are_derivatives(activation):
    z, step = np.linspace(-4, 4, 50), 1e-6
    up, down = (reference.activation_forward(z + s, activation) for s in (step, -step))
    np.testing.assert_allclose(reference.forward_and_slope(z, activation)[1], (up - down) / (2 * step), atol=1e-8)


def test_the_way_back_multiplies_by_a_slope_that_was_kept():
    rng, dz = np.random.default_rng(0), np.full(32, np.nan, np.float32)
    dout, slope = rng.standard_normal((2, 32)).astype(np.float32)
    backward(dz, dout, slope, SLOPE)
    np.testing.assert_array_equal(dz, reference.activation_backward(dout, slope, "slope"))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_whole_arrays_are_activated(activation):
    z = np.linspace(-3, 3, 64).astype(np.float32)
    want = apply(z, activation)[1]
    activate(z, CODES[activation])
    np.testing.assert_array_equal(z, want)


@pytest.mark.parametrize("activation", OF_OUTPUT)
def test_backward_is_the_references(activation):
    rng = np.random.default_rng(0)
    out = reference.activation_forward(np.linspace(-6, 6, 160), activation).astype(np.float32)
    dout, dz = rng.standard_normal(160).astype(np.float32), np.full(160, np.nan, np.float32)
    backward(dz, dout, out, CODES[activation])
    want = reference.activation_backward(dout.astype(np.float64), out.astype(np.float64), activation)
    np.testing.assert_allclose(dz, want, rtol=3 * EPS, atol=2 * EPS)


def test_the_gradient_of_relu_at_zero_is_zero():
    dz, out = np.full(N, np.nan, np.float32), np.resize(np.float32([0, -0.0, 1e-45, 1]), N)
    backward(dz, np.full(N, 7, np.float32), out, CODES["relu"])
    np.testing.assert_array_equal(dz, np.resize([0, 0, 7, 7], N))


@pytest.mark.parametrize("activation", OF_OUTPUT)
def test_derivatives_of_the_reference_are_those_of_its_functions(activation):
    z = np.linspace(-2.9, 2.9, 50)  # not at 0, where ReLU has none, nor at 3, where the hard sigmoid has none
    out, step = reference.activation_forward(z, activation), 1e-6
    up, down = (reference.activation_forward(z + s, activation) for s in (step, -step))
    got = reference.activation_backward(np.ones_like(z), out, activation)
    np.testing.assert_allclose(got, (up - down) / (2 * step), rtol=0, atol=1e-8)
