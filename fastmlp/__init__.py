"""fastmlp: multilayer perceptrons, trained on a CPU by exact minibatch SGD in compiled kernels.

>>> import fastmlp
>>> mnist = fastmlp.load_mnist()
>>> model = fastmlp.train(mnist.x_train[:2000], mnist.y_train[:2000], epochs=2, seed=0)
>>> model.predict(mnist.x_test).shape
(10000,)
"""

__version__ = "0.1.0"

import gc as _gc
import importlib
from typing import TYPE_CHECKING, Any

# Numba makes so many objects that live on, that collections of garbage take a third of the time of importing it: they
# go to the oldest generation at once.
_collects = _gc.isenabled()
_gc.disable()
try:
    from fastmlp import callbacks
    from fastmlp.course import DivergenceError
    from fastmlp.datasets import load_mnist
    from fastmlp.files import load
    from fastmlp.model import MLP, Metrics
    from fastmlp.notebook import reproduce
    from fastmlp.optimizers import SGD, Adagrad, Adam, AdamW, RMSprop
    from fastmlp.optional import require as _require
    from fastmlp.train import train
finally:
    if _collects:
        _gc.freeze()
        _gc.unfreeze()
        _gc.enable()

# Imported when they are asked for first.
_LAZY = {
    **dict.fromkeys(
        ["Cosine", "Exponential", "LinearDecay", "OneCycle", "ReduceOnPlateau", "Step", "Warmup"], "schedules"
    ),
    "from_keras": "convert", "from_sklearn": "convert", "from_torch": "convert", "to_torch": "convert",
    "MLPClassifier": "estimators", "MLPRegressor": "estimators", "reference": "",
}  # fmt: skip

if TYPE_CHECKING:
    from fastmlp import reference
    from fastmlp.convert import from_keras, from_sklearn, from_torch, to_torch
    from fastmlp.estimators import MLPClassifier as MLPClassifier
    from fastmlp.estimators import MLPRegressor as MLPRegressor
    from fastmlp.schedules import Cosine, Exponential, LinearDecay, OneCycle, ReduceOnPlateau, Step, Warmup


else:

    def __getattr__(name: str) -> Any:
        if name not in _LAZY:
            raise AttributeError(f"module 'fastmlp' has no attribute {name!r}")
        if _LAZY[name] == "estimators":
            _require("sklearn", "sklearn")
        module = importlib.import_module(f"fastmlp.{_LAZY[name] or name}")
        value = globals()[name] = getattr(module, name) if _LAZY[name] else module
        return value


def __dir__() -> list[str]:
    return sorted({name for name in globals() if name.startswith("__")} | {*__all__, *_LAZY})


# Without the estimators: they import scikit-learn, which need not be there.
__all__ = [
    "Adagrad",
    "Adam",
    "AdamW",
    "RMSprop",
    "MLP",
    "SGD",
    "Cosine",
    "Exponential",
    "OneCycle",
    "ReduceOnPlateau",
    "Warmup",
    "DivergenceError",
    "LinearDecay",
    "Metrics",
    "Step",
    "callbacks",
    "from_keras",
    "from_sklearn",
    "from_torch",
    "load",
    "load_mnist",
    "reference",
    "reproduce",
    "to_torch",
    "train",
]
