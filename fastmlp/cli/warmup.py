"""`fastmlp warmup`"""

import time

from fastmlp.cli.command import add_command, add_json_option, print_result


def add_parser(commands) -> None:
    """Add `fastmlp warmup` to the commands."""
    parser = add_command(
        commands, "warmup", run, "Compile all kernels now, or find them in the cache.", example="fastmlp warmup"
    )
    add_json_option(parser)


def run(options) -> None:
    from fastmlp.kernels import jit
    from fastmlp.warmup import warmup

    start = time.perf_counter()
    warmup()
    seconds = time.perf_counter() - start
    where = jit.CACHE_FOLDER or "memory: no cache folder can be written"
    result = {"seconds": seconds, "cache_folder": None if jit.CACHE_FOLDER is None else str(jit.CACHE_FOLDER)}
    print_result(options, result, f"all kernels are compiled, in {seconds:.1f} s; they are in {where}")
