"""Last passes of a revision: `water_restored`, and the area of every lake on every date."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from lakecube.kernels.lakes import AREA_QUANTA, areas_of_sums, lake_runs, sum_states
from lakecube.kernels.shore import BINS, restore_states
from lakecube.series.pixel_area import PixelGrid, area_quanta
from lakecube.store.passes import Writer
from lakecube.store.revise_blocks import Block, BlockPasses, Results, Scratch
from lakecube.store.revise_restore import DATES_AT_ONCE, Group, Shores, gather, group_lakes

#: Lakes and dates of one chunk of a variable (lake, date).
LAKES_PER_CHUNK, DATES_PER_CHUNK = 1024, 512


@dataclasses.dataclass(frozen=True, slots=True)
class Applying:
    """What a block needs to restore itself and to add up its lakes.

    `scene` (date, BINS) are decisions outside of lakes with a level of their own, None if nothing is restored;
    `groups` are these lakes.
    """

    shores: Shores
    grid: PixelGrid
    scene: np.ndarray | None
    groups: tuple[Group, ...]

    def decisions(self, block: Block, ids: np.ndarray) -> np.ndarray:
        """Decisions (date, lakes + 1, BINS) uint8 of the lakes of a block, the scene's last."""
        assert self.scene is not None
        out = np.empty((len(self.scene), len(ids) + 1, BINS), np.uint8)
        out[:, -1] = self.scene
        for group in self.groups:
            wanted = np.flatnonzero(np.isin(ids, group.ids))
            if block.place in group.blocks and wanted.size:
                made = self.shores.scratch.load("decide", group.place)
                out[:, wanted] = np.moveaxis(made["decisions"][np.searchsorted(made["ids"], ids[wanted])], 0, 1)
        return out


def apply_block(block: Block, applying: Applying) -> Results:
    """Write `water_restored` of one block, and add up its lakes."""
    shores = applying.shores
    ids, runs = lake_runs(shores.of_pixels(block, "lake_label"))
    area = area_quanta(applying.grid, block.rows, block.columns)
    wet, clear = (shores.of_pixels(block, name) for name in ("count_wet", "count_clear"))
    own, lakes = shores.numbered(block)
    decisions = None if applying.scene is None else applying.decisions(block, own)
    sums = []
    for start in range(0, len(shores.rows), DATES_AT_ONCE):
        dates = range(start, min(start + DATES_AT_ONCE, len(shores.rows)))
        states, restored = shores.states(block, dates), None
        if decisions is not None:
            restored = restore_states(states, wet, clear, lakes, np.ascontiguousarray(decisions[start : dates.stop]))
            target = shores.arrays.open(f"{shores.group}/water_restored")
            target[(slice(start, dates.stop), *block.window)] = restored
        sums.append(sum_states(states, restored, runs, len(ids), area))
    shores.scratch.save("areas", block.place, ids=ids, sums=np.concatenate(sums, axis=1))
    return {"ids": ids}


@dataclasses.dataclass(frozen=True, slots=True)
class Series:
    """What a chunk of lakes needs to write its series: dates, areas of the largest extents, and the decided groups."""

    target: Writer
    group: str
    scratch: Scratch
    dates: int
    area: np.ndarray
    ids: np.ndarray
    decided: tuple[Group, ...]


def write_series(lakes: Group, series: Series) -> Results:
    """Write the variables (lake, date) of one chunk of lakes."""
    sums = gather(series.scratch, "areas", "sums", lakes, (series.dates, 4), np.int64)
    at = np.searchsorted(series.ids, lakes.ids)
    area = series.area[at]
    found = areas_of_sums(sums, area)
    low, high = found["lake_area_lower"].copy(), found["lake_area_upper"].copy()
    for group in series.decided:
        mine = np.flatnonzero(np.isin(lakes.ids, group.ids))
        if mine.size:
            made = series.scratch.load("decide", group.place)
            rows = np.searchsorted(made["ids"], lakes.ids[mine])
            pixel = (area[mine] / lakes.pixels[mine] / AREA_QUANTA)[:, None]
            low[mine] += made["low"][rows] * pixel
            high[mine] = found["lake_area_lower"][mine] + made["high"][rows] * pixel
    found["lake_area_q05"] = np.minimum(low, found["lake_area_upper"])
    found["lake_area_q95"] = np.clip(high, found["lake_area_q05"], found["lake_area_upper"])
    place = slice(int(at[0]), int(at[-1]) + 1)
    for name, values in found.items():
        series.target.open(f"{series.group}/{name}")[place] = values
    return {}


def write_areas(
    passes: BlockPasses, applying: Applying, target: Writer, table_area: np.ndarray, ids: np.ndarray,
    pixels: np.ndarray,
) -> None:  # fmt: skip
    """Restore all blocks, then write the series of all lakes, a chunk of them at a time."""
    homes: list[tuple[Block, np.ndarray]] = [
        (block, result["ids"]) for block, result in passes.over("areas", apply_block, applying)
    ]
    shores = applying.shores
    chunks: Sequence[Group] = group_lakes(ids, pixels, homes, LAKES_PER_CHUNK)
    series = Series(target, shores.group, shores.scratch, len(shores.rows), table_area, ids, applying.groups)
    passes.each("series", write_series, series, chunks)
