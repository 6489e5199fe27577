"""Requests with retries, and failures as one sentence."""

from __future__ import annotations

import itertools
import json
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import Any

import pystac
from pystac_client.errors import ClientTypeError
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from pystac_client.warnings import PystacClientWarning
from shapely.errors import ShapelyError
from urllib3.exceptions import DecodeError, HTTPError
from urllib3.exceptions import TimeoutError as SilenceError

from lakecube.errors import LakecubeError, ReadError, UnsafeHrefError, unchained
from lakecube.io import limits
from lakecube.io.asking import ask, new_session, refusal
from lakecube.io.hrefs import redact, resolve_href, strip_signature
from lakecube.io.patience import Patience, RequestError, UnreachedError, with_patience
from lakecube.io.search_time import check_datetime

#: How requests are tried again: waits of 0.5, 1, 2, 4, 8 s (or what the server asks for) while it is busy or broken.
PATIENCE = Patience(times=5)
#: Further tries where there is no server.
_UNREACHED = 2
#: Seconds to connect, and between two bytes.
_SECONDS = (10.0, 60.0)
#: Bytes of what a server says of a refusal.
_WORDS = 500


class ServerIO(StacApiIO):
    """Asks servers and nothing else, only to read, and takes no more than `lakecube.io.limits` of an answer.

    pystac-client itself opens as a file what does not look like an address, and sends the method that a link names.
    """

    def __init__(self) -> None:
        super().__init__(max_retries=None)
        self.session = new_session()

    def read_text(self, source: Any, *args: Any, **kwargs: Any) -> str:
        """Return the text of an address or a link."""
        check_server(source.get_target_str() or "" if isinstance(source, pystac.Link) else str(source))
        return super().read_text(source, *args, **kwargs)

    def request(
        self, href: str, method: str | None = None, headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:  # fmt: skip
        """Return the text that a server answers with; raise ReadError if it does not."""
        content = self.fetch(href, limits.MOST_DOCUMENT, method=method, headers=headers, parameters=parameters)
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError:
            raise ReadError(f"{strip_signature(href)} could not be read: it is no text in UTF-8") from None

    def fetch(
        self, href: str, most: int, *, method: str | None = None, headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> bytes:  # fmt: skip
        """Return the bytes that a server answers with, at most `most`; asked again where that may help."""
        check_server(href)
        method = str(method or "GET").upper()
        if method not in {"GET", "POST"}:
            raise UnsafeHrefError(f"A catalogue asks for {method[:20]!r} of a server; reading takes GET and POST only.")
        said: dict[str, Any] = {"json" if method == "POST" else "params": parameters, "headers": headers}
        unreached = itertools.count(1)

        def read() -> bytes:
            with ask(self.session, href, _SECONDS, method=method, **said) as answer:
                if not 200 <= answer.status_code < 300:
                    raise refusal(answer, _words(answer))
                return _bounded(answer, most)

        def is_final(error: Any) -> bool:
            return error.final or (isinstance(error, UnreachedError) and next(unreached) > _UNREACHED)

        def told(error: BaseException) -> str:
            return f"{strip_signature(href)}: {error}"

        try:
            return with_patience(read, PATIENCE, remote=True, told=told, is_final=is_final)
        except RequestError as error:
            raise ReadError(f"{strip_signature(href)} could not be read: {error}") from None


def check_server(href: str) -> None:
    """Raise UnsafeHrefError for what is no address of a web server."""
    if not href.lower().startswith(("http://", "https://")):
        raise UnsafeHrefError(
            f"A remote catalogue links to {strip_signature(href)[:200]!r}; it may link to http(s):// only."
        )


def _words(answer: Any) -> str:
    """What a server says of a refusal, as far as it is soon told."""
    said, end = b"", time.monotonic() + _SECONDS[0]
    with suppress(HTTPError, OSError):
        while len(said) < _WORDS and time.monotonic() < end and (part := answer.raw.read1(_WORDS, decode_content=True)):
            said += part
    return redact(" ".join(said[:_WORDS].decode("utf-8", "replace").split()))[:200]


def _bounded(answer: Any, most: int) -> bytes:
    """The unpacked bytes of an answer that is neither too long nor too slow."""
    parts, end = BytesIO(), time.monotonic() + limits.MOST_SECONDS
    try:
        while part := answer.raw.read1(2**16, decode_content=True):  # what is there: `read` waits for all of a part
            if parts.tell() + len(part) > most or time.monotonic() > end:
                is_long = parts.tell() + len(part) > most
                why = f"is longer than {most / 2**20:,.0f} MiB" if is_long else f"took over {limits.MOST_SECONDS:g} s"
                raise RequestError(f"it {why}, which is given up: ask for less by bbox= or datetime=", final=True)
            parts.write(part)
    except DecodeError:
        raise RequestError("it cannot be unpacked", final=True) from None
    except (TimeoutError, SilenceError):
        raise RequestError("the server stopped answering") from None
    except (HTTPError, ConnectionError):
        raise RequestError("the transfer broke off") from None
    return parts.getvalue()


def item_of(fields: dict[str, Any], **how: Any) -> pystac.Item:
    """An item from JSON; what its time is, if that is none, is told with item and field."""
    try:
        return pystac.Item.from_dict(fields, preserve_dict=False, **how)
    except FAILURES:
        check_datetime(fields)
        raise


def absolute(item: pystac.Item, base: str | None) -> pystac.Item:
    """Make the hrefs of the assets absolute, in place."""
    for asset in item.assets.values():
        asset.href = resolve_href(asset.href, base)
    return item


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the warnings of libraries that tell a user nothing he can act on."""
    with warnings.catch_warnings():
        # What a server conforms to is asked for and dealt with here.
        warnings.filterwarnings("ignore", category=PystacClientWarning)
        # Migration of the storage extension fails on https hrefs of earth-search; nothing here reads it.
        warnings.filterwarnings("ignore", message="Could not parse bucket/account from href")
        yield


#: What the libraries raise for what cannot be reached, and for what is no STAC.
FAILURES = (
    APIError, ClientTypeError, pystac.STACError, pystac.STACTypeError, OSError, ValueError, KeyError, TypeError,
    AttributeError, IndexError, ShapelyError, RecursionError, OverflowError,
)  # fmt: skip


class NoJsonError(ReadError):
    """A file was read and is no JSON: it may be something else."""


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn every failure to read into a `ReadError` of one sentence, without signatures: nor in what it came of."""
    with unchained():
        try:
            yield
        except LakecubeError:
            raise
        except FAILURES as error:
            cause: BaseException | None = error
            while cause is not None:  # pystac hides the cause of a link that could not be followed
                if isinstance(cause, LakecubeError):
                    raise cause from None
                cause = cause.__cause__ or cause.__context__
            kind = NoJsonError if isinstance(error, json.JSONDecodeError | UnicodeDecodeError) else ReadError
            raise kind(f"{strip_signature(what)} could not be read: {_sentence(error)}") from None


_PLAIN = {
    "NameResolutionError": "the name of the server is not known.",
    "Connection refused": "the server refuses connections.",
    "ConnectTimeoutError": "the server does not answer.",
    "Read timed out": "the server stopped answering.",
    "too many 429": "the server is busy (429) after several tries.",
    "too many 50": "the server fails (5xx) after several tries.",
}


def _sentence(error: Exception) -> str:
    status = getattr(error, "status_code", None)
    text = redact(" ".join(str(error).split())) or type(error).__name__
    if status:
        return f"the server answered {status}: {text[:200]}"
    for sign, words in _PLAIN.items():
        if sign in text:
            return words
    if isinstance(error, KeyError | TypeError | AttributeError | IndexError):
        return f"it is not STAC that can be understood ({type(error).__name__}: {text[:200]})."
    if isinstance(error, RecursionError):
        return "its objects lie too deep in each other."
    if isinstance(error, json.JSONDecodeError):
        return f"it is not JSON ({text[:100]})."
    return f"{text[:300]}"
