"""`fastmlp predict`"""

import numpy as np

import fastmlp
from fastmlp.cli.command import add_command
from fastmlp.datasets import load_npy


def add_parser(commands) -> None:
    """Add `fastmlp predict` to the commands."""
    parser = add_command(commands, "predict", run, "Print a saved model's predictions for the rows of a .npy file.")
    parser.add_argument("model", metavar="MODEL", help="a file that `fastmlp train --save` wrote")
    parser.add_argument("data", metavar="FILE", help="features (n, n_features), as numpy.save wrote them")
    parser.add_argument("--probabilities", action="store_true", help="probabilities of the classes instead of labels")


def run(options) -> None:
    model = fastmlp.load(options.model)
    x = load_npy(options.data)
    for row in model.predict_proba(x) if options.probabilities else model.predict(x):
        print(*np.atleast_1d(row))
