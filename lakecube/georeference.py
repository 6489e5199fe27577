"""Where a grid lies: what its `spatial_ref` says, and the place of its first pixel on the lattice."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from lakecube.names import SPATIAL_REF

#: In these the sizes of pixels in degrees are short numbers: degrees, seconds, metres along the equator of WGS 84.
_UNITS = (1.0, 1 / 3600, 180 / (math.pi * 6378137))


def crs_text(variables: Mapping[Any, Any]) -> Any:
    """The CRS as CF or GDAL write it, WKT as a rule; None without one. Of the coords or variables of a Dataset."""
    attrs = _attrs(variables)
    return attrs.get("crs_wkt") or attrs.get("spatial_ref")


def transform_numbers(variables: Mapping[Any, Any]) -> list[float]:
    """GDAL's six numbers of the affine transform; none where they are not told."""
    return [float(v) for v in str(_attrs(variables).get("GeoTransform", "")).split()]


def _attrs(variables: Mapping[Any, Any]) -> Mapping[str, Any]:
    return variables[SPATIAL_REF].attrs if SPATIAL_REF in variables else {}


def lattice_index(centres: np.ndarray, told: float | None = None) -> int:
    """How many pixels of this size lie between coordinate 0 and the first pixel, along one dim.

    centres (n,): coordinates of the pixels' centres, at equal distances; told: the size of a pixel by another source.

    float32 holds 105.0001° to 0.000008°, too coarse to find a pixel's size, and with it the index, from a window. So of
    the sizes that rounding to float32 allows it is the one told, or else the shortest number: of `_UNITS`, or of pixels
    to a degree. The mean of all centres then tells where they lie, well enough while edges or centres are multiples of
    the size: windows of 200 pixels agree, and smaller ones of most grids or with a size that is told.
    """
    n, single = centres.size, centres.dtype.kind == "f" and centres.dtype.itemsize < 8
    error = float(np.spacing(np.abs(centres).max())) if single else 0.0
    centres = centres.astype(np.float64)
    if n == 1:
        step = told or 1.0
    else:
        step = float(centres[-1] - centres[0]) / (n - 1)
        step = math.copysign(_size(abs(step), error / (n - 1), told), step) if single else step
    if not single:
        return math.floor((float(centres[0]) - step / 2) / step + 1e-3)
    return math.floor(float(np.mean(centres - np.arange(n) * step)) / step - 1 / 2 + 1 / 4)


def _size(size: float, error: float, told: float | None) -> float:
    """The size of pixels that is known up to this error."""
    if told and abs(abs(told) - size) <= error:
        return abs(told)
    if error >= size:
        return size
    short = [(*_shortest(size / unit, error / unit), unit) for unit in _UNITS]
    digits, number, unit = min(short, key=lambda found: found[0])
    fewer, count = _shortest(1 / size, error / size**2)
    return number * unit if digits <= fewer else 1 / count


def _shortest(number: float, error: float) -> tuple[int, float]:
    """How many digits the shortest number has that differs by no more than `error`, and the number."""
    for digits in range(1, 18):
        short = float(f"{number:.{digits - 1}e}")
        if abs(short - number) <= error:
            return digits, short
    return 18, number
