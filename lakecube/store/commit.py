"""The commit: one atomic replacement of the root `zarr.json`, and the swap of a whole store.

The root document names every array with its length (Zarr's consolidated metadata), so whatever lies beside it
and is not named there, or lies past a named length, does not exist for a reader.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zarr.core.metadata.v3 import ArrayV3Metadata

from lakecube.errors import StoreError, StoreExistsError
from lakecube.store.files import PARTIAL, LocalFiles, sync_all
from lakecube.store.layout import array_document, dumps, group_document, read_metadata
from lakecube.store.lease import Lease
from lakecube.store.ledger import Ledger

ROOT = "zarr.json"
#: Version of this layout; a store of another is refused rather than guessed at.
LAYOUT = 1


@dataclasses.dataclass(frozen=True)
class Visible:
    """What a reader sees of a store: root attributes and the document of every array and group below."""

    attrs: dict[str, Any]
    documents: dict[str, dict[str, Any]]

    def metadata(self, name: str) -> ArrayV3Metadata:
        """Metadata of one array."""
        return read_metadata(self.documents[name])

    def arrays(self) -> list[str]:
        """Names of the arrays of the root group."""
        return [n for n, doc in self.documents.items() if doc["node_type"] == "array" and "/" not in n]

    @property
    def rows(self) -> int:
        """Number of visible rows."""
        return int(self.documents["time"]["shape"][0])


def read_root(path: Path) -> Visible | None:
    """What is visible at `path`; None if nothing is there yet or a first write did not finish.

    Raises
    ------
    StoreExistsError
        If something else lies there.
    StoreError
        If the root metadata are torn or of another layout.
    """
    if path.exists() and not path.is_dir():
        raise StoreExistsError(f"{path} is a file: choose another path for the store")
    try:
        text = (path / ROOT).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        if path.exists() and not Ledger(LocalFiles(path)).is_ours() and not _was_finished(path):
            raise StoreExistsError(
                f"{path} exists and is not a lakecube store; nothing in it was touched. Choose another path"
            ) from None
        return None
    torn = f"{path / ROOT} cannot be read as metadata of a store: it is torn or was edited"
    try:
        root = json.loads(text)
        layout = root["attributes"].get("lakecube_layout")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise StoreError(torn) from error
    if layout is None:
        raise StoreExistsError(f"{path} is a Zarr group that lakecube did not write; choose another path")
    if layout != LAYOUT:
        raise StoreError(f"{path} has layout {layout}; this lakecube writes layout {LAYOUT}: use the matching version")
    try:
        found = Visible(root["attributes"], root["consolidated_metadata"]["metadata"])
        whole = _is_whole(found)
    except (ValueError, KeyError, AttributeError, TypeError, IndexError) as error:
        raise StoreError(torn) from error
    if not whole:
        raise StoreError(torn)
    return found


def _is_whole(found: Visible) -> bool:
    """Whether the root document says all that a reader and a writer go by."""
    attrs = found.attrs
    for name in found.arrays():
        found.metadata(name)
    return (
        found.rows > 0
        and all(len(found.documents[name]["shape"]) == 3 for name in ("water_mask", "reason"))
        and isinstance(attrs["configuration_hash"], str)
        and isinstance(attrs["lakecube_grid"], dict)
        and isinstance(attrs["revision"], int)
        and f"revision/{attrs['revision']}" in found.documents
    )


def _was_finished(path: Path) -> bool:
    """Whether the ledger at `path` knows rows of a finished store, whose root document is then missing."""
    return bool(Ledger(LocalFiles(path)).rows(1))


def refuse_inside(path: Path) -> None:
    """Raise StoreError if `path` lies inside a store: whoever writes that one would not know of it."""
    for parent in path.parents:
        try:
            inside = Ledger(LocalFiles(parent)).is_pending()
            inside = inside or "lakecube_layout" in json.loads((parent / ROOT).read_bytes())["attributes"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if inside:
            raise StoreError(f"{path} lies inside the store {parent}: choose a path outside of it")


def foreign(files: LocalFiles, visible: Visible) -> list[str]:
    """Names beside a visible store that no write of lakecube made."""
    ours = {ROOT, "_ledger", "_runs", "revision", *visible.documents, *Ledger(files).names()}
    return [n for n in files.list("") if n not in ours and not _is_partial(n) and n != ".DS_Store"]


def _is_partial(name: str) -> bool:
    return re.search(rf"\.[0-9a-f]{{32}}{re.escape(PARTIAL)}$", name) is not None


def commit(
    files: LocalFiles,
    attrs: Mapping[str, Any],
    arrays: Mapping[str, ArrayV3Metadata],
    groups: Mapping[str, Mapping[str, Any]],
    kept: Mapping[str, dict[str, Any]],
) -> None:
    """Make `arrays` and `groups` visible, beside the documents `kept` from before.

    Their own `zarr.json` files are written first, then all is put on disk, then the root is replaced.
    """
    documents = {name: group_document(group) for name, group in groups.items()}
    documents |= {name: array_document(metadata) for name, metadata in arrays.items()}
    for name, document in sorted(documents.items()):
        data = dumps(document)
        if not files.exists(f"{name}/{ROOT}") or files.read(f"{name}/{ROOT}") != data:
            files.write(f"{name}/{ROOT}", data)
    sync_all()
    root = group_document({**attrs, "lakecube_layout": LAYOUT}, {**kept, **documents})
    files.write(ROOT, dumps(root), durable=True)


def forget_unseen(files: LocalFiles, visible: Visible | None) -> None:
    """Remove what an abandoned write left: what its plan names, rows past the end, revisions that are not seen.

    Whatever else lies there is somebody's and stays.
    """
    kept = {ROOT, "_ledger", "_runs"} | ({"revision", *visible.documents} if visible is not None else set())
    named = set(Ledger(files).names()) - kept
    for name in files.list(""):
        if name in named or _is_partial(name):
            files.delete(name)
    if visible is None:
        return
    for name in visible.arrays():
        document = visible.documents[name]
        if document.get("dimension_names", [])[:1] == ["time"] and len(document["shape"]) == 3:
            for row in files.list(f"{name}/c"):
                if row.isdigit() and int(row) >= visible.rows:
                    files.delete(f"{name}/c/{row}")
    for number in files.list("revision"):
        if number.isdigit() and f"revision/{number}" not in visible.documents:
            files.delete(f"revision/{number}")


def sweep_partial(files: LocalFiles, names: list[str], base: int) -> None:
    """Remove the temporary files a killed writer left: at the root, in the rows from `base` on, and below `names`."""
    for partial in files.root.glob(f"*{PARTIAL}"):
        partial.unlink(missing_ok=True)
    for name in names:
        for part in files.list(f"{name}/c") or [""]:
            if part.isdigit() and int(part) < base:
                continue
            for partial in (files.root / name / "c" / part).rglob(f"*{PARTIAL}"):
                partial.unlink(missing_ok=True)
        for partial in (files.root / name).glob(f"*{PARTIAL}"):
            partial.unlink(missing_ok=True)


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
        lease.moved(path)


_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two directories atomically; False where the system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    return rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0
