"""The zone along a shore, and how right a map is there: NumPy in, NumPy out."""

from __future__ import annotations

import numpy as np

from lakecube.kernels.confusion import STATES, confuse
from lakecube.kernels.jit import jit
from lakecube.kernels.morphology import dilate_disk, disk_reach


def zone_reach(width: int) -> int:
    """Return the reach of `edge_zone` in pixels: a pixel of the shore is told by its neighbours."""
    return disk_reach(width) + 1


def edge_zone(states: np.ndarray, width: int) -> np.ndarray:
    """Pixels whose centre lies within `width` pixels of the centre of one of the shore, on either side.

    Parameters
    ----------
    states : (y, x) uint8
        0 land, 1 water, anything else unknown.
    width : int
        Pixels, 0 or more: 0 is the shore itself, which is two pixels wide; the zone is 2 + 2·width.

    Returns
    -------
    (y, x) bool
        Unknown pixels may lie in it. Reach: `zone_reach`. O(y · x).
    """
    return dilate_disk(shore_of(states), width)


@jit
def shore_of(states: np.ndarray) -> np.ndarray:
    """Pixels of land and of water that have a side in common: (y, x) uint8 to (y, x) bool. Reach: 1. O(y · x).

    Where water meets the unknown, anything but 0 and 1, or the end of the array, nobody knows of a shore.
    """
    rows, columns = states.shape
    out = np.zeros((rows, columns), np.bool_)
    for i in range(rows):
        for j in range(columns):
            if states[i, j] > 1:
                continue
            if j + 1 < columns and states[i, j] ^ states[i, j + 1] == 1 and states[i, j + 1] < 2:
                out[i, j] = out[i, j + 1] = True
            if i + 1 < rows and states[i, j] ^ states[i + 1, j] == 1 and states[i + 1, j] < 2:
                out[i, j] = out[i + 1, j] = True
    return out


def count_zone(mapped: np.ndarray, reference: np.ndarray, zone: np.ndarray) -> np.ndarray:
    """Count the pixels of a zone by what the map made of them.

    Parameters
    ----------
    mapped, reference : (y, x) uint8
        0 land, 1 water, anything else unknown.
    zone : (y, x) bool
        Pixels that count.

    Returns
    -------
    (4,) int64
        Right; omitted (water of the reference alone); invented (of the map alone); unknown in either. O(y · x).
    """
    pairs = confuse(mapped[zone][np.newaxis], reference[zone][np.newaxis], np.zeros((1, 1), np.int64))[0]
    pairs = pairs.reshape(STATES, STATES)
    known = [pairs[0, 0] + pairs[1, 1], pairs[0, 1], pairs[1, 0]]
    return np.array([*known, pairs.sum() - sum(known)], np.int64)
