"""`lakecube lakes`, `update` and `revise`: their options."""

from __future__ import annotations

import argparse
from typing import Any

from lakecube.arguments.common import add_common, add_engine, new_command

_LAKES_EXAMPLES = """examples:
  lakecube lakes lake.zarr                               the largest lakes, and the last alerts
  lakecube lakes lake.zarr --lake 17 --plot lake17.png   one lake: every date with limits and interval, and a picture
  lakecube lakes lake.zarr --series areas.csv            every lake and date as a long table (.csv or .parquet)
  lakecube lakes lake.zarr --outlines lakes.gpkg         polygons (.parquet, .gpkg or .geojson)
  lakecube lakes lake.zarr --min-observed 0.8 --series areas.csv"""
_REVISE_EXAMPLES = """examples:
  lakecube revise lake.zarr                              counts, lakes and areas of all rows, if they are not up to date
  lakecube revise lake.zarr --set min_frequency=0.25     another extent; ids of lakes are kept
  lakecube revise lake.zarr --set restore=frequency
  lakecube revise copy.zarr --registry lake.zarr         go on with the lakes of another store"""


_UPDATE_EXAMPLES = """examples:
  lakecube update lake.zarr                              every night: what the archive has got since, then a revision
  lakecube update lake.zarr --until 2023-12-31
  lakecube update lake.zarr --retry                      also read dates anew whose imagery could not be read
  lakecube update lake.zarr --source items.json          the archive has moved
  lakecube update lake.zarr --source 2024-06-01.tif      of a store made of raster files: a new one"""


def add_lakes(commands: Any) -> None:
    """`lakecube lakes`."""
    lakes = new_command(commands, "lakes", "the lakes of a store and their areas through time", _LAKES_EXAMPLES)
    lakes.add_argument("store", metavar="STORE", help="a store")
    lakes.add_argument("--lake", type=int, metavar="ID", help="one lake, by its id")
    lakes.add_argument("--top", type=int, default=10, metavar="N", help="how many lakes to list (default: 10)")
    lakes.add_argument("--kind", choices=("lake", "river", "too_small", "all"), default="lake",
                       help="which water bodies to list, to add up and to write as series; all: also those outside the "
                       "extent (default: lake)")  # fmt: skip
    lakes.add_argument("--min-observed", type=float, default=0.0, metavar="SHARE",
                       help="leave out areas of dates on which less of a lake was seen (default: 0)")  # fmt: skip
    lakes.add_argument("--series", metavar="PATH", help="write every lake and date: .csv or .parquet")
    lakes.add_argument("--outlines", metavar="PATH", help="write the polygons: .parquet, .gpkg or .geojson")
    lakes.add_argument("--plot", metavar="PATH", help="with --lake: write a picture of it")
    add_common(lakes)


def add_revise(commands: Any) -> None:
    """`lakecube revise`."""
    revise = new_command(
        commands, "revise", "make counts, lakes and areas of a store anew from its rows", _REVISE_EXAMPLES
    )
    revise.add_argument("store", metavar="STORE", help="a store")
    add_revision_options(revise)
    revise.add_argument("--registry", metavar="STORE", help="go on with the lakes (their ids) of another store")
    add_engine(revise)
    add_common(revise)


def add_update(commands: Any) -> None:
    """`lakecube update`."""
    update = new_command(
        commands, "update", "add to a store what its archive has got since, and revise", _UPDATE_EXAMPLES
    )
    update.add_argument("store", metavar="STORE", help="a store that `lakecube extract` made")
    update.add_argument("--until", metavar="DATE", help="the last day to look at (default: today)")
    update.add_argument("--source", metavar="SOURCE", action="append",
                        help="where the archive is now, if not where it was; or a new raster file "
                        "(repeatable)")  # fmt: skip
    update.add_argument("--dem", metavar="PATH", help="where the DEM is now, if not where it was")
    update.add_argument("--retry", action="store_true", help="read dates anew that hold pixels which could not be read")
    update.add_argument("--no-revise", action="store_true", help="add rows only; `lakecube revise` makes the rest")
    add_revision_options(update)
    add_engine(update)
    add_common(update)


def add_revision_options(command: argparse.ArgumentParser) -> None:
    """Parameters of a revision."""
    command.add_argument("--set", dest="parameters", action="append", default=[], metavar="NAME=VALUE",
                         help="a parameter of the revision: restore, min_frequency, min_wet, connectivity, "
                         "lake_shapes, min_pixels, size_limits; NAME=null is the default again")  # fmt: skip
