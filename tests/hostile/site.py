"""A web server on loopback that serves documents from memory, answers that are made up on the way, and redirects."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from tests.loopback import serving

#: Stands in a document for its own address.
HERE = "http://here"
#: Bytes, the address of a redirect, or what makes bytes of the path and query that were asked for.
Document = bytes | str | Callable[[str], bytes]


@dataclass(frozen=True)
class Spoilt:
    """What is other in the answers of a path: the status (0: as it was), headers, zeros after the body."""

    status: int
    headers: dict[str, str]
    more: int


class Site:
    """Its address, what lies where, and whose answers are spoilt."""

    def __init__(self) -> None:
        self.url = ""
        self.documents: dict[str, Document] = {}
        self.spoilt: dict[str, Spoilt] = {}
        self._count = 0

    def put(self, document: Document, name: str = "item.json") -> str:
        """Serve a document under a path that nothing had before; returns its address."""
        path = f"/{self.number()}/{name}"
        if isinstance(document, bytes):
            document = document.replace(HERE.encode(), (self.url + path).encode())
        self.documents[path] = document
        return self.url + path

    def number(self) -> int:
        """One that nothing had before."""
        self._count += 1
        return self._count

    def forget(self) -> None:
        """Drop everything that `put` placed, and spoil nothing."""
        self.spoilt.clear()
        self.documents = {path: one for path, one in self.documents.items() if not path[1].isdigit()}


@contextlib.contextmanager
def site() -> Iterator[Site]:
    """Serve while the context lasts."""
    made = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._answer(body=True)

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self, body: bool) -> None:
            document = made.documents.get(urlsplit(self.path).path)
            if callable(document):
                document = document(self.path)
            if document is None or isinstance(document, str):
                self.send_response(404 if document is None else 302)
                if document is not None:
                    self.send_header("Location", document)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            part, start, total = document, 0, len(document)
            if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or ""):
                start = int(match[1])
                part = document[start : int(match[2]) + 1 if match[2] else None]
                if not part:
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{total}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                headers = {"Content-Range": f"bytes {start}-{start + len(part) - 1}/{total}"}
            else:
                headers = {}
            other = made.spoilt.get(urlsplit(self.path).path, Spoilt(0, {}, 0))
            self.send_response(other.status or (206 if headers else 200))
            headers |= {"Accept-Ranges": "bytes", "Content-Length": str(len(part))} | other.headers
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.close_connection |= bool(other.headers or other.more)
            with contextlib.suppress(OSError):  # who has enough hangs up
                self.wfile.write(part if body else b"")
                for _ in range(other.more // 2**16):
                    self.wfile.write(bytes(2**16))

    with serving(Handler) as made.url:
        yield made
