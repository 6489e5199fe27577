"""The iterations of `kernels.slic`: assignment of pixels to centres and sums over superpixels, compiled.

Pixels lie cell by cell, each cell filled up to whole vectors: within a cell the nine candidates are the same, so 16
pixels at a time are compared with centres that stay in registers (`kernels.lanes`). Sums are kept from one iteration to
the next, and only pixels that change their superpixel are taken from one sum and added to another.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from lakecube.kernels.jit import jit, jit_inline
from lakecube.kernels.lanes import LANES, WORD, lowest_bit, nearest
from lakecube.kernels.slic_quanta import INVALID, Scaling
from lakecube.kernels.threads import threads as sharing

#: The code of a pixel that belongs to no superpixel; the others are 0 to 8, own cell 4, in lattice order.
NONE = 15
_FAR = np.int32(2**30)
#: Pixels whose sums fit beside each other in one int64.
_BATCH = 2048


class Cells(NamedTuple):
    """The pixels of an image, cell by cell."""

    features: np.ndarray
    """int32 (pairs, n): packed features, 0 where a pixel has no part."""
    rows: np.ndarray
    """int64: edges of the rows of cells, in pixels of the image."""
    columns: np.ndarray
    """int64: edges of the columns of cells."""
    starts: np.ndarray
    """int64 (rows of cells, columns of cells): where each cell's pixels begin; a multiple of the vectors' length."""
    origin: tuple[int, int]
    """Place of the first pixel in its cell."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of sums and centres: one cell more on all sides; features, then x, y and count."""
        return self.starts.shape[0] + 2, self.starts.shape[1] + 2, 2 * len(self.features) + 3


def empty_cells(pairs: int, shape: tuple[int, int], step: int, anchor: tuple[int, int]) -> tuple[Cells, np.ndarray]:
    """Room for the features and the codes, uint8 (n,), of an image; `lay_out` fills it."""
    origin = anchor[0] % step, anchor[1] % step
    edges = [
        np.clip(np.arange(-(-(size + first) // step) + 1) * step - first, 0, size)
        for size, first in zip(shape, origin, strict=True)
    ]
    sizes = np.diff(edges[0])[:, np.newaxis] * np.diff(edges[1])
    stops = np.cumsum(-(-sizes // LANES) * LANES).reshape(sizes.shape)
    starts = np.concatenate([[0], stops.ravel()[:-1]]).reshape(sizes.shape)
    features = np.empty((pairs, stops[-1, -1]), np.int32)
    return Cells(features, edges[0], edges[1], starts, origin), np.empty(stops[-1, -1], np.uint8)


def lay_out(pairs: np.ndarray, cells: Cells, codes: np.ndarray, part: tuple[int, int]) -> None:
    """Fill some rows of cells with packed features (pairs, y, x) and the codes of the start."""
    _lay_out_codes(pairs[0], *cells[1:4], *part, codes)
    for layer, features in zip(pairs, cells.features, strict=True):
        _lay_out(layer, pairs[0], *cells[1:4], *part, features)


def to_cells(pairs: np.ndarray, step: int, anchor: tuple[int, int]) -> tuple[Cells, np.ndarray]:
    """Packed features (pairs, y, x) cell by cell, and the codes of the start, uint8 (n,): every pixel in its own."""
    cells, codes = empty_cells(len(pairs), pairs.shape[1:], step, anchor)
    lay_out(pairs, cells, codes, (0, len(cells.starts)))
    return cells, codes


@jit
def _lay_out(layer, first, ys, xs, starts, r0, r1, out):
    for r in range(r0, r1):
        for c in range(starts.shape[1]):
            at, left, width = starts[r, c], np.uintp(xs[c]), np.uintp(xs[c + 1] - xs[c])
            for i in range(ys[r] - ys[r0], ys[r + 1] - ys[r0]):
                for j in range(width):  # without slices, which cost more than a short row
                    value = layer[np.uintp(i), left + j]
                    out[np.uintp(at) + j] = np.int32(0) if first[np.uintp(i), left + j] == INVALID else value
                at += np.intp(width)
            while at % LANES:
                out[at] = 0
                at += 1


@jit
def _lay_out_codes(first, ys, xs, starts, r0, r1, codes):
    for r in range(r0, r1):
        for c in range(starts.shape[1]):
            at, left, width = starts[r, c], np.uintp(xs[c]), np.uintp(xs[c + 1] - xs[c])
            for i in range(ys[r] - ys[r0], ys[r + 1] - ys[r0]):
                for j in range(width):
                    lead = first[np.uintp(i), left + j]
                    codes[np.uintp(at) + j] = np.uint8(15) if lead == INVALID else np.uint8(4)
                at += np.intp(width)
            while at % LANES:
                codes[at] = 15
                at += 1


@jit
def _to_image(codes, ys, xs, starts, out, r0, r1):
    for r in range(r0, r1):
        for c in range(starts.shape[1]):
            at, left, width = starts[r, c], np.uintp(xs[c]), np.uintp(xs[c + 1] - xs[c])
            for i in range(ys[r], ys[r + 1]):
                for j in range(width):
                    out[np.uintp(i), left + j] = codes[np.uintp(at) + j]
                at += np.intp(width)


def to_image(codes: np.ndarray, cells: Cells) -> np.ndarray:
    """Codes of cells as an image, uint8 (y, x)."""
    out = np.empty((cells.rows[-1], cells.columns[-1]), np.uint8)
    _to_image(codes, *cells[1:4], out, 0, len(cells.starts))
    return out


@jit_inline
def _packed(low, high):
    return np.int32((low & 0xFFFF) | (high << 16))


@jit
def _candidates(centres, r, c, span, weights, base):
    """The nine candidates of the cell (r, c): what `lanes.nearest` multiplies and adds."""
    pairs = weights.shape[1] - 1
    last = 2 * pairs
    for k in range(9):
        centre = centres[r + k // 3, c + k % 3]
        if centre[last + 2] == 0:
            weights[k] = 0
            base[k] = _FAR
            continue
        x, y = centre[last] + (k % 3 - 1) * span, centre[last + 1] + (k // 3 - 1) * span
        square = x * x + y * y
        for p in range(pairs):
            a, b = centre[2 * p], centre[2 * p + 1]
            square += a * a + b * b
            weights[k, p] = _packed(-2 * a, -2 * b)
        weights[k, pairs] = _packed(-2 * x, -2 * y)
        base[k] = np.int32(16 * square + k)


@jit
def _places(y0, y1, x0, x1, offsets, xy):
    """Of a cell's pixels: their quanta of place, packed."""
    t = 0
    for y in range(y0, y1):
        for x in range(x0, x1):
            xy[t] = (16 * offsets[x]) | np.int32(offsets[y] << 20)
            t += 1
    xy[t:] = 0


@jit
def _book(table, touched, r, c, step, sums):
    """Add the sums of a batch of one cell's pixels, by code, to their superpixels; clear the table."""
    pairs = table.shape[0] - 1
    while touched:
        k = lowest_bit(touched)
        touched &= touched - 1
        total = sums[r + k // 3, c + k % 3]
        for p in range(pairs):
            low = np.int64(np.int32(table[p, k] & 0xFFFFFFFF))
            total[2 * p] += low
            total[2 * p + 1] += (table[p, k] - low) >> 32
        packed = table[pairs, k]
        x = ((packed & 0xFFFFFF) ^ 0x800000) - 0x800000
        packed = (packed - x) >> 24
        y = ((packed & 0xFFFFFF) ^ 0x800000) - 0x800000
        n = (packed - y) >> 24
        total[2 * pairs] += x - n * (k % 3 - 1) * step
        total[2 * pairs + 1] += y - n * (k // 3 - 1) * step
        total[2 * pairs + 2] += n
        table[:, k] = 0


@jit
def _sum_cells(features, codes, ys, xs, starts, origin_y, origin_x, step, r0, r1, sums):
    """Sums of the rows of cells r0 to r1, every pixel in its own cell."""
    for r in range(r0, r1):
        for c in range(starts.shape[1]):
            total = sums[r + 1, c + 1]
            at = starts[r, c]
            for y in range(ys[r] + origin_y - r * step, ys[r + 1] + origin_y - r * step):
                n, x = (
                    np.int32(0),
                    np.int32(0),
                )  # a row of a cell has at most 2¹² pixels, a feature less than 2¹⁵ quanta
                for j in range(xs[c + 1] - xs[c]):
                    here = np.int32(codes[np.uintp(at + j)] != 15)
                    n = np.int32(n + here)
                    x = np.int32(x + here * np.int32(j))
                total[2 * len(features)] += x + np.int64(n) * (xs[c] + origin_x - c * step)
                total[2 * len(features) + 1] += n * y
                total[2 * len(features) + 2] += n
                for p in range(len(features)):
                    row, low, high = features[p], np.int32(0), np.int32(0)
                    for j in range(at, at + xs[c + 1] - xs[c]):
                        low = np.int32(low + np.int16(row[np.uintp(j)]))
                        high = np.int32(high + (row[np.uintp(j)] >> 16))
                    total[2 * p] += low
                    total[2 * p + 1] += high
                at += xs[c + 1] - xs[c]


@jit
def _assign(features, old, new, centres, offsets, ys, xs, starts, origin_y, origin_x, r0, r1, sums):
    """Give the pixels of the rows of cells r0 to r1 to their nearest centres; add what moved to `sums`."""
    pairs = len(features)
    step = offsets.size - 1
    weights, base = np.empty((9, pairs + 1), np.int32), np.empty(9, np.int32)
    table, moves = np.zeros((pairs + 1, 16), np.int64), np.empty(_BATCH // WORD, np.int64)
    xy = np.empty(0, np.int32)
    known = (0, 0, 0, 0)
    for r in range(r0, r1):
        y0, y1 = ys[r] + origin_y - r * step, ys[r + 1] + origin_y - r * step
        for c in range(starts.shape[1]):
            x0, x1 = xs[c] + origin_x - c * step, xs[c + 1] + origin_x - c * step
            n = (y1 - y0) * (x1 - x0)
            if known != (y0, y1, x0, x1):
                room = (n + LANES - 1) // LANES * LANES
                xy = np.empty(room, np.int32)
                _places(y0, y1, x0, x1, offsets, xy)
                known = (y0, y1, x0, x1)
            # what a pixel adds to x, y and count, in one int64; its row by a product: t · (x1 − x0) is less than 2⁴⁰
            corner, whole = (np.int64(1) << 48) + (y0 << 24) + x0, ((np.int64(1) << 40) - 1) // (x1 - x0) + 1
            _candidates(centres, r, c, offsets[step], weights, base)
            at = starts[r, c]
            for begin in range(0, n, _BATCH):
                stop, touched = min(begin + _BATCH, n), np.int64(0)
                for j in range(begin, stop, WORD):
                    word = np.int64(0)
                    for t in range(j, min(j + WORD, stop), LANES):
                        word |= nearest(features, xy, weights, base, old, new, at, t) << (t - j)
                    moves[(j - begin) // WORD] = word
                for j in range(begin, stop, WORD):
                    moved = moves[(j - begin) // WORD]
                    while moved:
                        t = j + lowest_bit(moved)
                        moved &= moved - 1
                        a, b = np.uintp(old[np.uintp(at + t)]), np.uintp(new[np.uintp(at + t)])
                        touched |= (np.int64(1) << np.int64(a)) | (np.int64(1) << np.int64(b))
                        for p in range(pairs):
                            value = features[p][np.uintp(at + t)]
                            both = (np.int64(value >> 16) << 32) + np.int64(np.int16(value))
                            table[p, a] -= both
                            table[p, b] += both
                        y = (t * whole) >> 40
                        place = corner + (y << 24) + t - y * (x1 - x0)
                        table[pairs, a] -= place
                        table[pairs, b] += place
                _book(table, touched, r, c, step, sums)


@jit
def _means(sums, position, centres):
    """Centres (rows, columns, features and x, y, count) from sums; halves are rounded up."""
    rows, columns, last = sums.shape
    last -= 1
    for r in range(rows):
        for c in range(columns):
            n = sums[r, c, last]
            centres[r, c, last] = n
            if n == 0:
                continue
            for f in range(last - 2):
                centres[r, c, f] = (2 * (sums[r, c, f] // 16) + n) // (2 * n)
            for f in range(last - 2, last):
                centres[r, c, f] = (2 * sums[r, c, f] * position + 256 * n) // (512 * n)


def first_sums(cells: Cells, codes: np.ndarray, step: int, part: tuple[int, int] | None = None) -> np.ndarray:
    """Sums over the cells' own pixels, int64 (`Cells.shape`), of the rows of cells in `part` or of all."""
    sums = np.zeros(cells.shape, np.int64)
    part = part or (0, cells.starts.shape[0])
    _sum_cells(tuple(cells.features), codes, *cells[1:4], *cells.origin, step, *part, sums)
    return sums


def reassign(
    cells: Cells, codes: np.ndarray, new: np.ndarray, centres: np.ndarray, scaling: Scaling,
    part: tuple[int, int] | None = None,
) -> np.ndarray:  # fmt: skip
    """Nearest centres of the pixels of some rows of cells, into `new`; returns what that changes in the sums."""
    change = np.zeros(cells.shape, np.int64)
    part = part or (0, cells.starts.shape[0])
    _assign(
        tuple(cells.features), codes, new, centres, scaling.offsets(), *cells[1:4], *cells.origin, *part, change
    )  # fmt: skip
    return change


def means(sums: np.ndarray, scaling: Scaling) -> np.ndarray:
    """Centres of sums, int32 (`Cells.shape`)."""
    centres = np.zeros(sums.shape, np.int32)
    _means(sums, scaling.position, centres)
    return centres


def shares(cells: Cells, count: int) -> list[tuple[int, int]]:
    """The rows of cells in about so many equal parts."""
    rows = len(cells.starts)
    edges = np.linspace(0, rows, max(min(count, rows), 1) + 1).astype(int).tolist()
    return list(pairwise(edges))


def cluster(cells: Cells, codes: np.ndarray, scaling: Scaling, iterations: int, threads: int = 1) -> np.ndarray:
    """Codes (y, x) uint8 from those of the start: which of the 3 × 3 cells around its own a pixel belongs to."""
    parts = shares(cells, threads)
    new = np.empty_like(codes)
    with sharing(len(parts)) as each:
        sums = sum(each(partial(first_sums, cells, codes, scaling.step), parts))
        for _ in range(iterations):
            for share in each(partial(reassign, cells, codes, new, means(sums, scaling), scaling), parts):
                sums += share
            codes, new = new, codes
        out = np.empty((cells.rows[-1], cells.columns[-1]), np.uint8)
        each(lambda part: _to_image(codes, *cells[1:4], out, *part), parts)
    return out
