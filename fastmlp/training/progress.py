"""Show how training is getting on: a bar on terminals and in notebooks, a line per epoch in logs."""

from __future__ import annotations

import html
import io
import math
import sys
import time
from collections.abc import Callable
from typing import Any

# What is always recorded; the user's metrics follow.
HISTORY = (
    "epoch", "seconds", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "learning_rate",
)  # fmt: skip

# Drawing the bar takes 1 to 2 ms.  It waits so many times as long as the last drawing took, so that it stays below 0.5%
# of the time, and at least so many seconds, which is as often as one can read.
WAIT_FACTOR, MIN_WAIT = 200, 0.1
# A line takes 6 us, which is 1% of an epoch of 0.6 ms.  Training for more epochs than this skips some, evenly.
MAX_LINES = 1000
_NOTEBOOK_WIDTH = 110  # characters


class ProgressBar:
    """Show the progress of training; where that is off, do nothing and do not import rich.

    Parameters
    ----------
    progress : bool or "auto"
        True shows a bar on a terminal or in a notebook, and writes lines to standard error elsewhere.  "auto" shows the
        bar, and no lines.
    epochs, done : int
        Number of epochs, and of those that an earlier run has done.
    n_samples : int, optional
        Samples in an epoch, for their rate.
    clock : function
        Returns the time in seconds.

    As a context manager it gives the function to call with the model after every epoch.
    """

    def __init__(
        self,
        progress: bool | str,
        epochs: int,
        done: int = 0,
        n_samples: int | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ):
        self.progress, self.epochs, self.done, self.n_samples, self.clock = progress, epochs, done, n_samples, clock
        self._model: Any = None  # of the last epoch
        self._shown = done  # what was shown last

    def __enter__(self) -> Callable[[Any], None]:
        self._start = self._first = self.clock()
        self._before = self.done
        if self.progress is False:
            return _nothing
        notebook = in_notebook()
        if notebook or (sys.stderr is not None and sys.stderr.isatty()):
            self._view: Any = _NotebookBar(self.epochs, self.done) if notebook else _TerminalBar(self.epochs, self.done)
            self._next = self._start
            return self._advance_bar
        if self.progress == "auto" or sys.stderr is None:
            return _nothing
        self._step = math.ceil(self.epochs / MAX_LINES)
        return self._advance_lines

    def __exit__(self, *exception) -> None:
        if self._model is not None and self._shown != self.done:
            self._show()
        if hasattr(self, "_view"):
            self._view.close()

    def _advance_bar(self, model: Any) -> None:
        self._model = model
        self.done += 1
        now = self.clock()
        if self.done == self._before + 1:
            self._first = now
        if now < self._next:
            return
        self._show()
        end = self.clock()
        self._next = end + max(MIN_WAIT, WAIT_FACTOR * (end - now))

    def _advance_lines(self, model: Any) -> None:
        self._model = model
        self.done += 1
        if self.done % self._step == 0 or self.done == self._before + 1:
            self._show()

    def _show(self) -> None:
        history = self._model.history
        parts = [summary(history, self.done)]
        seconds = float(_value(history, "seconds", self.done))
        if self.n_samples is not None and seconds > 0:
            parts.append(f"{self.n_samples / seconds:,.0f} samples/s")
        self._shown = self.done
        if hasattr(self, "_view"):
            self._view.show(self.done, "  ".join(parts), duration(self._seconds_left()))
            return
        width = len(str(self.epochs))
        line = f"epoch {self.done:{width}d}/{self.epochs}  {'  '.join(parts)}  {seconds:.3f} s"
        print(line, file=sys.stderr, flush=True)

    def _seconds_left(self) -> float:
        """Return how long the rest takes if it goes on like this; the first epoch, which is slower, counts if alone."""
        here = self.done - self._before
        each = (self.clock() - self._first) / (here - 1) if here > 1 else self._first - self._start
        return each * (self.epochs - self.done)


def _nothing(model: Any) -> None:
    pass


class _TerminalBar:
    """A bar of rich's on standard error."""

    def __init__(self, epochs: int, done: int):
        self._progress = _rich_progress(None)
        self._task = self._progress.add_task("", total=epochs, completed=done, left="")
        self._progress.start()

    def show(self, done: int, text: str, left: str) -> None:
        self._progress.update(self._task, completed=done, description=text, left=left)
        self._progress.refresh()

    def close(self) -> None:
        self._progress.stop()


class _NotebookBar:
    """The same bar as text, which is replaced; rich's own needs ipywidgets in notebooks."""

    def __init__(self, epochs: int, done: int):
        from IPython.display import display
        from rich.console import Console

        self._text = io.StringIO()
        console = Console(
            file=self._text, width=_NOTEBOOK_WIDTH, force_terminal=False, force_jupyter=False, no_color=True
        )
        self._progress = _rich_progress(console)
        self._task = self._progress.add_task("", total=epochs, completed=done, left="")
        self._handle = display(self._bundle(), raw=True, display_id=True)

    def _bundle(self) -> dict[str, str]:
        self._text.seek(0)
        self._text.truncate()
        self._progress.console.print(self._progress.get_renderable())
        text = self._text.getvalue().strip()
        return {"text/plain": text, "text/html": f"<pre>{html.escape(text)}</pre>"}

    def show(self, done: int, text: str, left: str) -> None:
        self._progress.update(self._task, completed=done, description=text, left=left)
        self._handle.update(self._bundle(), raw=True)

    def close(self) -> None:
        pass


def _rich_progress(console):
    """Return a bar that is drawn only when told to: a thread that draws would take time from training."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.table import Column

    whole = Column(no_wrap=True)
    return Progress(
        TextColumn("epoch", table_column=whole), MofNCompleteColumn(table_column=whole), BarColumn(bar_width=20),
        TextColumn("{task.fields[left]}", table_column=whole),
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
        console=console or Console(stderr=True), auto_refresh=False, expand=True,
    )  # fmt: skip


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    if "IPython" not in sys.modules:
        return False
    shell = sys.modules["IPython"].get_ipython()
    # a notebook's shell is a subclass of IPython's with a kernel; that of a terminal has none
    return getattr(shell, "kernel", None) is not None


def duration(seconds: float) -> str:
    """Return a time such as "0:05 left" or "1:02:03 left"."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d} left" if hours else f"{minutes}:{rest:02d} left"


def summary(history: dict[str, list], epoch: int) -> str:
    """Return the metrics of an epoch, counted from 1, as a line of text."""
    known = {name: float(_value(history, name, epoch)) for name in HISTORY}
    parts = [f"loss {known['train_loss']:.4f}"]
    for label, name in (("accuracy", "train_accuracy"), ("validation", "validation_accuracy")):
        if not math.isnan(known[name]):
            parts.append(f"{label} {known[name]:.4f}")
    if math.isnan(known["validation_accuracy"]) and not math.isnan(known["validation_loss"]):
        parts.append(f"validation loss {known['validation_loss']:.4f}")
    own = {name: _value(history, name, epoch) for name, values in history.items() if name not in HISTORY and values}
    # callbacks may add values of any type
    parts += [f"{name} {value:.4f}" for name, value in own.items() if isinstance(value, float)]
    return "  ".join(parts)


def _value(history: dict[str, list], name: str, epoch: int) -> Any:
    """Return the value of an epoch under a name; NaN if there is none, as a callback may have replaced the history."""
    values = history.get(name)
    return values[min(epoch, len(values)) - 1] if values else float("nan")
