"""Prediction by a trained model, on one thread, beside a product in NumPy."""

import functools

import fastmlp

from . import data

CALLS = ["predict", "predict_proba"]


@functools.cache
def _trained():
    """A model, and the images of the test set."""
    x, y = data.samples("mnist")
    model = fastmlp.train(x[:1024], y[:1024], epochs=1, seed=0, threads=1, progress=False)
    return model, fastmlp.load_mnist().x_test


def prediction_call(name, pixels, n_samples):
    """A function without arguments that predicts labels or probabilities of images."""
    model, images = _trained()
    images, predict = images[:n_samples].astype(pixels), getattr(model, name)
    return lambda: predict(images)


class Predict:
    """Labels and probabilities of images, over NumPy's product of the first layer's weights with as many images."""

    params = [CALLS, ["uint8", "float32"], [1, 10, 10_000]]
    param_names = ["call", "pixels", "samples"]
    unit = "times NumPy's x @ weight of the first layer"
    timeout = 120
    version = "3"

    @data.missing
    def setup(self, call, pixels, n_samples):
        prediction_call(call, pixels, n_samples)()

    def track_over_numpy(self, call, pixels, n_samples):
        return data.call_over_product(prediction_call, (call, pixels, n_samples), (n_samples, 784, 128))
