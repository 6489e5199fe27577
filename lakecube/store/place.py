"""Where a store lies: a small value that pickles, from which every process makes its own handles."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from zarr.abc.store import Store
from zarr.storage import LocalStore

from lakecube.errors import InvalidInputError
from lakecube.store.disk import explained
from lakecube.store.files import Files, LocalFiles, local_path
from lakecube.store.objects import ObjectPlace, is_object_url


class Place(Protocol):
    """The root of one store; hashable, and harmless to print."""

    def __hash__(self) -> int: ...

    @property
    def files(self) -> Files:
        """Root metadata, ledger, lease and whatever else is not a chunk of pixels."""

    @property
    def chunks(self) -> Store:
        """Zarr's own handle, for pixels."""

    @property
    def parents(self) -> Sequence[Place]:
        """Places that this one lies in."""

    def told(self, what: str) -> AbstractContextManager[None]:
        """Turn what the place refuses while inside into a StoreError; the work done so far stays resumable."""


@dataclasses.dataclass(frozen=True, slots=True)
class LocalPlace:
    """A directory on a local disk."""

    root: Path

    def __str__(self) -> str:
        return str(self.root)

    @property
    def files(self) -> LocalFiles:
        """Files by temporary file, fsync and rename."""
        return LocalFiles(self.root)

    @property
    def chunks(self) -> Store:
        """Zarr's store of files."""
        return LocalStore(self.root)

    @property
    def parents(self) -> list[LocalPlace]:
        """Directories that this one lies in."""
        return [LocalPlace(path) for path in self.root.parents]

    def told(self, what: str) -> AbstractContextManager[None]:
        """Explain a full or read-only disk."""
        return explained(self.root)


def place_of(path: object, storage_options: Mapping[str, Any] | None = None) -> LocalPlace | ObjectPlace:
    """The place that a user's path or address names.

    Raises
    ------
    InvalidInputError, StoreError, MissingDependencyError
        If it names none, see `local_path` and `ObjectPlace.of`.
    """
    if is_object_url(path):
        return ObjectPlace.of(str(path), storage_options)
    if storage_options is not None:
        raise InvalidInputError("storage_options are for stores in object storage (s3://bucket/prefix)")
    return LocalPlace(local_path(path))
