"""Requests with retries, and failures as one sentence."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pystac
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from pystac_client.warnings import PystacClientWarning
from shapely.errors import ShapelyError
from urllib3 import Retry

from lakecube.errors import LakecubeError, ReadError
from lakecube.io.hrefs import redact, resolve_href, strip_signature
from lakecube.io.patience import Patience

#: Tries of one request, with 0.5, 1, 2, 4 s between (or what the server asks for) while it is busy or broken;
#: one that cannot be reached at all is given up sooner.
RETRY = Retry(
    total=5, connect=2, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504), allowed_methods=("GET", "POST"),
    respect_retry_after_header=True,
)  # fmt: skip


TIMEOUT = (10.0, 60.0)  # seconds to connect, and between two bytes


#: Tries of an answer that breaks off in its middle, which `RETRY` does not see.
_WHOLE_TRIES = 3


class _WholeAnswers(StacApiIO):
    """Asks again for an answer that broke off before its end."""

    def request(self, href: str, *args: Any, **options: Any) -> str:
        """The text of an answer that came whole."""
        for attempt in range(1, _WHOLE_TRIES + 1):
            try:
                return super().request(href, *args, **options)
            except APIError as error:
                if attempt == _WHOLE_TRIES or "IncompleteRead" not in str(error):
                    raise
            time.sleep(Patience().pause(attempt))
        raise AssertionError("unreachable")


def api_io() -> StacApiIO:
    """Return what requests go through: with retries, and never without a timeout."""
    return _WholeAnswers(max_retries=RETRY, timeout=TIMEOUT)


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
    APIError, pystac.STACError, pystac.STACTypeError, OSError, ValueError, KeyError, TypeError, AttributeError,
    IndexError, ShapelyError,
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
    if isinstance(error, json.JSONDecodeError):
        return f"it is not JSON ({text[:100]})."
    return f"{text[:300]}"
