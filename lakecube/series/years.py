"""Months packed into years: what the products of `lakecube.series.products` are decided from."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from lakecube.chunked import blockwise
from lakecube.errors import InvalidInputError
from lakecube.kernels.products import pack_months
from lakecube.names import YEAR_MONTH, X, Y

#: A calendar year, or the first and the last year of a period, both included.
Period = int | tuple[int, int]


def packed_years(month_state: xr.DataArray, period: Period | None = None) -> da.Array:
    """The months of each year (of a period) in one number: (year, y, x) uint32, lazy, one year per chunk.

    Raises
    ------
    InvalidInputError
        If `month_state` is none, or has no month in the period.
    """
    months = _checked(month_state)
    if period is not None:
        months = months.isel({YEAR_MONTH: _within(months, period)})
    axis = months[YEAR_MONTH].dt
    years, numbers = axis.year.values, axis.month.values.astype(np.int64)
    if not years.size:
        return da.zeros((1, *months.shape[1:]), dtype=np.uint32, chunks=(1, *months.data.chunks[1:]))
    positions = (np.flatnonzero(years == year) for year in np.unique(years))
    return da.concatenate([_packed(months.isel({YEAR_MONTH: at}).data, numbers[at]) for at in positions])


def years_in(period: Period) -> tuple[int, int]:
    """First and last year of a period; InvalidInputError if it is none."""
    try:
        first, last = (int(year) for year in (period if isinstance(period, tuple | list) else (period, period)))
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInputError(
            f"a period is a year or (first, last), for example (2017, 2019); got {period!r}"
        ) from error
    if last < first:
        raise InvalidInputError(f"a period ends before it begins: {period!r}; give (first, last)")
    return first, last


def _checked(month_state: xr.DataArray) -> xr.DataArray:
    if set(month_state.dims) != {YEAR_MONTH, Y, X} or month_state.dtype != np.uint8:
        raise InvalidInputError(
            f"products are made from month_state (year_month, y, x) uint8; got {month_state.dims} "
            f"{month_state.dtype}. Make it with lakecube.series.months.month_state(water_mask)"
        )
    if YEAR_MONTH not in month_state.coords or month_state[YEAR_MONTH].dtype.kind != "M":
        raise InvalidInputError("month_state needs a coordinate `year_month` of datetimes")
    month_state = month_state.transpose(YEAR_MONTH, Y, X)
    return month_state if isinstance(month_state.data, da.Array) else month_state.chunk()


def _within(months: xr.DataArray, period: Period) -> np.ndarray:
    """Positions of the months of a period."""
    first, last = years_in(period)
    years = months[YEAR_MONTH].dt.year.values
    found = np.flatnonzero((years >= first) & (years <= last))
    if not found.size:
        held = f"there are {years.min()} to {years.max()}" if years.size else "there is none at all"
        raise InvalidInputError(f"no month in the period {period!r}: {held}")
    return found


def _packed(states: da.Array, numbers: np.ndarray) -> da.Array:
    """(1, y, x): one year, from its states and the numbers of their months, joined by a tree."""
    months = da.from_array(numbers, chunks=(states.chunks[0],))
    ones = {"t": (1,) * states.numblocks[0]}
    packed = blockwise(_pack, "tyx", states, "tyx", months, "t", dtype=np.uint32, name="pack-year", adjust_chunks=ones)
    return da.reduction(
        packed, _same, _join, axis=0, keepdims=True, concatenate=True, dtype=np.uint32,
        meta=np.empty((0, 0, 0), np.uint32),
    )  # fmt: skip


def _pack(states: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    return pack_months(states, numbers)[None]


def _same(block: np.ndarray, axis: Any, keepdims: bool) -> np.ndarray:
    return block


def _join(blocks: np.ndarray, axis: Any, keepdims: bool) -> np.ndarray:
    return np.bitwise_or.reduce(blocks, axis=0)[None]
