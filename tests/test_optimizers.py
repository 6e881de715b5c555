import numpy as np
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


ADAPTIVE = [fastmlp.Adam, fastmlp.AdamW, fastmlp.RMSprop, fastmlp.Adagrad]


@pytest.mark.parametrize("optimizer", ADAPTIVE)
@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (1e-60, ValueError), (-1, ValueError), ("a", TypeError)])
def test_eps_is_checked(optimizer, value, error):
    with pytest.raises(error, match=f"{optimizer.__name__}: eps must"):
        optimizer(eps=value)


@pytest.mark.parametrize("optimizer", ADAPTIVE)
def test_weight_decay_is_checked(optimizer):
    with pytest.raises(ValueError, match=f"{optimizer.__name__}: weight_decay must be a finite number at least 0"):
        optimizer(weight_decay=-1)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fastmlp.Adam(betas=0.9), TypeError, "Adam: betas must be two numbers"),
        (lambda: fastmlp.Adam(betas=(0.9, 1)), ValueError, "Adam: betas: each must be a number of at least 0 and less"),
        (lambda: fastmlp.AdamW(betas=("a", 0)), TypeError, "AdamW: betas: each must be a number"),
        (lambda: fastmlp.RMSprop(alpha=1), ValueError, "RMSprop: alpha must be a number of at least 0 and less than 1"),
        (lambda: fastmlp.RMSprop(momentum=-1), ValueError, "RMSprop: momentum must be"),
        (lambda: fastmlp.Adagrad(lr_decay=-1), ValueError, "Adagrad: lr_decay must be a finite number at least 0"),
    ],
)
def test_settings_are_checked(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "rmsprop", "adagrad"])
def test_names_stand_for_the_defaults_with_their_rates(name):
    x, y = np.random.default_rng(0).random((60, 5)), np.arange(60) % 3
    optimizer = {"sgd": fastmlp.SGD, "adam": fastmlp.Adam, "adamw": fastmlp.AdamW}.get(name)
    optimizer = optimizer or {"rmsprop": fastmlp.RMSprop, "adagrad": fastmlp.Adagrad}[name]
    rate = {"sgd": 0.1, "adam": 0.001, "adamw": 0.001}.get(name, 0.01)
    models = [
        fastmlp.train(x, y, hidden=(7,), optimizer=name, seed=0),
        fastmlp.train(x, y, hidden=(7,), optimizer=optimizer(), seed=0, learning_rate=rate),
    ]
    for a, b in zip(models[0].weights, models[1].weights):
        np.testing.assert_array_equal(a, b)
