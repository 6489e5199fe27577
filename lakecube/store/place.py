"""Where a store lies: a small value that pickles, from which every process makes its own handles."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Protocol

from zarr.abc.store import Store
from zarr.storage import LocalStore

from lakecube.store.files import Files, LocalFiles, local_path


class Place(Protocol):
    """The root of one store; hashable, and harmless to print."""

    def __hash__(self) -> int: ...

    @property
    def files(self) -> Files:
        """Root metadata, ledger, lease and whatever else is not a chunk of pixels."""

    @property
    def chunks(self) -> Store:
        """Zarr's own handle, for pixels."""


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


def place_of(path: object) -> LocalPlace:
    """The place that a user's path names.

    Raises
    ------
    InvalidInputError, StoreError
        If it names none, see `local_path`.
    """
    return path if isinstance(path, LocalPlace) else LocalPlace(local_path(path))
