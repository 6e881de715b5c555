"""`train_many` and `iter_many`: many networks on the same data."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fastmlp.checks import check_choice, check_integer
from fastmlp.engine.cpu_limits import default_threads
from fastmlp.errors import WorkersLostError
from fastmlp.many import local
from fastmlp.many.configs import check_configs, name_config, with_listed_callbacks
from fastmlp.many.remote import Dispatcher
from fastmlp.many.worker import Payload
from fastmlp.model import MLP
from fastmlp.training.shared import SharedData


def train_many(
    configs: Iterable[Mapping[str, Any]],
    x,
    y,
    *,
    threads: int | None = None,
    executor: Any = None,
    on_error: str = "raise",
    **common: Any,
) -> list[MLP]:
    """Train many networks on the same data, each with settings of its own.

    Each network is trained on one thread, and is bitwise the one that ``fastmlp.train(x, y, threads=1, **config)``
    returns.  All of them read the same copy of the data, which are checked and encoded once.

    Parameters
    ----------
    configs : iterable of dict
        For each network, any of `fastmlp.train`'s settings: widths, seed, optimizer, ``samples``, ``callbacks``, ...
        Those with a ``checkpoint`` have a folder each.
    x, y
        As in `fastmlp.train`.
    threads : int, optional
        Number of networks that are trained at once in this process; by default the number of physical cores that it may
        use.
    executor : concurrent.futures.Executor, Dask client, or function, optional
        Where to train instead of in threads: a ``ProcessPoolExecutor``, an ``mpi4py.futures.MPIPoolExecutor``, a Dask
        ``Client`` or its ``get_executor()``; or a function without arguments that returns one, which is called again
        if the executor breaks.  The data go to each worker once, and several short training runs make one task.  If a
        worker dies, another one trains its networks.
    on_error : "raise" or "return"
        What to do if a network raises an error, such as a `DivergenceError`.  "raise": end all others, and raise it;
        "return": put it in the place of the model in the result.
    **common
        Settings of all networks, for those whose dict does not have them.  Callbacks and schedules that several
        networks share are copied for each.

    Returns
    -------
    list of MLP
        In the order of `configs`.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.  The message says which of the `configs` it is about.
    DivergenceError
        If a loss or a weight becomes NaN or infinite.
    WorkersLostError
        If workers died, and there are none to go on with.  It has the models that are complete.

    Examples
    --------
    >>> mnist = fastmlp.load_mnist()
    >>> x, y = mnist.x_train[:2000], mnist.y_train[:2000]
    >>> models = fastmlp.train_many([{"hidden": (8,)}, {"hidden": (64, 32), "optimizer": "adam"}], x, y, epochs=2)
    >>> [model.widths for model in models]
    [(784, 8, 10), (784, 64, 32, 10)]
    """
    found = iter_many(configs, x, y, threads=threads, executor=executor, on_error=on_error, **common)
    outcomes: dict[int, MLP] = {}
    with contextlib.closing(found):  # type: ignore[type-var]
        try:
            outcomes.update(found)
        except WorkersLostError as error:
            n = len(outcomes) + len(error.missing)
            error.models = [outcomes.get(index) for index in range(n)]
            raise
    return [outcomes[index] for index in range(len(outcomes))]


def iter_many(
    configs: Iterable[Mapping[str, Any]],
    x,
    y,
    *,
    threads: int | None = None,
    executor: Any = None,
    on_error: str = "raise",
    **common: Any,
) -> Iterator[tuple[int, MLP]]:
    """Train many networks like `train_many`, and yield each as soon as it is trained.

    Parameters
    ----------
    configs, x, y, threads, executor, on_error, **common
        As in `train_many`.

    Yields
    ------
    (int, MLP)
        The network's index in `configs`, and the model, or the error that takes its place.  Closing the iterator ends
        the training of all others.

    Raises
    ------
    ValueError, TypeError, DivergenceError, WorkersLostError
        As in `train_many`.

    Examples
    --------
    >>> mnist = fastmlp.load_mnist()
    >>> configs = [{"seed": seed} for seed in range(4)]
    >>> for index, model in fastmlp.iter_many(configs, mnist.x_train[:2000], mnist.y_train[:2000], epochs=1):
    ...     if model.evaluate(mnist.x_test, mnist.y_test).accuracy > 0.5:
    ...         break
    """
    check_choice(on_error, "on_error", ("raise", "return"))
    if executor is not None and threads is not None:
        raise ValueError(f"threads must be None with an executor, which has workers of its own, got {threads!r}")
    n_threads = default_threads() if threads is None else check_integer(threads, "threads", 1)
    common = with_listed_callbacks(common)
    checked = check_configs(configs, common)
    buffer = common.get("shuffle_buffer")
    if executor is None:
        return _named(local.outcomes(checked, common, SharedData(x, y, buffer), n_threads), on_error)
    return _named(iter(Dispatcher(checked, Payload(x, y, buffer, common), executor)), on_error)


def _named(outcomes: Iterator[tuple[int, local.Outcome]], on_error: str) -> Iterator[tuple[int, Any]]:
    """Yield outcomes whose errors say which of the configs they are of; raise those that are to be raised."""
    with contextlib.closing(outcomes):  # type: ignore[type-var]
        for index, outcome in outcomes:
            if isinstance(outcome, BaseException):
                if not isinstance(outcome, Exception):  # Ctrl-C, or sys.exit in a callback
                    raise outcome
                name_config(outcome, index)
                if on_error == "raise":
                    raise outcome
            yield index, outcome
