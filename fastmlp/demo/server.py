"""The demo's server: one page and what its script asks for, for this computer alone.

Requests must name this server as their host, which stops pages elsewhere whose name is made to point here, and carry a
token that only the address printed on the terminal holds.  Bodies have one size: that of a drawing.
"""

from __future__ import annotations

import html
import json
import secrets
import sys
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from fastmlp.demo.session import Session

if TYPE_CHECKING:
    from fastmlp.model import MLP

SIDE = 140  # pixels of a drawing's side, one byte each
TOKEN_HEADER = "X-Fastmlp-Token"
_FOLDER = Path(__file__).parent
_SECONDS = 30  # that a connection may keep silent

_CONTENT_SECURITY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Refused(Exception):
    """A request that gets an error for an answer."""

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status, self.reason = status, reason


class DemoServer(ThreadingHTTPServer):
    """Serves the demo on 127.0.0.1.

    Parameters
    ----------
    model : MLP
        A classifier of 28 x 28 pixels; what learns is a copy of it.
    port : int
        0 for any that is free.
    """

    daemon_threads = True

    def __init__(self, model: MLP, port: int = 0):
        self.session = Session(model)
        self.token = secrets.token_urlsafe(24)
        self.network = "-".join(map(str, model.widths))
        super().__init__(("127.0.0.1", port), _Handler)

    @cached_property
    def hosts(self) -> frozenset[str]:
        """Names that requests may give to this server."""
        return frozenset(f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost"))

    @property
    def url(self) -> str:
        """Address of the page, with the token."""
        return f"http://127.0.0.1:{self.server_port}/?token={self.token}"

    def page(self, nonce: str) -> bytes:
        """Return the page, whose style and script carry `nonce`."""
        parts = {name: (_FOLDER / name).read_text(encoding="utf-8") for name in ("page.html", "page.css", "page.js")}
        state = json.dumps({"token": self.token, "labels": self.session.labels, "side": SIDE})
        page = parts["page.html"]
        for mark, text in {
            "{{nonce}}": nonce,
            "{{network}}": html.escape(self.network),
            "{{style}}": parts["page.css"],
            "{{state}}": state.replace("<", "\\u003c"),  # no label may end the script
            "{{script}}": parts["page.js"],
        }.items():
            page = page.replace(mark, text)
        return page.encode()

    def handle_error(self, request, client_address) -> None:
        """Say nothing of connections that end early, and report everything else."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: DemoServer
    protocol_version = "HTTP/1.1"
    server_version = "fastmlp"
    sys_version = ""
    timeout = _SECONDS

    def do_GET(self) -> None:
        self._respond(self._get)

    def do_POST(self) -> None:
        self._respond(self._post)

    def _respond(self, method) -> None:
        try:
            self._check_host()
            method()
        except Refused as refused:
            self.close_connection = True  # its body has not been read
            self._send(refused.status, (refused.reason + "\n").encode(), "text/plain; charset=utf-8")

    def _check_host(self) -> None:
        if self.headers.get("Host") not in self.server.hosts:
            raise Refused(403, "this server answers to 127.0.0.1 alone")
        origin = self.headers.get("Origin")
        if origin is not None and origin.removeprefix("http://") not in self.server.hosts:
            raise Refused(403, "this server answers to its own page alone")

    def _check_token(self, token: str | None) -> None:
        if token is None or not secrets.compare_digest(token.encode(), self.server.token.encode()):
            raise Refused(403, "the token is wrong: open the address that `fastmlp demo` printed")

    def _get(self) -> None:
        if self._path() != "/":
            raise Refused(404, "there is nothing here")
        self._check_token(self._query().get("token"))
        nonce = secrets.token_urlsafe(16)
        headers = {"Content-Security-Policy": _CONTENT_SECURITY.format(nonce=nonce)}
        self._send(200, self.server.page(nonce), "text/html; charset=utf-8", headers)

    def _post(self) -> None:
        self._check_token(self.headers.get(TOKEN_HEADER))
        path, session = self._path(), self.server.session
        if path == "/predict":
            answer: dict[str, Any] = session.answer(self._drawing()).as_json()
        elif path == "/learn":
            label = self._label()
            before, after, learning_rate = session.learn(self._drawing(), label)
            answer = {"before": before.as_json(), "after": after.as_json(), "learning_rate": learning_rate}
        elif path == "/forget":
            session.forget()
            answer = session.answer(self._drawing()).as_json()
        else:
            raise Refused(404, "there is nothing here")
        self._send(200, json.dumps(answer).encode(), "application/json")

    def _path(self) -> str:
        return self._split().path

    def _query(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(self._split().query, max_num_fields=8).items()}

    def _split(self):
        try:
            split = urlsplit(self.path)
            parse_qs(split.query, max_num_fields=8)
        except ValueError:
            raise Refused(400, "the address is not one") from None
        return split

    def _label(self) -> int:
        text, n = self._query().get("label", ""), len(self.server.session.labels)
        if not (text.isascii() and text.isdecimal() and len(text) < 6 and int(text) < n):
            raise Refused(400, f"label must be the index of a class, 0 to {n - 1}, got {text[:20]!r}")
        return int(text)

    def _drawing(self) -> np.ndarray:
        """Read the body: a drawing's pixels, bright on dark, (SIDE, SIDE) uint8."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal()):
            raise Refused(411, f"Content-Length must be {SIDE * SIDE}")
        if len(length) > 9 or int(length) > SIDE * SIDE:
            raise Refused(413, f"a drawing is {SIDE * SIDE} bytes, got {length[:20]}")
        if int(length) < SIDE * SIDE:
            raise Refused(400, f"a drawing is {SIDE * SIDE} bytes, got {length}")
        body = self.rfile.read(SIDE * SIDE)
        if len(body) < SIDE * SIDE:
            raise Refused(400, f"a drawing is {SIDE * SIDE} bytes, got {len(body)}")
        return np.frombuffer(body, np.uint8).reshape(SIDE, SIDE)

    def _send(self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args) -> None:
        """Say nothing: the terminal is for what concerns the visitor."""
