"""Anchored, overlapping tiles: where they lie along an axis, and how what they give is blended.

A tile belongs to the absolute pixel grid. It reads a margin on all sides, and where two tiles meet what they give is
weighed by ramps. Chunks, workers and the extent of a request do not enter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lakecube.between_blocks import Tile
from lakecube.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class Tiling:
    """Tiles along both axes.

    Parameters
    ----------
    tile : int
        Side of a tile, pixels.
    margin : int
        How much more is read around each.
    blend : int
        Half the width of the ramp between tiles; at most the margin, and half a tile.
    """

    tile: int
    margin: int
    blend: int

    def __post_init__(self) -> None:
        if self.tile < 1 or self.margin < 0:
            raise InvalidInputError(
                f"tile must be positive and margin not negative; got {self.tile} px and {self.margin} px"
            )
        if not 0 <= 2 * self.blend <= min(2 * self.margin, self.tile):
            raise InvalidInputError(f"blend={self.blend} must not pass the margin nor half a tile")

    def along(self, size: int, anchor: int) -> dict[int, Tile]:
        """The tiles of one axis of `size` pixels from absolute pixel `anchor`, by their absolute number."""
        side, last = self.tile, anchor + size

        def clip(start: int, stop: int) -> tuple[int, int]:
            return max(start, anchor) - anchor, min(stop, last) - anchor

        return {
            k: Tile(
                clip(k * side - self.margin, (k + 1) * side + self.margin),
                clip(k * side - self.blend, (k + 1) * side + self.blend),
            )
            for k in range(anchor // side, (last - 1) // side + 1)
        }


def blend_tiles(
    parts: Sequence[tuple[int, int, np.ndarray]], rows: Sequence[int], columns: Sequence[int], *,
    tiles: tuple[Mapping[int, Tile], ...], anchor: tuple[int, int], tiling: Tiling,
) -> np.ndarray:  # fmt: skip
    """The values (t, y, x) of one chunk: the tiles that reach into it, weighed by their ramps."""
    shape = rows[1] - rows[0], columns[1] - columns[0]
    out = np.zeros((parts[0][2].shape[0], *shape), np.float32)
    for i, j, given in parts:
        y, wy = _ramp(i, tiles[0], rows, anchor[0], tiling)
        x, wx = _ramp(j, tiles[1], columns, anchor[1], tiling)
        top, left = tiles[0][i].gives[0], tiles[1][j].gives[0]
        piece = given[:, y.start - top : y.stop - top, x.start - left : x.stop - left]
        here = np.s_[:, y.start - rows[0] : y.stop - rows[0], x.start - columns[0] : x.stop - columns[0]]
        out[here] += piece * (wy[:, np.newaxis] * wx)
    return out


def _ramp(
    number: int, tiles: Mapping[int, Tile], span: Sequence[int], anchor: int, tiling: Tiling
) -> tuple[slice, np.ndarray]:
    """Where one tile speaks within a span of pixels, and its weight there; the weights of all tiles sum to 1."""
    gives = tiles[number].gives
    start, stop = max(gives[0], span[0]), min(gives[1], span[1])
    at = np.arange(start, stop) + anchor + 0.5
    weight = np.ones(stop - start, np.float32)
    if tiling.blend:
        width = 2 * tiling.blend
        if number - 1 in tiles:
            weight *= np.clip((at - number * tiling.tile) / width + 0.5, 0, 1).astype(np.float32)
        if number + 1 in tiles:
            weight *= np.clip(0.5 - (at - (number + 1) * tiling.tile) / width, 0, 1).astype(np.float32)
    return slice(start, stop), weight
