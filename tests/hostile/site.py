"""A web server on loopback that serves documents from memory, answers that are made up on the way, and redirects."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from tests.loopback import serving

#: Stands in a document for its own address.
HERE = "http://here"
#: Bytes, the address of a redirect, or what makes bytes of the path and query that were asked for.
Document = bytes | str | Callable[[str], bytes]


class Site:
    """Its address and what lies where."""

    def __init__(self) -> None:
        self.url = ""
        self.documents: dict[str, Document] = {}
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
        """Drop everything that `put` placed."""
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
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{start + len(part) - 1}/{total}")
            else:
                self.send_response(200)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            if body:
                self.wfile.write(part)

    with serving(Handler) as made.url:
        yield made
