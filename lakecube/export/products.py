"""The maps that a store or an extract can be exported as, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import xarray as xr

from lakecube.checks import is_word
from lakecube.errors import InvalidInputError
from lakecube.io.out_files import name_of
from lakecube.io.search_time import parse_datetime, within
from lakecube.names import TIME, VARIABLES, VariableSpec
from lakecube.series import products as jrc
from lakecube.series.months import months_of
from lakecube.series.occurrence import frequency
from lakecube.series.restore import filled


@dataclass(frozen=True, slots=True)
class Product:
    """One kind of map.

    Parameters
    ----------
    variable : str
        Its name in `lakecube.names.VARIABLES`, which tells classes, unit and no data.
    make : callable
        From a store or an extract to (y, x), or (time, y, x) where `dated`; lazy.
    dated : bool
        Whether there is one of every date.
    title : str or None
        What it is, where that is not the variable's `long_name`.
    """

    variable: str
    make: Callable[[xr.Dataset], xr.DataArray]
    dated: bool = False
    title: str | None = None

    @property
    def spec(self) -> VariableSpec:
        """Of the variable."""
        return VARIABLES[self.variable]


def _held(name: str) -> Callable[[xr.Dataset], xr.DataArray]:
    def take(water: xr.Dataset) -> xr.DataArray:
        if name not in water:
            raise InvalidInputError(
                f"no {name} here: a store with a revision has it (lakecube revise STORE makes one)"
                if name in ("count_wet", "count_clear", "lake_label")
                else f"no {name} here: this takes a store or an extract, see lakecube.open_store()"
            )
        return water[name]

    return take


def _frequency(water: xr.Dataset) -> xr.DataArray:
    return water["water_frequency"] if "water_frequency" in water else frequency(_held("water_mask")(water))


def _by_months(function: Callable[[xr.DataArray], xr.DataArray]) -> Callable[[xr.Dataset], xr.DataArray]:
    return lambda water: function(months_of(water))


#: In the order of the help; `dated` ones are a file per date.
PRODUCTS = {
    "frequency": Product("water_frequency", _frequency),
    "occurrence": Product("water_occurrence", _by_months(jrc.occurrence)),
    "recurrence": Product("water_recurrence", _by_months(jrc.recurrence)),
    "seasonality": Product("water_seasonality", _by_months(jrc.seasonality)),
    "transitions": Product("water_transition", _by_months(jrc.transitions)),
    "extent": Product("water_extent", _by_months(jrc.maximum_extent)),
    "count_wet": Product("count_wet", _held("count_wet")),
    "count_clear": Product("count_clear", _held("count_clear")),
    "lakes": Product("lake_label", _held("lake_label")),
    "mask": Product("water_mask", _held("water_mask"), dated=True),
    "filled": Product("water_mask", filled, dated=True, title="surface water, seen and inferred"),
    "probability": Product("water_probability", _held("water_probability"), dated=True),
    "reason": Product("reason", _held("reason"), dated=True),
    "rules": Product("rules_fired", _held("rules_fired"), dated=True),
}


def product_of(name: str) -> Product:
    """A product by its name; InvalidInputError names all if there is none."""
    if not is_word(name, PRODUCTS):
        raise InvalidInputError(f"product={name!r}: choose from {', '.join(PRODUCTS)}")
    return PRODUCTS[name]


def chosen_dates(water: xr.Dataset, dates: Any) -> np.ndarray:
    """Positions of the dates (time,) within one or several dates, months, years or intervals; None: all.

    Raises
    ------
    InvalidInputError
        If one of them is no date, or holds no date of the Dataset.
    """
    times = water[TIME].values
    if dates is None:
        return np.arange(times.size)
    given: Sequence[Any] = dates if isinstance(dates, list) else [dates]
    chosen = np.zeros(times.size, bool)
    for one in given:
        interval = parse_datetime(one)
        if interval is None:
            raise InvalidInputError(f"date={dates!r}: one of these is no date")
        inside = within(times, interval)
        if not inside.any():
            raise InvalidInputError(f"date={str(one)!r} holds no date of these: {_range_of(times, interval)}")
        chosen |= inside
    return np.flatnonzero(chosen)


def _range_of(times: np.ndarray, interval: tuple[datetime | None, datetime | None]) -> str:
    """From when to when dates go, and the one that is nearest to an interval which holds none."""
    if not times.size:
        return "none"
    ends = [np.datetime64(end.replace(tzinfo=None), "ns") for end in interval if end is not None]
    near = min(times, key=lambda time: min(abs(time - end) for end in ends))
    return f"{name_of(times.min())} to {name_of(times.max())}; the nearest is {name_of(near)}"


def day_of(water: xr.Dataset, k: int) -> str:
    """A date as it is part of names."""
    return name_of(water[TIME].values[k])
