"""The optimizers' updates, as in PyTorch; `fastmlp.kernels.ops.optimizers` has the same ones in compiled code.

To add one: a row of OPTIMIZERS, its arithmetic in `adaptive_update`, and its step size in `set_rate`.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any, NamedTuple

import numpy as np

# An update rule with its settings.  `learning_rate`, `step_size` and `correction` change in every update: see set_rate.
Rule = namedtuple(
    "Rule",
    "rule learning_rate momentum weight_decay beta epsilon step_size correction",
    defaults=(0.0, 0.0, 0.0, 1.0),
)


class Optimizer(NamedTuple):
    """A row of the table.

    Attributes
    ----------
    n_state_arrays : int
        Number of arrays of state per parameter.
    learning_rate : float
        Default learning rate.
    settings : dict
        Defaults of the other settings, by the names of the arguments in fastmlp.
    """

    n_state_arrays: int
    learning_rate: float
    settings: dict[str, Any]


_ADAM = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
OPTIMIZERS = {
    "sgd": Optimizer(1, 0.1, {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0}),
    "adam": Optimizer(2, 0.001, _ADAM),
    "adamw": Optimizer(2, 0.001, {**_ADAM, "weight_decay": 0.01}),
    "rmsprop": Optimizer(2, 0.01, {"alpha": 0.99, "eps": 1e-8, "momentum": 0.0, "weight_decay": 0.0}),
    "adagrad": Optimizer(1, 0.01, {"lr_decay": 0.0, "eps": 1e-10, "weight_decay": 0.0}),
    "nadam": Optimizer(2, 0.002, {**_ADAM, "momentum_decay": 0.004}),
}
SGD_RULES = ("plain", "momentum", "nesterov")


def rule_of(optimizer):
    """Return the rule, number of state arrays, decay of the rate, and default rate of an optimizer.

    `optimizer` is a name, or one of fastmlp's optimizers.
    """
    kind, given = (optimizer, {}) if isinstance(optimizer, str) else (type(optimizer).__name__.lower(), vars(optimizer))
    if kind not in OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {', '.join(map(repr, OPTIMIZERS))}, got {kind!r}")
    row = OPTIMIZERS[kind]
    settings = {**row.settings, **given}
    if "betas" in settings:
        momentum, beta = settings["betas"]
    else:
        momentum, beta = settings.get("momentum", 0.0), settings.get("alpha", 0.0)
    if kind == "sgd":
        kind = "plain" if momentum == 0 else "nesterov" if settings["nesterov"] else "momentum"
    rule = Rule(kind, None, momentum, settings["weight_decay"], beta, settings.get("eps", 0.0))
    rate_decay = settings.get("momentum_decay", 0.0) + settings.get("lr_decay", 0.0)  # no optimizer has both
    return rule, row.n_state_arrays, rate_decay, row.learning_rate


def scale_rule(rule, rate, epsilon, decay):
    """Return a rule with its rate, its epsilon and its weight decay multiplied by these factors."""
    return rule._replace(
        learning_rate=rule.learning_rate * rate,
        step_size=rule.step_size * rate,
        epsilon=rule.epsilon * epsilon,
        weight_decay=rule.weight_decay * decay,
    )


def rate_factors(optimizer, inputs, weight_rate_factors, bias_rate_factor):
    """Return, for every layer, the factors of rate, epsilon and weight decay of its weights, and of its biases' rate.

    `inputs` are the layers' numbers of inputs.

    "ntk": of weights W = V / sqrt(n_in) when V is trained.
    """
    kind = optimizer if isinstance(optimizer, str) else type(optimizer).__name__.lower()
    factors = []
    for layer, n_in in enumerate(inputs):
        of_weights = (1.0, 1.0, 1.0)
        if isinstance(weight_rate_factors, str):
            of_weights = {"sgd": (1 / n_in, 1.0, n_in), "adamw": (n_in**-0.5, n_in**0.5, n_in**0.5)}.get(
                kind, (n_in**-0.5, n_in**0.5, n_in)
            )
        elif weight_rate_factors is not None:
            of_weights = (weight_rate_factors[layer], 1.0, 1.0)
        factors.append((*of_weights, bias_rate_factor))
    return factors


def average_parameters(averages, parameters, decay):
    """Update exponential moving averages of arrays, in place."""
    for average, parameter in zip(averages, parameters):
        average += average.dtype.type(1 - decay) * (parameter - average)


def initial_state(parameter, n_state_arrays):
    """Return what an optimizer knows of a parameter before the first step: zeros, one or two arrays of them."""
    if n_state_arrays == 1:
        return np.zeros_like(parameter)
    return tuple(np.zeros_like(parameter) for _ in range(n_state_arrays))


def set_rate(rule, rate, t, rate_decay=0.0):
    """Return a rule as it is in the t-th update since training began, counted from 1."""
    step_size, correction = rate, 1.0
    if rule.rule in ("adam", "adamw"):
        step_size, correction = rate / (1 - rule.momentum**t), 1 / np.sqrt(1 - rule.beta**t)
    elif rule.rule == "adagrad":
        step_size = rate / (1 + (t - 1) * rate_decay)
    elif rule.rule == "nadam":  # whose learning_rate is that of the gradient, and step_size that of the mean
        momenta = rule.momentum * (1 - 0.5 * 0.96 ** (np.arange(1, t + 2) * rate_decay))
        products = np.cumprod(momenta)
        step_size, correction = rate * momenta[-1] / (1 - products[-1]), 1 / np.sqrt(1 - rule.beta**t)
        rate = rate * (1 - momenta[-2]) / (1 - products[-2])
    elif rule.rule not in (*SGD_RULES, "rmsprop"):
        raise ValueError(f"unknown update rule {rule.rule!r}")
    return rule._replace(learning_rate=rate, step_size=step_size, correction=correction)


def optimizer_update(parameter, state, gradient, rule):
    """Make an optimizer's step, in place; `state` is an array like the parameter, or two of them."""
    update = sgd_update if rule.rule in SGD_RULES else adaptive_update
    update(parameter, state, gradient, rule)


def sgd_update(parameter, velocity, gradient, rule):
    """Make a step of SGD, in place, in PyTorch's form.

    v = momentum * v + g; the step is g + momentum * v with Nesterov, else v.
    """
    if rule.rule not in SGD_RULES:
        raise ValueError(f"unknown update rule {rule.rule!r}")
    dtype = parameter.dtype.type
    if rule.weight_decay:
        gradient = gradient + dtype(rule.weight_decay) * parameter
    if rule.rule != "plain":
        velocity *= dtype(rule.momentum)
        velocity += gradient
        gradient = gradient + dtype(rule.momentum) * velocity if rule.rule == "nesterov" else velocity
    parameter -= dtype(rule.learning_rate) * gradient


def adaptive_update(parameter, state, gradient, rule):
    """Make a step of Adam, AdamW, NAdam, RMSprop or Adagrad, in place, as in PyTorch.

    `state` holds Adam's mean of gradients, or RMSprop's velocity, and the mean of squares; or Adagrad's sum of squares.
    """
    if rule.rule in SGD_RULES or rule.rule not in OPTIMIZERS:
        raise ValueError(f"unknown update rule {rule.rule!r}")
    dtype = parameter.dtype.type
    mean, squares = (state, state) if rule.rule == "adagrad" else state
    if rule.rule == "adamw":
        parameter *= dtype(1 - rule.learning_rate * rule.weight_decay)
    elif rule.weight_decay:
        gradient = gradient + dtype(rule.weight_decay) * parameter
    if rule.rule == "adagrad":
        squares += gradient * gradient
    else:
        squares *= dtype(rule.beta)
        squares += dtype(1 - rule.beta) * gradient * gradient
    if rule.rule in ("adam", "adamw", "nadam"):
        mean += dtype(1 - rule.momentum) * (gradient - mean)
        denominator = np.sqrt(squares) * dtype(rule.correction) + dtype(rule.epsilon)
    else:
        denominator = np.sqrt(squares) + dtype(rule.epsilon)
    if rule.rule == "nadam":
        parameter -= (dtype(rule.learning_rate) * gradient + dtype(rule.step_size) * mean) / denominator
    elif rule.rule in ("adam", "adamw"):
        parameter -= dtype(rule.step_size) * (mean / denominator)
    elif rule.rule == "rmsprop":
        mean *= dtype(rule.momentum)
        mean += gradient / denominator
        parameter -= dtype(rule.step_size) * mean
    elif rule.rule == "adagrad":
        parameter -= dtype(rule.step_size) * (gradient / denominator)
    else:
        raise ValueError(f"unknown update rule {rule.rule!r}")


def flush_subnormals(state, size):
    """Set the first `size` numbers to 0 where they are subnormal in float32, in place."""
    state[:size][np.abs(state[:size]) < np.finfo(np.float32).tiny] = 0
