"""What watches that a browser asks nobody but this machine.

The browser has a proxy for every host but 127.0.0.1. The proxy answers nobody: it writes down who was asked for, and
refuses. So what leaves is stopped whatever sent it (a page, a worker, a socket, a prefetch), and is known afterwards.
"""

from __future__ import annotations

import socketserver
import threading
from typing import Self
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ProxySettings, Request, WebSocket

__all__ = ["HOME", "Guard", "leaves"]

HOME = "127.0.0.1"
# Chromium's own housekeeping (updates, sign-in, autofill), for which it has no one switch. The proxy refuses it as all
# else; it is no page's doing. What a page asks of these hosts is known from the page, by its URL.
_HOUSEKEEPING = (".google.com", ".googleapis.com", ".gvt1.com")
_INSIDE = {"about", "blob", "chrome", "data", "file"}


def leaves(url: str) -> bool:
    """Return whether a URL asks for something outside the browser that is not on 127.0.0.1."""
    parts = urlsplit(url)
    return parts.scheme not in _INSIDE and parts.hostname != HOME


class Guard:
    """The proxy that refuses, and the list of what was asked for.

    Attributes
    ----------
    seen
        URLs that pages asked for, and ``METHOD target`` for each request that reached the proxy.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._server = _Server((HOME, 0), _Refusal)
        self._server.seen = self.seen
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def proxy(self) -> ProxySettings:
        """What a browser is launched with. ``<-loopback>``: other names of this machine are refused as well."""
        return {"server": f"http://{HOME}:{self._server.server_address[1]}", "bypass": f"<-loopback>,{HOME}"}

    def watch(self, context: BrowserContext) -> None:
        """Name the URLs that the pages of a context ask for; the proxy alone would know hosts only."""
        context.on("request", self._request)
        context.on("page", lambda page: page.on("websocket", self._socket))

    def take(self) -> list[str]:
        """Return what was seen, and forget it."""
        taken, self.seen[:] = list(self.seen), []
        return taken

    def _request(self, request: Request) -> None:
        if leaves(request.url):
            self.seen.append(request.url)

    def _socket(self, socket: WebSocket) -> None:
        if leaves(socket.url):
            self.seen.append(socket.url)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    seen: list[str]


class _Refusal(socketserver.StreamRequestHandler):
    timeout = 5

    def handle(self) -> None:
        line = self.rfile.readline(4096).decode("latin-1").split(" ")
        if len(line) > 1:
            host = urlsplit(line[1] if "://" in line[1] else f"//{line[1]}").hostname or ""
            if not host.endswith(_HOUSEKEEPING):
                self.server.seen.append(" ".join(line[:2]))  # type: ignore[attr-defined]
            self.wfile.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
