"""The spatial kernel of the CRF: a separable Gaussian, row by row, and its symmetric norm."""

from __future__ import annotations

import numpy as np

from lakecube.kernels.jit import jit

#: Reach of the separable Gaussian, in sigmas.
CUT = 3.0


def gaussian_taps(sigma: float) -> np.ndarray:
    """float32: exp(-k² / 2 sigma²) for k = 0 … CUT · sigma."""
    k = np.arange(int(np.ceil(CUT * sigma)) + 1)
    return np.exp(-0.5 * (k / sigma) ** 2).astype(np.float32)


@jit
def blur_row(image, y, taps, padded, row):
    """Row y of the separable Gaussian of `image`; `padded` has len(taps) - 1 zeros on both sides."""
    rows, columns = image.shape
    reach = taps.size - 1
    middle = padded[reach : reach + columns]
    here = image[y]
    for x in range(columns):
        middle[x] = here[x]
    k = 1
    while k < taps.size:
        if y - k - 2 >= 0 and y + k + 2 < rows and k + 2 < taps.size:
            _add_three(middle, image[y - k], image[y + k], image[y - k - 1], image[y + k + 1], image[y - k - 2],
                       image[y + k + 2], taps[k], taps[k + 1], taps[k + 2])  # fmt: skip
            k += 3
            continue
        for other in (y - k, y + k):
            if 0 <= other < rows:
                there = image[other]
                for x in range(columns):
                    middle[x] += taps[k] * there[x]
        k += 1
    for x in range(columns):
        row[x] = middle[x]
    k = 1
    while k < taps.size:
        before = padded[reach - k : reach - k + columns]
        behind = padded[reach + k : reach + k + columns]
        if k + 2 < taps.size:
            _add_three(row, before, behind, padded[reach - k - 1 : reach - k - 1 + columns],
                       padded[reach + k + 1 : reach + k + 1 + columns], padded[reach - k - 2 : reach - k - 2 + columns],
                       padded[reach + k + 2 : reach + k + 2 + columns], taps[k], taps[k + 1], taps[k + 2])  # fmt: skip
            k += 3
            continue
        for x in range(columns):
            row[x] += taps[k] * (before[x] + behind[x])
        k += 1


@jit
def _add_three(out, a, b, c, d, e, f, first, second, third):
    """out += first (a + b) + second (c + d) + third (e + f), rows of one length, in one pass."""
    for x in range(out.size):
        out[x] += first * (a[x] + b[x]) + second * (c[x] + d[x]) + third * (e[x] + f[x])


def spatial_norm(valid: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """The spatial kernel's symmetric norm, float32 (y, x); 0 where there is no vote."""
    if valid.all():
        both = np.concatenate([taps[:0:-1], taps]).astype(float)
        down, across = (np.convolve(np.ones(n), both)[taps.size - 1 :][:n] ** -0.5 for n in valid.shape)
        return (down[:, np.newaxis] * across).astype(np.float32)
    scale = np.empty(valid.shape, np.float32)
    _norm_with_holes(valid, taps, scale)
    return scale


@jit
def _norm_with_holes(valid, taps, scale):
    rows, columns = valid.shape
    padded = np.zeros(columns + 2 * taps.size - 2, np.float32)
    ones = np.empty((rows, columns), np.float32)
    for y in range(rows):
        for x in range(columns):
            ones[y, x] = np.float32(1.0) if valid[y, x] else np.float32(0.0)
    for y in range(rows):
        blur_row(ones, y, taps, padded, scale[y])
        for x in range(columns):
            scale[y, x] = ones[y, x] / np.sqrt(scale[y, x] + np.float32(1e-20))
