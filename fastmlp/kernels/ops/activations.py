"""Activation functions of one vector, and their derivatives as functions of the output.

Where a derivative is no function of the output, forward keeps it, the slope, for the backward pass (code SLOPE).

A kernel takes the activation as an integer code.  The code is the same for all vectors of a loop, so that its branch is
predicted, and a vector costs tens of times more in the product before it.
"""

import numpy as np

from fastmlp.kernels.jit import inline_llvm, kernel
from fastmlp.kernels.simd.functions import erf, exp, log, tanh
from fastmlp.kernels.simd.processors import NARROW
from fastmlp.kernels.simd.vector import add, div, fma, load, maximum, mul, splat, store, sub, where_positive

# The codes; `fastmlp.activations` has their names.  An unknown code gives NaN, so that training stops.
IDENTITY, RELU, SIGMOID, TANH, LEAKY_RELU, ELU, SELU, SOFTPLUS, HARD_SIGMOID, SLOPE = range(10)
GELU, GELU_TANH, SILU, MISH = range(10, 14)  # these keep their slope

LEAK = np.float32(0.01)
GELU_SCALE, GELU_CUBE = np.float32((2 / np.pi) ** 0.5), np.float32(0.044715)
SELU_SCALE, SELU_ALPHA = np.float32(1.0507009873554805), np.float32(1.6732632423543772)  # Klambauer et al. 2017


@inline_llvm
def expm1_negative(z):
    """exp(z) - 1 for z <= 0, to a few units in the last place: 2 t / (1 - t) with t = tanh(z / 2)"""
    t = tanh(mul(splat(np.float32(0.5)), z))
    return div(add(t, t), sub(splat(np.float32(1)), t))


@inline_llvm
def activation_forward(z, activation):
    """activation(z)"""
    if activation == RELU:
        return maximum(splat(np.float32(0)), z)  # in this order NaN stays NaN
    if activation == SIGMOID:
        one = splat(np.float32(1))
        return div(one, add(one, exp(sub(splat(np.float32(0)), z))))
    if activation == TANH:
        return tanh(z)
    if activation == IDENTITY:
        return z
    return rarer_forward(z, activation)


@inline_llvm
def activation_backward(dout, out, activation):
    """Return the gradient of z from that of out = activation(z); the gradient of ReLU at 0 is 0."""
    if activation == RELU:
        return where_positive(out, dout, splat(np.float32(0)))
    if activation == SIGMOID:
        return mul(dout, mul(out, sub(splat(np.float32(1)), out)))
    if activation == TANH:
        return mul(dout, sub(splat(np.float32(1)), mul(out, out)))
    if activation == IDENTITY:
        return dout
    return rarer_backward(dout, out, activation)


@inline_llvm
def rarer_forward(z, activation):
    """The other activations: Leaky ReLU, ELU (alpha = 1), SELU, softplus, PyTorch's hard sigmoid, GELU, and SiLU"""
    zero, one = splat(np.float32(0)), splat(np.float32(1))
    if activation == LEAKY_RELU:
        return where_positive(z, z, mul(splat(LEAK), z))
    if activation == ELU:
        return where_positive(z, z, expm1_negative(z))
    if activation == SELU:
        return where_positive(z, mul(splat(SELU_SCALE), z), mul(splat(SELU_SCALE * SELU_ALPHA), expm1_negative(z)))
    if activation == SOFTPLUS:
        magnitude = maximum(z, sub(zero, z))
        return add(maximum(zero, z), log(add(one, exp(sub(zero, magnitude)))))
    if activation == HARD_SIGMOID:
        return clamp(fma(splat(np.float32(1 / 6)), z, splat(np.float32(0.5))))
    return forward_and_slope(z, activation)[0]


@inline_llvm
def keeps_slope(activation):
    """Return whether the derivative is no function of the output."""
    return activation > SLOPE


@inline_llvm
def forward_and_slope(z, activation):
    """GELU (Hendrycks and Gimpel 2016) exactly, x Phi(x), or by tanh; SiLU, x sigmoid(x); and Mish; with derivatives"""
    zero, one, half = splat(np.float32(0)), splat(np.float32(1)), splat(np.float32(0.5))
    if activation == SILU:
        e = exp(sub(zero, z))
        sigmoid = div(one, add(one, e))
        return mul(z, sigmoid), mul(sigmoid, fma(z, mul(e, sigmoid), one))
    if activation == GELU:
        cdf = mul(half, add(one, erf(mul(splat(np.float32(0.5**0.5)), z))))
        density = mul(splat(np.float32((2 * np.pi) ** -0.5)), exp(mul(splat(np.float32(-0.5)), mul(z, z))))
        return mul(z, cdf), fma(z, density, cdf)
    if activation == GELU_TANH:
        # (1 + tanh(u)) / 2 is the sigmoid of 2 u, in which nothing cancels
        square, twice = mul(z, z), splat(np.float32(2) * GELU_SCALE)
        e = exp(sub(zero, mul(twice, mul(z, fma(splat(GELU_CUBE), square, one)))))
        sigmoid = div(one, add(one, e))
        inner = mul(twice, fma(splat(np.float32(3) * GELU_CUBE), square, one))
        return mul(z, sigmoid), fma(mul(z, sigmoid), mul(mul(e, sigmoid), inner), sigmoid)
    if activation == MISH:
        # Misra 2019: tanh(softplus(z)) = t / (t + 2) with t = e (e + 2), e = exp(z), or for z > 0, where that would
        # overflow, (1 + 2 e) / (1 + 2 e + 2 e e) with e = exp(-z)
        two = splat(np.float32(2))
        e = exp(sub(zero, maximum(z, sub(zero, z))))
        small, large = mul(e, add(e, two)), fma(two, e, one)
        t = where_positive(z, div(large, fma(two, mul(e, e), large)), div(small, add(small, two)))
        sigmoid = div(where_positive(z, one, e), add(one, e))
        return mul(z, t), fma(mul(z, sigmoid), sub(one, mul(t, t)), t)
    return splat(np.float32(np.nan)), splat(np.float32(np.nan))


@inline_llvm
def clamp(x):
    """x, at least 0 and at most 1; NaN stays NaN"""
    below = maximum(splat(np.float32(0)), x)
    one = splat(np.float32(1))
    return sub(one, maximum(splat(np.float32(0)), sub(one, below)))


@inline_llvm
def rarer_backward(dout, out, activation):
    """Return the gradients of the other activations"""
    zero, one = splat(np.float32(0)), splat(np.float32(1))
    if activation == LEAKY_RELU:
        return where_positive(out, dout, mul(splat(LEAK), dout))
    if activation == ELU:
        return where_positive(out, dout, mul(dout, add(out, one)))
    if activation == SELU:
        return where_positive(out, mul(splat(SELU_SCALE), dout), mul(dout, add(out, splat(SELU_SCALE * SELU_ALPHA))))
    if activation == SOFTPLUS:
        return mul(dout, sub(zero, expm1_negative(sub(zero, out))))
    if activation == SLOPE:
        return mul(dout, out)
    if activation == HARD_SIGMOID:
        inside = where_positive(out, where_positive(sub(one, out), one, zero), zero)
        return mul(mul(splat(np.float32(1 / 6)), inside), dout)
    return splat(np.float32(np.nan))


@kernel
def activate(flat, activation):
    """flat = activation(flat), whole vectors"""
    for i in range(0, flat.size, NARROW):
        store(activation_forward(load(flat, i), activation), flat, i)
