"""STAC of a store or an extract, from what it knows of itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from lakecube.errors import InvalidInputError
from lakecube.io.hrefs import is_remote
from lakecube.io.out_files import outside_stores
from lakecube.io.stac_out import Exported, collection_of, save, slug
from lakecube.names import REASON
from lakecube.summary import QUICK_BLOCKS, AreaSeries, area_series, block_count, cloud_doubt

if TYPE_CHECKING:
    import pystac

_CLOUD = tuple(REASON[name] for name in ("cloud", "cirrus"))


def to_stac(
    water: xr.Dataset,
    path: str | Path | None = None,
    *,
    id: str | None = None,
    href: str | None = None,
    exported: Sequence[Exported] = (),
    cloud_cover: bool | None = None,
    license: str = "other",
) -> pystac.Collection:
    """A STAC 1.1 Collection with an Item per date and one of the revision; written to a folder if one is given.

    Parameters
    ----------
    water : xr.Dataset
        A store or an extract, with a CRS.
    path : path, optional
        Folder for ``collection.json`` and the Items, self-contained, with relative links.
    id : str, optional
        Of the Collection; by default the name of the store, or "water".
    href : str, optional
        Path or address of the Zarr store; a store on disk knows its own.
    exported : sequence of Exported
        Files that go with it: what `export` returns.
    cloud_cover : bool, optional
        Tell `eo:cloud_cover` and `eo:snow_cover` of every date, which reads `reason` once; by default if that has no
        more than 4096 blocks.
    license : str
        SPDX identifier, or "other".

    Returns
    -------
    pystac.Collection
        With its Items. Links lead nowhere yet, unless `path` was given: `normalize_and_save` of pystac writes it, too.

    Raises
    ------
    InvalidInputError
        If there is no CRS or no date, `id` is not safe in paths, or `path` lies in a store.

    Notes
    -----
    Extensions: projection 2.0, raster 2.0, classification 2.0 (classes from the table that CF's flags are from), eo
    1.1, processing 1.2. Each Item names the scenes it is made of, in `lakecube:source_items`, and links to those of a
    STAC API as `derived_from`. Signed parts of addresses are left out.
    """
    if path is not None:
        outside_stores(path)
    href = href or _own_place(water)
    name = id if id is not None else slug(Path(href.rstrip("/")).stem) if href else "water"
    cover = _cover(water, cloud_cover) if "reason" in water else {}
    files = [*exported, *_outlines(water, href)]
    found = collection_of(water, id=name, href=href, exported=files, cover=cover, license=license)
    if path is not None:
        save(found, Path(path).absolute())
    return found


def _own_place(water: xr.Dataset) -> str | None:
    """Where a store that was opened from disk lies."""
    place = water.encoding.get("source")
    if not isinstance(place, str):
        return None
    return place if is_remote(place) else str(Path(place).absolute())


def _outlines(water: xr.Dataset, href: str | None) -> list[Exported]:
    """The outlines of lakes that a store on disk holds."""
    if href is None or is_remote(href):
        return []
    file = Path(href) / f"lakes-{water.attrs.get('revision')}.parquet"
    return [Exported(str(file), "outlines", "Outlines of lakes, GeoParquet 1.1")] if file.is_file() else []


def _cover(water: xr.Dataset, asked: bool | None) -> dict[str, Any]:
    """Cloud and snow of every date as a share of what was acquired, in percent.

    NaN where nothing was, and where a scene has no quality layer: nobody looked for cloud.
    """
    if asked and water["reason"].sizes["time"] == 0:
        raise InvalidInputError("there is no date, so there is no cloud cover")
    if asked is False or (asked is None and block_count(water) > QUICK_BLOCKS):
        return {}
    series = area_series(water)
    looked = np.array([not cloud_doubt(water, date=day) for day in series.dates])  # or 0 % would be a claim
    shares = {"eo:cloud_cover": _CLOUD, "eo:snow_cover": (REASON["snow_ice"],)}
    return {name: np.where(looked, _percent(series, codes), np.nan) for name, codes in shares.items()}


def _percent(series: AreaSeries, codes: tuple[int, ...]) -> np.ndarray:
    acquired = series.total - series.by_reason[:, REASON["not_acquired"]]
    part = series.by_reason[:, codes].sum(axis=1)
    return np.divide(100 * part, acquired, out=np.full(part.shape, np.nan), where=acquired > 0)
