"""`plot`: one print-ready picture of a cube, an extract or a store. No display and no global state are needed."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lakecube.errors import InvalidInputError
from lakecube.io.out_files import outside_stores
from lakecube.lake_panels import draw_extent, draw_lake_series, one_lake, window_around
from lakecube.names import BANDS, TIME
from lakecube.panels import (
    INK,
    MAX_SIDE,
    ORANGE,
    colour_bar,
    draw_classes,
    draw_false_colour,
    draw_frequency,
    draw_series,
    legend_above,
)
from lakecube.product_panels import draw_agreement, draw_product
from lakecube.series.occurrence import frequency
from lakecube.store.read import overview
from lakecube.summary import area_series, cloud_doubt, plural, position_of
from lakecube.whole_files import writing

_CREDITS = (
    (("sentinel-2", "sentinel2"), "Contains modified Copernicus Sentinel data"),
    (("landsat",), "Landsat imagery courtesy of the U.S. Geological Survey"),
    (("hls",), "Contains NASA HLS data made from Landsat (USGS) and modified Copernicus Sentinel data"),
)
_SENSOR = re.compile(r'"sensor": "([^"]+)"')


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
    lake: int | None = None,
    product: str | None = None,
    reference: xr.DataArray | None = None,
    series: bool = True,
    title: str | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Picture:
    """Draw what there is: a store as water frequency and area through time, a cube as one date in false colour.

    A store of a single date, or one whose `date` is given, is drawn as a map of water, land and unknown.

    Parameters
    ----------
    dataset : xr.Dataset
        A store or an extract (frequency map and area series), or a cube (false colour; of nir and green alone nir,
        green, green; of a single band grey).
    date : date-like
        The date to show, the nearest within three days is taken; of a cube by default the last.
    water : xr.Dataset
        Of a cube: an extract or a store whose outlines are drawn on it; what it does not know is hatched.
    lake : int
        Of a store: one of its lakes, by its id: where it lies, and its area with limits and calibrated interval.
    product : {"occurrence", "recurrence", "seasonality", "transitions", "extent"}
        Of a store or an extract: a map made from its months, as JRC's.
    reference : xr.DataArray, (y, x)
        Of a store: 1 water, 0 land, 255 unknown, on the same pixels; the map of `date` (or of the last) against it:
        found, invented, missed, and the IoU (of every k-th pixel where a side is longer than 1600, which it says).
    series : bool
        Of a store: draw the area series, which reads `reason` of every date.
    title : str
        Above all panels; by default collection, dates and method.
    path : path
        Write the picture there as well; the suffix tells the format (.png, .pdf, .svg, …).

    Returns
    -------
    matplotlib.figure.Figure
        With `savefig`; it shows itself at the end of a notebook cell.

    Raises
    ------
    InvalidInputError
        Nothing to draw, no date that near, or a path that cannot be written or lies in a store; before anything is
        computed.
    StoreError
        The file cannot be written; nothing half-written stays.

    Notes
    -----
    Maps are read from the overviews of a store, else in strides: what is held is bounded whatever its size.
    """
    if path is not None:
        _check_path(Path(path))
    span: tuple[Any, Any] | None
    if lake is not None:
        picture, doubt, span = _of_lake(dataset, lake), "", _span(dataset)
    elif product is not None:
        picture, doubt, span = _sheet(7.0), "", _span(dataset)
        draw_product(picture.subplots(), dataset, product)
    elif "water_mask" in dataset and (date is not None or reference is not None or dataset.sizes.get(TIME) == 1):
        when = nearest_date(dataset, date)
        picture, span = _of_one_date(dataset, when, reference), (when, when)
        doubt = cloud_doubt(dataset, date=when)
    elif "water_mask" in dataset or "water_frequency" in dataset:
        picture, doubt = _of_water(dataset, series and "reason" in dataset)
        span = _span(dataset)
    elif any(band in dataset for band in BANDS) and TIME in dataset.dims:
        when = nearest_date(dataset, date)
        picture, span = _of_cube(dataset, when, water), (when, when)
        doubt = ""
    else:
        raise InvalidInputError(
            "nothing to draw: a cube has bands, a store has water_mask; see lakecube.open, open_store"
        )
    above = title or _title(dataset if water is None else water, span)
    picture.suptitle(above, x=0.02, ha="left", fontsize=11, parse_math=False)
    sign(picture, dataset, f"cloud: {doubt}" if doubt else "")
    if path is not None:
        _save(picture, Path(path))
    return picture


def _save(picture: Picture, path: Path) -> None:
    """Drawn before a file is opened: it is whole under its name, or not there."""
    drawn = io.BytesIO()
    picture.savefig(drawn, format=path.suffix.lower().removeprefix("."), dpi=200)
    with writing(path) as partial:
        partial.write_bytes(drawn.getvalue())


def _check_path(path: Path) -> None:
    outside_stores(path)
    known = sorted(FigureCanvasAgg.get_supported_filetypes())
    if path.suffix.lower().removeprefix(".") not in known:
        raise InvalidInputError(f"{path}: a picture ends in one of {', '.join(f'.{k}' for k in known)}")
    if not path.absolute().parent.is_dir():
        raise InvalidInputError(f"{path}: the folder {path.absolute().parent} does not exist")


def _title(dataset: xr.Dataset, span: tuple[Any, Any] | None) -> str:
    """Collection, dates and method."""
    attrs = dataset.attrs
    is_monthly = json.loads(attrs.get("parameters", "{}")).get("composite") == "month"
    days = [str(np.datetime64(day, "M" if is_monthly else "D")) for day in span or ()]
    dates = " to ".join(dict.fromkeys(days))
    method = f"method {attrs['method']}" if attrs.get("method") else ""
    return ", ".join(part for part in (attrs.get("collections", ""), dates, method) if part)


def _span(dataset: xr.Dataset) -> tuple[Any, Any] | None:
    return (dataset[TIME].values.min(), dataset[TIME].values.max()) if TIME in dataset.dims else None


def sign(picture: Figure, dataset: xr.Dataset, note: str = "") -> None:
    """Write whose data they are at the foot of a picture."""
    text = "; ".join(part for part in (note, credits_of(dataset), "map: lakecube") if part)
    foot = picture.text(0.995, 0.006, text, ha="right", va="bottom", fontsize=6.5, color="#666666", parse_math=False)
    too_wide = foot.get_window_extent().width / (0.99 * picture.bbox.width)
    foot.set_fontsize(6.5 / max(1.0, too_wide))


def credits_of(dataset: xr.Dataset) -> str:
    """Attribution that the collections ask for."""
    attrs = dataset.attrs
    sensor = _SENSOR.search(str(attrs.get("configuration", "")))  # of files, which tell no collection
    names = f"{attrs.get('collections', '')} {attrs.get('title', '')} {sensor and sensor[1]}".lower()
    return "; ".join(credit for keys, credit in _CREDITS if any(key in names for key in keys))


def nearest_date(dataset: xr.Dataset, date: Any) -> np.datetime64:
    """The date of a Dataset that is nearest to `date`, within three days; by default its last."""
    times = dataset[TIME].values
    return times.max() if date is None else times[position_of(dataset, date, "date")[0]]


def add_frequency(axes: Any, values: xr.DataArray, dates: int) -> None:
    """The frequency map with its colour bar on some axes."""
    image = draw_frequency(axes, values, f"Water frequency, {dates} {plural('date', dates)}")
    colour_bar(axes, image, "share of clear dates with water")


def _of_water(dataset: xr.Dataset, series: bool) -> tuple[Picture, str]:
    """Frequency and area through time, and what is to be said of cloud."""
    known = "water_frequency" in dataset
    values = overview(dataset, "water_frequency", MAX_SIDE) if known else frequency(dataset["water_mask"])
    picture = _sheet(9.2 if series else 6.4)
    rows = picture.subplots(
        2 if series else 1, 1, squeeze=False, gridspec_kw={"height_ratios": [2.4, 1] if series else [1]}
    )[:, 0]
    add_frequency(rows[0], values, dataset.sizes.get(TIME, 0))
    areas = area_series(dataset) if series else None
    if areas is not None:
        draw_series(rows[1], areas)
    return picture, cloud_doubt(dataset, areas)


def _of_lake(store: xr.Dataset, number: int) -> Picture:
    """Where one lake lies, and its area through time."""
    lake = one_lake(store, number)
    label = overview(store, "lake_label", MAX_SIDE)
    near = window_around(store, lake, label if max(label.shape) <= MAX_SIDE else None)
    picture = _sheet(9.2)
    rows = picture.subplots(2, 1, gridspec_kw={"height_ratios": [2.0, 1.2]})
    add_frequency(rows[0], near["water_frequency"], store.sizes.get(TIME, 0))
    draw_extent(rows[0], near["lake_label"], number)
    draw_lake_series(rows[1], lake)
    km2 = float(lake["max_area"]) / 1e6
    rows[0].set_title(f"Lake {number}", loc="left", fontsize=10)
    never = Patch(facecolor="white", edgecolor=INK, linewidth=0.5, label="never wet")
    legend_above(rows[0], [Line2D([], [], color=ORANGE, label=f"largest extent, {km2:.3g} km²"), never])
    return picture


def _of_one_date(dataset: xr.Dataset, when: Any, reference: xr.DataArray | None) -> Picture:
    """Water, land and unknown of one date, or how it agrees with a reference."""
    picture = _sheet(6.6 if reference is None else 7.0)
    day, mask = np.datetime_as_string(np.datetime64(when, "ns"), unit="D"), dataset["water_mask"].sel({TIME: when})
    if reference is None:
        draw_classes(picture.subplots(), mask, f"Surface water, {day}")
    else:
        draw_agreement(picture.subplots(), mask, reference, f"{day} and a reference")
    return picture


def _of_cube(cube: xr.Dataset, when: Any, water: xr.Dataset | None) -> Picture:
    mask = None
    if water is not None:
        if when not in water[TIME].values:
            raise InvalidInputError(f"water= does not hold {np.datetime_as_string(when, unit='D')}")
        mask = water["water_mask"]
    picture = _sheet(7.0)
    draw_false_colour(picture.subplots(), cube, when, mask)
    return picture


def _sheet(height: float) -> Picture:
    picture = Picture(figsize=(7.2, height), layout="constrained")
    picture.get_layout_engine().set(rect=(0, 0.02, 1, 0.98))  # type: ignore[union-attr,call-arg]
    return picture
