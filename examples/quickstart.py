"""The main job in a few lines, on a synthetic archive that is made on the spot: python examples/quickstart.py"""

from pathlib import Path

import lakecube
from lakecube.synthetic import make_archive

if __name__ == "__main__":
    folder = Path("quickstart")
    archive = make_archive(folder / "archive", shape=(256, 256), dates=4)

    cube = lakecube.open(archive.items_path, dem=archive.dem_path)  # metadata only
    print(cube.water.plan())
    store = cube.water.extract().water.to_zarr(folder / "water.zarr")
    store.water.plot(path=folder / "water.png")
    cube.water.plot(date="2022-07-09", water=store, path=folder / "date.png")
    west, south, east, north = archive.bbox
    print(store.water.explain((west + east) / 2, (south + north) / 2, "2022-07-09"))
