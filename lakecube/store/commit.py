"""The commit: one atomic replacement of the root `zarr.json`.

The root document names every array with its length (Zarr's consolidated metadata), so whatever lies beside it
and is not named there, or lies past a named length, does not exist for a reader.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from zarr.core.metadata.v3 import ArrayV3Metadata

from lakecube.errors import StoreError, StoreExistsError
from lakecube.io.limits import MOST_DOCUMENT
from lakecube.store.claims import check_claim
from lakecube.store.conventions import with_levels
from lakecube.store.files import Files, is_partial
from lakecube.store.layout import array_document, dumps, group_document, read_metadata
from lakecube.store.ledger import Ledger
from lakecube.store.place import LocalPlace, Place

ROOT = "zarr.json"
#: Version of this layout; a store of another is refused rather than guessed at.
LAYOUT = 1
_LAYOUT = "lakecube_layout"
#: Folder of the groups, and of the levels of each (which are no part of the tree of the root, see overviews.py).
REVISIONS, OVERVIEWS = "revision", "overviews"
#: Root attribute that lists the rows which another row of the same date has replaced.
SUPERSEDED = "superseded_rows"
#: Attribute of a revision's group: files at the root that are part of it.
EXTRA_FILES = "files"


@dataclasses.dataclass(frozen=True)
class Visible:
    """What a reader sees of a store: root attributes and the document of every array and group below."""

    attrs: dict[str, Any]
    documents: dict[str, dict[str, Any]]
    text: bytes = dataclasses.field(default=b"", repr=False, compare=False)  #: the root document that says so

    def metadata(self, name: str) -> ArrayV3Metadata:
        """Metadata of one array."""
        return read_metadata(self.documents[name])

    def arrays(self) -> list[str]:
        """Names of the arrays of the root group."""
        return [n for n, doc in self.documents.items() if doc["node_type"] == "array" and "/" not in n]

    @property
    def rows(self) -> int:
        """Number of visible rows, superseded ones included."""
        return int(self.documents["time"]["shape"][0])

    @property
    def superseded(self) -> frozenset[int]:
        """Rows that another row of the same date has replaced."""
        return frozenset(self.attrs.get(SUPERSEDED, ()))

    @property
    def revision(self) -> int | None:
        """Number of the current revision; None as long as there is none."""
        return self.attrs["revision"]

    @property
    def next_revision(self) -> int:
        """Number of the revision to be made next."""
        return 0 if self.revision is None else self.revision + 1

    def with_arrays(self, arrays: Mapping[str, ArrayV3Metadata]) -> Visible:
        """The same with some arrays added or replaced."""
        return Visible(self.attrs, self.documents | {n: array_document(m) for n, m in arrays.items()})

    def with_revision(
        self, number: int, arrays: Mapping[str, ArrayV3Metadata], attrs: Mapping[str, Any],
        pyramid: Sequence[tuple[str, Mapping[str, Any]]] = (),
    ) -> Visible:  # fmt: skip
        """The same with `number` as its current revision, and its levels; of the earlier ones only the last stays."""
        kept = {n: doc for n, doc in self.documents.items() if _revision_of(n) in (None, self.revision)}
        group = f"revision/{number}"
        made = {"revision": group_document({}), group: group_document(attrs)}
        made |= {f"{group}/{name}": array_document(metadata) for name, metadata in arrays.items()}
        return Visible(with_levels({**self.attrs, "revision": number}, pyramid), kept | made)


def _revision_of(name: str) -> int | None:
    """Number of the revision that an array or group is of."""
    parts = name.split("/")
    return int(parts[1]) if parts[0] == "revision" and len(parts) > 1 else None


def read_root(place: Place | Path) -> Visible | None:
    """What is visible at `place`; None if nothing is there yet or a first write did not finish.

    Raises
    ------
    StoreExistsError
        If something else lies there.
    StoreError
        If the root metadata are torn or of another layout.
    """
    place = LocalPlace(place) if isinstance(place, Path) else place
    text = read_document(place)
    return None if text is None else understood(text, place)


def read_document(place: Place) -> bytes | None:
    """The root document of a store; None, or StoreExistsError, as of `read_root`."""
    files = place.files
    if isinstance(place, LocalPlace) and place.root.exists() and not place.root.is_dir():
        raise StoreExistsError(f"{place} is a file: choose another path for the store")
    try:
        return files.read(ROOT, MOST_DOCUMENT)
    except (FileNotFoundError, NotADirectoryError):
        if files.exists("") and not Ledger(files).is_ours() and not _was_finished(files):
            raise StoreExistsError(
                f"{place} exists and is not a lakecube store; nothing in it was touched. Choose another path"
            ) from None
        return None


def understood(text: bytes, place: Place) -> Visible:
    """What a root document says; StoreError if it is torn, or of somebody else."""
    torn = f"{place.files.where(ROOT)} cannot be read as metadata of a store: it is torn or was edited"
    try:
        root = json.loads(text, parse_constant=_no_number)
        layout = root["attributes"].get(_LAYOUT)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise StoreError(torn) from error
    if layout is None:
        raise StoreExistsError(f"{place} is a Zarr group that lakecube did not write; choose another path")
    if layout != LAYOUT:
        raise StoreError(f"{place} has layout {layout}; this lakecube writes layout {LAYOUT}: use the matching version")
    try:
        found = Visible(root["attributes"], root["consolidated_metadata"]["metadata"], text)
        whole = _is_whole(found)
    except (ValueError, KeyError, AttributeError, TypeError, IndexError) as error:
        raise StoreError(torn) from error
    if not whole:
        raise StoreError(torn)
    return found


def _no_number(name: str) -> None:
    """JSON has no NaN and no infinity, and no store was written with one."""
    raise ValueError(name)


def _is_whole(found: Visible) -> bool:
    """Whether the root document says all that a reader and a writer go by."""
    attrs = found.attrs
    for name, document in found.documents.items():
        if document["node_type"] == "array":
            shape, chunk = document["shape"], document["chunk_grid"]["configuration"]["chunk_shape"]
            check_claim(name, document.get("dimension_names") or (None,) * len(shape), shape, chunk)
    for name in found.arrays():
        found.metadata(name)
    return (
        found.rows > 0
        and all(len(found.documents[name]["shape"]) == 3 for name in ("water_mask", "reason"))
        and isinstance(attrs["configuration_hash"], str)
        and isinstance(attrs["lakecube_grid"], dict)
        and (attrs["revision"] is None or _is_revision(attrs["revision"], found))
        and all(0 <= int(row) < found.rows for row in attrs.get(SUPERSEDED, ()))
    )


def _is_revision(number: Any, found: Visible) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and f"revision/{number}" in found.documents


def _was_finished(files: Files) -> bool:
    """Whether the ledger knows rows of a finished store, whose root document is then missing."""
    return bool(Ledger(files).rows(1))


def refuse_inside(place: Place) -> None:
    """Raise StoreError if `place` lies inside a store: whoever writes that one would not know of it."""
    for parent in place.parents:
        try:
            inside = Ledger(parent.files).is_pending()
            inside = inside or _LAYOUT in json.loads(parent.files.read(ROOT))["attributes"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if inside:
            raise StoreError(f"{place} lies inside the store {parent}: choose a path outside of it")


def foreign(files: Files, visible: Visible) -> list[str]:
    """Names beside a visible store that no write of lakecube made."""
    ours = {ROOT, "_ledger", "_runs", REVISIONS, OVERVIEWS, *visible.documents, *Ledger(files).names()}
    for number in _digits(files.list("revision")):
        ours.update(extra_files(files, number))
    return [n for n in files.list("") if n not in ours and not is_partial(n) and n != ".DS_Store"]


def commit(files: Files, after: Visible, before: Visible | None, extra: Mapping[str, bytes] | None = None) -> None:
    """Make `after` what a reader sees.

    The documents that are new since `before` are written first and the `extra` files that they name, then all is put
    on disk, then the root is replaced: if it is `before` still, which object storage sees to by itself.
    """
    known = before.documents if before is not None else {}
    for name, document in sorted(after.documents.items()):
        if known.get(name) != document:
            files.write(f"{name}/{ROOT}", dumps(document))
    for name, data in (extra or {}).items():
        files.write(name, data)
    files.sync()
    attrs = {name: value for name, value in after.attrs.items() if name != _LAYOUT}
    root = group_document({**attrs, _LAYOUT: LAYOUT}, after.documents)  # last, however often it was read and written
    try:
        files.swap(ROOT, dumps(root), before.text if before is not None else None)
    except FileExistsError as error:
        raise StoreError(
            f"{files.where(ROOT)} was changed by somebody else while this was written, so nothing was committed: make "
            "the same call again"
        ) from error


def extra_files(files: Files, number: int) -> list[str]:
    """Files at the root that are part of a revision, by the word of its own group."""
    try:
        found = json.loads(files.read(f"revision/{number}/{ROOT}"))["attributes"].get(EXTRA_FILES, [])
    except (FileNotFoundError, ValueError, KeyError, AttributeError):
        return []
    return [name for name in found if is_extra(name, number)]


def is_extra(name: object, number: int) -> bool:
    """Whether a file at the root may be part of revision `number`: its name ends in the number."""
    return isinstance(name, str) and re.fullmatch(rf"[a-z_]+-{number}\.[a-z]+", name) is not None


def forget_rows(files: Files, visible: Visible | None) -> None:
    """Remove what an abandoned write of rows left: what its plan names, and rows past the end.

    Whatever else lies there is somebody's and stays.
    """
    kept = {ROOT, "_ledger", "_runs"} | ({REVISIONS, OVERVIEWS, *visible.documents} if visible is not None else set())
    named = set(Ledger(files).names()) - kept
    for name in files.list(""):
        if name in named or is_partial(name):
            files.delete(name)
    if visible is None:
        return
    for name in dated(visible):
        for row in _digits(files.list(f"{name}/c")):
            if row >= visible.rows:
                files.delete(f"{name}/c/{row}")


def forget_revisions(files: Files, visible: Visible) -> None:
    """Remove revisions that the root does not name: abandoned ones, and those that are too old."""
    for number in _digits(files.list("revision")):
        if f"revision/{number}" not in visible.documents:
            for name in extra_files(files, number):
                files.delete(name)
            files.delete(f"{OVERVIEWS}/{number}")
            files.delete(f"{REVISIONS}/{number}")


def dated(visible: Visible) -> list[str]:
    """Names of the pixel arrays that have a row per date."""
    documents = visible.documents
    return [
        name
        for name in visible.arrays()
        if documents[name].get("dimension_names", [])[:1] == ["time"] and len(documents[name]["shape"]) == 3
    ]


def sweep_rows(files: Files, names: list[str], pixels: Collection[str], base: int) -> None:
    """Remove what a killed writer left half-written: at the root, and below `names`.

    Of the `pixels` only the rows from `base` on were being written: there may be a million files in those before.
    """
    files.sweep("", below=False)
    for name in names:
        files.sweep(name, below=name not in pixels)
        if name in pixels:
            files.sweep(f"{name}/c", below=False)
            for row in _digits(files.list(f"{name}/c")):
                if row >= base:
                    files.sweep(f"{name}/c/{row}")


def _digits(names: list[str]) -> list[int]:
    return [int(name) for name in names if name.isdigit()]
