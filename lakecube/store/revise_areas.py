"""Last passes of a revision: `water_restored`, and the area of every lake on every date."""

from __future__ import annotations

import dataclasses

import numpy as np

from lakecube.kernels.heights import BINS, Heights
from lakecube.kernels.lake_areas import areas_of_sums, lake_runs, pack_area, sum_states
from lakecube.kernels.lakes import AREA_QUANTA
from lakecube.kernels.shore import restore_states
from lakecube.series.pixel_area import PixelGrid, area_quanta
from lakecube.store.revise_blocks import Block, BlockPasses, Results
from lakecube.store.revise_shores import Around, Group, Shores, gather, group_lakes, heights_of, scatter

#: Lakes and dates of one chunk of a variable (lake, date).
LAKES_PER_CHUNK, DATES_PER_CHUNK = 1024, 512


@dataclasses.dataclass(frozen=True, slots=True)
class Applying:
    """What a block needs to restore itself and to add up its lakes.

    `scene` (date, BINS) are decisions outside of lakes with a level of their own; None if nothing is restored.
    """

    shores: Shores
    grid: PixelGrid
    scene: np.ndarray | None


@dataclasses.dataclass(frozen=True, slots=True)
class Series:
    """What a chunk of lakes needs to write its series: of all lakes the ids, and pixels and area of the extent."""

    shores: Shores
    ids: np.ndarray
    pixels: np.ndarray
    area: np.ndarray


def write_areas(passes: BlockPasses, applying: Applying, ids: np.ndarray, pixels: np.ndarray, area: np.ndarray) -> None:
    """Restore all blocks, then write the series of all lakes, a chunk of them at a time."""
    homes = [(block, result["ids"]) for block, result in passes.over("areas", apply_block, applying)]
    chunks = group_lakes(ids, homes, LAKES_PER_CHUNK)
    passes.each("series", write_series, Series(applying.shores, ids, pixels, area), chunks)


def apply_block(block: Block, applying: Applying) -> Results:
    """Write `water_restored` of one block, and add up its lakes."""
    shores = applying.shores
    ids, runs = lake_runs(shores.of_pixels(block, "lake_label"))
    area = pack_area(area_quanta(applying.grid, block.rows, block.columns), runs)
    restore = None if applying.scene is None else _Restoring.of(block, shores, applying.scene)
    sums = np.empty((len(ids), len(shores.rows), 4), np.int64)
    for dates, states in shores.parts(block):
        restored = None
        if restore is not None:
            restored = restore.states(states, dates)
            target = shores.arrays.open(f"{shores.group}/water_restored")
            target[(dates, *block.window)] = restored
        sums[:, dates] = sum_states(states, restored, runs, len(ids), area)
    shores.scratch.save("areas", block.place, ids=ids, counts=sums)
    return {"ids": ids}


@dataclasses.dataclass(frozen=True, slots=True)
class _Restoring:
    """All that decides the hidden pixels of one block."""

    around: Around
    heights: Heights
    decisions: np.ndarray

    @classmethod
    def of(cls, block: Block, shores: Shores, scene: np.ndarray) -> _Restoring:
        around = Around.of(block, shores)
        heights, _ = heights_of(block, shores, around)
        decisions = np.empty((len(scene), len(around.ids) + 1, BINS), np.uint8)
        decisions[:, -1] = scene
        if len(around.ids):
            (found,) = scatter(shores, "decide", around.ids, "decisions")
            decisions[:, :-1] = np.moveaxis(found, 1, 0)
        return cls(around, heights, decisions)

    def states(self, states: np.ndarray, dates: slice) -> np.ndarray:
        """What is hidden on some dates, restored."""
        around = self.around
        return restore_states(states, around.wet, around.clear, around.lakes, self.decisions[dates], self.heights)


def write_series(lakes: Group, series: Series) -> Results:
    """Write the variables (lake, date) of one chunk of lakes."""
    shores = series.shores
    sums = gather(shores.scratch, "areas", lakes, (len(shores.rows), 4), np.int64)
    first = int(np.searchsorted(series.ids, lakes.ids[0]))
    place = slice(first, first + len(lakes.ids))
    area = series.area[place]
    found = areas_of_sums(sums, area)
    pixel = area / AREA_QUANTA / series.pixels[place]
    low, high = _interval(lakes, shores, pixel, found["lake_area_lower"], found["lake_area_upper"])
    found |= {"lake_area_q05": low, "lake_area_q95": high}
    for name, values in found.items():
        shores.arrays.open(f"{shores.group}/{name}")[place] = values
    return {}


def _interval(
    lakes: Group, shores: Shores, pixel: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated quantiles of the area within its limits; the limits themselves of lakes without a level."""
    low, high = lower.copy(), upper.copy()
    mine = np.flatnonzero(np.isin(lakes.ids, shores.ids))
    if mine.size:
        least, most = (found * pixel[mine, None] for found in scatter(shores, "decide", lakes.ids[mine], "low", "high"))
        low[mine] = np.minimum(lower[mine] + least, upper[mine])
        high[mine] = np.clip(lower[mine] + most, low[mine], upper[mine])
    return low, high
