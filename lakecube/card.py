"""What a cube, an extract or a store is, in a few lines, for a terminal and for a notebook. No pixel is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape

import numpy as np
import pyproj
import xarray as xr

from lakecube.names import BANDS, ITEM, LAKE, LAKE_KIND, TIME, VARIABLES, X, Y
from lakecube.plot import credits_of
from lakecube.store.read import KEPT, failed_dates
from lakecube.summary import cloud_doubt, crs_of, in_degrees, in_km2, plural, row_areas, step_of

#: Names said of a list before the rest is counted.
_NAMED = 6
_STYLE = (
    "<style>.lakecube-card{border-collapse:collapse;font-size:13px;color:inherit}"
    ".lakecube-card caption{text-align:left;font-weight:600;padding:2px 0 4px}"
    ".lakecube-card th,.lakecube-card td{text-align:left;vertical-align:top;padding:1px 12px 1px 0;border:0;"
    "background:none;max-width:60em}.lakecube-card th{font-weight:400;opacity:.65;white-space:nowrap}</style>"
)


@dataclass(frozen=True)
class Card:
    """A title and lines of a name and words; prints as text, and as a table in a notebook, everything escaped."""

    title: str
    lines: tuple[tuple[str, str], ...]

    def __repr__(self) -> str:
        return "\n".join([self.title, *(f"  {name:<10}{words}" for name, words in self.lines)])

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(words)}</td></tr>" for name, words in self.lines)
        return f'{_STYLE}<table class="lakecube-card"><caption>{escape(self.title)}</caption>{rows}</table>'


def card_of(dataset: xr.Dataset) -> Card:
    """What a Dataset is to lakecube, from its metadata and its item table.

    Parameters
    ----------
    dataset : xr.Dataset
        A cube, an extract, a store, or anything else.

    Returns
    -------
    Card
        It prints, and shows itself at the end of a notebook cell.
    """
    kept = dataset.encoding.get(KEPT)
    is_water, is_cube = "water_mask" in dataset, any(band in dataset for band in BANDS)
    if kept is not None:
        title = f"lakecube store {kept['place']}, revision {dataset.attrs.get('revision')}"
    elif is_water:
        title = f"lakecube extract, method {dataset.attrs.get('method') or 'unknown'}, nothing computed yet"
        title = title if _is_lazy(dataset["water_mask"]) else title.rpartition(",")[0]
    else:
        title = "lakecube cube" if is_cube else "a Dataset without bands or water"
    lines = [*_where(dataset), *_what(dataset), *_stored(dataset), ("next", _next(dataset, is_water, is_cube))]
    return Card(_plain(title), tuple((name, _plain(words)) for name, words in lines if words))


def _plain(text: str) -> str:
    """Without characters that would command a terminal: catalogues may say anything."""
    return "".join(c if c.isprintable() else " " for c in text)


def _where(dataset: xr.Dataset) -> Iterator[tuple[str, str]]:
    if TIME in dataset.coords and dataset[TIME].size and dataset[TIME].dtype.kind == "M":
        days = np.atleast_1d(dataset[TIME].values).astype("datetime64[D]")
        span = str(days.min()) if days.min() == days.max() else f"{days.min()} to {days.max()}"
        unit = "month" if "time_bounds" in dataset.variables else "date"
        yield "period", f"{days.size} {plural(unit, days.size)}, {span}"
    if not all(dim in dataset.dims and dataset[dim].dtype.kind in "fiu" and dataset[dim].size for dim in (Y, X)):
        return
    crs, x, y = crs_of(dataset), *(dataset[dim].values.astype(float) for dim in (X, Y))
    unit = "" if crs is None else "°" if crs.is_geographic else f" {crs.axis_info[0].unit_name.replace('metre', 'm')}"
    name = "no CRS" if crs is None else crs.name
    yield "grid", f"{y.size} × {x.size} px of {step_of(dataset, X):.6g}{unit} in {name}"
    if crs is not None:
        to_degrees = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
        lon, lat = to_degrees.transform((x[0] + x[-1]) / 2, (y[0] + y[-1]) / 2)
        around = f", around {in_degrees(lat, lon)}" if np.isfinite(lat) else ""
        yield "area", f"{in_km2(row_areas(dataset).sum() * x.size / 1e6)}{around}"


def _what(dataset: xr.Dataset) -> Iterator[tuple[str, str]]:
    yield "bands", _listed(band for band in BANDS if band in dataset)
    if ITEM in dataset.sizes:
        count = dataset.sizes[ITEM]
        of = _unique(dataset, "item_collection") or [str(dataset.attrs.get("collections", ""))]
        by = _unique(dataset, "item_platform")
        words = f"{count} {plural('scene', count)} of {_listed(of)}" + (f" by {_listed(by)}" if by else "")
        yield "sensors", words
    elif dataset.attrs.get("collections"):
        yield "sensors", str(dataset.attrs["collections"])
    yield "credit", credits_of(dataset)
    yield "cloud", cloud_doubt(dataset) if TIME in dataset.sizes and {"water_mask", "observation"} & {*dataset} else ""


def _stored(dataset: xr.Dataset) -> Iterator[tuple[str, str]]:
    known = [str(name) for name in dataset.data_vars if name in VARIABLES and name not in BANDS]
    pixels = [name for name in known if {Y, X} <= set(dataset[name].dims)]
    yield "layers", _listed(pixels, most=12)
    if LAKE in dataset.sizes:
        parts = _kinds(dataset)
        yield "water", f"{dataset.sizes[LAKE]} {'body' if dataset.sizes[LAKE] == 1 else 'bodies'}" + (
            f": {', '.join(parts)}" if parts else "")  # fmt: skip
    kept = dataset.encoding.get(KEPT)
    if kept is None:
        return
    if kept["levels"]:
        yield (
            "overviews",
            f"{len(kept['levels'])} {plural('level', len(kept['levels']))}: open_store(…, level=1) and on",
        )
    failed = failed_dates(dataset)
    yield "failed", f"reading, in part: {_listed(failed)}; to_zarr(…, mode='append', retry=True)" if failed else ""
    seen = dataset["date"].size if "date" in dataset.sizes else 0
    late = dataset.sizes.get(TIME, 0) - seen
    yield "stale", f"{late} {plural('date', late)} not in this revision yet: lakecube.revise(…)" if late > 0 else ""


def _kinds(store: xr.Dataset) -> list[str]:
    """How many of its lakes are of each kind, provisional ones apart: the same numbers as `lakecube lakes` gives."""
    if not {"kind", "provisional"} <= {*store.variables}:
        return []
    kind, provisional = store["kind"].values, store["provisional"].values.astype(bool)
    counts = {name.replace("_", " "): int((kind[~provisional] == code).sum()) for name, code in LAKE_KIND.items()}
    return [f"{count} {name}" for name, count in (counts | {"provisional": int(provisional.sum())}).items() if count]


def _next(dataset: xr.Dataset, is_water: bool, is_cube: bool) -> str:
    if KEPT in dataset.encoding:
        lakes = ", .water.plot(lake=…)" if LAKE in dataset.sizes else ""
        return f".water.plot(){lakes}, .water.explain(lon, lat, date), .water.to_stac(folder); lakecube dashboard STORE"
    if is_water:
        return ".water.to_zarr(path) computes and stores it; .water.plan() tells what that takes"
    if is_cube:
        return ".water.plot(), .water.plan(), .water.extract(), all lazy until .water.to_zarr(path)"
    return "lakecube.open(…) makes a cube, lakecube.open_store(…) opens a store"


def _is_lazy(array: xr.DataArray) -> bool:
    return array.chunks is not None


def _unique(dataset: xr.Dataset, name: str) -> list[str]:
    if name not in dataset.variables or _is_lazy(dataset[name]):
        return []
    return sorted({str(value) for value in np.atleast_1d(dataset[name].values).tolist()} - {""})


def _listed(names: Iterable[str], most: int = _NAMED) -> str:
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
