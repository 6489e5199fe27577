"""How long a reader goes on asking: tries, the waits between them, and when silence counts as a failure.

The one place where these numbers stand; `retries=` of `lakecube.open` sets them.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
from rasterio.errors import RasterioError

from lakecube.errors import InvalidInputError, ReadError, UnsafeHrefError

logger = logging.getLogger("lakecube.io")

T = TypeVar("T")

#: Seconds before the one further try at a local file, or at bytes that arrived whole and cannot be decoded.
_LOCAL_WAIT = 0.1


@dataclass(frozen=True, slots=True)
class Patience:
    """How failed reads are tried again; every number is seconds but the first.

    Parameters
    ----------
    times
        Further tries after a failed one.
    wait
        Before the first further try; doubled for each one after it, times a random 0.5 to 1.5.
    longest_wait
        No wait is longer, whatever the server asks for by ``Retry-After``.
    total
        No further try of one read starts later than this after its first.
    timeout
        Without an answer or a byte for so long, or with less than 1 kB/s over so long, a request has failed.
    """

    times: int = 3
    wait: float = 0.5
    longest_wait: float = 60.0
    total: float = 300.0
    timeout: float = 30.0

    @classmethod
    def of(cls, retries: Any) -> Patience:
        """From what `lakecube.open` takes as ``retries``: a number of tries, or a mapping of any of the fields.

        Raises
        ------
        InvalidInputError
            If it is neither.
        """
        if isinstance(retries, Patience):
            return retries
        given = retries if isinstance(retries, Mapping) else {"times": retries}
        names = [field.name for field in fields(cls)]
        unknown = sorted(str(name) for name in given if name not in names)
        if unknown:
            raise InvalidInputError(f"retries= has no {', '.join(unknown)}; it takes {', '.join(names)}")
        for name, value in given.items():
            whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
            if name == "times" and not (whole and value >= 0):
                raise InvalidInputError(f"retries={value!r}: a whole number is needed, 0 or more")
            number = whole or (isinstance(value, float | np.floating) and np.isfinite(value))
            if not number or value < 0 or (name == "timeout" and value == 0):
                raise InvalidInputError(f"retries={{{name!r}: {value!r}}}: seconds are needed, 0 or more")
        seconds = {name: float(value) for name, value in given.items() if name != "times"}
        return cls(int(given.get("times", cls().times)), **seconds)

    def pause(self, attempt: int, asked: float = 0.0) -> float:
        """Seconds to wait after the failed try `attempt` (from 1), where the server asked for some."""
        backoff = self.wait * 2 ** min(attempt - 1, 20) * (0.5 + random.random())
        return min(max(backoff, asked), self.longest_wait)


class RequestError(ReadError):
    """A request that failed; `final` where another try cannot help, `asked` the seconds the server wants to rest."""

    def __init__(self, message: str, *, final: bool = False, asked: float = 0.0) -> None:
        super().__init__(message)
        self.final = final
        self.asked = asked

    def __reduce__(self) -> tuple[Any, ...]:
        return _request_error, (str(self), self.final, self.asked)


class UnreachedError(RequestError):
    """There is no server at the address, or none that takes the connection."""


def _request_error(message: str, final: bool, asked: float) -> RequestError:
    return RequestError(message, final=final, asked=asked)


class DecodeError(ReadError):
    """Bytes that arrived as they were asked for and are no picture: a broken file, not a broken way to it."""


def with_patience(
    read: Callable[[], T],
    patience: Patience,
    *,
    remote: bool,
    told: Callable[[BaseException], str],
    is_final: Callable[[BaseException], bool],
) -> T:
    """Call `read` again after a failure that may pass: exponential backoff and jitter, bounded in number and time.

    What lies on this machine, or arrived whole and is broken, is tried once more only, after a moment.
    """
    begin = time.monotonic()
    for attempt in range(1, patience.times + 2):
        try:
            return read()
        except UnsafeHrefError:
            raise
        except (RasterioError, OSError) as error:
            near = not remote or isinstance(error, DecodeError)
            tries = 1 + (min(patience.times, 1) if near else patience.times)
            wait = patience.pause(attempt, getattr(error, "asked", 0.0))
            wait = min(wait, patience.wait, _LOCAL_WAIT) if near else wait
            late = time.monotonic() - begin + wait > patience.total
            if attempt >= tries or late or is_final(error):
                raise
            logger.warning("read failed, try %d of %d in %.1f s: %s", attempt + 1, tries, wait, told(error))
        time.sleep(wait)
    raise AssertionError("unreachable")
