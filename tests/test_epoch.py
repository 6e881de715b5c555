import numpy as np
import pytest
from helpers import FORMS, set_form
from numba.core import config

import fastmlp
from fastmlp import reference
from fastmlp.data.targets import encode_labels, encode_targets
from fastmlp.engine.executor import Executor
from fastmlp.engine.parameters import initial_parameters
from fastmlp.kernels import jit
from fastmlp.kernels.step import epoch, regions
from fastmlp.kernels.step.network import Work, partition

LABELLED = ["cross_entropy", "softmax_mse", "notebook"]
NETWORKS = [((), "relu"), ((7,), "sigmoid"), ((33, 1), "tanh"), ((65, 20, 100), "relu")]
OPTIMIZERS = [
    fastmlp.SGD(),
    fastmlp.SGD(0.9, weight_decay=0.01),
    fastmlp.SGD(0.5, nesterov=True),
    # eps well above the gradients' rounding errors, which these would blow up
    fastmlp.Adam(eps=1e-3, weight_decay=0.1),
    fastmlp.AdamW(eps=1e-3),
    fastmlp.RMSprop(0.5, eps=0.1, momentum=0.5),
    fastmlp.Adagrad(eps=1e-3, lr_decay=0.1),
]
if config.DISABLE_JIT:
    NETWORKS, OPTIMIZERS = NETWORKS[:2], OPTIMIZERS[:2]


def problem(loss, n=50, n_features=19, dtype=np.uint8):
    rng = np.random.default_rng(0)
    x = (rng.integers(0, 256, (n, n_features)) * (rng.random((n, n_features)) < 0.3)).astype(dtype)
    if loss == "mse":
        y = rng.standard_normal((n, 3)).astype(np.float32)
        return x, y, encode_targets(y)
    y = rng.integers(0, 4, n)
    return x, y, encode_labels(y, np.arange(4))


def make_run(loss, hidden, activation, optimizer, batch_size, n_out, threads=1):
    parameters = initial_parameters((19, *hidden, n_out), "he", np.random.default_rng(1))
    run = Executor(parameters, [activation] * len(hidden), loss, batch_size, True, optimizer, threads)
    memory, layout = run.network.workspace, run.network.layout
    memory[:] = np.nan  # whatever is not overwritten shows
    memory[layout.zeros : layout.zeros + 64] = 0
    return run, parameters


@pytest.mark.parametrize("loss", [*LABELLED, "mse"])
@pytest.mark.parametrize(("hidden", "activation"), NETWORKS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("form", FORMS)
def test_every_step_is_the_references(loss, hidden, activation, optimizer, form):
    x, y, targets = problem(loss)
    run, parameters = make_run(loss, hidden, activation, optimizer, 16, 3 if loss == "mse" else 4)
    set_form(run, form, x, "auto", targets)
    weights = [w.astype(np.float64) for w in parameters.weights]
    biases = [b.astype(np.float64) for b in parameters.biases]
    rule, n_state_arrays, rate_decay, _ = reference.rule_of(optimizer)
    states = [[reference.initial_state(a, n_state_arrays) for a in pair] for pair in zip(weights, biases)]
    order = np.random.default_rng(2).permutation(len(x))  # three whole batches and a short one
    for step, batch in enumerate(np.split(order, range(16, 50, 16))):
        records = run.train(batch, np.full(1, 0.05, np.float32))
        losses, predicted = reference.train_step(
            reference.gather(x, batch, 1 / 255, np.float64), y[batch], weights, biases, states,
            [activation] * len(hidden) + ["identity"], loss, reference.set_rate(rule, 0.05, step + 1, rate_decay),
        )  # fmt: skip
        assert records[0, 0] == pytest.approx(losses.sum(), rel=1e-4, abs=1e-5)
        if loss in ("cross_entropy", "softmax_mse"):
            assert records[0, 1] == (predicted == y[batch]).sum()
        for got, want in zip(parameters.weights + parameters.biases, weights + biases):
            np.testing.assert_allclose(got, want, rtol=1e-3, atol=2e-5)


@pytest.mark.skipif(config.DISABLE_JIT, reason="slow without compiled code")
@pytest.mark.parametrize("loss", [*LABELLED, "mse"])
@pytest.mark.parametrize(("hidden", "activation"), [*NETWORKS, ((130, 40), "relu")])
@pytest.mark.parametrize("form", FORMS)
def test_any_number_of_threads_gives_the_same_bits(loss, hidden, activation, form, monkeypatch):
    monkeypatch.setattr("fastmlp.engine.threads.MIN_FLOP", 0)
    x, _, targets = problem(loss)
    results = []
    for threads in (1, 2, 3):
        run, parameters = make_run(loss, hidden, activation, fastmlp.Adam(), 17, 3 if loss == "mse" else 4, threads)
        set_form(run, form, x, "auto", targets)
        records = run.train(np.arange(50), np.full(3, 0.1, np.float32))
        results.append([records, *(p.copy() for p in parameters.weights + parameters.biases)])
    for other in results[1:]:
        for a, b in zip(results[0], other):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("batch_size", [1, 16, 50])
@pytest.mark.parametrize("form", FORMS)
def test_epochs_at_once_give_the_same_bits_as_one_by_one(optimizer, batch_size, form):
    x, _, targets = problem("cross_entropy")
    rng, n_steps = np.random.default_rng(2), -(-50 // batch_size)
    orders, rates = [rng.integers(0, 50, 50) for _ in range(3)], rng.random(3 * n_steps).astype(np.float32) / 10
    results = []
    for n_epochs in (1, 3):
        run, parameters = make_run("cross_entropy", (33,), "relu", optimizer, batch_size, 4)
        set_form(run, form, x, "auto", targets)
        parameters.biases[0][:5] = -1e6  # units without a gradient, whose state shrinks
        run.pack()
        run.moments[:] = 2e-38
        records = []
        for k in range(0, 3, n_epochs):
            order, some = np.concatenate(orders[k : k + n_epochs]), rates[k * n_steps : (k + n_epochs) * n_steps]
            records.append(run.train(order, some, n_epochs))
            run.flush_subnormals()
        results.append([np.concatenate(records), parameters.buffer, run.moments])
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=1e-4 if config.DISABLE_JIT else 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("batch_size", [1, 16])
@pytest.mark.parametrize("optimizer", [fastmlp.SGD(), fastmlp.SGD(0.9, weight_decay=0.01), fastmlp.Adam()])
def test_all_ways_give_the_same_bits(dtype, batch_size, optimizer):
    x, _, targets = problem("cross_entropy", dtype=dtype)
    results = []
    for form in FORMS:
        run, parameters = make_run("cross_entropy", (33,), "relu", optimizer, batch_size, 4)
        set_form(run, form, x, 1 / 255, targets)
        run.train(np.arange(50), np.full(-(-50 // batch_size), 0.1, np.float32))
        results.append([p.copy() for p in parameters.weights + parameters.biases])
    for other in results[1:]:
        for a, b in zip(results[0], other):
            np.testing.assert_allclose(a, b, rtol=1e-4 if config.DISABLE_JIT else 0)  # no fused multiply-add in NumPy


@pytest.mark.skipif(config.DISABLE_JIT, reason="nothing is compiled")
def test_a_second_network_compiles_nothing():
    def train(hidden, n_features, loss, dtype, activation):
        rng = np.random.default_rng(0)
        x = rng.integers(0, 9, (40, n_features)).astype(dtype)
        y = rng.random(40) if loss == "mse" else rng.integers(0, 3, 40)
        model = fastmlp.train(x, y, hidden=hidden, activation=activation, loss=loss, epochs=1, batch_size=8, threads=1)
        model.evaluate(x, y)
        model.predict(x)

    def compiled():
        return (
            len(epoch.train_steps.signatures),
            epoch.train_steps.stats,
            [vars(region).get("callback") for region in vars(regions).values() if isinstance(region, jit.region)],
        )

    train((8,), 5, "cross_entropy", np.uint8, "relu")
    before = compiled()
    train((100, 3, 1), 70, "cross_entropy", np.float32, "tanh")
    train((), 1, "softmax_mse", np.float64, "relu")
    train((7, 7), 64, "mse", np.uint8, "sigmoid")
    assert compiled() == before


@pytest.mark.parametrize("units", [0, 1, 2, 5, 64])
@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_shares_cover_all_units_once(units, threads):
    parts = [partition(units, Work(thread, thread + 1, threads, thread)) for thread in range(threads)]
    assert [unit for first, last in parts for unit in range(first, last)] == list(range(units))


@pytest.mark.parametrize(("hidden", "activation"), NETWORKS)
def test_gradients_of_the_reference_are_those_of_its_loss(hidden, activation):
    """The change of the parameters in one step of rate 1 is the loss's gradient, by central differences in float64."""
    x, y, _ = problem("cross_entropy", n=6)
    x = x / 255.0
    weights = [
        w.astype(np.float64) for w in initial_parameters((19, *hidden, 4), "he", np.random.default_rng(1)).weights
    ]
    biases = [np.full(w.shape[1], 0.1) for w in weights]
    activations = [activation] * len(hidden) + ["identity"]

    def loss():
        return reference.cross_entropy(reference.forward(x, weights, biases, activations)[-1], y)[0].mean()

    new = [w.copy() for w in weights], [b.copy() for b in biases]
    reference.train_step(
        x, y, *new, [(None, None)] * len(weights), activations, "cross_entropy", reference.Rule("plain", 1.0, 0, 0)
    )
    rng = np.random.default_rng(0)
    for parameter, changed in zip(weights + biases, new[0] + new[1]):
        for _ in range(5):
            i = tuple(rng.integers(0, parameter.shape))
            before = parameter[i]
            parameter[i] = before + 1e-6
            up = loss()
            parameter[i] = before - 1e-6
            down = loss()
            parameter[i] = before
            assert before - changed[i] == pytest.approx((up - down) / 2e-6, abs=1e-7)
