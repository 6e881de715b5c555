"""The record: all that the regions of a training step work on.

Regions are called by address, and get the record by address: so they are compiled once, for serial and parallel use,
and not again in their callers.
"""

from collections import namedtuple

import numpy as np

from fastmlp.kernels.jit import inline_llvm
from fastmlp.kernels.ops.dropout import dropout_of
from fastmlp.kernels.ops.gather import Rows
from fastmlp.kernels.ops.grouped import Lists
from fastmlp.kernels.ops.optimizers import Rule
from fastmlp.kernels.ops.sparse import Nonzeros
from fastmlp.kernels.simd.records import Layout, make_record_at
from fastmlp.kernels.step.network import LAYER, WORKSPACE_LAYOUT, Batch, Network

# labels (n,) int32 for the losses of classes, values (n * n_outputs,) float32 for those of a regression, the other
# empty; and the weights of the samples (n,) float32, empty where all are 1.
Targets = namedtuple("Targets", "labels values weights")
Data = namedtuple("Data", "rows lists entries")

# mode: what a step does; EVALUATE leaves out the backward pass, PREDICT the losses too
TRAIN, EVALUATE, PREDICT = range(3)

_FIELDS = {
    # the network
    "parameters": [np.float32],
    "state": [np.float32],
    "workspace": [np.float32],
    "layers": [LAYER],
    "layout": WORKSPACE_LAYOUT,
    # the data set: see Rows
    "data": [np.uint8],
    "indices": [np.uint8],
    "starts": [np.int64],
    "rows_kind": np.int64,
    "itemsize": np.int64,
    "row_bytes": np.int64,
    "stride": np.int64,
    "index_itemsize": np.int64,
    "scale": np.float32,
    # the input's: the scale of `gather_standardized`, or the factor of `prepare_rows`; each may be empty
    "input_standard": [np.float64],
    "input_factor": [np.float32],
    # the batch's lists: see Lists
    "offsets": [np.int64],
    "count": [np.int64],
    "words": [np.uint32],
    "groups": np.int64,
    # the batch's entries: see Nonzeros
    "begin": [np.int64],
    "end": [np.int64],
    "feature": [np.int32],
    "value": [np.float32],
    "until": [np.int64],
    "touched": [np.uint8],
    "sample_offset": [np.int32],
    "factor": [np.float32],
    "room": np.int64,
    # targets: see Targets
    "labels": [np.int32],
    "values": [np.float32],
    "sample_weights": [np.float32],
    # the batch: see Batch
    "samples": [np.int64],  # of one epoch behind the other
    "epoch_size": np.int64,  # samples of an epoch
    "batch_size": np.int64,  # of all steps but perhaps an epoch's last
    "start": np.int64,
    "size": np.int64,
    # what a step does
    "mode": np.int64,
    "n_parts": np.int64,  # that the work of a region is split into
    "unknown_code": np.int64,  # whether a region was asked for what it does not know
    "has_input": np.int64,  # whether INPUT is a region
    "prepares": np.int64,  # whether INPUT prepares the input, see `fastmlp.kernels.ops.dropout`
    "first_unit": np.int64,  # the first layer's update is split into multiples of so many columns
    # addresses of regions, 0 where there is none
    "first_forward": np.int64,
    "first_update": np.int64,
    "inner_forward": np.int64,
    "inner_backward": np.int64,
    "finish_forward": np.int64,
    "loss_rows": np.int64,
    "weigh_rows": np.int64,
    "deferred_update": np.int64,
    "average": np.int64,
    # the loss
    "loss": np.int64,
    "smoothing": np.float32,
    "delta": np.float32,
    # the optimizer: the backward pass applies `rule`; where that is DEFER, `update_rule` comes after it
    "rule": np.int64,
    "update_rule": np.int64,
    "n_updates": np.int64,
    "learning_rate": np.float32,
    "momentum": np.float32,
    "weight_decay": np.float32,
    "beta": np.float32,
    "epsilon": np.float32,
    "rate_decay": np.float32,
    "n_flushed": np.int64,  # numbers of the state that are not to stay subnormal
    "step_size": np.float32,
    "correction": np.float32,
    # the first layer's scale: see `fastmlp.kernels.step.input_scale`
    "shadow": np.int64,
    "scale_at": np.int64,
    "scale_rate": np.float32,
    # the moving average of the parameters: where it is in state, and the part of it that every step replaces
    "average_at": np.int64,
    "average_rate": np.float32,
    # regularization
    "l1": np.float32,
    "l2": np.float32,
    "clip_norm": np.float32,
    "max_norm": np.float32,
    "dropout_seed": np.int64,  # 62 bits
    "input_dropout_threshold": np.int64,  # in units of 2**-32
}
RECORD = Layout("step", _FIELDS)
record_at = make_record_at(RECORD)


@inline_llvm
def network_of(record):
    """Return the network of a step."""
    return Network(record.layers, record.parameters, record.state, record.workspace, record.layout)


@inline_llvm
def data_of(record):
    """Return the data of a step."""
    rows = Rows(
        record.data, record.rows_kind, record.itemsize, record.row_bytes, record.stride, record.scale, record.indices,
        record.index_itemsize, record.starts,
    )  # fmt: skip
    lists = Lists(record.offsets, record.count, record.words, record.groups)
    entries = Nonzeros(
        record.begin, record.end, record.feature, record.value, record.room, record.until, record.touched,
        record.sample_offset, record.factor,
    )  # fmt: skip
    return Data(rows, lists, entries)


@inline_llvm
def batch_of(record):
    """Return the batch of a step."""
    return Batch(record.samples, record.start, record.size, record.start + record.size)


@inline_llvm
def rule_of(record, code):
    """Return an update rule: that of a code, `record.rule` or `record.update_rule`."""
    return Rule(
        code, record.learning_rate, record.momentum, record.weight_decay, record.beta, record.epsilon,
        record.step_size, record.correction,
    )  # fmt: skip


@inline_llvm
def targets_of(record):
    """Return the data set's targets."""
    return Targets(record.labels, record.values, record.sample_weights)


@inline_llvm
def dropout_at(record, layer):
    """Return the Dropout of a layer's output; of the input for the layer -1."""
    threshold = record.input_dropout_threshold if layer < 0 else record.layers[layer].dropout_threshold
    if record.mode != TRAIN:
        threshold = np.int64(0)
    return dropout_of(record.dropout_seed, record.n_updates, layer, threshold)
