"""What a store or an extract says in numbers: per date the area of water, land and each reason for not knowing.

One pass over `reason`, a few numbers per block: memory depends on a block, never on the area or the dates.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pyproj
import xarray as xr

from lakecube import chunked
from lakecube.errors import InvalidInputError
from lakecube.georeference import crs_text, transform_numbers
from lakecube.names import LAND_REASONS, REASON, TIME, X, Y
from lakecube.series.pixel_area import band_areas

#: Days by which a date that is asked for may miss the nearest one there is.
NEAR_DAYS = 3

#: By how much a projection may change areas before they are taken from the ellipsoid; rows where that is computed.
_DISTORTION, _NODES = 0.01, 33
#: Blocks whose areas are counted without being asked to.
QUICK_BLOCKS = 4096
_CODES = 256
_NAMES = {code: name for name, code in REASON.items()}
_LAND = tuple(LAND_REASONS.values())
_CLOUDY = ("cloud", "cirrus", "cloud_shadow", "cloud_adjacent")


@dataclass(frozen=True)
class AreaSeries:
    """Area by date and by ground.

    Attributes
    ----------
    dates : ndarray
        datetime64[ns], (time,).
    by_reason : ndarray
        float64, m², (time, 256): the area of every code of `reason`.
    """

    dates: np.ndarray
    by_reason: np.ndarray

    @cached_property
    def water(self) -> np.ndarray:
        """Area of water in m², by date."""
        return self.by_reason[:, REASON["water"]]

    @cached_property
    def total(self) -> np.ndarray:
        """Area of the request in m², by date."""
        return self.by_reason.sum(axis=1)

    @cached_property
    def seen(self) -> np.ndarray:
        """Share of the request that was judged land or water, by date (0 to 1)."""
        known = self.water + self.by_reason[:, _LAND].sum(axis=1)
        return np.divide(known, self.total, out=np.zeros_like(known), where=self.total > 0)

    @cached_property
    def unknown(self) -> Mapping[str, float]:
        """Share of all pixels of all dates that are unknown, by reason, greatest first."""
        shares = self.by_reason.sum(axis=0) / max(self.by_reason.sum(), 1e-300)
        known = {REASON["water"], *_LAND}
        found = {_NAMES.get(int(c), str(c)): float(shares[c]) for c in np.flatnonzero(shares) if int(c) not in known}
        return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def area_series(dataset: xr.Dataset) -> AreaSeries:
    """Area of water, land and unknown ground on every date of a store or an extract.

    Parameters
    ----------
    dataset : xr.Dataset
        With `reason` (time, y, x) and a CRS.

    Returns
    -------
    AreaSeries
        In m²: on the ellipsoid where the grid is in degrees, or its projection is more than 1 % off; else planar.

    Notes
    -----
    Chunks: any. Law: exact on projected grids, sum on others. Not lazy: reads `reason` once.
    """
    if "reason" not in dataset:
        raise InvalidInputError("no reason here: this takes a store or an extract, see lakecube.open_store()")
    weights = row_areas(dataset)
    counts = _counts(dataset["reason"], weights)
    (by_reason,) = dask.compute(counts)
    scale = weights[0] if _is_even(weights) else 1.0
    return AreaSeries(dataset[TIME].values.astype("datetime64[ns]"), np.asarray(by_reason, np.float64) * scale)


def row_areas(dataset: xr.Dataset) -> np.ndarray:
    """Area in m² of one pixel of each row; planar on projected grids, unless that is more than 1 % off."""
    y = dataset[Y].values.astype(np.float64)
    height, width = step_of(dataset, Y), step_of(dataset, X)
    crs = crs_of(dataset)
    if crs is None:
        return np.full(y.size, height * width)
    if not crs.is_geographic:
        planar = np.full(y.size, height * width * unit_of(crs) ** 2)
        middle = float(dataset[X].values[dataset.sizes[X] // 2])
        on_ground = _on_ground(crs, middle, y, (width, height))
        even = np.allclose(on_ground, planar, rtol=_DISTORTION)
        return planar if even or not np.isfinite(on_ground).all() else on_ground
    ellipsoid = crs.get_geod()
    assert ellipsoid is not None
    edges = np.radians(np.clip([y - height / 2, y + height / 2], -90, 90))
    return band_areas(edges, np.radians(width), ellipsoid.a, ellipsoid.es)[0]


def _on_ground(crs: pyproj.CRS, middle: float, y: np.ndarray, size: tuple[float, float]) -> np.ndarray:
    """Area on the ellipsoid of the middle pixel of each row, (y,) m²; between some 30 rows by their neighbours."""
    half = size[0] / 2, size[1] / 2
    rows = np.unique(np.linspace(0, y.size - 1, _NODES).round().astype(int))
    to_degrees = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    geod = pyproj.Geod(ellps="WGS84")
    areas = []
    for row in rows:
        corners = middle + half[0] * np.array([-1, 1, 1, -1]), y[row] + half[1] * np.array([-1, -1, 1, 1])
        areas.append(abs(geod.polygon_area_perimeter(*to_degrees.transform(*corners))[0]))
    return np.interp(np.arange(y.size), rows, areas)


def step_of(data: xr.Dataset | xr.DataArray, dim: str) -> float:
    """Size of a pixel along `y` or `x`, in units of the CRS; of the only one as `spatial_ref` tells, or as square."""
    for axis in (dim, X if dim == Y else Y):
        values = data[axis].values.astype(np.float64)
        if values.size > 1:
            return float(abs(values[-1] - values[0]) / (values.size - 1))
        if told := transform_numbers(data.coords):
            return abs(told[5 if dim == Y else 1])
    return 1.0


def north_up(data: Any) -> Any:
    """A Dataset or an array, lazily turned so that `y` falls and `x` rises: north up, east right."""
    y, x = data[Y].values, data[X].values
    is_turned = {Y: y[:1] < y[-1:], X: x[:1] > x[-1:]}
    return data.isel({dim: slice(None, None, -1) for dim, turned in is_turned.items() if turned.any()})


def crs_of(dataset: xr.Dataset) -> pyproj.CRS | None:
    """The CRS in `spatial_ref`; None without one."""
    text = crs_text(dataset.variables)
    return None if text is None else pyproj.CRS.from_user_input(text)


def to_crs(crs: pyproj.CRS, longitude: float, latitude: float) -> tuple[float, float]:
    """A point given in degrees, in the coordinates of a CRS."""
    return pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(longitude, latitude)


def unit_of(crs: pyproj.CRS) -> float:
    """Metres, or radians, in one unit of a CRS."""
    return float(crs.axis_info[0].unit_conversion_factor) or 1.0


def ground_scale(crs: pyproj.CRS, x: float, y: float, width: float) -> float:
    """Metres on the ground in one unit along x around a place: a degree, a foot and a metre of Mercator are none.

    `width`, in units of the CRS, is that of the map; a hundredth of it is measured on the ellipsoid.
    """
    ends = [x - width / 200, x + width / 200], [y, y]
    longitude, latitude = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(*ends)
    if not np.isfinite([longitude, latitude]).all():
        return 1.0 if crs.is_geographic else unit_of(crs)
    metres = pyproj.Geod(ellps="WGS84").inv(longitude[0], latitude[0], longitude[1], latitude[1])[2]
    return float(metres) / (width / 100)


def in_degrees(latitude: float, longitude: float, digits: int = 4) -> str:
    """A place for people, by hemispheres: ``27.1181° N, 105.0040° E``."""
    if not np.isfinite([latitude, longitude]).all():
        return "not known: there is no CRS"
    longitude = (longitude + 180) % 360 - 180  # of a grid of degrees over the antimeridian
    sides = "S" if latitude < 0 else "N", "W" if longitude < 0 else "E"
    return f"{abs(latitude):.{digits}f}° {sides[0]}, {abs(longitude):.{digits}f}° {sides[1]}"


def position_of(dataset: xr.Dataset, moment: Any, argument: str = "time") -> tuple[int, int]:
    """Position of a date and how many days it is off: the composite it falls in, or the nearest within three days.

    Raises
    ------
    InvalidInputError
        If `moment` is no date, or no date of the Dataset is that near; names its neighbours.
    """
    try:
        asked = pd.Timestamp(moment).tz_localize(None).to_datetime64().astype("datetime64[s]")
    except (ValueError, TypeError) as error:
        raise InvalidInputError(f"{argument}={moment!r} is not a date; for example '2021-07-14'") from error
    if np.isnat(asked):
        raise InvalidInputError(f"{argument}={moment!r} is not a date; for example '2021-07-14'")
    times = np.atleast_1d(dataset[TIME].values).astype("datetime64[s]")
    if "time_bounds" in dataset.variables:
        begin, end = np.atleast_2d(dataset["time_bounds"].values).astype("datetime64[s]").T
        inside = np.flatnonzero((begin <= asked) & (asked < end))
        if inside.size:
            return int(inside[0]), 0
    near = int(np.abs(times - asked).argmin())
    days = int(abs(times[near].astype("datetime64[D]") - asked.astype("datetime64[D]")).astype(int))
    if days <= NEAR_DAYS:
        return near, days
    sides = [times[times < asked].max(initial=times.min()), times[times > asked].min(initial=times.max())]
    beside = " and ".join(str(day) for day in np.unique(np.array(sides).astype("datetime64[D]")))
    day = asked.astype("datetime64[D]")
    raise InvalidInputError(f"{argument}: no date within {NEAR_DAYS} days of {day}; the nearest are {beside}")


def cloud_doubt(dataset: xr.Dataset, series: AreaSeries | None = None, date: Any = None) -> str:
    """Say on how many dates (or whether on `date`) nobody looked for cloud; "" where a quality layer told on all.

    The item table tells it (`item_has_quality`); without that column only that nothing was ever called cloud.
    """
    dates, columns = dataset.sizes.get(TIME, 1), dataset.variables
    if "item_has_quality" in columns and ("item_time_index" in columns or "item_date" in columns):
        has = dataset["item_has_quality"].values != 0
        rows = dataset["item_time_index"].values if "item_time_index" in columns else _rows_of_items(dataset)
        if date is not None:
            has, rows, dates = (*(v[rows == position_of(dataset, date)[0]] for v in (has, rows)), 1)
        without = np.unique(rows[~has]).size
        return f"not checked on {without} of {dates} {plural('date', dates)} (no quality layer)" if without else ""
    if series is not None and not any(name in series.unknown for name in _CLOUDY):
        return f"none found on {dates} {plural('date', dates)}: clear sky, or no quality layer to tell"
    return ""


def _rows_of_items(dataset: xr.Dataset) -> np.ndarray:
    """Row of `time` of every item, by its date."""
    return np.searchsorted(dataset[TIME].values, dataset["item_date"].values)


def in_km2(area: float) -> str:
    """An area in km² with four digits, of large ones all before the point: 0.1234 km², 12,060 km²."""
    return f"{area:,.0f} km²" if abs(area) >= 1000 else f"{area:.4g} km²"


def plural(word: str, count: int) -> str:
    """A word in the number that a count asks for."""
    return word if count == 1 else f"{word}s"


def block_count(dataset: xr.Dataset) -> int:
    """Number of blocks of `reason`: what `area_series` will read."""
    return int(np.prod([len(sizes) for sizes in dataset["reason"].chunks or ((1,),)]))


def bytes_on_disk(path: str | os.PathLike[str]) -> int:
    """Size of a store in bytes."""
    return sum(file.stat().st_size for file in Path(path).rglob("*") if file.is_file())


def _is_even(weights: np.ndarray) -> bool:
    return bool((weights == weights[0]).all())


def _counts(reason: xr.DataArray, weights: np.ndarray) -> da.Array:
    """Lazy (time, 256): pixels of each code, or their area where rows differ."""
    array = reason.transpose(TIME, Y, X).data
    if not isinstance(array, da.Array):
        array = da.from_array(array, chunks=(1, -1, -1))
    even = _is_even(weights)
    rows = da.from_array(np.ones(weights.size) if even else weights, chunks=(array.chunks[1],))
    ones = {"y": tuple(1 for _ in array.chunks[1]), "x": tuple(1 for _ in array.chunks[2])}
    parts = chunked.blockwise(
        _count_block, "tyxc", array, "tyx", rows, "y", dtype=np.int64 if even else np.float64,
        name="lakecube-area", new_axes={"c": _CODES}, adjust_chunks=ones, even=even,
    )  # fmt: skip
    return parts.sum(axis=(1, 2))


def _count_block(reason: np.ndarray, rows: np.ndarray, even: bool) -> np.ndarray:
    out = np.empty((reason.shape[0], 1, 1, _CODES), np.int64 if even else np.float64)
    weights = None if even else np.repeat(rows, reason.shape[2])
    for i, picture in enumerate(reason):
        out[i, 0, 0] = np.bincount(picture.ravel(), weights, minlength=_CODES)
    return out
