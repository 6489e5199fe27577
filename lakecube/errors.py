"""Every error lakecube raises on purpose: a `LakecubeError` that is also the matching builtin.

A message says what was seen, what is needed, and the call that fixes it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

#: Longest message that is shown: what was seen may be a text of any length, out of a catalogue or a file.
_LONGEST = 1000


class LakecubeError(Exception):
    """Base of all errors a user can cause or meet; the command line prints it without a traceback.

    What a message quotes may come from anywhere, so control characters are shown and not sent to the terminal, and the
    middle of a very long one is left out.
    """

    def __str__(self) -> str:
        return _shown(super().__str__())


class InvalidInputError(LakecubeError, ValueError):
    """An argument, a source or a Dataset is not what the call needs."""


class EmptySearchError(InvalidInputError):
    """The search found no item, or none that touches the requested place and time."""


class MissingBandError(LakecubeError, KeyError):
    """A band that a computation cannot do without is not in the cube."""

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return _shown(str(self.args[0])) if self.args else ""


class UnsafeHrefError(InvalidInputError):
    """A catalogue asked us to read something that a catalogue may not point to."""


class ReadError(LakecubeError, OSError):
    """Imagery or metadata could not be read."""


class StoreError(LakecubeError, OSError):
    """A store is missing, torn, of another configuration, or cannot be written."""


class StoreExistsError(StoreError, FileExistsError):
    """The target of a write already exists."""


class MissingDependencyError(LakecubeError, ImportError):
    """An optional package is not installed."""


class ClusterError(LakecubeError, ConnectionError):
    """The Dask cluster that a run was given is gone, or its workers die at the work."""


@contextmanager
def unchained() -> Iterator[None]:
    """Our errors leave without what they came of.

    That may hold the signature of an address, which a traceback would show, and a worker of a cluster cannot send what
    GDAL raises: the client would get a bare Exception. ``from None`` hides it and keeps it.
    """
    try:
        yield
    except LakecubeError as error:
        error.__cause__ = error.__context__ = None
        raise


def _shown(text: str) -> str:
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST - 200]} … {text[-195:]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
