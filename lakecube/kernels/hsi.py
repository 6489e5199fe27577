"""Hue, saturation and intensity in whole numbers, through a table: arccos differs in its last bits between machines."""

from __future__ import annotations

import functools

import numpy as np

from lakecube.kernels.jit import jit

#: Steps of a full turn of hue, of a saturation of 1 and of an intensity of 1.
TURN = 4096
_LEVELS = 2**16


@functools.cache
def _angles() -> np.ndarray:
    """Hue of the cosine from −1 to 1 in 2¹⁶ steps, up to half a turn."""
    cosine = np.arange(_LEVELS + 1) * (2 / _LEVELS) - 1
    return np.rint(np.arccos(cosine) * (TURN / (2 * np.pi))).astype(np.int16)


@jit
def _convert(red, green, blue, scale, angles, out):
    top = np.float64(angles.size - 1)
    for i in range(red.shape[0]):
        for j in range(red.shape[1]):
            r, g, b = red[i, j] * scale, green[i, j] * scale, blue[i, j] * scale
            if not (np.isfinite(r) and np.isfinite(g) and np.isfinite(b)):
                out[0, i, j], out[1, i, j], out[2, i, j] = -1, 0, 0
                continue
            square = (r - g) * (r - g) + (r - b) * (g - b)
            hue = np.int64(0)
            if square > 0.0:
                cosine = ((r - g) + (r - b)) * 0.5 / np.sqrt(square)
                hue = np.int64(angles[int((min(max(cosine, -1.0), 1.0) + 1.0) * 0.5 * top + 0.5)])
                if b > g:
                    hue = (4096 - hue) % 4096
            total = r + g + b
            saturation = 1.0 - 3.0 * min(r, g, b) / total if total > 0.0 else 0.0
            out[0, i, j] = hue
            out[1, i, j] = int(min(max(saturation, 0.0), 1.0) * 4096.0 + 0.5)
            out[2, i, j] = int(min(max(total / 3.0, 0.0), 1.0) * 4096.0 + 0.5)


def to_hsi(red: np.ndarray, green: np.ndarray, blue: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """Hue (0 to 4095, a turn), saturation and intensity (0 to 4096 each), int16 (3, y, x), of ``scale · band``.

    Hue is −1 where a band is NaN or infinite, and 0 for grey. Within half a step of the formulas of Chen et al. (2018),
    but for hues near 0 and 180 degrees, where the table is as coarse as 0.32 degrees (4 steps). Saturation is cut to 0
    to 1, as negative reflectance would exceed it. O(pixels).
    """
    out = np.empty((3, *red.shape), np.int16)
    bands = (np.ascontiguousarray(band, np.float32).astype(np.float64) for band in (red, green, blue))
    _convert(*bands, np.float64(scale), _angles(), out)
    return out
