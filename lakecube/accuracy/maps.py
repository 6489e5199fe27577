"""The map that is judged: of one date, or what is water often enough; and the pixels under points."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr

from lakecube.checks import is_number
from lakecube.chunked import blockwise
from lakecube.errors import InvalidInputError
from lakecube.names import LAND, SPATIAL_REF, TIME, UNKNOWN, WATER, X, Y
from lakecube.series.occurrence import checked_mask, frequency
from lakecube.series.pixel_area import PixelGrid
from lakecube.summary import position_of


def map_of(water: xr.Dataset | xr.DataArray, date: Any = None, share: float = 0.5) -> tuple[xr.DataArray, str]:
    """The map of a date, or of what is water at least so often; and what it is, in words.

    Parameters
    ----------
    water : xr.Dataset or xr.DataArray
        A store or an extract; or a mask (y, x) or (time, y, x) of 0 land, 1 water, 255 unknown.
    date : date-like, optional
        The nearest date within three days. Without it: where water is at least `share` of the clear dates.
    share : float
        Of the clear dates, 0 to 1.

    Returns
    -------
    (xr.DataArray, str)
        (y, x) uint8 on Dask: 0 land, 1 water, 255 unknown.
    """
    if not isinstance(water, xr.Dataset | xr.DataArray):
        raise InvalidInputError(
            f"{water!r} is no Dataset or mask: open a store first, lakecube.open_store(path), and give what it returns"
        )
    if not (is_number(share) and 0 < share <= 1):
        raise InvalidInputError(f"share={share!r}: a share of the clear dates is needed, above 0 and up to 1")
    if date is None and isinstance(water, xr.DataArray) and set(water.dims) == {Y, X}:
        mask, text = _flat(water), "the mask given"
    elif date is not None:
        data = _dataset(water)
        at = position_of(data, date, "date")[0]
        mask, text = _flat(data["water_mask"].isel({TIME: at})), f"the map of {str(data[TIME].values[at])[:10]}"
    else:
        often = water if isinstance(water, xr.DataArray) else water.get("water_frequency", _mask_of(water))
        mask = _at_least(often if often.dtype.kind == "f" else frequency(often), share)
        text = f"water on at least {share:.0%} of the clear dates"
    return _with_grid(mask, water), text


def states_at(water: xr.Dataset | xr.DataArray, flat: xr.DataArray, points: pd.DataFrame) -> np.ndarray:
    """State of the map under each point, -1 where there is none: beside the map, or no date near the point's.

    Parameters
    ----------
    flat : xr.DataArray
        (y, x), for points without a date.
    points : pd.DataFrame
        `lon`, `lat`, and `date` where they have one.
    """
    rows, columns = pixels_of(PixelGrid.of(flat), points["lon"].to_numpy(float), points["lat"].to_numpy(float))
    out = np.full(len(points), -1, np.int16)
    inside = rows >= 0
    if "date" not in points:
        out[inside] = flat.data.vindex[rows[inside], columns[inside]].compute()
        return out
    data = _dataset(water)
    times = np.array([_near(data, date) for date in points["date"]], np.int64)
    inside &= times >= 0
    mask = checked_mask(data["water_mask"]).data
    out[inside] = mask.vindex[times[inside], rows[inside], columns[inside]].compute()
    return out


def pixels_of(grid: PixelGrid, lon: np.ndarray, lat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of the pixel that holds each point, -1 outside."""
    import pyproj

    if grid.system is None:
        raise InvalidInputError("the map has no CRS in spatial_ref, so points in degrees cannot be placed on it")
    x, y = pyproj.Transformer.from_crs("EPSG:4326", grid.system, always_xy=True).transform(lon, lat)
    with np.errstate(invalid="ignore"):
        column, row = np.floor((x - grid.x) / grid.dx), np.floor((y - grid.y) / grid.dy)
        inside = (row >= 0) & (row < grid.shape[0]) & (column >= 0) & (column < grid.shape[1])
    return np.where(inside, row, -1).astype(np.int64), np.where(inside, column, -1).astype(np.int64)


def _near(data: xr.Dataset, date: Any) -> int:
    if pd.isna(date):
        return -1
    try:
        pd.Timestamp(date)
    except ValueError as error:
        raise InvalidInputError(f"a point has the date {date!r}; write it as 2021-07-14") from error
    try:
        return position_of(data, date, "date")[0]
    except InvalidInputError:  # no date near it: the point is counted apart
        return -1


def _dataset(water: xr.Dataset | xr.DataArray) -> xr.Dataset:
    data = water.to_dataset(name="water_mask") if isinstance(water, xr.DataArray) else water
    if "water_mask" not in data or TIME not in data["water_mask"].dims or TIME not in data.coords:
        raise InvalidInputError("a date is asked for, which takes water_mask (time, y, x): give a store or an extract")
    return data


def _mask_of(water: xr.Dataset) -> xr.DataArray:
    if "water_mask" not in water:
        raise InvalidInputError(
            f"no water_mask here, only {sorted(map(str, water.data_vars))}: give a store or an extract"
        )
    return water["water_mask"]


def _flat(mask: xr.DataArray) -> xr.DataArray:
    if mask.dtype.kind not in "bui":
        raise InvalidInputError(f"a mask holds flags (uint8: 0 land, 1 water, 255 unknown); got {mask.dtype}")
    mask = mask.transpose(Y, X)
    mask = mask if isinstance(mask.data, da.Array) else mask.chunk()
    return mask.copy(data=blockwise(_states, "yx", mask.data, "yx", dtype=np.uint8, name="judged-map"))


def _states(block: np.ndarray) -> np.ndarray:
    return np.where((block == LAND) | (block == WATER), block, UNKNOWN).astype(np.uint8)


def _at_least(often: xr.DataArray, share: float) -> xr.DataArray:
    often = often.transpose(Y, X)
    often = often if isinstance(often.data, da.Array) else often.chunk()
    data = blockwise(_often, "yx", often.data, "yx", dtype=np.uint8, name="judged-map", share=share)
    return often.copy(data=data)


def _often(block: np.ndarray, share: float) -> np.ndarray:
    return np.where(np.isnan(block), UNKNOWN, np.where(block >= share, WATER, LAND)).astype(np.uint8)


def _with_grid(mask: xr.DataArray, water: xr.Dataset | xr.DataArray) -> xr.DataArray:
    out = xr.DataArray(mask.data, dims=(Y, X), coords={Y: mask[Y], X: mask[X]}, name="water_mask")
    return out.assign_coords({SPATIAL_REF: water[SPATIAL_REF]}) if SPATIAL_REF in water.coords else out
