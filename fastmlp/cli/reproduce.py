"""`fastmlp reproduce`"""

from __future__ import annotations

import time
from typing import Any

from fastmlp.cli.command import add_command, add_json_option, print_result


def add_parser(commands) -> None:
    """Add `fastmlp reproduce` to the commands."""
    parser = add_command(
        commands, "reproduce", run, "Train the notebook's network as the notebook did, and compare.",
        example="fastmlp reproduce --iterations 2000",
    )  # fmt: skip
    parser.add_argument("--iterations", type=int, default=10_000, help="steps of 128 samples")
    parser.add_argument(
        "--seed", type=int, default=0,
        help="of the split into training and validation set; all else is drawn from the notebook's own random numbers",
    )  # fmt: skip
    parser.add_argument("--corrected", action="store_true", help="softmax over the classes, not over the batch")
    parser.add_argument("--no-reference", action="store_true", help="do not run and time the reference")
    add_json_option(parser)


def run(options) -> None:
    from fastmlp import notebook, reference

    lines: list[dict[str, Any]] = []
    if not options.json:
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
        batch, validation = history["train_accuracy"][i], history["validation_accuracy"][-1]
        lines.append(
            {"iteration": i, "batch_accuracy": batch, "validation_accuracy": validation, "notebook": published}
        )
        if options.json:
            return
        theirs = [f"({value:.4f})" if published else "" for value in published or (0, 0)]
        print(f"{i:9d}  {batch:14.4f}  {theirs[0]:>10}  {validation:19.4f}  {theirs[1]:>10}", flush=True)

    notebook.reproduce(2, options.seed, options.corrected)  # compiles what has to be, so that it is not timed
    start = time.perf_counter()
    notebook.reproduce(options.iterations, options.seed, options.corrected, on_validation=line)
    seconds = time.perf_counter() - start
    result: dict[str, Any] = {"iterations": lines, "seconds": seconds, "reference_seconds": None}
    if options.no_reference:
        print_result(options, result, f"took {seconds:.2f} s")
        return
    start = time.perf_counter()
    (x, y), (x_validation, y_validation) = notebook.notebook_data(options.seed)
    reference.reproduce(x, y, x_validation, y_validation, options.iterations, options.corrected)
    result["reference_seconds"] = baseline = time.perf_counter() - start
    print_result(
        options, result, f"{baseline / seconds:.1f}x faster than NumPy ({seconds:.2f} s against {baseline:.2f} s)"
    )
