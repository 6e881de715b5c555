"""The demo: a page to draw digits on, which a network reads while they are drawn, and which can correct it."""

from __future__ import annotations

import threading
import webbrowser
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastmlp.model import MLP

__all__ = ["run_demo"]


def run_demo(model: MLP | None = None, *, port: int = 0, browser: bool = True) -> None:
    """Serve the demo's page on this computer alone, until Ctrl-C.

    Parameters
    ----------
    model : MLP, optional
        A classifier of 28 x 28 pixels.  By default one is trained on MNIST and on shifted and scaled copies of its
        digits, which takes a second or two.  It is not changed: corrections teach a copy.
    port : int
        Port on 127.0.0.1; 0 for any that is free.
    browser : bool
        Whether to open the page in the browser.

    Raises
    ------
    ValueError
        If the model is not such a classifier.
    OSError
        If the port is taken.
    """
    from fastmlp.demo.server import DemoServer
    from fastmlp.demo.training import train_on_digits

    if model is None:
        print("training on MNIST, and on shifted and scaled copies of its digits", flush=True)
        model = train_on_digits(on_epoch=_print_epoch)
    with DemoServer(model, port) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        print(f"draw a digit at {server.url}\nCtrl-C ends the demo", flush=True)
        try:
            if browser:
                webbrowser.open(server.url)
            while thread.is_alive():
                thread.join(1.0)  # Windows delivers Ctrl-C between waits
        except KeyboardInterrupt:
            print()
        finally:
            server.shutdown()


def _print_epoch(model: MLP) -> None:
    history = model.history
    print(f"epoch {history['epoch'][-1]}  accuracy {history['train_accuracy'][-1]:.4f}", flush=True)
