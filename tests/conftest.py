import os
import signal


def pytest_configure(config):
    """Let tests send Ctrl-C, and give each worker of pytest-xdist one core, where more threads would hold it up."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as shells start jobs in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if getattr(config.option, "numprocesses", None):
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is loaded: for its BLAS, and fastmlp's default
