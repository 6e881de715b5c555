"""Models from files and from other libraries, and back: `fastmlp.io` makes their states, and these make models.

No other library is imported before it is needed.
"""

from __future__ import annotations

import os

from fastmlp.model import MLP


def load(path: str | os.PathLike) -> MLP:
    """Read a model that `MLP.save` wrote.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    MLP

    Raises
    ------
    ValueError
        If the file is not a complete model file, or its tensors do not fit its architecture.
    OSError
        If the file can't be read.
    """
    from fastmlp.io.safetensors import read

    return MLP.from_state(read(path)[0])


def from_torch(module_or_state_dict, *, classes=None, input_scale="auto", activation="relu") -> MLP:
    """The model that computes what a PyTorch network does in evaluation.

    Parameters
    ----------
    module_or_state_dict : torch.nn.Sequential, or dict of str to tensor or array
        A stack of ``Linear``, ``Dropout``, ``Flatten``, activations and further such stacks; or the state dict of one,
        whose 2-dimensional weights are the layers in their order, under whatever names.  A last ``Softmax`` or
        ``LogSoftmax`` over the outputs makes a classifier ("cross_entropy"), a last ``Sigmoid`` one of several labels
        a sample ("binary_cross_entropy"), anything else a regression ("mse").
    classes : sequence of int or str, optional
        What the outputs stand for, in their order; makes a classifier ("cross_entropy") of a network that ends in
        logits, as those trained with ``CrossEntropyLoss`` do, and of a single logit or sigmoid, which is the second
        of two classes.  A model's classes are sorted, and its outputs with them.  By default a classifier has the
        classes 0, 1, 2, ...
    input_scale : float, array_like (n_features,), InputScale or "auto"
        What the input is multiplied by before the first layer; "auto" is 1/255 for uint8, 1 otherwise.
    activation : str or sequence of str
        For a state dict, which does not have them: one name, or one per hidden layer.

    Returns
    -------
    MLP
        With copies of the weights, in float32.

    Raises
    ------
    ValueError, TypeError
        If a layer can't be represented, which names it, or the arguments do not fit.
    ImportError
        If PyTorch is missing; state dicts of arrays do without it.
    """
    from fastmlp.io.torch import from_torch

    return MLP.from_state(from_torch(module_or_state_dict, classes, input_scale, activation))


def to_torch(model: MLP):
    """A PyTorch network with the outputs of a model.

    Parameters
    ----------
    model : MLP

    Returns
    -------
    torch.nn.Sequential
        With copies of the weights.  It takes float32 (n, n_features) and returns what `predict_proba` does for a
        classifier, by a last ``Softmax`` or ``Sigmoid``, and `predict` for a regression.  The scale of the input, and
        its offset, are in the first layer's weights and bias.  With ``input_scale="auto"`` there is none: bytes go
        in as ``x.float() / 255``.  The scaling of ``input_scale="robust"`` is a module in front.  A model with an
        `encoder` takes what ``model.encoder.transform(frame)`` returns.  The network does not know the labels: output k
        is ``model.classes[k]``.

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
    """The model that computes what a Keras model does in inference.

    Parameters
    ----------
    model : keras.Sequential, or keras.Model of layers one after the other
        Of Keras 3, built: ``Dense``, ``Dropout``, ``Activation``, ``ReLU`` and the like, ``Flatten`` and further such
        stacks.  Last activations are as in `from_torch`; "exponential" makes a regression ("poisson").
    classes, input_scale
        As in `from_torch`.

    Returns
    -------
    MLP
        With copies of the weights, in float32.

    Raises
    ------
    ValueError, TypeError
        If a layer can't be represented, which names it, or the arguments do not fit.
    ImportError
        If Keras is missing.
    """
    from fastmlp.io.keras import from_keras

    return MLP.from_state(from_keras(model, classes, input_scale))


def from_sklearn(mlp, *, input_scale="auto") -> MLP:
    """The model that computes what an MLP of scikit-learn does.

    Parameters
    ----------
    mlp : MLPClassifier or MLPRegressor, fitted
        A classifier of two classes, which has one output, gets two.  One of several labels a sample has the loss
        "binary_cross_entropy" and no classes, a regression "mse", or "poisson" if that is its loss.  The classes are
        its own; those that are floats, but whole numbers, become integers.
    input_scale
        As in `from_torch`.

    Returns
    -------
    MLP
        With copies of the weights, in float32.

    Raises
    ------
    ValueError, TypeError
        If it is not such an estimator, or is not fitted.
    ImportError
        If scikit-learn is missing.
    """
    from fastmlp.io.sklearn import from_sklearn

    return MLP.from_state(from_sklearn(mlp, input_scale))
