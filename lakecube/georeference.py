"""What `spatial_ref` says of a grid: its CRS, and the size of a pixel that has no neighbour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lakecube.names import SPATIAL_REF


def crs_text(variables: Mapping[Any, Any]) -> Any:
    """The CRS as CF or GDAL write it, WKT as a rule; None without one. Of the coords or variables of a Dataset."""
    attrs = _attrs(variables)
    return attrs.get("crs_wkt") or attrs.get("spatial_ref")


def transform_numbers(variables: Mapping[Any, Any]) -> list[float]:
    """GDAL's six numbers of the affine transform; none where they are not told."""
    return [float(v) for v in str(_attrs(variables).get("GeoTransform", "")).split()]


def _attrs(variables: Mapping[Any, Any]) -> Mapping[str, Any]:
    return variables[SPATIAL_REF].attrs if SPATIAL_REF in variables else {}
