"""Numbers of a file to reflectance on another grid, every output pixel by itself: hence bitwise for every window.

All arrays are (rows, columns). A *placement* of a source window under an output window is integer where the
grids share edges (`raise_bilinear`, `coarsen_mean`, …) and a pair of coordinate arrays where they do not
(`sample_bilinear`, `sample_nearest`).
"""

from __future__ import annotations

import numpy as np

from lakecube.kernels.jit import jit


@jit
def decode(numbers, scale, offset, nodata):
    """``numbers * scale + offset`` as float32; NaN where a number is NaN or equals `nodata` (NaN: none). O(n)."""
    rows, columns = numbers.shape
    out = np.empty((rows, columns), np.float32)
    for i in range(rows):
        for j in range(columns):
            value = float(numbers[i, j])
            if value == nodata or value != value:
                out[i, j] = np.nan
            else:
                out[i, j] = value * scale + offset
    return out


@jit
def raise_bilinear(coarse, factor_y, factor_x, top, left, rows, columns):
    """Bilinear interpolation of `coarse` to pixels `factor` times smaller, edges shared.

    Output pixel (i, j) is fine pixel (top + i, left + j) counted from the corner of ``coarse[0, 0]``.
    A fine pixel inside an invalid (NaN) coarse pixel is NaN; invalid neighbours lend no weight;
    beyond the array its outermost pixels go on. O(rows * columns).
    """
    height, width = coarse.shape
    out = np.empty((rows, columns), np.float32)
    left_cell = np.empty(columns, np.int64)
    own_cell = np.empty(columns, np.int64)
    right_share = np.empty(columns, np.float32)
    for j in range(columns):
        fine = left + j
        own = fine // factor_x
        own_cell[j] = min(max(own, 0), width - 1)
        phase = (2 * (fine - own * factor_x) + 1 - factor_x) / (2.0 * factor_x)
        left_cell[j] = own if phase >= 0 else own - 1
        right_share[j] = phase if phase >= 0 else phase + 1.0
    for i in range(rows):
        fine = top + i
        own = fine // factor_y
        phase = (2 * (fine - own * factor_y) + 1 - factor_y) / (2.0 * factor_y)
        upper = own if phase >= 0 else own - 1
        low = np.float32(phase if phase >= 0 else phase + 1.0)
        up = np.float32(1.0) - low
        r0 = min(max(upper, 0), height - 1)
        r1 = min(max(upper + 1, 0), height - 1)
        r = min(max(own, 0), height - 1)
        for j in range(columns):
            c0 = min(max(left_cell[j], 0), width - 1)
            c1 = min(max(left_cell[j] + 1, 0), width - 1)
            right = right_share[j]
            before = np.float32(1.0) - right
            a, b, c, d = coarse[r0, c0], coarse[r0, c1], coarse[r1, c0], coarse[r1, c1]
            value = up * (before * a + right * b) + low * (before * c + right * d)
            if value != value:
                value = _bilinear_of_valid(
                    a, b, c, d, up * before, up * right, low * before, low * right, coarse[r, own_cell[j]]
                )
            out[i, j] = value
    return out


@jit
def _bilinear_of_valid(a, b, c, d, wa, wb, wc, wd, own):
    """Weighted mean of the valid ones of four pixels; NaN where the pixel's own cell is invalid."""
    if own != own:
        return np.float32(np.nan)
    total = np.float32(0.0)
    weight = np.float32(0.0)
    if a == a:
        total += wa * a
        weight += wa
    if b == b:
        total += wb * b
        weight += wb
    if c == c:
        total += wc * c
        weight += wc
    if d == d:
        total += wd * d
        weight += wd
    return total / weight


@jit
def raise_nearest(coarse, factor_y, factor_x, top, left, rows, columns):
    """Repeat every pixel of `coarse` `factor` times; placement as in `raise_bilinear`. O(rows * columns)."""
    height, width = coarse.shape
    out = np.empty((rows, columns), coarse.dtype)
    for i in range(rows):
        r = min(max((top + i) // factor_y, 0), height - 1)
        for j in range(columns):
            c = min(max((left + j) // factor_x, 0), width - 1)
            out[i, j] = coarse[r, c]
    return out


@jit
def coarsen_mean(fine, factor_y, factor_x, top, left, rows, columns):
    """Mean of the valid ones of ``factor_y * factor_x`` pixels; NaN where fewer than half are valid.

    Output pixel (i, j) covers fine rows ``top + i * factor_y`` and on; pixels outside `fine` are invalid. O(fine).
    """
    height, width = fine.shape
    out = np.empty((rows, columns), np.float32)
    for i in range(rows):
        for j in range(columns):
            total = 0.0
            count = 0
            for r in range(max(top + i * factor_y, 0), min(top + (i + 1) * factor_y, height)):
                for c in range(max(left + j * factor_x, 0), min(left + (j + 1) * factor_x, width)):
                    value = fine[r, c]
                    if value == value:
                        total += value
                        count += 1
            out[i, j] = total / count if 2 * count >= factor_y * factor_x else np.nan
    return out


@jit
def coarsen_first(fine, rank, outside, factor_y, factor_x, top, left, rows, columns):
    """Of every group of uint8 codes the one of the lowest `rank` (256 values, by code); `outside` where empty."""
    height, width = fine.shape
    out = np.empty((rows, columns), np.uint8)
    for i in range(rows):
        for j in range(columns):
            best = np.uint8(outside)
            found = False
            for r in range(max(top + i * factor_y, 0), min(top + (i + 1) * factor_y, height)):
                for c in range(max(left + j * factor_x, 0), min(left + (j + 1) * factor_x, width)):
                    code = fine[r, c]
                    if not found or rank[code] < rank[best]:
                        best = code
                        found = True
            out[i, j] = best
    return out


@jit
def sample_bilinear(source, y, x):
    """Bilinear interpolation of `source` at pixel coordinates; the centre of ``source[0, 0]`` is (0.5, 0.5).

    `y`, `x` are float64 (rows, columns). NaN outside the source and inside invalid pixels; invalid neighbours
    lend no weight. O(rows * columns).
    """
    height, width = source.shape
    rows, columns = y.shape
    out = np.empty((rows, columns), np.float32)
    for i in range(rows):
        for j in range(columns):
            v, u = y[i, j], x[i, j]
            if not (v >= 0.0 and v < height and u >= 0.0 and u < width):
                out[i, j] = np.nan
                continue
            own = source[int(v), int(u)]
            upper = int(np.floor(v - 0.5))
            before = int(np.floor(u - 0.5))
            low = np.float32(v - 0.5 - upper)
            right = np.float32(u - 0.5 - before)
            up = np.float32(1.0) - low
            left = np.float32(1.0) - right
            r0, r1 = max(upper, 0), min(upper + 1, height - 1)
            c0, c1 = max(before, 0), min(before + 1, width - 1)
            a, b, c, d = source[r0, c0], source[r0, c1], source[r1, c0], source[r1, c1]
            out[i, j] = _bilinear_of_valid(a, b, c, d, up * left, up * right, low * left, low * right, own)
    return out


@jit
def sample_nearest(source, y, x, outside):
    """The pixel of `source` that holds the coordinates (as in `sample_bilinear`); `outside` beyond it."""
    height, width = source.shape
    rows, columns = y.shape
    out = np.empty((rows, columns), source.dtype)
    for i in range(rows):
        for j in range(columns):
            v, u = y[i, j], x[i, j]
            if v >= 0.0 and v < height and u >= 0.0 and u < width:
                out[i, j] = source[int(v), int(u)]
            else:
                out[i, j] = outside
    return out
