"""A finished store in the place of another, in one step where the system can."""

from __future__ import annotations

import os
from pathlib import Path

from lakecube.store.commit import ROOT
from lakecube.store.disk import c_library
from lakecube.store.files import LocalFiles
from lakecube.store.lease import Lease

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def sibling(path: Path, what: str) -> Path:
    """A hidden place beside `path`, on the same disk."""
    return path.parent / f".{path.name}.{what}"


def swap(new: Path, path: Path) -> None:
    """Put the finished store `new` in the place of `path` and remove the old one.

    Linux exchanges the two names in one step, so that there is no moment without a store. Elsewhere the
    old store steps aside first; `mend_swap` finishes what is interrupted between the two renames.
    """
    old = new
    if not _exchange(new, path):
        old = sibling(path, "replaced")
        LocalFiles(old.parent).delete(old.name)
        path.rename(old)
        new.rename(path)
    LocalFiles(old.parent).delete(old.name)


def mend_swap(path: Path) -> None:
    """Finish a swap that was interrupted between its two renames."""
    new, old = sibling(path, "overwriting"), sibling(path, "replaced")
    if path.exists() or not old.exists():
        return
    if not (new / ROOT).exists():
        old.rename(path)
        return
    with Lease(LocalFiles(new)) as lease:  # refused while the one who swaps is alive
        new.rename(path)
        lease.moved(LocalFiles(path))


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two directories atomically; False where the system cannot."""
    rename = getattr(c_library(), "renameat2", None)
    if rename is None:
        return False
    return rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0
