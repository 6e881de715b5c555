"""The part of an executor that makes its data readable for the kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp import checks
from fastmlp.data.arrays import is_csr
from fastmlp.data.encoding import Encodings
from fastmlp.data.scaling import InputScale, RobustScale
from fastmlp.data.windows import DenseWindows, folds
from fastmlp.engine.packing_check import packs_correctly
from fastmlp.engine.parameters import Parameters, shifted_bias
from fastmlp.engine.workspace import lists_for, nonzeros_for, padded, set_bias, set_table
from fastmlp.kernels.ops.grouped import GROUP
from fastmlp.kernels.simd.processors import NARROW, STRIP, WIDE
from fastmlp.kernels.simd.records import set_array
from fastmlp.kernels.step.record import RECORD

# Lists of groups are made for batches of so many samples at least, below which entries by sample are faster; and for
# CSR matrices of so many features at most, and of eight for every entry of a step, as a step looks at every group.
MIN_GROUPS_BATCH, MAX_GROUPS_FEATURES = 5, 10_000

# How the first layer can read its input, and the regions that do so.
INPUT_PATHS = {"dense": "dense", "grouped sparse": "grouped", "sparse": "sparse"}  # prefixes of their names


class DataReader:
    """What an Executor does with the data that it is given; the attributes that are not set here are the Executor's."""

    network: Any
    parameters: Parameters
    batch_size: int
    packed: bool
    trains: bool
    rows: Any

    def __init__(self) -> None:
        self.record = RECORD.zeros()  # what the kernels read
        self.lists, self.entries = lists_for(0, self.batch_size), nonzeros_for(0, 0, 0)
        self.regions_mode: int | None = None  # of the regions that the record has, until there are other data
        self.windows: DenseWindows | None = None
        self.folded: InputScale | None = None  # of which the packed first bias has the offset
        self.targets: Any = None
        self.input_path = "dense"

    def _set(self, **values) -> None:
        """Set fields of the record."""
        for field, value in values.items():
            self.record[field] = value

    def _point(self, field: str, array: np.ndarray) -> None:
        """Tell the kernels where an array is; this object has to keep it alive."""
        set_array(RECORD, self.record, field, array)

    def set_data(
        self, x, input_scale, targets=None, sparse: bool | None = None, repeated: bool = True,
        input_path: str | None = None, encodings: Encodings | None = None,
    ) -> None:  # fmt: skip
        """Work on checked features and encoded targets.

        `sparse` says whether the first layer skips zeros; by default it does where that is faster on `x`.  `repeated`
        says whether the data are read more than once, so that coding a CSR matrix pays off.  `input_path` overrides
        both: "dense", "grouped sparse" or "sparse" forces that path of the first layer, or fails where `x` and
        `input_scale` rule it out.  `encodings` are those of `x`, for several executors that work on it.

        A CSR matrix whose scale has an offset stays sparse in prediction, where the offset is folded into the first
        bias; else a few batches of it are made dense at a time.
        """
        encodings = encodings or Encodings(x)
        if isinstance(input_scale, RobustScale):
            encodings, input_scale = encodings.scaled(input_scale), 1.0
            x = encodings.x
        csr, n_features = is_csr(x), x.shape[1]
        if csr and sparse is False:
            raise ValueError("sparse=False needs an array; a sparse matrix has kernels of its own")
        if self.folded is not None:
            set_bias(self.network, 0, self.parameters.biases[0])
        self.windows = self.folded = None
        if csr and isinstance(input_scale, InputScale) and input_scale.offset.any():
            if self.trains or not self.packed or not folds(input_scale):
                self._check_path(input_path, "dense")
                self.windows = DenseWindows(x, input_scale, targets)
                return
            self.folded, input_scale = input_scale, input_scale._replace(offset=np.zeros(n_features))
        prepares = self._set_input_scale(input_scale)
        scale = 1.0 if isinstance(input_scale, InputScale) else input_scale
        if input_path is not None:
            groups, sparse = input_path == "grouped sparse", input_path == "sparse"
        else:
            groups = self._takes_groups(encodings, sparse, repeated)
        coded = encodings.coded(scale) if groups and not prepares else None
        if coded is None:
            self._take_rows(encodings, scale, sparse)
        else:
            self._take_groups(coded, n_features)
        if self.input_path != "dense" and not csr and not packs_correctly(self.input_path):
            self.input_path, self.rows = "dense", encodings.rows(scale)
        self._check_path(input_path, self.input_path)
        if self.input_path == "sparse" and csr:
            lengths = np.diff(self.rows.starts)
            size = min(self.batch_size, len(lengths))
            self._make_room(int(np.partition(lengths, -size)[-size:].sum()))
        elif self.input_path == "sparse" and self.entries.room < n_features + NARROW:
            self.entries = nonzeros_for(n_features, self.batch_size, n_features)
        self.targets = targets
        self._point_data(prepares)

    def release(self) -> None:
        """Let go of the data, which may belong to something large."""
        self.rows = self.targets = self.windows = None

    def _takes_groups(self, encodings: Encodings, sparse: bool | None, repeated: bool) -> bool:
        """Return whether lists of groups of features are the fastest way to read the input."""
        x = encodings.x
        if self.batch_size < MIN_GROUPS_BATCH:
            return False
        if is_csr(x):
            entries_of_step = self.batch_size * x.nnz / x.shape[0]
            return repeated and x.shape[1] <= min(MAX_GROUPS_FEATURES, 8 * entries_of_step)
        return encodings.is_sparse(int(GROUP)) if sparse is None else sparse

    def _take_groups(self, coded, n_features: int) -> None:
        """Read rows that are coded as bytes, or as words of groups."""
        self.input_path = "grouped sparse"
        self.rows, table = coded
        set_table(self.network, table)
        if self.lists.groups == 0:
            self.lists = lists_for(n_features, self.batch_size)

    def _take_rows(self, encodings: Encodings, scale: float, sparse: bool | None) -> None:
        """Read rows as they are, by entries where `sparse`, or by default where that is faster."""
        self.rows, csr = encodings.rows(scale), is_csr(encodings.x)
        if self.standard.size:
            sparse = False  # what was zero is not any more
        if sparse is None:
            sparse = csr or self.batch_size == 1 or encodings.is_sparse()
        self.input_path = "sparse" if sparse or csr else "dense"

    def _point_data(self, prepares: bool) -> None:
        """Tell the kernels where the data are, and how they are to be read."""
        self.regions_mode = None
        rows, lists, targets = self.rows, self.lists, self.targets
        for field in ("data", "indices", "starts"):
            self._point(field, getattr(rows, field))
        for field in ("offsets", "count", "words"):
            self._point(field, getattr(lists, field))
        self._point_entries()
        if targets is not None:
            self._point("labels", targets.labels)
            self._point("values", targets.values)
            self._point("sample_weights", targets.weights)
        self._set(
            rows_kind=rows.kind, itemsize=rows.itemsize, row_bytes=rows.row_bytes, stride=rows.stride, scale=rows.scale,
            index_itemsize=rows.index_itemsize, groups=lists.groups, prepares=prepares,
            has_input=prepares or self.input_path != "dense", first_unit=WIDE if self.input_path == "dense" else STRIP,
        )  # fmt: skip

    @staticmethod
    def _check_path(input_path: str | None, taken: str) -> None:
        """Raise an error if a path was forced and another one has to be taken."""
        if input_path is None:
            return
        checks.check_choice(input_path, "input_path", tuple(INPUT_PATHS))
        if input_path != taken:
            raise ValueError(f"input_path={input_path!r} can't read this x with this input_scale")

    def _point_entries(self) -> None:
        """Tell the kernels where entries are."""
        for field in ("begin", "end", "feature", "value", "until", "touched", "sample_offset", "factor"):
            self._point(field, getattr(self.entries, field))
        self.record["room"] = self.entries.room

    def _make_room(self, most: int) -> None:
        """Have room for the entries of a batch of a CSR matrix, at most so many, which lie behind each other."""
        if self.entries.until.size == 0 or self.entries.feature.size < most:
            self.entries = nonzeros_for(self.parameters.widths[0], self.batch_size, 0, size=most)
            self._point_entries()

    def _set_input_scale(self, input_scale) -> bool:
        """Have the input prepared where every feature has its own scale, or inputs are dropped; return whether it is.

        With an offset it is standardized as it is gathered, in float64, else multiplied by the factors behind that.
        """
        self.standard, self.factor = np.zeros(0), np.zeros(0, np.float32)
        own = isinstance(input_scale, InputScale)
        if own and input_scale.offset.any():
            self.standard = np.concatenate([padded(part, np.float64) for part in input_scale])
        elif own:
            self.factor = padded(input_scale.factor)
        self._point("input_standard", self.standard)
        self._point("input_factor", self.factor)
        return own or bool(self.record["input_dropout_threshold"])

    def _set_first_bias(self) -> None:
        """Put the first bias, with what is folded into it, where the kernels look for it."""
        if self.folded is not None:
            set_bias(self.network, 0, shifted_bias(self.parameters, self.folded))
