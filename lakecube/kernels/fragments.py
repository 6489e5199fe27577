"""Superpixel ids from the codes of `kernels.slic`, with stray fragments joined to their neighbours: runs, not pixels.

A superpixel's main component (4-connected) is its largest, the first in the image among equals. Any other component
is a fragment and joins the neighbouring main component with which it shares the longest border (the first in lattice
order among equals); one without such a neighbour is an orphan and keeps an id of its own. One pass: what a
fragment joins was a main component before anything was joined, so there are no chains, and the reach is bounded.
"""

from __future__ import annotations

import numpy as np

from lakecube.kernels.jit import jit, jit_inline

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


@jit_inline
def _root(parent, k):
    while parent[k] != k:
        parent[k] = parent[parent[k]]
        k = parent[k]
    return k


@jit
def _find_runs(codes, step, origin_y, origin_x, cells, rows_at, start, label):
    """Runs of one superpixel along each row, as (start, label); how many, with ``rows_at[i]`` the first of row i."""
    rows, columns = codes.shape
    n = 0
    for i in range(rows):
        rows_at[i] = n
        before, last = (i + origin_y) // step * cells, np.int32(-2)
        for c in range(cells - 2):
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
    rows_at[rows] = n
    return n


@jit
def _join_runs(rows_at, start, label, columns, parent, size):
    """Union of the runs that touch vertically within one label; the root is the first, `size` its pixels."""
    n = rows_at[-1]
    for k in range(n):
        parent[k] = k
        size[k] = 0
    for i in range(1, rows_at.size - 1):
        a, b = rows_at[i - 1], rows_at[i]
        a_stop, b_stop = rows_at[i], rows_at[i + 1]
        while a < a_stop and b < b_stop:
            a_end = start[a + 1] if a + 1 < a_stop else columns
            b_end = start[b + 1] if b + 1 < b_stop else columns
            if label[a] == label[b]:
                p, q = _root(parent, a), _root(parent, b)
                if p < q:
                    parent[q] = p
                else:
                    parent[p] = q
            a, b = a + (a_end <= b_end), b + (b_end <= a_end)
    for i in range(rows_at.size - 1):
        for k in range(rows_at[i], rows_at[i + 1]):
            parent[k] = _root(parent, k)
            size[parent[k]] += (start[k + 1] if k + 1 < rows_at[i + 1] else columns) - start[k]


@jit
def _find_mains(n, label, parent, size, main, number):
    """The main run of each label, the fragment's number of each run (−1: main, −2: of none); how many fragments."""
    for k in range(n):
        if label[k] >= 0 and parent[k] == k and (main[label[k]] < 0 or size[k] > size[main[label[k]]]):
            main[label[k]] = k
    fragments = 0
    for k in range(n):
        if label[k] < 0:
            number[k] = -2
        elif main[label[k]] == parent[k]:
            number[k] = -1
        elif parent[k] == k:
            number[k] = fragments
            fragments += 1
        else:
            number[k] = number[parent[k]]  # the root comes first
    return fragments


@jit_inline
def _book(a, b, length, label, number, cells, borders):
    """Book a border of run a with run b, if a is of a fragment and b of a main component."""
    if number[a] >= 0 and number[b] == -1:
        away = np.uint32(label[b] - label[a] + 3 * cells + 3)  # rows · cells + columns, both from 0 to 6
        rows = away // np.uint32(cells)
        borders[number[a], rows * 7 + (away - rows * np.uint32(cells))] += length


@jit
def _measure_borders(rows_at, start, label, columns, number, cells, borders):
    """Pixel edges that each fragment shares with main components, by their offset in the lattice (7 × 7)."""
    for i in range(rows_at.size - 1):
        for k in range(rows_at[i], rows_at[i + 1] - 1):
            _book(k, k + 1, 1, label, number, cells, borders)
            _book(k + 1, k, 1, label, number, cells, borders)
        if i == 0:
            continue
        a, b = rows_at[i - 1], rows_at[i]
        a_stop, b_stop = rows_at[i], rows_at[i + 1]
        while a < a_stop and b < b_stop:
            a_end = start[a + 1] if a + 1 < a_stop else columns
            b_end = start[b + 1] if b + 1 < b_stop else columns
            if label[a] != label[b]:
                length = min(a_end, b_end) - max(start[a], start[b])
                _book(a, b, length, label, number, cells, borders)
                _book(b, a, length, label, number, cells, borders)
            a, b = a + (a_end <= b_end), b + (b_end <= a_end)


@jit
def joined_ids(codes, step, origin_y, origin_x, lattice_y, lattice_x, pixel_y, pixel_x, first, out):
    """Ids of the codes (y, x) with fragments joined, of the rows from `first`, into `out` (rows, x) int64.

    ``origin``: of the first pixel in its cell; ``lattice``: of the first cell; ``pixel``: of the first pixel.
    O(pixels).
    """
    rows, columns = codes.shape
    cells = max((columns + origin_x + step - 1) // step + 2, 7)  # at least 7, so that offsets have one meaning
    cell_rows = (rows + origin_y + step - 1) // step + 2
    rows_at = np.empty(rows + 1, np.int64)
    start, label = np.empty(codes.size, np.int32), np.empty(codes.size, np.int32)  # only pages written to are real
    n = _find_runs(codes, step, origin_y, origin_x, cells, rows_at, start, label)
    parent, size, number = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.int32)
    _join_runs(rows_at, start, label, columns, parent, size)
    main = np.full(cells * cell_rows, -1, np.int32)
    fragments = _find_mains(n, label, parent, size, main, number)
    borders = np.zeros((fragments, 49), np.int32)
    if fragments:
        _measure_borders(rows_at, start, label, columns, number, cells, borders)
    ids = np.empty(fragments, np.int64)
    for i in range(rows):
        for k in range(rows_at[i], rows_at[i + 1]):
            f = number[k]
            if f < 0 or parent[k] != k:
                continue
            best = 0
            for b in range(1, 49):
                if borders[f, b] > borders[f, best]:
                    best = b
            r, c = label[k] // cells + lattice_y - 1, label[k] % cells + lattice_x - 1
            joined = _pack(r + best // 7 - 3, c + best % 7 - 3)
            ids[f] = joined if borders[f, best] else (np.int64(1) << 62) | _pack(i + pixel_y, start[k] + pixel_x)
    for i in range(out.shape[0]):
        row = out[i]
        for k in range(rows_at[i + first], rows_at[i + first + 1]):
            stop = start[k + 1] if k + 1 < rows_at[i + first + 1] else columns
            here = label[k]
            value = np.int64(-1)
            if here >= 0:
                f = number[k]
                value = ids[f] if f >= 0 else _pack(here // cells + lattice_y - 1, here % cells + lattice_x - 1)
            for j in range(start[k], stop):
                row[j] = value
    return fragments
