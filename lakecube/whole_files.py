"""Files that are whole under their name, or not there: written beside it, then moved."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

from lakecube.errors import LakecubeError, StoreError


@contextlib.contextmanager
def replacing(path: Path, partial: Path | None = None) -> Iterator[Path]:
    """A name beside `path` to write under; the file moves to `path` when the block ends well, else nothing of it stays.

    By default a name that no one else has, with the suffix of `path`, which tells some libraries what to write.
    """
    if partial is None:
        partial = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.partial{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def steady(path: Path) -> Path:
    """A name beside `path` that is always the same: what a killed process left there, the next one writes over."""
    return path.with_name(path.name + ".partial")


@contextlib.contextmanager
def writing(path: Path, *failures: type[Exception], partial: Path | None = None) -> Iterator[Path]:
    """As `replacing`; OSError, and `failures` of the library that writes, become a StoreError that names `path`."""
    kinds: tuple[type[Exception], ...] = (OSError, *failures)
    try:
        with replacing(path, partial) as beside:
            yield beside
    except LakecubeError:
        raise
    except kinds as error:
        full = " (is the disk full?)" if getattr(error, "errno", None) is None else ""  # some libraries do not tell
        raise StoreError(
            f"writing {path} stopped: {error}{full}. Nothing half-written stays; mend that and call again"
        ) from error
