import numpy as np
import pytest

from fastmlp import reference
from fastmlp.data.order import epoch_order, split

SAMPLES = np.arange(5, 42)


def rng():
    return np.random.default_rng(3)


@pytest.mark.parametrize("shuffle", [True, False, "replacement"])
def test_orders_are_the_references(shuffle):
    ours, theirs = rng(), rng()
    for _ in range(3):
        got = epoch_order(SAMPLES, shuffle, ours)
        np.testing.assert_array_equal(got, reference.epoch_order(SAMPLES, shuffle, theirs))
        assert (got.shape, got.dtype) == (SAMPLES.shape, np.int64)


def test_a_permutation_has_every_sample_once_and_another_order_every_epoch():
    generator = rng()
    first, second = (epoch_order(SAMPLES, True, generator) for _ in range(2))
    np.testing.assert_array_equal(np.sort(first), SAMPLES)
    np.testing.assert_array_equal(np.sort(second), SAMPLES)
    assert not np.array_equal(first, second)


def test_the_order_given_is_kept():
    np.testing.assert_array_equal(epoch_order(SAMPLES, False, rng()), SAMPLES)


def test_draws_with_replacement_repeat_samples():
    order = epoch_order(SAMPLES, "replacement", rng())
    assert set(order) < set(SAMPLES)


@pytest.mark.parametrize(("n", "fraction", "held_out"), [(10, 0.2, 2), (7, 0.5, 4), (100, 0.01, 1), (3, 0.34, 1)])
def test_a_split_takes_every_sample_once(n, fraction, held_out):
    train, validation = split(n, fraction, rng())
    assert len(validation) == held_out
    np.testing.assert_array_equal(np.sort(np.concatenate([train, validation])), np.arange(n))
    assert (np.diff(train) > 0).all()
    assert (np.diff(validation) > 0).all()
