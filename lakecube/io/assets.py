"""What an asset of a STAC item says of itself: its bands, their numbers, and the grid they lie on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import pyproj
import pystac

from lakecube.errors import InvalidInputError
from lakecube.io.records import SourceGrid

_NOT_IMAGERY = ("thumbnail", "overview", "visual", "preview", "rendered_preview", "tilejson", "browse")


def is_imagery(key: str, asset: pystac.Asset) -> bool:
    """Whether an asset may hold bands: neither metadata, a picture for the eye, nor a JPEG 2000 double."""
    if key.endswith("-jp2") or any(key.lower().startswith(word) for word in _NOT_IMAGERY):
        return False
    if set(asset.roles or ()) & {"thumbnail", "overview", "metadata", "visual"}:
        return False
    media = asset.media_type or ""
    return not media or media.startswith(("image/tiff", "image/jp2", "image/vnd.stac.geotiff", "application/x-geotiff"))


def band_fields(asset: pystac.Asset) -> list[dict[str, Any]]:
    """Everything said of each band: `raster:bands`, `eo:bands` and the `bands` of STAC 1.1, merged by position."""
    lists = [asset.extra_fields.get(key) or [] for key in ("raster:bands", "eo:bands", "bands")]
    merged: list[dict[str, Any]] = [{} for _ in range(max(map(len, lists)))]
    for fields in lists:
        for one, extra in zip(merged, fields, strict=False):
            if isinstance(extra, dict):  # eo:bands of STAC 1.0.0-beta are numbers
                one.update(extra)
    return merged


def band_of(asset: pystac.Asset, index: int) -> dict[str, Any]:
    """Everything said of one band, counted from 1; what the band does not say, the asset does."""
    fields = band_fields(asset)
    return {**asset.extra_fields, **fields[index - 1]} if index <= len(fields) else asset.extra_fields


def number_of(fields: Mapping[str, Any], name: str) -> float | None:
    """Return a number said of a band, with or without the prefix of the raster extension; None if it is none."""
    value = fields.get(name, fields.get(f"raster:{name}"))
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


def grid_of(item: pystac.Item, asset: pystac.Asset) -> SourceGrid | None:
    """Grid by the projection extension, None unless sound; shape and transform come from the same level."""
    crs = _crs(asset.extra_fields) or _crs(item.properties)
    own = any(asset.extra_fields.get(key) for key in ("proj:transform", "proj:shape"))
    place = asset.extra_fields if own else item.properties
    transform, shape = place.get("proj:transform"), place.get("proj:shape")
    for name, value in (("proj:transform", transform), ("proj:shape", shape)):
        if value is not None and not isinstance(value, list | tuple):
            raise InvalidInputError(f"Item {item.id!r}: {name} is {value!r}, where a list of numbers is needed.")
    if crs is not None and crs[0] != "{" and "[" not in crs and not _is_crs(crs):
        raise InvalidInputError(f"Item {item.id!r}: its CRS is {crs[:60]!r} by proj:code or proj:epsg, which is none.")
    if crs is None or not transform or not shape or len(transform) not in (6, 9) or len(shape) != 2:
        return None
    try:
        a, b, c, d, e, f = (float(value) for value in transform[:6])
        rows, columns = (int(size) for size in shape)
    except (TypeError, ValueError):
        return None
    sound = all(map(math.isfinite, (a, b, c, d, e, f))) and rows > 0 and columns > 0 and a * e - b * d != 0
    if not sound or (e == 0 and c == 0):  # GDAL's order of a geotransform instead of the affine one
        return None
    return _shared(crs, (a, b, c, d, e, f), (rows, columns))


@lru_cache(maxsize=4096)
def _shared(crs: str, transform: tuple[float, ...], shape: tuple[int, int]) -> SourceGrid:
    """One grid for all scenes of a tile, not one for every band of every scene."""
    return SourceGrid(crs, transform, shape)  # type: ignore[arg-type]


@lru_cache(maxsize=256)
def _is_crs(text: str) -> bool:
    try:
        pyproj.CRS.from_user_input(text)
    except pyproj.exceptions.CRSError:
        return False
    return True


def _crs(fields: Mapping[str, Any]) -> str | None:
    if code := fields.get("proj:code"):
        return str(code)
    if epsg := fields.get("proj:epsg"):
        return f"EPSG:{str(epsg).removeprefix('EPSG:')}"
    if wkt := fields.get("proj:wkt2"):
        return str(wkt)
    if projjson := fields.get("proj:projjson"):
        return json.dumps(projjson, sort_keys=True)
    return None


def resolution_of(fields: Mapping[str, Any], grid: SourceGrid | None, native: float | None) -> float | None:
    """Pixel size in units of the CRS where the grid is known, else in metres as declared, else the sensor's own."""
    if grid is not None:
        a, b, _, d, e, _ = grid.transform
        return abs(a) if b == d == 0 else math.sqrt(abs(a * e - b * d))
    return number_of(fields, "spatial_resolution") or number_of(fields, "gsd") or native
