"""Superpixel ids from the codes of `kernels.slic`, with small fragments joined to their neighbours: runs, not pixels.

The pixels of one code fall into components (4-connected). One of at least `step` pixels stays what it is. A smaller one
is a fragment and joins the neighbour with which it shares the longest border (the first in the image among equals), in
`PASSES` passes: in the first a component that stays, in the next also what has joined one by then. All fragments of a
pass join at once, so the order does not matter; one that has found nobody after the last pass stays, too. Since a
fragment is less than a step across, the reach is bounded.

The largest component of a superpixel (the first in the image among equals) has the superpixel's id, any other that
stays one of its own.

Measured on the middles (512²) of 32 real pictures at a step of 16 (``python -m benchmarks.refine_esw``): boundary
recall 0.917 and under-segmentation error 0.0200 with 1,385 superpixels; scikit-image 0.890 and 0.0261 with 1,455. With
fragments left as they are both have 0.947 and 0.0200.
"""

from __future__ import annotations

import numpy as np

from lakecube.kernels.jit import jit, jit_inline
from lakecube.kernels.sets import root, unite

#: The id of pixels that belong to no superpixel.
NO_SUPERPIXEL = -1
#: Added to rows and columns before they are packed into an id, so that both are positive.
SHIFT = 2**30
#: The bit of the id of a component that is not its superpixel's largest; row and column are those of its first pixel.
APART = 2**62
#: How often fragments join. A third pass finds next to none.
PASSES = 2
_NONE = 15


@jit_inline
def _pack(row, column):
    return (np.int64(row + 2**30) << 31) | np.int64(column + 2**30)


def lattice_index(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lattice row and column of superpixel ids, int64; with the bit `APART` those of the first pixel."""
    ids = np.asarray(ids, np.int64) & (APART - 1)
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
def _find_largest(n, label, parent, size, largest):
    """The root of each label's largest component, the first among equals, into `largest`, which is −1 at first."""
    for k in range(n):
        here = label[k]
        if here >= 0 and parent[k] == k and (largest[here] < 0 or size[k] > size[largest[here]]):
            largest[here] = k


@jit
def _find_fragments(n, label, parent, size, step, owner, fragments):
    """Of each run the root of its component or, if that is fragment f, −1 − f into `owner`; how many fragments.

    Puts the root of each fragment into `fragments`.
    """
    count = 0
    for k in range(n):
        root = parent[k]
        owner[k] = root
        if size[root] < step and label[k] >= 0:
            if root == k:
                fragments[count] = k
                count += 1
                owner[k] = -count
            else:
                owner[k] = owner[root]
    return count


@jit_inline
def _note(here, other, length, count, last, notes):
    """Note what a fragment has beside it: (owner or fragment, pixel edges, the fragment's note before)."""
    f = np.intp(-1 - here)
    notes[count, 0] = other
    notes[count, 1] = length
    notes[count, 2] = last[f]
    last[f] = count


@jit
def _find_borders(rows_at, start, label, owner, last, notes):
    """Notes of the borders of all fragments; `last` is the latest of each."""
    count = 0
    for i in range(rows_at.size - 1):
        for k in range(rows_at[i], rows_at[i + 1] - 1):
            p, q = owner[k], owner[k + 1]
            if min(p, q) < 0 and min(label[k], label[k + 1]) >= 0:
                if p < 0:
                    _note(p, q, 1, count, last, notes)
                    count += 1
                if q < 0:
                    _note(q, p, 1, count, last, notes)
                    count += 1
        if i == 0:
            continue
        a, b = rows_at[i - 1], rows_at[i]
        a_stop, b_stop = rows_at[i] - 1, rows_at[i + 1] - 1
        while a < a_stop and b < b_stop:
            a_end, b_end = start[a + 1], start[b + 1]
            p, q = owner[a], owner[b]
            if min(p, q) < 0 and p != q and min(label[a], label[b]) >= 0:
                length = min(a_end, b_end) - max(start[a], start[b])
                if p < 0:
                    _note(p, q, length, count, last, notes)
                    count += 1
                if q < 0:
                    _note(q, p, length, count, last, notes)
                    count += 1
            a, b = a + (a_end <= b_end), b + (b_end <= a_end)


@jit
def _join_fragments(fragments, step, passes, last, notes, owner):
    """Give each fragment, and with it all of its runs, the component that it joins, or itself."""
    beside = np.empty((2, 2 * step), np.int32)  # a fragment has at most 2 · step edges
    joined, joins = np.full(fragments.size, -1, np.int32), np.empty(fragments.size, np.int32)
    alone, n = np.arange(fragments.size), fragments.size
    for _ in range(passes):
        for k in range(n):
            joins[k] = _closest(last[alone[k]], notes, joined, beside)
        still, n = n, 0
        for k in range(still):
            if joins[k] >= 0:
                joined[alone[k]] = joins[k]
            else:
                alone[n] = alone[k]
                n += 1
    for k in range(n):
        joined[alone[k]] = fragments[alone[k]]
    for k in range(owner.size):
        if owner[k] < 0:
            owner[k] = joined[-1 - owner[k]]


@jit
def _closest(note, notes, joined, beside):
    """The component with the longest common border, the first among equals; −1 if there is none yet."""
    n, best = 0, 0
    while note >= 0:
        here = notes[note, 0]
        if here < 0:
            here = joined[-1 - here]
        if here >= 0:
            k = 0
            while k < n and beside[0, k] != here:
                k += 1
            if k == n:
                beside[0, k], beside[1, k] = here, 0
                n += 1
            beside[1, k] += notes[note, 1]
            more = beside[1, k] - beside[1, best]
            if more > 0 or (more == 0 and here < beside[0, best]):
                best = k
        note = notes[note, 2]
    return beside[0, best] if n else np.int32(-1)


@jit
def _name(rows_at, start, label, largest, owner, cells, lattice_y, lattice_x, pixel_y, pixel_x, ids):
    """The id of each component, at its root."""
    for i in range(rows_at.size - 1):
        for k in range(rows_at[i], rows_at[i + 1]):
            here = label[k]
            if here < 0:
                ids[k] = -1
            elif largest[here] == k:
                ids[k] = _pack(here // cells + lattice_y - 1, here % cells + lattice_x - 1)
            elif owner[k] == k:
                ids[k] = (np.int64(1) << 62) | _pack(i + pixel_y, start[k] + pixel_x)


@jit
def _paint(rows_at, start, owner, ids, first, out):
    """Ids of the runs of the rows from `first`. A run is written eight pixels at a time; the next one corrects it."""
    columns = out.shape[1]
    line = np.empty(columns + 8, np.int64)
    for i in range(out.shape[0]):
        for k in range(rows_at[i + first], rows_at[i + first + 1] - 1):
            value = ids[owner[k]]
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
) -> None:  # fmt: skip
    """Ids of the codes (y, x) with fragments joined, of the rows from `first`, into `out` (rows, x) int64.

    `origin`: of the first pixel in its cell; `lattice`: of the first cell; `pixel`: of the first pixel. O(pixels).
    Memory is NumPy's and not Numba's: NumPy asks for large pages, and small ones took a quarter of the time.
    """
    rows, columns = codes.shape
    across, down = ((n + o + step - 1) // step + 2 for n, o in ((columns, origin[1]), (rows, origin[0])))
    rows_at = np.empty(rows + 1, np.int64)
    start, label = np.empty((2, codes.size + rows), np.int32)  # only the pages that are written to become real
    n = _find_runs(codes, step, *origin, across, rows_at, start, label)
    parent, size, owner = np.empty((3, n), np.int32)
    _join_runs(rows_at, start, label, parent, size)
    largest = np.full(across * down, -1, np.int32)
    _find_largest(n, label, parent, size, largest)
    fragments = np.empty(n, np.int32)
    fragments = fragments[: _find_fragments(n, label, parent, size, step, owner, fragments)]
    last, notes = np.full(fragments.size, -1, np.int32), np.empty((6 * n, 3), np.int32)
    _find_borders(rows_at, start, label, owner, last, notes)
    _join_fragments(fragments, step, PASSES, last, notes, owner)
    ids = np.empty(n, np.int64)
    _name(rows_at, start, label, largest, owner, across, *lattice, *pixel, ids)
    _paint(rows_at, start, owner, ids, first, out)
