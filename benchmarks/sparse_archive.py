"""A large archive that takes little room: sparse COGs with real lakes in a share of their blocks, under many dates.

Three scenes are written; every date is one of them under another name, in files of its own (links). A block of 1350²
pixels of 10 m is clear (synthetic lakes, from `lakecube.synthetic`), cloud, or not acquired; of the last two the
files hold nothing but the quality layer's word.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.windows import Window

from lakecube.synthetic import make_archive

#: Asset, pixel size (m) and bytes of a pixel of what is read of a scene.
ASSETS = {
    "blue": (10, 2), "green": (10, 2), "red": (10, 2), "nir": (10, 2), "rededge1": (20, 2), "swir16": (20, 2),
    "swir22": (20, 2), "nir09": (60, 2), "scl": (20, 1),
}  # fmt: skip
SCENES, BLOCK, CHIP = 3, 1350, 1020
_CLOUD = 9


def nominal_bytes(side: int) -> int:
    """Bytes of one scene of `side`² pixels of 10 m, not compressed."""
    return sum((side * 10 // pixel) ** 2 * size for pixel, size in ASSETS.values())


def make(folder: Path, side: int, dates: int, clear: float = 1 / 16, block: int = BLOCK, chip: int = CHIP) -> Path:
    """Write scenes of `side`² pixels (a multiple of 60) and an ItemCollection of `dates` of them; its path."""
    archive = make_archive(folder / "chips", shape=(chip, chip), dates=SCENES, bands=[a for a in ASSETS if a != "scl"],
                           clouds=0.1, missing=0, dem=False)  # fmt: skip
    collection = json.loads(archive.items_path.read_text())
    features = collection["features"][:SCENES]
    for number, feature in enumerate(features):
        (folder / f"scene{number}").mkdir()
        for name in ASSETS:
            href = archive.items_path.parent / feature["assets"][name]["href"]
            _enlarge(href, folder / f"scene{number}" / f"{name}.tif", name, side, number, clear, block)
    items = [_item(folder, features[k % SCENES], k, side) for k in range(dates)]
    path = folder / "items.json"
    path.write_text(json.dumps({**collection, "features": items}))
    return path


def _kinds(blocks: int, scene: int, clear: float) -> np.ndarray:
    """What every block of a scene is: 0 clear, 1 cloud, 2 not acquired; the first is clear."""
    chance = np.random.default_rng(scene).permutation(blocks**2).reshape(blocks, blocks)
    kinds = np.where(chance < max(2, round(clear * blocks**2)), 0, 1 + (chance % 2))
    kinds[0, 0] = 0
    return kinds


def _enlarge(chip: Path, target: Path, name: str, side: int, scene: int, clear: float, block: int) -> None:
    """A sparse file that shows a chip over and over, in its clear blocks."""
    pixel, _ = ASSETS[name]
    size, step, kinds = side * 10 // pixel, max(block * 10 // pixel, 1), _kinds(-(-side // block), scene, clear)
    with rasterio.open(chip) as file:
        numbers = file.read(1)
        profile = {**file.profile, "driver": "GTiff", "height": size, "width": size, "tiled": True,
                   "blockxsize": 512, "blockysize": 512, "compress": "deflate", "SPARSE_OK": True}  # fmt: skip
    repeats = -(-step // numbers.shape[0])
    filled = np.tile(numbers, (repeats, repeats))[:step, :step]
    with rasterio.open(target, "w", **profile) as file:
        for (i, j), kind in np.ndenumerate(kinds):
            rows, columns = min(step, size - i * step), min(step, size - j * step)
            if min(rows, columns) <= 0 or (kind and name != "scl") or kind == 2:
                continue
            values = filled if kind == 0 else np.full_like(filled, _CLOUD)
            file.write(values[:rows, :columns], 1, window=Window(j * step, i * step, columns, rows))


def _item(folder: Path, feature: dict[str, Any], number: int, side: int) -> dict[str, Any]:
    """The item of one date: a scene under another name."""
    item = json.loads(json.dumps(feature))
    day = np.datetime64("1990-01-01") + 4 * number
    item["id"] = f"scene_{number}"
    item["properties"]["datetime"] = f"{day}T03:40:00Z"
    for name in ("s2:product_uri", "s2:datatake_id", "s2:granule_id"):
        item["properties"].pop(name, None)
    (folder / item["id"]).symlink_to(f"scene{number % SCENES}")
    item["assets"] = {name: asset for name, asset in item["assets"].items() if name in ASSETS}
    for name, asset in item["assets"].items():
        asset["href"] = f"./{item['id']}/{name}.tif"
        asset["proj:shape"] = [side * 10 // ASSETS[name][0]] * 2
    return item
