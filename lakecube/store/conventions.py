"""The strings of the Zarr conventions `proj:`, `spatial:` and `multiscales`; nothing else in lakecube spells them.

All are pilots, the first two were renamed before: a reader must match them by uuid and never by URL or name.
See https://github.com/zarr-conventions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from pyproj import CRS

from lakecube.errors import StoreError
from lakecube.georeference import crs_text, transform_numbers
from lakecube.names import SPATIAL_REF, X, Y

PROJ_UUID = "f17cb550-5864-4468-aeb7-f3180cfb622f"
SPATIAL_UUID = "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4"
MULTISCALES_UUID = "d35379db-88df-4056-af3a-620245f8e347"
#: Attributes of a group that tell of its levels.
CONVENTIONS, MULTISCALES = "zarr_conventions", "multiscales"

_CONVENTIONS: list[dict[str, Any]] = [
    {
        "uuid": PROJ_UUID,
        "name": "proj:",
        "schema_url": "https://raw.githubusercontent.com/zarr-conventions/proj/refs/tags/v0.1/schema.json",
        "spec_url": "https://github.com/zarr-conventions/proj/blob/v0.1/README.md",
        "description": "Coordinate reference system information for geospatial data",
    },
    {
        "uuid": SPATIAL_UUID,
        "name": "spatial:",
        "schema_url": "https://raw.githubusercontent.com/zarr-conventions/spatial/refs/tags/v0.1/schema.json",
        "spec_url": "https://github.com/zarr-conventions/spatial/blob/v0.1/README.md",
        "description": "Spatial coordinate information",
    },
]
#: Version 0.1; its schema asks for these very strings.
_MULTISCALES: dict[str, Any] = {
    "uuid": MULTISCALES_UUID,
    "name": "multiscales",
    "schema_url": "https://raw.githubusercontent.com/zarr-conventions/multiscales/refs/tags/v0.1/schema.json",
    "spec_url": "https://github.com/zarr-conventions/multiscales/blob/v0.1/README.md",
    "description": "Multiscale layout of zarr datasets",
}


def spatial_attrs(water: xr.Dataset) -> dict[str, Any]:
    """Attributes of a group whose direct children are on the grid of `water`: CRS, affine, bounding box, shape."""
    crs, affine = crs_of(water), transform_of(water)
    attrs: dict[str, Any] = {"spatial:dimensions": [Y, X], "spatial:shape": [water.sizes[Y], water.sizes[X]]}
    used = [_CONVENTIONS[1]]
    if affine is not None:
        a, _, c, _, e, f = affine
        ends = (c + a * water.sizes[X], f + e * water.sizes[Y])
        attrs["spatial:transform"] = affine
        attrs["spatial:bbox"] = [min(c, ends[0]), min(f, ends[1]), max(c, ends[0]), max(f, ends[1])]
        attrs["spatial:registration"] = "pixel"
    if crs is not None:
        used = _CONVENTIONS
        code = crs.to_authority()
        attrs |= {"proj:code": ":".join(code)} if code else {"proj:wkt2": crs.to_wkt()}
    return {"zarr_conventions": used, **attrs}


def with_levels(attrs: Mapping[str, Any], levels: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Attributes of a group with a pyramid below it: path and attributes of every level, the finest first.

    Each is half as fine as the one before. Of no more than one level, attributes without a pyramid.
    """
    known = [one for one in attrs.get(CONVENTIONS, []) if one["uuid"] != MULTISCALES_UUID]
    out = {**attrs, CONVENTIONS: known}
    out.pop(MULTISCALES, None)
    if len(levels) < 2:
        return out
    layout: list[dict[str, Any]] = []
    for path, own in levels:
        place = {key: own[key] for key in ("spatial:shape", "spatial:transform") if key in own}
        source = {"derived_from": layout[-1]["asset"]} if layout else {}
        scale = [2.0, 2.0] if layout else [1.0, 1.0]
        layout.append({"asset": path, **source, "transform": {"scale": scale}, **place})
    return {**out, CONVENTIONS: [*known, _MULTISCALES], MULTISCALES: {"layout": layout}}


def levels_of(attrs: Mapping[str, Any]) -> list[str]:
    """Paths of the levels that a group tells of, itself or the finest first; none without a pyramid."""
    return [one["asset"] for one in attrs.get(MULTISCALES, {}).get("layout", [])]


def coarser(grid: xr.Dataset, level: int) -> xr.Dataset:
    """The axes and `spatial_ref` of a grid, of pixels 2**level times as wide and as high, from the same corner.

    The last ones reach beyond the image if its sides do not divide.
    """
    affine, factor = transform_of(grid), 1 << level
    axes = {}
    for dim, at in ((Y, 4), (X, 0)):
        values = np.asarray(grid[dim].values, np.float64)
        step = (_step(values, dim) or 0.0) if affine is None else affine[at]
        first = values[0] + step * (factor - 1) / 2
        axes[dim] = (dim, first + step * factor * np.arange(-(-values.size // factor)), grid[dim].attrs)
    out = xr.Dataset(coords=axes)
    if SPATIAL_REF in grid.variables:
        attrs = dict(grid[SPATIAL_REF].attrs)
        if affine is not None:  # the only word on the size of a pixel that has no neighbour
            attrs["GeoTransform"] = f"{affine[2]!r} {affine[0] * factor!r} 0.0 {affine[5]!r} 0.0 {affine[4] * factor!r}"
        out = out.assign_coords({SPATIAL_REF: ((), np.int64(0), attrs)})
    return out


def spatial_ref_attrs(water: xr.Dataset) -> dict[str, Any]:
    """CF attributes of `spatial_ref`, with `crs_wkt` and GDAL's `GeoTransform`."""
    attrs = dict(water[SPATIAL_REF].attrs) if SPATIAL_REF in water.variables else {}
    crs, affine = crs_of(water), transform_of(water)
    if crs is not None:
        attrs = {**crs.to_cf(), "spatial_ref": attrs.get("spatial_ref", crs.to_wkt()), **attrs}
    if affine is not None:
        a, b, c, d, e, f = affine
        attrs["GeoTransform"] = " ".join(repr(float(v)) for v in (c, a, b, f, d, e))
    return {"long_name": "coordinate reference system", **attrs}


def axis_attrs(water: xr.Dataset, dim: str) -> dict[str, Any]:
    """CF attributes of `y` or `x`: what the CRS says, under what the coordinate says itself."""
    crs = crs_of(water)
    of_crs: dict[str, Any] = {}
    if crs is not None:
        for axis in crs.cs_to_cf():
            if axis.get("axis") == dim.upper():
                of_crs = dict(axis)
    return {**of_crs, **water[dim].attrs, "axis": dim.upper()}


def crs_of(water: xr.Dataset) -> CRS | None:
    """The CRS in `spatial_ref`, or None."""
    wkt = crs_text(water.variables)
    return CRS.from_wkt(wkt) if wkt else None


def transform_of(water: xr.Dataset) -> list[float] | None:
    """Affine (a, b, c, d, e, f) of the pixel corners; None for a grid of one pixel in y or x that does not say.

    Raises
    ------
    StoreError
        If `y` or `x` are not evenly spaced.
    """
    steps = {dim: _step(np.asarray(water[dim].values, np.float64), dim) for dim in (Y, X)}
    a, e = steps[X], steps[Y]
    numbers = transform_numbers(water.variables)
    if numbers:  # the only word on the size of a pixel that has no neighbour
        a, e = a or numbers[1], e or numbers[5]
    if a is None or e is None:
        return None
    return [a, 0.0, float(water[X].values[0]) - a / 2, 0.0, e, float(water[Y].values[0]) - e / 2]


def _step(values: np.ndarray, dim: str) -> float | None:
    if values.size < 2:
        return None
    step = (values[-1] - values[0]) / (values.size - 1)
    if step == 0 or np.abs(np.diff(values) - step).max() > abs(step) * 1e-3:
        raise StoreError(f"the coordinate {dim} is not evenly spaced, so the store could not say where its pixels are")
    return float(step)
