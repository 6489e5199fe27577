"""How high a pixel of the shore lies, from the levels of the lake on the dates on which the pixel was seen.

Water frequency sorts pixels by height only as far as they were seen on the same dates: clouds make it noisy, and a
shore that was seen mostly at high water looks lower than it is. Once the lake's level is known on every date, the
height is an order statistic without that fault: a pixel that was wet on w of its clear dates lies between the w-th
highest of *their* levels and the next. Partial -> combine: `count_levels` of a few dates, added over all dates of
the block.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lakecube.kernels.jit import jit, jit_inline

#: Bins of height: 0 is never wet, the last always wet. Of frequency, those between are steps of 1 / (BINS - 2).
BINS = 32
#: Level k: bins k and above are under water. 0 is the highest water, LEVELS - 1 a lake that is dry.
LEVELS = BINS + 1


class Heights(NamedTuple):
    """What is needed to sort the shore of a block by height.

    `row` (y, x) int32: row of each pixel of the shore in `clear`, else -1; `clear` (rows, LEVELS) uint16: clear
    dates by level, over *all* dates; `levels` (time, n_lakes) uint8: level of each lake on the dates (or pairs) at
    hand.
    """

    row: np.ndarray
    clear: np.ndarray
    levels: np.ndarray


#: Without heights: every pixel goes by its frequency.
NONE = Heights(np.zeros((0, 0), np.int32), np.zeros((0, LEVELS), np.uint16), np.zeros((0, 0), np.uint8))


def index_shore(wet: np.ndarray, clear: np.ndarray, lakes: np.ndarray, has_level: np.ndarray) -> np.ndarray:
    """Number the pixels of the shore: around a lake that has levels, wet on some clear dates but not on all.

    Parameters
    ----------
    wet, clear : (y, x) uint32
        Counts over all dates.
    lakes : (y, x) int32
        Number of the lake, or -1.
    has_level : (n_lakes,) bool
        Lakes whose shore was ever seen: where `levels.sources` is not SCENE.

    Returns
    -------
    (y, x) int32
        0, 1, 2, … in the order of the array, -1 elsewhere.
    """
    known = np.append(has_level, False)[lakes]
    shore = known & (wet > 0) & (wet < clear)
    return np.where(shore, np.cumsum(shore).reshape(shore.shape) - 1, -1).astype(np.int32)


def count_levels(states: np.ndarray, levels: np.ndarray, lakes: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Count the clear dates of every pixel of the shore by the level of its lake.

    Parameters
    ----------
    states : (time, y, x) uint8
    levels : (time, n_lakes or more) uint8
        Level of each lake on these dates: `levels.level_numbers`.
    lakes, index : (y, x) int32
        As for `index_shore`, and what it returned.

    Returns
    -------
    (rows, LEVELS) uint16
        To be added over dates (at most 65,535).
    """
    return _count_levels(*map(np.ascontiguousarray, (states, levels, lakes, index)))


@jit
def _count_levels(states, levels, lakes, index):
    dates, rows, columns = states.shape
    out = np.zeros((index.max() + 1 if index.size else 0, LEVELS), np.uint16)
    for t in range(dates):
        for i in range(rows):
            for j in range(columns):
                if index[i, j] >= 0 and states[t, i, j] <= 1:
                    out[index[i, j], levels[t, lakes[i, j]]] += np.uint16(1)
    return out


@jit_inline
def height_of(counts, wet, clear, own):
    """Bin of height of one pixel from its clear dates by level, one date of level `own` (or -1) left out."""
    if clear == 0:
        return np.int64(-1)
    if wet == 0:
        return np.int64(0)
    if wet == clear:
        return np.int64(BINS - 1)
    lowest, highest, reached = np.int64(-1), np.int64(LEVELS - 1), np.int64(0)
    for k in range(LEVELS):
        reached += np.int64(counts[k]) - (k == own)
        if lowest < 0 and reached >= wet:
            lowest = np.int64(k)
        if reached > wet:
            highest = np.int64(k)
            break
    return min(max((lowest + highest - 1) // 2, 1), BINS - 2)
