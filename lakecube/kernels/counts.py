"""Counting observed states along time: NumPy in, NumPy out."""

from __future__ import annotations

import numpy as np

from lakecube.kernels.jit import jit


@jit
def count_states(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count wet (1) and clear (0 or 1) dates of every pixel.

    Parameters
    ----------
    mask : (time, y, x) uint8
        0 land, 1 water; any other value is unknown and counts for nothing.

    Returns
    -------
    wet, clear : (y, x) uint32
        Zero where nothing was seen, also for no dates at all. O(time · y · x), one sweep in memory order.
    """
    dates, rows, columns = mask.shape
    wet = np.zeros((rows, columns), np.uint32)
    clear = np.zeros((rows, columns), np.uint32)
    for t in range(dates):
        for i in range(rows):
            for j in range(columns):
                state = mask[t, i, j]
                wet[i, j] += np.uint32(state == 1)
                clear[i, j] += np.uint32(state <= 1)
    return wet, clear


@jit
def divide_counts(wet: np.ndarray, clear: np.ndarray) -> np.ndarray:
    """Share of clear dates that are wet: (y, x) float32, NaN where never clear; rounded once, from float64."""
    rows, columns = wet.shape
    share = np.empty((rows, columns), np.float32)
    for i in range(rows):
        for j in range(columns):
            if clear[i, j] == 0:
                share[i, j] = np.nan
            else:
                share[i, j] = np.float32(wet[i, j] / np.float64(clear[i, j]))
    return share
