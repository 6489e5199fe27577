"""A file on a web server, read by byte ranges, where every answer is held against what was asked.

GDAL's own reader takes whatever bytes come: it does not look at ``Content-Range``, and joins ranges of a file that
was replaced between two requests. Here the bytes are of the range asked for and of the one state of the file
(length, ``ETag``, ``Last-Modified``) that this process saw first, or the read has failed. Redirects lead to web
servers only. GDAL gets the bytes through rasterio's opener.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

from rasterio.abc import MultiByteRangeResourceContainer

from lakecube.io.hrefs import file_of
from lakecube.io.patience import Patience, RequestError
from lakecube.io.web import State, at_once, fetch

#: Bytes of the first request of a file: the header of most.
HEAD = 2**15
#: Bytes that are got at least for a small read beyond the head.
_AHEAD = 2**14
#: Files whose head, and whose state, is remembered.
_MOST_HEADS, _MOST_STATES = 512, 2**16
#: Seconds after which a file that was found changed is taken as it is now, if no run has begun since.
_CHANGE_SECONDS = 600.0
#: Why a read is given up.
CHANGED = "the file changed while it was read"


class _Known:
    """States and heads of files that this process has read; safe between threads."""

    def __init__(self) -> None:
        self._states: OrderedDict[str, State] = OrderedDict()
        self._heads: OrderedDict[str, bytes] = OrderedDict()
        self._changed: dict[str, float] = {}
        self._changes: dict[str, int] = {}
        self._lock = threading.Lock()

    def state(self, href: str) -> State | None:
        """The state that a file was first seen in."""
        with self._lock:
            return self._states.get(href)

    def head(self, href: str) -> bytes | None:
        """The first bytes of a file that is longer."""
        with self._lock:
            return self._heads.get(href)

    def changes(self, href: str) -> int:
        """How often a change of a file was accepted."""
        with self._lock:
            return self._changes.get(href, 0)

    def saw(self, href: str, state: State) -> bool:
        """Note a state; False where the file was in another one before: it is refused until changes are accepted."""
        with self._lock:
            known = self._states.setdefault(href, state)
            while len(self._states) > _MOST_STATES:
                self._states.popitem(last=False)
            if known.is_same(state):
                return True
            since = self._changed.setdefault(href, time.monotonic())
            if time.monotonic() - since > _CHANGE_SECONDS:
                self._accept(href)
            return False

    def accept_changes(self) -> None:
        """Take files that were found changed as they are now."""
        with self._lock:
            for href in list(self._changed):
                self._accept(href)

    def hrefs(self) -> list[str]:
        """Files whose state is known."""
        with self._lock:
            return list(self._states)

    def take_anew(self, hrefs: Iterable[str]) -> None:
        """Take some files as they are now, whether found changed or not: another process has seen them otherwise."""
        with self._lock:
            for href in hrefs:
                self._accept(href)

    def _accept(self, href: str) -> None:
        self._changed.pop(href, None)
        self._states.pop(href, None)
        self._heads.pop(href, None)
        self._changes[href] = self._changes.get(href, 0) + 1

    def keep(self, href: str, state: State, head: bytes) -> None:
        """Remember the head of a file; a small file is asked for each time, so that it is never taken for granted."""
        with self._lock:
            if len(head) < state.length and self._states.get(href) == state:
                self._heads[href] = head
                while len(self._heads) > _MOST_HEADS:
                    self._heads.popitem(last=False)

    def forget(self, href: str) -> None:
        """Forget the head of a file that could not be read."""
        with self._lock:
            self._heads.pop(href, None)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._states.clear()
            self._heads.clear()
            self._changed.clear()
            self._changes.clear()


KNOWN = _Known()


def accept_changes() -> None:
    """Take files that were found changed as they are now, in this process: a new run begins."""
    KNOWN.accept_changes()


class RemoteFile:
    """One opening of a file of a web server: what GDAL asks for by position, from ranges that were checked.

    `url` may be signed, `href` is the name of the file. An exception must not pass through GDAL, so the first one
    is kept as `failure`, the rest of what is asked for comes as zeros, and who opened the file raises it.
    """

    def __init__(self, url: str, href: str, patience: Patience) -> None:
        self.url, self.patience = url, patience
        self.href = file_of(href)
        self.is_signed = url != href
        self.failure: Exception | None = None
        self.state: State | None = None
        self._position = 0
        head, state = KNOWN.head(self.href), KNOWN.state(self.href)
        if head is None or state is None:
            head, state = self._get(0, HEAD)
            KNOWN.keep(self.href, state, head)
        self.state, self.length = state, state.length
        self._held = [(0, head)]

    def read(self, size: int = -1) -> bytes:
        """Bytes from the position on."""
        end = self.length if size < 0 else min(self._position + size, self.length)
        data = self._range(self._position, end) if self._position < end else b""
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.length}[whence]
        self._position = max(0, start + offset)
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def get_byte_ranges(self, offsets: Sequence[int], sizes: Sequence[int]) -> list[bytes]:
        """Several ranges at once."""
        spans = [(int(at), min(int(at) + int(n), self.length)) for at, n in zip(offsets, sizes, strict=True)]
        if len(spans) > 1 and self.failure is None:
            data = list(at_once().map(lambda span: self._range(*span), spans))
        else:
            data = [self._range(*span) for span in spans]
        return [part.ljust(int(n), b"\0") for part, n in zip(data, sizes, strict=True)]

    def __enter__(self) -> RemoteFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._held = []

    def _range(self, start: int, end: int) -> bytes:
        for at, data in self._held:
            if at <= start and end <= at + len(data):
                return data[start - at : end - at]
        if self.failure is not None or end <= start:
            return bytes(max(end - start, 0))
        try:
            data, _ = self._get(start, min(max(end, start + _AHEAD), self.length))
        except Exception as error:  # GDAL would swallow it, whatever it is
            self.failure = self.failure or error
            return bytes(end - start)
        if end - start < _AHEAD:
            self._held.append((start, data))
        return data[: end - start]

    def _get(self, start: int, end: int) -> tuple[bytes, State]:
        """The bytes of a range, and the state of the file they are of."""
        data, state = fetch(self.url, start, end, self.patience, is_signed=self.is_signed)
        if not KNOWN.saw(self.href, state) or not (self.state is None or self.state.is_same(state)):
            raise RequestError(CHANGED, final=True)
        return data, state


class OneFile(MultiByteRangeResourceContainer):
    """What rasterio asks of a file system that holds one remote file and nothing beside it."""

    def __init__(self, file: RemoteFile, name: str) -> None:
        self.file, self.name = file, name

    def open(self, path: str, mode: str = "r", **_: Any) -> RemoteFile:
        """The file, whatever else GDAL looks for beside it."""
        if not self.isfile(path):
            raise FileNotFoundError(path)
        self.file.seek(0)
        return self.file

    def isfile(self, path: str) -> bool:
        """Whether it is the file's name."""
        return path.rpartition("/")[2] == self.name

    def isdir(self, path: str) -> bool:
        """There are none."""
        return False

    def ls(self, path: str) -> list[str]:
        """Nothing is told of."""
        return []

    def mtime(self, path: str) -> int:
        """Not known."""
        return 0

    def rm(self, path: str) -> None:
        """Nothing is removed."""

    def size(self, path: str) -> int:
        """Bytes of the file."""
        return self.file.length


def driver_of(file: RemoteFile) -> str | None:
    """The GDAL driver for what a file holds by its first bytes; None where it is no picture that may be read.

    The name of a file proves nothing: a ``.tif`` whose content is a VRT would read the local files it names.
    """
    head = file._range(0, min(16, file.length))
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "GTiff"
    if head[4:12] == b"jP  \r\n\x87\n" or head[:4] == b"\xffO\xffQ":
        return "JP2OpenJPEG"
    return "PNG" if head[:8] == b"\x89PNG\r\n\x1a\n" else "JPEG" if head[:3] == b"\xff\xd8\xff" else None
