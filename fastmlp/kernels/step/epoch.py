"""The steps of epochs: regions of work (see `fastmlp.kernels.step.regions`), in one thread or in several."""

import numba
import numpy as np

from fastmlp.kernels.jit import inline_llvm, inline_numba, kernel, parallel
from fastmlp.kernels.ops.dense import ceil_div, element_offset
from fastmlp.kernels.ops.losses import LOSS, MSE, NOTEBOOK, PREDICTED
from fastmlp.kernels.ops.optimizers import flush_subnormals, step_sizes
from fastmlp.kernels.simd.addresses import call_region
from fastmlp.kernels.simd.processors import NARROW
from fastmlp.kernels.simd.vector import load, splat, store
from fastmlp.kernels.step.network import output_of
from fastmlp.kernels.step.record import EVALUATE, PREDICT, TRAIN, network_of, record_at, targets_of
from fastmlp.kernels.step.regions import (
    AVERAGE,
    BACKWARD,
    FORWARD,
    INPUT,
    LOSS_OF_ROWS,
    OUTPUT,
    SQUARES,
    UPDATE,
    WEIGHTS_OF_ROWS,
)

# Columns of what a step records
RECORD_LOSS, RECORD_CORRECT, RECORD_LABEL_ERROR = range(3)


@kernel
def record_sums(sums, step, workspace, loss, labels, samples, start, n, rows, capacity):
    """sums[step] = over the batch: the loss, the correct predictions, the squares of label differences

    sums       (n_steps, 3) float64    overwritten in row `step`
    workspace  flat                    read: the losses' vectors of `capacity` floats, from `rows` on
    labels     (n_samples,)            read: sample i of the batch has labels[samples[start + i]]
    """
    total, correct, label_error = 0.0, 0.0, 0.0
    for i in range(n):
        total += workspace[rows + LOSS * capacity + i]
        if loss < MSE:
            difference = np.int64(workspace[rows + PREDICTED * capacity + i]) - labels[samples[start + i]]
            correct += difference == 0
            label_error += difference * difference
        else:
            correct += workspace[rows + PREDICTED * capacity + i]
    sums[step, RECORD_LOSS] = total
    sums[step, RECORD_CORRECT] = correct
    sums[step, RECORD_LABEL_ERROR] = label_error


@inline_numba
def serial(region, record_address, kind, layer, threads):
    """Do all parts of a region on the calling thread."""
    call_region(region, record_address, kind, layer, np.int64(0), np.int64(1), np.int64(0))


@parallel
def side_by_side(region, record_address, kind, layer, threads):
    """Do a part of a region on each of several threads."""
    for thread in numba.prange(threads):
        call_region(region, record_address, kind, layer, np.int64(thread), np.int64(thread) + 1, np.int64(thread))


@inline_llvm
def set_rate(record, rate):
    """Set the learning rate of the next update, and what else follows from it."""
    record.n_updates += 1
    record.learning_rate, record.step_size, record.correction = step_sizes(
        record.update_rule, rate, record.n_updates, np.float64(record.momentum), np.float64(record.beta),
        np.float64(record.rate_decay),
    )  # fmt: skip


@inline_numba
def copy_outputs(record, layer, outputs):
    """Copy the last layer's outputs of a batch to their rows of `outputs`; NaN after an unknown code."""
    network = network_of(record)
    logits = output_of(network, layer, record.size)
    row = ceil_div(logits.columns, NARROW) * NARROW
    for i in range(record.size):
        for j in range(0, logits.columns, NARROW):
            values = load(network.workspace, element_offset(logits, i, j))
            if record.unknown_code:
                values = splat(np.float32(np.nan))
            store(values, outputs, (record.start + i) * row + j)


@inline_numba
def steps(run, record_address, first, last, learning_rates, sums, outputs, threads):
    """Run the steps of `train_steps`; `run` runs a region"""
    record = record_at(record_address)
    network, samples, labels = network_of(record), record.samples, targets_of(record).labels
    layout, last_layer, mode = network.layout, network.layers.size - 1, record.mode
    record.n_parts, record.unknown_code = threads, mode != TRAIN and mode != EVALUATE and mode != PREDICT
    epoch_size, batch_size, origin, done = record.epoch_size, record.batch_size, np.int64(0), np.int64(0)
    if first > 0:  # where the epoch of the step before starts, and how many of its samples are done
        steps_per_epoch = ceil_div(epoch_size, batch_size)
        origin = (first - 1) // steps_per_epoch * epoch_size
        done = ((first - 1) % steps_per_epoch + 1) * batch_size
    for step in range(first, last):
        if done >= epoch_size:  # the next epoch begins
            origin, done = origin + epoch_size, np.int64(0)
            if mode == TRAIN:
                flush_subnormals(network.state, record.n_flushed)
        start, n = origin + done, min(batch_size, epoch_size - done)
        record.start, record.size = start, n
        done += batch_size
        if mode == TRAIN:
            set_rate(record, learning_rates[step])
        if record.has_input:
            run(record.first_forward, record_address, INPUT, np.int64(0), threads)
        run(record.first_forward, record_address, FORWARD, np.int64(0), threads)
        for layer in range(1, last_layer):
            run(record.inner_forward, record_address, FORWARD, layer, threads)
        run(record.inner_forward, record_address, OUTPUT, last_layer, threads)
        if mode == PREDICT:
            copy_outputs(record, last_layer, outputs)
            continue
        if record.loss == NOTEBOOK:  # its softmax needs the whole batch
            zero = np.int64(0)
            call_region(record.loss_rows, record_address, LOSS_OF_ROWS, last_layer, zero, n, zero)
            if record.weigh_rows:
                call_region(record.weigh_rows, record_address, WEIGHTS_OF_ROWS, last_layer, zero, n, zero)
        record_sums(sums, step, network.workspace, record.loss, labels, samples, start, n, layout.rows, layout.capacity)
        if mode == TRAIN and np.isfinite(sums[step, RECORD_LOSS]) and not record.unknown_code:
            for layer in range(last_layer, min(last_layer, 1) - 1, -1):
                run(record.inner_backward, record_address, BACKWARD, layer, threads)
            if record.deferred_update:
                run(record.deferred_update, record_address, SQUARES, np.int64(0), threads)
                run(record.deferred_update, record_address, UPDATE, np.int64(0), threads)
            if record.average:
                run(record.average, record_address, AVERAGE, np.int64(0), threads)
        if record.unknown_code:
            sums[step, RECORD_LOSS] = np.nan
        if mode == TRAIN and not np.isfinite(sums[step, RECORD_LOSS]):
            return step
    return last


@kernel
def train_steps(record_address, first, last, learning_rates, sums, outputs):
    """Run the steps first..last-1 of some epochs of exact minibatch SGD; return `last`, or the step whose loss is not
    finite.
    In other modes than TRAIN, all of these steps without what the mode leaves out.

    record_address  of a RECORD          its batch is overwritten, and what its arrays hold is updated in place: a step
                                         takes the next batch_size samples, or what is left of epoch_size of them
    learning_rates  (n_steps,) float32   read
    sums            (n_steps, 3)         overwritten, see `record_sums`; not touched in the mode PREDICT
    outputs         flat                 overwritten in the mode PREDICT alone, by the last layer's outputs: rows padded
                                         to whole vectors
    """
    return steps(serial, record_address, first, last, learning_rates, sums, outputs, np.int64(1))


@kernel
def train_steps_parallel(record_address, first, last, learning_rates, sums, outputs, threads):
    """`train_steps` on several threads, with bitwise the same result"""
    return steps(side_by_side, record_address, first, last, learning_rates, sums, outputs, threads)
