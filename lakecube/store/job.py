"""The seam between rows and revisions: what a revision is made from, and what the making hands back.

`RevisionJob` says everything that the revision pass may depend on, all of it stored already: no Dataset, no
archive. So one that follows an append and one that is made alone from an old store are the same work.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from zarr.core.metadata.v3 import ArrayV3Metadata

from lakecube.names import SPATIAL_REF, TIME, X, Y
from lakecube.store.commit import SUPERSEDED, Visible
from lakecube.store.contents import digest, version
from lakecube.store.conventions import CONVENTIONS, with_levels
from lakecube.store.layout import Stored, array_document, open_array
from lakecube.store.ledger import Row
from lakecube.store.place import Place

#: Attributes of the root that every group with pixels of its grid carries as well.
_OF_GRID = ("Conventions", CONVENTIONS)
_GRID_PREFIXES = ("spatial:", "proj:")


@dataclasses.dataclass(frozen=True, eq=False)
class RevisionJob:
    """One revision to be made.

    Attributes
    ----------
    place : where the store lies; a small value that travels to workers
    number : of the revision
    previous : number of the revision before it, whose registry of lakes it goes on with; None if there is none
    observed : metadata of every array of the root whose last dims are (y, x): `water_mask`, `reason`, … (time, y, x)
        at the length they will have, `elevation` (y, x)
    rows : rows to make it from, in order of date, superseded ones left out
    dates : (rows,) datetime64[s], ascending
    axes : `y`, `x` and `spatial_ref` as stored, values at hand
    attrs : attributes of a group on this grid
    parameters : of the revision, plain values
    registry : place of another store whose lakes to go on with, or None
    registry_hash : of what `registry` held when the job was made; None without one
    keys : what the rows were made from, see `_ledger/rows.json`
    before : what is visible now, for reading the revision before
    """

    place: Place
    number: int
    previous: int | None
    observed: dict[str, ArrayV3Metadata]
    rows: tuple[int, ...]
    dates: np.ndarray
    axes: dict[str, Stored]
    attrs: dict[str, Any]
    parameters: dict[str, Any]
    registry: Place | None
    registry_hash: str | None
    keys: tuple[str, ...]
    before: Visible

    @property
    def group(self) -> str:
        """Name of the group of the revision."""
        return f"revision/{self.number}"

    @property
    def size(self) -> tuple[int, int]:
        """Pixels along y and x."""
        _, y, x = self.observed["water_mask"].shape
        return y, x

    @property
    def chunks(self) -> tuple[int, int]:
        """Pixels of a chunk along y and x."""
        _, y, x = self.observed["water_mask"].chunks
        return y, x

    @property
    def blocks(self) -> tuple[int, int]:
        """Number of chunks along y and x."""
        (height, width), (y, x) = self.size, self.chunks
        return -(-height // y), -(-width // x)

    @property
    def hash(self) -> str:
        """Equal for two jobs that write the same bytes: what a killed one left may be gone on with."""
        return digest({
            "lakecube": version(),
            "number": self.number,
            "previous": self.previous,
            "observed": {name: array_document(metadata) for name, metadata in self.observed.items()},
            "rows": list(self.rows),
            "keys": list(self.keys),
            "parameters": self.parameters,
            "registry": self.registry_hash,
        })  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Level:
    """One level: its group below the root, the attributes of that, and its arrays as in `RevisionOutcome`."""

    group: str
    attrs: dict[str, Any]
    arrays: dict[str, Stored]


@dataclasses.dataclass(frozen=True)
class RevisionOutcome:
    """What the making of a revision hands back, to be committed.

    Attributes
    ----------
    arrays : arrays of the group by name (below the group): values for the small ones, None where pixels are written
    attrs : attributes of the group besides those that every revision has
    files : files at the root that are part of the revision, by name; a name ends in ``-<number>.<suffix>``
    levels : its overviews, the finest first
    """

    arrays: dict[str, Stored]
    attrs: dict[str, Any] = dataclasses.field(default_factory=dict)
    files: dict[str, bytes] = dataclasses.field(default_factory=dict)
    levels: Sequence[Level] = ()


def job_of(
    place: Place, state: Visible, keys: Sequence[Row], parameters: Mapping[str, Any], registry: Place | None,
    registry_hash: str | None, before: Visible,
) -> RevisionJob:  # fmt: skip
    """The job of making a revision from the rows of `state`, whose small arrays are on disk though not visible yet."""
    times = read_small(place, state, TIME)
    assert times.values is not None
    live = [row for row in np.argsort(times.values, kind="stable").tolist() if row not in state.superseded]
    return RevisionJob(
        place=place,
        number=state.next_revision,
        previous=state.revision,
        observed={n: state.metadata(n) for n in state.arrays() if _on_grid(state, n)},
        rows=tuple(live),
        dates=times.values[live].astype("datetime64[s]"),
        axes={name: read_small(place, state, name) for name in (Y, X, SPATIAL_REF)},
        attrs=with_levels({k: v for k, v in state.attrs.items() if k in _OF_GRID or k.startswith(_GRID_PREFIXES)}, ()),
        parameters=dict(parameters),
        registry=registry,
        registry_hash=registry_hash,
        keys=tuple(str(keys[row]["key"]) for row in live) if keys else (),
        before=before,
    )


def read_small(place: Place, state: Visible, name: str) -> Stored:
    """A small array of the root, its values at hand."""
    metadata = state.metadata(name)
    return Stored(metadata, np.asarray(open_array(place.chunks, name, metadata)[...]))


def made_from(state: Visible, parameters: Mapping[str, Any], registry_hash: str | None) -> dict[str, Any]:
    """Attributes of a revision's group that tell what it was made from, and by what."""
    return {
        "rows": state.rows,
        SUPERSEDED: sorted(state.superseded),
        "parameters": json.dumps(dict(parameters), sort_keys=True),
        "registry_hash": registry_hash or "",
        "lakecube_version": version(),
    }


def parameters_of(visible: Visible) -> dict[str, Any]:
    """Parameters of the current revision; empty if there is none."""
    if visible.revision is None:
        return {}
    return json.loads(visible.documents[f"revision/{visible.revision}"]["attributes"].get("parameters", "{}"))


def is_current(
    visible: Visible, parameters: Mapping[str, Any], registry_hash: str | None = None, *, version_too: bool = False
) -> bool:  # fmt: skip
    """Whether the current revision is made from all visible rows, with these parameters (and this registry)."""
    if visible.revision is None:
        return False
    attrs = visible.documents[f"revision/{visible.revision}"]["attributes"]
    asked = made_from(visible, parameters, registry_hash)
    if registry_hash is None:
        del asked["registry_hash"]
    if not version_too:
        del asked["lakecube_version"]
    return all(attrs.get(name) == value for name, value in asked.items())


def _on_grid(state: Visible, name: str) -> bool:
    return (state.documents[name].get("dimension_names") or [])[-2:] == [Y, X]
