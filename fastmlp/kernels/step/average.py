"""The exponential moving average of the parameters, one more pass over them after every step."""

from fastmlp.kernels.jit import inline_numba, kernel
from fastmlp.kernels.ops.dense import ceil_div
from fastmlp.kernels.simd.processors import NARROW
from fastmlp.kernels.simd.vector import fma, load, splat, store, sub
from fastmlp.kernels.step.network import partition


@kernel
def average_parameters(parameters, state, average, first, last, rate):
    """average += rate * (parameters - average), for the elements first..last-1, multiples of NARROW

    parameters  flat   read
    state       flat   from `average` on it holds the average, laid out like parameters: updated in place
    """
    for c in range(first, last, NARROW):
        mean = load(state, average + c)
        store(fma(splat(rate), sub(load(parameters, c), mean), mean), state, average + c)


@inline_numba
def average_partition(network, average, rate, work):
    """Update a partition of the average."""
    first, last = partition(ceil_div(network.parameters.size, NARROW), work)
    average_parameters(network.parameters, network.state, average, first * NARROW, last * NARROW, rate)
