"""Adaptive SLIC (Chen et al. 2018): centres found by affinity propagation in anchored regions, one assignment.

Colours are whole numbers (`kernels.hsi`). Distances are float64 from additions, products and square roots alone, in
one order, so they have the same bits wherever a region lies in an array. A region's centres depend on its own pixels, a
pixel's label on the centres of the 3 × 3 regions around it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lakecube.kernels.affinity import break_ties, centres
from lakecube.kernels.jit import jit, jit_inline

#: Greatest side of a region: the rank of a centre among its region's pixels has ten bits.
LARGEST_REGION = 32
#: Added to region rows and columns before they are packed, so that both are positive.
REGION_SHIFT = 2**25
_PER_TURN = 1.0 / 4096.0


class Settings(NamedTuple):
    """What an adaptive superpixel depends on besides the picture."""

    region: int = 16
    """Side of a region, pixels."""
    alpha: float = 0.2
    """Weight of the distance in space, against colour, at the distance of a region's side."""
    price: float = 0.05
    """What one more centre costs, as a distance of every point of its region."""
    grid: int = 5
    """Candidates along each side of a region; 0: all pixels are candidates, as in the paper."""
    damping: float = 0.7
    sweeps: int = 200
    intensity: bool = False
    """Whether intensity takes part in colour, besides hue and saturation."""


def aslic(hsi: np.ndarray, settings: Settings, anchor: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Labels int64 (y, x) of a picture int16 (3, y, x) from `hsi.to_hsi`; −1 where hue is. See `region_index`.

    O(pixels · centres) for the assignment, and O(sweeps · n²) for the n candidates of a region.
    """
    region = settings.region
    place = anchor[0] % region, anchor[1] % region
    shape = tuple(-(-(size + first) // region) for size, first in zip(hsi.shape[1:], place, strict=True))
    room = settings.grid**2 or region**2
    found = np.empty((*shape, room, 5), np.int32)
    counts = np.zeros(shape, np.int32)
    out = np.full(hsi.shape[1:], -1, np.int64)
    _find_centres(
        hsi, *place, region, settings.grid, settings.alpha, settings.price, settings.damping, settings.sweeps,
        settings.intensity, found, counts,
    )  # fmt: skip
    first = anchor[0] // region, anchor[1] // region
    _assign(hsi, *place, *first, region, settings.alpha, settings.intensity, found, counts, out)
    return out


def region_index(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row and column of the region, and the rank of the centre in it, of labels that are not negative."""
    labels = np.asarray(labels, np.int64)
    return (labels >> 36) - REGION_SHIFT, ((labels >> 10) & (2**26 - 1)) - REGION_SHIFT, labels & 1023


@jit_inline
def _distance(h, s, v, y, x, other, alpha, side, intensity):
    """d = d_c + alpha / side · d_xy of a pixel and a centre (hue, saturation, intensity, y, x)."""
    turn = abs(h - other[0])
    turn = np.float64(min(turn, 4096 - turn))
    colour = turn * turn + np.float64((s - other[1]) * (s - other[1]))
    if intensity:
        colour += np.float64((v - other[2]) * (v - other[2]))
    space = np.float64((y - other[3]) * (y - other[3])) + np.float64((x - other[4]) * (x - other[4]))
    return np.sqrt(colour) * _PER_TURN + alpha / side * np.sqrt(space)


@jit
def _candidates(hsi, y0, y1, x0, x1, top, left, region, grid, points):
    """Candidates (hue, saturation, intensity, y, x in the image) of one region into `points`; how many."""
    n = 0
    side = grid if grid else region
    for a in range(side):
        for b in range(side):
            i = top + ((2 * a + 1) * region // (2 * grid) if grid else a)
            j = left + ((2 * b + 1) * region // (2 * grid) if grid else b)
            if y0 <= i < y1 and x0 <= j < x1 and hsi[0, i, j] >= 0:
                points[n, 0], points[n, 1], points[n, 2], points[n, 3], points[n, 4] = (
                    hsi[0, i, j], hsi[1, i, j], hsi[2, i, j], i, j,
                )  # fmt: skip
                n += 1
    if n:
        return n
    for i in range(y0, y1):
        for j in range(x0, x1):
            if hsi[0, i, j] >= 0:  # none of the candidates is known: the first pixel that is
                points[0, 0], points[0, 1], points[0, 2], points[0, 3], points[0, 4] = (
                    hsi[0, i, j], hsi[1, i, j], hsi[2, i, j], i, j,
                )  # fmt: skip
                return 1
    return 0


@jit
def similarities(points, n, alpha, side, price, intensity):
    """s(i, j) = −d(i, j) of n points, ties broken; on the diagonal the preference, −price · n."""
    out = np.empty((n, n))
    for i in range(n):
        p = points[i]
        for j in range(n):
            out[i, j] = -_distance(p[0], p[1], p[2], p[3], p[4], points[j], alpha, side, intensity)
        out[i, i] = -price * n
    break_ties(out)
    return out


@jit
def _find_centres(
    hsi, place_y, place_x, region, grid, alpha, price, damping, sweeps, intensity, found, counts
):  # fmt: skip
    rows, columns = hsi.shape[1:]
    points = np.empty((max(grid * grid, region * region), 5), np.int32)
    for r in range(counts.shape[0]):
        for c in range(counts.shape[1]):
            top, left = r * region - place_y, c * region - place_x
            y0, y1 = max(top, 0), min(top + region, rows)
            x0, x1 = max(left, 0), min(left + region, columns)
            n = _candidates(hsi, y0, y1, x0, x1, top, left, region, grid, points)
            if n == 0:
                continue
            chosen = centres(similarities(points, n, alpha, region, price, intensity), damping, sweeps)
            counts[r, c] = chosen.size
            for k in range(chosen.size):
                found[r, c, k] = points[chosen[k]]


@jit
def _assign(hsi, place_y, place_x, first_y, first_x, region, alpha, intensity, found, counts, out):
    rows, columns = hsi.shape[1:]
    for i in range(rows):
        r = (i + place_y) // region
        for j in range(columns):
            h, s, v = np.int64(hsi[0, i, j]), np.int64(hsi[1, i, j]), np.int64(hsi[2, i, j])
            if h < 0:
                continue
            c = (j + place_x) // region
            least = np.inf
            for a in range(max(r - 1, 0), min(r + 2, counts.shape[0])):
                for b in range(max(c - 1, 0), min(c + 2, counts.shape[1])):
                    for k in range(counts[a, b]):
                        d = _distance(h, s, v, i, j, found[a, b, k], alpha, region, intensity)
                        if d < least:
                            least = d
                            row, column = a + first_y + 2**25, b + first_x + 2**25
                            out[i, j] = (np.int64(row) << 36) | (np.int64(column) << 10) | k
