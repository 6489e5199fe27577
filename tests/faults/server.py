"""A web server on loopback that serves byte ranges of a folder, and spoils the answers it is told to spoil.

Faults are scripted by path and by the number of the request of that path, so that a run can be repeated.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.loopback import serving

ENDLESS = 10**9
SECRET = "TOPSECRET"


@dataclass(frozen=True)
class Fault:
    """What becomes of the requests `first` to `last` of a path (counted from 1).

    `kind`: ``"status"`` answers `code` with `headers`; ``"cut"`` sends `size` bytes less than announced; ``"stall"``
    waits `seconds` in the middle of the body; ``"slow"`` waits before it answers; ``"drip"`` sends `size` bytes per
    second; ``"shift"`` sends, and announces, bytes `size` further on; ``"lie"`` sends them under the range that was
    asked for; ``"whole"`` knows no ranges; ``"content"`` serves other bytes (`data`), with their own ETag and date;
    ``"hang_up"`` closes without a word.
    """

    kind: str
    first: int = 1
    last: int = ENDLESS
    code: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    size: int = 0
    seconds: float = 0.0
    data: bytes = b""


@dataclass
class Site:
    """The server: its address, its faults by path, what was asked of it, and whether it wants signatures."""

    folder: Path
    url: str = ""
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    spoilt: Counter[tuple[str, str]] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    signed: bool = False
    etags: bool = True
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fault_of(self, path: str) -> Fault | None:
        """The fault of the next request of a path."""
        with self.lock:
            self.asked[path] += 1
            number = self.asked[path]
            for fault in self.faults.get(path, []):
                if fault.first <= number <= fault.last:
                    self.spoilt[path, fault.kind] += 1
                    return fault
        return None

    def heal(self) -> None:
        """No fault any more, and counting starts anew."""
        with self.lock:
            self.faults.clear()
            self.asked.clear()
            self.spoilt.clear()
            self.statuses.clear()


@dataclass
class Signer:
    """Signs addresses for `lifetime` seconds; counts how often it was asked. Pickles."""

    lifetime: float = 60.0
    asked: int = 0

    def __call__(self, href: str) -> str:
        self.asked += 1
        expiry = f"{time.time() + self.lifetime:.3f}"
        return f"{href}?se={expiry}&sig={_signature(urlsplit(href).path, expiry)}"


def _signature(path: str, expiry: str) -> str:
    digest = hmac.new(SECRET.encode(), f"{path} {expiry}".encode(), hashlib.sha256).hexdigest()
    return f"{SECRET}{digest[:24]}"  # so that a test can look for the secret wherever a signature might leak


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[Site]:
    """Serve a folder while the context lasts."""
    site = Site(folder)

    class Handler(_Handler):
        served = site

    with serving(Handler, quiet=True) as site.url:
        yield site


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Site

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        fault = self.served.fault_of(parts.path)
        kind = fault.kind if fault else ""
        if fault and kind == "slow":
            time.sleep(fault.seconds)
        if kind == "hang_up":
            self.close_connection = True
            return
        if self.served.signed and parts.path.endswith(".tif") and not _is_valid(parts.path, parts.query):
            self._refuse(403)
            return
        if fault and kind == "status":
            self._refuse(fault.code, fault.headers)
            return
        file = self.served.folder / parts.path.lstrip("/")
        if not file.is_file():
            self._refuse(404)
            return
        self._send(fault.data if fault and kind == "content" else file.read_bytes(), fault, kind)

    def log_message(self, *_: object) -> None:
        pass

    def _refuse(self, code: int, headers: tuple[tuple[str, str], ...] = ()) -> None:
        self.served.statuses[code] += 1
        self.send_response(code)
        for name, value in (*headers, ("Content-Length", "0")):
            self.send_header(name, value)
        self.end_headers()

    def _send(self, data: bytes, fault: Fault | None, kind: str) -> None:
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, end, status = 0, len(data), 200
        if match and kind != "whole":
            start, end, status = int(match[1]), min(int(match[2] or len(data)) + 1, len(data)), 206
        if start >= end and data:
            self._refuse(416)
            return
        told = (start, end)
        if fault and kind in ("shift", "lie"):
            start, end = start + fault.size, min(end + fault.size, len(data))
            told = (start, end) if kind == "shift" else (told[0], told[0] + end - start)
        body = data[start:end]
        self.served.statuses[status] += 1
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Accept-Ranges", "none" if kind == "whole" else "bytes")
        if self.served.etags:
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()[:16]}"')
            self.send_header("Last-Modified", "Sat, 01 Jan 2022 00:00:00 GMT")
        if status == 206:
            self.send_header("Content-Range", f"bytes {told[0]}-{told[1] - 1}/{len(data)}")
        self.end_headers()
        self._write(body, fault, kind)

    def _write(self, body: bytes, fault: Fault | None, kind: str) -> None:
        if fault and kind == "cut":
            self.wfile.write(body[: -fault.size or None])
            self.close_connection = True
        elif fault and kind == "stall":
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            time.sleep(fault.seconds)
            self.wfile.write(body[len(body) // 2 :])
        elif fault and kind == "drip":
            for at in range(0, len(body), max(1, fault.size // 10)):
                self.wfile.write(body[at : at + max(1, fault.size // 10)])
                self.wfile.flush()
                time.sleep(0.1)
        else:
            self.wfile.write(body)


def _is_valid(path: str, query: str) -> bool:
    given = {name: values[0] for name, values in parse_qs(query).items()}
    expiry = given.get("se", "0")
    return given.get("sig") == _signature(path, expiry) and float(expiry) > time.time()
