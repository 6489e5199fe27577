"""The flow of `kernels.shore` over Dask blocks: count, add, decide, sort by height, and once more; then look up.

A task sees one block of a few dates. The counts that meet in a decision have the size of lakes × dates × bins, and a
decision works on a group of lakes at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize

from lakecube.chunked import blockwise, per_chunk, spans
from lakecube.kernels import heights, levels, relation, restore, shore

#: Lakes that are decided at once; visible pixels that a date needs to have a relation of its own.
GROUP, MIN_VISIBLE = 256, 200


@dataclass(frozen=True, slots=True)
class Settings:
    """How hidden pixels are decided; `days` are the day numbers of the dates, in the order of the array."""

    days: tuple[int, ...]
    params: levels.LevelParams
    p_scene: float
    p_lake: float


@dataclass(frozen=True, slots=True)
class Counted:
    """Shores of one block: dates from `first` on, lakes `ids` (sorted) and, last, what is outside of them."""

    first: int
    ids: np.ndarray
    table: np.ndarray


@dataclass(frozen=True, slots=True)
class Decided:
    """`decisions` (time, lakes + 1, BINS) uint8; `levels` (time, lakes) uint8; `has_level` (lakes,) bool."""

    decisions: np.ndarray
    levels: np.ndarray
    has_level: np.ndarray


@dataclass(frozen=True, slots=True)
class ShoreRows:
    """`row` and `clear` of `kernels.heights.Heights`, of one block."""

    row: np.ndarray
    clear: np.ndarray


def restored_blocks(
    mask: da.Array, wet: da.Array, clear: da.Array, lakes: da.Array | None, settings: Settings
) -> da.Array:
    """What is hidden of a mask, inferred by the levels of lakes, or by the relation of each date without lakes.

    Parameters
    ----------
    mask : (time, y, x) uint8
    wet, clear : (y, x) uint32
        Its counts.
    lakes : (y, x) int32 or None
        Number of the lake around each pixel, or -1. All arrays have the chunks of `mask`.

    Returns
    -------
    (time, y, x) uint8
        0 or 1 where hidden and decided, else 255.
    """
    by_lake = lakes is not None
    numbers = da.full(wet.shape, -1, dtype=np.int32, chunks=wet.chunks) if lakes is None else lakes
    token = tokenize(mask.name, wet.name, clear.name, numbers.name, settings)
    dates = per_chunk(mask.chunks[0], spans(mask.chunks[0]))
    inputs: tuple[Any, ...] = (dates, "t", mask, "tyx", wet, "yx", clear, "yx", numbers, "yx")
    decided = _decide_all(_objects(_count, "tyx", *inputs, name="shore", token=token), settings, token)
    if by_lake:
        parts = _objects(_count_levels, "tyx", *inputs, decided, "d", name="clear-levels", token=token)
        inputs = (*inputs, decided, "d", _objects(_add_levels, "yx", parts, "tyx", name="heights", token=token), "yx")
        decided = _decide_all(_objects(_count, "tyx", *inputs, name="shore-heights", token=token), settings, token)
        inputs = (*inputs[:-4], decided, "d", *inputs[-2:])
    else:
        inputs = (*inputs, decided, "d")
    return blockwise(_apply, "tyx", *inputs, dtype=np.uint8, name="lakecube-restored", token=token)


def _objects(function: Any, index: str, *pairs: Any, name: str, token: str) -> da.Array:
    """An array whose blocks are objects."""
    return blockwise(function, index, *pairs, dtype=object, name=f"lakecube-{name}", token=token)


def _decide_all(counted: da.Array, settings: Settings, token: str) -> da.Array:
    return blockwise(
        _decide, "d", counted, "tyx", dtype=object, name=f"{counted.name}-decided", token=token, new_axes={"d": 1},
        settings=settings,
    )  # fmt: skip


def _local(lakes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lakes of a block (sorted), and their numbers within the block in place of their own (-1 stays)."""
    ids, numbers = np.unique(lakes, return_inverse=True)
    outside = int(ids.size > 0 and ids[0] < 0)
    return ids[outside:], (numbers.reshape(lakes.shape) - outside).astype(np.int32)


def _heights(decided: Any, rows: Any, ids: np.ndarray, dates: slice) -> heights.Heights | None:
    if rows is None:
        return None
    return heights.Heights(rows.row, rows.clear, np.ascontiguousarray(decided[0].levels[dates][:, ids]))


def _count(
    span: tuple[int, int], states: np.ndarray, wet: np.ndarray, clear: np.ndarray, lakes: np.ndarray,
    decided: Any = None, rows: ShoreRows | None = None,
) -> Counted:  # fmt: skip
    ids, numbers = _local(lakes)
    known = _heights(decided, rows, ids, slice(*span))
    return Counted(span[0], ids, shore.count_shore(states, wet, clear, numbers, ids.size, known))


def _count_levels(
    span: tuple[int, int], states: np.ndarray, wet: np.ndarray, clear: np.ndarray, lakes: np.ndarray, decided: Any
) -> ShoreRows:
    ids, numbers = _local(lakes)
    row = heights.index_shore(wet, clear, numbers, decided[0].has_level[ids])
    return ShoreRows(row, heights.count_levels(states, decided[0].levels[slice(*span)][:, ids], numbers, row))


def _add_levels(parts: list[ShoreRows]) -> ShoreRows:
    total = parts[0].clear.copy()
    for part in parts[1:]:
        total += part.clear
    return ShoreRows(parts[0].row, total)


def _decide(blocks: Any, *, settings: Settings) -> Decided:
    """Add what was counted of each lake and decide, a group of lakes at a time, dates in ascending order."""
    parts = list(_leaves(blocks))
    order = np.argsort(settings.days, kind="stable")
    days = np.asarray(settings.days, np.int64)[order]
    back = np.argsort(order, kind="stable")
    scene = np.zeros((days.size, heights.BINS, 3), np.int64)
    for part in parts:
        scene[part.first : part.first + len(part.table)] += part.table.sum(axis=1, dtype=np.int64)
    related = relation.relation_by_date(scene, MIN_VISIBLE)
    n_lakes = 1 + max((int(part.ids[-1]) for part in parts if part.ids.size), default=-1)
    decisions = np.empty((days.size, n_lakes + 1, heights.BINS), np.uint8)
    numbers = np.empty((days.size, n_lakes), np.uint8)
    has_level = np.zeros(n_lakes, bool)
    decisions[:, n_lakes] = restore.decide_scene(related, settings.p_scene)
    for start in range(0, n_lakes, GROUP):
        group = slice(start, min(start + GROUP, n_lakes))
        table = _table_of(parts, group, days.size)[order]
        found = restore.decide_lakes(
            table, related[order], days, settings.params, settings.p_lake, settings.p_scene
        )  # fmt: skip
        decisions[:, group], numbers[:, group] = found.decisions[back], levels.level_numbers(found.levels)[back]
        has_level[group] = found.has_level
    return Decided(decisions, numbers, has_level)


def _table_of(parts: list[Counted], group: slice, n_dates: int) -> np.ndarray:
    """Counts of a group of lakes on all dates, added over blocks."""
    total = np.zeros((n_dates, group.stop - group.start, heights.BINS, 3), np.uint32)
    for part in parts:
        inside = np.flatnonzero((part.ids >= group.start) & (part.ids < group.stop))
        dates = slice(part.first, part.first + len(part.table))
        total[dates, part.ids[inside] - group.start] += part.table[:, inside]
    return total


def _apply(
    span: tuple[int, int], states: np.ndarray, wet: np.ndarray, clear: np.ndarray, lakes: np.ndarray, decided: Any,
    rows: ShoreRows | None = None,
) -> np.ndarray:  # fmt: skip
    ids, numbers = _local(lakes)
    chosen = decided[0].decisions[slice(*span)][:, [*ids.tolist(), -1]]
    known = _heights(decided, rows, ids, slice(*span))
    return shore.restore_states(states, wet, clear, numbers, chosen, known)


def _leaves(nested: Any) -> Iterator[Counted]:
    if isinstance(nested, Counted):
        yield nested
    else:
        for inner in nested:
            yield from _leaves(inner)
