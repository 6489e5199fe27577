"""Counting over the regions of a label image: NumPy in, NumPy out, sums in raster order."""

from __future__ import annotations

import numpy as np

from lakecube.kernels.jit import jit
from lakecube.kernels.numbering import new_table, number_key


@jit
def number_regions(labels):
    """Number the distinct labels (y, x) int64 in the order of their first pixels: numbers int32, and how many.

    Negative labels belong to no region: −1. O(pixels), by a hash of open addresses that only changes of label visit.
    """
    rows, columns = labels.shape
    out = np.empty((rows, columns), np.int32)
    keys, values = new_table()
    n = 0
    for i in range(rows):
        last, number = np.int64(-1), np.int32(-1)
        for j in range(columns):
            here = labels[i, j]
            if here != last:
                last, number = here, np.int32(-1)
                if here >= 0:
                    keys, values, n, number = number_key(keys, values, n, here)
            out[i, j] = number
    return out, n


@jit
def vote(mask, labels, share):
    """Majority of land (0) and water (1) in each region: the mask fused, and what was done to each pixel.

    mask (y, x) uint8, labels (y, x) int64 → mask, change (y, x) uint8: 0 kept, 1 became water, 2 became land,
    3 undecided. The majority has more than `share` of the region's known pixels; other values and pixels outside all
    regions (negative labels) keep what they are.
    """
    number, n = number_regions(labels)
    wet, known = np.zeros(n, np.int64), np.zeros(n, np.int64)
    rows, columns = mask.shape
    for i in range(rows):
        for j in range(columns):
            if number[i, j] >= 0 and mask[i, j] <= 1:
                wet[number[i, j]] += mask[i, j]
                known[number[i, j]] += 1
    out, change = mask.copy(), np.zeros((rows, columns), np.uint8)
    for i in range(rows):
        for j in range(columns):
            k = number[i, j]
            if k < 0 or mask[i, j] > 1:
                continue
            if wet[k] > share * known[k]:
                out[i, j] = 1
            elif known[k] - wet[k] > share * known[k]:
                out[i, j] = 0
            else:
                change[i, j] = 3
            if out[i, j] != mask[i, j]:
                change[i, j] = 2 - out[i, j]
    return out, change


@jit
def describe(values, labels):
    """Pixels, mean of what is not NaN, and its share, of each pixel's region: uint32, float32, float32 (y, x).

    values (y, x) of any float dtype, labels (y, x) int64. Outside all regions: 0, NaN, NaN. Sums are float64, in
    raster order, so that they do not depend on the window as long as it holds the whole region.
    """
    number, n = number_regions(labels)
    pixels, valid, total = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.float64)
    rows, columns = values.shape
    for i in range(rows):
        for j in range(columns):
            k = number[i, j]
            if k >= 0:
                pixels[k] += 1
                if values[i, j] == values[i, j]:
                    valid[k] += 1
                    total[k] += values[i, j]
    count = np.zeros((rows, columns), np.uint32)
    mean, fraction = np.full((rows, columns), np.nan, np.float32), np.full((rows, columns), np.nan, np.float32)
    for i in range(rows):
        for j in range(columns):
            k = number[i, j]
            if k >= 0:
                count[i, j] = pixels[k]
                mean[i, j] = total[k] / valid[k] if valid[k] else np.nan
                fraction[i, j] = valid[k] / pixels[k]
    return count, mean, fraction
