"""Outlines of labelled regions along pixel edges, from their corners alone: block by block, exact, without any union.

An outline that runs along pixel edges is told by its corners: sorted along rows they pair up to its horizontal edges,
sorted along columns to its vertical ones. Whether a lattice vertex is a corner depends on the four pixels around it, so
corners are found in any block with one pixel of its neighbours, and those of one region can simply be put together:

1. `corners_block` on every window; windows overlap by one pixel and reach one pixel beyond the image;
2. `join_corners` of all windows, or of those that hold the wanted regions;
3. `trace_rings`: closed rings, inside on the left on a map with north up.

Pixels of a region that meet at a corner only are kept apart, and a ring that would touch itself is cut there, so that
every ring is simple and rings make valid polygons: shells run counterclockwise, holes clockwise.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lakecube.kernels.jit import jit

#: One corner: of which label, at which lattice vertex (row r is the upper edge of pixel row r), and how it turns.
CORNERS = np.dtype([("label", "i8"), ("row", "i4"), ("column", "i4"), ("turn", "u1")])
#: Bits of a turn: its horizontal edge goes right, its vertical edge goes down, the ring leaves along the horizontal.
_RIGHT, _DOWN, _OUT = 1, 2, 4


def corners_block(labels: np.ndarray, first_row: int, first_column: int) -> np.ndarray:
    """Corners at the vertices inside a window.

    labels (y + 1, x + 1) int64, 0 outside, the window's pixels; (first_row, first_column) the lattice place of its
    first inner vertex, which is the place in the image of its second pixel along both axes → (corners,) CORNERS.
    O(pixels).
    """
    labels = np.ascontiguousarray(labels)
    n = _corners(labels, first_row, first_column, np.zeros(0, CORNERS))
    out = np.empty(n, CORNERS)
    _corners(labels, first_row, first_column, out)
    return out


def join_corners(parts: Iterable[np.ndarray]) -> np.ndarray:
    """Corners of several windows that have no vertex in common, sorted as `trace_rings` wants them."""
    joined = np.concatenate([np.zeros(0, CORNERS), *parts])
    return joined[np.lexsort((joined["turn"] & _RIGHT, joined["column"], joined["row"], joined["label"]))]


def trace_rings(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rings of the regions, all of whose corners are given.

    corners (n,) CORNERS of `join_corners` → vertices (n,) int64, positions in `corners` ring after ring, each once and
    beginning with the uppermost, leftmost; starts (rings + 1,) int64 into them; is_hole (rings,) bool. Rings are in the
    order of their first vertices, hence of their labels. O(n log n).
    """
    turn, column, row = corners["turn"], corners["column"], corners["row"]
    order = np.lexsort(((turn & _DOWN), row, column, corners["label"]))
    below = np.empty(len(corners), np.int64)
    below[order[0::2]], below[order[1::2]] = order[1::2], order[0::2]
    same = np.zeros(len(corners) + 1, bool)
    same[1:-1] = (row[1:] == row[:-1]) & (column[1:] == column[:-1]) & (corners["label"][1:] == corners["label"][:-1])
    vertices, starts = _trace(below, (turn & _OUT) > 0, same)
    return _ordered(vertices, starts, row, column)


@jit
def _corners(labels, first_row, first_column, out):
    """Write corners to `out` if it has room for them; how many there are."""
    n = 0
    for i in range(labels.shape[0] - 1):
        for j in range(labels.shape[1] - 1):
            a, b, c, d = labels[i, j], labels[i, j + 1], labels[i + 1, j], labels[i + 1, j + 1]
            if (a == b and c == d) or (a == c and b == d):
                continue  # inside, outside, or a straight edge
            row, column = i + first_row, j + first_column
            n = _corners_of(a, a, b, c, d, row, column, out, n)
            if b != a:
                n = _corners_of(b, a, b, c, d, row, column, out, n)
            if c != a and c != b:
                n = _corners_of(c, a, b, c, d, row, column, out, n)
            if d != a and d != b and d != c:
                n = _corners_of(d, a, b, c, d, row, column, out, n)
    return n


@jit
def _corners_of(label, a, b, c, d, row, column, out, n):
    """One label's corners at a vertex: at its only pixel, at its only missing one, or at both of two in a diagonal."""
    if label <= 0:
        return n
    there = (a == label) | (b == label) << 1 | (c == label) << 2 | (d == label) << 3
    several = (a == label) + (b == label) + (c == label) + (d == label)
    for q in range(4):
        inside = there >> q & 1
        alone = several == 1 or (several == 2 and (there == 9 or there == 6))
        if (alone and inside) or (several == 3 and not inside):
            if n < out.size:
                leaves = ((q == 1 or q == 2) and inside) or ((q == 0 or q == 3) and not inside)
                out[n].label, out[n].row, out[n].column = label, row, column
                out[n].turn = q | 4 * leaves  # bit 0 of a quadrant: right; bit 1: down
            n += 1
    return n


@jit
def _trace(below, leaves_along_row, same):
    """Follow the edges, cut rings where they meet themselves: vertices ring after ring, and where rings start.

    A row's corners are paired in their order, so the other end of the horizontal edge of k is k ^ 1; ``below[k]`` is
    that of its vertical one. ``same[k]``: corners k − 1 and k are at one place.
    """
    n = below.size
    out, starts = np.empty(n, np.int64), np.empty(n + 1, np.int64)
    place, path = np.full(n, -1, np.int64), np.empty(n, np.int64)  # place: in the path, −2 once done
    written = rings = 0
    for first in range(n):
        if place[first] != -1:
            continue
        depth, k = 0, first
        while place[k] == -1:
            twin = k - 1 if same[k] else (k + 1 if same[k + 1] else -1)
            if twin >= 0 and place[twin] >= 0:  # back at a place of this path: what lies between is a ring
                starts[rings] = written
                rings += 1
                begin = place[twin]
                for m in range(begin, depth):
                    out[written] = path[m]
                    place[path[m]] = -2
                    written += 1
                depth = begin
            path[depth], place[k] = k, depth
            depth += 1
            k = k ^ 1 if leaves_along_row[k] else below[k]
        starts[rings] = written
        rings += 1
        for m in range(depth):
            out[written] = path[m]
            place[path[m]] = -2
            written += 1
    starts[rings] = written
    return out, starts[: rings + 1]


@jit
def _ordered(vertices, starts, row, column):
    """Rings turned to begin with their smallest vertex, sorted by it; and which of them run clockwise."""
    rings = starts.size - 1
    least, at = np.empty(rings, np.int64), np.empty(rings, np.int64)
    for r in range(rings):
        at[r] = starts[r]
        for m in range(starts[r], starts[r + 1]):
            if vertices[m] < vertices[at[r]]:
                at[r] = m
        least[r] = vertices[at[r]]
    order = np.argsort(least)
    out, ends, is_hole = np.empty_like(vertices), np.zeros(rings + 1, np.int64), np.empty(rings, np.bool_)
    for k in range(rings):
        r, base = order[k], ends[k]
        size, away = starts[r + 1] - starts[r], at[r] - starts[r]
        twice = np.int64(0)
        for m in range(size):
            here = vertices[starts[r] + (m + away) % size]
            after = vertices[starts[r] + (m + away + 1) % size]
            out[base + m] = here
            twice += np.int64(row[here]) * column[after] - np.int64(row[after]) * column[here]
        ends[k + 1] = base + size
        is_hole[k] = twice < 0
    return out, ends, is_hole
