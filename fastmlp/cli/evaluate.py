"""`fastmlp evaluate`"""

import fastmlp
from fastmlp.cli.command import add_command


def add_parser(commands) -> None:
    """Add `fastmlp evaluate` to the commands."""
    parser = add_command(commands, "evaluate", run, "Measure a saved model on MNIST's test set.")
    parser.add_argument("model", metavar="MODEL", help="a file that `fastmlp train --save` wrote")


def run(options) -> None:
    model = fastmlp.load(options.model)
    mnist = fastmlp.load_mnist()
    loss, accuracy = model.evaluate(mnist.x_test, mnist.y_test)
    print(f"{model!r}\ntest accuracy {accuracy:.4f}  test loss {loss:.4f}")
