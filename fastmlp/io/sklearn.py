"""MLPs of scikit-learn as layers for `fastmlp.io.stack`; scikit-learn is imported when one is given."""

from __future__ import annotations

import numpy as np

from fastmlp.activations import FROM_SKLEARN
from fastmlp.io.stack import Layer, build
from fastmlp.io.state import ModelState
from fastmlp.optional import require


def from_sklearn(mlp, input_scale) -> ModelState:
    """Return the state of a model that computes what a fitted estimator does; see `fastmlp.from_sklearn`."""
    network = require("sklearn.neural_network", "sklearn")
    if not isinstance(mlp, (network.MLPClassifier, network.MLPRegressor)):
        raise TypeError(f"mlp must be an MLPClassifier or MLPRegressor, got {type(mlp).__name__}")
    if not hasattr(mlp, "coefs_"):
        raise ValueError(f"mlp must be fitted, got {mlp!r}")
    classes = getattr(mlp, "classes_", None)
    if mlp.out_activation_ == "logistic" and mlp.n_outputs_ > 1:
        classes = None
    if classes is not None and classes.dtype.kind == "f" and (classes == np.rint(classes)).all():
        classes = classes.astype(np.int64)
    layers: list[Layer] = []
    activations = [mlp.activation] * (len(mlp.coefs_) - 1) + [mlp.out_activation_]
    for index, (weight, bias, name) in enumerate(zip(mlp.coefs_, mlp.intercepts_, activations)):
        layers += [
            (f"layer {index}", (weight, bias)),
            (f"activation of layer {index}, {name}", FROM_SKLEARN.get(name, name)),
        ]
    return build(layers, classes, input_scale)
