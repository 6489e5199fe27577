"""`lakecube assess`: its options."""

from __future__ import annotations

from typing import Any

from lakecube.arguments.common import add_common, add_engine, new_command

_EXAMPLES = """examples:
  lakecube assess lake.zarr --reference points.csv             lon,lat,class[,date]: water or land
  lakecube assess lake.zarr --reference points.csv --by type   the same by type of water body
  lakecube assess lake.zarr --reference inventory.gpkg --within region.geojson --csv result.csv
  lakecube assess lake.zarr --reference occurrence.tif --codes jrc-occurrence --share 0.5
  lakecube assess lake.zarr --reference worldcover.tif --codes worldcover --date 2021-07-14 --json

  lakecube assess fusion.zarr linknet50.zarr --reference truth.tif --csv table.csv     one row for each

  lakecube assess lake.zarr --design points.csv --margin 0.03  draws a stratified random sample to be told by eye;
      fill in its column class (water, land, or nothing), then give it back with --reference: areas with intervals

Unknown pixels, of the store or of the reference, are counted apart and never as land."""


def add_assess(commands: Any) -> None:
    """`lakecube assess`."""
    assess = new_command(commands, "assess", "how right a store is, or where to look to find out", _EXAMPLES)
    assess.add_argument("stores", nargs="+", metavar="STORE", help="directory of a store; several make one table")
    what = assess.add_mutually_exclusive_group(required=True)
    what.add_argument("--reference", metavar="FILE", help="points (CSV or vectors), polygons of water, or a raster")
    what.add_argument("--design", metavar="FILE", help="draw points into this .csv or .geojson instead")
    assess.add_argument("--date", metavar="T", help="judge the map of this date (default: what is water often enough)")
    assess.add_argument("--share", type=float, default=0.5, metavar="S",
        help="what is often enough: water on this share of the clear dates (default: 0.5)")  # fmt: skip
    assess.add_argument("--confidence", type=float, default=0.95, metavar="C", help="of intervals (default: 0.95)")
    _add_reference(assess.add_argument_group("with --reference"))
    _add_design(assess.add_argument_group("with --design"))
    add_engine(assess)
    add_common(assess)


def _add_reference(group: Any) -> None:
    add, kind = group.add_argument, group.add_mutually_exclusive_group()
    for name, text in (("points", "of points"), ("polygons", "of polygons"), ("raster", "a raster")):
        kind.add_argument(f"--{name}", action="store_const", const=name, dest="kind", help=f"the reference is {text}")
    add("--codes", action="append", metavar="HOW", help="numbers of a raster: mask (default), jrc-occurrence, "
        "jrc-monthly, worldcover, or water=80,90 and another --codes unknown=0")  # fmt: skip
    add("--within", metavar="FILE", help="polygons beyond which the reference tells nothing")
    add("--by", metavar="COLUMN", help="share of right points by the values of a column")
    add("--size-bounds", default="0.1,1", metavar="KM2", help="borders of the size classes (default: %(default)s)")
    add("--edge-width", type=int, default=3, metavar="PX",
        help="tell the accuracy within PX of the reference's shores (default: %(default)s)")  # fmt: skip
    add("--no-objects", action="store_true", help="do not compare lakes as objects")
    add("--csv", metavar="FILE", help="write all numbers as a table, of several stores a row for each")


def _add_design(group: Any) -> None:
    add = group.add_argument
    add("--strata", default="shore", choices=["shore", "size"],
        help="land and water near and far from shores (default), or land and lakes by size")  # fmt: skip
    add("--n", type=int, metavar="N", help="points in all (default: as many as --margin takes)")
    add("--margin", type=float, default=0.03, metavar="M", help="± of the overall accuracy (default: 0.03)")
    add("--expected", action="append", metavar="U", help="user's accuracy that is expected: a number, or "
        "STRATUM=U, which may be repeated (default: 0.5, which takes most points)")  # fmt: skip
    add("--allocation", default="proportional", choices=["proportional", "equal", "neyman"],
        help="how points are shared out (default: proportional to area)")  # fmt: skip
    add("--least", type=int, default=50, metavar="N", help="points of every stratum (default: 50)")
    add("--buffer", type=int, default=3, metavar="PX", help="pixels on both sides of a shore (default: 3)")
    add("--seed", type=int, default=0, metavar="N", help="the same seed draws the same points (default: 0)")
