"""Lakes keep their ids from revision to revision: a pure function of the objects found and of the previous registry.

How ids are kept. Every pair of an object and a previous lake that share pixels is a claim. Claims are heard in order:
first those of reference lakes on reference objects, then all others; among these the most pixels first, then the
smallest previous id, then the object whose first pixel comes first. A claim is granted if neither side has been granted
one. So of a lake that splits, the part that holds most of it keeps the id; of lakes that merge, the one that gave most
pixels does; and flood water that swallows a lake, or is left of one, never takes its id. Whether a body is provisional
does not bear on its identity otherwise: one that becomes a lake keeps its id by its claim.

Objects without a granted claim get new ids, in the order of their first pixels. An id is never given twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from lakecube.errors import InvalidInputError

#: Ids stay below this, so that a float64 (JavaScript, CSV readers) holds them exactly.
ID_LIMIT = 2**53
#: One row per lake of a revision: its id, the revision it was first found in, whether it is provisional, its pixels.
REGISTRY = np.dtype([("lake_id", "i8"), ("first_revision", "i4"), ("provisional", "u1"), ("pixels", "i8")])
#: What happened to `lake_id`. ``birth``: water where no lake was. ``death``: no water is left where it was.
#: ``split``: it is new, and took these pixels of `other_id`, which lives on. ``merge``: it ended, and `other_id` has
#: these of its pixels. ``exchange``: both live on, and `lake_id` took these pixels of `other_id`.
#: A lake that just goes on has no row.
EVENT: Mapping[str, int] = MappingProxyType({"birth": 0, "death": 1, "split": 2, "merge": 3, "exchange": 4})
#: `other_id` is 0, and `pixels` those of the lake itself, at birth and death.
LINEAGE = np.dtype([("event", "u1"), ("lake_id", "i8"), ("other_id", "i8"), ("pixels", "i8")])


@dataclass(frozen=True, slots=True)
class Registry:
    """The lakes of a revision, and the next id to be given.

    Parameters
    ----------
    lakes : (lakes,) REGISTRY
        Sorted by id.
    next_id : int
    """

    lakes: np.ndarray
    next_id: int

    @classmethod
    def empty(cls) -> Registry:
        """What there is before the first revision."""
        return cls(np.zeros(0, REGISTRY), 1)


def identify(
    objects: np.ndarray, overlaps: np.ndarray, previous: Registry, revision: int
) -> tuple[np.ndarray, Registry, np.ndarray]:
    """Give every object of a revision its lake id.

    Parameters
    ----------
    objects : (objects,) structured
        With fields ``label`` (distinct; the order of first pixels), ``class`` (2: provisional), ``pixels``: what
        `kernels.lakes.combine_tables` returns.
    overlaps : (pairs,) structured
        ``label``, ``previous`` (a lake id of `previous`), ``pixels``: what `combine_overlaps` returns, under the merged
        labels.
    previous : Registry
        Of the previous revision, whose lakes the overlaps were counted with.
    revision : int
        Number of this revision; goes into the registry of new lakes.

    Returns
    -------
    ids : (objects,) int64
        In the order of `objects`.
    registry : Registry
    lineage : (events,) LINEAGE
        Sorted by event, lake id, other id.

    Raises
    ------
    InvalidInputError
        If an overlap is with a lake that the registry does not hold, or with an object that is not given, or the ids
        are used up.

    Notes
    -----
    The order of the rows of `objects` and `overlaps` does not matter. O(n log n).
    """
    order = np.argsort(objects["label"])
    labels = objects["label"][order]
    provisional = (objects["class"][order] == 2).astype(np.uint8)
    new = _position(overlaps["label"], labels, "an object")
    old = _position(overlaps["previous"], previous.lakes["lake_id"], "a lake of the previous revision")
    kept = _grant(new, old, overlaps["pixels"], provisional, previous.lakes["provisional"])
    ids, registry = _mint(kept, objects["pixels"][order], provisional, previous, revision)
    lineage = _lineage(ids, kept, new, old, overlaps["pixels"], objects["pixels"][order], previous)
    out = np.empty_like(ids)
    out[order] = ids
    return out, registry, lineage


def _position(keys: np.ndarray, known: np.ndarray, what: str) -> np.ndarray:
    at = np.searchsorted(known, keys)
    found = at < known.size
    found[found] = known[at[found]] == keys[found]
    if not found.all():
        raise InvalidInputError(
            f"the overlaps name {keys[~found][0]}, which is not {what} ({known.size} known); "
            "count them with the merged labels and the lake_label of the very revision that the registry is of"
        )
    return at


def _grant(
    new: np.ndarray, old: np.ndarray, pixels: np.ndarray, provisional: np.ndarray, was_provisional: np.ndarray
) -> np.ndarray:
    """Position of the previous lake that each object goes on from, −1 for none."""
    second = (provisional[new] > 0) | (was_provisional[old] > 0)
    kept = np.full(provisional.size, -1, np.int64)
    taken = np.zeros(was_provisional.size, bool)
    for k in np.lexsort((new, old, -pixels, second)):
        if kept[new[k]] < 0 and not taken[old[k]]:
            kept[new[k]] = old[k]
            taken[old[k]] = True
    return kept


def _mint(
    kept: np.ndarray, pixels: np.ndarray, provisional: np.ndarray, previous: Registry, revision: int
) -> tuple[np.ndarray, Registry]:
    fresh = kept < 0
    next_id = previous.next_id + int(fresh.sum())
    if next_id > ID_LIMIT:
        raise InvalidInputError(f"lake ids must stay below 2^53; {next_id} would be given. Make the store anew")
    table = np.zeros(kept.size, REGISTRY)
    table["lake_id"][~fresh] = previous.lakes["lake_id"][kept[~fresh]]
    table["first_revision"][~fresh] = previous.lakes["first_revision"][kept[~fresh]]
    table["lake_id"][fresh] = np.arange(previous.next_id, next_id)
    table["first_revision"][fresh] = revision
    table["provisional"], table["pixels"] = provisional, pixels
    return table["lake_id"].copy(), Registry(np.sort(table, order="lake_id"), next_id)


def _lineage(
    ids: np.ndarray, kept: np.ndarray, new: np.ndarray, old: np.ndarray, shared: np.ndarray, pixels: np.ndarray,
    previous: Registry,
) -> np.ndarray:  # fmt: skip
    before = previous.lakes
    lives_on = np.zeros(before.size, bool)
    lives_on[kept[kept >= 0]] = True
    met = np.zeros(ids.size, bool)
    met[new] = True
    left = np.zeros(before.size, bool)
    left[old] = True
    moved = kept[new] != old
    split = moved & (kept[new] < 0)  # a new object and an ended lake would have been granted each other
    merge = moved & ~lives_on[old]
    exchange = moved & ~split & ~merge
    here, there = ids[new], before["lake_id"][old]
    zeros = np.zeros(max(ids.size, before.size), np.int64)
    born, gone = ~met, ~left
    parts = (
        ("birth", ids[born], zeros[: born.sum()], pixels[born]),
        ("death", before["lake_id"][gone], zeros[: gone.sum()], before["pixels"][gone]),
        ("split", here[split], there[split], shared[split]),
        ("merge", there[merge], here[merge], shared[merge]),
        ("exchange", here[exchange], there[exchange], shared[exchange]),
    )
    rows = []
    for event, *columns in parts:
        table = np.empty(len(columns[0]), LINEAGE)
        table["event"] = EVENT[event]
        table["lake_id"], table["other_id"], table["pixels"] = columns
        rows.append(table)
    return np.sort(np.concatenate(rows), order=("event", "lake_id", "other_id"))
