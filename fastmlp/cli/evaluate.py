"""`fastmlp evaluate`"""

import fastmlp
from fastmlp.cli.command import add_command
from fastmlp.cli.data_options import DATA, add_data_options, labels_of, measure, read_data


def add_parser(commands) -> None:
    """Add `fastmlp evaluate` to the commands."""
    parser = add_command(commands, "evaluate", run, "Measure a saved model on labelled data.")
    parser.add_argument("model", metavar="MODEL", help="a file that `fastmlp train --save` wrote")
    parser.add_argument("data", metavar="DATA", nargs="?", help=f"{DATA}; MNIST's test set by default")
    add_data_options(parser, pictures=True)


def run(options) -> None:
    model = fastmlp.load(options.model)
    if options.data is None:
        mnist = fastmlp.load_mnist()
        x, y = mnist.x_test, mnist.y_test
    else:
        data = read_data(options, options.data, model=model)
        x, y = data.test or (data.x, data.y)
    result = measure(model, x, labels_of(y, model), "test")
    print(f"{model!r}\n{result}")
