"""Memory that kernels work in: sized once, laid out in one aligned float32 buffer, and used for ever.

Activations lie in panels, and so do the weights of a network that trains, or predicts for many samples; for a few, the
kernels work on the model's own row-major weights.
"""

from __future__ import annotations

import numpy as np

from fastmlp.activations import ACTIVATIONS
from fastmlp.engine.parameters import Parameters
from fastmlp.kernels.ops.activations import IDENTITY, SLOPE
from fastmlp.kernels.ops.grouped import BLOCK, GROUP, GROUPS_PER_PASS, LIST_CAPACITY, Lists
from fastmlp.kernels.ops.sparse import FEATURES, Nonzeros
from fastmlp.kernels.simd import processors
from fastmlp.kernels.step import network as kernels
from fastmlp.memory import paged_zeros, round_up
from fastmlp.regularization import dropout_threshold

NARROW, PANEL, ROWS = int(processors.NARROW), int(processors.PANEL), int(processors.ROWS)


class _Allocator:
    """Allocate offsets in a buffer that is made at the end."""

    def __init__(self):
        self.size = 0

    def take(self, size: int) -> int:
        start, self.size = self.size, self.size + round_up(size, NARROW)
        return start


def _panels(n_columns: int) -> int:
    return -(-n_columns // PANEL)


def _workspace_layout(allocator: _Allocator, widths, capacity: int, threads: int) -> kernels.WorkspaceLayout:
    input_panel = capacity * PANEL
    return kernels.WorkspaceLayout(
        capacity=capacity,
        input=allocator.take(_panels(widths[0]) * input_panel),
        input_panel=input_panel,
        table=allocator.take(256),
        zeros=allocator.take(PANEL),
        scratch=allocator.take(threads * int(kernels.SCRATCH)),
        rows=allocator.take(3 * capacity),
        squares=allocator.take(sum(-(-width // NARROW) for width in widths)),
    )


def _layers(widths, activations, has_bias: bool, dropout, trains: bool) -> np.ndarray:
    layers = kernels.LAYER.zeros(len(widths) - 1)
    layers["n_in"], layers["n_out"] = widths[:-1], widths[1:]
    layers["activation"] = [ACTIVATIONS[name].code for name in activations]
    layers["forward_code"] = layers["backward_code"] = layers["activation"]
    layers["has_bias"] = has_bias
    for field in ("weight_rate", "weight_epsilon", "weight_decay", "bias_rate"):
        layers[field] = 1
    layers["dropout_threshold"][: len(dropout)] = [dropout_threshold(rate) for rate in dropout]
    if trains:
        keeps = np.array([ACTIVATIONS[name].keeps_slope for name in activations]) | (layers["dropout_threshold"] > 0)
        layers["forward_code"][keeps], layers["backward_code"][keeps] = IDENTITY, SLOPE
    return layers


def _packed_layout(layers, parameters: Parameters, has_scale: bool) -> np.ndarray:
    """Fill in the offsets of weights in panels and of biases; return an array with room for them, and for the scale of
    the input behind them."""
    allocator = _Allocator()
    for layer, (n_in, n_out) in zip(layers, parameters.layer_shapes()):
        # whole blocks of the transpose, and whole groups of the sparse kernels
        rows = round_up(n_in + int(GROUP) - 1, NARROW)
        layer["weight_panel"], layer["weight_row"] = rows * PANEL, PANEL
        layer["weight"] = allocator.take(_panels(n_out) * rows * PANEL)
        layer["bias"] = allocator.take(_panels(n_out) * PANEL)
    if has_scale:
        allocator.take(parameters.widths[0])
    return paged_zeros(allocator.size)


def network_for(
    parameters: Parameters,
    activations,
    has_bias: bool,
    batch_size: int,
    n_state_arrays: int,
    threads: int = 1,
    packed: bool = True,
    dropout=(),
    trains: bool = True,
    has_scale: bool = False,
):
    """Return a Network for batches of up to `batch_size` samples.

    Parameters
    ----------
    activations : sequence of str
        Of all layers.
    has_bias : bool
        Whether biases are updated.
    n_state_arrays : int
        How many numbers of state, which start at zero, the optimizer has for every parameter.
    threads : int
        How many work on it.
    packed : bool
        With a copy of the weights in panels; else on `parameters` themselves.
    dropout : sequence of float
        Of the hidden layers.
    trains : bool
        Whether there is a backward pass, for which some layers keep their slope.
    has_scale : bool
        Whether a scale of the input is learnt, which has its place at the end of the parameters.
    """
    widths = parameters.widths
    capacity = round_up(batch_size, NARROW)
    layers, memory = _layers(widths, activations, has_bias, dropout, trains), _Allocator()
    if packed:
        weights = _packed_layout(layers, parameters, has_scale)
    else:
        weights = parameters.buffer
        for layer, (weight, bias, row) in zip(layers, parameters.offsets):
            layer["weight"], layer["weight_panel"], layer["weight_row"], layer["bias"] = weight, PANEL, row, bias
    for layer in layers:
        layer["output_panel"], layer["output_row"] = capacity * PANEL, PANEL
        size = _panels(int(layer["n_out"])) * capacity * PANEL
        layer["output"] = memory.take(size)
        if layer["backward_code"] == SLOPE:
            layer["slope"] = memory.take(size) - layer["output"]
    for layer in layers[1:]:
        size = _panels(int(layer["n_in"])) * PANEL * round_up(int(layer["n_out"]), NARROW)
        layer["transposed"] = memory.take(size)
    layout = _workspace_layout(memory, widths, capacity, threads)
    memory.take(ROWS * PANEL)  # tiles read on behind the last matrix
    state = paged_zeros(n_state_arrays * weights.size)
    network = kernels.Network(layers.view(np.recarray), weights, state, paged_zeros(memory.size), layout)
    if packed:
        pack(packed_views(network, parameters), parameters)
    return network


def lists_for(n_features: int, batch_size: int) -> Lists:
    """Return room for the lists of batches of up to `batch_size` samples; for no features, of the lists' type alone."""
    groups = round_up(-(-n_features // int(GROUP)), int(GROUPS_PER_PASS))
    blocks = -(-batch_size // int(BLOCK)) if n_features else 0
    offsets = np.zeros(blocks * BLOCK, np.int64)
    count = np.zeros(blocks * groups, np.int64)
    return Lists(offsets, count, paged_zeros(int(blocks * groups * LIST_CAPACITY), np.uint32), groups)


def nonzeros_for(n_features: int, batch_size: int, per_sample: int, size: int | None = None) -> Nonzeros:
    """Return room for the entries of batches of up to `batch_size` samples of at most `per_sample` entries each; or for
    `size` entries of a batch, however they are spread over its samples."""
    room = round_up(per_sample, NARROW) + NARROW  # whole vectors are written behind the last
    size = batch_size * room if size is None else size
    blocks = -(-n_features // int(FEATURES))
    offset_factor = paged_zeros(2 * size, np.int32)
    return Nonzeros(
        begin=np.zeros(batch_size, np.int64),
        end=np.zeros(batch_size, np.int64),
        feature=paged_zeros(size, np.int32),
        value=paged_zeros(size),
        room=room,
        until=paged_zeros(int(blocks * FEATURES), np.int64),
        touched=np.zeros(blocks, np.uint8),
        sample_offset=offset_factor,
        factor=offset_factor.view(np.float32),
    )


def set_table(network, table: np.ndarray):
    """Put the table of coded input where the sparse kernels look for it."""
    network.workspace[network.layout.table : network.layout.table + len(table)] = table


def set_bias(network, layer: int, bias: np.ndarray):
    """Put the bias of a layer of a packed network in place of the one it has."""
    start = network.layers["bias"][layer]
    network.parameters[start : start + len(bias)] = bias


Views = list[tuple[np.ndarray, np.ndarray]]


def packed_views(network, parameters: Parameters) -> Views:
    """Return pairs of a panel of a layer's packed weights and the columns of `parameters` that it holds, and of biases
    likewise."""
    pairs = []
    for layer, weight, bias in zip(network.layers, parameters.weights, parameters.biases):
        n_in, n_out = weight.shape
        for panel in range(_panels(n_out)):
            start = layer["weight"] + panel * layer["weight_panel"]
            columns = weight[:, panel * PANEL : (panel + 1) * PANEL]
            packed = network.parameters[start : start + n_in * PANEL].reshape(n_in, PANEL)
            pairs.append((packed[:, : columns.shape[1]], columns))
        pairs.append((network.parameters[layer["bias"] : layer["bias"] + n_out], bias))
    return pairs


def first_panels(network, parameters: Parameters, array: np.ndarray) -> list[np.ndarray]:
    """Return views of the first layer's weights, by panels, in an array that is laid out like packed parameters."""
    layer, (n_in, n_out) = network.layers[0], parameters.layer_shapes()[0]
    panels = []
    for panel in range(_panels(n_out)):
        start = layer["weight"] + panel * layer["weight_panel"]
        panels.append(array[start : start + n_in * PANEL].reshape(n_in, PANEL)[:, : min(PANEL, n_out - panel * PANEL)])
    return panels


def is_finite(views: Views) -> bool:
    """Return whether all of a training network's parameters are finite."""
    return all(np.isfinite(packed).all() for packed, _ in views)


def pack(views: Views, parameters: Parameters) -> None:
    """Copy parameters into a training network."""
    with parameters.lock.reading():
        for packed, plain in views:
            packed[:] = plain


def unpack(views: Views, parameters: Parameters) -> None:
    """Copy a training network's parameters back."""
    with parameters.lock.writing():
        for packed, plain in views:
            plain[:] = packed
