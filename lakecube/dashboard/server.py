"""The server: on loopback unless another address is named, one session per visitor, one store for all."""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import re
import socket
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.core.templates import get_env
from bokeh.document import Document
from bokeh.server.server import BaseServer
from bokeh.server.tornado import BokehTornado
from bokeh.server.util import bind_sockets, check_allowlist
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.web import RequestHandler

from lakecube.dashboard.downloads import OutlinesFile, SeriesFile, refuse
from lakecube.dashboard.page import show as show_page
from lakecube.dashboard.source import Source
from lakecube.errors import InvalidInputError

logger = logging.getLogger("lakecube")
#: Where the dashboard listens if nothing else is said.
PORT, ADDRESS = 5006, "127.0.0.1"
_EVERY = ("0.0.0.0", "::")
_ORIGIN = re.compile(r"(?:https?://)?([\w.-]+|\[[0-9a-f:]+\])(?::([0-9]{1,5}))?/?")


def serve(
    store: str | os.PathLike[str],
    *,
    port: int = PORT,
    address: str = ADDRESS,
    origins: Sequence[str] = (),
    show: bool = True,
    storage_options: Mapping[str, Any] | None = None,
    tell: Callable[[str], None] | None = None,
) -> None:
    """Show a store in the browser until interrupted.

    Parameters
    ----------
    store : str or path
        Directory of the store, or its address in object storage. It is read, never written.
    port : int
        Where to listen; 0 is any that is free.
    address : str
        Address of this machine to listen at. Loopback unless named: whoever reaches another one sees the store.
    origins : sequence of str
        Names under which browsers ask for it, ``host:port``, besides `address`: needed behind a proxy, and with
        ``0.0.0.0``. Without a port, those of http and https.
    show : bool
        Open a browser.
    storage_options : mapping, optional
        For object storage.
    tell : callable, optional
        Gets the address once it answers; by default a line is printed.

    Raises
    ------
    InvalidInputError
        If it cannot listen there, or an origin is none.
    StoreError
        If there is no store.
    """
    source = Source(store, storage_options)
    source.opened.first_picture()  # read before the first visitor waits for it
    server, url = make_server(source, port=port, address=address, origins=origins)
    if tell is None:
        print(f"lakecube dashboard: {source.place} at {url} (Ctrl-C ends it)", flush=True)
    else:
        tell(url)
    if show:
        server.io_loop.call_later(0.1, server.io_loop.run_in_executor, None, webbrowser.open, url)
    try:
        server.io_loop.start()
    except KeyboardInterrupt:
        server.stop()


def make_server(
    source: Source, *, port: int = 0, address: str = ADDRESS, origins: Sequence[str] = ()
) -> tuple[BaseServer, str]:
    """A server that answers as soon as its loop runs, and its address for a browser on this machine."""
    if not address.strip():
        raise InvalidInputError(f"address={address!r}: name the address to listen at, such as {ADDRESS}")
    if not 0 <= port < 1 << 16:
        raise InvalidInputError(f"port={port}: ports go from 0 (any that is free) to 65535")
    if not is_loopback(address):
        logger.warning(
            "the dashboard listens at %s: whoever reaches that address can see and download this store; there is no "
            "password. Behind a proxy that asks for one, leave it at %s", address, ADDRESS,
        )  # fmt: skip
    template = get_env().from_string((files("lakecube.dashboard") / "page.html").read_text(encoding="utf-8"))

    def fill(document: Document) -> None:
        document.template = template
        show_page(document, source)

    allowed_hosts(address, port, origins)  # an origin that is none is told before anything listens
    try:
        sockets, port = bind_sockets(address, port)
    except OSError as error:
        other = "port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "address"
        raise InvalidInputError(
            f"cannot listen at {address}:{port}, {error.strerror or error}: choose another {other}="
        ) from error
    hosts = allowed_hosts(address, port, origins)
    given = {"source": source}
    application = _OwnNames(
        {"/": Application(FunctionHandler(fill))},
        extra_patterns=[("/download/series.csv", SeriesFile, given),
                        ("/download/outlines.parquet", OutlinesFile, given)],
        extra_websocket_origins=sorted(hosts), unused_session_lifetime_milliseconds=120_000,
        websocket_max_message_size_bytes=1 << 20,
    )  # fmt: skip
    listening = HTTPServer(application)
    listening.add_sockets(sockets)
    server = BaseServer(IOLoop.current(), application, listening)
    server.start()
    return server, f"http://{'localhost' if address in _EVERY else _host(address)}:{port}/"


class _Foreign(RequestHandler):
    """The answer to who asks under another name."""

    def prepare(self) -> None:
        refuse(self, 403, "the dashboard is not served under this name; lakecube dashboard --origin HOST:PORT adds one")


class _OwnNames(BokehTornado):
    """Answers under its own names alone: a page elsewhere may have had its name point here."""

    def find_handler(self, request: Any, **options: Any) -> Any:
        if check_allowlist(request.host.lower(), self.websocket_origins):
            return super().find_handler(request, **options)
        return self.get_handler_delegate(request, _Foreign)


def is_loopback(address: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def allowed_hosts(address: str, port: int, origins: Sequence[str]) -> set[str]:
    """Names under which browsers may ask, ``host:port``; of an address for all, every name of this machine."""
    names = {"localhost", ADDRESS, "[::1]"} if is_loopback(address) else set()
    names |= {"localhost", ADDRESS, socket.gethostname(), socket.getfqdn()} if address in _EVERY else {_host(address)}
    return {f"{name}:{port}".lower() for name in names}.union(*map(_of_origin, origins))


def _of_origin(text: str) -> set[str]:
    """A name as browsers and proxies send it: the port of https may be left out, which Bokeh reads as that of http."""
    found = _ORIGIN.fullmatch(text.strip().lower())
    if found is None:
        raise InvalidInputError(
            f"origin {text!r} is not a name of a server: give HOST:PORT, such as maps.example.org:443"
        )
    host, port = found.groups()
    return {f"{host}:{one}" for one in (("80", "443") if port in (None, "443") else (port,))}


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
