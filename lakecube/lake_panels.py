"""The panels of one lake: where it lies, and its area through time with all that is known of its doubt."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lakecube.errors import InvalidInputError
from lakecube.names import DATE, LAKE, X, Y
from lakecube.panels import BLUE, GREY, INK, ORANGE, extent, furnish_series, legend_above, outline, thin
from lakecube.series.pixel_area import PixelGrid
from lakecube.summary import crs_of, unit_of

#: Share of the extent that must be seen for a date to count as seen.
_SEEN = 0.99


def one_lake(store: xr.Dataset, lake: Any) -> xr.Dataset:
    """The row of one lake, in memory.

    Raises
    ------
    InvalidInputError
        If the store has no lakes, or none of that id.
    """
    if LAKE not in store.dims:
        raise InvalidInputError("no lakes here: they are made with a store, see lakecube.open_store() and revise()")
    ids = store[LAKE].values
    if lake not in ids:
        if not ids.size:
            raise InvalidInputError(f"lake={lake!r}: the store holds no water, so it has no lakes")
        order = np.argsort(-store["max_area"].values, kind="stable")
        near = ", ".join(map(str, ids[order[:5]].tolist()))
        raise InvalidInputError(
            f"lake={lake!r} is none of the {ids.size} lakes; the largest are {near}: see the coordinate `lake` of the "
            "store, or lakecube lakes STORE --kind all"
        )
    names = [name for name, variable in store.data_vars.items() if variable.dims in ((LAKE,), (LAKE, DATE))]
    return store[names].sel({LAKE: lake}).compute()


def window_around(store: xr.Dataset, lake: xr.Dataset, label: xr.DataArray | None = None) -> xr.Dataset:
    """The part of a store that shows a lake: half of its perimeter wide, and no less than its own size.

    `label`, an overview of `lake_label`, tells of lakes that reach farther: long ones, whose centre is near an end.
    """
    crs = crs_of(store)
    x, y = PixelGrid.of(store).xy(lake["longitude"].values, lake["latitude"].values)
    half = max(float(lake["perimeter"]) / 4, 1.2 * float(lake["max_area"]) ** 0.5)
    metres = {X: 1.0, Y: 1.0}  # per unit of the grid
    if crs is not None and crs.is_geographic:
        metres = {X: 111_320.0 * max(np.cos(np.radians(y)), 0.01), Y: 111_320.0}
    elif crs is not None:
        metres = dict.fromkeys(metres, unit_of(crs))
    parts = {}
    for dim, centre in ((X, x), (Y, y)):
        ends = [float(centre) - half / metres[dim], float(centre) + half / metres[dim]]
        ends += _reach(label, dim, int(lake[LAKE])) if label is not None else []
        inside = np.flatnonzero((store[dim].values >= min(ends)) & (store[dim].values <= max(ends)))
        parts[dim] = slice(int(inside[0]), int(inside[-1]) + 1) if inside.size else slice(None)
    return store.isel(parts)


def _reach(label: xr.DataArray, dim: str, lake: int) -> list[float]:
    """How far a lake reaches along a dim in a map of labels, and two pixels more; nothing of one that is not there."""
    at = label[dim].values
    found = at[(label.values == lake).any(axis=label.get_axis_num(X if dim == Y else Y))]
    room = 2 * abs(at[-1] - at[0]) / max(at.size - 1, 1)
    return [found.min() - room, found.max() + room] if found.size else []


def draw_extent(axes: Axes, label: xr.DataArray, lake: int) -> None:
    """The outline of the largest extent of a lake."""
    picture = thin(label).compute()
    outline(axes, picture.values == lake, extent(picture), ORANGE)


def draw_lake_series(axes: Axes, lake: xr.Dataset) -> None:
    """Area of one lake on every date: observational limits, calibrated interval, best estimate, share seen."""
    dates = lake[DATE].values
    area, low, high, q05, q95 = (
        lake[f"lake_area{part}"].values / 1e6 for part in ("", "_lower", "_upper", "_q05", "_q95")
    )
    seen = lake["lake_observed_fraction"].values
    axes.vlines(dates, low, high, color=GREY, linewidth=1.0, zorder=1)
    axes.vlines(dates, q05, q95, color=BLUE, linewidth=4.5, alpha=0.35, zorder=2)
    axes.plot(dates, area, color=BLUE, linewidth=0.6, alpha=0.5, zorder=2)
    look: dict[str, Any] = {"s": 26, "edgecolor": INK, "linewidth": 0.6, "zorder": 3}
    shades = axes.scatter(dates, area, c=seen, cmap="Greys", vmin=0, vmax=1, **look)
    kinds = [
        Line2D([], [], marker="o", color="none", markeredgecolor=INK, markerfacecolor=INK, label="area"),
        Patch(facecolor=BLUE, alpha=0.35, label="5 to 95 %"),
        Line2D([], [], color=GREY, label="if all hidden is land / water"),
    ]
    legend_above(axes, kinds)
    axes.set_ylim(0, 1.08 * float(np.nanmax([*high, *area, 0.0])) or 1.0)
    axes.set_ylabel("area, km²")
    axes.set_title(f"Seen whole on {int((seen >= _SEEN).sum())} of {seen.size} dates", loc="left", fontsize=10)
    furnish_series(axes, shades, "share of the lake seen")
