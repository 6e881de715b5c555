"""The command line: one module for each command."""

from fastmlp.cli.parser import main

__all__ = ["main"]
