"""Random trainings: networks, data, and every argument of `fastmlp.train`; and the same data in other forms."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from hypothesis import strategies as st

import fastmlp
from fastmlp.activations import ACTIVATIONS
from fastmlp.initializers import INITS
from fastmlp.losses import ELEMENTWISE, LOSSES

CONTENTS = ["normal", "bytes", "few values", "mostly zero", "constant columns", "zero rows and columns"]
EXTREMES = ["denormal", "huge", "tiny and huge"]


@dataclass
class Case:
    """A training: `x` as a C-contiguous array, targets, and the other arguments of `fastmlp.train`."""

    content: str
    x: np.ndarray
    y: np.ndarray
    arguments: dict[str, Any]

    def __repr__(self):
        shape = f"x {self.x.shape} {self.x.dtype}, {self.content}; y {self.y.shape} {self.y.dtype}"
        return f"Case({shape}; {self.arguments})"

    @property
    def has_offset(self):
        return isinstance(self.arguments["input_scale"], str) and self.arguments["input_scale"] == "standardize"


def fill(content, n, n_features, dtype, rng):
    """An array (n, n_features) of a dtype."""
    x = rng.standard_normal((n, n_features))
    if dtype == np.uint8 or content == "bytes":
        x = rng.integers(0, 256, (n, n_features)).astype(float)
    if content == "few values":
        x = np.round(2 * x) / 4 if dtype != np.uint8 else x // 64
    elif content == "mostly zero":
        x *= rng.random(x.shape) < rng.uniform(0, 0.4)
    elif content == "constant columns":
        x[:, rng.random(n_features) < 0.5] = 7
    elif content == "zero rows and columns":
        x[rng.random(n) < 0.5] = 0
        x[:, rng.random(n_features) < 0.5] = 0
    elif content == "denormal":
        x *= 1e-40
    elif content == "huge":
        x *= 1e37
    elif content == "tiny and huge":
        x *= 10.0 ** rng.integers(-44, 30, x.shape)
    # float64 too holds numbers that float32 has, so that a copy in float32 is the same data
    return np.ascontiguousarray(x.astype(np.uint8 if dtype == np.uint8 else np.float32).astype(dtype))


@st.composite
def optimizers(draw, eps):
    """Every optimizer, with its settings."""
    share, decay = st.floats(0.1, 0.95), st.sampled_from([0.0, 0.0, 0.01, 0.3])
    kind = draw(st.sampled_from(["plain", "momentum", "nesterov", "adam", "adamw", "rmsprop", "adagrad"]))
    if kind == "plain":
        return fastmlp.SGD(weight_decay=draw(decay))
    if kind in ("momentum", "nesterov"):
        return fastmlp.SGD(draw(share), nesterov=kind == "nesterov", weight_decay=draw(decay))
    if kind in ("adam", "adamw"):
        kind = fastmlp.Adam if kind == "adam" else fastmlp.AdamW
        return kind((draw(share), draw(share)), eps, draw(decay))
    if kind == "rmsprop":
        return fastmlp.RMSprop(draw(share), eps, draw(st.sampled_from([0.0, 0.5])), draw(decay))
    return fastmlp.Adagrad(draw(st.sampled_from([0.0, 0.1])), eps, draw(decay))


def sizes(most):
    """Mostly small numbers, those around the widths of vectors and panels, and any up to `most`."""
    around = [n for n in (1, 2, 15, 16, 17, 31, 33, 63, 64, 65, 127, 128, 129) if n <= most]
    return st.integers(1, min(20, most)) | st.sampled_from(around) | st.integers(1, most)


@st.composite
def regularizations(draw, n_hidden):
    """Some of the arguments that restrain a training; most often none."""
    values = {
        "dropout": st.sampled_from([0.3, 0.9]) | st.lists(st.floats(0, 0.9), min_size=n_hidden, max_size=n_hidden),
        "input_dropout": st.sampled_from([0.1, 0.7]),
        "l1": st.sampled_from([1e-4, 0.01]),
        "l2": st.sampled_from([1e-3, 0.1]),
        "clip_norm": st.sampled_from([0.01, 1.0]),
        "max_norm": st.sampled_from([0.3, 2.0]),
        "ema_decay": st.sampled_from([0.5, 0.9]),
        "weight_rate_factors": st.just("ntk")
        | st.lists(st.sampled_from([0.1, 0.5, 1.0]), min_size=n_hidden + 1, max_size=n_hidden + 1),
        "bias_rate_factor": st.sampled_from([0.0, 0.1]),
        "scale_rate_factor": st.sampled_from([0.5, 2.0]),
    }
    names = draw(st.lists(st.sampled_from(sorted(values)), max_size=3, unique=True)) if draw(st.booleans()) else []
    if "scale_rate_factor" in names and "max_norm" in names:  # these are not for each other
        names.remove("max_norm")
    return {name: draw(values[name]) for name in names}


@st.composite
def targets(draw, n, loss, rng):
    """Targets of a loss, and `classes` where they are labels; some of the classes may be missing among them."""
    if loss in ELEMENTWISE:
        y = rng.standard_normal((n, draw(st.integers(1, 5) | st.sampled_from([16, 17, 65]))))
        if loss == "poisson":
            y = np.abs(y)
        elif loss == "binary_cross_entropy":
            y = y > 0
        return y.astype(draw(st.sampled_from([np.float32, np.float64]))), {}
    n_classes = draw(st.integers(2, 5) | st.sampled_from([16, 17, 65]))
    kind = draw(st.sampled_from(["int64", "uint8", "int16", "str", "bool"]))
    if kind == "bool":
        return rng.integers(0, 2, n).astype(bool), {"classes": [False, True]}
    classes = np.arange(n_classes) * 3
    classes = np.array([f"class {c}" for c in classes]) if kind == "str" else classes.astype(kind)
    return classes[rng.integers(0, n_classes, n)], {"classes": classes}


@st.composite
def cases(draw, max_samples=2000, max_width=300, max_hidden=6, contents=(*CONTENTS, *EXTREMES), eps=(1e-8, 1e-3),
          max_steps=60):  # fmt: skip
    """A Case, small enough for `max_steps` steps."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="seed of the data"))
    content = draw(st.sampled_from(contents))
    dtypes = [np.float32, np.float64] if content in EXTREMES else [np.float32, np.float64, np.uint8]
    dtype = draw(st.sampled_from(dtypes))
    n, n_features = draw(sizes(max_samples)), draw(sizes(max_width))
    hidden = draw(st.lists(sizes(max_width), max_size=max_hidden))
    loss = draw(st.sampled_from(sorted(LOSSES)))
    y, more = draw(targets(n, loss, rng))
    epochs = draw(st.integers(1, 3))
    least = max(1, -(-n * epochs // max_steps))
    batch_size = draw(st.sampled_from([size for size in (least, 1, 4, 5, 16, 17, 64, 128, n, 3000) if size >= least]))
    names = sorted(ACTIVATIONS)
    activations = st.sampled_from(names) | st.lists(st.sampled_from(names), min_size=len(hidden), max_size=len(hidden))
    scales = ["auto", "standardize", "number", "features"] if content not in EXTREMES else ["auto", "number"]
    scale = draw(st.sampled_from(scales))
    if scale == "number":
        scale = {"huge": 1e-37, "denormal": 1e38}.get(content, 1 / 64)
    elif scale == "features":
        scale = rng.uniform(0.001, 0.1, n_features).astype(np.float32)
    arguments = {
        "hidden": tuple(hidden),
        "activation": draw(activations),
        "loss": loss,
        "optimizer": draw(optimizers(draw(st.sampled_from(eps)))),
        "learning_rate": draw(st.sampled_from([0.001, 0.05, fastmlp.LinearDecay(0.02)])),
        "batch_size": batch_size,
        "epochs": epochs,
        "shuffle": draw(st.sampled_from([True, True, False, "replacement"])),
        "init": draw(st.sampled_from(sorted(set(INITS) - {"zeros"}))),
        "input_scale": scale,
        "seed": draw(st.integers(0, 1000)),
        **draw(regularizations(len(hidden))),
        **more,
    }
    if loss == "cross_entropy" and draw(st.booleans()):
        arguments["label_smoothing"] = draw(st.sampled_from([0.1, 0.9]))
    if loss == "huber":
        arguments["delta"] = draw(st.sampled_from([0.1, 1.0]))
    if draw(st.integers(0, 3)) == 0:
        arguments["sample_weight"] = rng.uniform(0.1, 2, n)
    return Case(content, fill(content, n, n_features, dtype, rng), y, arguments)


# ---------------------------------------------------------------------------------------------- the same data


def _fortran(x):
    return np.asfortranarray(x)


def _every_other_column(x):
    wide = np.full((x.shape[0], 2 * x.shape[1]), 9, x.dtype)
    wide[:, ::2] = x
    return wide[:, ::2]


def _every_third_row(x):
    long = np.full((3 * x.shape[0], x.shape[1]), 9, x.dtype)
    long[::3] = x
    return long[::3]


def _reversed(x):
    return np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1]


def _read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def _swapped(x):
    return x.astype(x.dtype.newbyteorder())


def _unaligned(x):
    memory = np.zeros(x.nbytes + 1, np.uint8)
    array = memory[1:].view(x.dtype).reshape(x.shape)
    array[:] = x
    return array


def _memmap(x):
    with tempfile.TemporaryDirectory() as folder:  # the pages stay as long as they are mapped
        path = Path(folder) / "x.npy"
        np.save(path, x)
        return np.load(path, mmap_mode="r")


def _frame(x):
    pandas = __import__("pandas")
    return pandas.DataFrame(x, columns=[f"feature {j}" for j in range(x.shape[1])])


def _csr(index_dtype):
    def make(x):
        matrix = scipy.sparse.csr_matrix(x)
        matrix.indices, matrix.indptr = matrix.indices.astype(index_dtype), matrix.indptr.astype(index_dtype)
        return matrix

    return make


def _csr_with_zeros(x):
    """A CSR matrix with all zeros stored, and the entries of a row from the last to the first."""
    n, n_features = x.shape
    columns = np.tile(np.arange(n_features)[::-1], n)
    return scipy.sparse.csr_matrix((x[:, ::-1].ravel(), columns, np.arange(n + 1) * n_features), shape=x.shape)


ARRAYS = {
    "the array": np.copy,
    "Fortran's order": _fortran,
    "every other column": _every_other_column,
    "every third row": _every_third_row,
    "reversed": _reversed,
    "read-only": _read_only,
    "byte-swapped": _swapped,
    "unaligned": _unaligned,
    "memory-mapped": _memmap,
    "data frame": _frame,
}
# Not where there is an offset: it makes other numbers of what is zero, in another order of operations.
SPARSE = {"CSR, int32": _csr(np.int32), "CSR, int64": _csr(np.int64), "CSR with zeros": _csr_with_zeros}
# Not where the dtype decides on the scale.
OTHER_DTYPE = {"float64": lambda x: x.astype(np.float64), "float32": lambda x: x.astype(np.float32)}


def forms_of(case):
    """Names and makers of the forms in which a case's `x` gives the same model."""
    forms = dict(ARRAYS)
    if not case.has_offset:
        forms |= SPARSE
    if not (case.has_offset or (case.x.dtype == np.uint8 and isinstance(case.arguments["input_scale"], str))):
        forms |= OTHER_DTYPE
    return forms
