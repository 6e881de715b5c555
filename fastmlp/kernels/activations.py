"""Activation functions of one vector, and their derivatives as functions of the output.

A kernel takes the activation as an integer code.  The code is the same for all vectors of a loop, so that its branch is
predicted, and a vector costs tens of times more in the product before it.
"""

import numpy as np

from fastmlp.kernels.functions import exp, tanh
from fastmlp.kernels.jit import inlined
from fastmlp.kernels.vector import add, div, maximum, mul, splat, sub, where_positive

IDENTITY, RELU, SIGMOID, TANH = range(4)
ACTIVATIONS = {"relu": RELU, "sigmoid": SIGMOID, "tanh": TANH, "identity": IDENTITY}


@inlined
def activation_forward(z, activation):
    """activation(z)"""
    if activation == RELU:
        return maximum(splat(np.float32(0)), z)  # in this order NaN stays NaN
    if activation == SIGMOID:
        one = splat(np.float32(1))
        return div(one, add(one, exp(sub(splat(np.float32(0)), z))))
    if activation == TANH:
        return tanh(z)
    return z


@inlined
def activation_backward(dout, out, activation):
    """The gradient of z from that of out = activation(z); the gradient of ReLU at 0 is 0."""
    if activation == RELU:
        return where_positive(out, dout, splat(np.float32(0)))
    if activation == SIGMOID:
        return mul(dout, mul(out, sub(splat(np.float32(1)), out)))
    if activation == TANH:
        return mul(dout, sub(splat(np.float32(1)), mul(out, out)))
    return dout
