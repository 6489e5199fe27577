"""Panels of what a store says beyond frequency: the products by months, and how a map agrees with a reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from lakecube.errors import InvalidInputError
from lakecube.names import COLOURS, LAND, TRANSITION, UNKNOWN, WATER, WATER_MASK, X, Y
from lakecube.panels import (
    GREY,
    INK,
    MAX_SIDE,
    colour_bar,
    draw_frequency,
    extent,
    furnish,
    legend_above,
    stride,
    thin,
    water_colours,
)
from lakecube.series import products
from lakecube.series.months import months_of
from lakecube.store.read import overview

#: What a picture can show of the months of a store.
PRODUCTS: Mapping[str, Callable[[xr.DataArray], xr.DataArray]] = {
    "occurrence": products.occurrence, "recurrence": products.recurrence, "seasonality": products.seasonality,
    "transitions": products.transitions, "extent": products.maximum_extent,
}  # fmt: skip
_SHARES = {"occurrence": "share of months with water", "recurrence": "share of years with water"}
#: How a pixel agrees with a reference: words and a colour that nobody takes for another.
_AGREEMENT = (("water in both", "#0b559f"), ("mapped, not there", "#e69f00"), ("missed", "#b2182b"),
              ("land in both", "#efe6cf"), ("unknown", GREY))  # fmt: skip


def draw_product(axes: Axes, water: xr.Dataset, product: str) -> None:
    """A product of the months of a store or an extract as a map, with what its colours mean."""
    if product not in PRODUCTS:
        raise InvalidInputError(f"product={product!r}: use one of {', '.join(PRODUCTS)}")
    months = overview(water, "month_state", MAX_SIDE) if "month_state" in water else months_of(water)
    picture = PRODUCTS[product](thin(months)).compute()
    title = product.replace("extent", "maximum extent").capitalize()
    if product in _SHARES:
        colour_bar(axes, draw_frequency(axes, picture, title), _SHARES[product])
    elif product == "seasonality":
        _draw_seasons(axes, picture, title)
    else:
        table, names = ("water_transition", TRANSITION) if product == "transitions" else ("water_extent", WATER_MASK)
        kinds = {code: (name.replace("_", " "), f"#{COLOURS[table][name]}") for name, code in names.items()}
        _draw_kinds(axes, picture, title, kinds)


def draw_agreement(axes: Axes, mask: xr.DataArray, reference: xr.DataArray, title: str) -> None:
    """A map against a reference (y, x) of the same codes: water in both, mapped only, missed; IoU in the title.

    Of a map longer than `MAX_SIDE` all of this is of every k-th pixel, and the title says so.
    """
    if dict(mask.sizes) != dict(reference.sizes) or any(not np.array_equal(mask[d], reference[d]) for d in (Y, X)):
        raise InvalidInputError(
            f"reference is {dict(reference.sizes)}, the map {dict(mask.sizes)}: give (y, x) on the same coordinates, "
            "such as reference.interp_like(store, method='nearest')"
        )
    mapped, there = thin(mask).compute(), thin(reference).compute()
    unknown = ~np.isin(mapped, (LAND, WATER)) | ~np.isin(there, (LAND, WATER))
    codes = np.select([unknown, mapped.values > there.values, mapped.values < there.values, mapped.values == WATER],
                      [4, 1, 2, 0], 3).astype(np.uint8)  # fmt: skip
    both, wrong, missed = (int((codes == code).sum()) for code in (0, 1, 2))
    iou = both / max(both + wrong + missed, 1)
    step = stride(mask)
    some = f" (one in {step} × {step} px)" if step > 1 else ""
    _draw_kinds(axes, mapped.copy(data=codes), f"{title}, IoU {iou:.3f}{some}", dict(enumerate(_AGREEMENT)))


def _draw_kinds(axes: Axes, picture: xr.DataArray, title: str, kinds: Mapping[int, tuple[str, str]]) -> None:
    """Classes as a map, with a legend below of those that are there, and their shares."""
    values = np.select([picture.values == code for code in kinds], range(len(kinds)), len(kinds) - 1)
    look: dict[str, Any] = {"cmap": ListedColormap([colour for _, colour in kinds.values()]), "vmin": -0.5}
    axes.imshow(values, extent=extent(picture), origin="upper", interpolation="nearest", vmax=len(kinds) - 0.5, **look)
    furnish(axes, picture, title)
    shares = [(values == at).mean() for at in range(len(kinds))]
    patches = [
        Patch(facecolor=colour, edgecolor=INK, linewidth=0.5, label=f"{name} {share:.1%}")
        for (name, colour), share in zip(kinds.values(), shares, strict=True)
        if share
    ]
    axes.legend(handles=patches, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3, fontsize=7.5, frameon=False)


def _draw_seasons(axes: Axes, picture: xr.DataArray, title: str) -> None:
    values = np.ma.masked_equal(picture.values, UNKNOWN)
    shades = ListedColormap(water_colours()(np.linspace(0.15, 1, 12))).with_extremes(bad=GREY, under="white")
    look: dict[str, Any] = {"cmap": shades, "vmin": 0.5, "vmax": 12.5}
    image = axes.imshow(values, extent=extent(picture), origin="upper", interpolation="nearest", **look)
    furnish(axes, picture, title)
    kinds = [Patch(facecolor="white", edgecolor=INK, linewidth=0.5, label="never wet")]
    if np.ma.getmaskarray(values).any():
        kinds.append(Patch(facecolor=GREY, edgecolor=INK, linewidth=0.5, label="never seen"))
    legend_above(axes, kinds)
    colour_bar(axes, image, "months of a year with water; 12 is permanent").set_ticks([1, 3, 6, 9, 12])
