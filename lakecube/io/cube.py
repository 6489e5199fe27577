"""`open`: any source of imagery to one lazy cube. Metadata are read here, pixels are not."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from dask.base import tokenize
from pyproj.exceptions import CRSError

from lakecube.checks import is_flag, is_number
from lakecube.errors import EmptySearchError, InvalidInputError, MissingBandError
from lakecube.io import arrays, rasters, sensors, stac, terrain
from lakecube.io.files import with_header
from lakecube.io.grids import PICTURE, choose_grid, chunk_sizes, share_covered
from lakecube.io.hrefs import check_href
from lakecube.io.lazy import BlockSource, build_cube, item_table
from lakecube.io.patience import Patience
from lakecube.io.ranges import accept_changes
from lakecube.io.reader import ReadSettings
from lakecube.io.records import ItemRecord, SourceGrid
from lakecube.io.request import kept_path, request_text
from lakecube.io.search_place import parse_bbox
from lakecube.io.signing import Signer
from lakecube.names import BANDS, ITEM

logger = logging.getLogger("lakecube.io")

#: Bands that `open` reads unless told otherwise: those `fusion` needs. `nir08` stands in where there is no `nir`.
DEFAULT_BANDS = ("blue", "green", "red", "rededge1", "nir", "nir08", "nir09", "swir16", "swir22")


def open(
    source: Any,
    *,
    collections: str | Sequence[str] | None = None,
    bbox: Sequence[float] | None = None,
    intersects: Any = None,
    datetime: Any = None,
    query: Mapping[str, Any] | None = None,
    sensor: str | None = None,
    bands: Sequence[str] | Mapping[str, str] | None = None,
    crs: Any = None,
    resolution: float | None = None,
    chunks: int | Mapping[str, int] | None = None,
    groupby: str = "solar_day",
    dem: Any = None,
    offset: str | float | Mapping[str, float] = "metadata",
    nodata: float | Sequence[float] | None = None,
    cloud_mask: bool = True,
    cloud_buffer: float = 40.0,
    sign: Callable[[str], str] | None = None,
    retries: int | Mapping[str, float] = 3,
    like: SourceGrid | None = None,
) -> xr.Dataset:
    """Open imagery as a lazy cube of surface reflectance.

    Parameters
    ----------
    source
        A STAC API URL; a path or URL of an Item, ItemCollection, static Catalog or Collection, or stac-geoparquet
        file; pystac objects; path(s) of GeoTIFFs, JPEGs or PNGs; a Zarr or NetCDF path; an `xr.Dataset`. A picture of
        bytes may lack CRS and date: its pixels are then the unit, and it has no place.
    collections, bbox, intersects, datetime, query
        The search. `bbox` is west, south, east, north in degrees, also where the result is cut; `datetime` is a date,
        an interval ``"2017/2021"`` or ``"../2020-06"``; `query` maps item properties to ``{"lt": 20}`` and the like.
    sensor
        Name in `lakecube.io.sensors.SENSORS`, where the metadata do not tell.
    bands
        STAC common names to read, or (for GeoTIFF and Datasets) a mapping from the names there to common names.
    crs, resolution
        Of the cube; by default the scenes' own grid (the majority's, where they lie in several zones).
    chunks
        Pixels per chunk along y and x, an int or ``{"y": …, "x": …}``; default 1024.
    groupby
        ``"solar_day"`` mosaics the items of one solar date; ``"time"`` keeps acquisition times apart.
    dem
        Elevation in metres: a raster path or URL, or a DataArray with a CRS. Adds `elevation` and `slope`.
    offset
        Radiometric offset: ``"metadata"`` (the collection's rule), ``"audit"`` (the rule, corrected where the data
        contradict it strongly), a number for all items, or a mapping from item id to number.
    nodata
        Of raster files: the number that means that nothing was observed, or the lowest and the highest such, as
        ``(250, 255)`` for white corners that JPEG blurred. By default what the file declares; its alpha band or mask
        counts in any case. A pixel of an 8-bit picture is without data where all its bands are.
    cloud_mask
        Decode the quality layers. Without, every valid pixel is ``clear_cloud_unknown``.
    cloud_buffer
        Metres around cloud, cirrus and cloud shadow that are taken as unknown (``cloud_adjacent``).
    sign
        Called with each remote href just before it is read; returns the href to read. On a cluster it is called by
        the workers: a function of a module they can import, such as ``planetary_computer.sign_url``.
    retries
        Further tries after a failed read, or a mapping of any of ``times`` (3), ``wait`` (0.5 s before the first one,
        doubled for each one after, with jitter), ``longest_wait`` (60 s, also where the server asks for more),
        ``total`` (300 s after which a read is given up) and ``timeout`` (30 s of silence, or of less than 1 kB/s).
        What stays unread is `read_failed`.
    like
        The pixels to use, instead of those that the scenes, `bbox`, `crs` and `resolution` suggest: how a request
        is repeated when there are more scenes.

    Returns
    -------
    xr.Dataset
        Dims (time, y, x). One float32 variable per band (reflectance, 1; NaN where not observed; of an 8-bit picture
        its numbers / 255, noted by the attribute ``radiometry="display"``), `observation`
        (uint8 flags), with a DEM `elevation` (m) and `slope` (degree); CRS in `spatial_ref`; the items in coordinates
        along `item`.

    Raises
    ------
    EmptySearchError
        If nothing matches; says what was searched and what there is.
    InvalidInputError, MissingBandError, ReadError
        For arguments that contradict each other, bands no item has, metadata that cannot be read.

    Notes
    -----
    Chunks: (1, chunks, chunks), from the upper left corner. Law: exact. Lazy: reads metadata only.
    One task reads all bands of a chunk of a date.

    Examples
    --------
    >>> cube = lakecube.open("items.json", bbox=(105.0, 26.3, 106.8, 27.8))  # doctest: +SKIP
    """
    asked = dict(locals())
    _check_options(bands, resolution, cloud_buffer, offset, sensor, cloud_mask)
    patience = Patience.of(retries)
    sign = None if sign is None else Signer(sign)
    accept_changes()
    chunk_sizes(chunks)
    if isinstance(source, xr.Dataset) or arrays.is_array_path(source):
        _refuse(collections=collections, intersects=intersects, query=query, sensor=sensor, crs=crs,
                resolution=resolution, groupby=None if groupby == "solar_day" else groupby,
                offset=None if isinstance(offset, str) and offset == "metadata" else offset, sign=sign,
                cloud_mask=None if cloud_mask is True else cloud_mask,
                cloud_buffer=None if cloud_buffer == 40.0 else cloud_buffer,
                nodata=nodata, retries=None if retries == 3 else retries)  # fmt: skip
        cube = arrays.open_arrays(source, bands=bands, chunks=chunks, datetime=datetime, bbox=bbox, dem=dem)
        return cube.assign_attrs(request=request_text(asked, None))
    records = _records(
        source, collections, bbox, intersects, datetime, query, sensor, bands, offset, nodata, patience
    )  # fmt: skip
    wanted = _wanted_bands(records, None if isinstance(bands, Mapping) else bands)
    offered = {band for record in records for band in record.bands} - set(wanted)
    for record in records:
        _check_hrefs(record)
    _check_place(records, bbox=bbox, intersects=intersects, crs=crs, dem=dem)
    records = [with_header(replace(r, bands={b: r.bands[b] for b in wanted}), sign, patience) for r in records]
    box = _box(bbox, intersects)
    grid, others = _grid(records, box, crs, resolution) if like is None else (like, [])
    _warn_other_crs(grid, others, crs)
    if collections is None and bands is None:
        _warn_several_sensors(records, wanted, offered, grid)
    dates = _group(records, groupby)
    settings = ReadSettings(
        grid=grid,
        bands=wanted,
        cloud_mask=cloud_mask,
        cloud_buffer=_buffer_pixels(cloud_buffer, grid),
        patience=patience,
        sign=sign,
        offset_audit=offset == "audit",
    )
    block_source = BlockSource(settings, tuple(dates.values()), chunk_sizes(chunks))
    cube = build_cube(block_source, list(dates))
    cube = cube.assign_coords(item_table(dates, wanted) | _looked_for_cloud(dates, cloud_mask))
    if dem is not None:
        cube = terrain.add_terrain(cube, dem, grid)
    cube.attrs.update(_describe(source, block_source, dem, offset, sensor, groupby))
    cube.attrs["request"] = request_text(asked, grid)
    return cube


def _check_options(
    bands: Any, resolution: Any, cloud_buffer: Any, offset: Any, sensor: Any, cloud_mask: Any
) -> None:  # fmt: skip
    """Raise InvalidInputError for values that no source could be opened with."""
    names = (bands,) if isinstance(bands, str) else bands
    if names is not None and not (
        isinstance(names, Mapping | list | tuple | set | frozenset | np.ndarray)
        and len(names) > 0
        and all(isinstance(name, str) for name in names)
    ):
        raise InvalidInputError(f"bands={bands!r}: names of bands are needed, such as ['green', 'swir16']")
    numbers = offset.values() if isinstance(offset, Mapping) else [] if isinstance(offset, str) else [offset]
    if not all(map(is_number, numbers)):
        raise InvalidInputError(
            f"offset={offset!r}: 'metadata', 'audit', a number in reflectance or a mapping of item id to one is needed"
        )
    if sensor is not None and not isinstance(sensor, str):
        raise InvalidInputError(f"sensor={sensor!r}: a name is needed, one of {', '.join(sensors.SENSORS)}")
    if resolution is not None and not (is_number(resolution) and resolution > 0):
        raise InvalidInputError(f"resolution={resolution!r}: a pixel size in units of the CRS is needed, above 0")
    if not (is_number(cloud_buffer) and cloud_buffer >= 0):
        raise InvalidInputError(f"cloud_buffer={cloud_buffer!r}: metres are needed, 0 or more")
    if not is_flag(cloud_mask):
        raise InvalidInputError(f"cloud_mask={cloud_mask!r}: True or False is needed")


def _refuse(**options: Any) -> None:
    """Raise InvalidInputError for options that arrays cannot honour."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise InvalidInputError(
            f"{', '.join(given)}: for files and STAC items only; a Dataset, Zarr or NetCDF holds reflectance on a grid "
            "already (bring it to another with ds.rio.reproject first), and its observation is taken as it is"
        )


def _check_hrefs(record: ItemRecord) -> None:
    """Raise UnsafeHrefError before anything is read if an item points to what it may not."""
    for source in (*record.bands.values(), *record.qa.values()):
        check_href(source.href, local=record.local, item=record.id)


def _check_place(records: list[ItemRecord], **asked: Any) -> None:
    """Raise InvalidInputError where a picture that tells no place is asked for by place, or lies beside others."""
    placed = {s.grid is None or s.grid.crs != PICTURE for r in records for s in r.bands.values()}
    given = [name for name, value in asked.items() if value is not None]
    if False in placed and (given or True in placed):
        what = f"{', '.join(given)} cannot be honoured" if given else "it cannot be opened together with files that do"
        raise InvalidInputError(f"a picture without a CRS tells no place, so {what}: write its CRS and transform first")


def _records(
    source: Any, collections: Any, bbox: Any, intersects: Any, datetime: Any, query: Any, sensor: Any, bands: Any,
    offset: Any, nodata: Any, patience: Patience,
) -> list[ItemRecord]:  # fmt: skip
    """Item records of any source that is read file by file, newest of each datatake, oldest date first."""
    if rasters.is_raster_source(source):
        if collections is not None or query is not None:
            raise InvalidInputError("collections= and query= search catalogues; raster files have neither")
        records = rasters.describe_rasters(
            source, bands=bands, datetime=datetime, sensor=sensor, offset=offset, nodata=nodata, patience=patience
        )
    else:
        if nodata is not None:
            raise InvalidInputError("nodata= is for raster files; STAC items declare theirs")
        if isinstance(bands, Mapping):
            raise InvalidInputError("bands= as a mapping is for GeoTIFFs and Datasets; STAC items name their bands")
        terms = stac.parse_terms(
            collections=collections, bbox=bbox, intersects=intersects, datetime=datetime, query=query
        )
        records = _without_doubles(
            stac.map_items(
                lambda item, local: sensors.describe_item(item, sensor=sensor, offset=offset, local=local),
                source,
                terms,
            )
        )
    newest, superseded = sensors.select_newest(records)
    for left, kept in superseded:
        logger.info("%s is left out: %s is a newer copy of the scene", left, kept)
    return sorted(newest, key=lambda r: (r.time, r.id))


def _without_doubles(records: list[ItemRecord]) -> list[ItemRecord]:
    """Without what a server sent twice: pages can overlap while it is written to."""
    by_id: dict[tuple[str, str], list[ItemRecord]] = {}
    for record in records:
        same = by_id.setdefault((record.collection, record.id), [])
        if record not in same:
            same.append(record)
    return [record for same in by_id.values() for record in same]


def _wanted_bands(records: list[ItemRecord], bands: Sequence[str] | None) -> tuple[str, ...]:
    """The bands to read: those asked for, or the default ones that every item has."""
    shared = set.intersection(*(set(r.bands) for r in records))
    if bands is None:
        wanted = tuple(b for b in DEFAULT_BANDS if b in shared and not (b == "nir08" and "nir" in shared))
        if not wanted:
            raise MissingBandError(
                f"the scenes share none of {', '.join(DEFAULT_BANDS)}; they have {_bands_of(records)}"
            )
        return wanted
    if isinstance(bands, str):
        bands = (bands,)
    common = {b: _common_name(b, records) for b in bands}
    unknown = [b for b, name in common.items() if name not in shared]
    if unknown:
        where = "every scene" if len(records) > 1 else records[0].id
        raise MissingBandError(
            f"no band {', '.join(map(repr, unknown))} in {where}; seen: {_bands_of(records)}. "
            f"Bands go by STAC common names: {', '.join(BANDS)}"
        )
    return tuple(b for b in BANDS if b in common.values())


def _common_name(band: str, records: list[ItemRecord]) -> str:
    """The common name of what all sensors of some items call so, such as ``"B03"``; unchanged where there is none."""
    if band in BANDS:
        return band
    names = {r.sensor: rasters.known_names(r.sensor if r.sensor in sensors.SENSORS else None)[0] for r in records}
    meant = {sensor: known.get(band.lower(), "") for sensor, known in names.items()}
    if len(set(meant.values())) > 1:
        each = ", ".join(f"{name or 'nothing'} of {sensor}" for sensor, name in sorted(meant.items()))
        raise MissingBandError(f"band {band!r} is {each}: use STAC common names ({', '.join(BANDS)})")
    return next(iter(meant.values())) or band


def _bands_of(records: list[ItemRecord]) -> str:
    by_sensor: dict[str, set[str]] = {}
    for record in records:
        by_sensor.setdefault(record.sensor, set(record.bands)).intersection_update(record.bands)
    return "; ".join(f"{s}: {', '.join(b for b in BANDS if b in names)}" for s, names in sorted(by_sensor.items()))


def _box(bbox: Any, intersects: Any) -> tuple[float, float, float, float] | None:
    if bbox is not None and intersects is not None:
        raise InvalidInputError("give either bbox or intersects, not both")
    if bbox is not None:
        return parse_bbox(bbox)
    if intersects is not None:
        return stac.bounds_of(intersects)
    return None


def _grid(records: list[ItemRecord], bbox: Any, crs: Any, resolution: float | None) -> tuple[SourceGrid, list[str]]:
    if crs is not None:
        import pyproj

        try:
            crs = pyproj.CRS.from_user_input(crs).to_string()
        except pyproj.exceptions.CRSError as error:
            raise InvalidInputError(f"crs={crs!r} is no CRS; use a code such as 'EPSG:32648'") from error
    grids = [source.grid for record in records for source in record.bands.values() if source.grid is not None]
    try:
        grid, others = choose_grid(grids, bbox=bbox, crs=crs, resolution=resolution)
    except CRSError as error:
        raise InvalidInputError(f"the CRS of a scene, by its proj:wkt2 or proj:projjson, is none: {error}") from error
    share = share_covered(grids, grid)
    if share < 0.05:
        warnings.warn(
            f"the scenes cover {share:.2g} of the cube, the rest is empty: do they lie far apart? Give bbox=, or open "
            "them one place at a time",
            stacklevel=3,
        )
    return grid, others


def _warn_other_crs(grid: SourceGrid, others: list[str], crs: Any) -> None:
    if others and crs is None:
        warnings.warn(
            f"the scenes lie in several CRS ({', '.join([grid.crs, *others])}): the cube is in the majority's, "
            f"{grid.crs}; pass crs= (and resolution=) to choose another",
            stacklevel=3,
        )


def _warn_several_sensors(
    records: list[ItemRecord], wanted: tuple[str, ...], offered: set[str], grid: SourceGrid
) -> None:
    """Say what a cube of several sensors in several collections has lost by them."""
    names = sorted({(r.collection, r.sensor) for r in records})
    if len({c for c, _ in names}) < 2 or len({s for _, s in names}) < 2:
        return
    alike = {"nir", "nir08"} if "nir" in wanted else set()
    lost = ", ".join(b for b in DEFAULT_BANDS if b in offered - alike) or "none"
    warnings.warn(
        f"the source holds several collections ({', '.join(f'{c} of {s}' for c, s in names)}): the cube is on pixels "
        f"of {abs(grid.transform[0]):g} in {grid.crs} and has only the bands they share ({', '.join(wanted)}; left "
        f"out: {lost}); pass collections= to open one",
        stacklevel=3,
    )


def _group(records: Iterable[ItemRecord], groupby: str) -> dict[np.datetime64, tuple[ItemRecord, ...]]:
    if groupby not in ("solar_day", "time"):
        raise InvalidInputError(f"groupby={groupby!r}: use 'solar_day' or 'time'")
    groups: dict[np.datetime64, list[ItemRecord]] = {}
    for record in records:
        key = record.solar_day if groupby == "solar_day" else record.time
        groups.setdefault(key.astype("datetime64[ns]"), []).append(record)
    return {key: tuple(groups[key]) for key in sorted(groups)}


def _buffer_pixels(metres: float, grid: SourceGrid) -> int:
    import pyproj

    size = abs(grid.transform[0])
    if pyproj.CRS.from_user_input(grid.crs).is_geographic:
        size *= 111_320.0
    return round(metres / size)


def _looked_for_cloud(dates: Mapping[np.datetime64, tuple[ItemRecord, ...]], cloud_mask: bool) -> dict[str, Any]:
    """Per item whether a quality layer was decoded; without one nobody looked for cloud."""
    has = [np.uint8(cloud_mask and bool(record.qa)) for records in dates.values() for record in records]
    attrs = {"long_name": "quality layer decoded", "flag_values": np.array([0, 1], np.uint8), "flag_meanings": "no yes"}
    return {"item_has_quality": (ITEM, np.array(has), attrs)}


def _plain(offset: Any) -> Any:
    return {str(k): float(v) for k, v in offset.items()} if isinstance(offset, Mapping) else float(offset)


def _describe(
    source: Any, blocks: BlockSource, dem: Any, offset: Any, sensor: str | None, groupby: str
) -> dict[str, Any]:
    """Attributes: where the cube came from, and the token of everything its numbers depend on."""
    from lakecube.io.hrefs import strip_signature

    records, settings = blocks.items, blocks.settings
    text = strip_signature(str(source)) if isinstance(source, str | Path) else type(source).__name__
    terrain_from = None if dem is None else kept_path(dem) or tokenize(dem)
    how = {
        "bands": list(settings.bands),
        "cloud_buffer_pixels": settings.cloud_buffer,
        "cloud_mask": settings.cloud_mask,
        "dem": terrain_from,
        "groupby": groupby,
        "offset": offset if isinstance(offset, str) else _plain(offset),
        "sensor": sensor,
    }
    return {
        "title": f"lakecube cube of {', '.join(sorted({r.sensor for r in records}))}",
        "source": text,
        "collections": " ".join(sorted({r.collection for r in records if r.collection})),
        "configuration": json.dumps(how, sort_keys=True),
        "input_token": tokenize(blocks.items_token, settings.grid, how),
    }


__all__ = ["DEFAULT_BANDS", "EmptySearchError", "open"]
