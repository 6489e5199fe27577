"""One range of bytes of one address: the answer of a web server, held against what was asked of it.

A refusal, silence, a transfer that breaks off, stands still or drips, bytes of another range, a redirect to anything
but a web server: each is a `RequestError` that says whether another try may help and how long the server asks to
wait. No message holds a query, where signatures are.
"""

from __future__ import annotations

import email.utils
import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from lakecube.errors import UnsafeHrefError
from lakecube.io.deadlines import InTimeAdapter
from lakecube.io.hrefs import check_href, redact, strip_signature
from lakecube.io.patience import Patience, RequestError

#: Bytes per second below which a transfer counts as standing still.
_LEAST_RATE = 1000
_CONNECT_SECONDS = 15.0
_MOST_REDIRECTS = 5
_AT_ONCE = 32

#: Answers that another try may mend; 401 and 403 as well, where the next try is signed anew.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 509})
_REFUSED = frozenset({401, 403})


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
    """The answer of the server that holds the file, redirects followed, its body not yet read."""
    headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
    limits = (min(_CONNECT_SECONDS, patience.timeout), patience.timeout)
    for _ in range(_MOST_REDIRECTS + 1):
        try:
            answer = _tools()[0].get(url, headers=headers, stream=True, allow_redirects=False, timeout=limits)
        except requests.exceptions.Timeout:
            raise RequestError(f"the server did not answer within {patience.timeout:g} s") from None
        except requests.exceptions.SSLError as error:
            raise RequestError(f"no secure connection: {redact(str(error))[:200]}", final=True) from None
        except requests.exceptions.ConnectionError as error:
            raise RequestError(_unreached(error)) from None
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
            raise RequestError(f"no request could be made: {type(error).__name__}", final=True) from None
        if answer.status_code not in (301, 302, 303, 307, 308):
            break
        with answer:
            url = _followed(url, answer.headers.get("Location", ""))
    else:
        raise RequestError("the server redirects without end", final=True)
    if answer.status_code not in (200, 206):
        with answer:
            raise _refusal(answer, is_signed)
    return answer


def _unreached(error: Exception) -> str:
    text = str(error)
    for sign, words in (("NameResolution", "the name of the server is not known"), ("refused", "the server refuses "
                        "connections"), ("timed out", "the server stopped answering")):  # fmt: skip
        if sign in text:
            return words
    return "the connection broke off"


def _followed(url: str, location: str) -> str:
    """Where a redirect leads, if that is a web server, and no less secure than before."""
    target = urljoin(url, location)
    try:
        check_href(target, local=False)
        scheme = urlsplit(target).scheme.lower()
    except UnsafeHrefError:
        scheme = ""
    if not location or scheme not in ("http", "https") or (scheme == "http" and url.lower().startswith("https:")):
        raise RequestError(
            f"the server redirects to {strip_signature(target)[:100]!r}, which is not followed", final=True
        )
    return target


def _refusal(answer: requests.Response, is_signed: bool) -> RequestError:
    code = answer.status_code
    final = code not in _PASSING and not (is_signed and code in _REFUSED)
    return RequestError(f"the server answered {code}", final=final, asked=_asked(answer.headers.get("Retry-After", "")))


def _asked(text: str) -> float:
    """Seconds of a ``Retry-After``, which is a number or a date."""
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0


def _extent(answer: requests.Response, start: int, end: int) -> tuple[int, int, int]:
    """First and one past the last byte of what comes, cut to what was asked for, and the length of the file."""
    if answer.headers.get("Content-Encoding", "identity") not in ("identity", ""):
        raise RequestError("the server sends the file compressed, so its bytes have no place", final=True)
    if answer.status_code == 200:  # a server that knows no ranges sends all of it
        text = answer.headers.get("Content-Length", "")
        if not text.isdecimal():
            raise RequestError("the server knows no byte ranges, and does not tell how long the file is", final=True)
        first, last, length = 0, int(text), int(text)
    else:
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.headers.get("Content-Range", "").strip())
        if match is None:
            raise RequestError("the server does not tell which bytes of the file it sends")
        first, last, length = int(match[1]), int(match[2]) + 1, int(match[3])
        if first != start or last != min(end, length) or last <= first:
            raise RequestError("the server sent other bytes of the file than those asked for")
    if length == 0 or start >= length:
        raise RequestError("the file ends before the bytes asked for", final=True)
    return first, min(last, end), length


def _body(answer: requests.Response, skip: int, wanted: int, timeout: float) -> bytes:
    """The wanted bytes of a body, after some that are not; a transfer that ends early or stands still has failed."""
    parts, have, since, before = [], 0, time.monotonic(), 0
    try:
        while have < skip + wanted:
            part = answer.raw.read1(2**16, decode_content=False)
            if not part:
                raise RequestError("the transfer broke off")
            have += len(part)
            parts.append(part[max(0, skip - have + len(part)) :] if have > skip else b"")
            now = time.monotonic()
            if now - since > timeout:
                if have - before < _LEAST_RATE * timeout:
                    raise RequestError(f"the transfer was slower than {_LEAST_RATE} bytes/s for {timeout:g} s")
                since, before = now, have
    except (urllib3.exceptions.TimeoutError, TimeoutError):
        raise RequestError(f"the transfer stood still for {timeout:g} s") from None
    except (urllib3.exceptions.HTTPError, ConnectionError, OSError) as error:
        if isinstance(error, RequestError):
            raise
        raise RequestError("the transfer broke off") from None
    return b"".join(parts)[:wanted]


_lock = threading.Lock()
_of_process: dict[int, tuple[requests.Session, ThreadPoolExecutor]] = {}


def _tools() -> tuple[requests.Session, ThreadPoolExecutor]:
    """Connections, and threads for ranges that are got at once, of this process: a fork makes its own."""
    found = _of_process.get(os.getpid())
    if found is None:
        with _lock:
            found = _of_process.get(os.getpid())
            if found is None:
                session = requests.Session()
                for scheme in ("http://", "https://"):
                    session.mount(scheme, InTimeAdapter(pool_maxsize=64, max_retries=0))
                pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="lakecube-ranges")
                found = _of_process[os.getpid()] = session, pool
    return found


def at_once() -> ThreadPoolExecutor:
    """Threads for ranges that are got together."""
    return _tools()[1]
