"""Reader of svmlight files, the text format of LIBSVM's sparse data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fastmlp.datasets.dataset import Dataset
from fastmlp.optional import require


def read_svmlight(path: Path, n_features: int | None) -> Dataset:
    """Read lines of ``label index:value ...`` as a CSR matrix of float32, and the labels.

    Indices are taken as they stand: files that count from 1 have an empty first column.  Guessing would shift one of
    two files that belong together.  As in LIBSVM, features beyond `n_features` are left out.
    """
    datasets = require("sklearn.datasets", "sklearn")
    try:
        x, y = datasets.load_svmlight_file(str(path), dtype=np.float64, zero_based=True)
    except (ValueError, EOFError, OverflowError) as error:
        raise ValueError(f"{path} is not an svmlight file: {error}") from None
    x = x.astype(np.float32)
    if n_features is not None and x.shape[1] != n_features:
        if x.shape[1] < n_features:
            x.resize(x.shape[0], n_features)
        else:
            x = x[:, :n_features]
    if (y == np.rint(y)).all() and (np.abs(y) < 2**53).all():  # scikit-learn returns labels as floats
        y = y.astype(np.int64)
    return Dataset(x, y, "svmlight")
