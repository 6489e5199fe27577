"""Overviews of a revision: its maps at half the resolution, again and again, until one chunk holds them.

Level k is made from level k - 1, four pixels into one: counts add, a frequency is the ratio of the sums, lakes and
months go by majority. So they do not depend on blocks or workers, and a task holds the four chunks it reads.

A level is a group by itself, with its axes and its own consolidated metadata, and no part of the tree of the root:
xarray refuses a tree in which a child has other lengths of `y` and `x`. The attribute `multiscales` of the root names
them all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr
import zarr

from lakecube.kernels.coarsen import join_labels, join_months, sum_fours
from lakecube.kernels.counts import divide_counts
from lakecube.names import SPATIAL_REF, VARIABLES, YEAR, YEAR_MONTH
from lakecube.store.commit import OVERVIEWS
from lakecube.store.conventions import coarser
from lakecube.store.job import Level, RevisionJob
from lakecube.store.layout import Stored, axes, group_attrs, pixel_array
from lakecube.store.revise_blocks import Block, BlockPasses, Results, cut
from lakecube.store.write_tasks import Writer

_COUNTED = ("count_wet", "count_clear", "water_frequency")
#: Maps by majority.
_JOINED: dict[str, Callable[[np.ndarray], np.ndarray]] = {"month_state": join_months, "lake_label": join_labels}
#: What every level holds.
MAPS = (*_COUNTED, *(f"{name}_year" for name in _COUNTED), *_JOINED)


def level_sizes(size: tuple[int, int], chunks: tuple[int, int]) -> list[tuple[int, int]]:
    """Pixels along y and x of every level above the image itself; none if the image is no longer than a chunk."""
    sizes = []
    while max(size) > max(chunks):
        size = (-(-size[0] // 2), -(-size[1] // 2))
        sizes.append(size)
    return sizes


def count_overviews(size: tuple[int, int], chunks: tuple[int, int]) -> int:
    """Blocks of all levels together: what `write_levels` runs."""
    return sum(len(cut(level, chunks)) for level in level_sizes(size, chunks))


def write_levels(passes: BlockPasses, job: RevisionJob, made: Mapping[str, Stored], grid: xr.Dataset) -> list[Level]:
    """Make all levels of a revision, one after the other.

    Parameters
    ----------
    passes : BlockPasses
        Runs the tasks.
    job : RevisionJob
        Whose revision it is.
    made : mapping
        Arrays of the revision, their pixels written.
    grid : xr.Dataset
        Coordinates of the image.
    """
    levels: list[Level] = []
    below = made
    for number, size in enumerate(level_sizes(job.size, job.chunks), 1):
        source, target = levels[-1].group if levels else job.group, f"{OVERVIEWS}/{job.number}/{number}"
        own = coarser(grid, number)
        arrays = {YEAR: made[YEAR], YEAR_MONTH: made[YEAR_MONTH], **axes(own)}
        for name in MAPS:
            arrays[name] = _array(name, below[name], size, job.chunks, len(job.dates) << 2 * number)
        both = {f"{group}/{n}": some[n].metadata for group, some in ((source, below), (target, arrays)) for n in MAPS}
        coarsening = Coarsening(Writer.of(job.place, both), source, target)
        passes.each(f"overview {number}", coarsen_block, coarsening, cut(size, job.chunks))
        levels.append(Level(target, {**group_attrs(own), "coordinates": SPATIAL_REF}, arrays))
        below = arrays
    return levels


def _array(name: str, below: Stored, size: tuple[int, int], chunks: tuple[int, int], most: int) -> Stored:
    """Metadata of one map of a level, whose sums may reach `most`."""
    dtype, attrs = VARIABLES[name].dtype, {"cell_methods": "area: mode"} if name in _JOINED else {}
    if name.startswith("count_"):
        dtype, attrs = ("uint32" if most < 1 << 32 else "uint64"), {"cell_methods": "area: sum"}
    shape = (*below.metadata.shape[:-2], *size)
    within = min(chunks[0], size[0]), min(chunks[1], size[1])
    return pixel_array(name, dtype, VARIABLES[name].dims, shape, within, attrs)


@dataclasses.dataclass(frozen=True, slots=True)
class Coarsening:
    """From the arrays of which group to those of which."""

    arrays: Writer
    source: str
    target: str

    def pair(self, name: str) -> tuple[zarr.Array, zarr.Array]:
        """One map, of the level below and of this one."""
        return self.arrays.open(f"{self.source}/{name}"), self.arrays.open(f"{self.target}/{name}")


def coarsen_block(block: Block, coarsening: Coarsening) -> Results:
    """Make one block of a level from the level below, one year or month at a time."""
    below = tuple(slice(2 * start, 2 * stop) for start, stop in (block.rows, block.columns))
    for total in ("", "_year"):
        pairs = [coarsening.pair(f"{name}{total}") for name in _COUNTED]
        for place in np.ndindex(*pairs[0][0].shape[:-2]):
            wet, clear = (sum_fours(np.asarray(source[(*place, *below)])) for source, _ in pairs[:2])
            for (_, target), values in zip(pairs, (wet, clear, divide_counts(wet, clear)), strict=True):
                target[(*place, *block.window)] = values.astype(target.dtype)
    for name, join in _JOINED.items():
        source, target = coarsening.pair(name)
        for place in np.ndindex(*source.shape[:-2]):
            target[(*place, *block.window)] = join(np.asarray(source[(*place, *below)]))
    return {}
