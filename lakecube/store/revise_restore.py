"""Third part of a revision: what the visible shore of every lake says of its hidden water, date by date.

Blocks count their shores; a group of lakes adds the counts of its blocks and decides for all dates at once, since a
level is linked to those before and after. Real clouds laid over clear dates (pairs) tell how wrong that is. What
travels between the passes lies beside the ledger, by block and by group of lakes, until the commit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from lakecube.kernels.intervals import (
    N_CLASSES,
    STEPS,
    count_errors,
    error_class,
    error_quantiles,
    hidden_interval,
    pseudo_dates,
    spread_of_hidden,
)
from lakecube.kernels.label import relabel
from lakecube.kernels.lakes import add_sums, lake_runs
from lakecube.kernels.levels import SCENE
from lakecube.kernels.relation import relation_by_date
from lakecube.kernels.restore import Restoration, decide_lakes, decide_scene, decide_under
from lakecube.kernels.shore import BINS, HIDDEN, HIDDEN_WET, count_shore, count_shore_under
from lakecube.store.passes import Writer
from lakecube.store.revise_blocks import Block, BlockPasses, Results, Scratch

#: Dates of a block that are in memory at once.
DATES_AT_ONCE = 8
#: Lakes with fewer pixels take the relation of the whole scene.
MIN_LAKE_PIXELS = 30
#: Visible pixels that a date needs for a relation of its own.
MIN_VISIBLE = 1000
#: Real clouds are laid over at most so many dates, in so many pairs, of so many lakes in so many blocks.
CALIBRATION_DATES, CALIBRATION_PAIRS, CALIBRATION_LAKES, CALIBRATION_BLOCKS = 96, 480, 400, 64
#: Bytes of a group of lakes while it is decided.
_GROUP_BYTES = 64_000_000
_BYTES_PER_LAKE_DATE = 40 * BINS


@dataclasses.dataclass(frozen=True, slots=True)
class Shores:
    """What a block needs to count its shores and to restore itself.

    `arrays` holds `water_mask`, and under `group` the counts and `lake_label`; `rows` are in order of date; `ids` are
    the lakes with a level of their own, ascending.
    """

    arrays: Writer
    group: str
    rows: tuple[int, ...]
    ids: np.ndarray
    scratch: Scratch

    def states(self, block: Block, dates: Sequence[int]) -> np.ndarray:
        """`water_mask` of a block on some dates."""
        mask = self.arrays.open("water_mask")
        return np.stack([np.asarray(mask[(self.rows[date], *block.window)]) for date in dates])

    def of_pixels(self, block: Block, name: str) -> np.ndarray:
        """A variable (y, x) of this revision."""
        return np.asarray(self.arrays.open(f"{self.group}/{name}")[block.window])

    def numbered(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """The lakes of a block that have a level of their own, and the number of each pixel's among them, or -1."""
        labels = self.of_pixels(block, "lake_label")
        there, _ = lake_runs(labels)
        own = np.isin(there, self.ids, assume_unique=True)
        number = np.where(own, np.cumsum(own), 0)
        return there[own], (relabel(labels, there, number) - 1).astype(np.int32)


def count_block(block: Block, shores: Shores) -> Results:
    """Count the shores of one block; the scene's go to the client, the lakes' to those who decide."""
    ids, lakes = shores.numbered(block)
    wet, clear = (shores.of_pixels(block, name) for name in ("count_wet", "count_clear"))
    parts = []
    for start in range(0, len(shores.rows), DATES_AT_ONCE):
        dates = range(start, min(start + DATES_AT_ONCE, len(shores.rows)))
        parts.append(count_shore(shores.states(block, dates), wet, clear, lakes, len(ids)))
    shore = np.concatenate(parts)
    shores.scratch.save("shore", block.place, ids=ids, shore=np.moveaxis(shore[:, :-1], 1, 0))
    return {"ids": ids, "scene": shore.sum(axis=1, dtype=np.int64)}


@dataclasses.dataclass(frozen=True, slots=True)
class Pairs:
    """`Shores`, and the dates (first column) over which clouds of others (second) are laid."""

    shores: Shores
    pairs: np.ndarray


def count_pairs(block: Block, pairs: Pairs) -> Results:
    """Count the shores of one block under the clouds of other dates."""
    shores = pairs.shores
    ids, lakes = shores.numbered(block)
    wet, clear = (shores.of_pixels(block, name) for name in ("count_wet", "count_clear"))
    dates = np.unique(pairs.pairs)
    states = shores.states(block, dates.tolist())
    parts = []
    for start in range(0, len(pairs.pairs), DATES_AT_ONCE):
        date, donor = np.searchsorted(dates, pairs.pairs[start : start + DATES_AT_ONCE]).T
        parts.append(count_shore_under(states[date], states[donor], wet, clear, lakes, len(ids)))
    shore = np.concatenate(parts)
    shores.scratch.save("pairs", block.place, ids=ids, shore=np.moveaxis(shore[:, :-1], 1, 0))
    return {"scene": shore.sum(axis=1, dtype=np.int64)}


@dataclasses.dataclass(frozen=True, slots=True)
class Group:
    """Lakes that are decided together: their ids, their pixels, and the blocks they lie in."""

    place: tuple[int, ...]
    ids: np.ndarray
    pixels: np.ndarray
    blocks: tuple[tuple[int, int], ...]


def group_lakes(
    ids: np.ndarray, pixels: np.ndarray, homes: Sequence[tuple[Block, np.ndarray]], size: int
) -> list[Group]:
    """Cut lakes (ids ascending) into groups of at most `size`; `homes` says which ids each block holds."""
    owner = np.concatenate([np.full(len(there), k) for k, (_, there) in enumerate(homes)] or [np.zeros(0, int)])
    lake = np.concatenate([there for _, there in homes] or [np.zeros(0, np.int64)])
    group = np.searchsorted(ids, lake) // size
    found: dict[int, list[tuple[int, int]]] = {}
    for number, k in np.unique(np.stack([group, owner], axis=1), axis=0).tolist():
        found.setdefault(number, []).append(homes[k][0].place)  # type: ignore[arg-type]
    return [
        Group((n,), ids[start : start + size], pixels[start : start + size], tuple(found.get(n, ())))
        for n, start in enumerate(range(0, len(ids), size))
    ]


def gather(scratch: Scratch, stage: str, what: str, group: Group, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Sums (lake, …) of a group over its blocks."""
    total = np.zeros((len(group.ids), *shape), dtype)
    for place in group.blocks:
        part = scratch.load(stage, place)
        add_sums(total, group.ids, part[what].astype(dtype), part["ids"])
    return total


@dataclasses.dataclass(frozen=True, slots=True)
class Deciding:
    """What a group of lakes needs: relation (date, BINS), days (date,), and quantiles of the error by class.

    `by_level`: whether lakes have a level of their own, or all take the relation of the scene.
    """

    scratch: Scratch
    relation: np.ndarray
    days: np.ndarray
    by_level: bool
    quantiles: np.ndarray | None = None

    def decide(self, shore: np.ndarray) -> Restoration:
        """All dates of some lakes, from their counts (date, lake, BINS, 3)."""
        made = decide_lakes(shore, self.relation, self.days)
        if self.by_level:
            return made
        return decide_under(shore, made.linked, np.full_like(made.source, SCENE), self.relation)


def decide_group(group: Group, deciding: Deciding) -> Results:
    """Decide for a group of lakes: what to restore, and the interval of its hidden water, in pixels."""
    dates = len(deciding.days)
    shore = _by_date(gather(deciding.scratch, "shore", "shore", group, (dates, BINS, 3), np.uint32))
    made = deciding.decide(shore)
    hidden = shore[..., HIDDEN].astype(np.int64)
    restored = (hidden * made.decisions).sum(axis=2)
    spread, hidden_all = spread_of_hidden(made.levels, hidden), hidden.sum(axis=2)
    assert deciding.quantiles is not None
    low, high = hidden_interval(restored, hidden_all, spread, error_class(hidden_all, group.pixels), deciding.quantiles)
    deciding.scratch.save(
        "decide", group.place, ids=group.ids, decisions=np.moveaxis(made.decisions, 1, 0), low=low.T, high=high.T
    )
    return {}


def calibrate_group(group: Group, calibrating: Calibrating) -> Results:
    """Count how wrong the restored area of some lakes is under the clouds of other dates."""
    deciding, pairs = calibrating.deciding, calibrating.pairs
    shape = (len(deciding.days), BINS, 3)
    shore = _by_date(gather(deciding.scratch, "shore", "shore", group, shape, np.uint32))
    under = _by_date(gather(deciding.scratch, "pairs", "shore", group, (len(pairs), BINS, 4), np.uint32))
    made = deciding.decide(shore)
    date = pairs[:, 0]
    of_pairs = decide_under(under, made.linked[date], made.source[date], calibrating.relation)
    hidden_by_bin = under[..., 2:].sum(axis=3, dtype=np.int64)
    hidden, seen = hidden_by_bin.sum(axis=2), under.sum(axis=(2, 3), dtype=np.int64)
    valid = (hidden > 0) & (seen >= calibrating.least_seen * group.pixels)
    errors = count_errors(
        under[..., HIDDEN_WET].sum(axis=2, dtype=np.int64),
        (hidden_by_bin * of_pairs.decisions).sum(axis=2),
        spread_of_hidden(of_pairs.levels, hidden_by_bin),
        error_class(hidden, group.pixels),
        valid,
    )
    return {"errors": errors}


@dataclasses.dataclass(frozen=True, slots=True)
class Calibrating:
    """`Deciding`, the pairs, their relation (pair, BINS), and the share of a lake that a date must have seen."""

    deciding: Deciding
    pairs: np.ndarray
    relation: np.ndarray
    least_seen: float = 0.95


def restore_lakes(
    passes: BlockPasses, shores: Shores, pixels: np.ndarray, days: np.ndarray, by_level: bool
) -> tuple[list[Group], np.ndarray, np.ndarray]:
    """Count, calibrate and decide for all lakes of `shores`.

    Returns
    -------
    groups : list of Group
        Their decisions and intervals are in the scratch, by the place of the group.
    scene : (date, BINS) uint8
        Decisions outside of them.
    quantiles : (classes, 2) float64
        Of the error; NaN where there was nothing to learn it from.
    """
    homes, scene = [], np.zeros((len(days), BINS, 3), np.int64)
    for block, result in passes.over("shore", count_block, shores):
        homes.append((block, result["ids"]))
        scene += result["scene"]
    deciding = Deciding(shores.scratch, relation_by_date(scene, MIN_VISIBLE), days, by_level)
    size = max(1, _GROUP_BYTES // (_BYTES_PER_LAKE_DATE * max(len(days), 1)))
    quantiles = _calibrate(passes, shores, pixels, homes, deciding, size)
    deciding = dataclasses.replace(deciding, quantiles=quantiles)
    groups = group_lakes(shores.ids, pixels, homes, size)
    passes.each("decide", decide_group, deciding, groups)
    return groups, decide_scene(deciding.relation), quantiles


def _calibrate(
    passes: BlockPasses, shores: Shores, pixels: np.ndarray, homes: list[tuple[Block, np.ndarray]],
    deciding: Deciding, size: int,
) -> np.ndarray:  # fmt: skip
    """Quantiles of the error, learned on some lakes of all sizes, the same for the same lakes and dates."""
    dates = np.unique(np.linspace(0, len(deciding.days) - 1, CALIBRATION_DATES).round().astype(np.int64))
    pairs = dates[pseudo_dates(len(dates), CALIBRATION_PAIRS)]
    ids, chosen = _calibration_lakes(shores.ids, pixels, homes)
    errors = np.zeros((N_CLASSES, STEPS), np.int64)
    if not len(pairs):
        return error_quantiles(errors)
    some = dataclasses.replace(shores, ids=ids)
    scene = np.zeros((len(pairs), BINS, 4), np.int64)
    for _, result in passes.over("pairs", count_pairs, Pairs(some, pairs), chosen):
        scene += result["scene"]
    calibrating = Calibrating(deciding, pairs, relation_by_date(scene, MIN_VISIBLE))
    here = [(block, there[np.isin(there, ids)]) for block, there in homes if block in chosen]
    groups = group_lakes(ids, pixels[np.searchsorted(shores.ids, ids)], here, max(1, size // 8))
    for _, result in passes.over("calibrate", calibrate_group, calibrating, groups):
        errors += result["errors"]
    return error_quantiles(errors)


def _calibration_lakes(
    ids: np.ndarray, pixels: np.ndarray, homes: list[tuple[Block, np.ndarray]]
) -> tuple[np.ndarray, list[Block]]:
    """Lakes from large to small in even steps, as many as lie in a bounded number of blocks; and these blocks."""
    order = np.lexsort((ids, -pixels))
    step = max(1, -(-len(order) // CALIBRATION_LAKES))
    wanted = ids[order[::step]].tolist()
    around: dict[int, set[tuple[int, ...]]] = {lake: set() for lake in wanted}
    for block, there in homes:
        for lake in there[np.isin(there, wanted)].tolist():
            around[lake].add(block.place)
    blocks: set[tuple[int, ...]] = set()
    taken = []
    for lake in wanted:
        if len(blocks | around[lake]) <= CALIBRATION_BLOCKS:
            blocks |= around[lake]
            taken.append(lake)
    return np.sort(np.array(taken, np.int64)), [block for block, _ in homes if block.place in blocks]


def _by_date(sums: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(sums, 0, 1))
