"""Calls that are wrong, of everything public: what is called, the error, and what its message says.

Calls are functions of a world: a classifier `model`, a `regression`, `several` labels, and a `folder` with files.
"""

import numpy as np
import pytest
import scipy.sparse
from helpers import import_or_skip

import fastmlp
from fastmlp import callbacks, reference
from fastmlp.cli import main
from fastmlp.datasets import load_idx

RNG = np.random.default_rng(0)
X = RNG.standard_normal((24, 5)).astype(np.float32)
LABELS = np.arange(24) % 3
VALUES = X[:, :2].copy()
SEVERAL = (X[:, :3] > 0).astype(int)
NAN, HUGE = float("nan"), 10**400


class NoNumber:
    def __repr__(self):
        return "NoNumber()"


CALLS = []


def wrong(where, call, error, match, fails=None):
    """Add a wrong call, which is a function of the world; `fails` says why it is not refused as it should be."""
    marks = [] if fails is None else [pytest.mark.xfail(strict=True, reason=fails)]
    CALLS.append(pytest.param(call, error, match, id=f"{where}-{len(CALLS)}", marks=marks))


def wrong_train(error, match, x=X, y=LABELS, **arguments):
    wrong("train", lambda w: fastmlp.train(x, y, **{"hidden": (4,), "epochs": 1, **arguments}), error, match)


# ---------------------------------------------------------------------------------------------- train: settings

for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0), ("threads", 1), ("shuffle_buffer", 1)):
    for bad in (1.5, "3", True, NoNumber()):
        wrong_train(TypeError, f"{name} must be an integer", **{name: bad})
    for bad in (least - 1, np.int64(-5)):
        wrong_train(ValueError, f"{name} must be an integer", **{name: bad})
wrong_train(TypeError, "epochs must be an integer", epochs=None)
for bad in ("fast", None, True, [0.1]):
    if bad is not None:
        wrong_train(TypeError, "learning_rate must be", learning_rate=bad)
for bad in (0, -0.1, NAN, float("inf"), 1e39, HUGE):
    wrong_train(ValueError, "learning_rate must be a finite number > 0", learning_rate=bad)
wrong_train(TypeError, "learning_rate must be", learning_rate=fastmlp.LinearDecay)
wrong_train(ValueError, "learning_rate must give a finite rate", learning_rate=lambda step: -1.0)
wrong_train(ValueError, "learning_rate must give a finite rate", learning_rate=lambda step: NAN)
for name in ("l1", "l2"):
    wrong_train(ValueError, f"{name} must be a finite number >= 0", **{name: -1e-9})
    wrong_train(TypeError, f"{name} must be a finite number >= 0", **{name: "small"})
    wrong_train(ValueError, f"{name} must be a finite number >= 0", **{name: NAN})
wrong_train(ValueError, "average_every must be an integer >= 1", average_every=0)
wrong_train(TypeError, "average_every must be an integer >= 1", average_every=1.5)
wrong_train(TypeError, "communicator must be one of mpi4py's", communicator="world")
for name in ("clip_norm", "max_norm"):
    wrong_train(ValueError, f"{name} must be a finite number > 0", **{name: 0})
    wrong_train(TypeError, f"{name} must be a finite number > 0", **{name: [1.0]})
for name in ("dropout", "input_dropout", "label_smoothing"):
    for bad in (1, -0.1, NAN):
        wrong_train(ValueError, f"{name} must be a number >= 0 and < 1", **{name: bad})
    wrong_train(TypeError, f"{name} must be", **{name: "half"})
wrong_train(ValueError, r"dropout must be one number, or one per hidden layer \(1\)", dropout=[0.1, 0.2])
wrong_train(ValueError, "label_smoothing needs loss='cross_entropy'", label_smoothing=0.1, loss="softmax_mse")
wrong_train(ValueError, "delta must be a finite number > 0", delta=0, y=VALUES, loss="huber")
wrong_train(TypeError, "delta must be", delta=None, y=VALUES, loss="huber")
for name, choices in (("loss", "'mse'"), ("optimizer", "'adam'"), ("activation", "'relu'"), ("init", "'he'"),
                      ("shuffle", "'replacement'"), ("progress", "'auto'"), ("sparse", "'auto'")):  # fmt: skip
    wrong_train(ValueError, f"{name} must be one of .*{choices}.*got 'nonsense'", **{name: "nonsense"})
for name in ("shuffle", "progress", "sparse"):
    wrong_train(ValueError, f"{name} must be one of .*got 2", **{name: 2})
wrong_train(ValueError, "loss must be one of .*got 3", loss=3)
wrong_train(TypeError, "optimizer must be a name", optimizer=fastmlp.Adam)
wrong_train(TypeError, "optimizer must be a name", optimizer=0.1)
wrong_train(TypeError, "activation must be one name", activation=3)
wrong_train(ValueError, "activation must be one of .*got 3", activation=[3])
wrong_train(ValueError, r"activation must be one name, or one per hidden layer \(1\)", activation=["relu", "tanh"])
for bad, error in ((0, ValueError), ([4, 0], ValueError), ([-1], ValueError), ([2.0], TypeError), ("12", TypeError),
                   (None, TypeError), (True, TypeError), ([[3]], TypeError)):  # fmt: skip
    wrong_train(error, "hidden", hidden=bad)
for bad, error in ((0, ValueError), (NAN, ValueError), (-1, ValueError), ([1, 2], ValueError), ([NAN] * 5, ValueError),
                   (["a"] * 5, TypeError), (None, TypeError), (np.ones((5, 1)), ValueError)):  # fmt: skip
    wrong_train(error, "input_scale must", input_scale=bad)
for bad in (0.0, 1.0, -0.5, NAN, 0.001):
    wrong_train(ValueError, "validation, as a fraction, must be in", validation=bad)
for bad in (3, "0.1", (X,), True, {"x": X}):
    wrong_train(TypeError, "validation must be", validation=bad)
wrong_train(ValueError, "validation x must have 5 features", validation=(X[:, :4], LABELS))
wrong_train(ValueError, "validation y must have as many samples", validation=(X, LABELS[:5]))
wrong_train(ValueError, "validation y holds labels", validation=(X, LABELS + 7))
wrong_train(ValueError, "init must have weights of shapes", init=[(np.ones((5, 4)), np.ones(4))])
wrong_train(
    ValueError, "init must have weights of shapes", init=[(np.ones((5, 4)), np.ones(3)), (np.ones((4, 3)), np.ones(3))]
)
wrong_train(
    ValueError,
    "init must hold finite numbers",
    init=[(np.full((5, 4), NAN), np.ones(4)), (np.ones((4, 3)), np.ones(3))],
)
wrong_train(
    TypeError, "init must hold numbers", init=[(np.full((5, 4), "a"), np.ones(4)), (np.ones((4, 3)), np.ones(3))]
)
wrong_train(TypeError, "init must be one of", init=3)
wrong_train(TypeError, "init must be one of", init=[1, 2])
wrong_train(TypeError, "callbacks must be functions or objects", callbacks=3)
wrong_train(TypeError, "callbacks must be functions or objects", callbacks=["stop"])
for bad, error in (
    ("top_0", ValueError),
    ("r2", ValueError),
    ("speed", ValueError),
    (3, TypeError),
    ([None], TypeError),
):
    wrong_train(error, "metrics", metrics=bad)
wrong_train(ValueError, "metrics: 'top_3' needs class labels", metrics="top_3", y=VALUES)
for bad in (np.ones(3), -np.ones(24), np.zeros(24), np.full(24, NAN), np.ones((24, 1)), 3.0):
    wrong_train(ValueError, "sample_weight must", sample_weight=bad)
wrong_train(TypeError, "sample_weight must", sample_weight=["a"] * 24)
for bad, error in (
    ("fair", ValueError),
    (3, TypeError),
    ({9: 1.0}, ValueError),
    ({0: -1.0}, ValueError),
    ({0: "a"}, TypeError),
):
    wrong_train(error, "class_weight", class_weight=bad)
wrong_train(ValueError, "class_weight needs labels", class_weight="balanced", y=VALUES)
wrong_train(ValueError, "classes must hold at least two", classes=[1])
wrong_train(ValueError, "classes needs labels", classes=[0, 1], y=VALUES)
wrong_train(ValueError, "y holds labels", classes=[0, 1])
wrong_train(TypeError, "classes must hold labels", classes=[0.5, 1.5, 2.5])
wrong_train(TypeError, "checkpoint must be the path of a folder", checkpoint=3)
wrong(
    "train",
    lambda w: fastmlp.train(X, LABELS, checkpoint=w.folder / "text"),
    ValueError,
    "checkpoint must be the path of a",
)
wrong("train", lambda w: fastmlp.train(X, LABELS, hiden=(3,)), TypeError, "hiden")
wrong("train", lambda w: fastmlp.train(X), TypeError, "'y'")
wrong("train", lambda w: fastmlp.train(X, LABELS, (3,)), TypeError, "positional")
wrong(
    "train",
    lambda w: fastmlp.train(X, LABELS, init=w.regression, hidden=(4,)),
    ValueError,
    "init must have weights of shapes",
)

# ---------------------------------------------------------------------------------------------- train: data

OUT_OF_RANGE = scipy.sparse.csr_matrix(np.eye(24, 5, dtype=np.float32))
OUT_OF_RANGE.indices[3] = 99
for bad, error, match in (
    (X[0], ValueError, "x must have two dimensions"),
    (X[None], ValueError, "x must have two dimensions"),
    (X[:0], ValueError, "x must have at least one sample"),
    (X[:, :0], ValueError, "x must have at least one sample and one feature"),
    (X.astype(complex), TypeError, "x must hold numbers"),
    (X.astype(str), TypeError, "x must hold numbers"),
    (np.where(X > 1, NAN, X), ValueError, "x must be finite"),
    (np.where(X > 1, np.inf, X), ValueError, "x must be finite"),
    (X.astype(np.float64) * 1e300, ValueError, "x must be finite"),
    ([[1, 2], [3]], ValueError, "x must be an array, or lists of equal lengths"),
    (None, TypeError, "x must hold numbers"),
    (3.0, ValueError, "x must have two dimensions"),
    ("no such folder", (ValueError, OSError), "no such folder"),
    (np.array([["2020-01-01"] * 5] * 24, "datetime64[D]"), TypeError, "x must hold numbers"),
    (OUT_OF_RANGE, ValueError, "x is not a valid CSR matrix"),
    (scipy.sparse.csr_matrix(np.full((24, 5), NAN)), ValueError, "x must be finite"),
):
    wrong_train(error, match, x=bad)
wrong_train(ValueError, "sparse=False needs an array", x=scipy.sparse.csr_matrix(X), sparse=False)
wrong("train", lambda w: fastmlp.train(w.folder / "empty folder", LABELS), (ValueError, OSError), "x")
for bad, error, match in (
    (LABELS[:3], ValueError, "y must have as many samples as x, 24"),
    (np.zeros(24, int), ValueError, "y must hold at least two classes"),
    (np.full(24, NAN), ValueError, "y must be finite"),
    (np.zeros((24, 2, 2)), ValueError, "y must have the shape"),
    (np.zeros((24, 0)), ValueError, "y must have"),
    (LABELS.astype(complex), TypeError, "y must hold"),
    (np.array([None] * 24), TypeError, "y must hold"),
    ([[1], [2, 3]], ValueError, "y must be an array, or lists of equal lengths"),
    (None, (TypeError, ValueError), "y must"),
):
    wrong_train(error, match, y=bad)
wrong_train(ValueError, "y must hold 0 and 1", y=VALUES, loss="binary_cross_entropy")
wrong_train(ValueError, "y must hold numbers >= 0", y=-np.abs(VALUES), loss="poisson")
wrong_train(TypeError, "y must hold labels", y=VALUES[:, 0], loss="cross_entropy")
wrong_train(TypeError, "y must hold numbers", y=np.array(["a", "b", "c"])[LABELS], loss="mse")
wrong_train(ValueError, "y must have one dimension", y=SEVERAL, loss="cross_entropy")

# ---------------------------------------------------------------------------------------------- the model's methods

for method in ("predict", "predict_proba"):
    for bad, error, match in (
        (X[:, :4], ValueError, "x must have 5 features"),
        (X[0], ValueError, r"x must have two dimensions.*pass x\[None, :\]"),
        (X[:0], ValueError, "x must have at least one sample"),
        (X[:1] * NAN, ValueError, "x must be finite"),
        (np.full((300, 5), np.inf, np.float32), ValueError, "x must be finite.*row 0"),
        ([["a"] * 5], TypeError, "x must hold numbers"),
        (None, TypeError, "x must hold numbers"),
    ):
        wrong(method, lambda w, m=method, x=bad: getattr(w.model, m)(x), error, match)
wrong("predict_proba", lambda w: w.regression.predict_proba(X), ValueError, "predict_proba needs a classifier")
wrong("predict", lambda w: w.model.predict(), TypeError, "'x'")
for method in ("evaluate", "partial_fit"):
    for x, y, error, match in (
        (X[:, :4], LABELS, ValueError, "x must have 5 features"),
        (X, LABELS[:3], ValueError, "y must have as many samples as x, 24"),
        (X, LABELS + 9, ValueError, "y holds labels that the model has not seen"),
        (X, VALUES[:, 0], TypeError, "y must hold labels"),
        (X, SEVERAL, ValueError, "y must have one dimension"),
        (X, np.array(["a"] * 24), ValueError, "y must hold labels like the model's classes"),
        (X * NAN, LABELS, ValueError, "x must be finite"),
    ):
        wrong(method, lambda w, m=method, x=x, y=y: getattr(w.model, m)(x, y), error, match)
    for bad, error in (
        (np.ones(3), ValueError),
        (-np.ones(24), ValueError),
        (["a"] * 24, TypeError),
        (0 * X[:, 0], ValueError),
    ):
        wrong(
            method,
            lambda w, m=method, s=bad: getattr(w.model, m)(X, LABELS, sample_weight=s),
            error,
            "sample_weight must",
        )
    wrong(method, lambda w, m=method: getattr(w.regression, m)(X, VALUES[:, :1]), ValueError, "y must have 2 outputs")
    wrong(method, lambda w, m=method: getattr(w.regression, m)(X, VALUES * NAN), ValueError, "y must be finite")
    wrong(method, lambda w, m=method: getattr(w.several, m)(X, SEVERAL * 2), ValueError, "y must hold 0 and 1")
for bad, error in ((0, ValueError), (-1, ValueError), (NAN, ValueError), ("fast", TypeError)):
    wrong(
        "partial_fit", lambda w, r=bad: w.model.partial_fit(X, LABELS, learning_rate=r), error, "learning_rate must be"
    )
for bad, error in ((0, ValueError), (2.0, TypeError), ("all", TypeError)):
    wrong("partial_fit", lambda w, b=bad: w.model.partial_fit(X, LABELS, batch_size=b), error, "batch_size must be")
wrong(
    "weights", lambda w: setattr(w.model, "weights", []), ValueError, "weights must have one array per layer, 2, got 0"
)
wrong(
    "weights", lambda w: w.model.weights.__setitem__(0, np.ones((3, 3))), ValueError, r"weights\[0\] must be an array"
)
wrong(
    "weights", lambda w: w.model.biases.__setitem__(1, [NAN] * 3), ValueError, r"biases\[1\] must be an array of finite"
)
wrong(
    "weights", lambda w: w.model.biases.__setitem__(1, ["a"] * 3), TypeError, r"biases\[1\] must be an array of finite"
)
wrong("weights", lambda w: w.model.weights.append(np.ones((3, 3))), TypeError, "weights has one array per layer")
wrong("weights", lambda w: w.model.weights[0].__setitem__(slice(None), np.ones((3, 3))), ValueError, "broadcast")

for bad in (0, "standardize", [1.0], NAN):
    wrong("input_scale", lambda w, s=bad: setattr(w.model, "input_scale", s), ValueError, "input_scale must be")

# ---------------------------------------------------------------------------------------------- files

wrong("save", lambda w: w.model.save(w.folder / "none" / "model"), OSError, "none")
wrong("save", lambda w: w.model.save(w.folder / "folder"), (OSError, ValueError), "folder")
wrong("save", lambda w: w.model.save(3.5), TypeError, "(?i)path")
wrong("save", lambda w: w.model.save(None), TypeError, "(?i)path")
for name, match in (("text", "text"), ("empty", "empty"), ("cut", "cut"), ("x.npy", "x.npy")):
    wrong("load", lambda w, n=name: fastmlp.load(w.folder / n), ValueError, match)
wrong("load", lambda w: fastmlp.load(w.folder / "missing"), FileNotFoundError, "missing")
wrong("load", lambda w: fastmlp.load(w.folder / "folder"), (OSError, ValueError), "folder")
wrong("load", lambda w: fastmlp.load(None), TypeError, "(?i)path")
wrong("load", lambda w: fastmlp.load(3.5), TypeError, "(?i)path")
wrong("load_mnist", lambda w: fastmlp.load_mnist("train"), TypeError, "positional")
wrong("load_idx", lambda w: load_idx(w.folder / "text"), ValueError, "not an IDX file")
wrong("load_idx", lambda w: load_idx(w.folder / "idx"), ValueError, "cut short")
wrong("to_onnx", lambda w: w.model.to_onnx(w.folder / "m.onnx", dtype="float16"), ValueError, "dtype must be one of")
wrong("to_onnx", lambda w: w.model.to_onnx(w.folder / "none" / "m.onnx"), OSError, "none")

# ---------------------------------------------------------------------------------------------- optimizers, schedules

for kind, arguments, error, match in (
    ("SGD", {"momentum": 1}, ValueError, "SGD: momentum"),
    ("SGD", {"momentum": -0.1}, ValueError, "SGD: momentum"),
    ("SGD", {"momentum": "big"}, TypeError, "SGD: momentum"),
    ("SGD", {"nesterov": True}, ValueError, "SGD: nesterov=True needs a momentum"),
    ("SGD", {"nesterov": 1, "momentum": 0.9}, TypeError, "SGD: nesterov"),
    ("SGD", {"weight_decay": NAN}, ValueError, "SGD: weight_decay"),
    ("SGD", {"weight_decay": 1e300}, ValueError, "SGD: weight_decay"),
    ("SGD", {"learning_rate": 0.1}, TypeError, "learning_rate"),
    ("Adam", {"betas": 0.9}, TypeError, "Adam: betas must be two numbers"),
    ("Adam", {"betas": (0.9,)}, TypeError, "Adam: betas must be two numbers"),
    ("Adam", {"betas": (0.9, 1.0)}, ValueError, "Adam: betas: each"),
    ("Adam", {"betas": (-0.1, 0.9)}, ValueError, "Adam: betas: each"),
    ("Adam", {"betas": (0.9, 1 - 1e-8)}, ValueError, "Adam: betas"),
    ("Adam", {"eps": 0}, ValueError, "Adam: eps"),
    ("Adam", {"eps": 1e-60}, ValueError, "Adam: eps"),
    ("AdamW", {"weight_decay": -1}, ValueError, "AdamW: weight_decay"),
    ("AdamW", {"eps": "tiny"}, TypeError, "AdamW: eps"),
    ("RMSprop", {"alpha": 1.0}, ValueError, "RMSprop: alpha"),
    ("RMSprop", {"alpha": None}, TypeError, "RMSprop: alpha"),
    ("RMSprop", {"momentum": 1.5}, ValueError, "RMSprop: momentum"),
    ("Adagrad", {"lr_decay": -1}, ValueError, "Adagrad: lr_decay"),
    ("Adagrad", {"eps": True}, TypeError, "Adagrad: eps"),
    ("LinearDecay", {"start": 0}, ValueError, "LinearDecay: start"),
    ("LinearDecay", {"start": 0.1, "end": -1}, ValueError, "LinearDecay: end"),
    ("LinearDecay", {"start": "high"}, TypeError, "LinearDecay: start"),
    ("LinearDecay", {}, TypeError, "start"),
    ("Cosine", {"start": NAN}, ValueError, "Cosine: start"),
    ("Step", {"start": 0.1, "every": 0}, ValueError, "Step: every"),
    ("Step", {"start": 0.1, "every": 2.5}, TypeError, "Step: every"),
    ("Step", {"start": 0.1, "every": 2, "factor": 0}, ValueError, "Step: factor"),
    ("Exponential", {"start": 0.1, "factor": -1}, ValueError, "Exponential: factor"),
    ("OneCycle", {"max_lr": 0}, ValueError, "OneCycle: max_lr"),
    ("OneCycle", {"max_lr": 0.1, "pct_start": 1}, ValueError, "OneCycle: pct_start"),
    ("OneCycle", {"max_lr": 0.1, "div_factor": None}, TypeError, "OneCycle: div_factor"),
    ("Warmup", {"schedule": 0.1, "epochs": 0}, ValueError, "Warmup: epochs"),
    ("Warmup", {"schedule": "cosine"}, TypeError, "Warmup: schedule"),
    ("ReduceOnPlateau", {"start": 0.1, "factor": 1}, ValueError, "ReduceOnPlateau: factor"),
    ("ReduceOnPlateau", {"start": 0.1, "patience": -1}, ValueError, "ReduceOnPlateau: patience"),
    ("ReduceOnPlateau", {"start": 0.1, "threshold": "1%"}, TypeError, "ReduceOnPlateau: threshold"),
):
    wrong(kind, lambda w, k=kind, a=arguments: getattr(fastmlp, k)(**a), error, match)
wrong_train(ValueError, "metric must be one of", learning_rate=fastmlp.ReduceOnPlateau(0.1, metric="speed"))
wrong_train(ValueError, "'validation_loss' has no value", learning_rate=fastmlp.ReduceOnPlateau(0.1))

# ---------------------------------------------------------------------------------------------- callbacks

for kind, arguments, error, match in (
    ("EarlyStopping", {"patience": -1}, ValueError, "patience must be an integer"),
    ("EarlyStopping", {"patience": 1.5}, TypeError, "patience must be an integer"),
    ("EarlyStopping", {"min_delta": -1}, ValueError, "min_delta must be a finite number >= 0"),
    ("EarlyStopping", {"min_delta": "1%"}, TypeError, "min_delta must be a finite number >= 0"),
    ("EarlyStopping", {"min_delta": NAN}, ValueError, "min_delta must be a finite number >= 0"),
    ("TimeBudget", {"seconds": 0}, ValueError, "seconds must be a finite number"),
    ("TimeBudget", {"seconds": "1 h"}, TypeError, "seconds must be a finite number"),
    ("TimeBudget", {}, TypeError, "seconds"),
):
    wrong(kind, lambda w, k=kind, a=arguments: getattr(callbacks, k)(**a), error, match)
wrong_train(ValueError, "metric must be one of", callbacks=callbacks.EarlyStopping("speed"))
wrong_train(ValueError, "'validation_loss' has no value", callbacks=callbacks.EarlyStopping())
wrong_train(ValueError, "best must be one of", callbacks=callbacks.Checkpoint("never written", best="speed"))
wrong(
    "CSVLog",
    lambda w: fastmlp.train(X, LABELS, epochs=1, callbacks=callbacks.CSVLog(w.folder / "none" / "log.csv")),
    OSError,
    "none",
)

# ---------------------------------------------------------------------------------------------- the notebook's run

for arguments, error, match in (
    ({"iterations": 0}, ValueError, "iterations must be an integer"),
    ({"iterations": 1.5}, TypeError, "iterations must be an integer"),
    ({"iterations": 1, "seed": -1}, ValueError, "seed must be an integer"),
    ({"iterations": 1, "seed": "a"}, TypeError, "seed must be an integer"),
    ({"iterations": 1, "threads": 0}, ValueError, "threads must be an integer"),
    ({"iterations": 1, "corrected": "yes"}, (TypeError, ValueError), "corrected must be"),
    ({"iterations": 1, "on_validation": 3}, TypeError, "on_validation must be"),
):
    wrong("reproduce", lambda w, a=arguments: fastmlp.reproduce(**a), error, match)

# ---------------------------------------------------------------------------------------------- the reference

for arguments, error, match in (
    ({"loss": "nonsense"}, ValueError, "loss must be one of .*'mse'"),
    ({"activation": "wave"}, ValueError, "activation must be one of .*'relu'"),
    ({"activation": ["wave"]}, ValueError, "activation must be one of .*got 'wave'"),
    ({"optimizer": "lbfgs"}, ValueError, "optimizer must be one of .*'adam'"),
    ({"init": "nonsense"}, ValueError, "init must be one of .*'he'"),
    ({"shuffle": "nonsense"}, ValueError, "shuffle must be one of .*'replacement'"),
    ({"epocs": 3}, TypeError, "epocs"),
    ({"dtype": "float99"}, TypeError, "float99"),
):
    wrong("reference", lambda w, a=arguments: reference.train(X, LABELS, **a), error, match)


# ---------------------------------------------------------------------------------------------- other libraries


def with_library(where, module, call, error, match, fails=None):
    """Add a call that needs another library, which it is given."""

    def run(world):
        return call(world, import_or_skip(module))

    wrong(where, run, error, match, fails)


def linear(torch, *layers):
    return torch.nn.Sequential(torch.nn.Linear(5, 4), *layers)


STATE = {"0.weight": np.ones((4, 5), np.float32), "0.bias": np.ones(4, np.float32)}
wrong("from_torch", lambda w: fastmlp.from_torch({}), ValueError, "must have a layer with weights")
wrong("from_torch", lambda w: fastmlp.from_torch({**STATE, "0.bias": np.ones(3)}), ValueError, "'0.bias'")
wrong("from_torch", lambda w: fastmlp.from_torch({**STATE, "0.scale": np.ones(3)}), ValueError, "'0.scale'")
wrong("from_torch", lambda w: fastmlp.from_torch({"0.weight": STATE["0.weight"] * NAN}), ValueError, "0.weight.*finite")
wrong("from_torch", lambda w: fastmlp.from_torch(STATE, activation="wave"), ValueError, "activation must be one of")
wrong("from_torch", lambda w: fastmlp.from_torch(STATE, classes=[1, 2]), ValueError, "classes must be 4 different")
wrong("from_torch", lambda w: fastmlp.from_torch(STATE, input_scale=-1), ValueError, "input_scale must be")
wrong(
    "from_torch",
    lambda w: fastmlp.from_torch(STATE, input_scale="standardize"),
    ValueError,
    "input_scale must be one of",
)
with_library("from_torch", "torch", lambda w, t: fastmlp.from_torch(3), TypeError, "module_or_state_dict must be")
with_library(
    "from_torch", "torch", lambda w, t: fastmlp.from_torch(t.nn.Conv2d(1, 1, 1)), ValueError, "Conv2d, can't be"
)
with_library(
    "from_torch", "torch", lambda w, t: fastmlp.from_torch(linear(t, t.nn.BatchNorm1d(4))), ValueError, "BatchNorm1d"
)
with_library(
    "from_torch", "torch", lambda w, t: fastmlp.from_torch(linear(t, t.nn.Linear(3, 2))), ValueError, "has 3 inputs"
)
with_library(
    "from_torch",
    "torch",
    lambda w, t: fastmlp.from_torch(linear(t, t.nn.LeakyReLU(0.5), t.nn.Linear(4, 2))),
    ValueError,
    "negative_slope=0.5",
)
with_library(
    "to_torch",
    "torch",
    lambda w, t: fastmlp.to_torch(3),
    TypeError,
    "model must be a fastmlp.MLP",
)
with_library("from_keras", "keras", lambda w, k: fastmlp.from_keras(3), TypeError, "model must be a keras.Model")
with_library("from_sklearn", "sklearn", lambda w, s: fastmlp.from_sklearn(3), TypeError, "mlp must be an MLPClassifier")


def unfitted(world, module):
    return fastmlp.from_sklearn(module.MLPClassifier())


with_library("from_sklearn", "sklearn.neural_network", unfitted, ValueError, "mlp must be fitted")


def wrong_estimator(error, match, **arguments):
    with_library(
        "MLPClassifier", "sklearn",
        lambda w, s: fastmlp.MLPClassifier(**{"max_iter": 1, **arguments}).fit(X, LABELS), error, match,
    )  # fmt: skip


for name, bad, error in (
    ("solver", "newton", ValueError), ("solver", 3, ValueError), ("max_fun", 0, ValueError),
    ("learning_rate", "fast", ValueError),
    ("learning_rate_init", 0, ValueError), ("learning_rate_init", "a", TypeError), ("alpha", -1, ValueError),
    ("power_t", -1, ValueError), ("tol", NAN, ValueError), ("momentum", 1, ValueError), ("beta_1", 1.0, ValueError),
    ("beta_2", -0.1, ValueError), ("validation_fraction", 1.0, ValueError), ("epsilon", 0, ValueError),
    ("max_iter", 0, ValueError), ("max_iter", 1.5, TypeError), ("n_iter_no_change", 0, ValueError),
    ("batch_size", "all", ValueError), ("batch_size", 0, ValueError), ("hidden_layer_sizes", (0,), ValueError),
    ("hidden_layer_sizes", "a", TypeError), ("activation", "wave", ValueError), ("clip_norm", 0, ValueError),
    ("max_norm", -1, ValueError), ("dropout", 1, ValueError), ("input_dropout", 2, ValueError),
    ("threads", 0, ValueError), ("input_scale", -1, ValueError), ("init", "nonsense", ValueError),
    ("loss", "nonsense", ValueError), ("shuffle", "nonsense", ValueError), ("random_state", "a", ValueError),
):  # fmt: skip
    wrong_estimator(error, name if name != "random_state" else "seed", **{name: bad})


def estimator(method, *arguments, kind="MLPClassifier", target=LABELS, **more):
    def call(world, _):
        fitted = getattr(fastmlp, kind)(hidden_layer_sizes=(3,), max_iter=1, random_state=0, tol=0)
        with pytest.warns(match="Maximum iterations"):
            fitted.fit(X, target)
        return getattr(fitted, method)(*arguments, **more)

    return call


with_library("MLPClassifier", "sklearn", estimator("predict", X[:, :3]), ValueError, "X has 3 features")
with_library("MLPClassifier", "sklearn", estimator("predict", X * NAN), ValueError, "X contains NaN")
with_library("MLPClassifier", "sklearn", estimator("predict_proba", X[0]), ValueError, "2D array")
with_library("MLPClassifier", "sklearn", estimator("partial_fit", X, LABELS + 9), ValueError, "y")
with_library("MLPClassifier", "sklearn", estimator("score", X, LABELS[:3]), ValueError, "inconsistent numbers")
with_library("MLPClassifier", "sklearn", estimator("set_params", speed=3), ValueError, "speed")
with_library(
    "MLPRegressor", "sklearn", estimator("predict", X[:, :3], kind="MLPRegressor", target=VALUES), ValueError, "X has 3"
)
with_library(
    "MLPClassifier", "sklearn",
    lambda w, s: fastmlp.MLPClassifier().predict(X), (ValueError, AttributeError), "not fitted",
)  # fmt: skip


# ---------------------------------------------------------------------------------------------- the command line


def command(*arguments):
    """Arguments of the command line; those that start with @ are files in the world's folder."""
    return lambda w: main([str(w.folder / a[1:]) if a.startswith("@") else a for a in arguments])


COMMANDS = [
    pytest.param(command(*arguments), status, message, id=" ".join(arguments) or "nothing")
    for arguments, status, message in [
        ((), 2, "COMMAND"),
        (("dance",), 2, "dance"),
        (("train", "--loss", "nonsense"), 2, "--loss"),
        (("train", "--optimizer", "lbfgs"), 2, "--optimizer"),
        (("train", "--activation", "wave"), 2, "--activation"),
        (("train", "--init", "nonsense"), 2, "--init"),
        (("train", "--epochs", "many"), 2, "--epochs"),
        (("train", "--input-scale", "wide"), 2, "--input-scale"),
        (("train", "--schedule", "never"), 2, "--schedule"),
        (("train", "--hidden", "12,x"), 2, "--hidden"),
        (("train", "--threads", "all"), 2, "--threads"),
        (("train", "--save"), 2, "--save"),
        (("train", "--nonsense"), 2, "--nonsense"),
        (("evaluate",), 2, "MODEL"),
        (("predict", "@model.safetensors"), 2, "FILE"),
        (("reproduce", "--iterations", "1.5"), 2, "--iterations"),
        (("train", "--epochs", "0"), 1, "epochs must be an integer"),
        (("train", "--batch-size", "-1"), 1, "batch_size must be an integer"),
        (("train", "--hidden", "8,0"), 1, "hidden: every width"),
        (("train", "--hidden", "100000000000"), 1, "Unable to allocate"),
        (("train", "--learning-rate", "nan"), 1, "learning_rate must be"),
        (("train", "--momentum", "1"), 1, "momentum must be a number >= 0 and < 1"),
        (("train", "--weight-decay", "-1"), 1, "weight_decay"),
        (("train", "--dropout", "1"), 1, "dropout must be"),
        (("train", "--input-dropout", "-1"), 1, "input_dropout must be"),
        (("train", "--label-smoothing", "2"), 1, "label_smoothing must be"),
        (("train", "--l1", "-1"), 1, "l1 must be"),
        (("train", "--l2", "nan"), 1, "l2 must be"),
        (("train", "--clip-norm", "-1"), 1, "clip_norm must be"),
        (("train", "--max-norm", "0"), 1, "max_norm must be"),
        (("train", "--average-every", "0"), 1, "average_every must be"),
        (("train", "--input-scale", "-1"), 1, "input_scale must be"),
        (("train", "--warm-up", "-1"), 1, "epochs must be a finite number"),
        (("train", "--patience", "-1"), 1, "patience must be"),
        (("train", "--time-budget", "0"), 1, "seconds must be"),
        (("train", "--metrics", "top"), 1, "metrics must be names"),
        (("train", "--validation", "2"), 1, "validation, as a fraction"),
        (("train", "--threads", "0"), 1, "threads must be an integer"),
        (("train", "--seed", "-1"), 1, "seed must be an integer"),
        (("train", "--save", "@none/model", "--epochs", "1"), 1, "none"),
        (("train", "--checkpoint", "@text", "--epochs", "1"), 1, "checkpoint must be"),
        (("train", "--csv-log", "@none/log.csv", "--epochs", "1"), 1, "none"),
        (("compare", "--seed", "-1"), 1, "seed must be an integer"),
        (("reproduce", "--iterations", "0"), 1, "iterations must be an integer"),
        (("reproduce", "--seed", "-1"), 1, "seed must be an integer"),
        (("evaluate", "@missing"), 1, "missing"),
        (("evaluate", "@text"), 1, "text"),
        (("evaluate", "@empty"), 1, "empty"),
        (("evaluate", "@cut"), 1, "cut"),
        (("evaluate", "@folder"), 1, "folder"),
        (("evaluate", "@model.safetensors"), 1, "x must have 5 features"),
        (("predict", "@missing", "@x.npy"), 1, "missing"),
        (("predict", "@model.safetensors", "@missing"), 1, "missing"),
        (("predict", "@model.safetensors", "@empty"), 1, "empty"),
        (("predict", "@model.safetensors", "@text"), 1, "text"),
        (("predict", "@model.safetensors", "@wide.npy"), 1, "x must have 5 features"),
        (("predict", "@model.safetensors", "@text.npy"), 1, "x must hold numbers"),
        (("predict", "@model.safetensors", "@folder"), 1, "folder"),
    ]
]
