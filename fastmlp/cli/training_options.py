"""The options that `train` and `compare` share, and the recipes that stand for those not given."""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

import numpy as np

import fastmlp
from fastmlp import checks
from fastmlp.activations import ACTIVATIONS
from fastmlp.data.arrays import is_csr, is_frame
from fastmlp.data.scaling import SCALES
from fastmlp.initializers import INITS
from fastmlp.losses import OF_LABELS
from fastmlp.optimizers import OPTIMIZERS
from fastmlp.schedules import SCHEDULES

BATCH_SIZE, MOMENTUM = 64, 0.9


class Recipe(NamedTuple):
    """What suits some kind of data: the options that depend on it."""

    optimizer: str
    learning_rate: float
    input_scale: str
    n_steps: int  # that training should have, in as many epochs as that takes
    min_epochs: int
    max_epochs: int

    def epochs(self, n_samples: int, batch_size: int) -> int:
        """Return the number of epochs for so many samples."""
        steps = -(-n_samples // max(batch_size, 1))
        return min(max(-(-self.n_steps // steps), self.min_epochs), self.max_epochs)


# Of MNIST: 784-128-10 reaches 98.2% on the test set (mean of four seeds; the lowest 98.1%).
PIXELS = Recipe("sgd", 0.1, "auto", n_steps=3000, min_epochs=10, max_epochs=200)
# Of numbers of any kind: robust scaling as in RealMLP (arXiv 2407.04491), and Adam.
TABLE = Recipe("adam", 0.003, "robust", n_steps=3000, min_epochs=10, max_epochs=200)


def recipe_for(x, y) -> Recipe:
    """Return the recipe that suits samples and their targets."""
    if is_csr(x):
        scale = "auto"  # such numbers mostly have a scale that was chosen
    elif is_frame(x):
        scale = TABLE.input_scale
    else:  # an array may be too large for the medians that "robust" needs
        scale = "auto" if x.dtype == np.uint8 else "standardize"
    recipe = PIXELS if scale == "auto" and y.dtype.kind != "f" else TABLE
    return recipe._replace(input_scale=scale)


def add_training_options(parser: argparse.ArgumentParser, losses=OF_LABELS, epochs: int | None = None) -> None:
    """Add the options; those without a default get it from a recipe."""
    add = parser.add_argument_group("network").add_argument
    add("--hidden", type=_widths, default="128", metavar="N[,N...]", help='widths of the hidden layers; "" for none')
    add("--activation", default="relu", choices=list(ACTIVATIONS), help="of the hidden layers")
    add("--init", default="he", choices=list(INITS), help="initializer of the weights")
    add(
        "--input-scale", type=_scale, metavar=f"{'|'.join(SCALES)}|FACTOR",
        help="what the input is multiplied by; auto is 1/255 for pixels, 1 for other numbers; by default robust for "
        "tables, standardize for arrays of floats, else auto",
    )  # fmt: skip
    add = parser.add_argument_group("loss").add_argument
    add("--loss", choices=list(losses), help="what is minimized; by default what suits the labels or targets")
    add("--label-smoothing", type=float, default=0.0, help="fraction of the target that is spread over the classes")
    add("--class-weight", choices=["balanced"], help="weight the classes by how rare they are")
    add = parser.add_argument_group("steps").add_argument
    add("--epochs", type=int, default=epochs, help="passes over the training set; by default 10, more for few samples")
    add("--batch-size", type=int, default=BATCH_SIZE, help="number of samples per step")
    add("--optimizer", choices=list(OPTIMIZERS), help="update rule; by default sgd for pixels, adam for tables")
    add("--momentum", type=float, default=MOMENTUM, help="momentum of SGD")
    add(
        "--learning-rate", type=float,
        help=f"highest learning rate; by default {PIXELS.learning_rate} for sgd, {TABLE.learning_rate} for adam on a "
        "table, else the optimizer's own",
    )  # fmt: skip
    add("--schedule", default="linear", choices=list(SCHEDULES), help="how the learning rate changes")
    add("--warm-up", type=float, default=0.0, metavar="EPOCHS", help="epochs in which the learning rate rises from 0")
    add("--seed", type=int, default=0, help="seed of all random numbers")
    add("--threads", type=int, default=None, help="maximum number of threads; by default the physical cores")
    add = parser.add_argument_group("regularization").add_argument
    add("--weight-decay", type=float, default=0.0, help="weight decay of the optimizer")
    add("--dropout", type=float, default=0.0, help="fraction of the units of a hidden layer that are dropped in a step")
    add("--input-dropout", type=float, default=0.0, help="fraction of the features that are dropped in a step")
    add("--l1", type=float, default=0.0, help="penalty on the absolute values of weights")
    add("--l2", type=float, default=0.0, help="penalty on half the squares of weights")
    add("--clip-norm", type=float, help="maximum norm of the gradient")
    add("--max-norm", type=float, help="maximum norm of the weights into a unit")


def _scale(text: str) -> float | str:
    return text if text in SCALES else float(text)


def _widths(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be widths like 128 or 512,512, got {text!r}") from None


def training_arguments(options, recipe: Recipe = PIXELS, n_samples: int = 60_000) -> dict[str, Any]:
    """Return the arguments of `fastmlp.train` that the options stand for."""
    name = options.optimizer or recipe.optimizer
    settings = {"weight_decay": options.weight_decay}
    if name == "sgd":
        settings["momentum"] = options.momentum
    optimizer = OPTIMIZERS[name](**settings)
    rate = options.learning_rate
    if rate is None:
        rate = next(
            (each.learning_rate for each in (recipe, PIXELS) if each.optimizer == name), optimizer.learning_rate
        )
    schedule = SCHEDULES[options.schedule].make(checks.check_positive(rate, "learning_rate"))
    if options.warm_up:
        schedule = fastmlp.Warmup(schedule, options.warm_up)
    epochs = recipe.epochs(n_samples, options.batch_size) if options.epochs is None else options.epochs
    return {
        "hidden": options.hidden, "activation": options.activation, "loss": options.loss, "init": options.init,
        "optimizer": optimizer, "learning_rate": schedule, "batch_size": options.batch_size,
        "epochs": epochs, "seed": options.seed, "threads": options.threads, "dropout": options.dropout,
        "input_dropout": options.input_dropout, "l1": options.l1, "l2": options.l2, "clip_norm": options.clip_norm,
        "max_norm": options.max_norm, "label_smoothing": options.label_smoothing,
        "class_weight": options.class_weight,
        "input_scale": recipe.input_scale if options.input_scale is None else options.input_scale,
    }  # fmt: skip
