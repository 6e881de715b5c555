"""Networks with random weights, and what they should put out, in float64 and NumPy alone."""

import numpy as np
from scipy.special import expit, log_softmax, softmax

from fastmlp import reference
from fastmlp.activations import ACTIVATIONS
from fastmlp.data.scaling import InputScale
from fastmlp.engine.parameters import Parameters
from fastmlp.losses import LOSSES
from fastmlp.model import MLP

OUTPUT = {
    "softmax": lambda z: softmax(z, axis=1),
    "batch_softmax": lambda z: np.exp(log_softmax(z, axis=0)),
    "sigmoid": expit,
    "exp": np.exp,
    "identity": lambda z: z,
}
ALL_ACTIVATIONS, ALL_LOSSES = sorted(ACTIVATIONS), sorted(LOSSES)
REGRESSIONS = tuple(name for name, row in LOSSES.items() if not row.has_accuracy)


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
        with np.errstate(over="ignore"):  # far from zero
            h = reference.activation_forward(h @ weight.astype(np.float64) + bias, activation)
    want = OUTPUT[LOSSES[model.loss].output](h)
    got = model.predict(x) if model.loss in REGRESSIONS else model.predict_proba(x)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
    return want
