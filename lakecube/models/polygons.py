"""Polygons as labels: where they come from, what they say, and the windows of a cube that they label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from lakecube.errors import InvalidInputError, MissingDependencyError
from lakecube.georeference import crs_text
from lakecube.models.scenes import CubeScene, Scene
from lakecube.names import LAND, TIME, UNKNOWN, WATER, X, Y

#: A window that is one place is so many tiles high and wide, or fewer where there would be too few places.
_TILES_ACROSS, _PLACES = (4, 2, 1), 5
_WORDS = {"water": WATER, "1": WATER, "lake": WATER, "land": LAND, "0": LAND, "other": LAND, "unknown": UNKNOWN}


def grid_of(cube: xr.Dataset) -> tuple[Any, Any]:
    """From column and row to the cube's CRS, and that CRS."""
    from affine import Affine
    from pyproj import CRS

    wkt = crs_text(cube.coords)
    if not wkt or min(cube.sizes.get(Y, 0), cube.sizes.get(X, 0)) < 2:
        raise InvalidInputError("polygons are laid on a cube of 2 x 2 pixels or more with its CRS in spatial_ref")
    y, x = (cube[dim].to_numpy().astype(np.float64) for dim in (Y, X))
    dy, dx = ((a[-1] - a[0]) / (len(a) - 1) for a in (y, x))
    return Affine(dx, 0, x[0] - dx / 2, 0, dy, y[0] - dy / 2), CRS.from_wkt(wkt)


def labelled_shapes(polygons: Any, column: str | None, crs: Any) -> tuple[tuple[Any, int], ...]:
    """Polygons of a file or a GeoDataFrame in this CRS, each with its label: water, or what a column says."""
    frame = _frame(polygons)
    if frame.crs is None:
        raise InvalidInputError("the polygons have no CRS: set it, for example polygons.set_crs('EPSG:4326')")
    if column is not None and column not in frame:
        raise InvalidInputError(f"the polygons have no column {column!r}; there are {', '.join(map(str, frame))}")
    frame = frame[frame.geometry.notna() & ~frame.geometry.is_empty]
    if frame.empty or not set(frame.geom_type) <= {"Polygon", "MultiPolygon"}:
        raise InvalidInputError(f"labels are drawn by polygons, not by {', '.join(set(frame.geom_type)) or 'nothing'}")
    states = [WATER] * len(frame) if column is None else [_state(value) for value in frame[column]]
    return tuple(zip(frame.geometry.to_crs(crs), states, strict=True))


def _frame(polygons: Any) -> Any:
    if hasattr(polygons, "geometry"):
        return polygons
    try:
        import geopandas
    except ImportError as error:
        raise MissingDependencyError(
            "polygons are read by GeoPandas: pip install -c constraints.txt '.[geoparquet]'"
        ) from error
    if not Path(str(polygons)).exists():
        raise InvalidInputError(f"there is no file {polygons}")
    try:
        return geopandas.read_file(polygons)
    except Exception as error:  # of GDAL, pyogrio or GeoPandas, with no base in common
        raise InvalidInputError(f"{polygons} cannot be read as polygons: {error}") from error


def _state(value: Any) -> int:
    word = str(value).strip().lower().removesuffix(".0")
    if word not in _WORDS:
        raise InvalidInputError(f"a polygon's class is {str(value)!r}: use water or land, 1 or 0, or unknown")
    return _WORDS[word]


def check_near(shapes: Sequence[tuple[Any, int]], transform: Any, shape: tuple[int, int]) -> None:
    """Raise if no polygon touches the cube."""
    from shapely import box

    area = box(*transform * (0, shape[0]), *transform * (shape[1], 0))
    if not any(area.intersects(geometry) for geometry, _ in shapes):
        raise InvalidInputError(f"none of the {len(shapes)} polygons lies on the cube: is their CRS right?")


def windows(
    cube: xr.Dataset, bands: tuple[str, ...], transform: Any, shapes: Any, outside: int, tile: int
) -> Iterable[Scene]:
    """Every window on every date, and the polygons that touch it."""
    from affine import Affine
    from shapely import STRtree, box

    height, width = cube.sizes[Y], cube.sizes[X]
    sides = [tile * n for n in _TILES_ACROSS]
    side = next((s for s in sides if -(-height // s) * -(-width // s) >= _PLACES), sides[-1])
    tree = STRtree([geometry for geometry, _ in shapes])
    for row in range(0, height, side):
        for column in range(0, width, side):
            corner = transform * Affine.translation(column, row)
            near = sorted(tree.query(box(*corner * (0, side), *corner * (side, 0))))
            here, place = tuple(shapes[k] for k in near), f"y{row:05d}-x{column:05d}"
            window = cube.isel({Y: slice(row, row + side), X: slice(column, column + side)})
            for date in range(cube.sizes.get(TIME, 1)):
                one = window.isel({TIME: date}) if TIME in cube.dims else window
                name = f"{str(one[TIME].values)[:19]}-{place}" if TIME in one.coords else place
                yield CubeScene(name, place, bands, one, corner, here, outside)
