"""One range of bytes of one address: the answer of a web server, held against what was asked of it.

A refusal, silence, a transfer that breaks off, stands still or drips, bytes of another range: each is a
`RequestError` that says whether another try may help and how long the server asks to wait.
"""

from __future__ import annotations

import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO

import requests
import urllib3

from lakecube.io import limits
from lakecube.io.asking import ask, new_session, refusal
from lakecube.io.patience import Patience, RequestError

#: Bytes per second below which a transfer counts as standing still.
_LEAST_RATE = 1000
_CONNECT_SECONDS = 15.0
_AT_ONCE = 32
#: A number of bytes in a header: longer ones than any file has are none.
_COUNT = r"([0-9]{1,18})"


@dataclass(frozen=True, slots=True)
class State:
    """What tells one content of an address from another."""

    length: int
    etag: str = ""
    modified: str = ""

    def is_same(self, other: State) -> bool:
        """Whether nothing says that the content changed; a weak ETag says nothing of bytes."""
        if self.length != other.length:
            return False
        strong = [tag for tag in (self.etag, other.etag) if tag and not tag.startswith("W/")]
        if len(strong) == 2:
            return strong[0] == strong[1]
        return not (self.modified and other.modified) or self.modified == other.modified


def fetch(url: str, start: int, end: int, patience: Patience, *, is_signed: bool = False) -> tuple[bytes, State]:
    """The bytes of an address from `start` up to `end` or the end of the file, and the state of that file.

    Raises
    ------
    RequestError
        If they, and no others, did not arrive.
    """
    with _request(url, start, end, patience, is_signed) as answer:
        first, last, length = _extent(answer, start, end)
        state = State(length, answer.headers.get("ETag", ""), answer.headers.get("Last-Modified", ""))
        return _body(answer, start - first, last - start, patience.timeout), state


def _request(url: str, start: int, end: int, patience: Patience, is_signed: bool) -> requests.Response:
    """The answer of the server that holds the file, its body not yet read."""
    headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
    answer = ask(_tools()[0], url, (min(_CONNECT_SECONDS, patience.timeout), patience.timeout), headers=headers)
    if answer.status_code not in (200, 206):
        with answer:
            raise refusal(answer, is_signed=is_signed)
    return answer


def _extent(answer: requests.Response, start: int, end: int) -> tuple[int, int, int]:
    """First and one past the last byte of what comes, cut to what was asked for, and the length of the file."""
    if answer.headers.get("Content-Encoding", "identity") not in ("identity", ""):
        raise RequestError("the server sends the file compressed, so its bytes have no place", final=True)
    if answer.status_code == 200:  # a server that knows no ranges sends all of it
        text = answer.headers.get("Content-Length", "")
        if not re.fullmatch(_COUNT, text):
            raise RequestError("the server knows no byte ranges, and does not tell how long the file is", final=True)
        first, last, length = 0, int(text), int(text)
    else:
        match = re.fullmatch(rf"bytes {_COUNT}-{_COUNT}/{_COUNT}", answer.headers.get("Content-Range", "").strip())
        if match is None:
            raise RequestError("the server does not tell which bytes of the file it sends")
        first, last, length = int(match[1]), int(match[2]) + 1, int(match[3])
        if first != start or last != min(end, length) or last <= first:
            raise RequestError("the server sent other bytes of the file than those asked for")
    if length == 0 or start >= length:
        raise RequestError("the file ends before the bytes asked for", final=True)
    if start - first > limits.MOST_SKIPPED:
        raise RequestError(
            f"the server knows no byte ranges, and would send {start / 2**20:,.0f} MiB before those asked for: copy "
            "the file to where ranges are known, or to disk",
            final=True,
        )
    return first, min(last, end), length


def _body(answer: requests.Response, skip: int, wanted: int, timeout: float) -> bytes:
    """The wanted bytes of a body, after some that are not; a transfer that ends early or stands still has failed."""
    kept, have, since, before = BytesIO(), 0, time.monotonic(), 0
    try:
        while have < skip + wanted:
            part = answer.raw.read1(2**16, decode_content=False)
            if not part:
                raise RequestError("the transfer broke off")
            kept.write(part[max(0, skip - have) : skip + wanted - have])
            have += len(part)
            now = time.monotonic()
            if now - since > timeout:
                if have - before < _LEAST_RATE * timeout or have <= skip:
                    raise RequestError(_too_slow(timeout, have <= skip))
                since, before = now, have
    except (urllib3.exceptions.TimeoutError, TimeoutError):
        raise RequestError(f"the transfer stood still for {timeout:g} s") from None
    except (urllib3.exceptions.HTTPError, ConnectionError, OSError) as error:
        if isinstance(error, RequestError):
            raise
        raise RequestError("the transfer broke off") from None
    return kept.getvalue()


def _too_slow(timeout: float, before: bool) -> str:
    if before:
        return f"the server knows no byte ranges, and had not come to those asked for after {timeout:g} s"
    return f"the transfer was slower than {_LEAST_RATE} bytes/s for {timeout:g} s"


_lock = threading.Lock()
_of_process: dict[int, tuple[requests.Session, ThreadPoolExecutor]] = {}


def _tools() -> tuple[requests.Session, ThreadPoolExecutor]:
    """Connections, and threads for ranges that are got at once, of this process: a fork makes its own."""
    found = _of_process.get(os.getpid())
    if found is None:
        with _lock:
            found = _of_process.get(os.getpid())
            if found is None:
                pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="lakecube-ranges")
                found = _of_process[os.getpid()] = new_session(), pool
    return found


def at_once() -> ThreadPoolExecutor:
    """Threads for ranges that are got together."""
    return _tools()[1]
