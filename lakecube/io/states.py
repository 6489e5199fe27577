"""In which state each file was read: told by the tasks that read, so that a date is made of one state of each file.

Within a process `lakecube.io.ranges` sees to that. Where several processes read the files of a date, or a run goes on
where another one stopped, the run compares what its tasks tell.
"""

from __future__ import annotations

import functools
import hashlib
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from lakecube.io import messages
from lakecube.io.hrefs import file_of, gdal_path, is_remote, strip_signature
from lakecube.io.patience import RequestError
from lakecube.io.ranges import CHANGED, KNOWN
from lakecube.io.web import State

#: Hexadecimal digits that stand for a text.
_DIGITS = 10


@contextmanager
def told_state(item: str, href: str) -> Iterator[None]:
    """Tell in which state a file is as it is read inside; both, where it changes meanwhile.

    Raises
    ------
    RequestError
        If the run has seen the file change before, and again after it was read anew.
    """
    file = name_of(file_of(href))
    if messages.is_refused(file):
        raise RequestError(f"{strip_signature(href)}: {CHANGED}", final=True)
    before = text_now(href)
    yield
    for state in {before, text_now(href)} - {""}:
        messages.read_as(item, file, state)


@functools.lru_cache(maxsize=4096)
def name_of(href: str) -> str:
    """A short name that no other file has: the last part of its address, and a hash of all of it."""
    return f"{posixpath.basename(urlsplit(href).path)[-60:]}#{_hash(href)}"


def last_part(name: str) -> str:
    """The last part of the address of a file, of a name of `name_of`."""
    return name.rpartition("#")[0]


def is_other(text: str, before: str) -> bool:
    """Whether two states that were told cannot be of one content."""
    return not _state(text).is_same(_state(before))


def take_anew(files: frozenset[str]) -> None:
    """Take some files as they are now, in this process."""
    KNOWN.take_anew(href for href in KNOWN.hrefs() if name_of(href) in files)


def text_now(href: str) -> str:
    """The state of a file by what is known now; empty where nothing is."""
    if is_remote(href):
        state = KNOWN.state(file_of(href))
    else:
        try:
            status = Path(gdal_path(href)).stat()
        except OSError:
            return ""
        state = State(status.st_size, modified=str(status.st_mtime_ns))
    return "" if state is None else _text(state)


def _text(state: State) -> str:
    """A state as a short text: length, strong ``ETag``, date."""
    strong = "" if state.etag.startswith("W/") else state.etag
    return "-".join((f"{state.length:x}", _hash(strong), _hash(state.modified)))


def _state(text: str) -> State:
    length, etag, modified = text.split("-")
    return State(int(length, 16), etag, modified)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS] if text else ""
