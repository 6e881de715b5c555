"""`search`: settings tried at random, all for the same number of epochs or by successive halving."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp.checks import check_choice, check_integer, describe
from fastmlp.data.order import check_samples, split
from fastmlp.data.targets import check_sample_weight
from fastmlp.errors import DivergenceError
from fastmlp.many.configs import DEFAULTS, SHARED
from fastmlp.many.ensemble import Ensemble, Scorer
from fastmlp.many.search_folder import SearchFolder
from fastmlp.many.training import iter_many
from fastmlp.model import MLP
from fastmlp.optional import require
from fastmlp.training.identity import identity
from fastmlp.training.shared import SharedData

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STRATEGIES = ("random", "halving")
# Columns of the table that are no settings.
RESULTS = ("trial", "epochs", "score", "validation_loss", "validation_accuracy", "seconds", "error")


class SearchResult:
    """What `search` has found.

    Attributes
    ----------
    trials : list of dict
        A row for every training run, best first: its number as ``trial``, ``epochs``, ``score`` (higher is better; None
        if it diverged), ``validation_loss``, ``validation_accuracy``, ``seconds`` of training, ``error``, and the
        settings that were drawn, by their names.
    models : list of MLP
        The best ones, best first; as many as `keep` says.
    settings : list of str
        Names of the settings that were drawn.
    best_config : dict
        The settings that were drawn for the best model, and its seed and epochs, to pass to `fastmlp.train`.
    """

    def __init__(self, trials: list[dict[str, Any]], models: list[MLP], settings: list[str], best_config: dict):
        self.trials, self.models, self.settings, self.best_config = trials, models, settings, best_config

    @property
    def best_model(self) -> MLP:
        """The model with the highest score."""
        if not self.models:
            raise ValueError(f"all {len(self.trials)} training runs diverged; try smaller learning rates")
        return self.models[0]

    @property
    def best_score(self) -> float:
        """The highest score."""
        return self.trials[0]["score"]

    def to_frame(self):
        """Return the table as a data frame of pandas, which has to be installed."""
        pandas = require("pandas", "test")
        return pandas.DataFrame({name: [row[name] for row in self.trials] for name in self.trials[0]})

    def plot(self) -> Figure:
        """Return a matplotlib figure of the scores; see `fastmlp.plots.search`."""
        from fastmlp.plots import search

        return search(self)

    def __repr__(self) -> str:
        return f"<fastmlp.SearchResult of {len(self.trials)} training runs, best score {self.best_score!r}>"


def search(
    x,
    y,
    space: Mapping[str, Any],
    budget: int = 50,
    *,
    strategy: str = "random",
    metric: str | Callable[[Any, np.ndarray], float] = "loss",
    validation: float | Sequence[Any] = 0.2,
    epochs: int = 10,
    factor: int = 3,
    keep: int = 10,
    seed: int = 0,
    folder: str | os.PathLike | None = None,
    threads: int | None = None,
    executor: Any = None,
    **common: Any,
) -> SearchResult:
    """Try settings of `fastmlp.train` drawn at random, and return how good they are on held-out data.

    Parameters
    ----------
    x, y : array_like
        As in `fastmlp.train`; `x` is in memory.
    space : dict
        For each setting of `fastmlp.train` that is to be varied: a list of choices; a distribution of `scipy.stats`,
        such as ``scipy.stats.loguniform(1e-4, 1e-1)``; or a function that draws a value from a
        `numpy.random.Generator`.
    budget : int
        Number of settings to try.  The first ones are the same for every budget.
    strategy : "random" or "halving"
        "random" trains all of them for `epochs` epochs.  "halving" works in rounds: it trains all of them for a few
        epochs, then the best third (if `factor` is 3) for three times as many, and so on up to `epochs`.  All rounds
        take about as many epochs in total.  Every training run starts from the beginning, so that its schedule ends
        with its last epoch.  See Jamieson and Talwalkar (2016), "Non-stochastic best arm identification and
        hyperparameter optimization".
    metric : "loss", "accuracy", or function of (y, predictions)
        What the score is: minus the loss on held-out data, the accuracy, or what the function returns, higher for
        better predictions (probabilities of a classifier, or outputs of a regression).  Loss and accuracy are weighted
        by `sample_weight`.
    validation : float, ndarray of int, (x, y) or (x, y, sample_weight)
        The fraction of the samples to hold out, chosen at random; their indices; or other data.
    epochs : int
        Number of epochs of every training run; with "halving", of those in the last round.
    factor : int
        By how much a round of "halving" trains fewer settings for more epochs than the one before.
    keep : int
        Number of models to keep, the best ones.  Those that `folder` does not have, or whose files are damaged, are
        trained again.
    seed : int
        Of the settings that are drawn, and of the samples that are held out.  Network k has the seed ``seed + k``.
    folder : path, optional
        Every result is written there as soon as it is complete.  The same call resumes a search that was interrupted;
        `budget`, `epochs`, `strategy` and `keep` may differ then.
    threads, executor
        As in `fastmlp.train_many`.
    **common
        Settings of all networks, as in `fastmlp.train`.

    Returns
    -------
    SearchResult

    Raises
    ------
    ValueError, TypeError
        If an argument, or a setting that was drawn, is not as described.

    Examples
    --------
    >>> mnist = fastmlp.load_mnist()
    >>> space = {"hidden": [(16,), (64,)], "learning_rate": lambda rng: 10 ** rng.uniform(-3, 0)}
    >>> result = fastmlp.search(mnist.x_train[:2000], mnist.y_train[:2000], space, budget=6, epochs=2)
    >>> len(result.trials), sorted(result.best_config)
    (6, ['epochs', 'hidden', 'learning_rate', 'seed'])
    """
    check_choice(strategy, "strategy", STRATEGIES)
    space = _check_space(space, common)
    numbers = {"budget": budget, "epochs": epochs, "keep": keep}
    budget, epochs, keep = (check_integer(value, name, 1) for name, value in numbers.items())
    factor, seed = check_integer(factor, "factor", 2), check_integer(seed, "seed", 0)
    data = SharedData(x, y).for_initial(common.get("init"))
    if data.is_stream:
        raise ValueError("search needs x in memory, but x is a memmap or a folder that is read in parts")
    validation, held_out = _hold_out(validation, data, common.get("sample_weight"), np.random.default_rng(seed))
    scorer = Scorer(metric, *held_out[1:])
    saved = SearchFolder(folder, keep, budget)
    known = {name: _distribution(values) for name, values in space.items()}
    saved.check({
        "x": data.x, "y": data.y, "space": known, "metric": metric, "validation": validation, "seed": seed,
        "settings": identity(common),
    })  # fmt: skip

    def run(trials: Sequence[int], epochs: int) -> None:
        todo = [trial for trial in trials if not saved.has(trial, epochs)]
        configs = [{"seed": seed + k, "epochs": epochs, **draw(space, seed, k)} for k in todo]
        settings = {**common, "validation": validation}
        networks = iter_many(configs, x, y, threads=threads, executor=executor, on_error="return", **settings)
        with contextlib.closing(networks):  # type: ignore[type-var]
            for index, model in networks:
                row, found = _judge(model, held_out, scorer)
                saved.add({"trial": todo[index], **configs[index], **row}, found)

    trials: Sequence[int] = range(budget)
    for n, rung_epochs in rungs(strategy, budget, epochs, factor):
        trials = trials[:n]
        run(trials, rung_epochs)
        trials = saved.ranked(trials, rung_epochs)
    table = saved.table()
    best = table[0]["trial"]
    config = {**draw(space, seed, best), "seed": seed + best, "epochs": table[0]["epochs"]}
    return SearchResult(table, saved.models(), list(space), config)


def rungs(strategy: str, budget: int, epochs: int, factor: int) -> Iterator[tuple[int, int]]:
    """Yield how many settings are tried, and for how many epochs each."""
    n_times = 0
    if strategy == "halving":
        while factor ** (n_times + 1) <= min(budget, epochs):
            n_times += 1
    for k in range(n_times + 1):
        yield budget // factor**k, max(1, round(epochs / factor ** (n_times - k)))


def draw(space: Mapping[str, Any], seed: int, trial: int) -> dict[str, Any]:
    """Return the settings of a trial, which do not depend on other trials."""
    rng = np.random.default_rng([seed, trial])
    return {name: _draw_one(values, rng) for name, values in space.items()}


def _draw_one(values, rng: np.random.Generator):
    if hasattr(values, "rvs"):
        value = values.rvs(random_state=rng)
    elif callable(values):
        value = values(rng)
    else:
        value = values[int(rng.integers(len(values)))]
    return value.item() if isinstance(value, np.generic) else value


def _distribution(values):
    """Return what a distribution of SciPy is, and other values as they are."""
    return [values.dist.name, values.args, values.kwds] if hasattr(values, "dist") else values


def _check_space(space, common: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(space, Mapping) or not space:
        raise TypeError(f"space must be a dict of settings of fastmlp.train, got {space!r}")
    own = {*SHARED, "epochs", "seed", "samples", "validation", "checkpoint"}
    for name in (*space, *common):
        if name not in DEFAULTS:
            raise TypeError(f"space and settings must be those of fastmlp.train, got {name!r}")
        if name in own:
            raise ValueError(f"space and settings must not hold {name!r}, which search chooses itself")
    if "sample_weight" in space:
        raise ValueError("space must not hold 'sample_weight', by which all scores are weighted; pass it beside space")
    for name, values in space.items():
        if hasattr(values, "rvs") or callable(values):
            continue
        if not isinstance(values, Sequence) or isinstance(values, str) or len(values) == 0:
            raise TypeError(
                f"space[{name!r}] must be a list of choices, a distribution of scipy.stats, or a function of a "
                f"generator, got {values!r}"
            )
    return dict(space)


def _hold_out(validation, data: SharedData, sample_weight, rng: np.random.Generator) -> tuple[Any, tuple]:
    """Return the argument `validation` of `fastmlp.train`, and the data that it stands for: (x, y, sample_weight)."""
    if isinstance(validation, (float, np.floating)):
        n = data.x.shape[0]
        if not 0 < validation < 1 or not 0 < round(n * validation) < n:
            raise ValueError(f"validation must be in (0, 1) and leave samples in both parts, got {validation!r}")
        validation = split(n, float(validation), rng)[1]
    if isinstance(validation, np.ndarray):
        validation = check_samples(validation, data.x.shape[0], "validation")
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, data.x.shape[0])[validation]
        return validation, (data.x[validation], np.asarray(data.y)[validation], sample_weight)
    if not isinstance(validation, Sequence) or len(validation) not in (2, 3):
        raise TypeError(
            "validation must be a fraction, an array of indices, (x, y) or (x, y, sample_weight), "
            f"got {describe(validation)}"
        )
    return validation, (*validation, None)[:3]


def _judge(outcome: Any, held_out: tuple, scorer: Scorer) -> tuple[dict[str, Any], MLP | None]:
    """Return the results of a training run, and its model if it did not diverge."""
    row: dict[str, Any] = dict.fromkeys(RESULTS[2:])
    if isinstance(outcome, DivergenceError):
        row["error"] = str(outcome).partition("; ")[0].partition(": ")[2]
        return row, None
    if isinstance(outcome, BaseException):
        raise outcome
    ensemble = Ensemble([outcome])
    averages = ensemble._averages(held_out[0])
    metrics = ensemble._loss_of(averages, *held_out[1:])
    row["score"] = scorer.score(ensemble, averages)
    row["validation_loss"] = metrics.loss
    row["validation_accuracy"] = None if math.isnan(metrics.accuracy) else metrics.accuracy
    row["seconds"] = float(sum(outcome.history["seconds"]))
    return row, outcome
