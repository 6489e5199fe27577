"""``python -m benchmarks.deep_reflectance``: the packaged networks of reflectance beside an index above 0.

Networks of pixels, and of superpixels (`sapcnn`). Agreement (IoU) with the water bit of Fmask over the clear pixels of
`places`, of two places that no packaged network has learnt from and of the thirteen that they did learn from; and with
the truth of synthetic scenes of seeds that none learnt from. Fmask is a product, all places lie in one floodplain, and
synthetic scenes are made up: this says how well the networks follow these, and is no measure of accuracy.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from benchmarks import accuracy
from benchmarks import real_scenes as real
from benchmarks.accuracy import Method
from benchmarks.real_scenes import Scene
from lakecube.kernels.regions import number_regions
from lakecube.methods import sapcnn
from lakecube.models import registry
from lakecube.models.predictor import predict
from lakecube.models.superpixel_bands import PRICE
from lakecube.names import BANDS
from lakecube.refine.aslic import aslic
from lakecube.synthetic.cube import sentinel2_cube

#: Places that were left out of the training; they share pixels with each other and with no other.
HELD_OUT = ("p03", "p10")
#: First seed of the synthetic scenes, far from any that was learnt from, and their dates.
_SEED = 9000
_DATES = ("2023-02-10", "2023-05-05", "2023-08-20", "2023-11-11")


def synthetic(count: int = 6, side: int = 256) -> list[Scene]:
    """Made-up Sentinel-2 scenes, two dates of each place; wet where half of a pixel or more is."""
    found = []
    for k in range(count):
        dates = [_DATES[k % 2], _DATES[2 + k % 2]]
        cube, truth = sentinel2_cube((side, side), dates, seed=_SEED + k, clouds=0.1, dem=False, truth=True)
        for t, date in enumerate(dates):
            bands = {str(b): cube[b].values[t] for b in cube.data_vars if b in BANDS}
            wet = truth["water_fraction"].values[t] >= 0.5
            found.append(Scene("synthetic", f"{k}/{date}", bands, cube["observation"].values[t], wet))
    return found


def network(name: str) -> Method:
    """A method: a network that thinks water of a pixel more likely than not."""

    def water(scene: Scene) -> np.ndarray:
        return predict(_cube(scene), name, device="cpu").values[0] > 0.5

    return water


def patches(model: str | Path) -> Method:
    """A method: `sapcnn` with these weights."""

    def water(scene: Scene) -> np.ndarray:
        return sapcnn.extract(_cube(scene), model=model, device="cpu")["water_mask"].values[0] == 1

    return water


def voted(scene: Scene) -> np.ndarray:
    """The best that any classifier of `sapcnn`'s superpixels can do: the majority of the truth in each."""
    cube = _cube(scene).isel(time=0)
    labels = aslic(cube, price=PRICE).values
    assert scene.reference is not None
    number, n = number_regions(labels)
    seen = number >= 0
    wet = np.bincount(number[seen], scene.reference[seen], minlength=n + 1)
    return seen & (2 * wet > np.bincount(number[seen], minlength=n + 1))[number]


def _cube(scene: Scene) -> xr.Dataset:
    dims, (rows, columns) = ("time", "y", "x"), scene.observation.shape
    cube = xr.Dataset({band: (dims, values[np.newaxis]) for band, values in scene.bands.items()})
    cube["observation"] = dims, scene.observation[np.newaxis]
    time = np.array(["2020-01-01"], "datetime64[ns]")
    return cube.assign_coords(time=time, y=-np.arange(rows, dtype=float), x=np.arange(columns, dtype=float))


def methods() -> dict[str, Method]:
    """The indices, and the networks of reflectance in the package."""
    found = {"NDWI > 0": accuracy.above("ndwi", 0), "MNDWI > 0": accuracy.above("mndwi", 0)}
    for name, spec in registry.available().items():
        if spec.radiometry == "reflectance":
            found[name] = network(name) if spec.patch is None else patches(name)
    return found | {"Fmask or truth, voted by A-SLIC": voted}


def agreement(method: Method, scenes: Iterable[Scene]) -> float:
    """IoU over the judged pixels of all scenes together."""
    both = either = 0
    for scene in scenes:
        judged = np.isin(scene.observation, accuracy.JUDGED_CODES)
        assert scene.reference is not None
        found, wet = method(scene)[judged], scene.reference[judged]
        both, either = both + int((found & wet).sum()), either + int((found | wet).sum())
    return both / either if either else float("nan")


def table(scenes: Sequence[Scene], made_up: Sequence[Scene]) -> dict[str, tuple[float, ...]]:
    """By method: the agreement on places held out, on those learnt from, and on synthetic scenes."""
    held = [scene for scene in scenes if scene.name.partition("/")[0] in HELD_OUT]
    learnt = [scene for scene in scenes if scene.name.partition("/")[0] not in HELD_OUT]
    kinds = held, learnt, made_up
    return {name: tuple(agreement(method, kind) for kind in kinds) for name, method in methods().items()}


def main() -> None:
    if not real.is_available("places"):
        sys.exit("the places are not there: set LAKECUBE_DATA to the folder that holds them")
    scenes = list(real.places())
    print(f"IoU with Fmask, clear pixels of {len(scenes)} Landsat patches\n")
    print(f"| | {' and '.join(HELD_OUT)}, held out | the other places, learnt from | synthetic |\n|{' --- |' * 4}")
    for name, row in table(scenes, synthetic()).items():
        print(f"| {name} | {' | '.join(f'{value:.3f}' for value in row)} |")


if __name__ == "__main__":
    main()
