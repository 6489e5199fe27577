"""What the operating system is asked about the disk that a store lies on, and what it answers, in words."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

from lakecube.errors import StoreError

#: Suffix of files being written, the same as Zarr's; a rerun removes what a killed one left.
PARTIAL = ".partial"


@functools.lru_cache(maxsize=1)
def c_library() -> ctypes.CDLL | None:
    """The C library of this process; None where there is none to ask, as on Windows."""
    return ctypes.CDLL(None, use_errno=True) if sys.platform.startswith("linux") else None


def sync_all(path: Path) -> None:
    """Return once all that was written to the file system of `path` is on disk; OSError if it cannot be.

    One call, which costs a tenth of one for each file. Other systems than Linux are asked for all of their file
    systems, Windows for nothing.
    """
    syncfs = getattr(c_library(), "syncfs", None)
    if syncfs is None:
        getattr(os, "sync", lambda: None)()
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if syncfs(descriptor):
            if (code := ctypes.get_errno()) in _REFUSALS:
                raise OSError(code, os.strerror(code), str(path))
            os.sync()  # a sandbox that does not know the call
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Put the names in a folder on disk, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_room(path: Path, needed: int) -> None:
    """Raise StoreError if `path` (or its nearest existing parent) cannot be written or has too little room."""
    parent = path
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise StoreError(f"{parent} is a file, so no store can be made at {path}: choose another path")
    probe = parent / f".{uuid.uuid4().hex}{PARTIAL}"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StoreError(f"cannot write in {parent}: {error.strerror}; choose a path you may write to") from error
    free = shutil.disk_usage(parent).free
    if free < needed:
        raise StoreError(
            f"{parent} has {free / 1e9:.2f} GB free, and this store needs at least {needed / 1e9:.2f} GB: "
            "free some space or write to another disk"
        )


@contextlib.contextmanager
def explained(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn a full or read-only disk met while writing into a StoreError; the work done so far stays resumable."""
    try:
        yield
    except OSError as error:
        if isinstance(error, StoreError) or error.errno not in _REFUSALS:
            raise
        raise StoreError(
            f"writing {path} stopped: {_REFUSALS[error.errno]}. Nothing half-written is visible; "
            "mend that and make the same call again, it continues where it stopped"
        ) from error


_REFUSALS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your disk quota is used up",
    errno.EROFS: "the disk became read-only",
    errno.EACCES: "permission was denied",
    errno.EFBIG: "a file grew over the allowed size",
    errno.EIO: "the disk does not take what is written",
}
