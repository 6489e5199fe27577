"""`explain`: why one pixel of one date is water, land or unknown, in words and numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pyproj
import xarray as xr

from lakecube.checks import is_number
from lakecube.detect.indices import indices
from lakecube.errors import InvalidInputError
from lakecube.names import (
    BANDS,
    ITEM,
    OBSERVATION,
    REASON,
    RULE_BITS,
    THRESHOLD_SOURCE,
    TIME,
    WATER_MASK,
    X,
    Y,
)
from lakecube.summary import crs_of, plural, position_of, to_crs

_LABELS = {code: name for name, code in WATER_MASK.items()}
_REASONS = {code: name for name, code in REASON.items()}
_STATES = {code: name for name, code in OBSERVATION.items()}
_SOURCES = {code: name for name, code in THRESHOLD_SOURCE.items()}
_COUNTS = ("count_wet", "count_clear", "water_frequency")
_FIELDS = ("elevation", "slope")


class Explanation(dict[str, Any]):
    """A dict that prints as a short report."""

    def __repr__(self) -> str:
        width = max(map(len, self), default=0)
        return "\n".join(f"{name:<{width}}  {_text(value)}" for name, value in self.items())


def explain(dataset: xr.Dataset, lon: float, lat: float, time: Any) -> Explanation:
    """Say why a pixel is what it is.

    Parameters
    ----------
    dataset : xr.Dataset
        A cube, an extract, a store, or one merged with another.
    lon, lat : float
        Degrees; the pixel that holds the point.
    time : date-like
        The date; the nearest within three days is taken and said. Of composites: the one the date falls in.

    Returns
    -------
    dict
        What there is of: `pixel` (row, column), `date`, `label`, `reason`, `rules_fired` (names), `thresholds`
        (index to value and what chose it), `observation`, `bands`, `indices`, `count_wet` and the like, `items`
        (id, time, offset and what it rests on). It prints as a report.

    Raises
    ------
    InvalidInputError
        If the point lies outside, the date is none, or the dataset has none within three days of it.

    Notes
    -----
    Reads one block of one date.
    """
    for name, value in (("lon", lon), ("lat", lat)):
        if not is_number(value):
            raise InvalidInputError(f"{name}={value!r}: a number of degrees is needed")
    row, column = _pixel(dataset, float(lon), float(lat))
    position, days = position_of(dataset, time)
    date = np.atleast_1d(dataset[TIME].values)[position]
    out = Explanation(longitude=float(lon), latitude=float(lat), pixel=(row, column), date=_date(date))
    asked = pd.Timestamp(time)
    if asked.tz_localize(None).normalize() != pd.Timestamp(date).normalize():
        out["asked_for"] = _date(asked)
        out["note"] = f"nearest date, {days} {plural('day', days)} off" if days else "the composite of that date"
    wanted = [n for n, v in dataset.variables.items() if {Y, X} <= set(v.dims) and set(v.dims) <= {TIME, Y, X}]
    wanted += [n for n in ("threshold", "threshold_source") if n in dataset]
    at = (
        dataset[wanted]
        .reset_coords(drop=True)
        .isel({Y: row, X: column} | ({TIME: position} if TIME in dataset.dims else {}))
    )
    at = at.compute()
    _add_judgement(out, at)
    _add_measurements(out, at)
    items = _items(dataset, position)
    if items:
        out["items"] = items
    return out


def _pixel(dataset: xr.Dataset, lon: float, lat: float) -> tuple[int, int]:
    crs = crs_of(dataset)
    if crs is None:
        raise InvalidInputError("the Dataset has no CRS in spatial_ref, so degrees cannot be placed in it")
    if not (math.isfinite(lon) and math.isfinite(lat) and abs(lat) <= 90 and abs(lon) <= 360):
        raise InvalidInputError(f"lon={lon}, lat={lat}: degrees are needed, longitude first")
    x, y = to_crs(crs, lon, lat)
    place = []
    for dim, value in ((Y, y), (X, x)):
        axis = dataset[dim].values
        step = (axis[-1] - axis[0]) / (axis.size - 1) if axis.size > 1 else 1.0
        at = (value - axis[0]) / step if math.isfinite(value) else math.inf
        if not -0.5 <= at < axis.size - 0.5:
            raise InvalidInputError(f"lon={lon:g}, lat={lat:g} lies outside the Dataset, {_extent(dataset, crs)}")
        place.append(min(max(math.floor(at + 0.5), 0), axis.size - 1))
    return place[0], place[1]


def _extent(dataset: xr.Dataset, crs: pyproj.CRS) -> str:
    x, y = dataset[X].values, dataset[Y].values
    back = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    west, south, east, north = back.transform_bounds(x.min(), y.min(), x.max(), y.max())
    return f"which spans longitude {west:.4f} to {east:.4f}, latitude {south:.4f} to {north:.4f}"


def _add_judgement(out: Explanation, at: xr.Dataset) -> None:
    """Label, reason, rules and thresholds, where the dataset holds them."""
    if "water_mask" in at:
        out["label"] = _LABELS[int(at["water_mask"])]
    if "reason" in at:
        out["reason"] = _REASONS.get(int(at["reason"]), str(int(at["reason"])))
    if "rules_fired" in at:
        bits = int(at["rules_fired"])
        out["rules_fired"] = [name for name, bit in RULE_BITS.items() if bits >> bit & 1]
    if "threshold" in at:
        sources = at["threshold_source"].values if "threshold_source" in at else np.full(at["threshold"].shape, 255)
        out["thresholds"] = {
            str(index): {"value": _number(value), "source": _SOURCES.get(int(source), str(source))}
            for index, value, source in zip(at["index"].values, at["threshold"].values, sources, strict=True)
        }
    if "water_probability" in at:
        out["water_probability"] = _number(at["water_probability"])


def _add_measurements(out: Explanation, at: xr.Dataset) -> None:
    """State, reflectance, indices, terrain and counts, where the dataset holds them."""
    if "observation" in at:
        out["observation"] = _STATES.get(int(at["observation"]), str(int(at["observation"])))
    bands = [band for band in BANDS if band in at]
    if bands:
        out["bands"] = {band: _number(at[band]) for band in bands}
        out["indices"] = {str(n): _number(v) for n, v in indices(at[bands]).data_vars.items()}
    for name in (*_FIELDS, *_COUNTS):
        if name in at:
            out[name] = int(at[name]) if at[name].dtype.kind in "ui" else _number(at[name])


def _items(dataset: xr.Dataset, position: int) -> list[dict[str, Any]]:
    """The items behind a date, by the item table."""
    if "item_id" not in dataset.variables:
        return []
    if "item_time_index" in dataset.variables:
        rows = np.flatnonzero(dataset["item_time_index"].values == position)
    else:
        rows = np.flatnonzero(dataset["item_date"].values == dataset[TIME].values[position])
    columns = [
        str(n) for n, v in dataset.variables.items() if v.dims == (ITEM,) and n not in ("item_time_index", "item_date")
    ]
    return [{name.removeprefix("item_"): _plain(dataset[name].values[row]) for name in columns} for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, np.datetime64):
        return str(np.datetime_as_string(value.astype("datetime64[s]")))
    return value.item() if isinstance(value, np.generic) else value


def _number(value: Any) -> float:
    return float(np.float64(value).round(6))


def _date(value: Any) -> str:
    return str(pd.Timestamp(value).date())


def _text(value: Any) -> str:
    """A value in one line, the items one to a line."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(one)}" for name, one in value.items())
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "; ".join(f"{one.get('id', '')} ({one.get('time', '')})" for one in value)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(map(_text, value)) or "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
