"""Records: the same fields for Python and for kernels."""

import numba
import numpy as np
import pytest
from numba.core import config

from fastmlp.kernels.jit import kernel
from fastmlp.kernels.simd.records import Layout, make_record_at, set_array

POINT = Layout("test_point", {"x": np.int64, "y": np.float32})
SHAPE = Layout(
    "test_shape",
    {
        "small": np.uint8,
        "n": np.int64,
        "factor": np.float32,
        "origin": POINT,
        "points": [POINT],
        "values": [np.float64],
    },
)
shape_at = make_record_at(SHAPE)


@pytest.fixture
def shape():
    """A record, and the arrays in it."""
    record, points, values = SHAPE.zeros(), POINT.zeros(3), np.arange(5.0)
    record["small"], record["n"], record["factor"], record["origin"] = 7, -3, 0.1, (11, 0.5)
    points["x"], points["y"] = [1, 2, 3], [0.25, 0.5, 0.75]
    set_array(SHAPE, record, "points", points)
    set_array(SHAPE, record, "values", values)
    return record, points, values


@kernel
def read(address, out):
    record = shape_at(address)
    out[0], out[1], out[2] = record.small, record.n, record.factor
    out[3], out[4] = record.origin.x, record.origin.y
    out[5], out[6], out[7] = record.points.size, record.points[2].x, record.points[1].y
    out[8], out[9] = record.values.size, record.values[4]


@kernel
def write(address):
    record = shape_at(address)
    record.n += 5
    record.factor = np.float64(0.1)
    record.origin.y = record.n
    record.points[1].x = 9
    record.values[0] = 2.5


def test_kernels_read_what_python_sets(shape):
    record, _, _ = shape
    out = np.zeros(10)
    read(record.ctypes.data, out)
    np.testing.assert_array_equal(out, [7, -3, np.float32(0.1), 11, 0.5, 3, 3, 0.5, 5, 4])


def test_python_reads_what_kernels_set(shape):
    record, points, values = shape
    write(record.ctypes.data)
    assert (record["n"], record["factor"], record["origin"]["y"]) == (2, np.float32(0.1), 2)
    assert points["x"].tolist() == [1, 9, 3]
    assert values[0] == 2.5
    assert (record["small"], record["origin"]["x"]) == (7, 11)  # what was not set


def test_names_of_types_are_short(shape):
    assert str(SHAPE.type) == "record(test_shape)"


@pytest.mark.parametrize(
    "array", [np.zeros(3, np.float32), np.zeros((4, 2))[:, 0], np.zeros(3, np.int64)], ids=["float32", "apart", "int64"]
)
def test_an_array_that_a_field_cannot_hold_is_refused(array):
    with pytest.raises(TypeError, match="values must be a contiguous array of float64, got "):
        set_array(SHAPE, SHAPE.zeros(), "values", array)


def test_a_field_that_a_record_lacks_is_an_error(shape):
    def read_other(address):
        return shape_at(address).other

    compiled = read_other if config.DISABLE_JIT else numba.njit(read_other)
    with pytest.raises((KeyError, numba.errors.TypingError), match="other"):
        compiled(shape[0].ctypes.data)
    with pytest.raises(ValueError, match="other"):
        shape[0]["other"] = 1
