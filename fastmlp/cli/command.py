"""What every command has in common: its parser, and how its result is printed."""

from __future__ import annotations

import argparse
import json
import math
from typing import Any, NoReturn

import numpy as np


class Parser(argparse.ArgumentParser):
    """A parser whose errors take one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see: {self.prog} --help)\n")


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Show the defaults that say something, and leave the lines of examples as they are."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        says_nothing = action.default is None or action.default is False or action.default in ((), [], "")
        return action.help if says_nothing else super()._get_help_string(action)


def add_command(commands, name: str, run, help: str, arguments: str = "", example: str = "") -> argparse.ArgumentParser:
    """Add a command, and return its parser.

    Parameters
    ----------
    commands
        What `ArgumentParser.add_subparsers` returned.
    run : callable
        Takes the parsed options.
    help : str
        What the command does, a sentence.
    arguments : str
        The positional arguments, for the line of usage.
    example : str
        A command line, or several lines.
    """
    parser = commands.add_parser(
        name,
        help=help,
        description=help,
        usage=" ".join(filter(None, ["%(prog)s", arguments, "[options]"])),
        epilog="example:\n" + "\n".join(f"  {line}" for line in example.splitlines()) if example else None,
        formatter_class=HelpFormatter,
    )
    parser.set_defaults(run=run, parser=parser)
    return parser


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``, for commands that call `print_result`."""
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object, for scripts")


def print_result(options: argparse.Namespace, result: Any, text: str) -> None:
    """Print a command's result: `text`, or `result` as JSON."""
    print(json.dumps(to_json(result), allow_nan=False) if options.json else text, flush=True)


def to_json(value: Any) -> Any:
    """Return `value` in JSON types; what is NaN or infinite becomes None."""
    if isinstance(value, dict):
        return {str(key): to_json(each) for key, each in value.items()}
    if isinstance(value, np.ndarray):
        return to_json(value.tolist())
    if isinstance(value, (list, tuple)):
        return [to_json(each) for each in value]
    if isinstance(value, np.generic):
        return to_json(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
