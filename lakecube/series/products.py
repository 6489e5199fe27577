"""The products that users know from JRC Global Surface Water, made from `month_state` (Pekel et al., 2016).

One month of one year counts once, however many dates saw it, and has water if any of them saw water. Where JRC's
definition leaves a choice, the docstring names the one taken.

Every month of a year is packed into 24 bits of one number; years of disjoint months join by OR, and each product is
decided per pixel from its years. So memory is 4 bytes per pixel of a chunk and year of the record.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from lakecube.chunked import blockwise, law
from lakecube.errors import InvalidInputError
from lakecube.kernels import products as kernels
from lakecube.names import VARIABLES, YEAR_MONTH
from lakecube.series.years import Period, packed_years, years_in


@law("exact")
def occurrence(month_state: xr.DataArray) -> xr.DataArray:
    """Water occurrence by months: the mean over calendar months of the share of years with water.

    Months with few looks weigh as much as others, so that a cloudy season does not bend it; `water_frequency` is the
    plain share of dates.

    Parameters
    ----------
    month_state : xr.DataArray, (year_month, y, x) uint8
        Of `lakecube.series.months.month_state` or a store.

    Returns
    -------
    xr.DataArray
        `water_occurrence` (y, x): float32, 1, in [0, 1]; NaN where nothing was seen. JRC codes it in percent.

    Raises
    ------
    InvalidInputError
        If `month_state` is none.

    Notes
    -----
    Chunks: any. Law: exact. Depth: 0. Lazy. JRC counts single dates within the months of a year; here such a month
    counts once, which weighs years evenly.

    References
    ----------
    Pekel, J.-F. et al. (2016), doi:10.1038/nature20584
    """
    return _made("water_occurrence", month_state, kernels.occurrence)


@law("exact")
def recurrence(month_state: xr.DataArray) -> xr.DataArray:
    """Water recurrence: how many of the years had water, among those that were seen when there can be water.

    Parameters
    ----------
    month_state : xr.DataArray, (year_month, y, x) uint8
        Of `lakecube.series.months.month_state` or a store.

    Returns
    -------
    xr.DataArray
        `water_recurrence` (y, x): float32, 1, in [0, 1]; 0 where water was never seen, NaN where nothing was.

    Raises
    ------
    InvalidInputError
        If `month_state` is none.

    Notes
    -----
    Chunks: any. Law: exact. Depth: 0. Lazy. The water season of a pixel is the calendar months that ever had water
    there; a year that was not seen in the season says nothing and is left out.

    References
    ----------
    Pekel, J.-F. et al. (2016), doi:10.1038/nature20584
    """
    return _made("water_recurrence", month_state, kernels.recurrence)


@law("exact")
def seasonality(month_state: xr.DataArray, period: Period | None = None, *, least_months: int = 1) -> xr.DataArray:
    """Water seasonality: months with water in a year, or in the typical year of a period.

    Parameters
    ----------
    month_state : xr.DataArray, (year_month, y, x) uint8
        Of `lakecube.series.months.month_state` or a store.
    period : int or (int, int), optional
        A year, or first and last year; by default the whole record. In the typical year of several, a calendar month
        has water if it had water in at least half of the years that saw it.
    least_months : int
        Calendar months that must have been seen for anything to be said.

    Returns
    -------
    xr.DataArray
        `water_seasonality` (y, x): uint8, months, 0 never to 12 permanent; 255 where fewer than `least_months`
        were seen.

    Raises
    ------
    InvalidInputError
        If `month_state` is none, or has no month in `period`.

    Notes
    -----
    Chunks: any. Law: exact. Depth: 0. Lazy. Permanence is JRC's: 12 where every month *that was seen* had water, for
    lakes under polar night or months of cloud could not be permanent otherwise. Hence one look in a year is enough
    to call water permanent; ask for more by `least_months`. Any other number is what was seen, so it grows with
    the number of months that were.

    References
    ----------
    Pekel, J.-F. et al. (2016), doi:10.1038/nature20584
    """
    least = int(least_months)
    return _made("water_seasonality", month_state, kernels.seasonality, period, least_months=least)


@law("exact")
def change(month_state: xr.DataArray, first: Period, last: Period) -> xr.DataArray:
    """Occurrence change intensity: the mean difference of homologous months of two periods.

    Parameters
    ----------
    month_state : xr.DataArray, (year_month, y, x) uint8
        Of `lakecube.series.months.month_state` or a store.
    first, last : int or (int, int)
        The periods: a year, or first and last year.

    Returns
    -------
    xr.DataArray
        `water_change` (y, x): float32, percent, from -100 (all water lost) to 100 (water wherever there was none);
        NaN where the periods saw no calendar month in common. Never water is 0.

    Raises
    ------
    InvalidInputError
        If `month_state` is none, or has no month in a period.

    Notes
    -----
    Chunks: any. Law: exact. Depth: 0. Lazy. JRC's files hold ``round(change) + 100``, so 0 to 200 with 100 for no
    change, 253 where there was never water, 254 for no homologous months and 255 for no data: NaN is 254 or 255, and
    `maximum_extent` tells both these and 253.

    References
    ----------
    Pekel, J.-F. et al. (2016), doi:10.1038/nature20584
    """
    return _made("water_change", month_state, kernels.change, first, last)


@law("exact")
def transitions(
    month_state: xr.DataArray, first: Period | None = None, last: Period | None = None, *, least_months: int = 1
) -> xr.DataArray:
    """Transitions between no, seasonal and permanent water, from the first to the last year or period.

    Parameters
    ----------
    month_state : xr.DataArray, (year_month, y, x) uint8
        Of `lakecube.series.months.month_state` or a store.
    first, last : int or (int, int), optional
        Years or periods to compare, of which the typical year is taken (see `seasonality`). By default, as JRC does,
        the first and the last year in which the pixel was seen.
    least_months : int
        Calendar months that must have been seen in a year or period for its class to be told.

    Returns
    -------
    xr.DataArray
        `water_transition` (y, x): uint8 flags, JRC's codes: 0 never water, 1 permanent, 2 new permanent, 3 lost
        permanent, 4 seasonal, 5 new seasonal, 6 lost seasonal, 7 seasonal to permanent, 8 permanent to seasonal,
        9 ephemeral permanent, 10 ephemeral seasonal; 255 where either end is unknown or both are the same year.

    Raises
    ------
    InvalidInputError
        If `month_state` is none, has no month in a period, or only one of `first` and `last` is given.

    Notes
    -----
    Chunks: any. Law: exact. Depth: 0. Lazy. Ephemeral is what was land at both ends and water in a year from the
    first to the last, in or between the periods.

    References
    ----------
    Pekel, J.-F. et al. (2016), doi:10.1038/nature20584
    """
    least = int(least_months)
    if first is None and last is None:
        return _made("water_transition", month_state, _from_end_to_end, least_months=least)
    if first is None or last is None:
        raise InvalidInputError("transitions need both periods, for example first=2017, last=(2020, 2021), or neither")
    between = (years_in(first)[0], years_in(last)[1])
    return _made("water_transition", month_state, _from_period_to_period, first, last, between, least_months=least)


@law("exact")
def maximum_extent(month_state: xr.DataArray) -> xr.DataArray:
    """Maximum water extent: wherever water was ever seen.

    Parameters
    ----------
    month_state : xr.DataArray, (year_month, y, x) uint8
        Of `lakecube.series.months.month_state` or a store.

    Returns
    -------
    xr.DataArray
        `water_extent` (y, x): uint8 flags, 0 land, 1 water, 255 never seen.

    Raises
    ------
    InvalidInputError
        If `month_state` is none.

    Notes
    -----
    Chunks: any. Law: exact. Depth: 0. Lazy.

    References
    ----------
    Pekel, J.-F. et al. (2016), doi:10.1038/nature20584
    """
    return _made("water_extent", month_state, kernels.extent)


def _from_end_to_end(years: np.ndarray, least_months: int) -> np.ndarray:
    first, last = kernels.first_and_last(years, least_months)
    return kernels.transitions(first, last, years, least_months)


def _from_period_to_period(first: np.ndarray, last: np.ndarray, years: np.ndarray, least_months: int) -> np.ndarray:
    ends = (kernels.typical_year(period) for period in (first, last))
    return kernels.transitions(*ends, years, least_months)


def _made(
    name: str, month_state: xr.DataArray, kernel: Callable[..., np.ndarray], *periods: Period | None, **parameters: Any
) -> xr.DataArray:
    """`kernel` on the packed years of each period (of the record without one), named and described."""
    spec = VARIABLES[name]
    packed = [packed_years(month_state, period) for period in periods or (None,)]
    pairs: list[Any] = [v for k, years in enumerate(packed) for v in (years, "abc"[k] + "yx")]
    data = blockwise(
        kernel, "yx", *pairs, dtype=spec.dtype, name=name.replace("_", "-"), concatenate=True, **parameters
    )
    coords = {key: c for key, c in month_state.coords.items() if YEAR_MONTH not in c.dims}
    return xr.DataArray(data, dims=spec.dims, coords=coords, name=name, attrs=spec.attrs)
