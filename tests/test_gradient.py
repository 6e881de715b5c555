"""The loss and the gradient of a whole data set, beside the reference's in float64 and its central differences."""

import numpy as np
import pytest
from helpers import FORMS, set_form

import fastmlp
from fastmlp import reference
from fastmlp.data.targets import check_sample_weight, encode_labels, encode_targets
from fastmlp.engine.executor import Executor
from fastmlp.engine.gradient import LossAndGradient, StoreGradient
from fastmlp.engine.parameters import initial_parameters
from fastmlp.losses import LOSSES

N, N_FEATURES, N_OUTPUTS = 70, 21, 4
RNG = np.random.default_rng(0)
X = (RNG.integers(0, 256, (N, N_FEATURES)) * (RNG.random((N, N_FEATURES)) < 0.4)).astype(np.uint8)
LABELS, NUMBERS = RNG.integers(0, N_OUTPUTS, N), RNG.random((N, N_OUTPUTS)).astype(np.float32)
WEIGHTS = check_sample_weight(RNG.integers(0, 4, N), N)


def make(hidden=(33, 5), activation="tanh", loss="cross_entropy", batch_size=N, form="dense", weights=None, **options):
    """A LossAndGradient whose state, where the gradient will be, is full of NaN."""
    parameters = initial_parameters((N_FEATURES, *hidden, N_OUTPUTS), "glorot", np.random.default_rng(1))
    for bias in parameters.biases:
        bias[:] = np.random.default_rng(2).standard_normal(bias.size)
    executor = Executor(parameters, [activation] * len(hidden), loss, batch_size, True, StoreGradient(), **options)
    executor.network.state[:] = np.nan
    targets = encode_labels(LABELS, np.arange(N_OUTPUTS)) if LOSSES[loss].has_labels else encode_targets(NUMBERS)
    if weights is not None:
        targets = targets._replace(weights=weights)
    set_form(executor, form, X, "auto", targets)
    return LossAndGradient(executor, N, weights)


def reference_loss(function, flat, activation, loss, weights):
    """The mean loss in float64, in NumPy alone."""
    arrays = function.split(flat)
    half = len(arrays) // 2
    names = [activation] * (half - 1) + ["identity"]
    outputs = reference.forward(X / 255, arrays[:half], arrays[half:], names)[-1]
    target = LABELS if LOSSES[loss].has_labels else NUMBERS.astype(np.float64)
    return np.average(reference.compute_loss(outputs, target, loss)[0], weights=weights)


def reference_gradient(function, flat, activation, loss, weights):
    """What a step of the reference with the learning rate 1 takes off the parameters."""
    arrays = [array.copy() for array in function.split(flat)]
    half = len(arrays) // 2
    target = LABELS if LOSSES[loss].has_labels else NUMBERS.astype(np.float64)
    reference.train_step(
        X / 255, target, arrays[:half], arrays[half:], [[None, None]] * half, [activation] * (half - 1) + ["identity"],
        loss, reference.set_rate(reference.rule_of(fastmlp.SGD())[0], 1.0, 1), sample_weights=weights,
    )  # fmt: skip
    return flat - np.concatenate([array.ravel() for array in arrays])


def check(function, activation, loss, weights=None):
    at = function.parameters()
    value, gradient = function(at)
    weights = None if weights is None else weights.astype(np.float64)
    assert value == pytest.approx(reference_loss(function, at, activation, loss, weights), rel=1e-5)
    want = reference_gradient(function, at, activation, loss, weights)
    np.testing.assert_allclose(gradient, want, rtol=1e-4, atol=1e-6)
    return at, gradient


@pytest.mark.parametrize("batch_size", [N, 32, 1])
@pytest.mark.parametrize("form", FORMS)
def test_every_input_path_gives_the_gradient_of_the_reference(form, batch_size):
    check(make(form=form, batch_size=batch_size), "tanh", "cross_entropy")


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["equal", "weighted"])
@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_every_loss_gives_the_gradient_of_the_reference(loss, weights):
    batch_size = N if loss == "notebook" else 32
    check(make(loss=loss, batch_size=batch_size, weights=weights), "tanh", loss, weights)


@pytest.mark.parametrize("hidden", [(), (70,), (9, 65, 3)])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_every_depth_gives_the_gradient_of_the_reference(hidden, activation):
    check(make(hidden, activation, threads=2), activation, "cross_entropy")


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy", "mse", "poisson"])
def test_gradients_are_central_differences_of_the_loss(loss):
    function = make(loss=loss, batch_size=32, weights=WEIGHTS)
    at, gradient = check(function, "tanh", loss, WEIGHTS)
    chosen = np.random.default_rng(0).choice(function.size, 60, replace=False)
    step = 1e-5
    for i in (0, function.size - 1, *chosen):
        values = []
        for sign in (step, -step):
            moved = at.copy()
            moved[i] += sign
            values.append(reference_loss(function, moved, "tanh", loss, WEIGHTS.astype(np.float64)))
        assert gradient[i] == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4, abs=1e-6)


def test_the_gradient_is_that_of_the_parameters_given_and_bitwise_the_same_again():
    function = make()
    start = function.parameters()
    first, gradient = function(start)
    other, _ = function(start - 0.5 * gradient)
    assert other < first
    np.testing.assert_array_equal(function.parameters(), (start - 0.5 * gradient).astype(np.float32))
    again, same = function(start)
    assert again == first
    np.testing.assert_array_equal(same, gradient)


def test_the_number_of_threads_changes_no_bit():
    results = [make((200, 100), batch_size=64, threads=threads) for threads in (1, 2)]
    (one, gradient), (two, other) = (function(function.parameters()) for function in results)
    assert one == two
    np.testing.assert_array_equal(gradient, other)


def test_a_loss_that_is_not_finite_has_no_gradient():
    function = make(hidden=(), loss="mse")
    for value in (np.full(function.size, 1e30), np.full(function.size, 1e300), np.full(function.size, np.nan)):
        loss, gradient = function(value)
        assert not np.isfinite(loss)
        assert np.isnan(gradient).all()
    assert np.isfinite(function(np.zeros(function.size))[0])


def test_wrong_executors_are_refused():
    function = make()
    parameters = function.executor.parameters
    with pytest.raises(ValueError, match="executor must store the gradient, got SGD"):
        LossAndGradient(Executor(parameters, ["tanh"] * 2, "cross_entropy", 8, optimizer=fastmlp.SGD()), N)
    with pytest.raises(ValueError, match="'notebook' is that of a whole batch, and the batch size is 32 for 70"):
        make(loss="notebook", batch_size=32)
