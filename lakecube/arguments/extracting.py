"""`lakecube extract | plan | demo`: their options."""

from __future__ import annotations

import argparse
from typing import Any

from lakecube.arguments.common import add_channels, add_common, add_engine, new_command

_EXTRACT_EXAMPLES = """examples:
  lakecube extract https://earth-search.aws.element84.com/v1 --collection sentinel-2-l2a \\
      --bbox 105.6 26.7 105.9 27.0 --datetime 2021-04/2021-10 --query 'eo:cloud_cover<40' --out lake.zarr
  lakecube extract items.json --collection landsat-c2-l2 --dem dem.tif --out landsat.zarr
  lakecube extract items.json --threshold otsu --rules paper --composite month --out paper.zarr
  lakecube extract items.json --set ndvi_max=0.3 --set slope_max=20 --out tuned.zarr
  lakecube extract picture.jpg --method linknet50 --out picture.zarr
  lakecube extract bgr.png --channels blue green red --method linknet50 --out picture.zarr
  lakecube extract items.json --method linknet50 --model mine.safetensors --set refine=crf --out net.zarr
  lakecube extract --list-parameters     every parameter, its default and its value in the paper

The same command again finishes a run that was stopped; --mode append adds new dates to a finished store."""

_PLAN_EXAMPLES = """examples:
  lakecube plan items.json --collection sentinel-2-l2a
  lakecube plan https://earth-search.aws.element84.com/v1 --collection sentinel-2-l2a \\
      --bbox 105.6 26.7 105.9 27.0 --datetime 2021 --json"""

_DEMO_EXAMPLES = """examples:
  lakecube demo
  lakecube demo --out somewhere          keeps the archive, the store and the picture there"""


class _ListParameters(argparse.Action):
    """Print the parameters of the method and stop, as --help does."""

    def __call__(self, _parser: Any, given: argparse.Namespace, *_: Any) -> None:
        from lakecube.commands import list_parameters

        print(list_parameters(getattr(given, "method", "fusion")))
        raise SystemExit(0)


def add_demo(commands: Any) -> None:
    """`lakecube demo`."""
    demo = new_command(commands, "demo", "the whole chain on a small made-up archive with known truth", _DEMO_EXAMPLES)
    demo.add_argument("--out", metavar="DIR", default="lakecube-demo", help="where files go (default: %(default)s)")
    demo.add_argument("--size", type=int, default=None, metavar="PX", help=argparse.SUPPRESS)
    demo.add_argument("--dates", type=int, default=None, metavar="N", help=argparse.SUPPRESS)
    add_common(demo)


def add_extract(commands: Any) -> None:
    """`lakecube extract`."""
    extract = new_command(commands, "extract", "map water on every date and write a store", _EXTRACT_EXAMPLES)
    add_request(extract)
    add_output(extract)


def add_plan(commands: Any) -> None:
    """`lakecube plan`."""
    plan = new_command(
        commands, "plan", "what an extract would read, compute and hold; reads metadata only", _PLAN_EXAMPLES
    )
    add_request(plan)
    plan.add_argument("--speed", type=float, metavar="PX",
                      help="pixels that a thread reads and judges per second, as lakecube info --runs tells of an "
                      "earlier run (default: a laptop's)")  # fmt: skip
    add_output(plan, needed=False)


def add_request(command: argparse.ArgumentParser) -> None:
    """What to open, and how to judge it."""
    add = command.add_argument
    add("source", metavar="SOURCE", nargs="+", help="STAC API, catalogue, item or item file; GeoTIFFs; Zarr; NetCDF")
    add("--collection", metavar="C", action="append", help="collection to search; may be repeated")
    add("--bbox", nargs=4, type=float, metavar=("W", "S", "E", "N"), help="west south east north, in degrees")
    add("--datetime", metavar="T", help="a date, month or year, or an interval such as 2019/2021-06")
    add("--query", metavar="'k<20'", action="append", help="condition on an item property; may be repeated")
    add("--sensor", metavar="NAME", help="where the metadata do not tell it, e.g. landsat-oli-c2-l2")
    add("--bands", nargs="+", metavar="B", help="bands to read; or NAME=BAND of files: B03=green B11=swir16")
    add_channels(add)
    add("--crs", help="CRS of the result (default: that of most scenes)")
    add("--resolution", type=float, metavar="R", help="pixel size in units of the CRS (default: the finest band's)")
    add("--chunks", type=int, metavar="PX", help="pixels per chunk along y and x (default: 1024)")
    add("--dem", metavar="FILE", help="elevation in metres, path or URL; adds the slope rule")
    add("--offset", default="metadata", help="radiometric offset: metadata, audit or a number (default: metadata)")
    add("--nodata", metavar="N", help="number that means no data, or lowest,highest (default: the file's)")
    add("--no-cloud-mask", action="store_true", help="do not use the quality layers")
    add(
        "--cloud-buffer",
        type=float,
        default=40.0,
        metavar="M",
        help="metres around cloud that stay unknown (default: 40)",
    )
    add(
        "--method",
        default="fusion",
        help="fusion (default); linknet50 or sapcnn, neural networks; svm or rf, given --model",
    )
    add("--composite", choices=["month"], help="judge monthly composites instead of dates")
    add(
        "--model",
        default=None,
        metavar="NAME",
        help="of a network by name, or a .safetensors file; of svm and rf an .npz file",
    )
    add("--threshold", default=None, metavar="HOW",
        help="guarded, otsu, fixed, bimodal_tiles, or mndwi=0.1; of a network its probability, 0 to 1")  # fmt: skip
    add("--rules", default=None, metavar="HOW", help="evidence (default), paper or none")
    add("--set", action="append", default=[], metavar="NAME=VALUE", dest="parameters",
        help="any parameter of the method; may be repeated")  # fmt: skip
    add("--list-parameters", action=_ListParameters, nargs=0, help="list the parameters of the method and stop")


def add_output(command: argparse.ArgumentParser, needed: bool = True) -> None:
    """Where to write, and on what to compute."""
    add = command.add_argument
    add("--out", metavar="S.zarr", required=needed, help="directory of the store to write")
    add("--mode", choices=["resume", "append", "overwrite"], default="resume",
        help="what to do if the store is there (default: resume)")  # fmt: skip
    add_engine(command)
    add_common(command)
