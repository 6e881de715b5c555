"""The parser of the command line, and what runs a command."""

from __future__ import annotations

import argparse
import os
import sys

import fastmlp
from fastmlp.cli import compare, completion, demo, evaluate, info, predict, report, reproduce, train, warmup
from fastmlp.cli.command import Parser

COMMANDS = (train, evaluate, predict, report, demo, reproduce, compare, info, warmup, completion)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    parser = create_parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python writes the rest as it ends
        return 1
    except (ValueError, TypeError, OSError, ArithmeticError, MemoryError, ImportError) as error:
        print(f"fastmlp {options.command}: error: {_message(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"fastmlp {options.command}: interrupted", file=sys.stderr)
        return 130
    return 0


def _message(error: BaseException) -> str:
    """Return an error's message in one line."""
    if isinstance(error, FileNotFoundError) and error.filename is not None:
        return f"there is no file {os.fspath(error.filename)!r}"
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fspath(error.filename)!r}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def create_parser() -> argparse.ArgumentParser:
    """Create the parser of all commands."""
    parser = Parser(
        prog="fastmlp",
        usage="fastmlp COMMAND [options]",
        description="Train multilayer perceptrons on a CPU, fast.  The data are MNIST's digits by default.",
        epilog="exit status: 0 if done, 1 if it failed, 2 if the command line is wrong, 130 after Ctrl-C",
    )
    parser.add_argument("--version", action="version", version=f"fastmlp {fastmlp.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", prog="fastmlp")
    for command in COMMANDS:
        command.add_parser(commands)
    return parser
