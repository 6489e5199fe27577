"""The iterations of `kernels.slic`: assignment of pixels to centres and sums over superpixels, compiled."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from lakecube.kernels.jit import jit, jit_inline
from lakecube.kernels.slic_quanta import INVALID, Scaling

#: The code of a pixel that belongs to no superpixel; the others are 0 to 8, own cell 4, in lattice order.
NONE = 15
_FAR = np.int32(2**30)
_WORST = np.int32(2**31 - 1)
_TILE = 256


@jit_inline
def _dot(a, b):
    """Product of the low and of the high halves of two packed pairs, summed: one instruction on many machines."""
    return np.int32(np.int32(np.int16(a)) * np.int32(np.int16(b)) + np.int32(a >> 16) * np.int32(b >> 16))


@jit_inline
def _packed(low, high):
    return np.int32((low & 0xFFFF) | (high << 16))


@jit
def _nearest_one(n, f0, xy, g, base, best):
    for d in range(0, 9, 3):
        a, b, c = g[d], g[d + 1], g[d + 2]
        a0, b0, c0, az, bz, cz = a[0], b[0], c[0], a[1], b[1], c[1]
        k0, k1, k2 = base[d], base[d + 1], base[d + 2]
        for j in range(n):
            v = np.int32(k0[j] + _dot(f0[j], a0[j]) + _dot(xy[j], az[j]))
            w = np.int32(k1[j] + _dot(f0[j], b0[j]) + _dot(xy[j], bz[j]))
            u = np.int32(k2[j] + _dot(f0[j], c0[j]) + _dot(xy[j], cz[j]))
            best[j] = min(min(v, w), min(u, best[j]))


@jit
def _nearest_two(n, f0, f1, xy, g, base, best):
    for d in range(0, 9, 3):
        a, b, c = g[d], g[d + 1], g[d + 2]
        a0, b0, c0, a1, b1, c1, az, bz, cz = a[0], b[0], c[0], a[1], b[1], c[1], a[2], b[2], c[2]
        k0, k1, k2 = base[d], base[d + 1], base[d + 2]
        for j in range(n):
            v = np.int32(k0[j] + _dot(f0[j], a0[j]) + _dot(f1[j], a1[j]) + _dot(xy[j], az[j]))
            w = np.int32(k1[j] + _dot(f0[j], b0[j]) + _dot(f1[j], b1[j]) + _dot(xy[j], bz[j]))
            u = np.int32(k2[j] + _dot(f0[j], c0[j]) + _dot(f1[j], c1[j]) + _dot(xy[j], cz[j]))
            best[j] = min(min(v, w), min(u, best[j]))


@jit
def _nearest_many(n, row, xy, g, base, best, total):
    pairs = row.shape[0]
    for k in range(9):
        start, gz = base[k], g[k, pairs]
        for j in range(n):
            total[j] = np.int32(start[j] + _dot(xy[j], gz[j]))
        for p in range(pairs):
            f, gp = row[p], g[k, p]
            for j in range(n):
                total[j] = np.int32(total[j] + _dot(f[j], gp[j]))
        for j in range(n):
            best[j] = min(best[j], total[j])


@jit
def _spread_candidates(centres, r, c0, c1, origin, x0, x1, step, span, g, base):
    """The nine candidates of the pixels x0 to x1 (cells c0 to c1 of row r): g int32 (9, pairs + 1, n), base (9, n)."""
    pairs = g.shape[1] - 1
    n_features = 2 * pairs
    for c in range(c0, c1):
        first, stop = max(c * step - origin, x0) - x0, min((c + 1) * step - origin, x1) - x0
        for k in range(9):
            centre = centres[r + k // 3, c + k % 3]
            if centre[n_features + 2] == 0:
                g[k, :, first:stop] = 0
                base[k, first:stop] = _FAR
                continue
            x, y = centre[n_features] + (k % 3 - 1) * span, centre[n_features + 1] + (k // 3 - 1) * span
            square = x * x + y * y
            for p in range(pairs):
                a, b = centre[2 * p], centre[2 * p + 1]
                square += a * a + b * b
                g[k, p, first:stop] = _packed(-2 * a, -2 * b)
            g[k, pairs, first:stop] = _packed(-2 * x, -2 * y)
            base[k, first:stop] = np.int32(16 * square + k)


@jit
def _sum_cell(pairs, codes, i0, i1, j0, j1, y, x, table):
    """Sums by code of a part of one cell, into table (quantities, 4, 16) int64; `y`, `x`: place of its first pixel.

    Two sums share an int64, and four tables take turns, so that one pixel need not wait for the one before it.
    """
    n_pairs = pairs.shape[0]
    table[:] = 0
    for i in range(i0, i1):
        for p in range(n_pairs):
            row, sums = pairs[p, i], table[p]
            for j in range(j0, j1):
                both = (np.int64(row[j] >> 16) << 32) + np.int64(np.int16(row[j]))
                sums[np.uintp(j & 3), np.uintp(codes[i, j])] += both
        counts = table[n_pairs]
        place = (np.int64(1) << 48) + (np.int64(i - i0 + y) << 24) + x - j0
        for j in range(j0, j1):
            counts[np.uintp(j & 3), np.uintp(codes[i, j])] += place + j


@jit
def _sum_row_of_cells(pairs, codes, r, first, stop, origin_y, origin_x, step, sums):
    """Add the pixels of one row of cells (image rows `first` to `stop`) to the sums of their superpixels."""
    n_pairs = pairs.shape[0]
    columns = codes.shape[1]
    table = np.empty((n_pairs + 1, 4, 16), np.int64)
    height = stop - first if step <= 128 else 1  # as many pixels as three sums in one int64 can hold
    for c in range(sums.shape[1] - 2):
        j0, j1 = max(c * step - origin_x, 0), min((c + 1) * step - origin_x, columns)
        for i0 in range(first, stop, height):
            i1 = min(i0 + height, stop)
            _sum_cell(pairs, codes, i0, i1, j0, j1, i0 + origin_y - r * step, j0 + origin_x - c * step, table)
            for k in range(9):
                n, y, x = np.int64(0), np.int64(0), np.int64(0)
                for t in range(4):
                    packed = table[n_pairs, t, k]
                    n, y, x = n + (packed >> 48), y + ((packed >> 24) & 0xFFFFFF), x + (packed & 0xFFFFFF)
                if n == 0:
                    continue
                total = sums[r + k // 3, c + k % 3]
                for p in range(n_pairs):
                    for t in range(4):
                        low = np.int64(np.int32(table[p, t, k] & 0xFFFFFFFF))
                        total[2 * p] += low
                        total[2 * p + 1] += (table[p, t, k] - low) >> 32
                total[2 * n_pairs] += x - n * (k % 3 - 1) * step
                total[2 * n_pairs + 1] += y - n * (k // 3 - 1) * step
                total[2 * n_pairs + 2] += n


@jit
def _move(pairs, i, j, r, code, sign, y, origin_x, step, sums):
    """Add (sign 1) or take away (−1) one pixel of row r of cells, `y` pixels below its top."""
    n_pairs = pairs.shape[0]
    row, column = np.uintp(r + code // 3), np.uintp((j + origin_x) // step + code % 3)
    for p in range(n_pairs):
        value = pairs[p, i, j]
        sums[row, column, 2 * p] += sign * np.int16(value)
        sums[row, column, 2 * p + 1] += sign * (value >> 16)
    sums[row, column, 2 * n_pairs] += sign * (j + origin_x - (np.intp(column) - 1) * step)
    sums[row, column, 2 * n_pairs + 1] += sign * (y - (code // 3 - 1) * step)
    sums[row, column, 2 * n_pairs + 2] += sign


@jit
def _sweep(pairs, codes, centres, offsets, origin_y, origin_x, r0, r1, assign, add, sums):
    """Give the pixels of the rows of cells r0 to r1 to their nearest centres (in place), and sum them there.

    With `add` 0 nothing is summed; with 1 all pixels are added to `sums`; with 2 only those that moved, which are
    taken away where they were: after a few iterations that is one in many.
    """
    n_pairs, rows = pairs.shape[0], pairs.shape[1]
    columns = codes.shape[1]
    step = offsets.size - 1
    cells = centres.shape[1] - 2
    group = max(_TILE // step, 1)
    width = group * step
    g = np.empty((9, n_pairs + 1, width), np.int32)
    base = np.empty((9, width), np.int32)
    x, xy = np.empty(width, np.int32), np.empty(width, np.int32)
    best, total, found = np.empty(width, np.int32), np.empty(width, np.int32), np.empty(width, np.uint8)
    for r in range(r0, r1):
        first, stop = max(r * step - origin_y, 0), min((r + 1) * step - origin_y, rows)
        for c0 in range(0, cells, group) if assign else range(0):
            c1 = min(c0 + group, cells)
            x0, x1 = max(c0 * step - origin_x, 0), min(c1 * step - origin_x, columns)
            n = x1 - x0
            _spread_candidates(centres, r, c0, c1, origin_x, x0, x1, step, offsets[step], g, base)
            for j in range(n):
                x[j] = 16 * offsets[(x0 + j + origin_x) % step]
            for i in range(first, stop):
                high = np.int32(offsets[i + origin_y - r * step] << 20)
                for j in range(n):
                    xy[j] = x[j] | high
                    best[j] = _WORST
                if n_pairs == 1:
                    _nearest_one(n, pairs[0, i, x0:x1], xy, g, base, best)
                elif n_pairs == 2:
                    _nearest_two(n, pairs[0, i, x0:x1], pairs[1, i, x0:x1], xy, g, base, best)
                else:
                    _nearest_many(n, pairs[:, i, x0:x1], xy, g, base, best, total)
                code = codes[i, x0:x1]
                for j in range(n):
                    found[j] = code[j] if code[j] == NONE else np.uint8(best[j] & 15)
                if add == 2:
                    for j in range(n):
                        if found[j] != code[j]:
                            y = i + origin_y - r * step
                            _move(pairs, i, x0 + j, r, code[j], -1, y, origin_x, step, sums)
                            _move(pairs, i, x0 + j, r, found[j], 1, y, origin_x, step, sums)
                for j in range(n):
                    code[j] = found[j]
        if add == 1:
            _sum_row_of_cells(pairs, codes, r, first, stop, origin_y, origin_x, step, sums)


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


def cluster(
    pairs: np.ndarray, scaling: Scaling, anchor: tuple[int, int], iterations: int, threads: int = 1
) -> np.ndarray:
    """Codes (y, x) uint8 of paired features: which of the 3 × 3 cells around its own a pixel belongs to."""
    step = scaling.step
    origin_y, origin_x = anchor[0] % step, anchor[1] % step
    rows, columns = pairs.shape[1:]
    cells = -(-(rows + origin_y) // step), -(-(columns + origin_x) // step)
    codes = np.where(pairs[0] == INVALID, np.uint8(NONE), np.uint8(4))
    shape = cells[0] + 2, cells[1] + 2, 2 * pairs.shape[0] + 3
    centres, offsets = np.zeros(shape, np.int32), scaling.offsets()
    edges = np.linspace(0, cells[0], min(threads, cells[0]) + 1).astype(int)
    bands = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))

    def sweep(part: tuple[int, int], assign: bool, add: int) -> np.ndarray:
        sums = np.zeros(shape if add else (0, 0, 0), np.int64)
        _sweep(pairs, codes, centres, offsets, origin_y, origin_x, *part, assign, add, sums)
        return sums

    sums = np.zeros(shape, np.int64)
    with ThreadPoolExecutor(len(bands)) as pool:
        for t in range(iterations + 1):
            add = 0 if t == iterations else 1 if t < 2 else 2
            parts = list(pool.map(sweep, bands, [t > 0] * len(bands), [add] * len(bands)))
            if add == 1:
                sums[:] = 0
            if add:
                sums += sum(parts[1:], parts[0])
                _means(sums, scaling.position, centres)
    return codes
