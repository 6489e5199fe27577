"""Requests with retries, and failures as one sentence."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pystac
from pystac_client.errors import ClientTypeError
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from pystac_client.warnings import PystacClientWarning
from requests import RequestException
from shapely.errors import ShapelyError
from urllib3 import Retry
from urllib3.exceptions import HTTPError

from lakecube.errors import LakecubeError, ReadError, UnsafeHrefError
from lakecube.io import limits
from lakecube.io.deadlines import InTimeAdapter
from lakecube.io.hrefs import redact, resolve_href, strip_signature
from lakecube.io.patience import Patience


class CappedRetry(Retry):
    """Retries that wait no longer than `Patience` does, whatever a server asks for: it may ask for hours."""

    def get_retry_after(self, response: Any) -> float | None:
        """Seconds that the server asks for, if it does, as far as they are granted."""
        asked = super().get_retry_after(response)
        return None if asked is None else min(asked, Patience().longest_wait)


#: Tries of one request, with 0.5, 1, 2, 4 s between (or what the server asks for) while it is busy or broken;
#: one that cannot be reached at all is given up sooner.
RETRY = CappedRetry(
    total=5, connect=2, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504), allowed_methods=("GET", "POST"),
    respect_retry_after_header=True,
)  # fmt: skip


TIMEOUT = (10.0, 60.0)  # seconds to connect, and between two bytes


#: Tries of an answer that breaks off in its middle, which `RETRY` does not see.
_WHOLE_TRIES = 3


class ServerIO(StacApiIO):
    """Asks servers and nothing else, only to read, and takes no more than `lakecube.io.limits` of an answer.

    pystac-client itself opens as a file what does not look like an address, and sends the method that a link names.
    """

    def read_text(self, source: Any, *args: Any, **kwargs: Any) -> str:
        """Return the text of an address or a link."""
        check_server(source.get_target_str() or "" if isinstance(source, pystac.Link) else str(source))
        return super().read_text(source, *args, **kwargs)

    def request(
        self, href: str, method: str | None = None, headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:  # fmt: skip
        """Return the text that a server answers with, asked again if it broke off; raise APIError if it does not."""
        content = self._whole(href, method=method, headers=headers, parameters=parameters)
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise APIError(f"its answer is no text in UTF-8: {error}") from error

    def _whole(self, href: str, **asked: Any) -> bytes:
        for attempt in range(1, _WHOLE_TRIES):
            try:
                return self.fetch(href, limits.MOST_DOCUMENT, **asked)
            except APIError as error:
                if "IncompleteRead" not in str(error):
                    raise
            time.sleep(Patience().pause(attempt))
        return self.fetch(href, limits.MOST_DOCUMENT, **asked)

    def fetch(
        self, href: str, most: int, *, method: str | None = None, headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> bytes:  # fmt: skip
        """Return the bytes that a server answers with, at most `most`."""
        check_server(href)
        method = str(method or "GET").upper()
        if method not in {"GET", "POST"}:
            raise UnsafeHrefError(f"A catalogue asks for {method[:20]!r} of a server; reading takes GET and POST only.")
        said: dict[str, Any] = {"json" if method == "POST" else "params": parameters, "headers": headers}
        try:
            with self.session.request(method, href, timeout=self.timeout, stream=True, **said) as answer:
                if not 200 <= answer.status_code < 300:
                    raise APIError.from_response(answer)
                return _bounded(answer, href, most)
        except (RequestException, HTTPError, OSError, ValueError) as error:
            if isinstance(error, LakecubeError):
                raise
            raise APIError(str(error)) from error


def check_server(href: str) -> None:
    """Raise UnsafeHrefError for what is no address of a web server."""
    if not href.lower().startswith(("http://", "https://")):
        raise UnsafeHrefError(
            f"A remote catalogue links to {strip_signature(href)[:200]!r}; it may link to http(s):// only."
        )


def _bounded(answer: Any, href: str, most: int) -> bytes:
    """The unpacked bytes of an answer that is neither too long nor too slow."""
    parts, size, end = [], 0, time.monotonic() + limits.MOST_SECONDS
    while part := answer.raw.read1(2**16, decode_content=True):  # what is there: `read` waits for all of a part
        size += len(part)
        if size > most or time.monotonic() > end:
            why = f"is longer than {most / 2**20:,.0f} MiB" if size > most else f"took over {limits.MOST_SECONDS:g} s"
            raise ReadError(f"{strip_signature(href)} {why}, which is given up: ask for less by bbox= or datetime=")
        parts.append(part)
    return b"".join(parts)


def api_io() -> ServerIO:
    """Return what requests go through: with retries, and never without a timeout."""
    api = ServerIO(max_retries=RETRY, timeout=TIMEOUT)
    for scheme in ("http://", "https://"):
        api.session.mount(scheme, InTimeAdapter(max_retries=RETRY))
    return api


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
    AttributeError, IndexError, ShapelyError, RecursionError,
)  # fmt: skip


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn every failure to read into a `ReadError` of one sentence, without signatures."""
    try:
        yield
    except LakecubeError:
        raise
    except FAILURES as error:
        cause: BaseException | None = error
        while cause is not None:  # pystac hides the cause of a link that could not be followed
            if isinstance(cause, LakecubeError):
                raise cause from error
            cause = cause.__cause__ or cause.__context__
        raise ReadError(f"{strip_signature(what)} could not be read: {_sentence(error)}") from error


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
