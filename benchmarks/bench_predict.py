"""Prediction by a trained model, on one thread."""

import fastmlp

from . import data


class Predict:
    """Labels of images."""

    params = [["uint8", "float32"], [1, 10, 10_000]]
    param_names = ["pixels", "samples"]
    warmup_time, rounds, repeat, sample_time = 0, 2, (5, 20, 0.5), 0.01
    version = "1"

    @data.missing
    def setup(self, pixels, n_samples):
        x, y = data.samples("mnist")
        self.model = fastmlp.train(x[:1024], y[:1024], epochs=1, seed=0, threads=1, progress=False)
        self.x = fastmlp.load_mnist().x_test[:n_samples].astype(pixels)
        self.model.predict(self.x)

    def time_predict(self, pixels, n_samples):
        self.model.predict(self.x)

    def time_predict_proba(self, pixels, n_samples):
        self.model.predict_proba(self.x)
