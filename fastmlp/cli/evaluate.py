"""`fastmlp evaluate`"""

import fastmlp
from fastmlp.cli.command import add_command, add_json_option, print_result
from fastmlp.cli.data_options import DATA, add_data_options, describe_scores, labels_of, measure, read_data


def add_parser(commands) -> None:
    """Add `fastmlp evaluate` to the commands."""
    parser = add_command(
        commands, "evaluate", run, "Measure a saved model on labeled data.", "MODEL [DATA]",
        example="fastmlp train iris.csv --target species --save iris.safetensors\n"
        "fastmlp evaluate iris.safetensors more.csv --target species",
    )  # fmt: skip
    parser.add_argument("model", metavar="MODEL", help="a file that `fastmlp train --save` wrote")
    parser.add_argument("data", metavar="DATA", nargs="?", help=f"{DATA}; MNIST's test set by default")
    add_data_options(parser, pictures=True)
    add_json_option(parser)


def run(options) -> None:
    model = fastmlp.load(options.model)
    if options.data is None:
        mnist = fastmlp.load_mnist()
        x, y = mnist.x_test, mnist.y_test
    else:
        data = read_data(options, options.data, model=model)
        x, y = data.test or (data.x, data.y)
    scores = measure(model, x, labels_of(y, model))
    result = {"model": options.model, "widths": model.widths, "n_samples": x.shape[0], **scores}
    print_result(options, result, f"{model!r}\n{describe_scores(scores, 'test')}")
