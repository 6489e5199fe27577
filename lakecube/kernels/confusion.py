"""Counting how a map and its reference agree: NumPy in, NumPy out."""

from __future__ import annotations

import numpy as np

from lakecube.kernels.jit import jit

#: States of a pixel in either: anything but 0 and 1 is unknown.
STATES = 3


@jit
def confuse(mapped: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Count the pairs of states in every row.

    Parameters
    ----------
    mapped, reference : (y, x) uint8
        0 land, 1 water, anything else unknown.

    Returns
    -------
    (y, 9) int64
        Column 3·m + r counts the pixels whose map is m and whose reference is r; 0 land, 1 water, 2 unknown. By row,
        because rows of a grid in degrees differ in area. O(y · x).
    """
    rows, columns = mapped.shape
    counts = np.zeros((rows, STATES * STATES), np.int64)
    for i in range(rows):
        for j in range(columns):
            m, r = mapped[i, j], reference[i, j]
            m = m if m < 2 else 2
            r = r if r < 2 else 2
            counts[i, STATES * m + r] += 1
    return counts
