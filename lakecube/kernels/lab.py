"""sRGB to CIELAB through tables, so that the same colour gives the same bits wherever it lies in an array."""

from __future__ import annotations

import functools

import numpy as np

from lakecube.kernels.jit import jit

_LEVELS = 2**16
#: Linear RGB to XYZ over the white point D65 (IEC 61966-2-1, two-degree observer), rows X, Y, Z.
_MATRIX = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
_MATRIX /= np.array([[0.95047], [1.0], [1.08883]])


@functools.cache
def _tables() -> tuple[np.ndarray, np.ndarray]:
    """Linear light of an sRGB value, and the root that CIELAB takes of a tristimulus, from 0 to 1 in 2¹⁶ steps."""
    level = np.arange(_LEVELS + 1) / _LEVELS
    linear = np.where(level > 0.04045, ((level + 0.055) / 1.055) ** 2.4, level / 12.92)
    level = level * 1.0625  # D65 times the rounded matrix is a little more than 1
    root = np.where(level > 0.008856, np.cbrt(level), 7.787 * level + 16 / 116)
    return linear.astype(np.float32), root.astype(np.float32)


@jit
def _convert(red, green, blue, scale, linear, root, matrix, out):
    top = linear.size - 1
    for i in range(red.shape[0]):
        for j in range(red.shape[1]):
            r, g, b = red[i, j] * scale, green[i, j] * scale, blue[i, j] * scale
            if not (r == r and g == g and b == b):
                out[0, i, j] = out[1, i, j] = out[2, i, j] = np.nan
                continue
            r = linear[int(min(max(r, 0.0), 1.0) * top + 0.5)]
            g = linear[int(min(max(g, 0.0), 1.0) * top + 0.5)]
            b = linear[int(min(max(b, 0.0), 1.0) * top + 0.5)]
            x = root[int((matrix[0, 0] * r + matrix[0, 1] * g + matrix[0, 2] * b) / 1.0625 * top + 0.5)]
            y = root[int((matrix[1, 0] * r + matrix[1, 1] * g + matrix[1, 2] * b) / 1.0625 * top + 0.5)]
            z = root[int((matrix[2, 0] * r + matrix[2, 1] * g + matrix[2, 2] * b) / 1.0625 * top + 0.5)]
            out[0, i, j], out[1, i, j], out[2, i, j] = 116 * y - 16, 500 * (x - y), 200 * (y - z)


def rgb_to_lab(red: np.ndarray, green: np.ndarray, blue: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """CIELAB (L, a, b) of sRGB values ``scale · band`` (clipped to 0 to 1), float32 (3, y, x); NaN where a band is.

    Within 0.02 of the formula (L from 0 to 100), D65, two-degree observer. O(pixels).
    """
    out = np.empty((3, *red.shape), np.float32)
    _convert(red, green, blue, np.float32(scale), *_tables(), _MATRIX, out)
    return out
