"""Groups of pixels that vote as one in a bilateral kernel: those of one small cell whose guide values share a bin."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lakecube.kernels.jit import jit, jit_inline

#: Features are clipped to ± so many sigmas: the lattice's float32 cannot tell places apart much farther out.
LARGEST = np.float32(2**15)


class Groups(NamedTuple):
    """Which group each pixel votes in."""

    ids: np.ndarray
    """int32 (y, x): from 1; 0 where the pixel has no vote."""
    features: np.ndarray
    """float32 (groups, 2 + bands): mean column and row in sigmas, mean guide values. Group 1 comes first."""
    counts: np.ndarray
    """float32 (groups,): pixels."""


def group(
    guide: np.ndarray, valid: np.ndarray, sxy: float, cell: int, width: float, origin: tuple[int, int] = (0, 0)
) -> Groups:
    """Pixels of one square cell whose guide values fall into the same bins; `width` 0: every pixel alone. O(pixels)."""
    return Groups(*_group(guide, valid, cell, np.float32(width), origin[0], origin[1], np.float32(1 / sxy)))


@jit
def _bins(guide, inverse, out):
    """One code per pixel of its bins in all bands."""
    bands, rows, columns = guide.shape
    for y in range(rows):
        line = out[y]
        for x in range(columns):
            line[x] = 0
        for b in range(bands):
            band = guide[b, y]
            for x in range(columns):
                clipped = min(max(band[x], -LARGEST), LARGEST)
                value = np.int64(np.int32(np.floor(clipped * inverse)))
                line[x] = (line[x] << np.int64(20)) + (line[x] << np.int64(7)) + line[x] + value


@jit_inline
def _slot(code, first, slots, codes):
    """Where a code stands in the table of a cell, or where it would; of cells before, up to `first`, nothing counts."""
    mask = slots.size - 1
    slot = np.int64((np.uint64(code) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)) & mask
    while slots[slot] > first and codes[slot] != code:
        slot = (slot + 1) & mask
    return slot


@jit
def _group_cell(guide, valid, binned, cell, place, slots, codes, ids, sums, counts, first):
    """Groups of one cell (rows and columns from, to): numbers from `first` + 1 on; returns the last. No bins: alone."""
    y0, y1, x0, x1 = cell
    count = first
    for y in range(y0, y1):
        for x in range(x0, x1):
            if not valid[y, x]:
                continue
            mine = count + 1
            if binned.size:
                slot = _slot(binned[y - y0, x], first, slots, codes)
                if slots[slot] > first:
                    mine = np.int64(slots[slot])
                else:
                    slots[slot], codes[slot] = mine, binned[y - y0, x]
            if mine > count:
                count = mine
                counts[mine - 1] = 0
                sums[mine - 1] = 0
            ids[y, x] = mine
            counts[mine - 1] += 1
            sums[mine - 1, 0] += np.float32(place[1] + x)
            sums[mine - 1, 1] += np.float32(place[0] + y)
            for b in range(guide.shape[0]):
                sums[mine - 1, b + 2] += min(max(guide[b, y, x], -LARGEST), LARGEST)
    return count


@jit
def _group(guide, valid, cell, width, top, left, per_pixel):
    bands, rows, columns = guide.shape
    ids = np.zeros((rows, columns), np.int32)
    sums, counts = np.empty((rows * columns, bands + 2), np.float32), np.empty(rows * columns, np.float32)
    size = 1
    while size < 2 * cell * cell:
        size *= 2
    codes, slots = np.zeros(size, np.int64), np.zeros(size, np.int32)
    binned = np.zeros((cell if width > 0 else 0, columns), np.int64)
    count = 0
    y0 = 0
    while y0 < rows:
        y1 = min(rows, y0 + cell - (top + y0) % cell)
        if width > 0:
            _bins(guide[:, y0:y1], np.float32(1.0) / width, binned)
        x0 = 0
        while x0 < columns:
            x1 = min(columns, x0 + cell - (left + x0) % cell)
            slots[:] = 0
            count = _group_cell(
                guide, valid, binned, (y0, y1, x0, x1), (top, left), slots, codes, ids, sums, counts, count
            )  # fmt: skip
            x0 = x1
        y0 = y1
    features = np.empty((count, bands + 2), np.float32)
    for i in range(count):
        share = np.float32(1.0) / counts[i]
        features[i, 0] = min(sums[i, 0] * share * per_pixel, LARGEST)
        features[i, 1] = min(sums[i, 1] * share * per_pixel, LARGEST)
        for b in range(2, bands + 2):
            features[i, b] = sums[i, b] * share
    return ids, features, counts[:count].copy()
