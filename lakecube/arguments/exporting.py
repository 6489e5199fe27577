"""`lakecube export`: its options."""

from __future__ import annotations

from typing import Any

from lakecube.arguments.common import add_common, add_engine, new_command

#: Spelled here too, so that `--help` waits for nothing: those of `lakecube.export`, a test compares them.
FORMATS = ("cog", "gpkg", "geoparquet", "geojson", "csv", "netcdf")
PRODUCTS = ("frequency", "occurrence", "recurrence", "seasonality", "transitions", "extent", "count_wet", "count_clear",
            "lakes", "mask", "filled", "probability", "reason", "rules")  # fmt: skip

_EXPORT_EXAMPLES = """examples:
  lakecube export lake.zarr frequency.tif                              water frequency as a Cloud Optimized GeoTIFF
  lakecube export lake.zarr mask.tif --product mask --date 2022-11-21  one date
  lakecube export lake.zarr out --product mask frequency --date 2022   a folder: a file for every date of 2022
  lakecube export lake.zarr lakes.gpkg                                 outlines; also .parquet (GeoParquet), .geojson
  lakecube export lake.zarr areas.csv                                  every lake and date
  lakecube export lake.zarr out --format cog geoparquet csv --stac     a folder with a STAC catalogue of it

Files are whole or not there, and those of the same name are replaced."""


def add_export(commands: Any) -> None:
    """`lakecube export`."""
    command = new_command(commands, "export", "write a store in formats that other programs read", _EXPORT_EXAMPLES)
    add = command.add_argument
    add("store", metavar="STORE", help="a store")
    add("out", metavar="OUT", help="a folder, or a file: .tif, .gpkg, .parquet, .geojson, .csv or .nc")
    add("--format", nargs="+", choices=FORMATS, dest="formats", metavar="F",
        help=f"formats of a folder: {', '.join(FORMATS)} (default: cog)")  # fmt: skip
    add("--product", nargs="+", choices=PRODUCTS, dest="products", metavar="P",
        help=f"maps: {', '.join(PRODUCTS)} (default: frequency; of netcdf: all of the store)")  # fmt: skip
    add("--date", action="append", metavar="T",
        help="of maps of dates: a date, month, year or interval such as 2019/2021-06; may be repeated "
        "(default: all)")  # fmt: skip
    add("--compress", choices=("deflate", "zstd"), default="deflate",
        help="of GeoTIFFs; zstd is smaller and not read by every GDAL (default: %(default)s)")  # fmt: skip
    add("--stac", action="store_true", help="write a STAC Collection and Items into the folder as well")
    add_engine(command)
    add_common(command)
