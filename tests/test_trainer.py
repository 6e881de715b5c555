"""Everything that `fastmlp.train` offers beside the plain network, beside the reference."""

from dataclasses import dataclass

import numpy as np
import pytest
import scipy.sparse

import fastmlp
from fastmlp import reference
from fastmlp.data.scaling import InputScale
from fastmlp.engine.executor import Executor

RNG = np.random.default_rng(0)
X = RNG.standard_normal((203, 37)).astype(np.float32)
SPARSE = X * (RNG.random(X.shape) < 0.2)
LABELS = (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 1)
VALUES = np.abs(X[:, :3])
SEVERAL = (X[:, :5] > 0).astype(int)
WEIGHTS = RNG.random(203).astype(np.float32)
SHIFTED = InputScale(np.ones(37), np.full(37, 0.5))

CASES = {
    "gelu": {"activation": "gelu"},
    "gelu_tanh": {"activation": "gelu_tanh"},
    "silu": {"activation": ["silu", "relu"]},
    "dropout": {"dropout": 0.5},
    "dropout by layer": {"dropout": [0.3, 0.0], "activation": ["tanh", "gelu"]},
    "dropout of sigmoids": {"dropout": [0.1, 0.2], "activation": "sigmoid", "optimizer": fastmlp.Adam(eps=1e-3)},
    "input dropout": {"input_dropout": 0.3},
    "input dropout, sparse": {"input_dropout": 0.2, "x": SPARSE},
    "l1": {"l1": 1e-3},
    "l2": {"l2": 1e-2},
    "l2 beside weight decay": {"l2": 1e-2, "optimizer": fastmlp.AdamW(eps=1e-3)},
    "clipping": {"clip_norm": 0.5},
    "clipping with momentum, sparse": {"clip_norm": 0.1, "optimizer": fastmlp.SGD(0.9, weight_decay=0.1), "x": SPARSE},
    "max norm": {"max_norm": 0.7},
    "all": {
        "l1": 1e-3, "l2": 1e-3, "clip_norm": 0.3, "max_norm": 0.8, "optimizer": fastmlp.RMSprop(eps=1e-2),
        "dropout": 0.2, "input_dropout": 0.1, "label_smoothing": 0.1, "sample_weight": WEIGHTS, "x": SPARSE,
        "input_scale": "standardize",
    },
    "label smoothing": {"label_smoothing": 0.1},
    "sample weights": {"sample_weight": WEIGHTS},
    "sample weights, held out": {"sample_weight": WEIGHTS, "validation": 0.2},
    "sample weights, drawn": {"sample_weight": WEIGHTS, "shuffle": "replacement"},
    "sample weights of the notebook": {"sample_weight": WEIGHTS, "loss": "notebook"},
    "balanced": {"class_weight": "balanced"},
    "class weights": {"class_weight": {0: 2.0, 2: 0.5}, "sample_weight": WEIGHTS},
    "classes": {"classes": [2, 0, 1, 7]},
    "mse": {"y": VALUES, "loss": "mse"},
    "mae": {"y": VALUES, "loss": "mae"},
    "huber": {"y": VALUES, "loss": "huber", "delta": 0.3},
    "poisson": {"y": VALUES, "loss": "poisson"},
    "one output": {"y": VALUES[:, 0], "loss": "huber"},
    "several labels": {"y": SEVERAL},
    "several labels, weighted": {"y": SEVERAL, "sample_weight": WEIGHTS, "validation": 0.2},
    "one label of several": {"y": SEVERAL[:, 0], "loss": "binary_cross_entropy"},
    "standardized": {"input_scale": "standardize", "validation": 0.2},
    "robust": {"input_scale": "robust", "validation": 0.2},
    "standardized, sparse values": {"input_scale": "standardize", "x": SPARSE},
    "scaled features": {"input_scale": np.linspace(0.5, 2, 37)},
    "scaled features, sparse": {"input_scale": np.linspace(0.5, 2, 37), "x": SPARSE},
}  # fmt: skip


def both(batch_size, arguments):
    arguments = {
        "hidden": (16, 9),
        "epochs": 3,
        "batch_size": batch_size,
        "seed": 3,
        "learning_rate": 0.02,
        **arguments,
    }
    x, y = arguments.pop("x", X), arguments.pop("y", LABELS)
    if batch_size == 1:
        x, y, arguments["epochs"] = x[:30], y[:30], 1
        if "sample_weight" in arguments:
            arguments["sample_weight"] = WEIGHTS[:30]
    return x, y, fastmlp.train(x, y, **arguments), reference.train(x, y, **arguments)


@pytest.mark.parametrize("batch_size", [64, 1])  # twelve steps with a short one in each epoch, and thirty
@pytest.mark.parametrize("case", CASES)
def test_training_is_the_references(case, batch_size):
    if batch_size == 1 and "notebook" in case:
        pytest.skip("a softmax over one sample")
    x, y, ours, theirs = both(batch_size, CASES[case])
    for got, want in zip(ours.weights + ours.biases, theirs.weights + theirs.biases):
        np.testing.assert_allclose(got, want, rtol=0, atol=3e-6)
    for name in theirs.history.keys() - {"seconds"}:
        np.testing.assert_allclose(ours.history[name], theirs.history[name], rtol=1e-5, atol=3e-6, err_msg=name)
    np.testing.assert_allclose(ours.predict(x[:9]), theirs.predict(x[:9]), rtol=1e-5, atol=1e-5)
    if "notebook" not in case:  # whose softmax is over the samples
        np.testing.assert_array_equal(ours.predict(x[:1]), ours.predict(x[:9])[:1])
    np.testing.assert_allclose(ours.evaluate(x, y), theirs.evaluate(x, y), rtol=1e-5)
    if ours.has_accuracy:
        np.testing.assert_allclose(ours.predict_proba(x[:9]), theirs.predict_proba(x[:9]), rtol=1e-4, atol=1e-6)


def loss_of(weights, biases, x, target, arguments, regularization, activations, loss):
    outputs, _, _ = reference.forward_for_training(x, weights, biases, activations, regularization, 1)
    if loss == "cross_entropy":
        losses, _, _ = reference.cross_entropy(outputs[-1], target, arguments.get("label_smoothing", 0.0))
    else:
        losses, _, _ = reference.elementwise(outputs[-1], target, loss, arguments.get("delta", 1.0))
    value = np.average(losses, weights=arguments.get("sample_weight"))
    squares, sizes = sum((w * w).sum() for w in weights), sum(np.abs(w).sum() for w in weights)
    return value + regularization.l2 / 2 * squares + regularization.l1 * sizes


class Calls:
    """`Executor.train`, which notes how many epochs it is asked for."""

    def __init__(self, monkeypatch):
        self.epochs, self.train = [], Executor.train
        monkeypatch.setattr(Executor, "train", lambda *arguments: self(*arguments))

    def __call__(self, executor, order, rates, n_epochs=1):
        self.epochs.append(n_epochs)
        return self.train(executor, order, rates, n_epochs)


def same_training(one, other):
    """Whether two models have been trained to the same bits, with the same history but for the seconds."""
    a, b = ({**model.history, "seconds": None} for model in (one, other))
    state, other_state = one._training_state, other._training_state
    return (
        one._parameters.buffer.tobytes() == other._parameters.buffer.tobytes()
        and repr(a) == repr(b)
        and state.optimizer_state.tobytes() == other_state.optimizer_state.tobytes()
        and state.rng.bit_generator.state == other_state.rng.bit_generator.state
        and (state.n_updates, state.epochs_done) == (other_state.n_updates, other_state.epochs_done)
        and (state.learning_rate, state.entropy) == (other_state.learning_rate, other_state.entropy)
    )


def look_on(model):
    """A callback that keeps epochs from being trained several at once."""


@pytest.mark.parametrize("case", CASES)
def test_short_epochs_are_trained_at_once_and_to_the_same_bits(case, monkeypatch):
    arguments = {"hidden": (16, 9), "epochs": 7, "batch_size": 64, "seed": 3, **CASES[case]}
    x, y = arguments.pop("x", X), arguments.pop("y", LABELS)
    arguments.setdefault("learning_rate", fastmlp.Warmup(fastmlp.Cosine(0.02), 2))
    calls = Calls(monkeypatch)
    model = fastmlp.train(x, y, **arguments)
    assert calls.epochs == ([1] * 7 if "validation" in arguments else [7])
    assert same_training(model, fastmlp.train(x, y, callbacks=look_on, **arguments))
    assert calls.epochs[-7:] == [1] * 7


@pytest.mark.parametrize(
    ("failing", "epochs"), [(0, [20, 1]), (11, [20, 11, 9, 1]), (16, [20, 16, 4, 1]), (19, [20, 19, 1])]
)
def test_an_epoch_of_several_that_diverges_is_found(failing, epochs, monkeypatch):
    @dataclass
    class Jump:
        def rate(self, epoch, epochs):
            return np.where(epoch < failing + 0.5, 0.01, 1e30)

    calls, errors = Calls(monkeypatch), []
    for callbacks in ([], [look_on]):
        with pytest.raises(fastmlp.DivergenceError, match=f"in epoch {failing + 1},") as caught:
            fastmlp.train(X, LABELS, hidden=(16,), epochs=20, seed=0, learning_rate=Jump(), optimizer=fastmlp.SGD(0.9),
                          batch_size=32, callbacks=callbacks)  # fmt: skip
        errors.append(caught.value)
        if not callbacks:
            assert calls.epochs == epochs
    assert errors[0].args == errors[1].args
    assert same_training(errors[0].model, errors[1].model)
    assert len(errors[0].model.history["epoch"]) == failing


@pytest.mark.parametrize("seed", range(80, 90))
def test_a_failed_attempt_leaves_nothing_between_the_weights(seed):
    """At rates near the largest float32 the padding of packed weights becomes NaN too."""

    @dataclass
    class Jump:
        def rate(self, epoch, epochs):
            return np.where(epoch < 1.5, 0.01, 1e38)

    x, errors = np.random.default_rng(0).standard_normal((1, 40)), []
    for callbacks in ([], [look_on]):
        with pytest.raises(fastmlp.DivergenceError) as caught:
            fastmlp.train(x, np.ones((1, 1), np.float32), epochs=5, seed=seed, hidden=(33,), activation="gelu",
                          loss="huber", optimizer="adam", learning_rate=Jump(), callbacks=callbacks)  # fmt: skip
        errors.append(caught.value)
    assert errors[0].args == errors[1].args
    assert same_training(errors[0].model, errors[1].model)


def test_partial_fit_after_a_failed_one_leaves_nothing_between_the_weights():
    def train(*rates):
        model = fastmlp.train(x, y, epochs=2, seed=88, hidden=(33,), activation="gelu", loss="huber", optimizer="adam")
        for rate in rates:
            try:
                model.partial_fit(x, y, learning_rate=rate)
            except fastmlp.DivergenceError:
                assert rate > 1
        return model

    x, y = np.random.default_rng(0).standard_normal((1, 40)), np.ones((1, 1), np.float32)
    assert train(1e38, 0.01)._parameters.buffer.tobytes() == train(0.01)._parameters.buffer.tobytes()


def test_lines_of_progress_show_each_epoch_of_several(capsys):
    model = fastmlp.train(X, LABELS, hidden=(8,), epochs=6, seed=0, progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == [f"{epoch}/6" for epoch in range(1, 7)]
    assert [line.split("loss ")[1][:6] for line in lines] == [f"{loss:.4f}" for loss in model.history["train_loss"]]
    assert len(set(model.history["train_loss"])) == 6


@pytest.mark.parametrize(
    ("rate", "error", "match", "epochs"),
    [(0.01, ValueError, r"got .* in epoch 5$", [4]), (1e30, fastmlp.DivergenceError, "in epoch 1,", [4, 1])],
)
def test_a_wrong_rate_of_a_later_epoch_is_an_error_in_its_turn(rate, error, match, epochs, monkeypatch):
    @dataclass
    class Wrong:
        def rate(self, epoch, epochs):
            return np.where(epoch < 4, rate, -1.0)

    calls = Calls(monkeypatch)
    with pytest.raises(error, match=match):
        fastmlp.train(X, LABELS, hidden=(16,), epochs=20, seed=0, learning_rate=Wrong())
    assert calls.epochs == epochs


def test_ctrl_c_takes_back_the_epochs_that_were_trained_at_once(monkeypatch):
    monkeypatch.setattr("fastmlp.engine.executor.SAMPLES_AT_ONCE", 4 * len(X))
    calls, arguments = Calls(monkeypatch), {"hidden": (16,), "seed": 0, "optimizer": "adam"}
    whole = calls.train

    def interrupted(executor, order, rates, n_epochs):
        records = whole(executor, order, rates, n_epochs)
        if len(calls.epochs) == 3:
            raise KeyboardInterrupt
        return records

    calls.train = interrupted
    model = fastmlp.train(X, LABELS, epochs=20, **arguments)
    assert calls.epochs == [4, 4, 4]
    assert model.interrupted
    calls.train = whole
    assert same_training(model, fastmlp.train(X, LABELS, epochs=8, **arguments))


def test_epochs_are_trained_one_by_one_where_something_happens_between(monkeypatch, tmp_path):
    calls, steps = Calls(monkeypatch), []

    def rate(step):
        steps.append(len(calls.epochs))
        return 0.01

    for arguments in (
        {"checkpoint": tmp_path / "run"},
        {"metrics": ["top_2"]},
        {"validation": (X, LABELS)},
        {"learning_rate": rate},
        {"learning_rate": fastmlp.ReduceOnPlateau(0.1, metric="train_loss")},
        {"x": scipy.sparse.csr_matrix(SPARSE), "input_scale": SHIFTED},  # made dense a part at a time
    ):
        calls.epochs.clear()
        fastmlp.train(arguments.pop("x", X), LABELS, hidden=(4,), epochs=3, batch_size=203, **arguments)
        assert set(calls.epochs) == {1}
        assert len(calls.epochs) >= 3
    assert steps == [0, 1, 2]


@pytest.mark.parametrize("case", CASES)
def test_steps_of_the_reference_go_down_the_gradient_of_the_loss(case):
    arguments = CASES[case]
    loss = arguments.get("loss") or ("binary_cross_entropy" if arguments.get("y") is SEVERAL else "cross_entropy")
    if loss == "notebook" or {"clip_norm", "max_norm"} & arguments.keys():
        pytest.skip("no gradient by intent, see test_losses and test_penalties")
    rng, n = np.random.default_rng(0), 12
    x = arguments.get("x", X)[:n].astype(np.float64)
    y = np.asarray(arguments.get("y", LABELS))[:n]
    target = y if loss == "cross_entropy" else y.reshape(n, -1).astype(float)
    n_out = 4 if loss == "cross_entropy" else target.shape[1]
    weights = [rng.standard_normal(shape) * 0.3 for shape in ((37, 6), (6, 5), (5, n_out))]
    biases = [rng.standard_normal(w.shape[1]) * 0.1 for w in weights]
    names = arguments.get("activation", "tanh")
    activations = [*([names] * 2 if isinstance(names, str) else names), "identity"]
    rates = arguments.get("dropout", 0.0)
    regularization = reference.Regularization(
        tuple(rates) if isinstance(rates, list) else (rates,) * 2, arguments.get("input_dropout", 0.0),
        arguments.get("l1", 0.0), arguments.get("l2", 0.0), seed=99,
    )  # fmt: skip
    arguments = {**arguments, "sample_weight": WEIGHTS[:n] if "sample_weight" in arguments else None}
    before = [p.copy() for p in weights + biases]
    reference.train_step(
        x, target, weights, biases, [(None, None)] * 3, activations, loss, reference.Rule("plain", 1e-3, 0, 0),
        sample_weights=arguments["sample_weight"], regularization=regularization, update=1,
        smoothing=arguments.get("label_smoothing", 0.0), delta=arguments.get("delta", 1.0),
    )  # fmt: skip
    for parameter, after in zip(before, weights + biases):
        gradient = (parameter - after) / 1e-3
        for i in map(tuple, np.argwhere(np.ones(parameter.shape))[:: max(1, parameter.size // 7)]):
            kept, values = parameter[i], []
            for step in (1e-5, -1e-5):
                parameter[i] = kept + step
                values.append(loss_of(before[:3], before[3:], x, target, arguments, regularization, activations, loss))
            parameter[i] = kept
            assert gradient[i] == pytest.approx((values[0] - values[1]) / 2e-5, abs=1e-6)


def same(a, b):
    return all(np.array_equal(p, q) for p, q in zip(a.weights + a.biases, b.weights + b.biases))


def test_weights_that_are_whole_numbers_are_as_good_as_repetitions():
    counts = np.arange(40) % 3 + 1
    arguments = {"hidden": (5,), "epochs": 3, "batch_size": 1000, "seed": 0, "shuffle": False}
    weighted = fastmlp.train(X[:40], LABELS[:40], sample_weight=counts, **arguments)
    repeated = fastmlp.train(np.repeat(X[:40], counts, axis=0), np.repeat(LABELS[:40], counts), **arguments)
    for a, b in zip(weighted.weights, repeated.weights):
        np.testing.assert_allclose(a, b, atol=1e-6)
    np.testing.assert_allclose(weighted.history["train_loss"], repeated.history["train_loss"], rtol=1e-5)


def test_samples_of_no_weight_take_no_part():
    weights, y = (np.arange(60) < 40).astype(float), LABELS[:60].copy()
    arguments = {"hidden": (5,), "epochs": 2, "batch_size": 20, "seed": 0, "shuffle": False, "sample_weight": weights}
    first = fastmlp.train(X[:60], y, **arguments)
    y[40:] = 2 - y[40:]
    assert same(first, fastmlp.train(X[:60], y, **arguments))


def test_standardizing_is_undone_by_nothing_and_survives_a_file(tmp_path):
    x = X * np.linspace(1, 1000, 37, dtype=np.float32) + 10_000
    x[:, 5] = 7  # constant
    model = fastmlp.train(x, LABELS, input_scale="standardize", hidden=(16,), epochs=5, seed=0, learning_rate=0.05)
    z = (x - x.mean(axis=0, dtype=float)) / np.where(x.std(axis=0, dtype=float) > 1e-3, x.std(axis=0, dtype=float), 1)
    by_hand = fastmlp.train(z, LABELS, hidden=(16,), epochs=5, seed=0, learning_rate=0.05)
    np.testing.assert_allclose(model.predict_proba(x), by_hand.predict_proba(z), atol=2e-3)
    model.save(tmp_path / "model.safetensors")
    loaded = fastmlp.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.predict_proba(x), model.predict_proba(x))
    np.testing.assert_array_equal(loaded.predict(x[:1]), model.predict(x[:1]))


def test_standardizing_sparse_matrices_keeps_zeros():
    from scipy.sparse import csr_matrix

    matrix = csr_matrix(SPARSE)
    model = fastmlp.train(matrix, LABELS, input_scale="standardize", epochs=2, seed=0)
    assert not model.input_scale.offset.any()
    np.testing.assert_allclose(model.input_scale.factor, 1 / SPARSE.std(axis=0, dtype=float), rtol=1e-5)
    np.testing.assert_allclose(model.predict_proba(SPARSE), model.predict_proba(matrix), rtol=1e-5, atol=1e-7)


def test_huber_remembers_its_delta_in_a_file(tmp_path):
    model = fastmlp.train(X, VALUES, loss="huber", delta=0.2, epochs=1, seed=0)
    model.save(tmp_path / "model.safetensors")
    loss = model.evaluate(X, VALUES).loss
    assert fastmlp.load(tmp_path / "model.safetensors").evaluate(X, VALUES).loss == loss
    model.delta = 1.0
    assert model.evaluate(X, VALUES).loss > loss


def test_predictions_of_several_labels_and_of_counts():
    model = fastmlp.train(X, SEVERAL, epochs=20, seed=0, learning_rate=0.5)
    assert (model.loss, model.classes) == ("binary_cross_entropy", None)
    predicted = model.predict(X)
    assert predicted.shape == SEVERAL.shape
    np.testing.assert_array_equal(predicted, model.predict_proba(X) > 0.5)
    assert model.evaluate(X, SEVERAL).accuracy == pytest.approx((predicted == SEVERAL).mean())
    assert model.history["train_accuracy"][-1] > 0.9
    counts = fastmlp.train(X, np.exp(X[:, 0]), loss="poisson", hidden=(), epochs=100, seed=0, learning_rate=0.05)
    np.testing.assert_allclose(counts.weights[0][0], 1, atol=0.1)  # the logarithm of the mean is the feature
    assert (counts.predict(X) > 0).all()


def accuracy_of_mine(y, predicted):
    return (y == predicted).mean()


def test_metrics_are_recorded_for_both_sets():
    metrics = ["top_2", "top_99", accuracy_of_mine]
    model = fastmlp.train(X, LABELS, epochs=3, seed=0, metrics=metrics, validation=(X[:50], LABELS[:50]))
    history = model.history
    assert history["validation_accuracy_of_mine"] == history["validation_accuracy"]
    assert history["train_accuracy_of_mine"][-1] == pytest.approx(model.evaluate(X, LABELS).accuracy)
    order = np.argsort(-model.predict_proba(X), axis=1)[:, :2]
    assert history["train_top_2"][-1] == pytest.approx((order == LABELS[:, None]).any(axis=1).mean())
    assert history["train_top_99"] == [1.0] * 3
    assert {len(values) for values in history.values()} == {3}


def test_metrics_of_regressions_are_scikit_learns():
    from sklearn.metrics import mean_absolute_error, r2_score

    model = fastmlp.train(X, VALUES, epochs=3, seed=0, metrics=("mae", "r2"), validation=0.3)
    assert np.isfinite(model.history["validation_r2"]).all()
    model = fastmlp.train(X, VALUES, epochs=3, seed=0, metrics=("mae", "r2"))
    assert model.history["train_mae"][-1] == pytest.approx(mean_absolute_error(VALUES, model.predict(X)), rel=1e-5)
    assert model.history["train_r2"][-1] == pytest.approx(r2_score(VALUES, model.predict(X)), rel=1e-5)
    assert np.isnan(model.history["validation_mae"]).all()


def test_early_stopping_takes_metrics_that_rise():
    stop = fastmlp.callbacks.EarlyStopping("validation_top_2", patience=1)
    model = fastmlp.train(
        X, LABELS, epochs=50, seed=0, metrics="top_2", validation=(X[:20], LABELS[:20]), callbacks=stop
    )
    assert stop.higher_is_better
    assert model.history["validation_top_2"][stop.best_epoch - 1] == max(model.history["validation_top_2"])


BAD = [
    ({"dropout": 1.0}, ValueError, "dropout must be a number >= 0 and < 1, got 1.0"),
    ({"dropout": [0.1]}, ValueError, r"dropout must be one number, or one per hidden layer \(2\)"),
    ({"dropout": "a"}, TypeError, "dropout must be.*'a'"),
    ({"input_dropout": -0.1}, ValueError, "input_dropout"),
    ({"l1": -1}, ValueError, "l1 must be a finite number >= 0"),
    ({"l2": float("nan")}, ValueError, "l2 must"),
    ({"clip_norm": 0}, ValueError, "clip_norm must be a finite number > 0"),
    ({"max_norm": True}, TypeError, "max_norm"),
    ({"label_smoothing": 1}, ValueError, "label_smoothing"),
    ({"label_smoothing": 0.1, "loss": "softmax_mse"}, ValueError, "label_smoothing needs loss='cross_entropy'"),
    ({"delta": 0}, ValueError, "delta"),
    ({"sample_weight": WEIGHTS[:5]}, ValueError, "sample_weight must have one number for each of 203 samples"),
    ({"sample_weight": -WEIGHTS}, ValueError, "sample_weight must hold finite numbers >= 0"),
    ({"sample_weight": 0 * WEIGHTS}, ValueError, "sample_weight must not be 0 for every sample"),
    ({"sample_weight": np.where(WEIGHTS > 0.5, np.nan, 1)}, ValueError, "sample_weight must hold finite"),
    ({"sample_weight": ["a"] * 203}, TypeError, "sample_weight must hold numbers"),
    ({"class_weight": "fair"}, ValueError, "class_weight must be one of 'balanced'"),
    ({"class_weight": 3}, TypeError, "class_weight must be"),
    ({"class_weight": {9: 1.0}}, ValueError, "class_weight holds 9, which is not among the classes"),
    ({"class_weight": {0: -1.0}}, ValueError, "class_weight of 0 must be"),
    ({"class_weight": "balanced", "y": VALUES}, ValueError, "class_weight needs labels"),
    ({"classes": [0, 1]}, ValueError, r"y holds labels that.*\[2\]"),
    ({"classes": [0]}, ValueError, "classes must hold at least two"),
    ({"classes": [0, 1], "y": VALUES}, ValueError, "classes needs labels"),
    ({"metrics": "top_0"}, ValueError, "metrics must be names"),
    ({"metrics": "r2"}, ValueError, "metrics: 'r2' needs a regression"),
    ({"metrics": "top_3", "y": VALUES}, ValueError, "metrics: 'top_3' needs class labels"),
    ({"metrics": [3]}, TypeError, "metrics must be names"),
    ({"loss": "poisson", "y": -VALUES}, ValueError, "y must hold numbers >= 0"),
    ({"loss": "binary_cross_entropy", "y": VALUES}, ValueError, "y must hold 0 and 1"),
    ({"input_scale": np.ones(3)}, ValueError, "input_scale must be a number, or one for each of 37 features"),
    ({"input_scale": np.full(37, np.nan)}, ValueError, "input_scale must be finite"),
    ({"input_scale": ["a"] * 37}, TypeError, "input_scale must hold numbers"),
    ({"input_scale": "scaled"}, ValueError, "input_scale must be one of 'auto', 'standardize', 'robust'"),
    ({"checkpoint": 3}, TypeError, "checkpoint must be the path of a folder"),
    ({"shuffle_buffer": 0}, ValueError, "shuffle_buffer"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "error", "match"), BAD)
def test_bad_arguments_are_refused_by_name_before_training(arguments, error, match):
    started = []

    class Watch:
        def on_train_begin(self, model):
            started.append(1)

    arguments = dict(arguments)
    with pytest.raises(error, match=match):
        fastmlp.train(X, arguments.pop("y", LABELS), hidden=(5, 4), callbacks=[Watch()], **arguments)
    assert not started
