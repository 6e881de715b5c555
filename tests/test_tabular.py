"""`fastmlp.tabular`, beside RealMLP-TD-S in plain NumPy."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from helpers import import_or_skip

import fastmlp
from fastmlp.data.order import split
from fastmlp.data.scaling import smooth_clip

RNG = np.random.default_rng(0)
N = 200
FRAME = pd.DataFrame(
    {
        "year": RNG.integers(1900, 2020, N) + 1e6,
        "price": np.exp(RNG.standard_normal(N)),
        "city": RNG.choice(["Rome", "Oslo", "Lima"], N, p=[0.7, 0.2, 0.1]),
        "old": RNG.random(N) < 0.3,
        "constant": 1.0,
    }
)
FRAME.loc[::9, "price"] = np.nan
LABELS = np.where(FRAME["old"] ^ (FRAME["city"] == "Rome"), "yes", "no")
VALUES = np.asarray(100 + 7 * FRAME["price"].fillna(2) * (FRAME["city"] == "Oslo") + 3 * FRAME["old"], float)
SMALL = {"hidden": (20, 9), "epochs": 6, "seed": 0, "threads": 1, "batch_size": 32}


def robust(column):
    """A feature of the network as the paper defines it."""
    least, low, median, high, largest = np.quantile(column, [0, 0.25, 0.5, 0.75, 1])
    factor = 1 / (high - low) if high > low else 2 / (largest - least) if largest > least else 0
    return smooth_clip((column - median) * factor)


def test_numbers_and_categories_are_scaled_as_in_the_paper():
    model = fastmlp.tabular(FRAME, LABELS, **SMALL, validation=(FRAME, LABELS))
    got = model.input_scale.apply(model.encoder.transform(FRAME))
    price = FRAME["price"].fillna(FRAME["price"].median())
    names = ["year", "price", "price is missing", "city=Lima", "city=Oslo", "city=Rome", "old=True", "constant"]
    assert model.encoder.feature_names == names
    columns = [FRAME["year"], price, FRAME["price"].isna(), *(FRAME["city"] == c for c in ("Lima", "Oslo", "Rome"))]
    columns += [np.where(FRAME["old"], 1, -1), FRAME["constant"]]
    for j, column in enumerate(columns):
        np.testing.assert_allclose(got[:, j], robust(np.asarray(column, float)), rtol=1e-5, atol=1e-6, err_msg=names[j])
    assert set(got[:, 3].round(6)) == {0, np.float32(smooth_clip(np.array(2.0))).round(6)}  # of a rare level


class RealMLP:
    """RealMLP-TD-S: ``x * s``, then layers ``h @ V / sqrt(n_in) + b``, trained by Adam, in NumPy and float64."""

    def __init__(self, model, is_classifier):
        self.v = [np.float64(w) * np.sqrt(len(w)) for w in model.weights]
        self.b = [np.float64(b) for b in model.biases]
        self.s = np.ones(len(self.v[0]))
        self.is_classifier, self.t = is_classifier, 0
        self.moments = [(np.zeros_like(p), np.zeros_like(p)) for p in self.parameters()]

    def parameters(self):
        return [*self.v, *self.b, self.s]

    def activation(self, z):
        """Value and slope: of SELU or Mish."""
        if self.is_classifier:
            scale, alpha = 1.0507009873554805, 1.6732632423543772
            return (scale * np.where(z > 0, z, alpha * np.expm1(z)), scale * np.where(z > 0, 1, alpha * np.exp(z)))
        tanh, sigmoid = np.tanh(np.logaddexp(0, z)), 1 / (1 + np.exp(-z))
        return z * tanh, tanh + z * (1 - tanh**2) * sigmoid

    def step(self, x, y, rate):
        roots = [np.sqrt(len(v)) for v in self.v]
        outputs, slopes = [x * self.s], []
        for v, b, root in zip(self.v, self.b, roots):
            z = outputs[-1] @ v / root + b
            value, slope = self.activation(z)
            outputs.append(value)
            slopes.append(slope)
        if self.is_classifier:
            exps = np.exp(z - z.max(axis=1, keepdims=True))
            smooth = 0.9 * np.eye(z.shape[1])[y] + 0.1 / z.shape[1]
            delta = (exps / exps.sum(axis=1, keepdims=True) - smooth) / len(x)
        else:
            delta = 2 * (z - y[:, None]) / len(x)
        dv, db = [], []
        for layer in reversed(range(len(self.v))):
            dv.insert(0, outputs[layer].T @ delta / roots[layer])
            db.insert(0, delta.sum(axis=0))
            delta = delta @ self.v[layer].T / roots[layer]
            if layer:
                delta *= slopes[layer - 1]
        self.adam([*dv, *db, (x * delta).sum(axis=0)], rate)

    def adam(self, gradients, rate):
        self.t += 1
        factors = [1] * len(self.v) + [0.1] * len(self.b) + [6]
        for parameter, gradient, (mean, square), factor in zip(self.parameters(), gradients, self.moments, factors):
            mean += 0.1 * (gradient - mean)
            square += 0.05 * (gradient**2 - square)
            root = np.sqrt(square / (1 - 0.95**self.t))
            parameter -= factor * rate * mean / (1 - 0.9**self.t) / (root + 1e-8)

    def weights(self):
        first, *rest = (v / np.sqrt(len(v)) for v in self.v)
        return [self.s[:, None] * first, *rest]


class Follow:
    """A callback that lets RealMLP train on the same batches, which are in order, and compares after every epoch."""

    def __init__(self, x, y, rate, epochs, is_classifier):
        self.x, self.y, self.rate, self.epochs, self.is_classifier = x, y, rate, epochs, is_classifier

    def on_train_begin(self, model):
        self.twin = RealMLP(model, self.is_classifier)
        assert [w.shape[1] for w in model.weights] == [256, 256, 256, 2 if self.is_classifier else 1]
        for parts in (model.weights, model.biases):
            assert not parts[-1].any()
            for part in parts[:-1]:
                spread = part.std() * (1 if part.ndim == 1 else np.sqrt(len(part)))
                assert spread == pytest.approx(1, rel=0.2)

    def on_epoch_end(self, model):
        epoch = len(model.history["epoch"]) - 1
        starts = range(0, len(self.x), 256)
        for i, start in enumerate(starts):
            t = (epoch + i / len(starts)) / self.epochs
            rate = self.rate * 0.5 * (1 - np.cos(2 * np.pi * np.log2(1 + 15 * t)))
            self.twin.step(self.x[start : start + 256], self.y[start : start + 256], rate)
        for got, want in zip(model.weights + model.biases, self.twin.weights() + self.twin.b):
            # Adam's steps are of the size of the rate even where a gradient is hardly more than rounding
            assert np.abs(got - want).mean() < 2e-4
            np.testing.assert_allclose(got, want, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("is_classifier", [True, False])
def test_steps_are_those_of_the_paper(is_classifier):
    rng = np.random.default_rng(5)
    x = rng.standard_normal((400, 6))
    y = (x[:, 0] > x[:, 1]).astype(int) if is_classifier else 50 + 9 * x[:, 0] * x[:, 1]
    part, held_out = split(400, 0.2, np.random.default_rng(0))
    inputs = np.stack([smooth_clip((c - np.median(c[part])) / np.subtract(*np.quantile(c[part], [0.75, 0.25])))
                       for c in x.T], axis=1)  # fmt: skip
    targets = y[part] if is_classifier else (y[part] - y[part].mean()) / y[part].std()
    follow = Follow(inputs[part], targets, 0.04 if is_classifier else 0.07, 4, is_classifier)
    model = fastmlp.tabular(x, y, seed=0, threads=1, epochs=4, shuffle=False, callbacks=follow)
    assert follow.twin.t == 8
    best = model.history["validation_accuracy" if is_classifier else "validation_loss"]
    assert model.evaluate(x[held_out], y[held_out])[is_classifier] == pytest.approx(
        max(best) if is_classifier else min(best), rel=1e-4
    )


def test_the_recipe_is_the_papers():
    model = fastmlp.tabular(FRAME, LABELS, seed=0, threads=1, batch_size=256)
    assert (len(model.history["epoch"]), model.widths) == (256, (8, 256, 256, 256, 2))
    assert model.activations == ("selu",) * 3
    rates = np.array(model.history["learning_rate"])
    np.testing.assert_allclose(rates, fastmlp.CosineLog(0.04).rate(np.arange(256.0), 256), rtol=1e-6)
    assert model.evaluate(FRAME, LABELS).accuracy > 0.95
    assert model.encoder.names == list(FRAME)


def test_a_regression_has_the_units_of_its_targets():
    _, held_out = split(N, 0.2, np.random.default_rng(0))
    model = fastmlp.tabular(FRAME, VALUES, **{**SMALL, "epochs": 60}, metrics=["mae", "r2"])
    assert model.activations == ("mish",) * 2
    assert model.history["validation_r2"][-1] > 0.8
    loss = model.evaluate(FRAME.iloc[held_out], VALUES[held_out]).loss
    assert loss == pytest.approx(min(model.history["validation_loss"]), rel=1e-4)
    best = int(np.argmin(model.history["validation_loss"]))
    mae = np.abs(model.predict(FRAME.iloc[held_out])[:, 0] - VALUES[held_out]).mean()
    assert mae == pytest.approx(model.history["validation_mae"][best], rel=1e-4)
    assert np.isfinite(model.partial_fit(FRAME, VALUES, learning_rate=1e-6).loss)


def test_the_best_epoch_is_chosen_by_accuracy_and_the_last_of_ties():
    models = []
    model = fastmlp.tabular(FRAME, LABELS, **SMALL, callbacks=[lambda m: models.append(m.weights[0].copy())])
    accuracies = model.history["validation_accuracy"]
    best = max(i for i, accuracy in enumerate(accuracies) if accuracy == max(accuracies))
    np.testing.assert_array_equal(model.weights[0], models[best])


def test_files_and_onnx_hold_all_of_it(tmp_path):
    model = fastmlp.tabular(FRAME, LABELS, **SMALL)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(fastmlp.load(tmp_path / "model").predict_proba(FRAME), model.predict_proba(FRAME))
    runtime = import_or_skip("onnxruntime")
    model.to_onnx(tmp_path / "onnx")
    session = runtime.InferenceSession(str(tmp_path / "onnx"), providers=["CPUExecutionProvider"])
    given = {name: FRAME[name].to_numpy().astype(str if name == "city" else float)[:, None] for name in FRAME}
    outputs = [out for out in session.run(None, given) if getattr(out, "dtype", None) == np.float32]
    np.testing.assert_allclose(outputs[0], model.predict_proba(FRAME), rtol=1e-4, atol=1e-5)


def same(a, b):
    return all(np.array_equal(p, q) for p, q in zip(a.weights + a.biases, b.weights + b.biases))


@pytest.mark.parametrize("target", [LABELS, VALUES])
def test_a_resumed_run_ends_with_the_same_bits(target, tmp_path):
    class Crash:
        def on_epoch_end(self, model):
            if len(model.history["epoch"]) == 3:
                raise OSError("no space left")

    whole = fastmlp.tabular(FRAME, target, **SMALL)
    with pytest.raises(OSError, match="no space left"):
        fastmlp.tabular(FRAME, target, **SMALL, checkpoint=tmp_path, callbacks=[Crash()])
    resumed = fastmlp.tabular(FRAME, target, **SMALL, checkpoint=tmp_path)
    assert same(whole, resumed)
    assert whole.history["validation_loss"] == resumed.history["validation_loss"]


def test_arrays_frames_of_numbers_and_validation_sets_are_taken():
    numbers = FRAME[["year", "constant"]].assign(price=FRAME["price"].fillna(1))
    part, held_out = split(N, 0.2, np.random.default_rng(0))
    held = numbers.iloc[held_out], LABELS[held_out]
    models = [
        fastmlp.tabular(numbers, LABELS, **SMALL),
        fastmlp.tabular(numbers.to_numpy(), LABELS, **SMALL),
        fastmlp.tabular(numbers.iloc[part], LABELS[part], **SMALL, validation=held),
    ]
    assert same(models[0], models[1])
    assert same(models[0], models[2])
    assert models[0].feature_names == list(numbers)


def test_weights_of_samples_are_split_with_them():
    weights = np.where(LABELS == "yes", 1.0, 1e-6)
    model = fastmlp.tabular(FRAME, LABELS, **SMALL, sample_weight=weights)
    assert set(model.predict(FRAME)) == {"yes"}


def test_arguments_replace_those_of_the_recipe():
    model = fastmlp.tabular(
        FRAME, VALUES, **SMALL, activation="relu", learning_rate=fastmlp.LinearDecay(0.01), loss="huber", delta=50.0,
        input_scale="standardize", max_levels=3,
    )  # fmt: skip
    assert model.activations == ("relu", "relu")
    assert (model.loss, model.delta) == ("huber", pytest.approx(50))
    assert model.history["learning_rate"][0] == np.float32(0.01)
    assert fastmlp.tabular(FRAME, LABELS, **SMALL, learning_rate=0.5).history["learning_rate"][2] > 0.4


def test_the_input_is_multiplied_by_a_number_once():
    model = fastmlp.tabular(FRAME[["year", "old"]], LABELS, **SMALL, input_scale=0.5)
    assert model.input_scale == 1
    assert set(model.encoder.transform(FRAME[["year", "old"]])[:, 1]) == {-1, 1}
    assert model.encoder.columns[0].factor == 0.5


def test_numpys_numbers_are_numbers():
    model = fastmlp.tabular(FRAME, LABELS, **SMALL, learning_rate=np.float32(0.5), validation=np.float32(0.2))
    np.testing.assert_allclose(model.history["learning_rate"], fastmlp.CosineLog(0.5).rate(np.arange(6.0), 6))


def test_only_the_samples_that_are_given_take_part():
    rows, weights = np.arange(50, 150), np.linspace(1, 2, N)
    damaged = LABELS.copy()
    damaged[:50] = damaged[150:] = "no"
    whole = fastmlp.tabular(FRAME, damaged, **SMALL, samples=rows, sample_weight=weights)
    want = fastmlp.tabular(FRAME[50:150], LABELS[rows], **SMALL, sample_weight=weights[rows])
    assert same(whole, want)
    held = {**SMALL, "validation": (FRAME[:50], LABELS[:50])}
    whole = fastmlp.tabular(FRAME, damaged, **held, samples=rows, sample_weight=weights)
    assert same(whole, fastmlp.tabular(FRAME[50:150], LABELS[rows], **held, sample_weight=weights[rows]))


@pytest.mark.parametrize("is_model", [True, False])
def test_initial_weights_that_are_given_are_those_of_targets_as_they_are(is_model):
    first = fastmlp.tabular(FRAME, VALUES, **SMALL)
    init = first if is_model else list(zip(first.weights, first.biases))
    model = fastmlp.tabular(FRAME, VALUES, **SMALL, init=init, learning_rate=fastmlp.LinearDecay(1e-9))
    np.testing.assert_allclose(model.predict(FRAME), first.predict(FRAME), rtol=1e-5)


def test_the_model_of_a_divergence_has_the_frames_columns_and_the_targets_units():
    with pytest.raises(fastmlp.DivergenceError) as caught:
        fastmlp.tabular(FRAME, VALUES, **SMALL, learning_rate=1e30)
    predicted = caught.value.model.predict(FRAME)
    part, _ = split(N, 0.2, np.random.default_rng(0))
    assert np.isfinite(predicted).all()
    np.testing.assert_allclose(predicted, VALUES[part].mean(), rtol=1e-6)  # the last layer's weights are 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fastmlp.tabular(scipy.sparse.eye(9, format="csr"), range(9)), ValueError, "got a sparse matrix"),
        (lambda: fastmlp.tabular(FRAME, LABELS, validation=1.0), ValueError, "validation, as a fraction, must be in"),
        (lambda: fastmlp.tabular(FRAME, LABELS[:-1]), ValueError, "equally many samples, got 200 and 199"),
        (lambda: fastmlp.tabular(FRAME, LABELS, validation=None), TypeError, "validation must be"),
        (lambda: fastmlp.tabular(FRAME, LABELS, validation=FRAME), TypeError, r"got a DataFrame of shape \(200, \d\)$"),
        (lambda: fastmlp.tabular(FRAME, LABELS, validation=(FRAME,)), TypeError, "got a tuple of 1$"),
        (lambda: fastmlp.tabular(FRAME, LABELS, loss="hinge"), ValueError, "loss must be one of"),
        (lambda: fastmlp.tabular(FRAME, LABELS, learning_rate=0), ValueError, "learning_rate must be"),
        (lambda: fastmlp.tabular(FRAME, LABELS, max_levels=2), ValueError, "max_levels=2"),
        (lambda: fastmlp.tabular(FRAME, LABELS, layers=3), TypeError, "layers"),
        (lambda: fastmlp.tabular(FRAME, LABELS, seed="a"), TypeError, "seed must be an integer >= 0, got 'a'"),
        (lambda: fastmlp.tabular(FRAME, VALUES, init="none"), ValueError, "init must be one of"),
        (lambda: fastmlp.tabular(FRAME, VALUES, loss="huber", delta="a"), TypeError, "delta must be a finite number"),
        (lambda: fastmlp.tabular(FRAME, LABELS, sample_weight=np.ones(N + 1)), ValueError, f"each of {N} samples"),
        (lambda: fastmlp.tabular(FRAME, LABELS, sample_weight=1.0), ValueError, "sample_weight must have one number"),
        (lambda: fastmlp.tabular(FRAME, LABELS, samples=[N]), ValueError, f"samples must be >= 0 and < {N}"),
        (lambda: fastmlp.tabular(FRAME, LABELS, checkpoint="folder"), ValueError, "seed must be given"),
        (lambda: fastmlp.tabular(FRAME, LABELS[1:], validation=(FRAME, LABELS)), ValueError, "200 and 199"),
    ],
)
def test_what_is_wrong_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_members_are_networks_with_seeds_of_their_own():
    ensemble = fastmlp.tabular(FRAME, VALUES, n_members=3, progress=False, **{**SMALL, "threads": 2})
    assert len(ensemble) == 3
    first = fastmlp.tabular(FRAME, VALUES, **SMALL)
    np.testing.assert_array_equal(ensemble.models[0].predict(FRAME), first.predict(FRAME))
    outputs = [model.predict(FRAME) for model in ensemble.models]
    assert not np.array_equal(outputs[0], outputs[1])
    np.testing.assert_allclose(ensemble.predict(FRAME), np.mean(outputs, axis=0), rtol=1e-5)
    assert ensemble.feature_names == list(FRAME.columns)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_members": 0}, "n_members must be an integer >= 1, got 0"),
        ({"n_members": 2, "checkpoint": "folder"}, "checkpoint must be None with n_members=2, got 'folder'"),
    ],
)
def test_members_that_can_not_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        fastmlp.tabular(FRAME, VALUES, **SMALL, **arguments)
