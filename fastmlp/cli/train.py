"""`fastmlp train`"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np

import fastmlp
from fastmlp.cli.command import add_command, add_json_option, print_result
from fastmlp.cli.data_options import (
    DATA,
    add_data_options,
    describe_data,
    describe_scores,
    labels_of,
    measure,
    read_data,
)
from fastmlp.cli.ranks import world
from fastmlp.cli.training_options import add_training_options, recipe_for, training_arguments
from fastmlp.data.target_scale import target_scale
from fastmlp.datasets import Dataset
from fastmlp.engine.threads import resolve
from fastmlp.io.atomic_write import check_writable
from fastmlp.io.safetensors import save_somewhere
from fastmlp.losses import LOSSES
from fastmlp.training.progress import ProgressBar


def add_parser(commands) -> None:
    """Add `fastmlp train` to the commands."""
    parser = add_command(
        commands, "train", run, "Train a network, and measure it on a test set if there is one.", "[DATA]",
        example="fastmlp train --save digits.safetensors\n"
        "fastmlp train iris.csv --target species --validation 0.2 --save iris.safetensors",
    )  # fmt: skip
    parser.add_argument("data", metavar="DATA", nargs="?", help=f"{DATA}; MNIST by default")
    parser.add_argument("--quiet", action="store_true", help="show no progress, only the result")
    add_json_option(parser)
    add_data_options(parser)
    _add_measuring_options(parser)
    add_training_options(parser, losses=LOSSES)
    _add_saving_options(parser)
    _add_process_options(parser)


def _add_measuring_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("measuring").add_argument
    add(
        "--validation", type=_fraction_or_file, metavar="FILE|FRACTION",
        help="data to measure after every epoch, or the fraction of the training set to hold out for that",
    )  # fmt: skip
    add("--test", metavar="FILE", help="data to measure in the end; by default those found beside the training set")
    add("--metrics", type=lambda text: text.split(","), default=(), metavar="NAME[,NAME...]", help="such as top_5")


def _add_saving_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("stopping").add_argument
    add("--patience", type=int, metavar="EPOCHS", help="stop after so many epochs without a lower validation loss")
    add("--time-budget", type=float, metavar="SECONDS", help="stop after the epoch in which they are over")
    add = parser.add_argument_group("files").add_argument
    add("--save", metavar="FILE", help="write the model to this safetensors file")
    add("--checkpoint", metavar="FOLDER", help="save there after every epoch, and resume from what is there")
    add("--csv-log", metavar="FILE", help="write the history there, a line after every epoch")
    add("--plot", metavar="FILE", help="write a picture of the history there, such as a .png or .svg")


def _add_process_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("several processes, under mpiexec").add_argument
    add(
        "--average-every", type=int, default=1, metavar="STEPS",
        help="steps between two averages of the parameters of all processes, which train one network; with 1, the "
        "gradients of every step are added up",
    )  # fmt: skip


def _fraction_or_file(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def run(options) -> None:
    communicator = world()
    is_first = communicator is None or communicator.Get_rank() == 0
    options.quiet |= not is_first
    data = _training_data(options)
    if options.data is not None and not options.quiet and not options.json:
        print(describe_data(options.data, data), flush=True)
    validation, test = _other_data(options, data)
    arguments = training_arguments(options, recipe_for(data.x, data.y), data.x.shape[0])
    if options.save and is_first:
        check_writable(options.save)
    if options.plot and is_first:
        from fastmlp import plots

        plots.check_path(options.plot)
    _compile(data, arguments, announce=not options.quiet)
    arguments |= {"communicator": communicator, "average_every": options.average_every}
    model = _train(options, data, arguments, validation)
    if not is_first:
        return
    if model.interrupted:
        print("interrupted; what follows is of the last whole epoch", file=sys.stderr)
    if options.save:
        save_somewhere(model.state(), options.save)
    if options.plot:
        model.plot_history().savefig(options.plot)
    result = _results(model, data, test)
    result |= {"saved": options.save, "plotted": options.plot}
    print_result(options, result, _describe(result))


def _training_data(options) -> Dataset:
    if options.data is not None:
        return read_data(options, options.data)
    mnist = fastmlp.load_mnist()
    return Dataset(mnist.x_train, mnist.y_train, "idx", test=(mnist.x_test, mnist.y_test))


def _other_data(options, data: Dataset) -> tuple[Any, Any]:
    """Return the validation set, or the fraction of the training set that becomes one, and the test set."""
    validation = options.validation
    if isinstance(validation, str):
        validation = _beside(options, validation, data)
    test = data.test if options.test is None else _beside(options, options.test, data)
    return data.validation if validation is None else validation, test


def _beside(options, path: str, data: Dataset) -> tuple[Any, Any]:
    """Read data that belong to the training set."""
    more = read_data(options, path, like=data)
    return more.test or (more.x, more.y)


def _compile(data: Dataset, arguments: dict[str, Any], announce: bool) -> None:
    """Compile what has to be, so that the times of training are those of training alone."""
    from fastmlp.engine.compilation import USUAL, compile_regions

    if arguments["batch_size"] > 4 and arguments["loss"] in (None, "cross_entropy"):
        compile_regions(list(USUAL), announce=announce)
    plain = {**arguments, "epochs": 1, "learning_rate": 1e-6}  # a plateau needs a validation set
    labels = (
        LOSSES[arguments["loss"]].has_labels if arguments["loss"] else data.y.dtype.kind != "f" and data.y.ndim == 1
    )
    classes = np.unique(data.y) if labels else None  # the first samples may be all of one class
    for threads in {1, resolve(arguments["threads"])}:  # training compares one with several
        settings = {**plain, "threads": threads}
        fastmlp.train(data.x[:512], data.y[:512], **settings, classes=classes, progress=False)


def _train(options, data: Dataset, arguments: dict[str, Any], validation) -> fastmlp.MLP:
    """Train, on scaled targets if it is a regression; the model and what is shown have the targets' own units."""
    more = {"validation": validation, "metrics": options.metrics, "checkpoint": options.checkpoint}
    shown = not options.quiet
    # a checkpoint is a model, too, which somebody may load
    scale = None if options.checkpoint else target_scale(data.y, arguments)
    if scale is None:
        callbacks = _callbacks(options)
        return fastmlp.train(data.x, data.y, **arguments, **more, callbacks=callbacks, progress=shown)
    if isinstance(validation, tuple):
        more["validation"] = validation[0], scale.apply(validation[1])
    n_samples = data.x.shape[0]
    if isinstance(validation, float):
        n_samples -= round(n_samples * validation)
    if arguments["loss"] == "huber":
        more["delta"] = 1 / scale.factor
    with ProgressBar(shown, arguments["epochs"], n_samples=n_samples) as advance:
        callbacks = [
            scale.callback(callback) if isinstance(callback, fastmlp.callbacks.CSVLog) else callback
            for callback in _callbacks(options)
        ]
        callbacks.insert(0, scale.callback(advance))
        model = fastmlp.train(data.x, scale.apply(data.y), **arguments, **more, callbacks=callbacks, progress=False)
    scale.put_into(model)
    return model


def _callbacks(options) -> list:
    callbacks: list[Any] = []
    if options.patience is not None:
        callbacks.append(fastmlp.callbacks.EarlyStopping(patience=options.patience))
    if options.time_budget is not None:
        callbacks.append(fastmlp.callbacks.TimeBudget(options.time_budget))
    if options.csv_log is not None:
        callbacks.append(fastmlp.callbacks.CSVLog(options.csv_log))
    return callbacks


def _results(model, data: Dataset, test) -> dict[str, Any]:
    """Return what was reached, and how fast."""
    history = model.history
    if test is not None:
        x, y = test
        name, scores = "test", measure(model, x, labels_of(y, model))
    elif history["validation_loss"] and not np.isnan(history["validation_loss"][-1]):
        name, scores = "validation", {"loss": history["validation_loss"][-1]}
        if model.has_accuracy:
            scores["accuracy"] = history["validation_accuracy"][-1]
    else:
        name, scores = "training", measure(model, data.x, data.y)
    seconds, n_epochs = sum(history["seconds"]), len(history["epoch"])
    rate = data.x.shape[0] * n_epochs / seconds if seconds else 0.0
    return {
        "measured_on": name, **scores, "epochs": n_epochs, "seconds": seconds, "samples_per_second": rate,
        "widths": model.widths, "interrupted": model.interrupted, "history": model.history,
    }  # fmt: skip


def _describe(result: dict[str, Any]) -> str:
    line = describe_scores(result, result["measured_on"])
    if result["measured_on"] == "training":
        line += " (--test or --validation measure on other samples)"
    lines = [
        line,
        f"training took {result['seconds']:.2f} s, {result['samples_per_second']:,.0f} samples per second",
        f"saved to {result['saved']}" if result["saved"] else "",
        f"plotted to {result['plotted']}" if result["plotted"] else "",
    ]
    return "\n".join(filter(None, lines))
