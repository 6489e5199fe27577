"""`lakecube train`: its options."""

from __future__ import annotations

from typing import Any

from lakecube.arguments.common import add_channels, add_common, new_command
from lakecube.models.presets import PATCH_PRESET, PRESETS

_EXAMPLES = """examples:
  lakecube train lakes --out runs/lakes                        lakes/images/NAME.jpg and lakes/masks/NAME.png
  lakecube train lakes --channels blue green red --hold-out '0[13579]' --out runs/lakes
  lakecube train lakes --architecture linknet18 --preset quick --minutes 30 --precision bfloat16 --out runs/quick
  lakecube train mine --start linknet18-bgr --epochs 10,5 --rate 5e-5 --out runs/mine
  lakecube train --cube scenes.zarr --polygons lakes.gpkg --out runs/cube
  lakecube train --cube items.json --polygons drawn.geojson --column class --use green nir --out runs/two-bands

Masks are 0 for land, another number for water. The weights, a log (log.csv, log.json), its curve (curve.png) and a
checkpoint go to --out; the same command goes on where a run was stopped."""


def add_train(commands: Any) -> None:
    """`lakecube train`."""
    train = new_command(commands, "train", "train a network that maps water", _EXAMPLES)
    train.add_argument("folder", metavar="FOLDER", nargs="*", help="holds images/NAME.* and masks/NAME.*")
    train.add_argument("--cube", metavar="SOURCE", help="what `lakecube extract` opens, instead of folders")
    train.add_argument("--polygons", metavar="FILE", help="with --cube: water, or classes with --column")
    train.add_argument("--column", metavar="NAME", help="of the polygons: water or land; the rest is unknown")
    train.add_argument("--out", metavar="DIR", required=True, help="folder of the run")
    _add_samples(train.add_argument_group("samples"))
    _add_network(train.add_argument_group("network"))
    _add_training(train.add_argument_group("training"))
    add_common(train)


def _add_samples(group: Any) -> None:
    add = group.add_argument
    add("--bands", nargs="+", metavar="B",
        help="of folders the same as --channels; with --cube bands to read")  # fmt: skip
    add_channels(add)
    add("--use", nargs="+", metavar="B", help="bands to learn from (default: all)")
    add("--scale", type=float, metavar="S", help="reflectance is number x S (default: as declared; 8 bits: 1/255)")
    add("--offset", type=float, default=0.0, metavar="O", help="… plus O")
    add("--ignore", type=int, metavar="N", help="number in the masks that means unknown")
    add("--black", type=int, metavar="N", help="dark corners up to this number are beyond the scene, so unknown")
    add("--tile", type=int, default=256, metavar="PX", help="side of a tile (default: %(default)s)")
    add(
        "--keep-empty",
        type=float,
        default=0.0,
        metavar="S",
        help="share of the tiles without water to keep (default: 0)",
    )
    add("--validation", type=float, default=0.2, metavar="S", help="share of the scenes to validate on (default: 0.2)")
    add("--hold-out", action="append", default=[], metavar="NAME",
        help="scenes to leave out, for a test; with * and []; may be repeated")  # fmt: skip


def _add_network(group: Any) -> None:
    add = group.add_argument
    add("--architecture", default="linknet50", metavar="A",
        help="linknet18, linknet34, linknet50 (default), unet, efficientnet-unet, sapcnn")  # fmt: skip
    add("--set", action="append", default=[], metavar="NAME=VALUE", dest="parameters",
        help="any option of the architecture; may be repeated")  # fmt: skip
    add("--start", metavar="MODEL", help="weights to begin with: a name or a .safetensors file")
    add("--encoder-only", action="store_true", help="take the encoder of --start alone")
    add("--name", metavar="NAME", help="of the weights (default: architecture and bands)")
    add("--licence", default="", metavar="TEXT", help="under which the weights may be used; kept in their file")


def _add_training(group: Any) -> None:
    add = group.add_argument
    add("--preset", choices=[*PRESETS, PATCH_PRESET], help="default: cao-2024; of sapcnn chen-2018")
    add("--epochs", metavar="N[,N]", help="instead of the preset's, for each of its phases")
    add("--rate", metavar="R[,R]", help="first learning rate, for each phase")
    add("--batch", type=int, metavar="N", help="tiles at a time")
    add("--augment", choices=["none", "turns", "colour", "strong"], help="how tiles are changed")
    add("--average", type=float, metavar="D", help="decay of a moving average of the weights (0: none)")
    add("--minutes", type=float, metavar="M", help="train so long instead of so many epochs")
    add("--seed", type=int, default=0, metavar="N", help="the same seed gives the same weights (default: 0)")
    add("--device", default="auto", metavar="D", help="cpu, cuda, … (default: a GPU if there is one)")
    add("--precision", default="auto", choices=["auto", "float32", "bfloat16", "float16"],
        help="of the network's products (default: float32 on a CPU, 16 bits on a GPU)")  # fmt: skip
    add("--workers", type=int, metavar="N", help="threads to use (default: all cores)")
    add("--mode", choices=["resume", "overwrite"], default="resume", help="if there is a run (default: resume)")
