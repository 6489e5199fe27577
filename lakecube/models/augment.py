"""Turned, recoloured and zoomed tiles: every draw depends on the seed, the epoch and the tile's number alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from lakecube.errors import InvalidInputError
from lakecube.names import UNKNOWN


@dataclass(frozen=True, slots=True)
class Augment:
    """How far a tile may be changed; of each, a draw is uniform between the limits.

    Parameters
    ----------
    turn : bool
        The eight rotations and reflections.
    gain, colour : float
        Values times 1 ± gain, the same for all bands, and times 1 ± colour, for each band by itself.
    gamma : float
        Values to the power of e^± gamma; what is negative keeps its sign.
    zoom : float
        Side of the window that becomes the tile, times e^± zoom.
    shift : float
        The window is moved along both axes by ± this share of a tile.
    """

    turn: bool = True
    gain: float = 0.0
    colour: float = 0.0
    gamma: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0


#: By name: none at all; as in Cao et al.; with colours, for imagery of many sources; the same, zoomed and moved.
LEVELS = MappingProxyType({
    "none": Augment(turn=False),
    "turns": Augment(),
    "colour": Augment(gain=0.2, colour=0.1, gamma=0.2),
    "strong": Augment(gain=0.3, colour=0.15, gamma=0.3, zoom=0.4, shift=0.5),
})  # fmt: skip


class Frame(NamedTuple):
    """The window of a scene that becomes a tile: its upper left corner and side, pixels."""

    row: int
    column: int
    side: int


def augment_of(level: str | Augment) -> Augment:
    """By name, or as given."""
    if isinstance(level, Augment):
        return level
    if level not in LEVELS:
        raise InvalidInputError(f"augment={level!r}: use {', '.join(map(repr, LEVELS))}")
    return LEVELS[level]


def draw(seeds: Sequence[int]) -> np.random.Generator:
    """A generator of its own for these numbers."""
    return np.random.default_rng(list(seeds))


def frame_of(
    corner: tuple[int, int], tile: int, shape: tuple[int, int], how: Augment, chance: np.random.Generator
) -> Frame:
    """The window of a tile, moved and zoomed about its middle, inside a scene of this shape as far as it fits."""
    row, column = corner
    if not (how.zoom or how.shift):
        return Frame(row, column, tile)
    zoom, down, right = chance.uniform(-1, 1, 3)
    side = max(round(tile * float(np.exp(zoom * how.zoom))), 1)
    starts = (round(start + (tile - side) / 2 + by * how.shift * tile) for start, by in ((row, down), (column, right)))
    row, column = (min(max(start, 0), max(n - side, 0)) for start, n in zip(starts, shape, strict=True))
    return Frame(row, column, side)


def cut(array: np.ndarray, frame: Frame, fill: float) -> np.ndarray:
    """The window of the last two axes, `fill` beyond the edge; a copy."""
    height, width = array.shape[-2:]
    out = np.full((*array.shape[:-2], frame.side, frame.side), fill, array.dtype)
    top, left = max(frame.row, 0), max(frame.column, 0)
    bottom, right = min(frame.row + frame.side, height), min(frame.column + frame.side, width)
    if bottom > top and right > left:
        here = (slice(top - frame.row, bottom - frame.row), slice(left - frame.column, right - frame.column))
        out[(..., *here)] = array[..., top:bottom, left:right]
    return out


def resized(values: np.ndarray, labels: np.ndarray, tile: int) -> tuple[np.ndarray, np.ndarray]:
    """Values (band, y, x) bilinearly and labels (y, x) by the nearest pixel, brought to `tile` pixels."""
    side = labels.shape[0]
    if side == tile:
        return values, labels
    at = (np.arange(tile) + 0.5) * (side / tile) - 0.5
    low = np.clip(np.floor(at).astype(np.intp), 0, max(side - 2, 0))
    high = np.minimum(low + 1, side - 1)
    share = np.clip(at - low, 0, 1).astype(np.float32)
    rows = values[:, low] * (1 - share)[:, None] + values[:, high] * share[:, None]
    out = rows[..., low] * (1 - share) + rows[..., high] * share
    nearest = np.clip(np.floor(at + 0.5).astype(np.intp), 0, side - 1)
    known = labels[np.ix_(nearest, nearest)].copy()
    known[~np.isfinite(out).all(axis=0)] = UNKNOWN
    return out, known


def changed(
    values: np.ndarray, labels: np.ndarray, how: Augment, chance: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Colours and turns of one tile: values (band, y, x) float32, labels (y, x)."""
    if how.gain or how.colour or how.gamma:
        draws = chance.uniform(-1, 1, 2 + len(values))
        gains = (1 + how.gain * draws[0]) * (1 + how.colour * draws[2:])
        values = values * gains.astype(np.float32)[:, None, None]
        values = np.copysign(np.abs(values) ** np.float32(np.exp(how.gamma * draws[1])), values)
    if how.turn:
        quarter, mirrored = int(chance.integers(4)), bool(chance.integers(2))
        values, labels = (np.rot90(a, quarter, axes=(-2, -1)) for a in (values, labels))
        if mirrored:
            values, labels = values[..., ::-1], labels[..., ::-1]
    return np.ascontiguousarray(values), np.ascontiguousarray(labels)
