"""The command line."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import fastmlp
from fastmlp import checks
from fastmlp.activations import ACTIVATIONS
from fastmlp.datasets import load_npy
from fastmlp.initializers import INITS
from fastmlp.io.atomic_write import check_writable
from fastmlp.io.safetensors import save_somewhere
from fastmlp.losses import OF_LABELS
from fastmlp.optimizers import OPTIMIZERS
from fastmlp.training.progress import summary

# The recipe of `fastmlp train`: 784-128-10 reaches 98.2% on the test set (mean of four seeds; the lowest 98.1%).
EPOCHS, BATCH_SIZE, LEARNING_RATE, MOMENTUM = 10, 64, 0.1, 0.9


SCHEDULES: dict[str, Callable[[float], Any]] = {
    "linear": fastmlp.LinearDecay, "cosine": fastmlp.Cosine, "one-cycle": fastmlp.OneCycle,
    "exponential": fastmlp.Exponential, "step": lambda rate: fastmlp.Step(rate, every=5),
    "plateau": lambda rate: fastmlp.ReduceOnPlateau(rate, patience=2), "constant": float,
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python writes the rest as it ends
        return 1
    except (ValueError, TypeError, OSError, ArithmeticError, MemoryError, ImportError) as error:
        message = " ".join(str(error).split()) or type(error).__name__
        print(f"fastmlp {options.command}: error: {message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"fastmlp {options.command}: interrupted", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastmlp",
        description="Train multilayer perceptrons on a CPU, fast.  Without a data set named, it is MNIST's digits.",
    )
    parser.add_argument("--version", action="version", version=f"fastmlp {fastmlp.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name, run, help):
        sub = commands.add_parser(
            name, help=help, description=help, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        sub.set_defaults(run=run)
        return sub

    train = command("train", _train, "Train a network on MNIST and measure it on the test set.")
    _add_training_options(train, epochs=EPOCHS)
    train.add_argument("--save", metavar="FILE", help="write the model to this safetensors file")
    _add_course_options(train)
    train.add_argument("--quiet", action="store_true", help="print the last lines only")

    evaluate = command("evaluate", _evaluate, "Measure a saved model on MNIST's test set.")
    evaluate.add_argument("model", metavar="MODEL", help="a file that `fastmlp train --save` wrote")

    predict = command("predict", _predict, "Print a saved model's predictions for the rows of a .npy file.")
    predict.add_argument("model", metavar="MODEL", help="a file that `fastmlp train --save` wrote")
    predict.add_argument("data", metavar="FILE", help="features (n, n_features), as numpy.save wrote them")
    predict.add_argument("--probabilities", action="store_true", help="probabilities of the classes instead of labels")

    reproduce = command("reproduce", _reproduce, "Train the notebook's network as the notebook did, and compare.")
    reproduce.add_argument("--iterations", type=int, default=10_000, help="steps of 128 samples")
    reproduce.add_argument(
        "--seed", type=int, default=0,
        help="of the split into training and validation set; all else is drawn from the notebook's own random numbers",
    )  # fmt: skip
    reproduce.add_argument("--corrected", action="store_true", help="softmax over the classes, not over the batch")
    reproduce.add_argument("--no-reference", action="store_true", help="do not run and time the reference")

    compare = command("compare", _compare, "Train with kernels and with the NumPy reference from the same start.")
    _add_training_options(compare, epochs=3)

    command("info", _info, "Show processor, vector width and cache folder.")
    command("warmup", _warmup, "Compile all kernels now, or find them in the cache.")
    return parser


def _add_training_options(parser: argparse.ArgumentParser, epochs: int) -> None:
    add = parser.add_argument
    add("--hidden", type=_widths, default=(128,), metavar="N[,N...]", help='widths of the hidden layers; "" for none')
    add("--activation", default="relu", choices=list(ACTIVATIONS), help="of the hidden layers")
    add("--loss", default="cross_entropy", choices=list(OF_LABELS), help="what is minimized")
    add("--label-smoothing", type=float, default=0.0, help="share of the target that is spread over the classes")
    add("--class-weight", choices=["balanced"], help="weigh the classes by how rare they are")
    add("--optimizer", default="sgd", choices=list(OPTIMIZERS), help="update rule")
    add("--momentum", type=float, default=MOMENTUM, help="momentum of SGD")
    add("--weight-decay", type=float, default=0.0, help="of the optimizer")
    add("--dropout", type=float, default=0.0, help="share of its units that a hidden layer leaves out in a step")
    add("--input-dropout", type=float, default=0.0, help="share of the pixels that is left out")
    add("--l1", type=float, default=0.0, help="penalty on the absolute values of weights")
    add("--l2", type=float, default=0.0, help="penalty on half the squares of weights")
    add("--clip-norm", type=float, help="largest norm of the gradient")
    add("--max-norm", type=float, help="largest norm of the weights into a unit")
    add("--input-scale", type=_scale, default="auto", help='"auto", "standardize", or what pixels are multiplied by')
    add("--init", default="he", choices=list(INITS), help="weights to start from")
    add("--schedule", default="linear", choices=list(SCHEDULES), help="how the learning rate changes")
    add(
        "--warm-up", type=float, default=0.0, metavar="EPOCHS", help="the learning rate rises from 0 for so long before"
    )
    add("--epochs", type=int, default=epochs, help="passes over the training set")
    add("--batch-size", type=int, default=BATCH_SIZE, help="samples of a step")
    add(
        "--learning-rate", type=float, help=f"the largest; by default {LEARNING_RATE} for SGD, else the optimizer's own"
    )
    add("--seed", type=int, default=0, help="random seed")
    add("--threads", type=int, default=None, help="number of threads")


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


def _scale(text: str) -> float | str:
    return text if text in ("auto", "standardize") else float(text)


def _widths(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be widths like 128 or 512,512, got {text!r}") from None


def _training_arguments(options) -> dict:
    settings = {"weight_decay": options.weight_decay}
    if options.optimizer == "sgd":
        settings["momentum"] = options.momentum
    optimizer = OPTIMIZERS[options.optimizer](**settings)
    rate = optimizer.learning_rate if options.learning_rate is None else options.learning_rate
    schedule = SCHEDULES[options.schedule](checks.check_positive(rate, "learning_rate"))
    if options.warm_up:
        schedule = fastmlp.Warmup(schedule, options.warm_up)
    return {
        "hidden": options.hidden, "activation": options.activation, "loss": options.loss, "init": options.init,
        "optimizer": optimizer, "learning_rate": schedule, "batch_size": options.batch_size,
        "epochs": options.epochs, "seed": options.seed, "threads": options.threads, "dropout": options.dropout,
        "input_dropout": options.input_dropout, "l1": options.l1, "l2": options.l2, "clip_norm": options.clip_norm,
        "max_norm": options.max_norm, "label_smoothing": options.label_smoothing,
        "class_weight": options.class_weight, "input_scale": options.input_scale,
    }  # fmt: skip


def _train(options) -> None:
    mnist = fastmlp.load_mnist()

    def line(model):
        print(
            f"epoch {model.history['epoch'][-1]:3d}  {summary(model.history)}  {model.history['seconds'][-1]:.3f} s",
            flush=True,
        )

    arguments = _training_arguments(options)
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
        save_somewhere(model.state(), options.save)
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


def _evaluate(options) -> None:
    model = fastmlp.load(options.model)
    mnist = fastmlp.load_mnist()
    loss, accuracy = model.evaluate(mnist.x_test, mnist.y_test)
    print(f"{model!r}\ntest accuracy {accuracy:.4f}  test loss {loss:.4f}")


def _predict(options) -> None:
    model = fastmlp.load(options.model)
    x = load_npy(options.data)
    for row in model.predict_proba(x) if options.probabilities else model.predict(x):
        print(*np.atleast_1d(row))


def _reproduce(options) -> None:
    from fastmlp import notebook, reference

    print("iteration  batch accuracy  (notebook)  validation accuracy  (notebook)")

    def line(model):
        history = model.history
        i = history["validation_iteration"][-1]
        end = i == options.iterations - 1
        if i % 500 and not end:
            return
        published = notebook.PUBLISHED.get(i) if i % 500 == 0 else None
        if end and options.iterations == 10_000:
            published = notebook.PUBLISHED_END
        theirs = [f"({value:.4f})" if published else "" for value in published or (0, 0)]
        batch, validation = history["train_accuracy"][i], history["validation_accuracy"][-1]
        print(f"{i:9d}  {batch:14.4f}  {theirs[0]:>10}  {validation:19.4f}  {theirs[1]:>10}", flush=True)

    notebook.reproduce(2, options.seed, options.corrected)  # compiles what has to be, so that it is not timed
    start = time.perf_counter()
    notebook.reproduce(options.iterations, options.seed, options.corrected, on_validation=line)
    seconds = time.perf_counter() - start
    print(f"took {seconds:.2f} s", end="", flush=True)
    if options.no_reference:
        print()
        return
    start = time.perf_counter()
    (x, y), (x_validation, y_validation) = notebook.notebook_data(options.seed)
    reference.reproduce(x, y, x_validation, y_validation, options.iterations, options.corrected)
    baseline = time.perf_counter() - start
    print(f"; the same run in NumPy took {baseline:.2f} s: {baseline / seconds:.1f} times as long")


def _compare(options) -> None:
    from fastmlp import reference
    from fastmlp.warmup import warmup

    arguments = _training_arguments(options)
    mnist = fastmlp.load_mnist()
    warmup()
    snapshots: list[list[np.ndarray]] = []
    fast = fastmlp.train(
        mnist.x_train, mnist.y_train, **arguments, progress=False,
        callbacks=[lambda model: snapshots.append([p.copy() for p in model.weights + model.biases])],
    )  # fmt: skip
    print("epoch  largest difference of weights  of the loss      fastmlp    reference")

    def line(model):
        epoch = len(model.history["epoch"])
        ours = snapshots[epoch - 1]
        weights = max(float(np.abs(a - b).max()) for a, b in zip(ours, model.weights + model.biases))
        losses = abs(fast.history["train_loss"][epoch - 1] - model.history["train_loss"][-1])
        seconds = fast.history["seconds"][epoch - 1], model.history["seconds"][-1]
        print(f"{epoch:5d}  {weights:29.2e}  {losses:11.2e}  {seconds[0]:9.3f} s  {seconds[1]:9.3f} s", flush=True)

    slow = reference.train(mnist.x_train, mnist.y_train, **arguments, callbacks=[line])
    seconds = sum(fast.history["seconds"]), sum(slow.history["seconds"])
    print(f"in all {seconds[0]:.2f} s and {seconds[1]:.2f} s: fastmlp is {seconds[1] / seconds[0]:.2f} times as fast")


def _info(options) -> None:
    import llvmlite
    import numba

    from fastmlp.engine import threads
    from fastmlp.kernels import jit
    from fastmlp.kernels.simd import processors

    flags = set(jit.CPU_FEATURES.split(","))
    known = [name for name in ("avx512f", "avx512vbmi2", "avx2", "fma", "neon") if f"+{name}" in flags]
    n_files = len(jit.cached_files())
    print(f"fastmlp        {fastmlp.__version__}")
    print(f"numpy          {np.__version__}, numba {numba.__version__}, llvmlite {llvmlite.__version__}")
    print(f"processor      {jit.CPU_NAME}: {', '.join(known) or 'no vector extension that fastmlp knows'}")
    print(f"tiles          {processors.ROWS} x {processors.WIDE} and {processors.ROWS} x {processors.NARROW} float32")
    print(f"threads        {threads.resolve(None)}")
    print(f"compiled code  {jit.CACHE_FOLDER or 'kept in memory: no cache folder can be written'} ({n_files} kernels)")


def _warmup(options) -> None:
    from fastmlp.kernels import jit
    from fastmlp.warmup import warmup

    start = time.perf_counter()
    warmup()
    where = jit.CACHE_FOLDER or "memory: no cache folder can be written"
    print(f"all kernels are compiled, in {time.perf_counter() - start:.1f} s; they are in {where}")
