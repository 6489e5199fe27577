"""Groups of pixels that vote as one in a bilateral kernel: those of one small cell whose guide values share a bin."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lakecube.kernels.jit import jit, jit_inline

#: Features are clipped to ± so many sigmas: the lattice's float32 cannot tell places apart much farther out.
LARGEST = np.float32(2**15)
#: Pixels, at least: side of the squares of cells that are numbered one after the other, so that what is near in the
#: picture is near in memory.
SQUARE = 128


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
    # large arrays are NumPy's, which asks for huge pages: Numba's cost as much time to touch as to fill
    ids, counts = np.zeros(valid.shape, np.int32), np.empty(valid.size, np.float32)
    features = np.empty((valid.size, guide.shape[0] + 2), np.float32)
    count = _group(guide, valid, cell, np.float32(width), origin[0], origin[1], ids, features, counts)
    features, counts = features[:count], counts[:count]
    _sums_to_means(features, counts, np.float32(1 / sxy))
    return Groups(ids, features, counts)


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
def _group_cell(guide, valid, binned, cell, place, begin, slots, codes, ids, sums, counts, first):
    """Groups of one cell (rows and columns from, to): numbers from `first` + 1 on; returns the last. No bins: alone.

    The bins are those of the cell's rows, from column `begin` on.
    """
    y0, y1, x0, x1 = cell
    count = first
    for y in range(y0, y1):
        for x in range(x0, x1):
            if not valid[y, x]:
                continue
            mine = count + 1
            if binned.size:
                slot = _slot(binned[y - y0, x - begin], first, slots, codes)
                if slots[slot] > first:
                    mine = np.int64(slots[slot])
                else:
                    slots[slot], codes[slot] = mine, binned[y - y0, x - begin]
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
def _ends(start, stop, phase, step):
    """Where a span is cut, counted from `phase` before pixel 0: its start, every multiple of `step` inside, its end."""
    first = start + step - (phase + start) % step
    inside = np.arange(first, stop, step)
    out = np.empty(inside.size + 2, np.int64)
    out[0], out[-1] = start, stop
    out[1:-1] = inside
    return out


@jit
def _group(guide, valid, cell, width, top, left, ids, sums, counts):
    """Number the groups and sum their pixels' places and values, square by square; returns how many there are."""
    rows, columns = valid.shape
    high, size = min(cell, rows), 1
    while size < 2 * high * min(cell, columns):
        size *= 2
    codes, slots = np.zeros(size, np.int64), np.zeros(size, np.int32)
    square = cell * (-(-SQUARE // cell))
    binned = np.zeros((high if width > 0 else 0, min(square, columns)), np.int64)
    count = 0
    down, across = _ends(0, rows, top, square), _ends(0, columns, left, square)
    for i in range(down.size - 1):
        lines = _ends(down[i], down[i + 1], top, cell)
        for j in range(across.size - 1):
            begin, end = across[j], across[j + 1]
            cuts = _ends(begin, end, left, cell)
            for a in range(lines.size - 1):
                y0, y1 = lines[a], lines[a + 1]
                if width > 0:
                    _bins(guide[:, y0:y1, begin:end], np.float32(1.0) / width, binned)
                for b in range(cuts.size - 1):
                    slots[:] = 0
                    count = _group_cell(guide, valid, binned, (y0, y1, cuts[b], cuts[b + 1]), (top, left), begin,
                                        slots, codes, ids, sums, counts, count)  # fmt: skip
    return count


@jit
def _sums_to_means(sums, counts, per_pixel):
    """In place."""
    for i in range(counts.size):
        share = np.float32(1.0) / counts[i]
        sums[i, 0] = min(sums[i, 0] * share * per_pixel, LARGEST)
        sums[i, 1] = min(sums[i, 1] * share * per_pixel, LARGEST)
        for b in range(2, sums.shape[1]):
            sums[i, b] *= share
