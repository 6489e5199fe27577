"""Random fields: spectral (fractal) noise, smooth steps and distances, all from an explicit key."""

from __future__ import annotations

import numpy as np
import scipy.fft as fft

FloatArray = np.ndarray


def generator(*key: int) -> np.random.Generator:
    """Return the generator of a key (seed, day, stream, …): the same key gives the same numbers, in any order."""
    return np.random.default_rng([int(part) for part in key])


def fractal(shape: tuple[int, int], rng: np.random.Generator, *, beta: float, largest: float) -> FloatArray:
    """Gaussian noise with power spectrum k**-beta, flat beyond the wavelength `largest` (pixels).

    float32 of `shape`, mean 0 and standard deviation 1 over the array. O(N log N).
    """
    padded = tuple(fft.next_fast_len(int(n), real=True) for n in shape)
    white = rng.standard_normal(padded, dtype=np.float32)
    ky = fft.fftfreq(padded[0])[:, None].astype(np.float32)
    kx = fft.rfftfreq(padded[1])[None, :].astype(np.float32)
    gain = (ky**2 + kx**2 + np.float32(1.0 / largest) ** 2) ** np.float32(-beta / 4)
    field = fft.irfft2(fft.rfft2(white) * gain, s=padded)[: shape[0], : shape[1]]
    return ((field - field.mean()) / field.std()).astype(np.float32)


def smoothstep(low: float, high: float, value: FloatArray | float) -> FloatArray:
    """Rise smoothly from 0 at `low` to 1 at `high` (Perlin's cubic)."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def block_mean(values: FloatArray, factor: int) -> FloatArray:
    """Mean of `factor` x `factor` blocks over the last two axes, which must divide."""
    if factor == 1:
        return values
    *lead, rows, cols = values.shape
    blocks = values.reshape(*lead, rows // factor, factor, cols // factor, factor)
    return blocks.mean(axis=(-3, -1), dtype=np.float32)


def offsets(shape: tuple[int, int], centre: tuple[float, float]) -> tuple[FloatArray, FloatArray]:
    """Rows and columns (float32 arrays of `shape`) counted from `centre`."""
    rows, cols = np.indices(shape, dtype=np.float32)
    return rows - np.float32(centre[0]), cols - np.float32(centre[1])
