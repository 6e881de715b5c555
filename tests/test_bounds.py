"""Under NUMBA_BOUNDSCHECK=1, what a region reads or writes outside of its arrays is an error of the call."""

import sys

import numpy as np
import pytest
from numba.core import config
from test_network import data, make_run

import fastmlp
from fastmlp.engine.bounds import call_checked

pytestmark = pytest.mark.skipif(
    not config.BOUNDSCHECK or config.DISABLE_JIT, reason="ranges are checked under NUMBA_BOUNDSCHECK=1"
)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("array", ["workspace", "parameters", "data"])
def test_training_raises_what_regions_find(array, threads, monkeypatch):
    monkeypatch.setattr("fastmlp.engine.threads.MIN_FLOP", 0)
    run = make_run(*data(30), batch_size=30, threads=threads)
    hook, size = sys.unraisablehook, int(run.record[array]["size"])
    run.record[array]["size"] = 2  # as if it were that short
    with pytest.raises(IndexError, match="out of bounds"):
        run.train(np.arange(30), np.full(1, 0.1, np.float32))
    assert sys.unraisablehook is hook
    run.record[array]["size"] = size
    run.evaluate(30)


def test_predicting_a_single_row_raises_too():
    x, y = data(30)
    model = fastmlp.train(x, y, hidden=(5,), epochs=1, seed=0)
    want = model.predict(x[:1])
    record = model._predictors._singles[x.dtype].run.record
    size = int(record["workspace"]["size"])
    record["workspace"]["size"] = 2
    with pytest.raises(IndexError, match="out of bounds"):
        model.predict(x[:1])
    record["workspace"]["size"] = size
    np.testing.assert_array_equal(model.predict(x[:1]), want)


def test_errors_of_the_call_itself_come_through_and_the_hook_is_back():
    hook = sys.unraisablehook
    with pytest.raises(ZeroDivisionError):
        call_checked(lambda: 1 // 0)
    assert sys.unraisablehook is hook
    assert call_checked(max, 2, 3) == 3
