"""Pixel grids: how a source lies under the cube's grid, and which grid a set of scenes shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import pyproj
from affine import Affine
from odc.geo.geobox import GeoBox

from lakecube.errors import EmptySearchError, InvalidInputError
from lakecube.io.records import SourceGrid

#: Edges closer than this share of a pixel count as the same edge (metadata are rounded).
EDGE_TOLERANCE = 1e-3

#: Cubes of more pixels per date are a slip of the units: this many at 10 m are 1.7 million km².
MOST_PIXELS, MOST_ALONG_A_SIDE = 2**34, 2**20

#: Of a picture that tells no CRS: a plane whose unit is its pixel. A cube on it has no CRS.
PICTURE = (
    'ENGCRS["pixels of a picture",EDATUM["picture"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],UNIT["pixel",1]]'
)


@dataclass(frozen=True, slots=True)
class Window:
    """Rows ``y0:y1`` and columns ``x0:x1`` of a grid."""

    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.y1 - self.y0, self.x1 - self.x0

    def pad(self, pixels: int) -> Window:
        """The window with `pixels` more on every side."""
        return Window(self.y0 - pixels, self.y1 + pixels, self.x0 - pixels, self.x1 + pixels)

    def clip(self, shape: tuple[int, int]) -> Window:
        """The part of the window inside a grid of `shape`."""
        y0, x0 = min(max(self.y0, 0), shape[0]), min(max(self.x0, 0), shape[1])
        return Window(y0, max(y0, min(self.y1, shape[0])), x0, max(x0, min(self.x1, shape[1])))

    def within(self, outer: Window) -> tuple[slice, slice]:
        """Slices that cut this window out of an array over `outer`."""
        return slice(self.y0 - outer.y0, self.y1 - outer.y0), slice(self.x0 - outer.x0, self.x1 - outer.x0)


@dataclass(frozen=True, slots=True)
class Placement:
    """How a source's pixels lie under the cube's: ``raise`` and ``coarsen`` by whole factors with shared
    edges (`top`, `left`: the cube's row and column of the source's corner, in the finer pixels), else ``warp``."""

    kind: Literal["raise", "coarsen", "warp"]
    factor: tuple[int, int] = (1, 1)
    top: int = 0
    left: int = 0


@lru_cache(maxsize=4096)
def place(source: SourceGrid, target: SourceGrid) -> Placement:
    """The placement of `source` under `target`; needs north-up grids for anything but ``warp``."""
    s, t = source.transform, target.transform
    if not same_crs(source.crs, target.crs) or any(abs(v) > 1e-12 for v in (s[1], s[3], t[1], t[3])):
        return Placement("warp")
    ratio = s[4] / t[4], s[0] / t[0]
    if min(ratio) <= 0:
        return Placement("warp")
    offset = (s[5] - t[5]) / t[4], (s[2] - t[2]) / t[0]
    raised = tuple(round(r) for r in ratio)
    if min(raised) >= 1 and _whole(ratio, raised, source.shape) and _whole(offset):
        return Placement("raise", (raised[0], raised[1]), round(offset[0]), round(offset[1]))
    lowered = tuple(round(1 / r) for r in ratio)
    in_fine = offset[0] * lowered[0], offset[1] * lowered[1]
    if min(lowered) >= 1 and _whole([1 / r for r in ratio], lowered, target.shape) and _whole(in_fine):
        return Placement("coarsen", (lowered[0], lowered[1]), round(in_fine[0]), round(in_fine[1]))
    return Placement("warp")


def _whole(values: Sequence[float], nearest: Sequence[int] | None = None, times: Sequence[int] = (1, 1)) -> bool:
    nearest = [round(v) for v in values] if nearest is None else nearest
    return all(abs(v - n) * k < EDGE_TOLERANCE for v, n, k in zip(values, nearest, times, strict=True))


@lru_cache(maxsize=256)
def same_crs(a: str, b: str) -> bool:
    """True where two CRS strings mean the same system."""
    return a == b or pyproj.CRS.from_user_input(a) == pyproj.CRS.from_user_input(b)


@lru_cache(maxsize=8)
def coordinates_in(source: SourceGrid, target: SourceGrid, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Pixel coordinates (rows, columns) in `source` of the pixel centres of `window` of `target`.

    Each is computed by itself (no interpolation between a few exact points, as warpers do), so a pixel's
    coordinates do not depend on the window. Returns two read-only float64 arrays.
    """
    rows = np.arange(window.y0, window.y1) + 0.5
    columns = np.arange(window.x0, window.x1) + 0.5
    u, v = np.meshgrid(columns, rows)
    x, y = apply_affine(target.transform, u, v)
    if not same_crs(source.crs, target.crs):
        x, y = _transformer(target.crs, source.crs).transform(x, y)
    u, v = apply_affine(~Affine(*source.transform), x, y)
    u.flags.writeable = v.flags.writeable = False
    return v, u


def apply_affine(transform: Affine | Sequence[float], u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(x, y) of columns `u` and rows `v`; affine's own operator for it changed its name between versions."""
    a, b, c, d, e, f = transform[:6]
    return u * a + v * b + c, u * d + v * e + f


@lru_cache(maxsize=64)
def _transformer(a: str, b: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(a, b, always_xy=True)


def source_window(placement: Placement, grid: SourceGrid, window: Window, margin: int = 1) -> Window:
    """The source pixels under a window of the cube, `margin` more on each side, inside the source."""
    fy, fx = placement.factor
    if placement.kind == "raise":
        y0, y1 = (window.y0 - placement.top) // fy, -(-(window.y1 - placement.top) // fy)
        x0, x1 = (window.x0 - placement.left) // fx, -(-(window.x1 - placement.left) // fx)
        if (fy, fx) == (1, 1):
            margin = 0
    else:
        y0, y1 = window.y0 * fy - placement.top, window.y1 * fy - placement.top
        x0, x1 = window.x0 * fx - placement.left, window.x1 * fx - placement.left
        margin = 0
    return Window(y0 - margin, y1 + margin, x0 - margin, x1 + margin).clip(grid.shape)


def warp_window(grid: SourceGrid, target: SourceGrid, window: Window) -> Window:
    """The source pixels under a window of a grid that shares no lattice with the source, one more on each side."""
    rows, columns = coordinates_in(grid, target, window)
    finite = np.isfinite(rows) & np.isfinite(columns)
    if not finite.any():
        return Window(0, 0, 0, 0)
    y0, y1 = np.floor(rows[finite].min()), np.ceil(rows[finite].max())
    x0, x1 = np.floor(columns[finite].min()), np.ceil(columns[finite].max())
    limit = 2**31
    clipped = (int(np.clip(v, -limit, limit)) for v in (y0 - 1, y1 + 1, x0 - 1, x1 + 1))
    return Window(*clipped).clip(grid.shape)


def geobox(grid: SourceGrid) -> GeoBox:
    """The grid as odc-geo's GeoBox."""
    return GeoBox(grid.shape, Affine(*grid.transform), grid.crs)


def choose_grid(
    grids: Iterable[SourceGrid],
    *,
    bbox: tuple[float, float, float, float] | None,
    crs: str | None,
    resolution: float | None,
    least: int = 1,
) -> tuple[SourceGrid, list[str]]:
    """The grid of a cube: the majority's CRS and phase, the finest resolution, cut to the request.

    Parameters
    ----------
    grids
        Of every band of every scene.
    bbox
        West, south, east, north in degrees; None for all that the scenes cover.
    crs, resolution
        Of the cube; None for the scenes' own.

    Returns
    -------
    grid
        North-up, its edges on the edges of the finest source pixels, or on multiples of `resolution`.
    others : list of str
        CRS that had to give way.
    """
    grids = list(grids)
    votes = Counter(_crs_name(g.crs) for g in grids)
    chosen = crs or max(sorted(votes), key=lambda name: votes[name])
    native = [g for g in grids if same_crs(g.crs, chosen)]
    if resolution is not None:
        _check_resolution(resolution, _finest(native or grids), chosen)
    a, d, phase = _lattice(native, chosen, resolution)
    bounds = _bounds(_finest(grids), chosen)
    if bbox is not None:
        bounds = _intersect(bounds, _project(_densify(bbox), "EPSG:4326", chosen), bbox)
    x0, x1 = (_snap(v, phase[0], a, up) for v, up in ((bounds[0], False), (bounds[2], True)))
    y0, y1 = (_snap(v, phase[1], d, up) for v, up in ((bounds[1], False), (bounds[3], True)))
    shape = max(round((y1 - y0) / d), least), max(round((x1 - x0) / a), least)
    if max(shape) > MOST_ALONG_A_SIDE or shape[0] * shape[1] > MOST_PIXELS:
        raise InvalidInputError(
            f"the cube would have {shape[0]} × {shape[1]} pixels of {a:g} in {chosen}, more than 2^34 or than 2^20 "
            "along a side: give a smaller bbox= or a coarser resolution="
        )
    return SourceGrid(chosen, (a, 0.0, x0, 0.0, -d, y1), shape), sorted(set(votes) - {_crs_name(chosen)})


def _check_resolution(resolution: float, grids: list[SourceGrid], crs: str) -> None:
    """Raise where pixels are so much larger than the scenes' own that they must be meant in other units."""
    own = max(_pixel_size(grid, crs) for grid in dict.fromkeys(grids))
    if np.isfinite(own) and resolution > 100 * own:
        unit = pyproj.CRS.from_user_input(crs).axis_info[0].unit_name
        raise InvalidInputError(
            f"resolution={resolution:g} {unit} is {resolution / own:.0f} times the pixels of the scenes: in {crs} "
            f"they are of {own:.3g} {unit}, so give resolution={own:.3g} or a few times that"
        )


def _pixel_size(grid: SourceGrid, crs: str) -> float:
    """Side of the pixel in the middle of a grid, in units of another CRS."""
    u, v = grid.shape[1] / 2 + np.array([0.0, 1.0, 0.0]), grid.shape[0] / 2 + np.array([0.0, 0.0, 1.0])
    x, y = apply_affine(grid.transform, u, v)
    if not same_crs(grid.crs, crs):
        x, y = _transformer(grid.crs, crs).transform(x, y)
    return float(np.hypot(x[1:] - x[0], y[1:] - y[0]).max())


def share_covered(grids: Iterable[SourceGrid], grid: SourceGrid) -> float:
    """At most this share of a cube's grid lies under some scenes (0 to 1), by their boxes."""
    outer = _bounds([grid], grid.crs)
    areas = []
    for one in dict.fromkeys(_finest(list(grids))):
        box = _bounds([one], grid.crs)
        width, height = min(box[2], outer[2]) - max(box[0], outer[0]), min(box[3], outer[3]) - max(box[1], outer[1])
        areas.append(max(width, 0.0) * max(height, 0.0))
    return min(sum(areas) / ((outer[2] - outer[0]) * (outer[3] - outer[1])), 1.0)


def share_inside(grid: SourceGrid, other: SourceGrid, n: int = 65) -> float:
    """Share of the pixels of a grid (of n × n of them) whose centres lie in another grid."""
    v, u = (np.linspace(0.5, size - 0.5, min(n, size)) for size in grid.shape)
    x, y = apply_affine(grid.transform, *np.meshgrid(u, v))
    if not same_crs(grid.crs, other.crs):
        x, y = _transformer(grid.crs, other.crs).transform(x, y)
    columns, rows = apply_affine(~Affine(*other.transform), x, y)
    inside = (rows >= 0) & (rows <= other.shape[0]) & (columns >= 0) & (columns <= other.shape[1])
    return float(inside.mean())


def chunk_sizes(chunks: int | Mapping[str, int] | None) -> tuple[int, int]:
    """Pixels per chunk along y and x of what `open` takes as chunks=.

    Raises
    ------
    InvalidInputError
        Neither a whole number of 1 or more nor a mapping of y and x to such.
    """
    sizes = {"y": 1024, "x": 1024, **(chunks if isinstance(chunks, Mapping) else {})}
    if chunks is not None and not isinstance(chunks, Mapping):
        sizes = {"y": chunks, "x": chunks}
    whole = all(isinstance(n, int | np.integer) and not isinstance(n, bool) and n >= 1 for n in sizes.values())
    if not whole or not sizes.keys() <= {"y", "x", "time"} or sizes.get("time", 1) != 1:
        raise InvalidInputError(
            f"chunks={chunks!r}: pixels per chunk are needed, 1 or more, as one whole number or as "
            "{'y': 512, 'x': 512}; along time a chunk is one date"
        )
    return int(sizes["y"]), int(sizes["x"])


@lru_cache(maxsize=256)
def _crs_name(crs: str) -> str:
    code = pyproj.CRS.from_user_input(crs).to_authority(min_confidence=90)
    return ":".join(code) if code else crs


def _lattice(native: list[SourceGrid], crs: str, resolution: float | None) -> tuple[float, float, tuple[float, float]]:
    """Pixel width, pixel height and phase (x, y of any corner) of the cube's lattice."""
    if native:
        finest = min(native, key=lambda g: (abs(g.transform[0]), g.crs, g.transform))
        a, d = abs(finest.transform[0]), abs(finest.transform[4])
        if resolution is None or (np.isclose(a, resolution) and np.isclose(d, resolution)):
            return a, d, (finest.transform[2], finest.transform[5])
    if resolution is None:
        raise InvalidInputError(
            f"no scene is in {crs}, so the pixel size is unknown: give resolution= in units of that CRS"
        )
    return resolution, resolution, (0.0, 0.0)


def _finest(grids: list[SourceGrid]) -> list[SourceGrid]:
    """The finest grids of each CRS: coarser bands of a scene stick out by part of a pixel."""
    least: dict[str, float] = {}
    for grid in grids:
        least[grid.crs] = min(least.get(grid.crs, np.inf), abs(grid.transform[0]))
    return [grid for grid in grids if abs(grid.transform[0]) < 1.01 * least[grid.crs]]


def _bounds(grids: list[SourceGrid], crs: str) -> tuple[float, float, float, float]:
    boxes = []
    for grid in dict.fromkeys(grids):
        rows, columns = grid.shape
        x, y = apply_affine(grid.transform, *np.array([(0, 0), (columns, 0), (0, rows), (columns, rows)]).T)
        box = float(x.min()), float(y.min()), float(x.max()), float(y.max())
        boxes.append(box if same_crs(grid.crs, crs) else _project(_densify(box), grid.crs, crs))
    if nowhere := [box for box in boxes if not np.isfinite(box).all()]:
        raise InvalidInputError(f"a scene lies at {nowhere[0]} in {crs}, by its transform and shape: that is no place")
    west, south, east, north = np.transpose(boxes)
    return float(west.min()), float(south.min()), float(east.max()), float(north.max())


def _densify(box: tuple[float, float, float, float], n: int = 21) -> tuple[np.ndarray, np.ndarray]:
    west, south, east, north = box
    if west > east:  # a bbox over the antimeridian
        east += 360.0
    t = np.linspace(0, 1, n)
    x, y = west + t * (east - west), south + t * (north - south)
    flat = np.full(n, 1.0)
    return (
        np.concatenate([x, x, flat * west, flat * east]),
        np.concatenate([flat * south, flat * north, y, y]),
    )


def _project(points: tuple[np.ndarray, np.ndarray], source: str, target: str) -> tuple[float, float, float, float]:
    x, y = points if same_crs(source, target) else _transformer(source, target).transform(*points)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InvalidInputError(f"the area cannot be expressed in {target}: choose a nearer crs=")
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def _intersect(
    a: tuple[float, float, float, float], b: tuple[float, float, float, float], bbox: tuple[float, ...]
) -> tuple[float, float, float, float]:
    west, south, east, north = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    if west >= east or south >= north:
        raise EmptySearchError(
            f"bbox {tuple(bbox)} (west, south, east, north in degrees) does not touch the scenes, "
            f"which cover {tuple(round(v, 2) for v in a)} in the cube's CRS; check the order of bbox"
        )
    return west, south, east, north


def _snap(value: float, phase: float, size: float, up: bool) -> float:
    """The nearest lattice edge outside `value`, or the one it lies on (to `EDGE_TOLERANCE` of a pixel)."""
    index = (value - phase) / size
    nearest = round(index)
    if abs(index - nearest) >= EDGE_TOLERANCE:
        nearest = int(np.ceil(index) if up else np.floor(index))
    return phase + nearest * size
