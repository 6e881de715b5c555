"""`fastmlp report`"""

from pathlib import Path

import fastmlp
from fastmlp.cli.command import add_command, add_json_option, print_result
from fastmlp.cli.data_options import DATA, add_data_options, labels_of, read_data


def add_parser(commands) -> None:
    """Add `fastmlp report` to the commands."""
    parser = add_command(
        commands, "report", run, "Write a page of HTML on how good a model is and what it gets wrong.", "MODEL [DATA]",
        example="fastmlp report digits.safetensors -o digits.html",
    )  # fmt: skip
    parser.add_argument("model", metavar="MODEL", help="a file that `fastmlp train --save` wrote")
    parser.add_argument("data", metavar="DATA", nargs="?", help=f"{DATA}; MNIST's test set by default")
    parser.add_argument("-o", "--output", metavar="FILE", default="report.html", help="where to write the page")
    add_data_options(parser, pictures=True)
    add_json_option(parser)


def run(options) -> None:
    from fastmlp import report
    from fastmlp.io.atomic_write import check_writable

    model = fastmlp.load(options.model)
    shape: tuple[int, ...] | str = "auto"
    if options.data is None:
        mnist = fastmlp.load_mnist()
        x, y, name = mnist.x_test, mnist.y_test, "MNIST's test set"
    else:
        data = read_data(options, options.data, model=model)
        (x, y), name = data.test or (data.x, data.y), options.data
        shape = data.image_shape or shape
    check_writable(options.output)
    title = f"Report on {Path(options.model).name}"
    report.write(model, x, labels_of(y, model), options.output, title=title, data=name, image_shape=shape)
    print_result(options, {"output": options.output}, f"wrote {options.output}")
