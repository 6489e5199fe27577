"""Passes of a revision that decide, for groups of lakes on all dates, what was hidden, and how sure that is.

First by water frequency, which gives the levels of every lake; then by the heights that follow from these. Real
clouds laid over clear dates (pairs) tell how wrong the restored area is: the ground of the intervals.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from lakecube.kernels.heights import BINS
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
from lakecube.kernels.levels import SCENE, level_numbers
from lakecube.kernels.relation import relation_by_date
from lakecube.kernels.restore import Restoration, decide_lakes, decide_scene, decide_under
from lakecube.kernels.shore import HIDDEN, HIDDEN_WET
from lakecube.series.lake_levels import MIN_VISIBLE
from lakecube.store.revise_blocks import Block, BlockPasses, Results
from lakecube.store.revise_shores import (
    Group,
    Pairs,
    Shores,
    gather,
    group_lakes,
    read_heights,
    read_pairs,
    read_shore,
)

#: Real clouds are laid over at most so many dates, in so many pairs, of so many lakes in so many blocks.
CALIBRATION_DATES, CALIBRATION_PAIRS, CALIBRATION_LAKES, CALIBRATION_BLOCKS = 96, 240, 400, 24
#: Share of a lake that a date must have seen to tell the truth of a pair.
LEAST_SEEN = 0.95

Homes = list[tuple[Block, np.ndarray]]


@dataclasses.dataclass(frozen=True, slots=True)
class Deciding:
    """What a group of lakes needs: where its counts are, relation (date, BINS) and days (date,).

    `by_level`: whether lakes have a level of their own, or all take the relation of the scene. `quantiles` (classes, 2)
    of the error, once they are known.
    """

    shores: Shores
    stage: str
    relation: np.ndarray
    days: np.ndarray
    by_level: bool
    quantiles: np.ndarray | None = None

    def decide(self, group: Group) -> tuple[np.ndarray, Restoration]:
        """Counts (date, lake, BINS, 3) of a group, and what follows from them on all dates."""
        shore = _by_date(gather(self.shores.scratch, self.stage, group, (len(self.days), BINS, 3), np.uint32))
        made = decide_lakes(shore, self.relation, self.days)
        if not self.by_level:
            made = decide_under(shore, made.linked, np.full_like(made.source, SCENE), self.relation)
        return shore, made


@dataclasses.dataclass(frozen=True, slots=True)
class Calibrating:
    """`Deciding`, the pairs, and their relation (pair, BINS)."""

    deciding: Deciding
    pairs: np.ndarray
    relation: np.ndarray


@dataclasses.dataclass(frozen=True, slots=True)
class Restored:
    """What `restore_lakes` leaves for the last passes, besides the decisions of every group, in the scratch.

    `scene` (date, BINS) uint8 are the decisions outside of all groups; `quantiles` (classes, 2) of the error, NaN where
    there was nothing to learn them from.
    """

    scene: np.ndarray
    quantiles: np.ndarray


def restore_lakes(passes: BlockPasses, shores: Shores, days: np.ndarray, by_level: bool) -> Restored:
    """Read, calibrate and decide for all lakes of `shores`."""
    homes, scene = _read(passes, "shore", read_shore, shores, len(days))
    groups = group_lakes(shores.ids, homes, shores.lakes_at_once)
    first = Deciding(shores, "shore", relation_by_date(scene, MIN_VISIBLE), days, by_level)
    passes.each("levels", infer_levels, first, groups)
    homes, scene = _read(passes, "shore-by-height", read_heights, shores, len(days))
    deciding = Deciding(shores, "shore-by-height", relation_by_date(scene, MIN_VISIBLE), days, by_level)
    quantiles = _calibrate(passes, deciding, homes)
    passes.each("decide", decide_group, dataclasses.replace(deciding, quantiles=quantiles), groups)
    return Restored(decide_scene(deciding.relation), quantiles)


def _read(passes: BlockPasses, stage: str, function: object, common: object, length: int) -> tuple[Homes, np.ndarray]:
    """Where the lakes lie, and the counts of the whole scene."""
    homes, scene = [], np.zeros((length, BINS, 3), np.int64)
    size = length * BINS * 3 * np.dtype(np.int64).itemsize
    for block, result in passes.over(stage, function, common, size=size):  # type: ignore[arg-type]
        homes.append((block, result["ids"]))
        scene += result["scene"]
    return homes, scene


def infer_levels(group: Group, deciding: Deciding) -> Results:
    """Levels (lake, date) of a group, and of which lakes they are known."""
    _, made = deciding.decide(group)
    deciding.shores.scratch.save("levels", group.place, levels=level_numbers(made.levels).T, known=made.has_level)
    return {}


def decide_group(group: Group, deciding: Deciding) -> Results:
    """What to restore of a group of lakes, and the interval of its hidden water, in pixels."""
    shore, made = deciding.decide(group)
    hidden = shore[..., HIDDEN].astype(np.int64)
    restored, every = (hidden * made.decisions).sum(axis=2), hidden.sum(axis=2)
    assert deciding.quantiles is not None
    classes = error_class(every, _extent(shore))
    low, high = hidden_interval(restored, every, spread_of_hidden(made.levels, hidden), classes, deciding.quantiles)
    decisions = np.moveaxis(made.decisions, 1, 0)
    deciding.shores.scratch.save("decide", group.place, decisions=decisions, low=low.T, high=high.T)
    return {}


def calibrate_group(group: Group, calibrating: Calibrating) -> Results:
    """Count how wrong the restored area of some lakes is under the clouds of other dates."""
    deciding, pairs = calibrating.deciding, calibrating.pairs
    shore, made = deciding.decide(group)
    under = _by_date(gather(deciding.shores.scratch, "pairs", group, (len(pairs), BINS, 4), np.uint32))
    date = pairs[:, 0]
    of_pairs = decide_under(under, made.linked[date], made.source[date], calibrating.relation)
    by_bin, extent = under[..., 2:].sum(axis=3, dtype=np.int64), _extent(shore)
    hidden, seen = by_bin.sum(axis=2), under.sum(axis=(2, 3), dtype=np.int64)
    errors = count_errors(
        under[..., HIDDEN_WET].sum(axis=2, dtype=np.int64),
        (by_bin * of_pairs.decisions).sum(axis=2),
        spread_of_hidden(of_pairs.levels, by_bin),
        error_class(hidden, extent),
        (hidden > 0) & (seen >= LEAST_SEEN * extent),
    )
    return {"errors": errors}


def _calibrate(passes: BlockPasses, deciding: Deciding, homes: Homes) -> np.ndarray:
    """Quantiles of the error, learned on some lakes of all sizes; the same for the same lakes and dates."""
    dates = np.unique(np.linspace(0, len(deciding.days) - 1, CALIBRATION_DATES).round().astype(np.int64))
    pairs = dates[pseudo_dates(len(dates), CALIBRATION_PAIRS)]
    errors = np.zeros((N_CLASSES, STEPS), np.int64)
    some = _some_homes(homes)
    if not len(pairs) or not some:
        return error_quantiles(errors)
    scene = np.zeros((len(pairs), BINS, 4), np.int64)
    ids = np.unique(np.concatenate([there for _, there in some]))
    reading = Pairs(deciding.shores, ids, pairs)
    for _, result in passes.over("pairs", read_pairs, reading, [block for block, _ in some]):
        scene += result["scene"]
    calibrating = Calibrating(deciding, pairs, relation_by_date(scene, MIN_VISIBLE))
    size = max(1, deciding.shores.lakes_at_once // (1 + len(pairs) // max(len(deciding.days), 1)))
    for _, result in passes.over("calibrate", calibrate_group, calibrating, group_lakes(ids, some, size)):
        errors += result["errors"]
    return error_quantiles(errors)


def _some_homes(homes: Homes) -> Homes:
    """Lakes in even steps, as many as lie in a bounded number of blocks; and where they lie."""
    ids = np.unique(np.concatenate([np.zeros(0, np.int64), *(there for _, there in homes)]))
    some = ids[:: max(1, -(-len(ids) // CALIBRATION_LAKES))]
    places: dict[int, set[int]] = {lake: set() for lake in some.tolist()}
    for number, (_, there) in enumerate(homes):
        for lake in np.intersect1d(there, some).tolist():
            places[lake].add(number)
    taken, blocks = [], set[int]()
    for lake, mine in places.items():
        if len(blocks | mine) <= CALIBRATION_BLOCKS:
            blocks |= mine
            taken.append(lake)
    return [(homes[k][0], homes[k][1][np.isin(homes[k][1], taken)]) for k in sorted(blocks)]


def _extent(shore: np.ndarray) -> np.ndarray:
    """Pixels of each lake and of the shore counted with it."""
    return shore.sum(axis=(2, 3), dtype=np.int64).max(axis=0, initial=0)


def _by_date(sums: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(sums, 0, 1))
