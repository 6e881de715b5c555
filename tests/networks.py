"""Networks with random weights, and what they should put out, in float64 and NumPy alone."""

import numpy as np
from scipy.special import erf, expit, log_softmax, softmax

from fastmlp.inputs import InputScale
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.losses import LOSSES
from fastmlp.model import MLP
from fastmlp.parameters import Parameters

FORWARD = {
    "identity": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
    "selu": lambda z: 1.0507009873554805 * np.where(z > 0, z, 1.6732632423543772 * np.expm1(np.minimum(z, 0))),
    "softplus": lambda z: np.logaddexp(0, z),
    "sigmoid": expit,
    "hard_sigmoid": lambda z: np.clip(z / 6 + 0.5, 0, 1),
    "tanh": np.tanh,
    "gelu": lambda z: z * (1 + erf(z / np.sqrt(2))) / 2,
    "gelu_tanh": lambda z: z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))) / 2,
    "silu": lambda z: z * expit(z),
}
OUTPUT = {
    "cross_entropy": lambda z: softmax(z, axis=1),
    "softmax_mse": lambda z: softmax(z, axis=1),
    "notebook": lambda z: np.exp(log_softmax(z, axis=0)),
    "binary_cross_entropy": expit,
    "poisson": np.exp,
    "mse": lambda z: z,
    "mae": lambda z: z,
    "huber": lambda z: z,
}
# those whose kernels are there are compared with them too, and one without a formula here fails
ALL_ACTIVATIONS, ALL_LOSSES = sorted({*FORWARD, *ACTIVATIONS}), sorted({*OUTPUT, *LOSSES})
REGRESSIONS = ("mse", "mae", "huber", "poisson")


def random_model(widths, activation="relu", loss="cross_entropy", classes=None, input_scale="auto", seed=0):
    """A model whose hidden layers have one activation, or one each."""
    rng, parameters = np.random.default_rng(seed), Parameters(widths)
    shapes = parameters.layer_shapes()
    parameters.set(
        [rng.standard_normal(shape) / np.sqrt(shape[0]) for shape in shapes],
        [rng.standard_normal(shape[1]) for shape in shapes],
    )
    if classes is None and loss not in (*REGRESSIONS, "binary_cross_entropy"):
        classes = np.arange(widths[-1])
    activations = [activation] * (len(widths) - 2) if isinstance(activation, str) else activation
    return MLP(parameters, activations, loss, classes, input_scale)


def outputs(model, x):
    """Probabilities of a classifier, outputs of a regression."""
    offset, scale = 0, model.input_scale
    if isinstance(scale, InputScale):
        offset, scale = scale
    elif isinstance(scale, str):
        scale = 1 / 255 if x.dtype == np.uint8 else 1
    h = (x.astype(np.float64) - offset) * scale
    for weight, bias, activation in zip(model.weights, model.biases, [*model.activations, "identity"]):
        h = FORWARD[activation](h @ weight.astype(np.float64) + bias)
    want = OUTPUT[model.loss](h)
    got = model.predict(x) if model.loss in REGRESSIONS else model.predict_proba(x)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
    return want
