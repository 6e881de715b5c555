"""One side's process: loads the side's code once, and forks a process for every case that is asked for.

It reads requests from its standard input and answers on its standard output, a line of JSON each, one at a time, so
that nothing of it runs while the other side has its turn.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback


class Line:
    """Requests and answers, on file descriptors that forked processes share."""

    def __init__(self):
        self.requests = os.fdopen(os.dup(0), "rb", buffering=0)
        self.answers = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)  # what is printed must not look like an answer

    def read(self):
        line = self.requests.readline()
        return json.loads(line) if line else None

    def write(self, **answer) -> None:
        self.answers.write(json.dumps(answer).encode() + b"\n")


def run_case(line: Line, name: str, cores: list[int], timed: bool) -> None:
    """Answer requests for turns of one case, until one says that it was the last; `timed`: say what a call takes."""
    from . import cases

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    piece = cases.make(name)
    check_isolation()
    if piece.uses_core_time:
        # epochs time themselves: what other processes take from the core does not count
        time.perf_counter = time.process_time
    if timed and piece.seconds is None:
        piece.slice(1)
        piece.seconds = min(piece.slice(1) for _ in range(2))
    line.write(seconds=piece.seconds or 0.0)
    while request := line.read():
        if request.get("end"):
            return
        line.write(slices=[piece.slice(request["number"]) for _ in range(request["slices"])])


def isolate() -> None:
    """Have fastmlp come from the side's tree alone: an editable install would offer what the tree lacks."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in getattr(finder, "__module__", "")]


def check_isolation() -> None:
    """Raise an error if anything of fastmlp was not imported from the side's tree."""
    tree = os.environ["PYTHONPATH"].split(os.pathsep)[0]
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None) or tree
        if name.partition(".")[0] == "fastmlp" and not path.startswith(tree):
            raise RuntimeError(f"{name} must come from {tree}, got {path}")


def serve() -> None:
    """Answer requests; the arguments of the process are the kinds of cases to load code for."""
    line = Line()
    isolate()
    from . import cases

    cases.load(sys.argv[1:])
    check_isolation()
    line.write(ready=True)
    while request := line.read():
        if request.get("end"):  # of a case that has failed
            line.write(done=True)
            continue
        child = os.fork()
        if child == 0:
            status = 0
            try:
                run_case(line, request["case"], request["cores"], request["timed"])
            except cases.Missing as error:
                line.write(missing=str(error))
            except BaseException:
                traceback.print_exc()
                status = 1
            finally:
                sys.stderr.flush()
                os._exit(status)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        line.write(**({"failed": f"{request['case']}: exit status {code}"} if code else {"done": True}))


if __name__ == "__main__":
    serve()
