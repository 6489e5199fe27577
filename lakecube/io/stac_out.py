"""A store or an extract as STAC 1.1: a Collection, an Item per date, and one of what was derived from all dates."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyproj
import pystac
import xarray as xr
from pystac.stac_io import DefaultStacIO

from lakecube.errors import InvalidInputError
from lakecube.georeference import crs_text, transform_numbers
from lakecube.io import stac_fields
from lakecube.io.footprint import footprint
from lakecube.io.hrefs import is_remote, strip_signature
from lakecube.io.out_files import name_of
from lakecube.names import DATE, ITEM, TIME, VARIABLES, YEAR, YEAR_MONTH, X, Y
from lakecube.whole_files import replacing

#: Media types of what is written, by suffix.
MEDIA_TYPES = {
    ".tif": pystac.MediaType.COG,
    ".gpkg": pystac.MediaType.GEOPACKAGE,
    ".geojson": pystac.MediaType.GEOJSON,
    ".parquet": "application/vnd.apache.parquet",
    ".csv": "text/csv",
    ".nc": "application/x-netcdf",
}
#: Dims of pixels of dates, and of what was derived from all of them.
_OBSERVED, _DERIVED = ((TIME, Y, X),), ((Y, X), (YEAR, Y, X), (YEAR_MONTH, Y, X), (DATE, Y, X))
#: Fields of the root that no revision holds.
_GROUND = ("elevation", "slope")
_ITEM_ROW = "item_time_index"
_PREFIXES = {
    "proj:": stac_fields.PROJECTION,
    "raster:": stac_fields.RASTER,
    "classification:": stac_fields.CLASSIFICATION,
    "processing:": stac_fields.PROCESSING,
    "eo:": stac_fields.EO,
}


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was made of a store.

    Parameters
    ----------
    path : str
        Absolute path or URL.
    key, title : str
        Of the asset.
    variable, dtype : str or None
        Of a raster: the name in `lakecube.names.VARIABLES`, and the type in the file.
    time : datetime64 or None
        The date it is of; None: of all dates.
    """

    path: str
    key: str
    title: str
    variable: str | None = None
    dtype: str | None = None
    time: np.datetime64 | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the pixels are, in the words of STAC."""

    projection: dict[str, Any]
    geometry: dict[str, Any]
    bbox: list[float]
    resolution: float


def collection_of(
    water: xr.Dataset,
    *,
    id: str,
    href: str | None = None,
    exported: Sequence[Exported] = (),
    cover: Mapping[str, Sequence[float]] | None = None,
    license: str = "other",
) -> pystac.Collection:
    """A STAC Collection, with its Items, of a store or an extract.

    Parameters
    ----------
    water : xr.Dataset
        `water_mask` (time, y, x) with a CRS.
    id : str
        Of the Collection. Items are ``<id>-<date>``, and ``<id>-revision-<k>`` for what was derived from all dates.
    href : str, optional
        Where the Zarr store is; signed parts are left out.
    exported : sequence of Exported
        Files that go with it.
    cover : mapping, optional
        `eo:cloud_cover` and others of the extension `eo`, (time,), percent.
    license : str
        SPDX identifier, or "other".

    Returns
    -------
    pystac.Collection
        Links are not resolved: `save` does that.

    Raises
    ------
    InvalidInputError
        If there is no CRS, no date, or `id` is not safe in paths.

    Notes
    -----
    Reads metadata only, and holds no clock: the same Dataset gives the same Collection.
    """
    if slug(id) != id:
        raise InvalidInputError(f"id={id!r}: only letters, digits, '-', '_' and '.', such as {slug(id)!r}")
    place, store = _place_of(water), None if href is None else strip_signature(href)
    items, spans = [], [_span(water, k) for k in range(water.sizes[TIME])]
    revised = f"{store}/revision/{water.attrs['revision']}" if store and "revision" in water.attrs else store
    observed, derived = _zarr_asset(water, store, _OBSERVED), _zarr_asset(water, revised, _DERIVED)
    for k, time in enumerate(water[TIME].values):
        items.append(_item_of_date(water, k, id, place, spans[k], cover or {}))
        _dress(items[-1], observed, [file for file in exported if file.time == time], place)
    whole = min(start for start, _ in spans), max(end for _, end in spans)
    undated = [file for file in exported if file.time is None]
    if undated or "water_frequency" in water:
        items.append(_item_of_all(water, id, place, whole))
        _dress(items[-1], derived, undated, place)
    extent = pystac.Extent(pystac.SpatialExtent([place.bbox]), pystac.TemporalExtent([[*whole]]))
    found = pystac.Collection(id, _description(water), extent, water.attrs.get("title", "Surface water"),
                              license=license, keywords=["surface water", "lakes"])  # fmt: skip
    if (whole_store := _zarr_asset(water, store, ())) is not None:
        found.add_asset("zarr", whole_store)
    found.item_assets = {key: _definition(asset) for item in items for key, asset in item.assets.items()}
    found.add_items(items)
    found.stac_extensions = _extensions(json.dumps(found.to_dict(include_self_link=False)["item_assets"]))
    return found


def save(collection: pystac.Collection, folder: Path) -> Path:
    """Write a Collection and its Items, self-contained with relative links, each file whole or not at all.

    Returns
    -------
    Path
        ``folder/collection.json``; Items are ``folder/<id>/<id>.json``.
    """
    collection.normalize_hrefs(str(folder))
    collection.make_all_asset_hrefs_relative()
    collection.save(pystac.CatalogType.SELF_CONTAINED, stac_io=_WholeFiles())
    return folder / "collection.json"


class _WholeFiles(DefaultStacIO):
    """Writes a file under another name first."""

    def write_text_to_href(self, href: str, txt: str, *args: Any, **kwargs: Any) -> None:
        Path(href).parent.mkdir(parents=True, exist_ok=True)
        with replacing(Path(href)) as partial:
            partial.write_text(txt + "\n", encoding="utf-8", newline="\n")


def slug(text: str) -> str:
    """A text as an id that is safe in paths and URLs."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.") or "water"


def _place_of(water: xr.Dataset) -> _Place:
    wkt = crs_text(water.variables)
    if not wkt:
        raise InvalidInputError(
            "there is no CRS (spatial_ref), so nobody could find it: water.rio.write_crs(…) sets one"
        )
    if not water.sizes.get(TIME):
        raise InvalidInputError("there is no date, so there is nothing to tell of")
    crs, shape = pyproj.CRS.from_user_input(wkt), (water.sizes[Y], water.sizes[X])
    given = transform_numbers(water.variables)
    dx, dy = _step(water[X].values, given[1:2]), _step(water[Y].values, given[5:6])
    transform = (dx, 0.0, float(water[X].values[0]) - dx / 2, 0.0, dy, float(water[Y].values[0]) - dy / 2)
    geometry, bbox = footprint(crs, transform, shape)
    return _Place(stac_fields.projection(crs, transform, shape), geometry, bbox, abs(dx))


def _step(values: np.ndarray, given: Sequence[float]) -> float:
    if values.size > 1:
        return float((values[-1] - values[0]) / (values.size - 1))
    if not given:
        raise InvalidInputError(
            "one row or column of pixels does not tell their size: GeoTransform in spatial_ref does"
        )
    return given[0]


def _item_of_date(
    water: xr.Dataset, k: int, id: str, place: _Place, span: tuple[dt.datetime, dt.datetime],
    cover: Mapping[str, Sequence[float]],
) -> pystac.Item:  # fmt: skip
    start, end = span
    ids, links = _sources(water, k)
    item = pystac.Item(
        f"{id}-{name_of(water[TIME].values[k])}", place.geometry, place.bbox, start if start == end else None,
        _properties(water, place) | {"lakecube:source_items": ids}
        | {name: round(float(values[k]), 2) for name, values in cover.items() if np.isfinite(values[k])},
        start_datetime=None if start == end else start, end_datetime=None if start == end else end,
    )  # fmt: skip
    item.add_links([pystac.Link("derived_from", href, "application/geo+json") for href in links])
    return item


def _item_of_all(water: xr.Dataset, id: str, place: _Place, span: tuple[dt.datetime, dt.datetime]) -> pystac.Item:
    revision = water.attrs.get("revision")
    name = f"{id}-all" if revision is None else f"{id}-revision-{revision}"
    properties = _properties(water, place) | ({} if revision is None else {"lakecube:revision": str(revision)})
    return pystac.Item(name, place.geometry, place.bbox, None, properties, start_datetime=span[0], end_datetime=span[1])


def _properties(water: xr.Dataset, place: _Place) -> dict[str, Any]:
    lineage = f"lakecube, method {water.attrs.get('method', 'unknown')}"
    if water.attrs.get("references"):
        lineage += f" ({water.attrs['references']})"
    known = water.attrs.get("lakecube_version")
    return {
        **place.projection,
        "processing:level": "L3",
        "processing:lineage": lineage,
        **({"processing:software": {"lakecube": known}} if known else {}),
    }


def _span(water: xr.Dataset, k: int) -> tuple[dt.datetime, dt.datetime]:
    """First and last acquisition of a date; the ends of a composite; the whole day where neither is known."""
    day = water[TIME].values[k].astype("datetime64[D]")
    if "time_bounds" in water.variables:
        begin, end = water["time_bounds"].values[k].astype("datetime64[s]")
        return _aware(begin), _aware(end - np.timedelta64(1, "s"))
    if "item_time" in water.variables and (rows := _rows(water, k)).size:
        times = water["item_time"].values[rows]
        return _aware(times.min()), _aware(times.max())
    return _aware(day), _aware(day.astype("datetime64[s]") + np.timedelta64(86399, "s"))


def _rows(water: xr.Dataset, k: int) -> np.ndarray:
    """Rows of the item table that a date was made of."""
    if _ITEM_ROW in water.variables:
        return np.flatnonzero(water[_ITEM_ROW].values == k)
    if "item_date" in water.variables:
        return np.flatnonzero(water["item_date"].values == water[TIME].values[k])
    return np.arange(0)


def _sources(water: xr.Dataset, k: int) -> tuple[list[str], list[str]]:
    """Ids of the scenes of a date, and the addresses of those that came from a STAC API."""
    if ITEM not in water.dims or "item_id" not in water.variables:
        return [], []
    rows = _rows(water, k)
    ids = [str(value) for value in water["item_id"].values[rows]]
    source = json.loads(water.attrs.get("request") or "{}").get("source")
    if not isinstance(source, str) or not is_remote(source) or "item_collection" not in water.variables:
        return ids, []
    source = strip_signature(source).rstrip("/")
    if re.search(r"\.(geo)?(json|parquet)$", source):
        return ids, [source]
    collections = [str(value) for value in water["item_collection"].values[rows]]
    pairs = zip(collections, ids, strict=True)
    return ids, [f"{source}/collections/{quote(a, safe='')}/items/{quote(b, safe='')}" for a, b in pairs]


def _dress(item: pystac.Item, zarr: pystac.Asset | None, files: Sequence[Exported], place: _Place) -> None:
    """Give an Item its assets, and name the extensions it uses."""
    if zarr is not None:
        item.add_asset("zarr", zarr)
    for file in files:
        item.add_asset(file.key, _file_asset(file, place))
    used = json.dumps([item.properties, [asset.to_dict() for asset in item.assets.values()]])
    item.stac_extensions = _extensions(used)


def _zarr_asset(water: xr.Dataset, group: str | None, dims: tuple[tuple[str, ...], ...]) -> pystac.Asset | None:
    """The group of a store that holds its variables of some dims; None without a store."""
    if group is None:
        return None
    names = [str(name) for name in water.data_vars if water[name].dims in dims and name not in _GROUND]
    roles, fields = ["data"], {"bands": stac_fields.bands(sorted(names))} if names else {}
    return pystac.Asset(group, "Store of lakecube", None, pystac.MediaType.ZARR, roles, fields)


def _file_asset(file: Exported, place: _Place) -> pystac.Asset:
    path = strip_signature(file.path)
    fields: dict[str, Any] = {}
    if file.variable is not None:
        spec = VARIABLES[file.variable]
        fields = {
            "bands": [{"name": spec.name, "description": spec.long_name}],
            **stac_fields.numbers(spec, file.dtype),
            **place.projection,
            "raster:sampling": "area",
            "raster:spatial_resolution": place.resolution,
        }
    return pystac.Asset(path, file.title, None, MEDIA_TYPES[Path(path).suffix], ["data"], fields)


def _definition(asset: pystac.Asset) -> pystac.ItemAssetDefinition:
    """What assets of one key have in common, for the Collection."""
    return pystac.ItemAssetDefinition({name: value for name, value in asset.to_dict().items() if name != "href"})


def _extensions(text: str) -> list[str]:
    return [url for prefix, url in _PREFIXES.items() if f'"{prefix}' in text]


def _description(water: xr.Dataset) -> str:
    first, last = (str(day) for day in np.sort(water[TIME].values).astype("datetime64[D]")[[0, -1]])
    count = water.sizes[TIME]
    return f"Surface water, {count} {'date' if count == 1 else 'dates'} from {first} to {last}, made by lakecube."


def _aware(moment: Any) -> dt.datetime:
    return np.datetime64(moment, "us").item().replace(tzinfo=dt.UTC)
