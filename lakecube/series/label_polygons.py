"""Lakes of a labelled image as polygons of exact pixel edges, a batch of lakes at a time.

Memory holds the corners of one batch and a few tiles of labels, whatever the image. Neither tiles nor batches change a
polygon.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import shapely
import xarray as xr

from lakecube.kernels.lake_areas import lake_runs
from lakecube.kernels.outline import corners_block, join_corners, trace_rings
from lakecube.names import X, Y
from lakecube.series.pixel_area import PixelGrid

#: Side of the tiles that labels are read by, and lakes whose outlines are made at once.
TILE, LAKES_AT_ONCE = 1024, 2048
#: Tiles whose corners are kept for the next batch.
_TILES_KEPT = 32
#: One row per lake: its id, and the rows and columns it lies in (the last is inside).
BOXES = np.dtype([
    ("lake_id", "i8"), ("first_row", "i8"), ("last_row", "i8"), ("first_column", "i8"), ("last_column", "i8"),
])  # fmt: skip


@dataclass(frozen=True, slots=True)
class LabelImage:
    """Where labels come from, and where the lakes are in them.

    Parameters
    ----------
    read : callable
        ``read((row, row_stop), (column, column_stop))`` to (y, x) int64 lake ids, 0 outside.
    grid : PixelGrid
    boxes : (lakes,) BOXES
        Sorted by id.
    """

    read: Callable[[tuple[int, int], tuple[int, int]], np.ndarray]
    grid: PixelGrid
    boxes: np.ndarray

    @classmethod
    def of(cls, lake_label: xr.DataArray) -> LabelImage:
        """Of a labelled image; looks at all of it once, a tile at a time."""
        labels = lake_label.transpose(Y, X)

        def read(rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
            return np.asarray(labels[slice(*rows), slice(*columns)].values, np.int64)

        grid = PixelGrid.of(labels)
        boxes = [boxes_of(read(y, x), y[0], x[0]) for y in _steps(grid.shape[0]) for x in _steps(grid.shape[1])]
        return cls(read, grid, join_boxes(boxes))


def boxes_of(labels: np.ndarray, first_row: int, first_column: int) -> np.ndarray:
    """The `BOXES` of one block of lake ids (y, x), by the place of its first pixel in the image."""
    ids, runs = lake_runs(labels)
    out = np.empty(ids.size, BOXES)
    out["lake_id"] = ids
    row, start, stop, k = runs.astype(np.int64).T
    for name, values, reduce in (
        ("first_row", row + first_row, np.minimum), ("last_row", row + first_row, np.maximum),
        ("first_column", start + first_column, np.minimum), ("last_column", stop + first_column - 1, np.maximum),
    ):  # fmt: skip
        found = np.full(ids.size, np.iinfo(np.int64).max if reduce is np.minimum else -1)
        reduce.at(found, k, values)
        out[name] = found
    return out


def join_boxes(parts: list[np.ndarray]) -> np.ndarray:
    """The `BOXES` of several blocks as one table, sorted by id."""
    joined = np.concatenate([np.zeros(0, BOXES), *parts])
    ids, at = np.unique(joined["lake_id"], return_inverse=True)
    out = np.zeros(ids.size, BOXES)
    out["lake_id"] = ids
    for name in ("first_row", "last_row", "first_column", "last_column"):
        reduce = np.minimum if name.startswith("first") else np.maximum
        found = np.full(ids.size, np.iinfo(np.int64).max if reduce is np.minimum else -1)
        reduce.at(found, at, joined[name])
        out[name] = found
    return out


def polygons(image: LabelImage) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Ids (lakes,) int64 and outlines (lakes,) of MultiPolygons in the image's CRS, a batch at a time, in order of id.

    Shells run counterclockwise. Parts of a lake that meet at corners only are parts of its MultiPolygon.
    """
    corners = functools.lru_cache(maxsize=_TILES_KEPT)(functools.partial(_corners_of_tile, image))
    for start in range(0, len(image.boxes), LAKES_AT_ONCE):
        boxes = image.boxes[start : start + LAKES_AT_ONCE]
        parts = []
        for tile in sorted({tile for box in boxes for tile in _tiles_of(box)}):
            found = corners(tile)
            low, high = np.searchsorted(found["label"], [boxes["lake_id"][0], boxes["lake_id"][-1] + 1])
            parts.append(found[low:high])
        yield boxes["lake_id"], _build(join_corners(parts), boxes["lake_id"], image.grid)


def _steps(size: int) -> list[tuple[int, int]]:
    return [(start, min(start + TILE, size)) for start in range(0, size, TILE)]


def _tiles_of(box: np.void) -> Iterator[tuple[int, int]]:
    """Tiles of vertices that a lake's corners lie in; its lowest are one beyond its last row."""
    for i in range(box["first_row"] // TILE, (box["last_row"] + 1) // TILE + 1):
        for j in range(box["first_column"] // TILE, (box["last_column"] + 1) // TILE + 1):
            yield int(i), int(j)


def _corners_of_tile(image: LabelImage, tile: tuple[int, int]) -> np.ndarray:
    """Corners at the vertices of one tile, sorted by label; it reads one pixel above and left of them."""
    read, beyond = [], []
    for k, size in zip(tile, image.grid.shape, strict=True):
        start, stop = k * TILE - 1, min((k + 1) * TILE, size + 1)
        read.append((max(start, 0), min(stop, size)))
        beyond.append((max(-start, 0), max(stop - size, 0)))
    labels = np.pad(image.read(read[0], read[1]), beyond)
    found = corners_block(labels, tile[0] * TILE, tile[1] * TILE)
    return found[np.argsort(found["label"], kind="stable")]


def _build(corners: np.ndarray, ids: np.ndarray, grid: PixelGrid) -> np.ndarray:
    """MultiPolygons of the ids, from all of their corners."""
    vertices, starts, is_hole = trace_rings(corners)
    first = corners[vertices[starts[:-1]]]
    ring = np.repeat(np.arange(is_hole.size), np.diff(starts))
    if grid.dx * grid.dy > 0:  # rings are counterclockwise where north is up
        k = np.arange(vertices.size)
        vertices = vertices[starts[ring] + starts[ring + 1] - 1 - k]
    x = grid.x + grid.dx * corners["column"][vertices]
    y = grid.y + grid.dy * corners["row"][vertices]
    rings = shapely.linearrings(np.stack([x, y], axis=1), indices=ring)
    owner = _shells_of_holes(rings, first, is_hole, grid)
    shell = np.flatnonzero(~is_hole)
    order = np.lexsort((is_hole, owner))
    parts = shapely.polygons(rings[order], indices=np.searchsorted(shell, owner[order]))
    return shapely.multipolygons(parts, indices=np.searchsorted(ids, first["label"][shell]))


def _shells_of_holes(rings: np.ndarray, first: np.ndarray, is_hole: np.ndarray, grid: PixelGrid) -> np.ndarray:
    """The shell (ring) of each ring; a shell's is itself.

    A hole's is the smallest shell of the same lake around the pixel above the hole's first corner: that is of the lake.
    """
    owner = np.arange(is_hole.size)
    label = first["label"]
    shell, hole = np.flatnonzero(~is_hole), np.flatnonzero(is_hole)
    alone = np.bincount(np.searchsorted(np.unique(label), label[shell])) == 1  # lakes with one shell
    only = alone[np.searchsorted(np.unique(label), label[hole])]
    owner[hole] = shell[np.searchsorted(label[shell], label[hole])]
    hole = hole[~only]
    if hole.size == 0:
        return owner
    shell = shell[np.isin(label[shell], label[hole])]
    around = shapely.polygons(rings[shell])
    x = grid.x + grid.dx * (first["column"][hole] + 0.5)
    y = grid.y + grid.dy * (first["row"][hole] - 0.5)
    h, s = shapely.STRtree(around).query(shapely.points(x, y), predicate="within")
    same = label[hole[h]] == label[shell[s]]
    h, s = h[same], s[same]
    order = np.lexsort((shapely.area(around)[s], h))
    h, s = h[order], s[order]
    smallest = np.concatenate([[True], h[1:] != h[:-1]])
    owner[hole[h[smallest]]] = shell[s[smallest]]
    return owner
