"""What one task of a prediction does: the tiles of a block, date by date, and a chunk from tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lakecube.between_blocks import Tile, meet
from lakecube.kernels.mosaic import IS_JUDGED
from lakecube.models.forward import Precision, probabilities
from lakecube.models.inputs import network_input
from lakecube.models.registry import Weights
from lakecube.models.spec import Radiometry
from lakecube.tiling import Tiling, blend_tiles


@dataclass(frozen=True, slots=True)
class PredictSettings:
    """What a task needs to know besides its pixels."""

    weights: Weights
    tiling: Tiling
    radiometry: Radiometry
    precision: Precision
    device: str | None
    views: int
    per_block: int
    """Tiles along each side of a block, whose windows are one batch; 1 for local models."""


def predict_block(
    pieces: Sequence[np.ndarray], row: int, column: int, *, tiles: tuple[Mapping[int, Tile], ...],
    anchor: tuple[int, int], settings: PredictSettings,
) -> list[tuple[int, int, np.ndarray]]:  # fmt: skip
    """What the tiles of one block give: (row, column, (time, y, x)) of each."""
    n = settings.per_block
    rows, columns = ([k for k in axis if k // n == b] for axis, b in zip(tiles, (row, column), strict=True))
    origin = tiles[0][rows[0]].read[0], tiles[1][columns[0]].read[0]
    dates = [
        _predict_date([piece[t] for piece in pieces], [(i, j) for i in rows for j in columns], origin, tiles, anchor,
                      settings)
        for t in range(pieces[0].shape[0])
    ]  # fmt: skip
    return [(i, j, np.stack([date[i, j] for date in dates])) for i in rows for j in columns]


def _predict_date(
    layers: Sequence[np.ndarray], members: Sequence[tuple[int, int]], origin: tuple[int, int],
    tiles: tuple[Mapping[int, Tile], ...], anchor: tuple[int, int], settings: PredictSettings,
) -> dict[tuple[int, int], np.ndarray]:  # fmt: skip
    """Probabilities of the tiles of one block on one date; tiles of which nothing is known are not forwarded."""
    spec = settings.weights.spec
    n_bands = len(spec.bands)
    known = np.isfinite(layers[0])
    for band in layers[1:n_bands]:
        known &= np.isfinite(band)
    if len(layers) > n_bands:
        known &= IS_JUDGED[layers[n_bands]]
    out, images, todo = {}, [], []
    for member in members:
        spans = [axis[k] for axis, k in zip(tiles, member, strict=True)]
        inside = tuple(slice(s.gives[0] - o, s.gives[1] - o) for s, o in zip(spans, origin, strict=True))
        out[member] = np.where(known[inside], np.float32(0), np.float32(np.nan))
        if known[inside].any():
            read = tuple(slice(s.read[0] - o, s.read[1] - o) for s, o in zip(spans, origin, strict=True))
            pad = [_padding(s, k, a, settings) for s, k, a in zip(spans, member, anchor, strict=True)]
            mode: Any = "edge" if spec.window is None else "symmetric"
            image = network_input([band[read] for band in layers[:n_bands]], spec, settings.radiometry)
            images.append(np.pad(image, [*pad, (0, 0)], mode=mode) if np.any(pad) else image)
            todo.append((member, [s.gives[0] - s.read[0] + p[0] for s, p in zip(spans, pad, strict=True)]))
    if images:
        batch = np.stack(images) if len(images) > 1 else images[0][np.newaxis]
        found = probabilities(settings.weights, batch, settings.device, settings.precision, settings.views)
        for (member, (top, left)), probability in zip(todo, found, strict=True):
            rows, columns = out[member].shape
            out[member] += probability[top : top + rows, left : left + columns]
    return out


def _padding(span: Tile, number: int, anchor: int, settings: PredictSettings) -> tuple[int, int]:
    """Pixels to add before and after what a tile reads: to the stride's lattice, or to the whole of a fixed window."""
    start, stop = span.read[0] + anchor, span.read[1] + anchor
    if settings.weights.spec.window is None:
        stride = settings.weights.spec.stride
        return start % stride, -stop % stride
    tiling = settings.tiling
    return start - (number * tiling.tile - tiling.margin), (number + 1) * tiling.tile + tiling.margin - stop


def blend_blocks(
    parts: Sequence[tuple[int, int, list[tuple[int, int, np.ndarray]]]], rows: Sequence[int], columns: Sequence[int],
    *, tiles: tuple[Mapping[int, Tile], ...], anchor: tuple[int, int], tiling: Tiling,
) -> np.ndarray:  # fmt: skip
    """The values of one chunk from the tiles of the blocks that reach into it, in ascending order."""
    inner = sorted(
        (part for _, _, block in parts for part in block
         if meet(tiles[0][part[0]].gives, rows) and meet(tiles[1][part[1]].gives, columns)),
        key=lambda part: part[:2],
    )  # fmt: skip
    return blend_tiles(inner, rows, columns, tiles=tiles, anchor=anchor, tiling=tiling)
