"""How features become quanta for `kernels.slic`: whole numbers by declared constants, two of them in one int32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lakecube.kernels.jit import jit

#: A packed pair that no feature gives: the pixel has no part in any superpixel.
INVALID = np.int32(-(2**31))
#: Features are clipped to ± this many units (one unit is one step of CIELAB lightness, by default).
LARGEST = 127.9
#: How far joining fragments looks, in steps: one for each pass of `fragments`, and three.
JOINING = 5


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

    An iteration looks one cell away for centres, and a centre one cell away for its pixels. Joining fragments looks
    `JOINING` steps further: to a pixel beside the fragment (1), to one beside a fragment there (1), and to the whole of
    that pixel's superpixel, which lies in the 3 × 3 cells around one beside its own (3).
    """
    return (2 * iterations + (JOINING if enforce_connectivity else 0)) * step


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


def quantise(
    bands: Sequence[np.ndarray], scaling: Scaling, scale: float, offset: float | Sequence[float],
    mask: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Bands (y, x) as packed pairs of features: int32 (pairs, y, x), `INVALID` where a pixel has no part."""
    shape = bands[0].shape
    valid = np.ones(shape, np.bool_) if mask is None else np.array(mask, np.bool_)
    pairs = np.zeros(((len(bands) + 1) // 2, *shape), np.int32)
    offsets = np.broadcast_to(np.asarray(offset, np.float64), len(bands)) * scaling.quanta
    limit, factor = np.float32(int(LARGEST * scaling.quanta)), np.float32(scale * scaling.quanta)
    for k, (band, shift) in enumerate(zip(bands, offsets, strict=True)):
        _pair_up(band, factor, np.float32(shift), limit, pairs[k // 2], k % 2, valid)
    pairs[0][~valid] = INVALID
    return pairs
