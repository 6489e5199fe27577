"""Patches at the centres of superpixels: NumPy in, NumPy out.

The centre is that of the pixels' rows and columns, rounded half up in whole numbers, so that it is the same in every
window that holds the superpixel. A patch of an even side s reaches from s/2 pixels before its centre to s/2 − 1 after.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lakecube.kernels.jit import jit
from lakecube.kernels.regions import number_regions


class Regions(NamedTuple):
    """The regions that touch a window of a label image."""

    number: np.ndarray
    """int32 (y, x) of the window: number of the region, −1 outside all."""
    labels: np.ndarray
    """int64 (n,): their labels."""
    centres: np.ndarray
    """int64 (n, 2): row and column of each centre in the label image."""
    means: np.ndarray
    """float32 (n, bands): mean of each band over the region."""


def regions_in(labels: np.ndarray, bands: np.ndarray, window: tuple[slice, slice]) -> Regions:
    """The regions of `labels` (y, x) int64 that touch a window, with means of `bands` (bands, y, x) float32.

    Negative labels belong to no region. Values that are NaN are left out of the means (0 where all are). Sums are
    float64 in raster order, so that they do not depend on what else the image holds. O(pixels · bands).
    """
    number, n = number_regions(np.ascontiguousarray(labels, np.int64))
    inside = number[window]
    used = np.unique(inside[inside >= 0])
    compact = np.full(n + 1, -1, np.int32)  # the last is for −1
    compact[used] = np.arange(used.size, dtype=np.int32)
    names, centres, means = _sum_regions(compact[number], labels, np.ascontiguousarray(bands, np.float32), used.size)
    return Regions(compact[inside], names, centres, means)


@jit
def _sum_regions(number, labels, bands, n):
    rows, columns = number.shape
    names, pixels = np.zeros(n, np.int64), np.zeros(n, np.int64)
    places, centres = np.zeros((n, 2), np.int64), np.zeros((n, 2), np.int64)
    known, total = np.zeros((n, bands.shape[0]), np.int64), np.zeros((n, bands.shape[0]), np.float64)
    for i in range(rows):
        for j in range(columns):
            k = number[i, j]
            if k >= 0:
                names[k] = labels[i, j]
                pixels[k] += 1
                places[k, 0] += i
                places[k, 1] += j
                for b in range(bands.shape[0]):
                    value = bands[b, i, j]
                    if value == value:
                        known[k, b] += 1
                        total[k, b] += value
    means = np.zeros((n, bands.shape[0]), np.float32)
    for k in range(n):
        centres[k, 0] = (2 * places[k, 0] + pixels[k]) // (2 * pixels[k])
        centres[k, 1] = (2 * places[k, 1] + pixels[k]) // (2 * pixels[k])
        for b in range(bands.shape[0]):
            if known[k, b]:
                means[k, b] = total[k, b] / known[k, b]
    return names, centres, means


@jit
def gather(bands, centres, fill, side):
    """Patches float32 (n, bands, side, side) of `bands` (bands, y, x) around `centres` (n, 2), rows and columns.

    NaN becomes the patch's own ``fill[n, band]``. Beyond the edge of the array the picture is mirrored, its outermost
    pixels repeated, as often as needed. O(n · bands · side²).
    """
    n_bands, rows, columns = bands.shape
    out = np.empty((centres.shape[0], n_bands, side, side), np.float32)
    for k in range(centres.shape[0]):
        top, left = centres[k, 0] - side // 2, centres[k, 1] - side // 2
        for i in range(side):
            row = (top + i) % (2 * rows)
            row = row if row < rows else 2 * rows - 1 - row
            for j in range(side):
                column = (left + j) % (2 * columns)
                column = column if column < columns else 2 * columns - 1 - column
                for b in range(n_bands):
                    value = bands[b, row, column]
                    out[k, b, i, j] = value if value == value else fill[k, b]
    return out
