"""What a region of a training step works on, as one array of int64.

Regions are called by address, and get their context by address: so they are compiled once, for serial and parallel use,
and not again in their callers.  It tells where arrays lie and how long they are, and holds what is in the tuples beside
them.
"""

from collections import namedtuple

import numpy as np

from fastmlp.kernels.jit import inline_llvm
from fastmlp.kernels.ops.dropout import dropout_of
from fastmlp.kernels.ops.gather import Rows
from fastmlp.kernels.ops.grouped import Lists
from fastmlp.kernels.ops.optimizers import Rule
from fastmlp.kernels.ops.sparse import Nonzeros
from fastmlp.kernels.simd.addresses import bytes_at, floats_at, int32s_at, int64s_at, words_at
from fastmlp.kernels.step.network import DROPOUT_THRESHOLD, Batch, Network, WorkspaceLayout, layer_row

# labels (n,) int32 for the losses of classes, values (n * n_outputs,) float32 for those of a regression, the other
# empty; and the weights of the samples (n,) float32, empty where all are 1.
Targets = namedtuple("Targets", "labels values weights")
Data = namedtuple("Data", "rows lists entries")

# Arrays: an address and a size each.
(
    PARAMETERS, STATE, WORKSPACE, LAYERS, SETTINGS, SAMPLES, LABELS, VALUES, SAMPLE_WEIGHTS,
    DATA, INDICES, STARTS, INPUT_STANDARD, INPUT_FACTOR,
    OFFSETS, COUNT, WORDS,
    BEGIN, END, FEATURE, VALUE, UNTIL, TOUCHED, OFFSET_FACTOR,
) = range(0, 48, 2)  # fmt: skip
# Numbers: the network's layout, the data set, the batch, and codes
PLACES = 48
_FREE = PLACES + len(WorkspaceLayout._fields)
ROWS_KIND, ROWS_ITEMSIZE, ROWS_BYTES, ROWS_STRIDE, INDEX_ITEMSIZE, GROUPS, ROOM = range(_FREE, _FREE + 7)
# RULE_CODE is what the way back does with gradients; where it stores them, UPDATE_RULE is done in the end, else they
# are the same
BATCH_SIZE, START, SIZE, MODE, LOSS_CODE, RULE_CODE, UPDATE_RULE, N_UPDATES = range(_FREE + 7, _FREE + 15)
# of dropout: its seed, and the share of the inputs dropped, of 2**32
DROPOUT_SEED, INPUT_DROPPED = range(_FREE + 15, _FREE + 17)
# of the first layer: whether INPUT is a region, whether it prepares the input (see `dropout`), and of how many columns
# the update is split in multiples
HAS_INPUT, PREPARES, FIRST_UNIT = range(_FREE + 17, _FREE + 20)
# Addresses of regions, see `fastmlp.kernels.step.regions`
FIRST_FORWARD, FIRST_UPDATE, INNER_FORWARD, INNER_BACKWARD, LOSS, FINISH, WEIGH, UPDATE = range(_FREE + 20, _FREE + 28)
CONTEXT = np.int64(_FREE + 28)

# MODE: what a step does; EVALUATE leaves out the way back, PREDICT the losses too
TRAIN, EVALUATE, PREDICT = range(3)
# of SETTINGS, float32
(
    SCALE, LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, BETA, EPSILON, RATE_DECAY, STEP_SIZE, CORRECTION,
    SMOOTHING, DELTA, L1, L2, CLIP_NORM, MAX_NORM,
) = range(15)  # fmt: skip
N_SETTINGS = 15


@inline_llvm
def network_of(context):
    """The network of a region."""
    layout = WorkspaceLayout(
        context[PLACES], context[PLACES + 1], context[PLACES + 2], context[PLACES + 3], context[PLACES + 4],
        context[PLACES + 5], context[PLACES + 6], context[PLACES + 7],
    )  # fmt: skip
    return Network(
        int64s_at(context[LAYERS], context[LAYERS + 1]),
        floats_at(context[PARAMETERS], context[PARAMETERS + 1]),
        floats_at(context[STATE], context[STATE + 1]),
        floats_at(context[WORKSPACE], context[WORKSPACE + 1]),
        layout,
    )


@inline_llvm
def data_of(context):
    """The data of a region."""
    settings = floats_at(context[SETTINGS], context[SETTINGS + 1])
    rows = Rows(
        bytes_at(context[DATA], context[DATA + 1]),
        context[ROWS_KIND], context[ROWS_ITEMSIZE], context[ROWS_BYTES], context[ROWS_STRIDE], settings[SCALE],
        bytes_at(context[INDICES], context[INDICES + 1]),
        context[INDEX_ITEMSIZE],
        int64s_at(context[STARTS], context[STARTS + 1]),
    )  # fmt: skip
    lists = Lists(
        int64s_at(context[OFFSETS], context[OFFSETS + 1]),
        int64s_at(context[COUNT], context[COUNT + 1]),
        words_at(context[WORDS], context[WORDS + 1]),
        context[GROUPS],
    )
    entries = Nonzeros(
        int64s_at(context[BEGIN], context[BEGIN + 1]),
        int64s_at(context[END], context[END + 1]),
        int32s_at(context[FEATURE], context[FEATURE + 1]),
        floats_at(context[VALUE], context[VALUE + 1]),
        context[ROOM],
        int64s_at(context[UNTIL], context[UNTIL + 1]),
        bytes_at(context[TOUCHED], context[TOUCHED + 1]),
        int32s_at(context[OFFSET_FACTOR], context[OFFSET_FACTOR + 1]),
        floats_at(context[OFFSET_FACTOR], context[OFFSET_FACTOR + 1]),
    )
    return Data(rows, lists, entries)


@inline_llvm
def batch_of(context):
    """The batch of a region."""
    samples = int64s_at(context[SAMPLES], context[SAMPLES + 1])
    return Batch(samples, context[START], context[SIZE], context[START] + context[SIZE])


@inline_llvm
def rule_of(context, code):
    """The rule of an update: RULE_CODE or UPDATE_RULE."""
    settings = floats_at(context[SETTINGS], context[SETTINGS + 1])
    return Rule(
        context[code], settings[LEARNING_RATE], settings[MOMENTUM], settings[WEIGHT_DECAY], settings[BETA],
        settings[EPSILON], settings[STEP_SIZE], settings[CORRECTION],
    )  # fmt: skip


@inline_llvm
def targets_of(context):
    """The data set's targets."""
    labels = int32s_at(context[LABELS], context[LABELS + 1])
    return Targets(labels, floats_of(context, VALUES), floats_of(context, SAMPLE_WEIGHTS))


@inline_llvm
def floats_of(context, place):
    """One of the arrays of floats."""
    return floats_at(context[place], context[place + 1])


@inline_llvm
def setting(context, place):
    """One of the SETTINGS."""
    return floats_of(context, SETTINGS)[place]


@inline_llvm
def dropout_at(context, layer):
    """The Dropout of a layer's output; of the input for the layer -1."""
    threshold = context[INPUT_DROPPED] if layer < 0 else layer_row(network_of(context), layer)[DROPOUT_THRESHOLD]
    if context[MODE] != TRAIN:
        threshold = np.int64(0)
    return dropout_of(context[DROPOUT_SEED], context[N_UPDATES], layer, threshold)
