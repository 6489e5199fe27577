"""The lakes of the revision before, as they are stored, and how those of a revision are."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import xarray as xr

from lakecube.errors import StoreError
from lakecube.names import LAKE
from lakecube.series.registry import EVENT, REGISTRY, Registry
from lakecube.store.commit import Visible, read_root
from lakecube.store.contents import digest
from lakecube.store.job import RevisionJob
from lakecube.store.layout import Stored, open_array, row_array
from lakecube.store.passes import Writer
from lakecube.store.place import Place, place_of
from lakecube.store.revise_lakes import Found

#: Dim of the lineage table.
EVENT_DIM = "event"


@dataclasses.dataclass(frozen=True)
class Before:
    """The registry to go on with, and where its `lake_label` lies (None: there are no lakes yet)."""

    registry: Registry
    writer: Writer | None
    label: str

    @classmethod
    def of(cls, job: RevisionJob) -> Before:
        """Of the store that `job.registry` names, else of the revision before in the store itself.

        Raises
        ------
        StoreError
            If the named store is none, has no lakes, or is on another grid.
        """
        if job.registry is None:
            found = cls._read(job.place, job.before)
            return found or cls(Registry.empty(), None, "")
        other, visible = _store(job.registry)
        mine = {name: job.attrs.get(name) for name in job.attrs if name.startswith(("spatial:", "proj:"))}
        if any(visible.attrs.get(name) != value for name, value in mine.items()):
            raise StoreError(f"registry={job.registry!r} is on another grid, so its lakes cannot be told apart here")
        return cls._named(job.registry, other, visible)

    @classmethod
    def _named(cls, path: str, place: Place, visible: Visible) -> Before:
        found = cls._read(place, visible)
        if found is None:
            raise StoreError(f"registry={path!r} has no lakes yet: make them with lakecube.revise() there")
        return found

    @classmethod
    def _read(cls, place: Place, visible: Visible) -> Before | None:
        group = f"revision/{visible.attrs.get('revision')}"
        if f"{group}/{LAKE}" not in visible.documents:
            return None
        columns = {
            name: np.asarray(open_array(place.chunks, f"{group}/{stored}", visible.metadata(f"{group}/{stored}"))[...])
            for name, stored in _COLUMNS.items()
        }
        lakes = np.zeros(len(columns["lake_id"]), REGISTRY)
        for name, values in columns.items():
            lakes[name] = values
        label = f"{group}/lake_label"
        next_id = int(visible.documents[group]["attributes"]["next_lake_id"])
        return cls(Registry(lakes, next_id), Writer.of(place, {label: visible.metadata(label)}), label)


#: Column of the registry, and the variable that holds it.
_COLUMNS = {"lake_id": LAKE, "first_revision": "first_revision", "provisional": "provisional", "pixels": "pixel_count"}


def registry_hash(path: str | None) -> str:
    """Hash of the lakes of another store as they are now, wherever it lies; "" for none.

    Raises
    ------
    StoreError
        If there is no store at `path`, or it has no lakes.
    """
    if path is None:
        return ""
    place, visible = _store(path)
    found = Before._named(path, place, visible)
    attributes = visible.documents[f"revision/{visible.revision}"]["attributes"]
    return digest({"made_from": attributes, "lakes": hashlib.sha256(found.registry.lakes.tobytes()).hexdigest()})


def _store(path: str) -> tuple[Place, Visible]:
    place = place_of(path)
    visible = read_root(place)
    if visible is None:
        raise StoreError(f"registry={path!r}: there is no finished store")
    return place, visible


def registry_arrays(found: Found) -> dict[str, Stored]:
    """What a later revision goes on with, and the lineage: what became of the lakes of the revision before."""
    lakes, lineage = found.registry.lakes, found.lineage
    texts = {"first_revision": "revision that first found the lake", "pixel_count": "pixels of the largest extent"}
    out = {
        name: row_array(name, xr.Variable((LAKE,), lakes[column], {"long_name": texts[name], "units": "1"}))
        for column, name in _COLUMNS.items()
        if name in texts
    }
    kind = {"flag_values": list(EVENT.values()), "flag_meanings": " ".join(EVENT)}
    for name, column, attrs in (
        ("lineage_event", "event", {"long_name": "what happened to the lake", **kind}),
        ("lineage_lake", "lake_id", {"long_name": "lake_id of the lake"}),
        ("lineage_other", "other_id", {"long_name": "lake_id of the other lake, 0 for none"}),
        ("lineage_pixels", "pixels", {"long_name": "pixels concerned", "units": "1"}),
    ):
        out[name] = row_array(name, xr.Variable((EVENT_DIM,), lineage[column], attrs))
    return out
