import os


def pytest_configure(config):
    """Give each worker of pytest-xdist one core, on which more threads would hold each other up."""
    if getattr(config.option, "numprocesses", None):
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is loaded: for its BLAS, and fastmlp's default
