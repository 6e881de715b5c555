"""`fastmlp demo`"""

import fastmlp
from fastmlp.cli.command import add_command


def add_parser(commands) -> None:
    """Add `fastmlp demo` to the commands."""
    parser = add_command(
        commands, "demo", run, "Open a page to draw digits on, which a network reads and learns.", "[MODEL]",
        example="fastmlp demo",
    )  # fmt: skip
    parser.add_argument(
        "model", metavar="MODEL", nargs="?",
        help="a model of 28 x 28 pixels that `fastmlp train --save` wrote; by default one is trained on MNIST first",
    )  # fmt: skip
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 for any that is free")
    parser.add_argument("--no-browser", action="store_true", help="print the address only")


def run(options) -> None:
    from fastmlp.demo import run_demo

    model = None if options.model is None else fastmlp.load(options.model)
    run_demo(model, port=options.port, browser=not options.no_browser)
