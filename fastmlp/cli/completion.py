"""`fastmlp completion`"""

from __future__ import annotations

import argparse

from fastmlp.cli.command import add_command
from fastmlp.optional import require

SHELLS = ("bash", "zsh", "fish")
_WHERE = {
    "bash": "fastmlp completion bash > ~/.local/share/bash-completion/completions/fastmlp",
    "zsh": "fastmlp completion zsh > a folder of $fpath, as _fastmlp",
    "fish": "fastmlp completion fish > ~/.config/fish/completions/fastmlp.fish",
}
# What an argument stands for, by its name in the help, if it is a file or a folder.
_FILES = ("FILE", "MODEL", "DATA", "FILE|FRACTION")
_FOLDERS = ("FOLDER",)


def add_parser(commands) -> None:
    """Add `fastmlp completion` to the commands."""
    parser = add_command(
        commands, "completion", run, "Print what a shell needs to complete fastmlp's commands.", "{bash,zsh,fish}",
        example=_WHERE["bash"],
    )  # fmt: skip
    parser.add_argument("shell", choices=SHELLS, help="; ".join(_WHERE.values()))


def run(options) -> None:
    from fastmlp.cli.parser import create_parser

    print(script(create_parser(), options.shell))


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return the script that completes the commands of a parser in a shell."""
    shtab = require("shtab", "completion")
    _mark_files(parser, shtab.FILE, shtab.DIRECTORY)
    return shtab.complete(parser, shell)


def _mark_files(parser: argparse.ArgumentParser, file: dict[str, str], folder: dict[str, str]) -> None:
    """Tell shtab which arguments are files and folders."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                _mark_files(sub, file, folder)
        elif action.metavar in _FILES:
            action.complete = file  # type: ignore[attr-defined]
        elif action.metavar in _FOLDERS:
            action.complete = folder  # type: ignore[attr-defined]
