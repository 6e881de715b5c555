"""`fastmlp train`"""

from __future__ import annotations

import argparse
import sys

import fastmlp
from fastmlp.cli.command import add_command
from fastmlp.cli.training_options import add_training_options, training_arguments
from fastmlp.io.atomic_write import check_writable
from fastmlp.io.safetensors import save_somewhere
from fastmlp.training.progress import summary

EPOCHS = 10


def add_parser(commands) -> None:
    """Add `fastmlp train` to the commands."""
    parser = add_command(commands, "train", run, "Train a network on MNIST and measure it on the test set.")
    add_training_options(parser, epochs=EPOCHS)
    parser.add_argument("--save", metavar="FILE", help="write the model to this safetensors file")
    _add_course_options(parser)
    parser.add_argument("--quiet", action="store_true", help="print the last lines only")


def _add_course_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--validation", type=float, help="share of the training set to hold out and to measure after every epoch")
    add("--metrics", type=lambda text: text.split(","), default=(), metavar="NAME[,NAME...]", help="such as top_5")
    add(
        "--patience", type=int, help="stop after so many epochs without a better validation loss, with the best weights"
    )
    add("--time-budget", type=float, metavar="SECONDS", help="stop after the epoch in which they are over")
    add("--csv-log", metavar="FILE", help="write the history there, a line after every epoch")
    add("--checkpoint", metavar="FOLDER", help="save there after every epoch, and go on from what is there")


def run(options) -> None:
    mnist = fastmlp.load_mnist()

    def line(model):
        print(
            f"epoch {model.history['epoch'][-1]:3d}  {summary(model.history)}  {model.history['seconds'][-1]:.3f} s",
            flush=True,
        )

    arguments = training_arguments(options)
    if options.save:
        check_writable(options.save)
    from fastmlp.engine.compilation import USUAL, compile_regions

    if arguments["batch_size"] > 4 and arguments["loss"] in (None, "cross_entropy"):
        compile_regions(list(USUAL), announce=not options.quiet)
    # what has to be compiled is compiled here, and the times below are those of training alone
    plain = {**arguments, "epochs": 1, "learning_rate": 1e-3}  # a plateau needs a validation set
    fastmlp.train(mnist.x_train[:512], mnist.y_train[:512], **plain, progress=False)
    model = fastmlp.train(
        mnist.x_train, mnist.y_train, **arguments, validation=options.validation, metrics=options.metrics,
        checkpoint=options.checkpoint, callbacks=_callbacks(options, line), progress=False,
    )  # fmt: skip
    if model.interrupted:
        print("interrupted; what follows is of the last whole epoch", file=sys.stderr)
    if options.save:
        save_somewhere(model, options.save)
    loss, accuracy = model.evaluate(mnist.x_test, mnist.y_test)
    seconds = sum(model.history["seconds"])
    rate = len(mnist.x_train) * len(model.history["epoch"]) / seconds if seconds else 0.0
    print(f"test accuracy {accuracy:.4f}  test loss {loss:.4f}")
    print(f"training took {seconds:.2f} s, {rate:,.0f} samples per second")
    if options.save:
        print(f"saved to {options.save}")


def _callbacks(options, line) -> list:
    callbacks = [] if options.quiet else [line]
    if options.patience is not None:
        callbacks.append(fastmlp.callbacks.EarlyStopping(patience=options.patience))
    if options.time_budget is not None:
        callbacks.append(fastmlp.callbacks.TimeBudget(options.time_budget))
    if options.csv_log is not None:
        callbacks.append(fastmlp.callbacks.CSVLog(options.csv_log))
    return callbacks
