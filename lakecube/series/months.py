"""`month_state`: what was seen of every pixel in each month of each year, the ground of the products of JRC.

Pooled calendar months cannot tell recurrence or transitions, so every month of every year is kept apart. Only
`water_mask` counts: what was restored was not seen.
"""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from lakecube.chunked import law
from lakecube.errors import InvalidInputError
from lakecube.kernels import months as kernels
from lakecube.names import TIME, VARIABLES, YEAR_MONTH
from lakecube.series.occurrence import checked_mask


@law("exact")
def months_of(water: xr.Dataset) -> xr.DataArray:
    """The `month_state` that a store holds, or else that of the `water_mask` of an extract.

    Parameters
    ----------
    water : xr.Dataset
        With `month_state` (year_month, y, x) or `water_mask` (time, y, x), uint8 flags.

    Returns
    -------
    xr.DataArray
        `month_state` (year_month, y, x): uint8 flags, as there.

    Raises
    ------
    InvalidInputError
        If it has neither.

    Notes
    -----
    Chunks: any. Law: exact. Depth: 0. Lazy.
    """
    if "month_state" in water:
        return water["month_state"]
    if "water_mask" not in water:
        raise InvalidInputError("no water_mask here; extract it first: cube.water.extract()")
    return month_state(water["water_mask"])


@law("exact")
def month_state(water_mask: xr.DataArray) -> xr.DataArray:
    """What was seen in each month of each year: nothing, land, water or both (after Pekel et al., 2016).

    Parameters
    ----------
    water_mask : xr.DataArray, (time, y, x) uint8
        0 land, 1 water, anything else unknown; with a datetime `time` coordinate, in any order.

    Returns
    -------
    xr.DataArray
        `month_state` (year_month, y, x): uint8 flags, 0 unobserved, 1 land, 2 water, 3 both. `year_month` is the
        first day (datetime64) of every month that has a date, in order. States of disjoint dates join by bitwise OR.

    Raises
    ------
    InvalidInputError
        If `water_mask` has other dims than (time, y, x), is not of integers or booleans, or has no datetimes.

    Notes
    -----
    Chunks: any; the result has one month per chunk. Law: exact. Depth: 0. Lazy.

    References
    ----------
    Pekel, J.-F. et al. (2016), doi:10.1038/nature20584

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> days = np.array(["2021-03-02", "2021-03-30", "2021-05-01"], "datetime64[ns]")
    >>> values = np.array([1, 0, 255], "uint8").reshape(3, 1, 1)
    >>> month_state(xr.DataArray(values, dims=("time", "y", "x"), coords={"time": days})).values.ravel()
    array([3, 0], dtype=uint8)
    """
    mask = checked_mask(water_mask)
    if TIME not in mask.coords or mask[TIME].dtype.kind != "M":
        raise InvalidInputError("states by month need a coordinate `time` of datetimes")
    axis, index = kernels.month_axis(mask[TIME].values)
    planes = [_state(mask.isel({TIME: np.flatnonzero(index == k)}).data) for k in range(axis.size)]
    spec = VARIABLES["month_state"]
    data = (
        da.concatenate(planes)
        if planes
        else da.zeros((0, *mask.shape[1:]), dtype=spec.dtype, chunks=(0, *mask.data.chunks[1:]))
    )
    coords = {name: c for name, c in mask.coords.items() if TIME not in c.dims}
    months = xr.Variable(YEAR_MONTH, axis, {"long_name": "first day of the month"})
    return xr.DataArray(data, dims=spec.dims, coords={**coords, YEAR_MONTH: months}, name=spec.name, attrs=spec.attrs)


def _state(dates: da.Array) -> da.Array:
    """(1, y, x): the state of one month from its dates, joined by a tree."""
    return da.reduction(
        dates,
        _chunk,
        _join,
        axis=0,
        keepdims=True,
        concatenate=True,
        dtype=np.uint8,
        meta=np.empty((0, 0, 0), np.uint8),
    )


def _chunk(block: np.ndarray, axis: Any, keepdims: bool) -> np.ndarray:
    states = block.view(np.uint8) if block.dtype == bool else block
    return kernels.month_state(np.where((states == 0) | (states == 1), states, 255).astype(np.uint8))[None]


def _join(blocks: np.ndarray, axis: Any, keepdims: bool) -> np.ndarray:
    return np.bitwise_or.reduce(blocks, axis=0)[None]
