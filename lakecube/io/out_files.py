"""Files on the way out: whole under their name, or not there; and never into a store."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lakecube.checks import is_path
from lakecube.errors import InvalidInputError, LakecubeError, StoreError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside `path`, with its suffix, to write under; the file moves to `path` when the block ends well."""
    partial = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.partial{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path: Path, *failures: type[Exception]) -> Iterator[Path]:
    """As `replacing`; OSError, and `failures` of the library that writes, become a StoreError that names `path`."""
    kinds: tuple[type[Exception], ...] = (OSError, *failures)
    try:
        with replacing(path) as partial:
            yield partial
    except LakecubeError:
        raise
    except kinds as error:
        full = " (is the disk full?)" if getattr(error, "errno", None) is None else ""  # some libraries do not tell
        raise StoreError(
            f"writing {path} stopped: {error}{full}. Nothing half-written stays; mend that and call again"
        ) from error


def name_of(moment: np.datetime64) -> str:
    """A date as it is part of names: its day, and its time if it has one; every system allows it in a file's name."""
    text = str(moment.astype("datetime64[s]"))
    return text.removesuffix("T00:00:00").replace(":", "")


def outside_stores(path: object) -> Path:
    """`path`; InvalidInputError if it is none, or a Zarr store or in one, whose files are only what was committed."""
    if not is_path(path):
        raise InvalidInputError(f"path={path!r}: the path of a file or a folder is needed")
    path = Path(str(path))
    for folder in (path.absolute(), *path.absolute().parents):
        if (folder / "zarr.json").is_file():
            raise InvalidInputError(f"{path} lies in the store {folder}: choose a place beside it")
    return path
