import numpy as np
import pytest
from helpers import read
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmlp.engine.parameters import Parameters
from fastmlp.engine.workspace import lists_for, network_for, pack, packed_views, set_table, unpack
from fastmlp.kernels.ops import dense, grouped
from fastmlp.kernels.simd.processors import NARROW, PANEL, ROWS, WIDE
from fastmlp.kernels.step import network as kernels
from fastmlp.memory import ALIGNMENT, aligned_zeros

WIDTHS = [(1, 1), (19, 4), (15, 16, 17), (64, 65, 1, 129), (784, 128, 10)]


def numbered(widths):
    """Parameters of which no two are alike."""
    parameters, number = Parameters(widths), 1
    for array in parameters.weights + parameters.biases:
        array[:] = np.arange(number, number + array.size).reshape(array.shape)
        number += array.size
    return parameters


def network_of(parameters, batch_size=33, n_state_arrays=1, **options):
    activations = ["relu"] * (len(parameters.widths) - 2) + ["identity"]
    return network_for(parameters, activations, True, batch_size, n_state_arrays, **options)


def spans(network, threads):
    """What lies in a network's workspace, and in its parameters: starts, and the room that kernels make use of."""
    layout = network.layout
    work = {
        layout.input: -(-int(network.layers[0].n_in) // PANEL) * layout.input_panel,
        layout.table: 256, layout.zeros: PANEL, layout.rows: 3 * layout.capacity,
    }  # fmt: skip
    work |= {layout.scratch + t * kernels.SCRATCH: max(ROWS * WIDE, 3 * PANEL) for t in range(threads)}
    weights = {}
    for number, layer in enumerate(network.layers):
        n_in, n_out = int(layer.n_in), int(layer.n_out)
        work[layer.output] = -(-n_out // PANEL) * layer.output_panel
        if number > 0:
            work[layer.transposed] = -(-n_in // PANEL) * PANEL * -(-n_out // NARROW) * NARROW
        weights[layer.weight] = -(-n_out // PANEL) * layer.weight_panel
        weights[layer.bias] = -(-n_out // NARROW) * NARROW
    return work, weights


def check_table(network, parameters):
    for layer, weight, bias in zip(network.layers, parameters.weights, parameters.biases):
        at = dense.Matrix(layer.weight, layer.weight_panel, layer.weight_row, *weight.shape)
        np.testing.assert_array_equal(read(network.parameters, at), weight)
        np.testing.assert_array_equal(network.parameters[layer.bias :][: len(bias)], bias)


@pytest.mark.parametrize("widths", WIDTHS)
def test_unpacked_parameters_are_those_that_were_packed(widths):
    parameters = numbered(widths)
    network, want = network_of(parameters), parameters.buffer.copy()
    parameters.buffer[:] = np.nan
    unpack(packed_views(network, parameters), parameters)
    padding = want == 0  # unpack leaves it alone
    np.testing.assert_array_equal(parameters.buffer, np.where(padding, np.nan, want))


@pytest.mark.parametrize("widths", WIDTHS)
def test_packed_weights_are_where_the_table_says(widths):
    parameters = numbered(widths)
    network = network_of(parameters)
    check_table(network, parameters)
    count = sum(array.size for array in parameters.weights + parameters.biases)
    assert np.count_nonzero(network.parameters) == count  # and all else is zero


@pytest.mark.parametrize("widths", WIDTHS)
def test_a_network_that_is_not_packed_works_on_the_parameters_themselves(widths):
    parameters = numbered(widths)
    network = network_of(parameters, packed=False)
    assert network.parameters is parameters.buffer
    check_table(network, parameters)


@given(st.lists(st.integers(1, 140), min_size=2, max_size=5), st.integers(1, 300), st.integers(1, 4))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_nothing_overlaps_or_reaches_over_the_end(widths, batch_size, threads):
    network = network_of(Parameters(widths), batch_size, threads=threads)
    assert network.layout.capacity >= batch_size
    for array, part in zip((network.workspace, network.parameters), spans(network, threads)):
        starts = sorted(part)
        for start, following in zip(starts, [*starts[1:], array.size]):
            assert start % int(NARROW) == 0
            assert start + part[start] <= following


@pytest.mark.parametrize("widths", WIDTHS)
def test_buffers_start_at_a_cache_line_and_zeros_are_zero(widths):
    parameters = Parameters(widths)
    network = network_of(parameters)
    for array in (parameters.buffer, network.parameters, network.state, network.workspace):
        assert array.dtype == np.float32
        assert array.ctypes.data % ALIGNMENT == 0
    assert network.state.size == network.parameters.size
    assert not network.state.any()
    assert not network.workspace[network.layout.zeros :][: int(PANEL)].any()
    assert network_of(parameters, n_state_arrays=0).state.size == 0


@pytest.mark.parametrize("size", [1, 15, 16, 17, 1000])
def test_aligned_zeros(size):
    array = aligned_zeros(size)
    assert (array.size, array.ctypes.data % ALIGNMENT, np.count_nonzero(array)) == (size, 0, 0)
    assert array.flags.c_contiguous
    assert array.flags.writeable


@pytest.mark.parametrize("widths", WIDTHS)
def test_weights_and_biases_are_views_of_one_buffer(widths):
    parameters = numbered(widths)
    arrays = parameters.weights + parameters.biases
    assert [w.shape for w in parameters.weights] == list(zip(widths, widths[1:]))
    assert all(np.shares_memory(array, parameters.buffer) for array in arrays)
    assert np.count_nonzero(parameters.buffer) == sum(array.size for array in arrays)  # none overlap; padding is 0
    assert all(array.ctypes.data % ALIGNMENT == 0 for array in arrays)


def test_packing_again_takes_the_new_values():
    parameters = numbered((19, 65, 4))
    network = network_of(parameters)
    parameters.buffer *= 2
    pack(packed_views(network, parameters), parameters)
    np.testing.assert_array_equal(network.parameters, network_of(parameters).parameters)


def test_the_table_of_coded_input_lies_where_it_was_put():
    network = network_of(Parameters((5, 4)))
    network.workspace[:] = np.nan
    set_table(network, np.arange(256, dtype=np.float32))
    np.testing.assert_array_equal(network.workspace[network.layout.table :][:256], np.arange(256))
    assert np.count_nonzero(~np.isnan(network.workspace)) == 256


@pytest.mark.parametrize(("n_features", "batch_size"), [(1, 1), (48, 128), (49, 129), (784, 300)])
def test_lists_have_room_for_every_group_and_sample(n_features, batch_size):
    lists = lists_for(n_features, batch_size)
    blocks = -(-batch_size // int(grouped.BLOCK))
    assert lists.groups % int(grouped.GROUPS_PER_PASS) == 0
    assert lists.groups * int(grouped.GROUP) >= n_features
    assert lists.offsets.size >= batch_size
    assert lists.count.size == blocks * lists.groups
    assert lists.words.size == lists.count.size * int(grouped.LIST_CAPACITY)
