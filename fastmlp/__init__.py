"""fastmlp: multilayer perceptrons, trained on a CPU by exact minibatch SGD in compiled kernels.

>>> import fastmlp
>>> mnist = fastmlp.load_mnist()
>>> model = fastmlp.train(mnist.x_train[:2000], mnist.y_train[:2000], epochs=2, seed=0)
>>> model.predict(mnist.x_test).shape
(10000,)
"""

__version__ = "0.1.0"

import gc as _gc
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:
    from fastmlp.estimators import MLPClassifier as MLPClassifier
    from fastmlp.estimators import MLPRegressor as MLPRegressor

# Numba makes so many objects that live on, that collections of garbage take a third of the time of importing it: they
# go to the oldest generation at once.
_collects = _gc.isenabled()
_gc.disable()
try:
    from fastmlp import callbacks, reference
    from fastmlp.datasets import load_mnist
    from fastmlp.files import load
    from fastmlp.model import MLP, Metrics
    from fastmlp.notebook import reproduce
    from fastmlp.optimizers import SGD, Adagrad, Adam, AdamW, RMSprop
    from fastmlp.schedules import Cosine, Exponential, LinearDecay, OneCycle, ReduceOnPlateau, Step, Warmup
    from fastmlp.train import DivergenceError, train
finally:
    if _collects:
        _gc.freeze()
        _gc.unfreeze()
        _gc.enable()

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
    "load",
    "load_mnist",
    "reference",
    "reproduce",
    "train",
]

# Not in __all__: they import scikit-learn, which need not be there.
_ESTIMATORS = ("MLPClassifier", "MLPRegressor")


def __getattr__(name: str) -> _Any:
    if name not in _ESTIMATORS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from fastmlp import estimators
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("sklearn", "scipy"):
            raise
        raise ImportError(f"fastmlp.{name} needs scikit-learn: pip install 'fastmlp[sklearn]'") from error
    return getattr(estimators, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_ESTIMATORS})
