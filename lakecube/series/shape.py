"""What a lake is, by its shape and size: descriptive variables from the sums of `kernels.lakes`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lakecube.errors import InvalidInputError
from lakecube.kernels.label import PROVISIONAL
from lakecube.kernels.lakes import AREA_QUANTA, LENGTH_QUANTA
from lakecube.names import LAKE_KIND, SIZE_CLASS
from lakecube.series.pixel_area import PixelGrid


@dataclass(frozen=True, slots=True)
class LakeParams:
    """What counts as a lake, and which kind of lake it is.

    Parameters
    ----------
    min_frequency : float
        Reference extent: pixels that are wet on at least this share of their clear dates, 0 to 1. On synthetic archives
        of 30 dates (``python -m benchmarks.lakes --extent``) 0.1, 0.15 and 0.2 hold 91, 90 and 88 % of all pixels that
        were ever wet, with 6–7, 2 and 1–2 bodies of at least 10 pixels where there never was water.
    min_wet : int
        And on at least so many dates (on one, if there is only one).
    connectivity : {1, 2}
        Whether pixels join over edges, or over corners as well.
    lake_shapes : pairs of float
        Ranges of the shape index, both ends included, that make a lake of a water body; anything else is a river.
    min_pixels : int
        Bodies of fewer pixels are too small to tell.
    size_limits : (float, float)
        Areas in m² where medium and large begin: medium from the first, large above the second.

    References
    ----------
    Xue et al. (2025), section 3.7: shape index L / (4·√S) from 1 to 4 and 7 to 10, at least 10 pixels, 0.1 and 1 km².
    """

    min_frequency: float = 0.15
    min_wet: int = 2
    connectivity: int = 2
    lake_shapes: tuple[tuple[float, float], ...] = ((1.0, 4.0), (7.0, 10.0))
    min_pixels: int = 10
    size_limits: tuple[float, float] = (1e5, 1e6)

    def __post_init__(self) -> None:
        checks: dict[str, tuple[Callable[[Any], bool], str]] = {
            "min_frequency": (lambda v: 0 <= v <= 1, "a share from 0 to 1"),
            "min_wet": (lambda v: v >= 1 and v == int(v), "a whole number of at least 1"),
            "connectivity": (lambda v: v in (1, 2), "1 (edges) or 2 (edges and corners)"),
            "lake_shapes": (lambda v: all(low <= high for low, high in v), "pairs (lowest, highest)"),
            "min_pixels": (lambda v: v >= 1, "at least 1"),
            "size_limits": (lambda v: len(v) == 2 and 0 < v[0] <= v[1], "two ascending areas in m²"),
        }
        for name, (good, wanted) in checks.items():
            try:
                fits = good(getattr(self, name))
            except (TypeError, ValueError, OverflowError):  # not even of the type
                fits = False
            if not fits:
                raise InvalidInputError(f"{name}={getattr(self, name)!r}: {wanted} is needed")


def describe_lakes(table: np.ndarray, grid: PixelGrid, params: LakeParams) -> dict[str, np.ndarray]:
    """The variables of the contract with the dim `lake` alone, in the order of a `kernels.lakes.LAKE_TABLE`.

    Parameters
    ----------
    table : (lakes,) LAKE_TABLE
        Combined over all blocks.
    grid : PixelGrid
        Of the image.

    Returns
    -------
    dict
        `longitude`, `latitude` (of the mean of the pixels, which may lie outside a bent lake; NaN without a CRS),
        `max_area` (m²), `perimeter` (m), `shape_index`, `size_class`, `kind`, `touches_edge`, `provisional`,
        `elevation_min`, `elevation_max` (m, NaN without a DEM).
    """
    pixels = table["pixels"]
    rows, columns = table["row_sum"] / pixels, table["column_sum"] / pixels
    longitude, latitude = grid.lonlat(*grid.centres(rows, columns))
    area, perimeter = table["area"] / AREA_QUANTA, table["perimeter"] / LENGTH_QUANTA
    index = perimeter / (4 * np.sqrt(area))
    return {
        "longitude": longitude,
        "latitude": latitude,
        "max_area": area,
        "perimeter": perimeter,
        "shape_index": index,
        "size_class": size_classes(area, params),
        "kind": kinds(index, pixels, params),
        "touches_edge": table["touches_edge"].astype(np.uint8),
        "provisional": (table["class"] == PROVISIONAL).astype(np.uint8),
        "elevation_min": table["elevation_min"],
        "elevation_max": table["elevation_max"],
    }


def size_classes(area: np.ndarray, params: LakeParams) -> np.ndarray:
    """Size class (uint8) of areas in m²: small below the first limit, large above the second, medium between."""
    names = np.where(area < params.size_limits[0], "small", np.where(area > params.size_limits[1], "large", "medium"))
    return _codes(names, SIZE_CLASS)


def kinds(shape_index: np.ndarray, pixels: np.ndarray, params: LakeParams) -> np.ndarray:
    """Kind of water body (uint8): too small, else a lake if its shape index is in one of the ranges, else a river.

    The shape index is taken as 1 where it is less by rounding alone, for nothing is rounder than a square along pixel
    edges.
    """
    index = np.where((shape_index < 1) & (shape_index > 1 - 1e-3), 1.0, shape_index)
    inside = np.zeros(index.shape, bool)
    for low, high in params.lake_shapes:
        inside |= (index >= low) & (index <= high)
    return _codes(np.where(pixels < params.min_pixels, "too_small", np.where(inside, "lake", "river")), LAKE_KIND)


def _codes(names: np.ndarray, table: object) -> np.ndarray:
    out = np.zeros(names.shape, np.uint8)
    for name, code in dict(table).items():  # type: ignore[call-overload]
        out[names == name] = code
    return out
