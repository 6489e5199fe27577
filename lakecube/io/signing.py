"""`sign=` of `open`, and its way to the workers of a cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import cloudpickle

from lakecube.errors import InvalidInputError
from lakecube.io.hrefs import redact


@dataclass(frozen=True, slots=True)
class Signer:
    """The user's callable: from the address of a file to the one to read.

    It is no part of what the data are, so it has no say in the names of a graph. Threads call it as it is. Where it
    cannot be sent to a worker, or not be unpacked there, the worker says so once it has something to sign: what goes
    wrong in pickling itself reaches the user as an error of Dask's that names nothing of ours.
    """

    call: Callable[[str], str]

    def __post_init__(self) -> None:
        if not callable(self.call):
            raise InvalidInputError(
                f"sign={self.call!r}: a function from the address of a file to the one to read is needed, such as "
                "planetary_computer.sign_url"
            )

    def __call__(self, href: str) -> str:
        """The address to read."""
        return self.call(href)

    def __dask_tokenize__(self) -> str:
        return "lakecube-signer"

    def __reduce__(self) -> tuple[Any, ...]:
        try:
            return _arrived, (cloudpickle.dumps(self.call), "")
        except Exception as error:  # of whatever the callable holds
            return _arrived, (b"", _told(error))


def _arrived(data: bytes, why: str) -> Signer:
    if not why:
        try:
            return Signer(cloudpickle.loads(data))
        except Exception as error:  # most often a module that is not installed on the worker
            why = _told(error)
    return Signer(partial(_refuse, why))


def _told(error: Exception) -> str:
    return redact(f"{type(error).__name__}: {error}")[:300]


def _refuse(why: str, href: str) -> str:
    raise InvalidInputError(
        f"sign= does not reach the workers of the cluster ({why}): give a function of a module that they can "
        "import, such as planetary_computer.sign_url, that opens what it needs when it is called"
    )
