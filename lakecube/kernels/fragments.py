"""Superpixel ids from the codes of `kernels.slic`, with stray fragments joined to their neighbours: runs, not pixels.

A superpixel's main component (4-connected) is its largest, the first in the image among equals. Any other component
is a fragment and joins the neighbouring main component with which it shares the longest border (the first in lattice
order among equals); one without such a neighbour is an orphan and keeps an id of its own. One pass: what a
fragment joins was a main component before anything was joined, so there are no chains, and the reach is bounded.
"""

from __future__ import annotations

import numpy as np

from lakecube.kernels.jit import jit, jit_inline
from lakecube.kernels.sets import root, unite

#: The id of pixels that belong to no superpixel.
NO_SUPERPIXEL = -1
#: Added to rows and columns before they are packed into an id, so that both are positive.
SHIFT = 2**30
#: The bit of an orphan's id; its row and column are those of its first pixel, not of a lattice cell.
ORPHAN = 2**62
_NONE = 15


@jit_inline
def _pack(row, column):
    return (np.int64(row + 2**30) << 31) | np.int64(column + 2**30)


def lattice_index(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lattice row and column of superpixel ids, int64; of an orphan those of its first pixel."""
    ids = np.asarray(ids, np.int64) & (ORPHAN - 1)
    return (ids >> 31) - SHIFT, (ids & (2**31 - 1)) - SHIFT


@jit
def label_ids(codes, step, origin_y, origin_x, lattice_y, lattice_x, first, out):
    """Ids of the codes (y, x), fragments left as they are, of the rows from `first`, into `out`."""
    columns = codes.shape[1]
    for i in range(out.shape[0]):
        r = (i + first + origin_y) // step + lattice_y - 1
        c, until = lattice_x - 1, step - origin_x
        for j in range(columns):
            if j == until:
                c += 1
                until += step
            code = codes[i + first, j]
            out[i, j] = -1 if code == _NONE else _pack(r + code // 3, c + code % 3)


@jit
def _find_runs(codes, step, origin_y, origin_x, cells, rows_at, start, label):
    """Runs of one superpixel along each row, as (start, label); how many, with ``rows_at[i]`` the first of row i.

    A run ends where the next begins: behind each row's last stands one of no superpixel and no pixels.
    """
    rows, columns = codes.shape
    n = 0
    for i in range(rows):
        rows_at[i] = n
        before, last = (i + origin_y) // step * cells, np.int32(-2)
        for c in range((columns + origin_x + step - 1) // step):
            j, stop = max(c * step - origin_x, 0), min((c + 1) * step - origin_x, columns)
            while j < stop:
                code = codes[i, j]
                here = np.int32(-1) if code == _NONE else np.int32(before + code // 3 * cells + c + code % 3)
                if here != last:
                    start[n] = j
                    label[n] = here
                    n += 1
                    last = here
                j += 1
                while j < stop and codes[i, j] == code:
                    j += 1
        start[n] = columns
        label[n] = -1
        n += 1
    rows_at[rows] = n
    return n


@jit
def _join_runs(rows_at, start, label, parent, size):
    """Union of the runs that touch vertically within one label; the root is the first, `size` its pixels."""
    n = rows_at[-1]
    for k in range(n):
        parent[k] = k
        size[k] = 0
    for i in range(1, rows_at.size - 1):
        a, b = rows_at[i - 1], rows_at[i]
        a_stop, b_stop = rows_at[i] - 1, rows_at[i + 1] - 1
        while a < a_stop and b < b_stop:
            if label[a] == label[b] and label[a] >= 0:
                unite(parent, a, b)
            a_end, b_end = start[a + 1], start[b + 1]
            a, b = a + (a_end <= b_end), b + (b_end <= a_end)
    for i in range(rows_at.size - 1):
        for k in range(rows_at[i], rows_at[i + 1] - 1):
            parent[k] = root(parent, k)
            size[parent[k]] += start[k + 1] - start[k]


@jit
def _find_mains(n, label, parent, size, main, slot):
    """Of each run the slot of its id: its label if of a main component, number of labels + fragment, −1 if of none.

    Puts the main run of each label into `main`; returns how many fragments there are.
    """
    for k in range(n):
        if label[k] >= 0 and parent[k] == k and (main[label[k]] < 0 or size[k] > size[main[label[k]]]):
            main[label[k]] = k
    fragments = 0
    for k in range(n):
        here = label[k]
        if here < 0:
            slot[k] = -1
        elif main[here] == parent[k]:
            slot[k] = here
        elif parent[k] == k:
            slot[k] = main.size + fragments
            fragments += 1
        else:
            slot[k] = slot[parent[k]]  # the root comes first
    return fragments


@jit_inline
def _book(here, other, length, label, slot, labels, shift, borders, best):
    """Book the border of a run with another, if the one is of a fragment and the other of a main component.

    `best` holds the longest border of each fragment so far and, six bits lower, where it is: the first in lattice
    order is the largest.
    """
    if slot[here] >= labels and 0 <= slot[other] < labels:
        # rows and columns from 0 to 6, the columns in the low bits
        away = label[other] - label[here] + np.int32(3) * (np.int32(1) << np.int32(shift)) + np.int32(3)
        where = np.intp(away >> shift) * 7 + np.intp(away & ((1 << shift) - 1))
        fragment = slot[here] - labels
        borders[fragment, where] += length
        best[fragment] = max(best[fragment], (np.int64(borders[fragment, where]) << 6) + 48 - where)


@jit
def _measure_borders(rows_at, start, label, slot, labels, shift, borders, best):
    """Pixel edges that each fragment shares with main components, by their offset in the lattice (7 × 7).

    `best`: the longest, as `_book` packs it; 0: none.
    """
    for i in range(rows_at.size - 1):
        for k in range(rows_at[i], rows_at[i + 1] - 1):
            _book(k, k + 1, 1, label, slot, labels, shift, borders, best)
            _book(k + 1, k, 1, label, slot, labels, shift, borders, best)
        if i == 0:
            continue
        a, b = rows_at[i - 1], rows_at[i]
        a_stop, b_stop = rows_at[i] - 1, rows_at[i + 1] - 1
        while a < a_stop and b < b_stop:
            a_end, b_end = start[a + 1], start[b + 1]
            if max(slot[a], slot[b]) >= labels:
                length = min(a_end, b_end) - max(start[a], start[b])
                _book(a, b, length, label, slot, labels, shift, borders, best)
                _book(b, a, length, label, slot, labels, shift, borders, best)
            a, b = a + (a_end <= b_end), b + (b_end <= a_end)


@jit
def _ids_of_slots(rows_at, start, label, parent, slot, best, labels, cells, lattice_y, lattice_x, pixel_y, pixel_x):
    """The id of each slot: of the labels, of the fragments, and last that of no superpixel."""
    ids = np.empty(labels + best.size + 1, np.int64)
    ids[-1] = -1
    for k in range(labels):
        ids[k] = _pack(k // cells + lattice_y - 1, k % cells + lattice_x - 1)
    for i in range(rows_at.size - 1):
        for k in range(rows_at[i], rows_at[i + 1]):
            f = slot[k] - labels
            if f < 0 or parent[k] != k:
                continue
            if best[f] == 0:
                ids[slot[k]] = (np.int64(1) << 62) | _pack(i + pixel_y, start[k] + pixel_x)
                continue
            where = 48 - (best[f] & 63)
            r, c = label[k] // cells + lattice_y - 1, label[k] % cells + lattice_x - 1
            ids[slot[k]] = _pack(r + where // 7 - 3, c + where % 7 - 3)
    return ids


@jit
def _paint(rows_at, start, slot, ids, first, out):
    """Ids of the runs of the rows from `first`. A run is written eight pixels at a time; the next one corrects it."""
    columns = out.shape[1]
    line = np.empty(columns + 8, np.int64)
    for i in range(out.shape[0]):
        for k in range(rows_at[i + first], rows_at[i + first + 1] - 1):
            value = ids[slot[k]]
            j, end = start[k], start[k + 1]
            while j < end:
                for t in range(8):
                    line[np.uintp(j + t)] = value
                j += 8
        row = out[i]
        for j in range(columns):
            row[j] = line[j]


def joined_ids(
    codes: np.ndarray, step: int, origin: tuple[int, int], lattice: tuple[int, int], pixel: tuple[int, int],
    first: int, out: np.ndarray,
) -> int:  # fmt: skip
    """Ids of the codes (y, x) with fragments joined, of the rows from `first`, into `out` (rows, x) int64; how many.

    `origin`: of the first pixel in its cell; `lattice`: of the first cell; `pixel`: of the first pixel. O(pixels).
    Memory is NumPy's and not Numba's: NumPy asks for large pages, and small ones took a quarter of the time.
    """
    rows, columns = codes.shape
    across, down = ((n + o + step - 1) // step + 2 for n, o in ((columns, origin[1]), (rows, origin[0])))
    shift = max(int(across - 1).bit_length(), 3)  # at least 7 cells to a row: offsets have one meaning; split by bits
    cells, labels = 1 << shift, down << shift
    rows_at = np.empty(rows + 1, np.int64)
    start, label = np.empty((2, codes.size + rows), np.int32)  # only the pages that are written to become real
    n = _find_runs(codes, step, *origin, cells, rows_at, start, label)
    parent, size, slot = np.empty((3, n), np.int32)
    _join_runs(rows_at, start, label, parent, size)
    fragments = _find_mains(n, label, parent, size, np.full(labels, -1, np.int32), slot)
    best = np.zeros(fragments, np.int64)
    if fragments:
        borders = np.zeros((fragments, 49), np.int32)
        _measure_borders(rows_at, start, label, slot, labels, shift, borders, best)
    ids = _ids_of_slots(rows_at, start, label, parent, slot, best, labels, cells, *lattice, *pixel)
    _paint(rows_at, start, slot, ids, first, out)
    return int(fragments)
