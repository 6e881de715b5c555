"""`Ensemble`: several networks whose predictions are averaged."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from fastmlp.checks import check_choice, check_integer
from fastmlp.data.frames import FrameEncoder
from fastmlp.engine.parameters import Parameters
from fastmlp.losses import LOSSES, OUTPUTS, output_of
from fastmlp.many.members import check_models, check_weights, folds_of, outputs_of
from fastmlp.many.training import train_many
from fastmlp.model import MLP, Metrics
from fastmlp.training.shared import SharedData


class Ensemble:
    """Networks whose predictions are averaged: probabilities of a classifier, outputs of a regression.

    Parameters
    ----------
    models : sequence of MLP
        With the same loss, classes, and numbers of features and outputs; their layers and input scales may differ.
    weights : array_like (n_models,), optional
        How much each counts, at least 0; by default all count the same.

    Attributes
    ----------
    models : list of MLP
    model_weights : ndarray (n_models,) of float64
        With a sum of 1.
    loss, classes, n_features, feature_names
        As of each model.
    out_of_fold : ndarray (n_samples, n_outputs) of float32 or None
        From `bag`: for each sample the prediction of those models that were not trained on it.  It is not saved.

    Raises
    ------
    ValueError, TypeError
        If the models do not fit together, or the weights are not such numbers.

    Examples
    --------
    >>> mnist = fastmlp.load_mnist()
    >>> x, y = mnist.x_train[:3000], mnist.y_train[:3000]
    >>> models = fastmlp.train_many([{"seed": seed} for seed in range(5)], x, y, epochs=3)
    >>> ensemble = fastmlp.Ensemble(models)
    >>> losses = [model.evaluate(mnist.x_test, mnist.y_test).loss for model in models]
    >>> ensemble.evaluate(mnist.x_test, mnist.y_test).loss < sum(losses) / 5
    True
    """

    def __init__(self, models: Iterable[MLP], weights=None):
        if isinstance(models, MLP) or not isinstance(models, Iterable):
            raise TypeError(f"models must be a sequence of fastmlp.MLP, got {models!r}")
        self.models = list(models)
        check_models(self.models)
        self.model_weights = check_weights(weights, len(self.models))
        self.out_of_fold: np.ndarray | None = None

    @property
    def loss(self) -> str:
        return self.models[0].loss

    @property
    def classes(self) -> np.ndarray | None:
        return self.models[0].classes

    @property
    def n_features(self) -> int:
        return self.models[0].n_features

    @property
    def feature_names(self) -> list[str] | None:
        return self.models[0].feature_names

    @property
    def encoder(self) -> FrameEncoder | None:
        return self.models[0].encoder

    @property
    def has_accuracy(self) -> bool:
        """Whether predictions can be correct, as in `MLP.has_accuracy`."""
        return LOSSES[self.loss].has_accuracy

    def __len__(self) -> int:
        return len(self.models)

    def __repr__(self) -> str:
        widths = {"-".join(map(str, model.widths)) for model in self.models}
        return f"<fastmlp.Ensemble of {len(self)} networks {', '.join(sorted(widths))}, {self.loss}>"

    def _averages(self, x) -> np.ndarray:
        """Return the mean of the probabilities, or of the outputs of a regression, (n, n_outputs) float32."""
        if self.models[0].encoder is None:
            x = self.models[0]._check_features(x)  # converted once, not by every model
        total = 0.0
        for weight, model in zip(self.model_weights, self.models):
            total = total + weight * outputs_of(model, x).astype(np.float64)
        return np.asarray(total).astype(np.float32)

    def _check_features(self, x, name: str = "x") -> np.ndarray:
        return self.models[0]._check_features(x, name)

    def _sums(self, x) -> np.ndarray:
        """Return sums of the last layer with which a single network would predict the averages."""
        return OUTPUTS[output_of(self.loss)].to_sums(self._averages(x))

    def predict_proba(self, x) -> np.ndarray:
        """Return the mean of the models' probabilities.

        Parameters
        ----------
        x : array_like (n, n_features), or data frame

        Returns
        -------
        ndarray (n, n_outputs) of float32
            As of `MLP.predict_proba`.

        Raises
        ------
        ValueError, TypeError
            If `x` is not such an array, or the models are regressions.
        """
        if not self.has_accuracy:
            raise ValueError("predict_proba needs classifiers; these models are regressions, use predict")
        return self._averages(x)

    def predict(self, x) -> np.ndarray:
        """Return the labels with the highest mean probability, or the mean of the outputs of a regression.

        Parameters
        ----------
        x : array_like (n, n_features), or data frame

        Returns
        -------
        ndarray
            As of `MLP.predict`.

        Raises
        ------
        ValueError, TypeError
            If `x` is not such an array.
        """
        averages = self._averages(x)
        if not self.has_accuracy:
            return averages
        if self.classes is None:
            return (averages > 0.5).astype(np.int64)
        return self.classes[averages.argmax(axis=1)]

    def evaluate(self, x, y, sample_weight=None) -> Metrics:
        """Return the loss and the accuracy of the averaged predictions.

        Parameters
        ----------
        x, y, sample_weight
            As in `MLP.evaluate`.

        Returns
        -------
        Metrics

        Raises
        ------
        ValueError, TypeError
            As in `MLP.evaluate`.
        """
        return self._loss_of(self._averages(x), y, sample_weight)

    def _loss_of(self, averages: np.ndarray, y, sample_weight=None) -> Metrics:
        """Return the metrics of averaged predictions: those of a network that has just these outputs."""
        n_outputs = averages.shape[1]
        parameters = Parameters((n_outputs, n_outputs))
        parameters.set([np.eye(n_outputs)], [])
        network = MLP(parameters, (), self.loss, self.classes, 1.0)
        network.delta, network.threads = self.models[0].delta, self.models[0].threads
        return network.evaluate(OUTPUTS[output_of(self.loss)].to_sums(averages), y, sample_weight)

    def save(self, path: str | os.PathLike) -> None:
        """Write all models to one safetensors file; `fastmlp.load` reads it.

        Parameters
        ----------
        path : str or path
            An existing file is replaced once the new one is complete.

        Raises
        ------
        OSError
            If the file can't be written; an existing file is left as it was.
        """
        from fastmlp.io.ensembles import save

        save([model.state() for model in self.models], self.model_weights, path)

    def to_onnx(self, path: str | os.PathLike, dtype: str = "float32") -> None:
        """Write all models to one ONNX file, with the inputs and outputs of a single one; see `fastmlp.io.onnx`.

        Parameters
        ----------
        path, dtype
            As in `MLP.to_onnx`.

        Raises
        ------
        ValueError
            If `dtype` is none of these, a class does not fit into int64, or the models read different columns of data
            frames.
        ImportError
            If the package onnx is missing.
        """
        from fastmlp.io.onnx import ensemble_to_onnx

        ensemble_to_onnx([model.state() for model in self.models], self.model_weights, path, dtype)

    @classmethod
    def of_seeds(cls, x, y, n_members: int = 8, *, seed: int = 0, threads=None, executor=None, **settings) -> Ensemble:
        """Train networks that differ in their seeds: `seed`, ``seed + 1`` and so on.

        Parameters
        ----------
        x, y, **settings
            As in `fastmlp.train`.
        n_members : int
            Number of networks.
        seed : int
            Of the first one.
        threads, executor
            As in `fastmlp.train_many`.

        Returns
        -------
        Ensemble
        """
        n_members, seed = check_integer(n_members, "n_members", 1), check_integer(seed, "seed", 0)
        configs = [{"seed": seed + k} for k in range(n_members)]
        return cls(train_many(configs, x, y, threads=threads, executor=executor, **settings))

    @classmethod
    def bag(
        cls, x, y, n_folds: int = 5, *, n_repeats: int = 1, validate: bool = False, seed: int = 0, threads=None,
        executor=None, **settings,
    ) -> Ensemble:  # fmt: skip
        """Train a network on all folds of the data but one, for each of the folds.

        Parameters
        ----------
        x, y, **settings
            As in `fastmlp.train`; `x` is in memory.
        n_folds : int
            Number of parts of the data; each has its fraction of every class.
        n_repeats : int
            How many times the data are split, each time in another way.
        validate : bool
            Whether each network is evaluated on its own fold after every epoch, as `fastmlp.callbacks.EarlyStopping`
            needs it.  What is chosen in this way makes `out_of_fold` slightly too good.
        seed : int
            Of the folds and of the first network; the others have the following ones.
        threads, executor
            As in `fastmlp.train_many`.

        Returns
        -------
        Ensemble
            Of ``n_folds * n_repeats`` networks; `out_of_fold` has the predictions for every sample by networks that
            were not trained on it, which estimate the error on new data.
        """
        n_folds, n_repeats = check_integer(n_folds, "n_folds", 2), check_integer(n_repeats, "n_repeats", 1)
        seed = check_integer(seed, "seed", 0)
        for name in ("samples", "validation", "checkpoint"):
            if name in settings:
                raise ValueError(f"bag chooses samples itself, and must not be given {name!r}")
        data = SharedData(x, y).for_initial(settings.get("init"))
        if data.is_stream:
            raise ValueError("bag needs x in memory, but x is a memmap or a folder that is read in parts")
        codes = data.targets(settings.get("loss") or data.default_loss, settings.get("classes"))[1].labels
        folds = folds_of(data.x.shape[0], codes, n_folds, n_repeats, np.random.default_rng(seed))
        every = np.arange(data.x.shape[0])
        configs = [
            {"seed": seed + k, "samples": np.setdiff1d(every, fold), **({"validation": fold} if validate else {})}
            for k, fold in enumerate(folds)
        ]
        ensemble = cls(train_many(configs, x, y, threads=threads, executor=executor, **settings))
        totals = np.zeros((len(every), ensemble.models[0].widths[-1]))
        for fold, model in zip(folds, ensemble.models):
            totals[fold] += outputs_of(model, data.x[fold])
        ensemble.out_of_fold = (totals / n_repeats).astype(np.float32)
        return ensemble

    @classmethod
    def select(
        cls, models: Sequence[MLP], x, y, n: int = 20, *, metric: str | Callable[[Any, np.ndarray], float] = "loss",
    ) -> Ensemble:  # fmt: skip
        """Choose models one by one, each time the one that improves the ensemble of those chosen so far the most.

        A model may be chosen several times, and counts more then.  Of the ensembles of 1 to `n` choices the best one is
        returned.  From Caruana, Niculescu-Mizil, Crew and Ksikes (2004), "Ensemble selection from libraries of models".

        Parameters
        ----------
        models : sequence of MLP
            To choose from.
        x, y : array_like
            Samples that the models were not trained on.
        n : int
            Maximum number of choices.
        metric : "loss", "accuracy", or function of (y, predictions)
            What to improve; a function returns a number that is higher for better predictions: probabilities of a
            classifier, or outputs of a regression.  NaN counts as the lowest.

        Returns
        -------
        Ensemble
        """
        n, scorer = check_integer(n, "n", 1), Scorer(metric, y)
        pool = cls(models)
        outputs = [outputs_of(model, x).astype(np.float64) for model in pool.models]

        total, counts = np.zeros_like(outputs[0]), np.zeros(len(pool))
        best, best_counts = -np.inf, counts
        for size in range(1, n + 1):
            scores = np.array([scorer.score(pool, ((total + each) / size).astype(np.float32)) for each in outputs])
            scores[np.isnan(scores)] = -np.inf  # as of a correlation with constant predictions
            chosen = int(np.argmax(scores))
            total, counts = total + outputs[chosen], counts + (np.arange(len(pool)) == chosen)
            if scores[chosen] > best or not best_counts.any():
                best, best_counts = scores[chosen], counts
        used = np.flatnonzero(best_counts)
        return cls([pool.models[k] for k in used], best_counts[used])


class Scorer:
    """Scores predictions of the samples whose targets are `y`, higher for better ones; see `Ensemble.select`.

    A function as `metric` does not get the weights.
    """

    def __init__(self, metric: str | Callable[[Any, np.ndarray], float], y, sample_weight=None):
        if not callable(metric):
            check_choice(metric, "metric", ("loss", "accuracy"))
        self.metric, self.y, self.sample_weight = metric, y, sample_weight

    def score(self, ensemble: Ensemble, averages: np.ndarray) -> float:
        """Return the score of averaged predictions."""
        if callable(self.metric):
            return float(self.metric(self.y, averages))
        if self.metric == "accuracy" and not ensemble.has_accuracy:
            raise ValueError(
                f"metric must be 'loss' or a function for a regression, got 'accuracy' for {ensemble.loss!r}"
            )
        metrics = ensemble._loss_of(averages, self.y, self.sample_weight)
        return metrics.accuracy if self.metric == "accuracy" else -metrics.loss
