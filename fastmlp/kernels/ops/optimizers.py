"""Update rules of one vector of parameters, in place."""

from collections import namedtuple

import numpy as np

from fastmlp.kernels.jit import inline_llvm, kernel
from fastmlp.kernels.simd.functions import sqrt
from fastmlp.kernels.simd.processors import NARROW
from fastmlp.kernels.simd.vector import add, div, fma, load, mul, splat, store, sub

# The codes; `fastmlp.optimizers` has their names.  An unknown code makes parameters NaN, so that training stops.
PLAIN, MOMENTUM, NESTEROV, DEFER, ADAM, ADAMW, RMSPROP, ADAGRAD, NADAM = range(9)

TINY = np.finfo(np.float32).tiny  # the smallest normal number

# rule: one of the codes above; the rest float32.  `momentum` is Adam's first beta, `beta` the second, or RMSprop's
# alpha.  What changes from step to step: the learning rate; step_size, the rate over Adam's first correction of the
# bias, or the rate that Adagrad has come down to; and `correction`, one over the root of Adam's second.  NAdam's
# learning_rate is that of the gradient, its step_size that of the mean.
Rule = namedtuple(
    "Rule",
    "rule learning_rate momentum weight_decay beta epsilon step_size correction",
    defaults=(np.float32(0), np.float32(0), np.float32(0), np.float32(1)),
)


@inline_llvm
def is_sgd(rule):
    """Return whether a rule is one of SGD's."""
    if rule == PLAIN or rule == MOMENTUM:  # noqa: SIM109, Numba
        return True
    return rule == NESTEROV


@inline_llvm
def nadam_momentum(momentum, decay, t):
    """NAdam's momentum in the t-th update, which rises from half of `momentum` to all of it"""
    return momentum * (np.float64(1) - np.float64(0.5) * np.float64(0.96) ** (t * decay))


@inline_llvm
def step_sizes(rule, rate, t, momentum, beta, decay):
    """Return a Rule's learning_rate, step_size and correction in the t-th update since training began, counted from 1

    `decay` is what changes the rate from step to step: Adagrad's, or NAdam's of the momentum.
    """
    rate, one = np.float64(rate), np.float64(1)
    if rule == ADAM or rule == ADAMW:  # noqa: SIM109, Numba
        return rate, rate / (one - momentum**t), one / np.sqrt(one - beta**t)
    if rule == ADAGRAD:
        return rate, rate / (one + (t - 1) * decay), one
    if rule == NADAM:
        now, following = nadam_momentum(momentum, decay, t), nadam_momentum(momentum, decay, t + 1)
        product = one
        for i in range(1, t + 1):
            product *= nadam_momentum(momentum, decay, i)
            if product < 1e-20:  # next to 1 it vanishes from here on
                break
        of_gradient, of_mean = (one - now) / (one - product), following / (one - product * following)
        return rate * of_gradient, rate * of_mean, one / np.sqrt(one - beta**t)
    if rule == RMSPROP or is_sgd(rule):
        return rate, rate, one
    return rate, np.float64(np.nan), one


@inline_llvm
def scale_rule(rule, rate, epsilon, decay):
    """Return the rule with its rate, its epsilon and its weight decay multiplied by these factors."""
    return Rule(
        rule.rule, rule.learning_rate * rate, rule.momentum, rule.weight_decay * decay, rule.beta,
        rule.epsilon * epsilon, rule.step_size * rate, rule.correction,
    )  # fmt: skip


@inline_llvm
def optimizer_update(parameters, state, at, gradient, start, columns, rule):
    """parameters[at : at + columns] -= a step, from the gradient and the optimizer's state

    parameters  flat    updated in place
    state       flat    updated in place; once or twice as long as parameters, or empty for the rule PLAIN; behind it,
                        with the rule DEFER, the gradient is kept (see `fastmlp.kernels.step.penalties`)
    gradient    flat    read from `start` on

    Reads and writes whole vectors: `columns` is a multiple of NARROW.
    """
    if is_sgd(rule.rule):
        sgd_update(parameters, state, at, gradient, start, columns, rule)
    elif rule.rule == DEFER:
        for c in range(0, columns, NARROW):
            store(load(gradient, start + c), state, state.size - parameters.size + at + c)
    else:
        adaptive_update(parameters, state, at, gradient, start, columns, rule)


@inline_llvm
def sgd_update(parameters, state, at, gradient, start, columns, rule):
    """Apply the rules PLAIN, MOMENTUM and NESTEROV: parameters -= learning_rate * step, from the velocity (state)"""
    rate, decay = splat(-rule.learning_rate), splat(rule.weight_decay)
    if rule.rule == PLAIN:
        for c in range(0, columns, NARROW):
            weight = load(parameters, at + c)
            step = fma(decay, weight, load(gradient, start + c))
            store(fma(rate, step, weight), parameters, at + c)
    else:
        momentum = splat(rule.momentum)
        for c in range(0, columns, NARROW):
            weight = load(parameters, at + c)
            step = fma(decay, weight, load(gradient, start + c))
            velocity = fma(momentum, load(state, at + c), step)
            store(velocity, state, at + c)
            if rule.rule == NESTEROV:
                velocity = fma(momentum, velocity, step)
            store(fma(rate, velocity, weight), parameters, at + c)


@kernel
def adaptive_update(parameters, state, at, gradient, start, columns, rule):
    """Apply the rules ADAM (Kingma and Ba 2015), ADAMW (Loshchilov and Hutter 2019), RMSPROP (Hinton 2012), ADAGRAD
    (Duchi et al. 2011) and NADAM (Dozat 2016), as PyTorch defines them

    `state` holds Adam's mean of gradients, or RMSprop's velocity, and behind it the mean of squares; Adagrad's sum of
    squares is all of it.
    """
    if rule.rule == ADAGRAD:
        squares = np.int64(0)
    elif rule.rule == ADAM or rule.rule == ADAMW or rule.rule == RMSPROP or rule.rule == NADAM:
        squares = parameters.size
    else:  # whose state may be of any size
        for c in range(0, columns, NARROW):
            store(splat(np.float32(np.nan)), parameters, at + c)
        return
    one, decay, epsilon = np.float32(1), splat(rule.weight_decay), splat(rule.epsilon)
    beta, rest, step_size = splat(rule.beta), splat(one - rule.beta), splat(-rule.step_size)
    is_adam = rule.rule == ADAM or rule.rule == ADAMW
    for c in range(0, columns, NARROW):
        weight, g = load(parameters, at + c), load(gradient, start + c)
        if rule.rule == ADAMW:
            weight = mul(splat(one - rule.learning_rate * rule.weight_decay), weight)
        else:
            g = fma(decay, weight, g)
        square = load(state, squares + at + c)
        square = fma(g, g, square) if rule.rule == ADAGRAD else fma(beta, square, mul(rest, mul(g, g)))
        store(square, state, squares + at + c)
        root = sqrt(square)
        if is_adam:
            mean = load(state, at + c)
            mean = fma(splat(one - rule.momentum), sub(g, mean), mean)
            store(mean, state, at + c)
            step = div(mean, fma(root, splat(rule.correction), epsilon))
        elif rule.rule == NADAM:
            mean = load(state, at + c)
            mean = fma(splat(one - rule.momentum), sub(g, mean), mean)
            store(mean, state, at + c)
            step = fma(splat(rule.learning_rate), g, mul(splat(rule.step_size), mean))
            store(sub(weight, div(step, fma(root, splat(rule.correction), epsilon))), parameters, at + c)
            continue
        else:
            step = div(g, add(root, epsilon))
            if rule.rule == RMSPROP:
                step = fma(splat(rule.momentum), load(state, at + c), step)
                store(step, state, at + c)
        store(fma(step_size, step, weight), parameters, at + c)


@kernel
def flush_subnormals(state, size):
    """state[:size] = 0 where it is subnormal"""
    for i in range(size):
        state[i] = np.float32(0) if abs(state[i]) < TINY else state[i]
