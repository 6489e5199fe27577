"""README and the pages of the site, run: block after block of a page, in a folder that holds what they speak of."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

import lakecube
from lakecube.cli import main
from lakecube.export import export
from lakecube.synthetic import make_archive
from tests.documents import Block, blocks, commands, pages
from tests.test_docs import SERVICES

#: Commands that are run with less to do: the same path, a tiny network, one epoch.
SHORTENED = {
    ("lakecube", "train"): ["--architecture", "unet", "--set", "width=2", "--tile", "64", "--epochs", "1,1"],
}
_SHAPE = (256, 256)
#: Run by `.ci/run`; made by the fixture; served until it is stopped, and tested in tests/dashboard.
_ELSEWHERE = ("pip ", "lakecube demo", "lakecube dashboard")


def _to_run(page: Path) -> list[Block]:
    """Blocks of Python, and of commands of lakecube."""
    found = [block for block in blocks(page) if block.runs and not block.source.startswith(_ELSEWHERE)]
    return [b for b in found if b.language == "python" or any(words[0] == "lakecube" for words in commands(b))]


RUN = [page for page in pages() if page.name not in SERVICES and _to_run(page)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What `lakecube demo` leaves, smaller; a store of it; and the files that pages call by name."""
    here = tmp_path_factory.mktemp("documents")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        make_archive("lakecube-demo/archive", shape=_SHAPE, dates=16, seed=0)
        cube = lakecube.open("lakecube-demo/archive/items.json", dem="lakecube-demo/archive/dem.tif")
        store = cube.water.extract().water.to_zarr("lakecube-demo/water.zarr", progress=False)
        for name in ("first.zarr", "lake.zarr", "fusion.zarr", "linknet50.zarr"):
            shutil.copytree("lakecube-demo/water.zarr", name)
        make_archive(".", shape=(64, 64), dates=2, seed=4)  # items.json, dem.tif
        _files(store)
        _pictures()
    return here


def _files(store):
    """References, and scenes in files."""
    export(store, "inventory.gpkg")
    lake = store.isel(lake=int(store.max_area.argmax("lake")))
    point = f"{float(lake.longitude)},{float(lake.latitude)}"
    Path("points.csv").write_text(f"lon,lat,class,date\n{point},water,2022-11-21\n105.51,26.985,land,2022-11-21\n")
    ring = [[105.5, 26.9], [105.6, 26.9], [105.6, 27.1], [105.5, 27.1], [105.5, 26.9]]
    Path("region.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    kind = {
        "driver": "GTiff",
        "crs": "EPSG:32648",
        "transform": rasterio.transform.from_origin(549600, 2986500, 30, 30),
    }
    occurrence = np.full((1, 90, 90), 100, "uint8")
    numbers = np.full((3, 40, 40), 9000, "uint16")
    for name, values, bands in (
        ("occurrence.tif", occurrence, ("occurrence",)),
        ("truth.tif", occurrence // 100, ("water",)),
        ("2021-06-01.tif", numbers, ("green", "nir08", "swir16")),
        ("2021-07-03.tif", numbers, ("green", "nir08", "swir16")),
        ("scene.tif", numbers, ("a", "b", "c")),
    ):
        shape = {"count": len(values), "height": values.shape[1], "width": values.shape[2], "dtype": values.dtype}
        with rasterio.open(name, "w", **kind, **shape) as file:
            file.write(values)
            file.descriptions, file.scales = bands, (0.0001,) * len(bands)


def _pictures():
    """A picture in either order of colours, and pictures with masks."""
    values = np.random.default_rng(0).integers(0, 255, (64, 64, 3), "uint8")
    Image.fromarray(values).save("picture.jpg")
    Image.fromarray(values[..., ::-1]).save("bgr.png")
    for part, array in (("images", values), ("masks", (values[..., 0] > 128).astype("uint8"))):
        Path("pictures", part).mkdir(parents=True)
        for name in "0123":
            Image.fromarray(array).save(f"pictures/{part}/{name}.png")


def _names(page: Path) -> dict:
    """What Python of a page may call by name without having made it."""
    if page.name != "README.md":
        return {}
    bands = lakecube.open("lakecube-demo/archive/items.json")[["green", "swir16"]]
    return {"dataset": bands.rename(green="B03", swir16="B11")}


def _run(block: Block, names: dict) -> None:
    if block.language == "python":
        exec(compile(block.source, block.place, "exec"), names)
    for words in commands(block):
        if words[0] == "lakecube" and not any("https://" in word for word in words):
            line = [_existing(word, before) for before, word in zip(["", *words], words, strict=False)]
            line += SHORTENED.get(tuple(words[:2]), [])
            if "--list-parameters" in line:
                with pytest.raises(SystemExit, match="0"):
                    main(line[1:])
            else:
                assert main(line[1:]) == 0, f"{block.place}: {' '.join(words)}"


def _existing(word: str, before: str) -> str:
    """The number of a lake of the demo; here, of the smaller store."""
    return str(int(lakecube.open_store("first.zarr").max_area.idxmax())) if before == "--lake" else word


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:(picture.jpg|bgr.png) tells no:UserWarning")  # CRS, nor date: as it should
@pytest.mark.parametrize("page", RUN, ids=lambda page: re.sub(r"\W", "-", str(page.name)))
def test_a_page_does_what_it_says(page, folder, monkeypatch):
    pytest.importorskip("torch", reason="README speaks of networks: pip install -c constraints.txt '.[deep]'")
    monkeypatch.chdir(folder)
    names = _names(page)
    for block in _to_run(page):
        _run(block, names)
