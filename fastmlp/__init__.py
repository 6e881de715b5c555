"""fastmlp: multilayer perceptrons, trained on a CPU by exact minibatch SGD in compiled kernels.

>>> import fastmlp
>>> mnist = fastmlp.load_mnist()
>>> model = fastmlp.train(mnist.x_train[:2000], mnist.y_train[:2000], epochs=2, seed=0)
>>> model.predict(mnist.x_test).shape
(10000,)
"""

__version__ = "0.1.0"

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

# The modules that have the names below: they are imported when a name is asked for first.  Nearly all of the time that
# importing takes is Numba's, and an interruption of it must find the command line ready to answer.
_MODULES = {
    **dict.fromkeys(["MLP", "Metrics"], "model"),
    **dict.fromkeys(["DivergenceError", "WorkersLostError"], "errors"),
    "train": "train",
    **dict.fromkeys(["iter_many", "train_many"], "many.training"),
    "Ensemble": "many.ensemble",
    "search": "many.search",
    **dict.fromkeys(["SGD", "Adagrad", "Adam", "AdamW", "NAdam", "RMSprop"], "optimizers"),
    **dict.fromkeys(
        ["Cosine", "CosineLog", "Exponential", "LinearDecay", "OneCycle", "ReduceOnPlateau", "Step", "Warmup"],
        "schedules",
    ),
    **dict.fromkeys(["from_keras", "from_sklearn", "from_torch", "load", "to_torch"], "convert"),
    **dict.fromkeys(["MLPClassifier", "MLPRegressor"], "sklearn"),
    "load_mnist": "datasets",
    "reproduce": "notebook",
    "tabular": "tabular_preset",
}
_SUBMODULES = ("callbacks", "datasets", "plots", "reference", "report")

if TYPE_CHECKING:
    from fastmlp import callbacks, reference
    from fastmlp import plots as plots
    from fastmlp import report as report
    from fastmlp.convert import from_keras, from_sklearn, from_torch, load, to_torch
    from fastmlp.datasets import load_mnist
    from fastmlp.errors import DivergenceError, WorkersLostError
    from fastmlp.many.ensemble import Ensemble
    from fastmlp.many.search import search
    from fastmlp.many.training import iter_many, train_many
    from fastmlp.model import MLP, Metrics
    from fastmlp.notebook import reproduce
    from fastmlp.optimizers import SGD, Adagrad, Adam, AdamW, NAdam, RMSprop
    from fastmlp.schedules import Cosine, CosineLog, Exponential, LinearDecay, OneCycle, ReduceOnPlateau, Step, Warmup
    from fastmlp.sklearn import MLPClassifier as MLPClassifier
    from fastmlp.sklearn import MLPRegressor as MLPRegressor
    from fastmlp.tabular_preset import tabular
    from fastmlp.train import train

else:

    class _Package(types.ModuleType):
        """This package, in which `train` is the function, also where the module of that name is imported."""

        def __setattr__(self, name: str, value: Any) -> None:
            is_module = name == "train" and isinstance(value, types.ModuleType)
            super().__setattr__(name, value.train if is_module else value)

    sys.modules[__name__].__class__ = _Package

    def __getattr__(name: str) -> Any:
        if name in _SUBMODULES:
            return importlib.import_module(f"fastmlp.{name}")
        if name not in _MODULES:
            raise AttributeError(f"module 'fastmlp' has no attribute {name!r}")
        if _MODULES[name] == "sklearn":
            from fastmlp.optional import require

            require("sklearn", "sklearn")
        value = globals()[name] = getattr(importlib.import_module(f"fastmlp.{_MODULES[name]}"), name)
        return value


def __dir__() -> list[str]:
    return sorted({name for name in globals() if name.startswith("__")} | {*__all__, *_MODULES})


# Without the estimators: they import scikit-learn, which need not be there.
__all__ = [
    "Adagrad",
    "Adam",
    "AdamW",
    "Cosine",
    "CosineLog",
    "DivergenceError",
    "Ensemble",
    "Exponential",
    "LinearDecay",
    "MLP",
    "Metrics",
    "NAdam",
    "OneCycle",
    "RMSprop",
    "ReduceOnPlateau",
    "SGD",
    "Step",
    "Warmup",
    "WorkersLostError",
    "callbacks",
    "from_keras",
    "from_sklearn",
    "from_torch",
    "iter_many",
    "load",
    "load_mnist",
    "reference",
    "reproduce",
    "search",
    "tabular",
    "to_torch",
    "train",
    "train_many",
]
