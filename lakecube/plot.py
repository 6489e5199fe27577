"""`plot`: one print-ready picture of a cube, an extract or a store. No display and no global state are needed."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lakecube.errors import InvalidInputError
from lakecube.names import BANDS, TIME
from lakecube.panels import draw_false_colour, draw_frequency, draw_series
from lakecube.series.occurrence import frequency
from lakecube.summary import area_series

_CREDITS = (
    (("sentinel-2", "sentinel2"), "Contains modified Copernicus Sentinel data"),
    (("landsat",), "Landsat imagery courtesy of the U.S. Geological Survey"),
    (("hls",), "Contains NASA HLS data made from Landsat (USGS) and modified Copernicus Sentinel data"),
)


class Picture(Figure):
    """A matplotlib Figure that shows itself in a notebook without pyplot."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        FigureCanvasAgg(self)

    def _repr_png_(self) -> bytes:
        out = io.BytesIO()
        self.savefig(out, format="png", dpi=110)
        return out.getvalue()


def plot(
    dataset: xr.Dataset,
    *,
    date: Any = None,
    water: xr.Dataset | None = None,
    series: bool = True,
    title: str | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Picture:
    """Draw what there is: a store as water frequency and area through time, a cube as one date in false colour.

    Parameters
    ----------
    dataset : xr.Dataset
        A store or an extract (frequency map and area series), or a cube (false colour).
    date : date-like
        Of a cube: the date to show, the nearest is taken; by default the last.
    water : xr.Dataset
        Of a cube: an extract or a store whose outlines are drawn on it; what it does not know is hatched.
    series : bool
        Of a store: draw the area series, which reads `reason` of every date.
    title : str
        Above all panels.
    path : path
        Write the picture there as well; the suffix tells the format.

    Returns
    -------
    matplotlib.figure.Figure
        With `savefig`; it shows itself at the end of a notebook cell.

    Notes
    -----
    Maps are read in strides: what is held is bounded whatever the size of the store.
    """
    if "water_mask" in dataset or "water_frequency" in dataset:
        picture = _of_water(dataset, series and "reason" in dataset)
    elif any(band in dataset for band in BANDS) and TIME in dataset.dims:
        picture = _of_cube(dataset, date, water)
    else:
        raise InvalidInputError(
            "nothing to draw: a cube has bands, a store has water_mask; see lakecube.open, open_store"
        )
    if title:
        picture.suptitle(title, x=0.02, ha="left", fontsize=12)
    sign(picture, dataset)
    if path is not None:
        picture.savefig(os.fspath(path), dpi=200)
    return picture


def sign(picture: Figure, dataset: xr.Dataset, note: str = "") -> None:
    """Write whose data they are at the foot of a picture."""
    text = "; ".join(part for part in (note, credits_of(dataset), "map: lakecube") if part)
    picture.text(0.995, 0.006, text, ha="right", va="bottom", fontsize=6.5, color="#666666")


def credits_of(dataset: xr.Dataset) -> str:
    """Attribution that the collections ask for."""
    names = f"{dataset.attrs.get('collections', '')} {dataset.attrs.get('title', '')}".lower()
    return "; ".join(credit for keys, credit in _CREDITS if any(key in names for key in keys))


def nearest_date(dataset: xr.Dataset, date: Any) -> np.datetime64:
    """The date of a Dataset that is nearest to `date`; by default its last."""
    times = dataset[TIME].values
    if date is None:
        return times.max()
    try:
        asked = np.datetime64(date, "s")
    except (ValueError, TypeError) as error:
        raise InvalidInputError(f"date={date!r} is not a date; for example '2021-07-14'") from error
    return times[np.abs(times.astype("datetime64[s]") - asked).argmin()]


def add_frequency(picture: Figure, axes: Any, values: xr.DataArray, dates: int) -> None:
    """The frequency map with its colour bar on some axes of a picture."""
    image = draw_frequency(axes, values, f"Water frequency, {dates} date{'s' if dates != 1 else ''}")
    bar = picture.colorbar(image, ax=axes, pad=0.02, fraction=0.04, shrink=0.9)
    bar.set_label("share of clear dates with water (white 0, grey never clear)", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)


def _of_water(dataset: xr.Dataset, series: bool) -> Picture:
    known = "water_frequency" in dataset
    values = dataset["water_frequency"] if known else frequency(dataset["water_mask"])
    picture = Picture(figsize=(7.2, 9.2 if series else 6.4), layout="constrained")
    picture.get_layout_engine().set(rect=(0, 0.02, 1, 0.98))  # type: ignore[union-attr,call-arg]
    rows = picture.subplots(
        2 if series else 1, 1, squeeze=False, gridspec_kw={"height_ratios": [2.4, 1] if series else [1]}
    )[:, 0]
    add_frequency(picture, rows[0], values, dataset.sizes.get(TIME, 0))
    if series:
        draw_series(rows[1], area_series(dataset))
    return picture


def _of_cube(cube: xr.Dataset, date: Any, water: xr.Dataset | None) -> Picture:
    picture = Picture(figsize=(7.2, 7.0), layout="constrained")
    picture.get_layout_engine().set(rect=(0, 0.02, 1, 0.98))  # type: ignore[union-attr,call-arg]
    when = nearest_date(cube, date)
    mask = None
    if water is not None:
        if when not in water[TIME].values:
            raise InvalidInputError(f"water= does not hold {np.datetime_as_string(when, unit='D')}")
        mask = water["water_mask"]
    draw_false_colour(picture.subplots(), cube, when, mask)
    return picture
