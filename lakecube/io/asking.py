"""One question to a web server: redirects followed by our rules, and no body read but by who asked for it.

`requests` by itself reads the whole body of a redirect, of any length, and sends the passwords of ``~/.netrc`` over
plain HTTP as well. What may pass is told apart from what is final, and with it how long the server asks to wait. No
message holds a query, where signatures are.
"""

from __future__ import annotations

import email.utils
import math
import time
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from lakecube.errors import UnsafeHrefError
from lakecube.io.deadlines import InTimeAdapter
from lakecube.io.hrefs import check_href, redact, strip_signature
from lakecube.io.patience import RequestError, UnreachedError

_MOST_REDIRECTS = 5

#: Answers that another try may mend; 401 and 403 as well, where the next try is signed anew.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 509})
_REFUSED = frozenset({401, 403})


class _Session(requests.Session):
    """Follows no redirect, and trusts ``~/.netrc`` (as proxies and certificates) for https only."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Nowhere: asked even where no redirect is to be followed, and what follows reads the body of this one."""

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """As it is, but without a password that the user did not write into the address himself."""
        address = urlsplit(str(request.url))
        if address.scheme.lower() != "https" and "@" not in address.netloc:
            request.auth = request.auth or _as_it_is
        return super().prepare_request(request)


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def new_session() -> requests.Session:
    """Connections for `ask`."""
    session = _Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, InTimeAdapter(pool_maxsize=64, max_retries=0))
    return session


def ask(
    session: requests.Session, url: str, seconds: tuple[float, float], *, method: str = "GET",
    headers: dict[str, str] | None = None, **said: Any,
) -> requests.Response:  # fmt: skip
    """The answer of the server that holds an address, of any status, its body not yet read.

    Parameters
    ----------
    session : requests.Session
        From `new_session`.
    url : str
    seconds : (float, float)
        To connect, and without a byte.
    method, headers, said
        As `requests.Session.request` takes them.

    Raises
    ------
    RequestError
        If none comes, or it leads to where no redirect is followed.
    """
    for _ in range(_MOST_REDIRECTS + 1):
        answer = _answer(session, url, seconds, method=method, headers=headers, **said)
        if answer.status_code not in (301, 302, 303, 307, 308):
            return answer
        with answer:
            target = _followed(url, answer.headers.get("Location", ""))
        if answer.status_code < 307:
            method, said = "GET", {}
        said.pop("params", None)
        if urlsplit(target).netloc != urlsplit(url).netloc:
            headers = {name: text for name, text in (headers or {}).items() if name.lower() != "authorization"}
        url = target
    raise RequestError("the server redirects without end", final=True)


def _answer(session: requests.Session, url: str, seconds: tuple[float, float], **said: Any) -> requests.Response:
    try:
        return session.request(url=url, stream=True, allow_redirects=False, timeout=seconds, **said)
    except requests.exceptions.ConnectTimeout:
        raise UnreachedError(f"the server did not answer within {seconds[0]:g} s") from None
    except requests.exceptions.Timeout:
        raise RequestError(f"the server did not answer within {seconds[1]:g} s") from None
    except requests.exceptions.SSLError as error:
        raise RequestError(f"no secure connection: {redact(str(error))[:200]}", final=True) from None
    except requests.exceptions.ConnectionError as error:
        raise _unreached(error) from None
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        raise RequestError(f"no request could be made: {type(error).__name__}", final=True) from None
    except OSError as error:  # certificates that are not where the environment says
        raise RequestError(f"no request could be made: {redact(str(error))[:200]}", final=True) from None


def _unreached(error: Exception) -> RequestError:
    text = str(error)
    if "NameResolution" in text:
        return UnreachedError("the name of the server is not known")
    if "refused" in text:
        return UnreachedError("the server refuses connections")
    return RequestError("the server stopped answering" if "timed out" in text else "the connection broke off")


def _followed(url: str, location: str) -> str:
    """Where a redirect leads, if that is a web server, and no less secure than before.

    What runs behind a proxy often takes its own address for http; it is asked over https again.
    """
    try:
        target, before = urljoin(url, location), urlsplit(url)
        after = urlsplit(check_href(target, local=False))
        is_less = (before.scheme.lower(), after.scheme.lower()) == ("https", "http")
        if is_less and after.netloc.lower() == before.netloc.lower():
            return f"https{target[4:]}"
        is_bad = is_less or after.scheme.lower() not in ("http", "https")
    except (UnsafeHrefError, ValueError):
        target, is_bad = location, True
    if is_bad or not location:
        raise RequestError(
            f"the server redirects to {strip_signature(target)[:100]!r}, which is not followed", final=True
        )
    return target


def refusal(answer: requests.Response, told: str = "", *, is_signed: bool = False) -> RequestError:
    """The error for an answer that is none; `told`: what the server says of it."""
    code = answer.status_code
    final = code not in _PASSING and not (is_signed and code in _REFUSED)
    asked = asked_seconds(answer.headers.get("Retry-After", ""))
    return RequestError(f"the server answered {code}{told and ': '}{told}", final=final, asked=asked)


def asked_seconds(text: str) -> float:
    """Seconds of a ``Retry-After``, which is a number or a date; 0 of what is neither, or endless."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError, IndexError, OSError):
            return 0.0
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0
