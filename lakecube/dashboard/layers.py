"""What a map can show: codes of one byte, with a colour and words for each, colour-blind-safe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import xarray as xr

from lakecube.dashboard.window import Window, cost
from lakecube.names import COLOURS, DATE, LAND, TIME, TRANSITION, UNKNOWN, WATER, YEAR, YEAR_MONTH
from lakecube.panels import BLUE, GREY, SAND
from lakecube.series import products

#: Codes of a mask beside those of `WATER_MASK`: what was inferred where nothing was seen.
INFERRED_LAND, INFERRED_WATER = 2, 3
_LIGHT_BLUE, _PALE, _DARK_GREY = "#6aaed6", "#cdc9be", "#8c8c8c"


@dataclass(frozen=True)
class Layer:
    """One thing that a map can show.

    Attributes
    ----------
    key, group, title : str
        Its name for the program, the heading it stands under, and its name.
    legend : sequence of (code, words)
        The codes to name, or the ends and middle of a scale.
    scale : bool
        Whether the codes from the first to the last of `legend` are a continuous scale.
    colours, words : sequences of 256
        By code.
    needs : variables of the store that are read
    read : callable
        ``read(store, window, date)`` to codes (y, x) uint8.
    """

    key: str
    group: str
    title: str
    legend: Sequence[tuple[int, str]]
    scale: bool
    colours: tuple[str, ...]
    words: tuple[str, ...]
    needs: tuple[str, ...]
    read: Callable[[xr.Dataset, Window, int], np.ndarray]
    of_date: bool = False

    def title_on(self, date: str) -> str:
        """What a picture of a date is called."""
        return f"Water on {date}" if self.of_date else self.title

    def cost(self, store: xr.Dataset, window: Window) -> int:
        """Bytes that a view reads, decoded."""
        return sum(cost(store[name], window) for name in self.needs if name in store)


def layers_of(store: xr.Dataset) -> list[Layer]:
    """All that a store can show, in the order of a menu."""
    out = []
    if "water_frequency" in store:
        out.append(_share("frequency", "All dates", "Water frequency", "of clear dates wet", ("water_frequency",),
                          partial(_of_share, "water_frequency")))  # fmt: skip
    if "water_mask" in store:
        out.append(_mask())
    if "month_state" in store and store.sizes[YEAR_MONTH]:
        out += _products()
    for year in store[YEAR].values.tolist() if "water_frequency_year" in store else []:
        out.append(_share(f"year-{year}", "One year", f"Water frequency {year}", "of clear dates wet",
                          ("water_frequency_year",), partial(_of_year, year)))  # fmt: skip
    return out


def _products() -> list[Layer]:
    group, months = "By months, as JRC Global Surface Water", ("month_state",)
    made: dict[str, Any] = {"group": group, "needs": months}
    seasons = [(0, "never"), (6, "6 months"), (12, "12, permanent")]
    return [
        _share("occurrence", group, "Occurrence", "of months with water", months, _by(products.occurrence)),
        _share("recurrence", group, "Recurrence", "of years with water", months, _by(products.recurrence)),
        Layer("seasonality", title="Seasonality", legend=[*seasons, (255, "never seen")], scale=True,
              colours=_colours({k: _ramp(k / 12) for k in range(13)}),
              words=_words({k: f"{k} months a year with water" for k in range(13)}, "never seen"),
              read=_seasonality, **made),
        Layer("transitions", title="Transitions", scale=False,
              legend=[*((code, name.replace("_", " ")) for name, code in TRANSITION.items())],
              colours=_colours({code: f"#{COLOURS['water_transition'][name]}" for name, code in TRANSITION.items()}),
              words=_words({code: name.replace("_", " ") for name, code in TRANSITION.items()}, "unknown"),
              read=_transitions, **made),
        Layer("extent", title="Maximum extent", scale=False,
              legend=[(WATER, "water at least once"), (LAND, "never water"), (UNKNOWN, "never seen")],
              colours=_colours({LAND: SAND, WATER: BLUE}),
              words=_words({LAND: "never water", WATER: "water at least once"}, "never seen"),
              read=_extent, **made),
    ]  # fmt: skip


def _mask() -> Layer:
    names = {WATER: "water", LAND: "land", INFERRED_WATER: "hidden, water inferred",
             INFERRED_LAND: "hidden, land inferred", UNKNOWN: "unknown"}  # fmt: skip
    colours = {LAND: SAND, WATER: BLUE, INFERRED_LAND: _PALE, INFERRED_WATER: _LIGHT_BLUE, UNKNOWN: _DARK_GREY}
    return Layer("date", "One date", "Water on one date", list(names.items()), False, _colours(colours),
                 _words(names, "unknown"), ("water_mask", "water_restored"), _of_date, of_date=True)  # fmt: skip


def _share(key: str, group: str, title: str, unit: str, needs: tuple[str, ...], read: Any) -> Layer:
    """A share from 0 to 1 as percent: white for 0, light to dark blue above."""
    legend = [(0, "0 %"), (50, "50 %"), (100, f"100 % {unit}"), (255, "never clear")]
    colours = _colours({k: _ramp(k / 100) for k in range(101)})
    words = _words({k: f"{k} % {unit}" for k in range(101)}, "never clear")
    return Layer(key, group, title, legend, True, colours, words, needs, read)


@cache
def _ramp(share: float) -> str:
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return "#ffffff" if share == 0 else to_hex(colormaps["GnBu"](0.12 + 0.88 * share))


def _colours(some: dict[int, str]) -> tuple[str, ...]:
    return tuple(some.get(code, GREY) for code in range(256))


def _words(some: dict[int, str], other: str) -> tuple[str, ...]:
    return tuple(some.get(code, other) for code in range(256))


def _percent(share: xr.DataArray) -> np.ndarray:
    """Whole percent, but 1 for what is above 0: a pixel that was ever wet is not shown as never wet."""
    values = share.values
    codes = np.where(values > 0, np.maximum(np.rint(100 * values), 1), 0)
    return np.where(np.isfinite(values), codes, 255).astype(np.uint8)


def _of_share(name: str, store: xr.Dataset, window: Window, date: int) -> np.ndarray:
    return _percent(store[name].isel(window.index))


def _of_year(year: int, store: xr.Dataset, window: Window, date: int) -> np.ndarray:
    return _percent(store["water_frequency_year"].sel({YEAR: year}).isel(window.index))


def _of_date(store: xr.Dataset, window: Window, date: int) -> np.ndarray:
    mask = store["water_mask"].isel({TIME: date} | window.index).values
    moments = store[DATE].values if "water_restored" in store else np.zeros(0, "M8[ns]")
    at = np.flatnonzero(moments == store[TIME].values[date])
    if not at.size:  # appended since the revision
        return mask
    restored = store["water_restored"].isel({DATE: int(at[0])} | window.index).values
    inferred = np.where(restored == WATER, INFERRED_WATER, INFERRED_LAND)
    return np.where((mask == UNKNOWN) & (restored != UNKNOWN), inferred, mask).astype(np.uint8)


def _months(store: xr.Dataset, window: Window) -> xr.DataArray:
    """Lazy and a month at a time, so that the chunks of one month are in memory."""
    return store["month_state"].isel(window.index).chunk({YEAR_MONTH: 1})


def _by(function: Callable[[xr.DataArray], xr.DataArray]) -> Callable[[xr.Dataset, Window, int], np.ndarray]:
    def read(store: xr.Dataset, window: Window, date: int) -> np.ndarray:
        return _percent(function(_months(store, window)).compute(scheduler="threads"))

    return read


def _seasonality(store: xr.Dataset, window: Window, date: int) -> np.ndarray:
    return products.seasonality(_months(store, window)).compute(scheduler="threads").values


def _transitions(store: xr.Dataset, window: Window, date: int) -> np.ndarray:
    return products.transitions(_months(store, window)).compute(scheduler="threads").values


def _extent(store: xr.Dataset, window: Window, date: int) -> np.ndarray:
    return products.maximum_extent(_months(store, window)).compute(scheduler="threads").values
