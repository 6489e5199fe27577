"""`export`: a store as files of common formats, in a folder that can be handed on or put on the web."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from lakecube.errors import InvalidInputError
from lakecube.export.netcdf import to_netcdf
from lakecube.export.products import PRODUCTS, product_of
from lakecube.export.rasters import Compression, dtype_of, write_maps
from lakecube.export.stac import to_stac
from lakecube.io.out_files import outside_stores
from lakecube.io.stac_out import Exported
from lakecube.names import LAKE, TIME
from lakecube.series.areas import write_series
from lakecube.series.outlines import save_outlines

logger = logging.getLogger("lakecube")

#: Formats, and the suffix that names each.
FORMATS = {"cog": ".tif", "gpkg": ".gpkg", "geoparquet": ".parquet", "geojson": ".geojson", "csv": ".csv",
           "netcdf": ".nc"}  # fmt: skip


def export(
    water: xr.Dataset,
    path: str | Path,
    *,
    formats: Sequence[str] | None = None,
    products: Sequence[str] | None = None,
    date: Any = None,
    compress: Compression = "deflate",
    stac: bool = False,
) -> list[Exported]:
    """Write a store in other formats: maps, outlines of lakes, areas through time, all of it.

    Parameters
    ----------
    water : xr.Dataset
        A store.
    path : path
        A folder; or one file, whose suffix names the format.
    formats : sequence of {"cog", "gpkg", "geoparquet", "geojson", "csv", "netcdf"}, optional
        For a folder: ``<product>.tif`` of every product, ``lakes.gpkg`` (``.parquet``, ``.geojson``: outlines),
        ``areas.csv`` (every lake and date), ``water.nc`` (everything, or the products' variables); by default "cog".
    products : sequence of str, optional
        Maps of `PRODUCTS`; by default "frequency".
    date : str, date or list of these, optional
        Of maps of dates, and of a NetCDF file: dates, months, years or intervals; all by default.
    compress : {"deflate", "zstd"}
        Of GeoTIFFs.
    stac : bool
        For a folder: also write a STAC Collection that tells of the store and these files.

    Returns
    -------
    list of Exported
        What was written.

    Raises
    ------
    InvalidInputError
        If a format, a product or a date is none, or `path` lies in a store.
    StoreError
        If a file cannot be written; files are whole, or not there.
    """
    path = outside_stores(path).absolute()
    by_suffix = {suffix: name for name, suffix in FORMATS.items()}
    single = path.suffix in by_suffix and not path.is_dir()
    wanted = [by_suffix[path.suffix]] if single else list(formats or ["cog"])
    _check(path, single, wanted, formats, products, stac)
    if date is not None and "netcdf" not in wanted and not any(PRODUCTS[p].dated for p in products or ()):
        raise InvalidInputError(f"date={date!r}: none of these is by date; a product such as 'mask' is")
    if not single:
        path.mkdir(parents=True, exist_ok=True)
    made: list[Exported] = []
    for name in wanted:
        logger.info("%s of %s", name, path)
        made += list(_maps(water, path, products, date, compress)) if name == "cog" else [
            _one(water, name, path if single else path / _FILES[name], products, date)
        ]  # fmt: skip
    if stac:
        to_stac(water, path, exported=made)
    return made


_FILES = {"gpkg": "lakes.gpkg", "geoparquet": "lakes.parquet", "geojson": "lakes.geojson", "csv": "areas.csv",
          "netcdf": "water.nc"}  # fmt: skip


def _check(
    path: Path, single: bool, wanted: Sequence[str], formats: Sequence[str] | None, products: Sequence[str] | None,
    stac: bool,
) -> None:  # fmt: skip
    """Refuse what cannot be, before anything is written."""
    if unknown := [name for name in wanted if name not in FORMATS]:
        raise InvalidInputError(f"formats={unknown[0]!r}: choose from {', '.join(FORMATS)}")
    for name in products or ():
        product_of(name)
    if path.suffix and not single and not path.is_dir():
        known = ", ".join(FORMATS.values())
        raise InvalidInputError(f"{path.name}: no format has this suffix; give one of {known}, or a folder without")
    if single and formats and list(formats) != list(wanted):
        raise InvalidInputError(
            f"{path.name} is one file of format {wanted[0]}: give a folder for {', '.join(formats)}"
        )
    if single and wanted == ["cog"] and len(products or ()) > 1:
        raise InvalidInputError(
            f"{path.name} is one file, and {len(products or ())} products are asked for: give a folder"
        )
    if single and stac:
        raise InvalidInputError(f"STAC tells of a folder, and {path.name} is one file: give a folder")


def _maps(
    water: xr.Dataset, path: Path, products: Sequence[str] | None, date: Any, compress: Compression
) -> Iterator[Exported]:
    for name in products or ["frequency"]:
        made = PRODUCTS[name]
        dtype = dtype_of(made.make(water), water).name
        for file, k in write_maps(water, path, name, date if made.dated else None, compress):
            time = None if k is None else water[TIME].values[k]
            yield Exported(str(file), name, made.title or made.spec.long_name, made.variable, dtype, time)


def _one(water: xr.Dataset, name: str, path: Path, products: Sequence[str] | None, date: Any) -> Exported:
    if name == "netcdf":
        if products is None:
            return Exported(str(to_netcdf(water, path, date=date)), name, "All of the store, by CF")
        maps = [PRODUCTS[product].make(water) for product in products]
        some = xr.Dataset({str(layer.name): layer for layer in maps}, attrs=water.attrs)
        return Exported(str(to_netcdf(some, path, date=date)), name, f"By CF: {', '.join(products)}")
    if LAKE not in water.dims:
        raise InvalidInputError("there are no lakes yet: lakecube revise STORE makes them")
    if name == "csv":
        return Exported(str(write_series(water, path)), "areas", "Area of every lake on every date")
    return Exported(str(save_outlines(water, path)), f"lakes-{name}", "Outlines of lakes")
