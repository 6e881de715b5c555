"""The steps of an epoch: regions of work (see `fastmlp.kernels.step.regions`), serial or side by side."""

import numba
import numpy as np

from fastmlp.kernels.jit import inline_llvm, inline_numba, kernel, parallel
from fastmlp.kernels.ops.dense import ceil_div, element_offset
from fastmlp.kernels.ops.losses import LOSS as LOSS_OF_ROW
from fastmlp.kernels.ops.losses import MSE, NOTEBOOK, PREDICTED
from fastmlp.kernels.ops.optimizers import step_sizes
from fastmlp.kernels.simd.addresses import address_of, call_at, floats_at, int64s_at
from fastmlp.kernels.simd.processors import NARROW
from fastmlp.kernels.simd.vector import load, store
from fastmlp.kernels.step.network import TABLE_COLUMNS, output_of
from fastmlp.kernels.step.record import (
    BATCH_SIZE,
    BETA,
    CORRECTION,
    FIRST_FORWARD,
    HAS_INPUT,
    INNER_BACKWARD,
    INNER_FORWARD,
    LEARNING_RATE,
    LOSS,
    LOSS_CODE,
    MODE,
    MOMENTUM,
    N_UPDATES,
    PREDICT,
    RATE_DECAY,
    SAMPLES,
    SETTINGS,
    SIZE,
    START,
    STEP_SIZE,
    TRAIN,
    UPDATE,
    UPDATE_RULE,
    WEIGH,
    network_of,
    targets_of,
)
from fastmlp.kernels.step.regions import BACKWARD, FORWARD, INPUT, OUTPUT, SQUARES
from fastmlp.kernels.step.regions import UPDATE as UPDATE_DEFERRED

RECORD_LOSS, RECORD_CORRECT, RECORD_LABEL_ERROR = range(3)


@kernel
def record(records, step, workspace, loss, labels, samples, start, n, rows, capacity):
    """records[step] = sums over the batch of the loss, of correct predictions, and of the squares of label differences

    records    (n_steps, 3) float64    overwritten in row `step`
    """
    total, correct, label_error = 0.0, 0.0, 0.0
    for i in range(n):
        total += workspace[rows + LOSS_OF_ROW * capacity + i]
        if loss < MSE:
            difference = np.int64(workspace[rows + PREDICTED * capacity + i]) - labels[samples[start + i]]
            correct += difference == 0
            label_error += difference * difference
        else:
            correct += workspace[rows + PREDICTED * capacity + i]
    records[step, RECORD_LOSS] = total
    records[step, RECORD_CORRECT] = correct
    records[step, RECORD_LABEL_ERROR] = label_error


@inline_numba
def serial(address, kind, layer, context_address, threads):
    """A region on the calling thread alone"""
    call_at(address, kind, layer, context_address, np.int64(0), np.int64(1))


@parallel
def side_by_side(address, kind, layer, context_address, threads):
    """A region on several threads"""
    for thread in numba.prange(threads):
        call_at(address, kind, layer, context_address, np.int64(thread), threads)


@inline_llvm
def set_rate(settings, rule, rate, t):
    """The learning rate of the t-th update since training began, counted from 1, and what else follows from it"""
    settings[LEARNING_RATE], settings[STEP_SIZE], settings[CORRECTION] = step_sizes(
        rule, rate, t, np.float64(settings[MOMENTUM]), np.float64(settings[BETA]), np.float64(settings[RATE_DECAY])
    )


@inline_numba
def steps(run, context, first, last, learning_rates, records, outputs, threads):
    """The steps of `train_steps`; `run` does a region"""
    where, network, settings = (
        address_of(context),
        network_of(context),
        floats_at(context[SETTINGS], context[SETTINGS + 1]),
    )
    layout, loss, mode, n_samples = network.layout, context[LOSS_CODE], context[MODE], context[SAMPLES + 1]
    last_layer = network.layers.size // TABLE_COLUMNS - 1
    for step in range(first, last):
        start = step * context[BATCH_SIZE]
        n = min(context[BATCH_SIZE], n_samples - start)
        context[START], context[SIZE] = start, n
        if mode == TRAIN:
            context[N_UPDATES] += 1
            set_rate(settings, context[UPDATE_RULE], learning_rates[step], context[N_UPDATES])
        if context[HAS_INPUT]:
            run(context[FIRST_FORWARD], INPUT, np.int64(0), where, threads)
        run(context[FIRST_FORWARD], FORWARD, np.int64(0), where, threads)
        for layer in range(1, last_layer):
            run(context[INNER_FORWARD], FORWARD, layer, where, threads)
        run(context[INNER_FORWARD], OUTPUT, last_layer, where, threads)
        if mode == PREDICT:
            logits = output_of(network, last_layer, n)
            row = ceil_div(logits.columns, NARROW) * NARROW
            for i in range(n):
                for j in range(0, logits.columns, NARROW):
                    store(load(network.workspace, element_offset(logits, i, j)), outputs, (start + i) * row + j)
            continue
        if loss == NOTEBOOK:  # its softmax needs the whole batch
            call_at(context[LOSS], where, last_layer, np.int64(0), n, np.int64(0))
            if context[WEIGH]:
                call_at(context[WEIGH], where, last_layer, np.int64(0), n, np.int64(0))
        samples, labels = int64s_at(context[SAMPLES], n_samples), targets_of(context).labels
        record(records, step, network.workspace, loss, labels, samples, start, n, layout.rows, layout.capacity)
        if mode == TRAIN:
            if not np.isfinite(records[step, RECORD_LOSS]):
                return step
            for layer in range(last_layer, min(last_layer, 1) - 1, -1):
                run(context[INNER_BACKWARD], BACKWARD, layer, where, threads)
            if context[UPDATE]:
                run(context[UPDATE], SQUARES, np.int64(0), where, threads)
                run(context[UPDATE], UPDATE_DEFERRED, np.int64(0), where, threads)
    return last


@kernel
def train_steps(context, first, last, learning_rates, records, outputs):
    """The steps first..last-1 of an epoch of exact minibatch SGD; returns `last`, or the step whose loss is not finite.
    In other modes than TRAIN, all of these steps without what the mode leaves out.

    context         (CONTEXT,) int64     read; its batch is overwritten, and what its arrays hold is updated in place:
                                         step s takes BATCH_SIZE of the SAMPLES from s * BATCH_SIZE on
    learning_rates  (n_steps,) float32   read
    records         (n_steps, 3)         overwritten, see `record`; not touched in the mode PREDICT
    outputs         flat                 the last layer's, in the mode PREDICT alone: rows padded to whole vectors
    """
    return steps(serial, context, first, last, learning_rates, records, outputs, np.int64(1))


@kernel
def train_steps_parallel(context, first, last, learning_rates, records, outputs, threads):
    """`train_steps` on several threads, with bitwise the same result"""
    return steps(side_by_side, context, first, last, learning_rates, records, outputs, threads)
