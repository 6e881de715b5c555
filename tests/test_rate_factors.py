"""Learning rates of each layer's weights and of biases, and the NTK parametrization."""

import numpy as np
import pytest
import scipy.sparse

import fastmlp
from fastmlp import reference

RNG = np.random.default_rng(0)
X = np.where(RNG.random((90, 11)) < 0.4, RNG.integers(1, 9, (90, 11)), 0).astype(np.float32) / 4
Y = (X[:, 0] > X[:, 1]).astype(int) + (X[:, 2] > 1)
OPTIMIZERS = {
    "plain": fastmlp.SGD(weight_decay=0.02),
    "nesterov": fastmlp.SGD(0.9, True, 0.02),
    "adam": fastmlp.Adam((0.9, 0.95), eps=1e-2, weight_decay=0.02),
    "adamw": fastmlp.AdamW(eps=1e-2, weight_decay=0.5),
    "rmsprop": fastmlp.RMSprop(eps=1e-2, momentum=0.5),
    "adagrad": fastmlp.Adagrad(eps=1e-2, lr_decay=0.1),
    "nadam": fastmlp.NAdam(eps=1e-2),
}
SETTINGS = {"hidden": (20, 9), "activation": "mish", "learning_rate": 0.03, "epochs": 2, "seed": 0, "init": "glorot"}


def check_against_reference(x, **arguments):
    arguments = {**SETTINGS, "batch_size": 16, **arguments}
    got = fastmlp.train(x, Y, **arguments)
    want = reference.train(X, Y, **arguments, dtype=np.float64)
    for a, b in zip(got.weights + got.biases, want.weights + want.biases):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-5)
    np.testing.assert_allclose(got.history["train_loss"], want.history["train_loss"], rtol=1e-4)
    return got


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("factors", ["ntk", (0.1, 2, 0.5)])
def test_training_is_the_references(optimizer, factors):
    arguments = {"optimizer": OPTIMIZERS[optimizer], "weight_rate_factors": factors, "bias_rate_factor": 0.1}
    plain = fastmlp.train(X, Y, **SETTINGS, batch_size=16, optimizer=OPTIMIZERS[optimizer])
    got = check_against_reference(X, **arguments)
    for a, b in zip(got.weights + got.biases, plain.weights + plain.biases):
        assert np.abs(a - b).max() > 1e-3


@pytest.mark.parametrize(
    "arguments",
    [
        {"batch_size": 1, "epochs": 1},
        {"batch_size": 1, "epochs": 1, "optimizer": fastmlp.SGD()},
        {"batch_size": 90, "sparse": True},
        {"batch_size": 3, "sparse": True},
        {"batch_size": 7, "sparse": False, "clip_norm": 0.5, "l2": 0.01},
        {"hidden": (), "weight_rate_factors": (0.5,)},
    ],
)
def test_it_is_so_on_every_path(arguments):
    factors = {"weight_rate_factors": (0.3, 1.5, 0.7), "bias_rate_factor": 0.2, "optimizer": OPTIMIZERS["adam"]}
    check_against_reference(X, **{**factors, **arguments})
    if arguments.get("sparse"):
        check_against_reference(scipy.sparse.csr_matrix(X), **{**factors, **arguments})


class NTK:
    """A network ``x @ V / sqrt(n_in) + b`` with tanh and squared error, and the gradients of V and b, in NumPy."""

    def __init__(self, weights, biases):
        self.v = [w * np.sqrt(len(w)) for w in np.array(weights, object)]
        self.v, self.b = [v.astype(float) for v in self.v], [b.astype(float) for b in biases]

    def gradients(self, x, y):
        layers, outputs = range(len(self.v)), [x]
        for layer in layers:
            z = outputs[-1] @ self.v[layer] / np.sqrt(len(self.v[layer])) + self.b[layer]
            outputs.append(z if layer == layers[-1] else np.tanh(z))
        delta, dv, db = 2 * (outputs[-1] - y) / y.size, [], []
        for layer in reversed(layers):
            dv.insert(0, outputs[layer].T @ delta / np.sqrt(len(self.v[layer])))
            db.insert(0, delta.sum(axis=0))
            delta = (delta @ self.v[layer].T / np.sqrt(len(self.v[layer]))) * (1 - outputs[layer] ** 2)
        return dv, db


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_ntk_is_training_of_weights_over_the_root_of_the_inputs(optimizer):
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((40, 6)), rng.standard_normal((40, 2))
    init = [(rng.standard_normal((6, 8)), rng.standard_normal(8)), (rng.standard_normal((8, 2)), np.zeros(2))]
    network = NTK(*([np.float32(part) for part in parts] for parts in zip(*init)))
    rule, n_state_arrays, rate_decay, _ = reference.rule_of(OPTIMIZERS[optimizer])
    states = [reference.initial_state(part, n_state_arrays) for part in network.v + network.b]
    for step in range(10):
        dv, db = network.gradients(x, y)
        own = reference.set_rate(rule, 0.05, step + 1, rate_decay)
        for i, (parameter, gradient, state) in enumerate(zip(network.v + network.b, dv + db, states)):
            is_bias = i >= len(network.v)
            rule_of_part = reference.set_rate(rule, 0.005, step + 1, rate_decay) if is_bias else own
            reference.optimizer_update(
                parameter, state, gradient, rule_of_part._replace(weight_decay=0.0) if is_bias else own
            )
    model = fastmlp.train(
        x, y, hidden=(8,), activation="tanh", init=init, optimizer=OPTIMIZERS[optimizer], learning_rate=0.05,
        batch_size=40, epochs=10, shuffle=False, weight_rate_factors="ntk", bias_rate_factor=0.1,
    )  # fmt: skip
    for got, v in zip(model.weights, network.v):
        np.testing.assert_allclose(got, v / np.sqrt(len(v)), rtol=1e-4, atol=1e-5)
    for got, b in zip(model.biases, network.b):
        np.testing.assert_allclose(got, b, rtol=1e-4, atol=1e-5)


def test_a_factor_of_zero_freezes():
    start = fastmlp.train(X, Y, **{**SETTINGS, "epochs": 1})
    model = fastmlp.train(X, Y, **{**SETTINGS, "init": start}, weight_rate_factors=(0, 1, 0), bias_rate_factor=0)
    assert [np.array_equal(a, b) for a, b in zip(model.weights, start.weights)] == [True, False, True]
    assert all(np.array_equal(a, b) for a, b in zip(model.biases, start.biases))


def test_partial_fit_and_checkpoints_keep_the_factors(tmp_path):
    arguments = {**SETTINGS, "optimizer": "adam", "weight_rate_factors": (0, 1, 1), "bias_rate_factor": 0.5}
    model = fastmlp.train(X, Y, **arguments)
    frozen = model.weights[0].copy()
    model.partial_fit(X, Y)
    np.testing.assert_array_equal(model.weights[0], frozen)
    fastmlp.train(X, Y, **{**arguments, "epochs": 1}, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="another bias_rate_factor"):
        fastmlp.train(X, Y, **{**arguments, "bias_rate_factor": 0.25}, checkpoint=tmp_path)
    resumed = fastmlp.train(X, Y, **arguments, checkpoint=tmp_path)
    again = fastmlp.train(X, Y, **arguments)
    for a, b in zip(resumed.weights + resumed.biases, again.weights + again.biases):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"weight_rate_factors": "mup"}, TypeError, "weight_rate_factors must be 'ntk' or one number per layer"),
        ({"weight_rate_factors": 0.5}, TypeError, "weight_rate_factors must be 'ntk' or one number per layer"),
        ({"weight_rate_factors": (1, 1)}, ValueError, r"one number per layer \(3, with the last one\), got \(1, 1\)"),
        ({"weight_rate_factors": (1, -1, 1)}, ValueError, "weight_rate_factors: each must be a finite number >= 0"),
        ({"bias_rate_factor": float("inf")}, ValueError, "bias_rate_factor must be a finite number >= 0"),
        ({"bias_rate_factor": None}, TypeError, "bias_rate_factor must be a finite number >= 0"),
    ],
)
def test_wrong_factors_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        fastmlp.train(X, Y, **SETTINGS, **arguments)
