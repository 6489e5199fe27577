"""SLIC superpixels on an anchored lattice: integers only, so that every cut of an image gives the same bits.

Features, pixel offsets and centres are whole numbers ("quanta"). A pixel chooses among the centres of the 3 × 3
lattice cells around its own, so the best of them fits in four bits, and a centre only ever sees pixels near it.
Squared distances lose the term that all candidates share: ``|c|² - 2·f·c`` is compared, four bits higher than
it is, with the candidate's number in the low bits. The smallest such number is the nearest centre, and of equally
near ones the first in the order of the lattice. Features lie in pairs, two int16 in one int32: compilers then find the
instruction for two products and their sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from lakecube.kernels.fragments import NO_SUPERPIXEL, joined_ids, label_ids
from lakecube.kernels.jit import jit, jit_inline

#: The code of a pixel that belongs to no superpixel; the others are 0 to 8, own cell 4, in lattice order.
NONE = 15
#: A packed pair that no feature gives: the pixel has no part in any superpixel.
INVALID = np.int32(-(2**31))
#: Features are clipped to ± this many units (one unit is one step of CIELAB lightness, by default).
LARGEST = 127.9
_FAR = np.int32(2**30)
_WORST = np.int32(2**31 - 1)
_TILE = 256


@dataclass(frozen=True, slots=True)
class Scaling:
    """How numbers become quanta: declared constants, never taken from the data.

    Parameters
    ----------
    step : int
        Pixels between the seeds.
    quanta : int
        Quanta per unit of a feature.
    position : int
        256 × the quanta per pixel, ``quanta · compactness / step``.
    """

    step: int
    quanta: int
    position: int

    @classmethod
    def of(cls, step: int, compactness: float, bands: int) -> Scaling:
        """The finest scaling whose distances fit in int32 for so many bands.

        Raises
        ------
        ValueError
            A step out of 2 to 4096, no band, or a compactness that is not positive or too large to fit.
        """
        if step != int(step) or not 2 <= step <= 4096:
            raise ValueError(f"step must be a whole number of pixels from 2 to 4096, got {step!r}")
        if bands < 1 or not compactness > 0:
            raise ValueError(f"at least one band and a positive compactness are needed, got {bands} and {compactness}")
        for quanta in (16, 8, 4, 2, 1):
            space = quanta * compactness
            if 16 * space < 2**15 and 16 * (3 * bands * (LARGEST * quanta) ** 2 + 30 * (space + 1) ** 2) < 2**30:
                return cls(int(step), quanta, max(round(256 * space / step), 1))
        raise ValueError(f"a compactness of {compactness:g} with {bands} bands does not fit in 32 bits; use less")

    def offsets(self) -> np.ndarray:
        """Quanta of the pixel offsets 0 to step within a cell, int32."""
        return ((np.arange(self.step + 1) * self.position + 128) >> 8).astype(np.int32)


def slic_reach(step: int, iterations: int, enforce_connectivity: bool = True) -> int:
    """How far away, in pixels, a pixel can still change an id: (2·iterations + 5)·step, or 2·iterations·step.

    An iteration looks one cell away for centres, and a centre one cell away for its pixels. Joining fragments
    looks five cells further: from a pixel to its superpixel's cell (1), to a pixel beside a fragment of it (2), to that
    pixel's superpixel (1), and to the whole of that (1).
    """
    return (2 * iterations + (5 if enforce_connectivity else 0)) * step


@jit
def _pair_up(band, scale, shift, largest, pairs, slot, valid):
    """Quantise one band (y, x) of floats into its half of the packed pairs, four bits up; clear `valid` at NaN."""
    rows, columns = band.shape
    for i in range(rows):
        for j in range(columns):
            value = np.float32(band[i, j]) * scale + shift
            known = value == value
            value = min(max(value, -largest), largest) if known else np.float32(0)
            quanta = np.int32(np.rint(value)) * 16
            pairs[i, j] |= (quanta << 16) if slot else (quanta & 0xFFFF)
            valid[i, j] &= known


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
                value = row[j]
                sums[np.uintp(j & 3), np.uintp(codes[i, j])] += (np.int64(value >> 16) << 32) + np.int64(np.int16(value))
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
    c = (j + origin_x) // step
    total = sums[r + code // 3, c + code % 3]
    for p in range(n_pairs):
        value = pairs[p, i, j]
        total[2 * p] += sign * np.int16(value)
        total[2 * p + 1] += sign * (value >> 16)
    total[2 * n_pairs] += sign * (j + origin_x - (c + code % 3 - 1) * step)
    total[2 * n_pairs + 1] += sign * (y - (code // 3 - 1) * step)
    total[2 * n_pairs + 2] += sign


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


def slic(
    bands: Sequence[np.ndarray], step: int, *, compactness: float = 10.0, iterations: int = 10, scale: float = 1.0,
    offset: float | Sequence[float] = 0.0, mask: np.ndarray | None = None, anchor: tuple[int, int] = (0, 0),
    enforce_connectivity: bool = True, threads: int = 1,
) -> np.ndarray:  # fmt: skip
    """Superpixels by simple linear iterative clustering (SLIC), seeded on an anchored lattice.

    Parameters
    ----------
    bands : sequence of numpy.ndarray
        Each (y, x), any float dtype; or one array (band, y, x). NaN: belongs to no superpixel.
    step : int
        Pixels between seeds, 2 to 4096: the side of a superpixel.
    compactness : float
        Units of feature that weigh as much as `step` pixels; greater is squarer.
    iterations : int
        Assignments of pixels to centres, 1 or more; always so many, since stopping early would depend on the image.
    scale, offset : float
        Units of feature are ``band * scale + offset`` (an offset per band or one for all), then clipped to ± 127.9.
        Declared, never taken from the data. For reflectance 100 and −50 make a band as wide as CIELAB lightness.
    mask : numpy.ndarray, optional
        (y, x), true where pixels take part.
    anchor : tuple of int
        Absolute row and column of the first pixel; the lattice's corner is (0, 0).
    enforce_connectivity : bool
        Join fragments, see `lakecube.kernels.fragments`.
    threads : int
        Threads that share the rows of cells and exchange their integer sums each iteration; the same bits for any.

    Returns
    -------
    numpy.ndarray
        int64 (y, x): the packed lattice row and column of the superpixel, see `lattice_index`; −1 for none.

    Raises
    ------
    ValueError
        Shapes differ, or a parameter is out of range.

    Notes
    -----
    Reach: `slic_reach`. O(pixels · iterations · bands), whatever the step. A centre starts as the mean of its cell.

    References
    ----------
    Achanta et al. (2012), 10.1109/TPAMI.2012.120.
    """
    bands = [np.asarray(band) for band in bands]
    scaling = Scaling.of(step, compactness, len(bands))
    if iterations != int(iterations) or iterations < 1:
        raise ValueError(f"iterations must be a whole number from 1, got {iterations!r}")
    pairs = quantise(bands, scaling, scale, offset, mask)
    return slic_quanta(pairs, scaling, anchor, int(iterations), enforce_connectivity, threads)


def quantise(
    bands: Sequence[np.ndarray], scaling: Scaling, scale: float, offset: float | Sequence[float],
    mask: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Bands (y, x) as packed pairs of features: int32 (pairs, y, x), `INVALID` where a pixel has no part."""
    shape = bands[0].shape
    if len(shape) != 2 or any(band.shape != shape for band in bands):
        raise ValueError(f"bands must be 2-D (y, x) and alike, got shapes {[band.shape for band in bands]}")
    valid = np.ones(shape, np.bool_) if mask is None else np.array(mask, np.bool_)
    if valid.shape != shape:
        raise ValueError(f"the mask has shape {valid.shape}; {shape} is needed")
    pairs = np.zeros(((len(bands) + 1) // 2, *shape), np.int32)
    offsets = np.broadcast_to(np.asarray(offset, np.float64), len(bands)) * scaling.quanta
    limit, factor = np.float32(int(LARGEST * scaling.quanta)), np.float32(scale * scaling.quanta)
    for k, (band, shift) in enumerate(zip(bands, offsets, strict=True)):
        _pair_up(band, factor, np.float32(shift), limit, pairs[k // 2], k % 2, valid)
    pairs[0][~valid] = INVALID
    return pairs


def slic_quanta(
    pairs: np.ndarray, scaling: Scaling, anchor: tuple[int, int], iterations: int, join: bool = True, threads: int = 1
) -> np.ndarray:
    """Superpixel ids, int64 (y, x), of packed features; see `slic`."""
    if 0 in pairs.shape:
        return np.full(pairs.shape[1:], NO_SUPERPIXEL, np.int64)
    codes = cluster(pairs, scaling, anchor, iterations, threads)
    return _ids(codes, scaling.step, anchor, join, threads)


def _ids(codes: np.ndarray, step: int, anchor: tuple[int, int], join: bool, threads: int) -> np.ndarray:
    """Ids of the codes; each thread takes a band of rows and looks as far beyond it as joining reaches."""
    rows = codes.shape[0]
    halo = 5 * step if join else 0
    out = np.empty(codes.shape, np.int64)
    edges = np.linspace(0, rows, min(threads, max(rows // (2 * halo + 1), 1)) + 1).astype(int).tolist()

    def label(first: int, stop: int) -> None:
        top = max(first - halo, 0)
        y, x = anchor[0] + top, anchor[1]
        place = step, y % step, x % step, y // step, x // step
        part = codes[top : min(stop + halo, rows)]
        if join:
            joined_ids(part, *place, y, x, first - top, out[first:stop])
        else:
            label_ids(part, *place, first - top, out[first:stop])

    with ThreadPoolExecutor(len(edges) - 1) as pool:
        list(pool.map(label, edges[:-1], edges[1:]))
    return out
