"""Water occurrence: how often a pixel was seen, and how often it was wet (Pekel et al., 2016).

Counts are the ground; a frequency is the division at the end. Only `water_mask` counts: what was restored
(`water_restored`) was not seen, so it never enters.
"""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from lakecube.chunked import blockwise, field, law
from lakecube.errors import InvalidInputError
from lakecube.kernels.counts import count_states, divide_counts
from lakecube.names import TIME, VARIABLES, YEAR, X, Y

_PAIR = np.dtype([("wet", np.uint32), ("clear", np.uint32)])


@law("exact")
def count(water_mask: xr.DataArray) -> xr.Dataset:
    """Count observed wet and observed clear dates of every pixel.

    Parameters
    ----------
    water_mask : xr.DataArray, (time, y, x) uint8
        0 land, 1 water, anything else unknown.

    Returns
    -------
    xr.Dataset
        `count_wet`, `count_clear`: (y, x) uint32, unit 1. Zero where nothing was seen; never NaN.

    Raises
    ------
    InvalidInputError
        If `water_mask` has other dims than (time, y, x) or is not of integers or booleans.

    Notes
    -----
    Chunks: any. Law: exact. Depth: 0. Lazy. A chunk of dates becomes two integer images at once, and these
    are added by a tree, so that memory depends on the chunk and not on the number of dates.

    References
    ----------
    Pekel, J.-F. et al. (2016), doi:10.1038/nature20584

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> mask = xr.DataArray(np.array([1, 0, 255], "uint8").reshape(3, 1, 1), dims=("time", "y", "x"))
    >>> counts = count(mask)
    >>> int(counts.count_wet.item()), int(counts.count_clear.item())
    (1, 2)
    """
    mask = checked_mask(water_mask)
    coords = {name: c for name, c in mask.coords.items() if TIME not in c.dims}
    pairs = _count_pairs(mask)
    wet, clear = field(pairs, "wet"), field(pairs, "clear")
    return xr.Dataset(
        {"count_wet": _named("count_wet", wet), "count_clear": _named("count_clear", clear)}, coords=coords
    )


@law("exact")
def frequency(counts: xr.Dataset | xr.DataArray) -> xr.DataArray:
    """Water frequency: the share of clear dates that are wet.

    Parameters
    ----------
    counts : xr.Dataset or xr.DataArray
        What `count` or `count_by_year` returned, or a water mask (time, y, x), which is counted first.

    Returns
    -------
    xr.DataArray
        `water_frequency` (y, x) or `water_frequency_year` (year, y, x): float32 in [0, 1], NaN where never clear.

    Raises
    ------
    InvalidInputError
        If `counts` holds neither pair of counts.

    Notes
    -----
    Chunks: any. Law: exact. Depth: 0. Lazy. Divided in float64 and rounded once to float32.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> mask = xr.DataArray(np.array([1, 0, 255], "uint8").reshape(3, 1, 1), dims=("time", "y", "x"))
    >>> float(frequency(mask).item())
    0.5
    """
    if isinstance(counts, xr.DataArray):
        counts = count(counts)
    for suffix in ("", "_year"):
        if f"count_wet{suffix}" in counts and f"count_clear{suffix}" in counts:
            return _divide(counts, suffix)
    raise InvalidInputError(
        "frequency needs count_wet and count_clear (or count_wet_year and count_clear_year); "
        f"got {sorted(map(str, counts.data_vars))}. Make them with count(water_mask)"
    )


@law("exact")
def count_by_year(water_mask: xr.DataArray) -> xr.Dataset:
    """Count observed wet and clear dates of every pixel within each calendar year.

    Parameters
    ----------
    water_mask : xr.DataArray, (time, y, x) uint8
        With a datetime `time` coordinate, in any order.

    Returns
    -------
    xr.Dataset
        `count_wet_year`, `count_clear_year`: (year, y, x) uint16, for the years that have dates, in order.
        Their sums over `year` are what `count` returns.

    Raises
    ------
    InvalidInputError
        If `time` is missing or not datetimes, or a year has more than 65,535 dates.

    Notes
    -----
    Chunks: any. Law: exact. Depth: 0. Lazy.
    """
    mask = checked_mask(water_mask)
    years = years_of(mask)
    parts = []
    for year in np.unique(years):
        positions = np.flatnonzero(years == year)
        if positions.size > np.iinfo(np.uint16).max:
            raise InvalidInputError(f"{positions.size} dates in {year}: at most 65,535 can be counted")
        parts.append(count(mask.isel({TIME: positions})))
    axis = xr.DataArray(np.unique(years), dims=YEAR, name=YEAR)
    joined = xr.concat(parts, dim=axis, coords="minimal", compat="override")
    return xr.Dataset(
        {f"{name}_year": _named(f"{name}_year", joined[name].data) for name in ("count_wet", "count_clear")},
        coords=joined.coords,
    )


@law("exact")
def frequency_by_year(water_mask: xr.DataArray) -> xr.DataArray:
    """Water frequency of each calendar year: ``frequency(count_by_year(water_mask))``.

    Parameters
    ----------
    water_mask : xr.DataArray
        uint8 flags, dims (time, y, x).

    Returns
    -------
    xr.DataArray
        float32, 1, dims (year, y, x); NaN where the year has no clear date.

    Notes
    -----
    Chunks: any. Law: exact. Reach: 0. Lazy.
    """
    return frequency(count_by_year(water_mask))


@law("exact")
def checked_mask(mask: xr.DataArray) -> xr.DataArray:
    """A water mask as (time, y, x) on Dask; its values are left as they are.

    Raises
    ------
    InvalidInputError
        If it has other dims, or holds no flags.

    Notes
    -----
    Chunks: any. Law: exact. Depth: 0. Lazy.
    """
    if set(mask.dims) != {TIME, Y, X}:
        raise InvalidInputError(f"a water mask has dims (time, y, x); got {mask.dims}")
    if mask.dtype.kind not in "bui":
        raise InvalidInputError(f"a water mask holds flags (uint8: 0 land, 1 water, 255 unknown); got {mask.dtype}")
    mask = mask.transpose(TIME, Y, X)
    return mask if isinstance(mask.data, da.Array) else mask.chunk()


def years_of(data: xr.DataArray | xr.Dataset) -> np.ndarray:
    """Calendar year (int64) of every date of `data`; InvalidInputError if `time` is no datetime."""
    if TIME not in data.coords or data[TIME].dtype.kind != "M":
        raise InvalidInputError("counting by year needs a coordinate `time` of datetimes")
    return data[TIME].dt.year.values.astype(np.int64)


def _count_pairs(mask: xr.DataArray) -> da.Array:
    if mask.sizes[TIME] == 0:
        return da.zeros(mask.shape[1:], dtype=_PAIR, chunks=mask.data.chunks[1:])
    return da.reduction(
        mask.data, _chunk, _total, axis=0, combine=_combine, concatenate=True, dtype=_PAIR, meta=np.empty((0, 0), _PAIR)
    )


def _chunk(block: np.ndarray, axis: Any, keepdims: bool) -> np.ndarray:
    states = block.view(np.uint8) if block.dtype == bool else block
    wet, clear = count_states(np.where((states == 0) | (states == 1), states, 255).astype(np.uint8))
    return _pairs(wet, clear)[None]


def _combine(blocks: np.ndarray, axis: Any, keepdims: bool) -> np.ndarray:
    return _total(blocks, axis, keepdims)[None]


def _total(blocks: np.ndarray, axis: Any, keepdims: bool) -> np.ndarray:
    return _pairs(blocks["wet"].sum(axis=0, dtype=np.uint32), blocks["clear"].sum(axis=0, dtype=np.uint32))


def _pairs(wet: np.ndarray, clear: np.ndarray) -> np.ndarray:
    pairs = np.empty(wet.shape, _PAIR)
    pairs["wet"], pairs["clear"] = wet, clear
    return pairs


def _named(name: str, data: Any) -> xr.Variable:
    spec = VARIABLES[name]
    return xr.Variable(spec.dims, data.astype(spec.dtype), spec.attrs)


def _divide(counts: xr.Dataset, suffix: str) -> xr.DataArray:
    spec = VARIABLES[f"water_frequency{suffix}"]
    wet, clear = counts[f"count_wet{suffix}"], counts[f"count_clear{suffix}"]
    index = "tyx"[-wet.ndim :]
    arrays = [v.data if isinstance(v.data, da.Array) else v.chunk().data for v in (wet, clear.transpose(*wet.dims))]
    arrays[1] = arrays[1].rechunk(arrays[0].chunks)
    data = blockwise(
        _share, index, arrays[0], index, arrays[1], index, dtype=np.float32, name=f"water-frequency{suffix}"
    )
    return xr.DataArray(data, dims=wet.dims, coords=wet.coords, name=spec.name, attrs=spec.attrs)


def _share(wet: np.ndarray, clear: np.ndarray) -> np.ndarray:
    flat = divide_counts(wet.reshape(1, -1), clear.reshape(1, -1))
    return flat.reshape(wet.shape)
