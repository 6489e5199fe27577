"""The outline of a grid on WGS84, as GeoJSON wants it: cut at the antimeridian, around a pole if need be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyproj
import shapely

from lakecube.errors import InvalidInputError

#: Points along every edge of a grid: its edges are curves in degrees.
_PER_EDGE = 32
_DIGITS = 7
#: Degrees by which an edge may be straightened.
_TOLERANCE = 1e-5


def footprint(
    crs: pyproj.CRS, transform: Sequence[float], shape: tuple[int, int]
) -> tuple[dict[str, Any], list[float]]:
    """Geometry and bounding box (west, south, east, north) in degrees of a grid; west above east over the antimeridian.

    Parameters
    ----------
    crs : pyproj.CRS
    transform : (a, b, c, d, e, f)
    shape : (rows, columns)

    Raises
    ------
    InvalidInputError
        If an edge is not on the Earth.

    Notes
    -----
    A grid that reaches over the antimeridian is a MultiPolygon of two parts (RFC 7946). One around a pole reaches from
    -180 to 180 and to the pole.
    """
    lon, lat = _ring(crs, transform, shape)
    whole = shapely.make_valid(shapely.simplify(_filled(lon, lat), min(_TOLERANCE, np.ptp(lat) / 1000)))
    merged = _folded(whole, _DIGITS)
    _, south, _, north = shapely.bounds(merged)
    around = abs(lon[-1] - lon[0]) > 180 or np.ptp(lon) >= 360 - 1e-9
    west, east = (-180.0, 180.0) if around else ((lon.min() + 180) % 360 - 180, 180 - (180 - lon.max()) % 360)
    return json.loads(shapely.to_geojson(merged)), [round(float(v), _DIGITS) for v in (west, south, east, north)]


def cut(shape: shapely.MultiPolygon, digits: int) -> shapely.MultiPolygon:
    """A shape whose longitudes jump or leave -180 to 180, cut at the antimeridian (RFC 7946), and filled to a pole.

    `digits`: decimals of a degree that are kept.
    """
    parts = []
    for polygon in shape.geoms:
        shell, *holes = (
            shapely.make_valid(_filled(np.unwrap(lon, period=360), lat))
            for lon, lat in (ring.coords.xy for ring in (polygon.exterior, *polygon.interiors))
        )
        gone = [_moved(hole, k) for hole in holes for k in (-1, 0, 1)]  # a hole may start a turn away
        parts.append(shapely.difference(shell, shapely.union_all(gone)))
    found = _folded(shapely.union_all(parts), digits)
    return shapely.multipolygons([part for part in shapely.get_parts(found) if part.geom_type == "Polygon"])


def _filled(lon: np.ndarray, lat: np.ndarray) -> shapely.Polygon:
    """The polygon of a ring of longitudes without jumps; what runs once around a pole reaches to it."""
    ring = np.stack([lon, lat], axis=1)
    if abs(lon[-1] - lon[0]) > 180:
        pole = 90.0 if np.mean(lat) > 0 else -90.0
        ring = np.concatenate([ring, [(lon[-1], pole), (lon[0], pole)]])
    return shapely.Polygon(ring)


def _folded(whole: shapely.Geometry, digits: int) -> shapely.Geometry:
    """All of it between -180 and 180, shells counterclockwise."""
    parts = [
        _moved(piece, -k)
        for k in (-1, 0, 1, 2)
        if (piece := shapely.intersection(whole, shapely.box(360 * k - 180, -90, 360 * k + 180, 90))).area > 0
    ]
    return shapely.orient_polygons(shapely.set_precision(shapely.union_all(parts), 10.0**-digits))


def _moved(shape: shapely.Geometry, turns: int) -> shapely.Geometry:
    return shapely.transform(shape, lambda points: points + np.array([360.0 * turns, 0.0]))


def _ring(crs: pyproj.CRS, transform: Sequence[float], shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Longitudes without jumps, and latitudes, around the outer edges of a grid; the last point is the first."""
    rows, columns = shape
    along = np.linspace(0, 1, _PER_EDGE, endpoint=False)
    u = np.concatenate([along, np.ones(_PER_EDGE), 1 - along, np.zeros(_PER_EDGE), [0]]) * columns
    v = np.concatenate([np.zeros(_PER_EDGE), along, np.ones(_PER_EDGE), 1 - along, [0]]) * rows
    a, b, c, d, e, f = transform
    to_degrees = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(a * u + b * v + c, d * u + e * v + f)
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        raise InvalidInputError(
            f"parts of the grid's edge lie outside of what {crs.name} shows of the Earth, so it has no outline: "
            "take a part of it, or reproject it"
        )
    return np.unwrap(np.asarray(lon), period=360), np.clip(lat, -90, 90)
