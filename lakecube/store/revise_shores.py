"""Passes of a revision that read the shores of its lakes, and the groups of lakes that meet over blocks.

What travels from pass to pass lies beside the ledger until the commit: by block (shores, heights) and by group of
lakes (levels, decisions).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from lakecube.kernels.heights import BINS, LEVELS, Heights, count_levels, index_shore
from lakecube.kernels.label import relabel
from lakecube.kernels.lake_areas import add_sums, lake_runs
from lakecube.kernels.shore import count_shore, count_shore_under, grow_lakes
from lakecube.names import UNKNOWN
from lakecube.series.restore import SHORE
from lakecube.store.revise_blocks import DATES_AT_ONCE, Block, Results, Scratch, read_rows
from lakecube.store.write_tasks import Writer

#: Bytes of a group of lakes while it is decided, and of one lake on one date.
_GROUP_BYTES, _LAKE_DATE_BYTES = 64_000_000, 40 * BINS


@dataclasses.dataclass(frozen=True, slots=True)
class Group:
    """Lakes that are worked on together: their ids (ascending), and the blocks they lie in."""

    place: tuple[int, ...]
    ids: np.ndarray
    blocks: tuple[tuple[int, ...], ...]


def group_lakes(ids: np.ndarray, homes: Sequence[tuple[Block, np.ndarray]], size: int) -> tuple[Group, ...]:
    """Cut lakes (ids ascending) into groups of at most `size`; `homes` says which ids each block holds."""
    found: dict[int, list[tuple[int, ...]]] = {}
    for block, there in homes:
        for number in np.unique(np.searchsorted(ids, there) // size).tolist():
            found.setdefault(number, []).append(block.place)
    starts = range(0, len(ids), size)
    return tuple(Group((n,), ids[k : k + size], tuple(found.get(n, ()))) for n, k in enumerate(starts))


def gather(scratch: Scratch, stage: str, group: Group, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """What the blocks of a group counted of its lakes, added: (lake, *shape)."""
    total: np.ndarray = np.zeros((len(group.ids), *shape), dtype)
    for place in group.blocks:
        part = scratch.load(stage, place)
        add_sums(total, group.ids, part["counts"].astype(dtype, copy=False), part["ids"])
    return total


@dataclasses.dataclass(frozen=True, slots=True)
class Shores:
    """What a block needs to read its shores.

    `arrays` holds `water_mask`, and under `group` the counts and `lake_label`; `rows` are in order of date; `ids` are
    the lakes with a level of their own, ascending: none where nothing is restored.
    """

    arrays: Writer
    group: str
    rows: tuple[int, ...]
    size: tuple[int, int]
    ids: np.ndarray
    scratch: Scratch

    @property
    def lakes_at_once(self) -> int:
        """Lakes of one group: the n-th holds `ids` from n times as many on."""
        return max(1, _GROUP_BYTES // (_LAKE_DATE_BYTES * max(len(self.rows), 1)))

    def parts(self, block: Block, rows: Sequence[int] | None = None) -> Iterator[tuple[slice, np.ndarray]]:
        """`water_mask` of all dates of a block (or of some rows), a few at a time, and which of them these are."""
        rows = self.rows if rows is None else rows
        for start in range(0, len(rows), DATES_AT_ONCE):
            some = slice(start, start + DATES_AT_ONCE)
            yield some, read_rows(self.arrays, rows[some], block)

    def of_pixels(self, block: Block, name: str, halo: int = 0) -> np.ndarray:
        """A variable (y, x) of this revision, with up to `halo` pixels around where there are any."""
        return np.asarray(self.arrays.open(f"{self.group}/{name}")[block.widened(halo, self.size)])


def scatter(shores: Shores, stage: str, ids: np.ndarray, *names: str) -> list[np.ndarray]:
    """What groups found of some lakes (ascending, at least one), in the order of `ids`: the inverse of `gather`."""
    at = np.searchsorted(shores.ids, ids)
    number, found = at // shores.lakes_at_once, []
    for k in np.unique(number).tolist():
        part = shores.scratch.load(stage, (k,))
        found.append([part[name][at[number == k] - k * shores.lakes_at_once] for name in names])
    return [np.concatenate(parts) for parts in zip(*found, strict=True)]


@dataclasses.dataclass(frozen=True, slots=True)
class Around:
    """The lakes in and around one block: ids (n,), number of each pixel's among them or -1, counts of each pixel."""

    ids: np.ndarray
    lakes: np.ndarray
    wet: np.ndarray
    clear: np.ndarray

    @classmethod
    def of(cls, block: Block, shores: Shores) -> Around:
        """Lakes with a level of their own, grown by their shore."""
        labels = shores.of_pixels(block, "lake_label", SHORE)
        there, _ = lake_runs(labels)
        own = np.where(np.isin(there, shores.ids, assume_unique=True), there, 0)
        top, left = (min(start, SHORE) for start in (block.rows[0], block.columns[0]))
        inside = (slice(top, top + block.shape[0]), slice(left, left + block.shape[1]))
        grown = np.ascontiguousarray(grow_lakes(relabel(labels, there, own), SHORE)[inside])
        ids, _ = lake_runs(grown)
        number = relabel(grown, ids, np.arange(1, len(ids) + 1)) - 1
        wet, clear = (shores.of_pixels(block, name) for name in ("count_wet", "count_clear"))
        return cls(ids, number.astype(np.int32), wet, clear)


def read_shore(block: Block, shores: Shores) -> Results:
    """Count the shores of one block by frequency; the scene's go to the client, the lakes' to their groups."""
    around = Around.of(block, shores)
    return _keep(shores, "shore", block, around, _count(block, shores, around, None))


def read_heights(block: Block, shores: Shores) -> Results:
    """Sort the shore of one block by height, now that levels are known, and count it again."""
    around = Around.of(block, shores)
    row, levels = _levels_of(block, shores, around)
    clear = np.zeros((int(row.max(initial=-1)) + 1, LEVELS), np.uint16)
    for dates, states in shores.parts(block):
        clear += count_levels(states, levels[dates], around.lakes, row)
    shores.scratch.save("heights", block.place, clear=clear)
    counts = _count(block, shores, around, Heights(row, clear, levels))
    return _keep(shores, "shore-by-height", block, around, counts)


def _count(block: Block, shores: Shores, around: Around, heights: Heights | None) -> np.ndarray:
    """Counts (date, lakes + 1, BINS, 3) of one block: 384 bytes for each of its lakes and dates."""
    counts = np.empty((len(shores.rows), len(around.ids) + 1, BINS, 3), np.uint32)
    for dates, states in shores.parts(block):
        known = None if heights is None else heights._replace(levels=heights.levels[dates])
        counts[dates] = count_shore(states, around.wet, around.clear, around.lakes, len(around.ids), known)
    return counts


@dataclasses.dataclass(frozen=True, slots=True)
class Pairs:
    """`Shores`, some of their lakes, and the dates (first column) over which clouds of others (second) are laid."""

    shores: Shores
    ids: np.ndarray
    pairs: np.ndarray


def read_pairs(block: Block, pairs: Pairs) -> Results:
    """Count the shores of one block by height, under the clouds of other dates."""
    shores = pairs.shores
    around = Around.of(block, shores)
    heights, levels = heights_of(block, shores, around)
    around, heights, levels = _of_some(pairs.ids, around, heights, levels)
    dates = np.unique(pairs.pairs)
    rows = [shores.rows[date] for date in dates.tolist()]
    packed = np.concatenate([_pack(states) for _, states in shores.parts(block, rows)])
    counts = np.empty((len(pairs.pairs), len(around.ids) + 1, BINS, 4), np.uint32)
    for start in range(0, len(counts), DATES_AT_ONCE):
        some = slice(start, start + DATES_AT_ONCE)
        states, donors = (_unpack(packed[at], block.shape[1]) for at in np.searchsorted(dates, pairs.pairs[some]).T)
        known = heights._replace(levels=levels[pairs.pairs[some, 0]])
        counts[some] = count_shore_under(
            states, donors, around.wet, around.clear, around.lakes, len(around.ids), known
        )  # fmt: skip
    return _keep(shores, "pairs", block, around, counts)


def _pack(states: np.ndarray) -> np.ndarray:
    """States (time, y, x) as bits (time, 2, y, ⌈x / 8⌉): many dates of a block must be at hand at once."""
    return np.packbits(np.stack((states == 1, states <= 1), axis=1), axis=-1)


def _unpack(packed: np.ndarray, columns: int) -> np.ndarray:
    """The inverse of `_pack`; what was hidden is 255."""
    wet, seen = np.moveaxis(np.unpackbits(packed, axis=-1, count=columns), 1, 0)
    return np.where(seen == 1, wet, np.uint8(UNKNOWN))


def heights_of(block: Block, shores: Shores, around: Around) -> tuple[Heights, np.ndarray]:
    """Heights of one block as `read_heights` left them, without levels, and the levels (date, lake)."""
    row, levels = _levels_of(block, shores, around)
    return Heights(row, shores.scratch.load("heights", block.place)["clear"], levels), levels


def _levels_of(block: Block, shores: Shores, around: Around) -> tuple[np.ndarray, np.ndarray]:
    """Row of each pixel of the shore, and levels (date, lake) of the lakes around."""
    if not len(around.ids):
        return np.full(block.shape, -1, np.int32), np.zeros((len(shores.rows), 1), np.uint8)
    levels, known = scatter(shores, "levels", around.ids, "levels", "known")
    row = index_shore(around.wet, around.clear, around.lakes, known)
    return row, np.ascontiguousarray(levels.T)


def _of_some(
    ids: np.ndarray, around: Around, heights: Heights, levels: np.ndarray
) -> tuple[Around, Heights, np.ndarray]:
    """The same of some lakes alone; the others count as the scene."""
    some = np.isin(around.ids, ids)
    number = np.append(np.where(some, np.cumsum(some) - 1, -1), -1).astype(np.int32)
    lakes = number[around.lakes]
    row = np.where(lakes >= 0, heights.row, np.int32(-1))
    return dataclasses.replace(around, ids=around.ids[some], lakes=lakes), heights._replace(row=row), levels[:, some]


def _keep(shores: Shores, stage: str, block: Block, around: Around, counts: np.ndarray) -> Results:
    """Keep counts (date, lakes + 1, …) of one block for the groups of its lakes; the sum over all is the scene's."""
    shores.scratch.save(stage, block.place, ids=around.ids, counts=np.moveaxis(counts[:, :-1], 1, 0))
    return {"ids": around.ids, "scene": counts.sum(axis=1, dtype=np.int64)}
