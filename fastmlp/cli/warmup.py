"""`fastmlp warmup`"""

import time

from fastmlp.cli.command import add_command


def add_parser(commands) -> None:
    """Add `fastmlp warmup` to the commands."""
    add_command(commands, "warmup", run, "Compile all kernels now, or find them in the cache.")


def run(options) -> None:
    from fastmlp.kernels import jit
    from fastmlp.warmup import warmup

    start = time.perf_counter()
    warmup()
    where = jit.CACHE_FOLDER or "memory: no cache folder can be written"
    print(f"all kernels are compiled, in {time.perf_counter() - start:.1f} s; they are in {where}")
