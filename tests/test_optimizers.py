import numpy as np
import pytest

import fastmlp
from fastmlp import reference
from fastmlp.kernels.ops import optimizers as kernels
from fastmlp.optimizers import OPTIMIZERS, Adam


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


ADAPTIVE = [kind for name, kind in OPTIMIZERS.items() if name != "sgd"]


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


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_names_stand_for_the_defaults_with_their_rates(name):
    x, y = np.random.default_rng(0).random((60, 5)), np.arange(60) % 3
    optimizer, rate = OPTIMIZERS[name], OPTIMIZERS[name].learning_rate
    assert getattr(fastmlp, optimizer.__name__) is optimizer
    models = [
        fastmlp.train(x, y, hidden=(7,), optimizer=name, seed=0),
        fastmlp.train(x, y, hidden=(7,), optimizer=optimizer(), seed=0, learning_rate=rate),
    ]
    for a, b in zip(models[0].weights, models[1].weights):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_and_defaults_are_pytorchs(name):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((30, 4)).astype(np.float32), rng.standard_normal((30, 2)).astype(np.float32)
    init = [(rng.standard_normal((4, 2)).astype(np.float32), np.zeros(2, np.float32))]
    kind, n_steps = OPTIMIZERS[name], 12
    rate = kind.learning_rate
    model = fastmlp.train(
        x, y, hidden=(), optimizer=kind(weight_decay=0.0), epochs=n_steps, batch_size=30, shuffle=False, init=init,
    )  # fmt: skip
    weight = torch.tensor(init[0][0], requires_grad=True)
    bias = torch.zeros(2, requires_grad=True)
    theirs = getattr(torch.optim, kind.__name__)([weight, bias], lr=rate, weight_decay=0.0)
    for _ in range(n_steps):
        theirs.zero_grad()
        torch.nn.functional.mse_loss(torch.tensor(x) @ weight + bias, torch.tensor(y)).backward()
        theirs.step()
    np.testing.assert_allclose(model.weights[0], weight.detach().numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.biases[0], bias.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_the_reference_agrees_with_the_table():
    assert set(OPTIMIZERS) == set(reference.OPTIMIZERS)
    for name, kind in OPTIMIZERS.items():
        by_name, by_class = reference.rule_of(name), reference.rule_of(kind())
        assert by_name == by_class
        assert by_name[3] == kind.learning_rate


class Unheard(Adam):
    """An optimizer that the kernels do not know."""

    rule = max(kind().rule for kind in OPTIMIZERS.values()) + 1


@pytest.mark.parametrize("options", [{}, {"clip_norm": 1.0}])
def test_an_optimizer_that_kernels_do_not_know_does_not_train(options):
    x, y = np.random.default_rng(0).random((60, 5)), np.arange(60) % 3
    with pytest.raises(fastmlp.DivergenceError):
        fastmlp.train(x, y, hidden=(7,), optimizer=Unheard(), batch_size=60, epochs=1, **options)


def test_codes_are_different():
    rules = [fastmlp.SGD(0.9), fastmlp.SGD(0.9, nesterov=True), *(kind() for kind in OPTIMIZERS.values())]
    codes = [optimizer.rule for optimizer in rules]
    assert len({*codes, kernels.DEFER}) == len(codes) + 1
