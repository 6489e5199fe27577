"""The few operations a store needs of the place it lies in, and how a local disk does them.

Chunks are written through Zarr's own store classes; everything else (root metadata, ledger, lease, runs)
goes through `Files`, so that an object store needs one more class here and nothing elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import uuid
from pathlib import Path
from typing import Protocol

from lakecube.errors import InvalidInputError, StoreError
from lakecube.store.disk import PARTIAL, sync_all, sync_directory
from lakecube.whole_files import replacing


def local_path(path: object) -> Path:
    """`path` as an absolute path on a local disk, `~` expanded and links followed.

    Raises
    ------
    InvalidInputError
        If it is no path, or the address of an object store or a server.
    StoreError
        If the operating system cannot look it up.
    """
    if not isinstance(path, str | os.PathLike):
        raise InvalidInputError(f"the path of a store is text or a pathlib.Path; got {type(path).__name__}")
    text = os.fspath(path)
    if not isinstance(text, str) or not text or "\0" in text:
        raise InvalidInputError("the path of a store is text without NUL characters, and not empty")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text):
        shown = re.sub(r"(:/+)[^/@?#]*@", r"\1", re.split(r"[?#]", text, maxsplit=1)[0])
        raise InvalidInputError(
            f"{shown} is the address of a server, or not the text of one of an object store; stores lie on a local "
            "disk or in object storage. Give the path of a directory, or text such as 's3://bucket/prefix'"
        )
    try:
        found = Path(text).expanduser().resolve()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found.lstat()
    except RuntimeError as error:
        raise InvalidInputError(f"{text} cannot be followed: {error}") from error
    except OSError as error:
        shown = text if len(text) <= 80 else f"{text[:77]}…"
        raise StoreError(f"{shown} cannot be looked up: {error.strerror}; choose another path") from error
    return found


class Files(Protocol):
    """Named byte strings under one root; keys are relative, with forward slashes."""

    def read(self, key: str, most: int | None = None) -> bytes:
        """Bytes of `key`; FileNotFoundError if there is none, StoreError if there are more than `most`."""

    def write(self, key: str, data: bytes, *, durable: bool = False) -> None:
        """Put `data` under `key`, whole or not at all; `durable` survives a power cut after the call."""

    def create(self, key: str, data: bytes) -> None:
        """As `write`, but FileExistsError if `key` exists: one of several racing callers wins."""

    def swap(self, key: str, data: bytes, before: bytes | None) -> None:
        """As a durable `write`, but FileExistsError if `key` does not hold `before` any more (None: is not new)."""

    def list(self, key: str) -> list[str]:
        """Sorted names directly under `key`; empty if there is no such key."""

    def delete(self, key: str) -> None:
        """Remove `key` and all under it, if it is there."""

    def exists(self, key: str) -> bool:
        """Whether `key` is there."""

    def touch(self, key: str) -> None:
        """Refresh the modification time of `key`; OSError if it cannot be."""

    def age(self, key: str) -> float:
        """Seconds since `key` was last modified, by the clock of what holds it; FileNotFoundError if it is gone."""

    def sweep(self, key: str, *, below: bool = True) -> None:
        """Remove what killed writes left half-written under `key`: directly there, or `below` as well."""

    def sync(self) -> None:
        """Return once everything that was written by this machine survives a power cut."""

    def check_own(self, key: str) -> None:
        """Raise StoreError if writing or removing `key` would touch what lies outside of the root."""

    def where(self, key: str = "") -> str:
        """What a person calls the place of `key`: no secrets."""


class LocalFiles:
    """`Files` on a local disk: a temporary file, fsync, one atomic rename; never through a link out of the root."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)

    def read(self, key: str, most: int | None = None) -> bytes:
        """Bytes of `key`; FileNotFoundError if there is none, StoreError if there are more than `most`."""
        path = self.root / key
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):  # a device, which never ends
            raise StoreError(f"{path} is no file: it was not written by us")
        if most is not None:
            check_size(status.st_size, most, str(path))
        return path.read_bytes()

    def write(self, key: str, data: bytes, *, durable: bool = False) -> None:
        """Put `data` under `key` by an atomic rename; if `durable`, the file and its directory are synced."""
        path = self._own(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}{PARTIAL}")
        with replacing(path, partial), partial.open("wb") as stream:
            stream.write(data)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        if durable:
            sync_directory(path.parent)

    def create(self, key: str, data: bytes) -> None:
        """Put `data` under a new `key`; FileExistsError if it exists."""
        path = self._own(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}{PARTIAL}")
        partial.write_bytes(data)
        try:
            _link_new(partial, path)
        finally:
            partial.unlink(missing_ok=True)

    def swap(self, key: str, data: bytes, before: bytes | None) -> None:
        """Compare, then write: no file system does both in one step, so the lease must keep others out."""
        try:
            found: bytes | None = self.read(key)
        except FileNotFoundError:
            found = None
        if found != before:
            raise FileExistsError(self.where(key))
        self.write(key, data, durable=True)

    def list(self, key: str) -> list[str]:
        """Sorted names directly under `key`."""
        try:
            return sorted(path.name for path in (self.root / key).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def delete(self, key: str) -> None:
        """Remove `key` and all under it."""
        path = self._own(key)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def exists(self, key: str) -> bool:
        """Whether `key` is there."""
        return (self.root / key).exists()

    def touch(self, key: str) -> None:
        """Refresh the modification time of `key`."""
        os.utime(self._own(key))

    def age(self, key: str) -> float:
        """Seconds since `key` was last modified, by the clock of the file system that holds it."""
        probe = self._own(f"{key}.{uuid.uuid4().hex}{PARTIAL}")
        probe.touch()
        try:
            return probe.stat().st_mtime - (self.root / key).stat().st_mtime
        finally:
            probe.unlink(missing_ok=True)

    def sweep(self, key: str, *, below: bool = True) -> None:
        """Remove the temporary files that a killed writer left under `key`."""
        place = self.root / key
        if place.is_symlink():
            self.check_own(f"{key}/any")
        for partial in list(place.rglob(f"*{PARTIAL}") if below else place.glob(f"*{PARTIAL}")):
            if is_partial(partial.name):
                partial.unlink(missing_ok=True)

    def sync(self) -> None:
        """Have every written chunk put on disk: asked by each task that writes, and before a commit."""
        sync_all(self.root)

    def check_own(self, key: str) -> None:
        """Raise StoreError where `key` leads out of the root by a link; the root itself may be one."""
        root, folder = os.path.realpath(self.root), os.path.realpath((self.root / key).parent)
        if key and folder != root and not folder.startswith(root.rstrip(os.sep) + os.sep):
            raise StoreError(
                f"{(self.root / key).parent} leads out of {self.root}, to {folder}: nothing is written or removed "
                "there. Put the folder itself in the place of the link"
            )

    def _own(self, key: str) -> Path:
        self.check_own(key)
        return self.root / key

    def where(self, key: str = "") -> str:
        """The path of `key`."""
        return str(self.root / key)


def check_size(size: int, most: int, where: str) -> None:
    """Raise StoreError for a file of the store's own that is larger than there can be, before it is read."""
    if size > most:
        raise StoreError(
            f"{where} is of {size:,} bytes, and none of its kind has over {most:,}: it was not written by us"
        )


def is_partial(name: str) -> bool:
    """Whether a file of this name is one that a writer, ours or Zarr's, had not finished."""
    return re.search(rf"\.[0-9a-f]{{32}}{re.escape(PARTIAL)}$", name) is not None


def _link_new(source: Path, target: Path) -> None:
    """Give `source` a second name that must be new; O_EXCL where the file system has no hard links."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        with target.open("xb") as stream:
            stream.write(source.read_bytes())
