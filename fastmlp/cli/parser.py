"""The parser of the command line, and what runs a command."""

from __future__ import annotations

import argparse
import os
import sys

import fastmlp
from fastmlp.cli import compare, completion, demo, evaluate, info, predict, report, reproduce, train, warmup
from fastmlp.errors import RankError

COMMANDS = (train, evaluate, predict, report, demo, reproduce, compare, info, warmup, completion)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    parser = create_parser()
    options = parser.parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python writes the rest as it ends
        return 1
    except (ValueError, TypeError, OSError, ArithmeticError, MemoryError, ImportError, RankError) as error:
        message = " ".join(str(error).split()) or type(error).__name__
        print(f"fastmlp {options.command}: error: {message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"fastmlp {options.command}: interrupted", file=sys.stderr)
        return 130
    return 0


def create_parser() -> argparse.ArgumentParser:
    """Create the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="fastmlp",
        description="Train multilayer perceptrons on a CPU, fast.  Without a data set named, it is MNIST's digits.",
    )
    parser.add_argument("--version", action="version", version=f"fastmlp {fastmlp.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    return parser
