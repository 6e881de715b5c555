"""What every command has in common."""

import argparse


def add_command(commands, name, run, help) -> argparse.ArgumentParser:
    """Add a command to the parser's, and return its own parser."""
    parser = commands.add_parser(
        name, help=help, description=help, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.set_defaults(run=run)
    return parser
