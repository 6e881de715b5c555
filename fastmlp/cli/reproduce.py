"""`fastmlp reproduce`"""

import time

from fastmlp.cli.command import add_command


def add_parser(commands) -> None:
    """Add `fastmlp reproduce` to the commands."""
    parser = add_command(commands, "reproduce", run, "Train the notebook's network as the notebook did, and compare.")
    parser.add_argument("--iterations", type=int, default=10_000, help="steps of 128 samples")
    parser.add_argument(
        "--seed", type=int, default=0,
        help="of the split into training and validation set; all else is drawn from the notebook's own random numbers",
    )  # fmt: skip
    parser.add_argument("--corrected", action="store_true", help="softmax over the classes, not over the batch")
    parser.add_argument("--no-reference", action="store_true", help="do not run and time the reference")


def run(options) -> None:
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
