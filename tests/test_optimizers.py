import pytest

import fastmlp


@pytest.mark.parametrize("name", ["momentum", "weight_decay"])
@pytest.mark.parametrize(
    ("value", "error"),
    [(-0.1, ValueError), (float("nan"), ValueError), (float("inf"), ValueError),
     ("a", TypeError), (None, TypeError), (True, TypeError), ([0.5], TypeError)],
)  # fmt: skip
def test_numbers_are_checked(name, value, error):
    with pytest.raises(error, match=f"SGD: {name} must be a finite number at least 0, got"):
        fastmlp.SGD(**{name: value})


@pytest.mark.parametrize("momentum", [1, 1.5])
def test_momentum_is_less_than_one(momentum):
    with pytest.raises(ValueError, match=f"momentum must be less than 1, got {momentum}"):
        fastmlp.SGD(momentum=momentum)


def test_nesterov_is_a_bool_and_needs_momentum():
    with pytest.raises(ValueError, match="nesterov=True needs a momentum greater than 0"):
        fastmlp.SGD(nesterov=True)
    with pytest.raises(TypeError, match="nesterov must be"):
        fastmlp.SGD(momentum=0.5, nesterov="no")


def test_settings_do_not_change():
    optimizer = fastmlp.SGD(0.9, True, 0.1)
    assert (optimizer.momentum, optimizer.nesterov, optimizer.weight_decay) == (0.9, True, 0.1)
    with pytest.raises(AttributeError):
        optimizer.momentum = 0.5
