"""Models from files and from other libraries, and back.

`fastmlp.io` reads and writes plain states; here they become models.  No other library is imported before it is needed.
"""

from __future__ import annotations

import os
from typing import Any

from fastmlp.model import MLP


def load(path: str | os.PathLike) -> MLP | Any:  # or Ensemble: callers know which, and need not say so
    """Read a model that `MLP.save` wrote, or an ensemble from `Ensemble.save`.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    MLP or Ensemble

    Raises
    ------
    ValueError
        If the file is not a complete model file, or its tensors do not fit its architecture.
    OSError
        If the file can't be read.
    """
    from fastmlp.io.ensembles import read

    states, weights = read(path)
    models = [MLP.from_state(state) for state in states]
    if weights is None:
        return models[0]
    from fastmlp.many.ensemble import Ensemble

    try:
        return Ensemble(models, weights)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{os.fspath(path)} is not a fastmlp ensemble that this version can read: {error}") from None


def from_torch(module_or_state_dict, *, classes=None, input_scale="auto", activation="relu") -> MLP:
    """Return a model that computes what a PyTorch network computes in evaluation mode.

    Parameters
    ----------
    module_or_state_dict : torch.nn.Sequential, or dict of str to tensor or array
        A stack of ``Linear``, ``Dropout``, ``Flatten``, activations and nested stacks; or the state dict of one, whose
        two-dimensional weights are the layers in order, under any names.  A final ``Softmax`` or ``LogSoftmax`` over
        the outputs makes a classifier ("cross_entropy"), a final ``Sigmoid`` a classifier with several labels per
        sample ("binary_cross_entropy"), anything else a regression ("mse").
    classes : sequence of int or str, optional
        Labels of the outputs, in order.  They make a classifier ("cross_entropy") of a network that ends in logits, as
        those trained with ``CrossEntropyLoss`` do, or in a single logit or sigmoid, which stands for the second of two
        classes.  The model's classes are sorted, and its outputs with them.  By default a classifier has the classes
        0, 1, 2, ...
    input_scale : float, array_like (n_features,), InputScale or "auto"
        Factor of the input before the first layer; "auto" is 1/255 for uint8, 1 otherwise.
    activation : str or sequence of str
        Activations for a state dict, which does not hold them: one name, or one per hidden layer.

    Returns
    -------
    MLP
        It has float32 copies of the weights.

    Raises
    ------
    ValueError, TypeError
        If a layer, which the error names, can't be represented, or the arguments do not fit.
    ImportError
        If PyTorch is missing; state dicts of arrays do not need it.
    """
    from fastmlp.io.torch import from_torch

    return MLP.from_state(from_torch(module_or_state_dict, classes, input_scale, activation))


def to_torch(model: MLP):
    """Return a PyTorch network that computes the outputs of a model.

    Parameters
    ----------
    model : MLP

    Returns
    -------
    torch.nn.Sequential
        It has copies of the weights, takes float32 (n, n_features), and returns the result of `predict_proba` for a
        classifier, whose last module is a ``Softmax`` or ``Sigmoid``, and of `predict` for a regression.  The scale and
        the offset of the input are part of the first weight and bias, except for ``input_scale="auto"``: pass bytes as
        ``x.float() / 255``.  The scaling of ``input_scale="robust"`` is the first module.  A model with an `encoder`
        takes what ``model.encoder.transform(frame)`` returns.  The network does not know the labels: output k stands
        for ``model.classes[k]``.

    Raises
    ------
    ImportError
        If PyTorch is missing.
    TypeError
        If `model` is not an `MLP`.
    """
    if not isinstance(model, MLP):
        raise TypeError(f"model must be a fastmlp.MLP, got {model!r}")
    return model.to_torch()


def from_keras(model, *, classes=None, input_scale="auto") -> MLP:
    """Return a model that computes what a Keras model computes in inference.

    Parameters
    ----------
    model : keras.Sequential, or keras.Model of layers one after the other
        A built model of Keras 3 with ``Dense``, ``Dropout``, ``Activation``, ``ReLU`` and the like, ``Flatten`` and
        nested stacks.  The last activation counts as in `from_torch`; "exponential" makes a regression ("poisson").
    classes, input_scale
        As in `from_torch`.

    Returns
    -------
    MLP
        It has float32 copies of the weights.

    Raises
    ------
    ValueError, TypeError
        If a layer, which the error names, can't be represented, or the arguments do not fit.
    ImportError
        If Keras is missing.
    """
    from fastmlp.io.keras import from_keras

    return MLP.from_state(from_keras(model, classes, input_scale))


def from_sklearn(mlp, *, input_scale="auto") -> MLP:
    """Return a model that computes what an MLP of scikit-learn computes.

    Parameters
    ----------
    mlp : MLPClassifier or MLPRegressor, fitted
        A classifier of two classes, which has one output there, gets two.  A classifier with several labels per sample
        gets the loss "binary_cross_entropy" and no classes, a regression "mse", or "poisson" if that is its loss.
        Classes are kept; if they are whole numbers stored as floats, they become integers.
    input_scale
        As in `from_torch`.

    Returns
    -------
    MLP
        It has float32 copies of the weights.

    Raises
    ------
    ValueError, TypeError
        If it is not such an estimator, or is not fitted.
    ImportError
        If scikit-learn is missing.
    """
    from fastmlp.io.sklearn import from_sklearn

    return MLP.from_state(from_sklearn(mlp, input_scale))
