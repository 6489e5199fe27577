"""Where to search: boxes and geometries in degrees, as STAC reads them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import pystac
import shapely
import shapely.geometry

from lakecube.errors import InvalidInputError

Box = tuple[float, float, float, float]


def parse_bbox(bbox: Any) -> Box:
    """Return ``(west, south, east, north)`` in degrees; west above east crosses the antimeridian.

    Raises
    ------
    InvalidInputError
        Not four (or six) finite numbers, out of range, or in another order (more than 180 degrees across the
        antimeridian is taken for west and east exchanged).
    """
    need = "bbox must be [west, south, east, north] in degrees (EPSG:4326)"
    try:
        values = [float(value) for value in (bbox.split(",") if isinstance(bbox, str) else bbox)]
    except (TypeError, ValueError):
        raise InvalidInputError(f"{need}, got {bbox!r}.") from None
    if len(values) == 6:
        values = [values[0], values[1], values[3], values[4]]
    if len(values) != 4 or not all(map(math.isfinite, values)):
        raise InvalidInputError(f"{need}, got {bbox!r}.")
    west, south, east, north = values
    if not (_is_lon(west) and _is_lon(east) and abs(south) <= 90 and abs(north) <= 90):
        swapped = abs(west) <= 90 and abs(east) <= 90 and _is_lon(south) and _is_lon(north)
        hint = f" Latitude and longitude look swapped: try {_sorted(south, west, north, east)}." if swapped else (
            " It looks like projected coordinates: bring them to EPSG:4326." if max(map(abs, values)) > 360 else ""
        )  # fmt: skip
        raise InvalidInputError(f"{need}, got {values}.{hint}")
    if south > north:
        raise InvalidInputError(
            f"{need}, got south {south:g} above north {north:g}: is it {_sorted(west, south, east, north)}?"
        )
    if west > east and east - west + 360 > 180:
        raise InvalidInputError(
            f"{need}, got west {west:g} above east {east:g}, which spans {east - west + 360:g} degrees across the "
            f"antimeridian: is it {[east, south, west, north]}?"
        )
    return west, south, east, north


def _sorted(x0: float, y0: float, x1: float, y1: float) -> list[float]:
    return [min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)]


def _is_lon(value: float) -> bool:
    return abs(value) <= 180


def split_box(box: Iterable[float]) -> tuple[Box, ...]:
    """Split a box that crosses the antimeridian (west above east) in two, as STAC reads it; drop heights."""
    values = [float(value) for value in box]
    west, south, east, north = values if len(values) == 4 else (values[0], values[1], values[3], values[4])
    if west <= east:
        return ((west, south, east, north),)
    return ((west, south, 180.0, north), (-180.0, south, east, north))


def parse_geometry(intersects: Any) -> Any:
    """Return a shapely geometry in degrees from GeoJSON (object or text), shapely, or a GeoDataFrame.

    Raises
    ------
    InvalidInputError
        Not a geometry, empty, or out of the range of degrees.
    """
    shape = _as_shape(intersects)
    if shape is None or shape.is_empty:
        raise InvalidInputError(
            "intersects must be a GeoJSON geometry, a shapely geometry or a GeoDataFrame, got "
            f"{'an empty one' if shape is not None else type(intersects).__name__}."
        )
    west, south, east, north = shape.bounds
    if not (_is_lon(west) and _is_lon(east) and abs(south) <= 90 and abs(north) <= 90):
        raise InvalidInputError(
            f"intersects must be in degrees (EPSG:4326), got bounds {[west, south, east, north]}: reproject it first."
        )
    return shape if shape.is_valid else shapely.make_valid(shape)


def _as_shape(intersects: Any) -> Any:
    if isinstance(intersects, str):
        try:
            intersects = json.loads(intersects)
        except json.JSONDecodeError:
            return None
    if getattr(intersects, "crs", None) is not None and hasattr(intersects, "to_crs"):
        intersects = intersects.to_crs(4326)
    if isinstance(intersects, shapely.Geometry):
        return intersects
    mapping = getattr(intersects, "__geo_interface__", intersects)
    if not isinstance(mapping, Mapping):
        return None
    try:
        if mapping.get("type") == "FeatureCollection":
            return shapely.unary_union([shapely.geometry.shape(one["geometry"]) for one in mapping["features"]])
        return shapely.geometry.shape(mapping["geometry"] if mapping.get("type") == "Feature" else mapping)
    except (KeyError, TypeError, ValueError, AttributeError, shapely.errors.ShapelyError):
        return None


def bounds_of(intersects: Any) -> Box:
    """Return ``(west, south, east, north)`` of whatever `intersects` accepts."""
    return tuple(map(float, parse_geometry(intersects).bounds))  # type: ignore[return-value]


def item_shape(item: pystac.Item) -> Any:
    """Return the footprint of an item as a valid shapely geometry, its bbox where it has none, else None."""
    if item.geometry is not None:
        shape = shapely.geometry.shape(item.geometry)
        return shape if shape.is_valid else shapely.make_valid(shape)
    return shapely.unary_union([shapely.box(*part) for part in split_box(item.bbox)]) if item.bbox else None
