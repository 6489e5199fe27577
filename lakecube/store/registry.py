"""The lakes of the revision before, as they are stored, and how those of a revision are."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import xarray as xr

from lakecube.errors import StoreError, StoreExistsError
from lakecube.names import LAKE
from lakecube.series.registry import EVENT, REGISTRY, Registry
from lakecube.store.commit import Visible, read_root
from lakecube.store.contents import digest
from lakecube.store.job import RevisionJob
from lakecube.store.layout import Stored, open_array, row_array
from lakecube.store.place import Place
from lakecube.store.revise_lakes import Found
from lakecube.store.write_tasks import Writer

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
        other = job.registry
        visible = _registry_root(other)
        mine = {name: job.attrs.get(name) for name in job.attrs if name.startswith(("spatial:", "proj:"))}
        if any(visible.attrs.get(name) != value for name, value in mine.items()):
            raise StoreError(f"registry {other} is on another grid, so its lakes cannot be told apart here")
        return cls.lent(other, visible)

    @classmethod
    def lent(cls, place: Place, visible: Visible) -> Before:
        """Of another store; StoreError if it has no lakes."""
        found = cls._read(place, visible)
        if found is None:
            raise StoreError(f"registry {place} has no lakes yet: make them with lakecube.revise() there")
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
        if not (np.diff(lakes["lake_id"], prepend=0) > 0).all():  # ids that are not there read as 0
            raise StoreError(torn_lakes(f"{place}/{group}"))
        label = f"{group}/lake_label"
        next_id = int(visible.documents[group]["attributes"]["next_lake_id"])
        return cls(Registry(lakes, next_id), Writer.of(place, {label: visible.metadata(label)}), label)


def torn_lakes(where: str) -> str:
    """What to say of a revision whose lakes are not all there."""
    return (
        f"the lakes of {where} are torn or gone, so their ids cannot be kept: put its files back, or give registry= a "
        "whole copy of that store"
    )


def registry_hash(place: Place | None) -> str | None:
    """Of the lakes that `place` lends, as they are now and wherever it lies; None without a place.

    Raises
    ------
    StoreError
        If there is no finished store, or it has no lakes.
    """
    if place is None:
        return None
    visible = _registry_root(place)
    found = Before.lent(place, visible)
    attributes = visible.documents[f"revision/{visible.revision}"]["attributes"]
    return digest({"made_from": attributes, "lakes": hashlib.sha256(found.registry.lakes.tobytes()).hexdigest()})


def _registry_root(place: Place) -> Visible:
    try:
        visible = read_root(place)
    except StoreExistsError as error:
        raise StoreError(f"registry {place} is not a store of lakecube") from error
    if visible is None:
        raise StoreError(f"registry {place}: there is no finished store")
    return visible


#: Column of the registry, and the variable that holds it.
_COLUMNS = {"lake_id": LAKE, "first_revision": "first_revision", "provisional": "provisional", "pixels": "pixel_count"}


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
