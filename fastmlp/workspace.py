"""Memory that kernels work in: sized once, laid out in one aligned float32 buffer, and used for ever.

Two layouts of the same `Network`: for training, weights in panels and everything for one batch; for prediction, the
model's own row-major weights, activations of one chunk of samples, and the outputs of all.
"""

from __future__ import annotations

import numpy as np

from fastmlp.kernels import network as kernels
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.vector import NARROW, PANEL, ROWS, WIDE
from fastmlp.parameters import Parameters, aligned_zeros, round_up

# Rows of a chunk in prediction: its activations in one panel are 32 KB, and stay in the first-level cache.
CHUNK = 128


class _Allocator:
    """Hands out places in a buffer that is made at the end."""

    def __init__(self):
        self.size = 0

    def take(self, size: int) -> int:
        start, self.size = self.size, self.size + round_up(size, NARROW)
        return start


def _panels(n_columns: int) -> int:
    return -(-n_columns // PANEL)


def _places(allocator: _Allocator, widths, capacity: int, loss_rows: int) -> kernels.Places:
    input_panel = capacity * PANEL
    transposed = max(
        (_panels(n_in) * PANEL * round_up(n_out, NARROW) for n_in, n_out in zip(widths[1:], widths[2:])), default=0
    )
    return kernels.Places(
        capacity=capacity,
        input=allocator.take(_panels(widths[0]) * input_panel),
        input_panel=input_panel,
        transposed=allocator.take(transposed),
        zeros=allocator.take(PANEL),
        scratch=allocator.take(ROWS * WIDE),
        rows=allocator.take(3 * loss_rows),
    )


def _table(widths, activations, has_bias: bool) -> np.ndarray:
    table = np.zeros((len(widths) - 1, kernels.TABLE_COLUMNS), np.int64)
    table[:, kernels.N_IN] = widths[:-1]
    table[:, kernels.N_OUT] = widths[1:]
    table[:, kernels.ACTIVATION] = [ACTIVATIONS[name] for name in activations]
    table[:, kernels.HAS_BIAS] = has_bias
    return table


def training_network(parameters: Parameters, activations, has_bias: bool, batch_size: int, with_state: bool):
    """A Network for batches of up to `batch_size` samples, with the weights of `parameters` in panels.

    `with_state`: whether the optimizer has state, which starts at zero.
    """
    widths = parameters.widths
    capacity = round_up(batch_size, NARROW)
    table, memory, packed = _table(widths, activations, has_bias), _Allocator(), _Allocator()
    for row, (n_in, n_out) in zip(table, parameters.layer_shapes()):
        row[kernels.WEIGHT_PANEL], row[kernels.WEIGHT_ROW] = round_up(n_in, NARROW) * PANEL, PANEL
        row[kernels.WEIGHT] = packed.take(_panels(n_out) * row[kernels.WEIGHT_PANEL])
        row[kernels.BIAS] = packed.take(_panels(n_out) * PANEL)
        row[kernels.OUTPUT_PANEL], row[kernels.OUTPUT_ROW] = capacity * PANEL, PANEL
        row[kernels.OUTPUT] = memory.take(_panels(n_out) * capacity * PANEL)
    places = _places(memory, widths, capacity, capacity)
    state = aligned_zeros(packed.size if with_state else 0)
    network = kernels.Network(table, aligned_zeros(packed.size), state, aligned_zeros(memory.size), places)
    pack(network, parameters)
    return network


def prediction_network(parameters: Parameters, activations, n_samples: int):
    """A Network that computes the outputs of `n_samples` samples from `parameters` themselves.

    Returns the network, and the outputs: a view (n_samples, n_out) into its workspace.
    """
    widths = parameters.widths
    capacity = min(CHUNK, round_up(n_samples, NARROW))
    all_rows = round_up(n_samples, NARROW)
    table, memory = _table(widths, activations, True), _Allocator()
    for row, (weight, bias, stride) in zip(table, parameters.places):
        row[kernels.WEIGHT], row[kernels.WEIGHT_PANEL], row[kernels.WEIGHT_ROW] = weight, PANEL, stride
        row[kernels.BIAS] = bias
        row[kernels.OUTPUT_PANEL], row[kernels.OUTPUT_ROW] = capacity * PANEL, PANEL
        row[kernels.OUTPUT] = memory.take(_panels(row[kernels.N_OUT]) * capacity * PANEL)
    stride = parameters.places[-1][2]
    table[-1, kernels.OUTPUT_PANEL], table[-1, kernels.OUTPUT_ROW] = PANEL, stride
    start = table[-1, kernels.OUTPUT] = memory.take(all_rows * stride)
    places = _places(memory, widths, capacity, all_rows)
    workspace = aligned_zeros(memory.size)
    outputs = workspace[start : start + n_samples * stride].reshape(n_samples, stride)[:, : widths[-1]]
    return kernels.Network(table, parameters.buffer, aligned_zeros(0), workspace, places), outputs


def _views(network, parameters: Parameters):
    """Pairs of a panel of a layer's packed weights and the columns of `parameters` that it holds; biases likewise."""
    for row, weight, bias in zip(network.layers, parameters.weights, parameters.biases):
        n_in, n_out = weight.shape
        for panel in range(_panels(n_out)):
            start = row[kernels.WEIGHT] + panel * row[kernels.WEIGHT_PANEL]
            columns = weight[:, panel * PANEL : (panel + 1) * PANEL]
            packed = network.parameters[start : start + n_in * PANEL].reshape(n_in, PANEL)
            yield packed[:, : columns.shape[1]], columns
        yield network.parameters[row[kernels.BIAS] : row[kernels.BIAS] + n_out], bias


def pack(network, parameters: Parameters):
    """Copy parameters into a training network."""
    for packed, plain in _views(network, parameters):
        packed[:] = plain


def unpack(network, parameters: Parameters):
    """Copy a training network's parameters back."""
    for packed, plain in _views(network, parameters):
        plain[:] = packed
