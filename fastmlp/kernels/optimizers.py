"""Update rules of one vector of parameters, in place."""

from collections import namedtuple

from fastmlp.kernels.jit import inlined
from fastmlp.kernels.vector import NARROW, fma, load, splat, store

PLAIN, MOMENTUM, NESTEROV = range(3)

# rule: one of the codes above; the rest float32
Rule = namedtuple("Rule", "rule learning_rate momentum weight_decay")


@inlined
def sgd_update(parameters, state, at, gradient, start, columns, rule):
    """parameters[at : at + columns] -= learning_rate * step, the step from the gradient and the velocity (state)

    parameters  flat    updated in place
    state       flat    updated in place; not touched by the rule PLAIN
    gradient    flat    read from `start` on

    Reads and writes whole vectors: `columns` is a multiple of NARROW.
    """
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
