"""Dilation of a mask by a disk: exact, integer, two separable passes."""

from __future__ import annotations

import math

import numpy as np

from lakecube.kernels.jit import jit

_FAR = np.int32(1 << 15)


def disk_reach(radius: int) -> int:
    """Return the reach of `dilate_disk` in pixels: the radius itself."""
    if radius != int(radius) or not 0 <= radius < _FAR:
        raise ValueError(f"radius must be a whole number of pixels from 0 to {_FAR - 1}, got {radius!r}")
    return int(radius)


@jit
def _column_gaps(mask: np.ndarray, radius: int) -> np.ndarray:
    """Distance in rows to the nearest true pixel of the same column, int32; `_FAR` beyond `radius`."""
    rows, cols = mask.shape
    gap = np.empty((rows, cols), np.int32)
    for i in range(rows):
        for j in range(cols):
            above = gap[i - 1, j] + 1 if i > 0 else _FAR
            gap[i, j] = 0 if mask[i, j] else min(above, _FAR)
    for i in range(rows - 2, -1, -1):
        for j in range(cols):
            gap[i, j] = min(gap[i, j], gap[i + 1, j] + 1)
    for i in range(rows):
        for j in range(cols):
            if gap[i, j] > radius:
                gap[i, j] = _FAR
    return gap


@jit
def _spread_rows(gap: np.ndarray, half_width: np.ndarray) -> np.ndarray:
    """True within ``half_width[gap]`` columns of a column whose nearest true pixel is `gap` rows away."""
    rows, cols = gap.shape
    out = np.zeros((rows, cols), np.bool_)
    edge = np.zeros(cols + 1, np.int32)
    for i in range(rows):
        found = False
        for j in range(cols):
            if gap[i, j] < _FAR:
                w = half_width[gap[i, j]]
                edge[max(j - w, 0)] += 1
                edge[min(j + w + 1, cols)] -= 1
                found = True
        if not found:
            continue
        open_ = 0
        for j in range(cols):
            open_ += edge[j]
            edge[j] = 0
            out[i, j] = open_ > 0
        edge[cols] = 0
    return out


def dilate_disk(mask: np.ndarray, radius: int) -> np.ndarray:
    """Dilate a mask by a disk of `radius` pixels.

    A pixel is true where the centre of a true pixel lies within `radius` of its own (distance² ≤ radius²).

    Parameters
    ----------
    mask : numpy.ndarray
        bool (or 0 and others), shape (y, x).
    radius : int
        Pixels, 0 or more. 0 returns a copy.

    Returns
    -------
    numpy.ndarray
        bool, shape (y, x).

    Raises
    ------
    ValueError
        The mask is not 2-D, or the radius not a whole number of pixels.

    Notes
    -----
    Reach: `radius`. Outside the array nothing is true. O(pixels), whatever the radius: the distance to
    the nearest true pixel of the column, then per row a sum of interval ends.

    Examples
    --------
    >>> import numpy as np
    >>> dot = np.zeros((3, 5), bool)
    >>> dot[1, 2] = True
    >>> dilate_disk(dot, 1).astype(int)
    array([[0, 0, 1, 0, 0],
           [0, 1, 1, 1, 0],
           [0, 0, 1, 0, 0]])
    """
    radius = disk_reach(radius)
    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise ValueError(f"mask must be 2-D (y, x), got {mask.ndim} dimensions")
    mask = np.ascontiguousarray(mask if mask.dtype == bool else mask != 0)
    if radius == 0 or mask.size == 0:
        return mask.copy()
    half_width = np.array([math.isqrt(radius * radius - d * d) for d in range(radius + 1)], np.int32)
    return _spread_rows(_column_gaps(mask, radius), half_width)
