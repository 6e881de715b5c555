"""What is shown of training, and what that costs."""

import contextlib
import io
import sys
import types

import numpy as np
import pytest

import fastmlp
from fastmlp.training import progress
from fastmlp.training.progress import ProgressBar, duration, summary

X = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
Y = np.arange(40) % 2
OPTIONS = {"hidden": (4,), "seed": 0}


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """A terminal that standard error can be redirected to, which pytest sets anew for every test."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return Terminal()


def model_of(epoch, **more):
    """What the bar needs of a model."""
    nan = float("nan")
    last = {"epoch": epoch, "seconds": 0.5, "train_loss": 1 / epoch, "train_accuracy": nan, "validation_loss": nan}
    last |= {"validation_accuracy": nan, "learning_rate": 0.1, **more}
    return types.SimpleNamespace(history={name: [value] for name, value in last.items()})


def test_a_log_gets_one_plain_line_per_epoch(capfd):
    model = fastmlp.train(X, Y, epochs=3, validation=(X, Y), progress=True, **OPTIONS)
    out, err = capfd.readouterr()
    lines = [line for line in err.splitlines() if line.startswith("epoch")]
    assert out == ""
    assert [line.split()[:2] for line in lines] == [["epoch", f"{k}/3"] for k in (1, 2, 3)]
    for k, line in enumerate(lines):
        assert f"loss {model.history['train_loss'][k]:.4f}  accuracy {model.history['train_accuracy'][k]:.4f}" in line
        assert f"validation {model.history['validation_accuracy'][k]:.4f}" in line
        assert f"{40 / model.history['seconds'][k]:,.0f} samples/s" in line
        assert line.isprintable()  # no color, and no cursor that moves


def test_nothing_is_shown_by_default_in_a_log_or_if_it_is_off(capfd, terminal):
    with contextlib.redirect_stderr(terminal):
        fastmlp.train(X, Y, epochs=2, progress=False, **OPTIONS)
    assert terminal.getvalue() == ""
    fastmlp.train(X, Y, epochs=2, **OPTIONS)
    assert "epoch" not in capfd.readouterr().err


@pytest.mark.parametrize("shown", ["auto", True])
def test_a_terminal_gets_a_bar_with_everything(terminal, shown):
    with contextlib.redirect_stderr(terminal):
        model = fastmlp.train(X, Y, epochs=3, validation=(X, Y), progress=shown, **OPTIONS)
    text = terminal.getvalue()
    assert "\x1b[" in text  # one line, drawn again
    assert "0/3" in text
    last = text[text.rindex("3/3") :]
    assert f"loss {model.history['train_loss'][-1]:.4f}" in last
    assert f"validation {model.history['validation_accuracy'][-1]:.4f}" in last
    assert "samples/s" in last
    assert "0:00 left" in last


def test_the_bar_fits_into_a_narrow_terminal(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    with contextlib.redirect_stderr(terminal), ProgressBar(True, 12, n_samples=1000) as advance:
        advance(model_of(1, train_accuracy=0.5, validation_accuracy=0.25))
    assert terminal.getvalue().count("\n") == 1  # at its end
    assert "1/12" in terminal.getvalue()
    assert "loss 1.0000" in terminal.getvalue()


def test_an_error_leaves_the_terminal_in_order(terminal):
    def fail(model):
        raise RuntimeError

    with contextlib.redirect_stderr(terminal), pytest.raises(RuntimeError):
        fastmlp.train(X, Y, epochs=3, callbacks=[fail], **OPTIONS)
    assert terminal.getvalue().endswith("\x1b[?25h")  # the cursor is visible again


class Clock:
    """Time that passes only when it is told to."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize("drawing", [1e-4, 2e-3, 0.05])
def test_drawing_the_bar_takes_less_than_a_percent(monkeypatch, terminal, drawing):
    clock, spent = Clock(), []

    class Slow:
        def __init__(self, *_):
            pass

        def show(self, *what):
            clock.now += drawing
            spent.append(what)

        def close(self):
            pass

    monkeypatch.setattr(progress, "_TerminalBar", Slow)
    with contextlib.redirect_stderr(terminal), ProgressBar(True, 100_000, clock=clock) as advance:
        for k in range(100_000):
            clock.now += 1e-3
            advance(model_of(k + 1))
    assert spent[0][0] == 1
    assert spent[-1][0] == 100_000  # the last epoch is shown in the end
    assert len(spent) > 3
    assert (len(spent) - 2) * drawing < 0.01 * clock.now
    assert len(spent) <= clock.now / progress.MIN_WAIT + 2


@pytest.mark.parametrize(("epochs", "lines"), [(1, 1), (1000, 1000), (1001, 502), (10_000, 1001)])
def test_long_training_writes_a_bounded_number_of_lines(capsys, epochs, lines):
    with ProgressBar(True, epochs) as advance:
        for k in range(epochs):
            advance(model_of(k + 1))
    written = capsys.readouterr().err.splitlines()
    assert len(written) == lines
    assert written[-1].startswith(f"epoch {epochs}/{epochs}")


def test_training_that_stops_early_has_its_last_epoch_in_the_log(capsys):
    with ProgressBar(True, 10_000) as advance:
        for k in range(15):
            advance(model_of(k + 1))
    written = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in written] == ["1/10000", "10/10000", "15/10000"]


def test_the_time_left_is_that_of_the_epochs_so_far(terminal):
    clock = Clock()
    with contextlib.redirect_stderr(terminal), ProgressBar(True, 10, clock=clock) as advance:
        clock.now += 20  # the first one compiles
        advance(model_of(1))
        assert "3:00 left" in terminal.getvalue()
        clock.now += 2
        advance(model_of(2))
    assert "0:16 left" in terminal.getvalue()


def test_a_resumed_run_counts_on(capsys):
    with ProgressBar(True, 5, done=3) as advance:
        advance(model_of(4))
        advance(model_of(5))
    assert [line.split()[1] for line in capsys.readouterr().err.splitlines()] == ["4/5", "5/5"]


def test_a_callback_may_replace_the_history(terminal):
    def replace(model):
        model.history = {}

    with contextlib.redirect_stderr(terminal):
        fastmlp.train(X, Y, epochs=3, callbacks=[replace], **OPTIONS)
    assert "3/3" in terminal.getvalue()


def test_without_standard_error_nothing_is_shown(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)  # as in a windowed application
    for shown in (True, "auto"):
        with ProgressBar(shown, 2) as advance:
            advance(model_of(1))


def test_a_notebook_shows_one_text_that_is_replaced(monkeypatch, capsys):
    shown = []

    class Handle:
        def update(self, bundle, raw):
            shown.append((bundle, raw))

    def display(bundle, raw, display_id):
        assert display_id
        shown.append((bundle, raw))
        return Handle()

    package, module = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    package.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    package.display, module.display = module, display
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    fastmlp.train(X, Y, epochs=2, **OPTIONS)
    assert capsys.readouterr() == ("", "")
    assert all(raw and set(bundle) == {"text/plain", "text/html"} for bundle, raw in shown)
    assert "0/2" in shown[0][0]["text/plain"]
    last = shown[-1][0]
    assert "2/2" in last["text/plain"]
    assert "loss" in last["text/html"]
    assert all("\n" not in bundle["text/plain"] for bundle, _ in shown)
    package.get_ipython = lambda: None  # IPython is imported, but this is a script
    fastmlp.train(X, Y, epochs=1, **OPTIONS)
    assert capsys.readouterr() == ("", "")


def test_times_are_read_easily():
    assert [duration(s) for s in (0, 0.2, 59.5, 61, 3723)] == [
        "0:00 left", "0:01 left", "1:00 left", "1:01 left", "1:02:03 left",
    ]  # fmt: skip


def test_the_summary_has_what_there_is():
    assert summary(model_of(2, validation_loss=0.25).history, 2) == "loss 0.5000  validation loss 0.2500"
    model = model_of(2, train_accuracy=0.75, validation_accuracy=0.5, train_top_2=1.0, note="text")
    assert summary(model.history, 2) == "loss 0.5000  accuracy 0.7500  validation 0.5000  train_top_2 1.0000"
