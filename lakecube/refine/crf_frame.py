"""What a tile of the dense CRF sees: its own ground pixel by pixel, the margin beyond by samples.

The bilateral kernel reaches far but is smooth and sums over thousands of pixels, so that of the margin every `step`-th
row and column, each speaking for step² pixels, says the same. The spatial kernel is narrow: what a tile gives is
surrounded by `REACHES` times its reach of full pixels. Samples are counted from the corner of the tile's frame on the
absolute grid, so that neither chunks nor the extent of a request enter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lakecube.between_blocks import Tile
from lakecube.kernels.crf import Potts, Samples
from lakecube.kernels.crf_spatial import CUT
from lakecube.tiling import Tiling

#: Samples of the margin per sigma of the bilateral kernel, along one axis.
SAMPLES = 20
#: Full pixels around what a tile gives, in reaches of the spatial kernel.
REACHES = 2


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of what a tile sees; slices of what it reads."""

    near: slice
    """Every pixel."""
    far: slice
    """Every step-th."""
    inside: slice
    """Of `near`: what the tile gives."""
    hidden: slice
    """Of `far`: what lies in `near`."""
    origin: tuple[int, int]
    """Of the first pixel of `near` and the first sample of `far` in the tile's frame, each in its own steps."""


def step_of(potts: Potts) -> int:
    """Pixels between two samples of the margin; 1: every pixel counts."""
    return max(1, int(potts.sxy_bilateral / SAMPLES))


def frame(
    tiles: tuple[Mapping[int, Tile], ...], keys: tuple[int, int], anchor: tuple[int, int], tiling: Tiling, potts: Potts,
    step: int,
) -> tuple[Axis, Axis]:  # fmt: skip
    """Both axes of one tile; data too narrow to hold a sample are looked at pixel by pixel."""
    reach = int(np.ceil(REACHES * CUT * potts.sxy_gaussian))
    y, x = (
        _axis(tile[key], key * tiling.tile - tiling.margin - first, reach, step)
        for tile, key, first in zip(tiles, keys, anchor, strict=True)
    )
    if any(axis.far.start >= axis.far.stop for axis in (y, x)):
        return frame(tiles, keys, anchor, tiling, potts, 1)
    return y, x


def _axis(tile: Tile, corner: int, reach: int, step: int) -> Axis:
    """`corner`: the pixel of the array, or before it, where the tile's frame begins."""
    (start, stop), gives = tile.read, tile.gives
    near = (max(start, gives[0] - reach), min(stop, gives[1] + reach)) if step > 1 else tile.read
    first = start + (corner - start) % step
    hidden = slice(*(-(-(edge - first) // step) for edge in near))
    return Axis(
        slice(near[0] - start, near[1] - start),
        slice(first - start, stop - start, step),
        slice(gives[0] - near[0], gives[1] - near[0]),
        slice(max(hidden.start, 0), max(hidden.stop, 0)),
        (near[0] - corner, (first - corner) // step),
    )


def around(unary: np.ndarray, guide: np.ndarray, valid: np.ndarray, axes: tuple[Axis, Axis], step: int) -> Samples:
    """The samples of a frame, which are silent where the tile itself speaks."""
    y, x = axes
    valid = valid.copy()
    valid[y.hidden, x.hidden] = False
    return Samples(unary, guide, valid, step, (y.origin[1], x.origin[1]))
