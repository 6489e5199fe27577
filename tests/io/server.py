"""A web server on loopback that serves byte ranges of a folder, and fails on request."""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

from tests.loopback import serving


@dataclass
class Site:
    """What the server does: its address, what was asked of it, and which answers it spoils.

    `failures` maps a path to status codes that its next requests get, one each; `always` to a code that every
    request gets; `cut` to the number of bytes after which every answer breaks off (its length is announced in full).
    `key`, if set, is the query string without which everything is forbidden.
    """

    url: str = ""
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    failures: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    always: dict[str, int] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    key: str = ""

    def asked(self, path: str) -> int:
        """How often a path was asked for."""
        return sum(p == path for _, p, _ in self.requests)


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[Site]:
    """Serve a folder while the context lasts."""
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self, body: bool) -> None:
            parts = urlsplit(self.path)
            wanted = self.headers.get("Range")
            site.requests.append((self.command, parts.path, wanted))
            code = self._code(parts.path, parts.query)
            if code is not None:
                self.send_response(code)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            data = (folder / parts.path.lstrip("/")).read_bytes()
            status, part, start = 200, data, 0
            if match := re.fullmatch(r"bytes=(\d+)-(\d*)", wanted or ""):
                start = int(match[1])
                status, part = 206, data[start : int(match[2]) + 1 if match[2] else None]
            self.send_response(status)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(part)))
            if status == 206:
                self.send_header("Content-Range", f"bytes {start}-{start + len(part) - 1}/{len(data)}")
            self.end_headers()
            if body:
                limit = site.cut.get(parts.path)
                self.wfile.write(part if limit is None else part[:limit])
                self.close_connection = limit is not None

        def _code(self, path: str, query: str) -> int | None:
            if site.key and query != site.key:
                return 403
            if site.failures.get(path):
                return site.failures[path].pop(0)
            if path in site.always:
                return site.always[path]
            return None if (folder / path.lstrip("/")).is_file() else 404

    with serving(Handler) as site.url:
        yield site
