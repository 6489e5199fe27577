"""Counting how a map and its reference agree: NumPy in, NumPy out."""

from __future__ import annotations

import numpy as np

from lakecube.kernels.jit import jit

#: States of a pixel in either: anything but 0 and 1 is unknown.
STATES = 3


@jit
def confuse(mapped: np.ndarray, reference: np.ndarray, area: np.ndarray) -> np.ndarray:
    """Count the pairs of states, and add up their areas.

    Parameters
    ----------
    mapped, reference : (y, x) uint8
        0 land, 1 water, anything else unknown.
    area : (y, x) or (y, 1) int64
        Of each pixel, in quanta.

    Returns
    -------
    (2, 9) int64
        Pixels and quanta; column 3·m + r is what is m in the map and r in the reference: 0 land, 1 water, 2 unknown.
        O(y · x).
    """
    rows, columns = mapped.shape
    wide = area.shape[1] > 1
    out = np.zeros((2, STATES * STATES), np.int64)
    for i in range(rows):
        for j in range(columns):
            m, r = mapped[i, j], reference[i, j]
            m = m if m < 2 else 2
            r = r if r < 2 else 2
            out[0, STATES * m + r] += 1
            out[1, STATES * m + r] += area[i, j if wide else 0]
    return out


@jit
def count_pairs(mapped: np.ndarray, reference: np.ndarray, area: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs of pixels with one pair of labels along each row, for `add_pairs`.

    Parameters
    ----------
    mapped, reference : (y, x) int64
        Labels of objects, 0 for none, -1 for unknown.
    area : (y, x) or (y, 1) int64
        Of each pixel, in quanta.

    Returns
    -------
    pairs, sums : (runs, 2) int64
        Labels in the map and the reference, in the order of the pixels; pixels and quanta. Runs of (0, 0) are left out.
    """
    rows, columns = mapped.shape
    wide = area.shape[1] > 1
    pairs, sums = np.empty((rows * columns, 2), np.int64), np.empty((rows * columns, 2), np.int64)
    n = 0
    for i in range(rows):
        last_m, last_r = np.int64(0), np.int64(0)
        for j in range(columns):
            m, r = mapped[i, j], reference[i, j]
            if m == 0 and r == 0:
                last_m, last_r = m, r
                continue
            if j == 0 or m != last_m or r != last_r:
                pairs[n, 0], pairs[n, 1], sums[n, 0], sums[n, 1] = m, r, 0, 0
                n += 1
                last_m, last_r = m, r
            sums[n - 1, 0] += 1
            sums[n - 1, 1] += area[i, j if wide else 0]
    return pairs[:n].copy(), sums[:n].copy()


def add_pairs(pairs: np.ndarray, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each pair once, sorted, with its sums: (n, 2) int64 both."""
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    pairs, sums = pairs[order], sums[order]
    first = np.ones(len(pairs), bool)
    first[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
    if not len(pairs):
        return pairs, sums
    return pairs[first], np.add.reduceat(sums, np.flatnonzero(first), axis=0)
