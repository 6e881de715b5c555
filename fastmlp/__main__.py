"""``fastmlp``, or ``python -m fastmlp``"""

import sys


def main() -> int:
    """Run a command; returns the exit status, also where Ctrl-C comes while the package is being imported."""
    try:
        from fastmlp import cli

        return cli.main()
    except KeyboardInterrupt:
        print("fastmlp: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
