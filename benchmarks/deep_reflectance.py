"""``python -m benchmarks.deep_reflectance``: the packaged networks of reflectance beside an index above 0.

Agreement (IoU) with the water bit of Fmask over the clear pixels of `places`, of two places that no packaged network
has learnt from and of the thirteen that they did learn from. Fmask is a product, and all places lie in one floodplain:
this says how well the networks follow it on such ground, and is no measure of accuracy.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

import numpy as np
import xarray as xr

from benchmarks import accuracy
from benchmarks import real_scenes as real
from benchmarks.accuracy import Method
from benchmarks.real_scenes import Scene
from lakecube.models import registry
from lakecube.models.predictor import predict

#: Places that were left out of the training; they share pixels with each other and with no other.
HELD_OUT = ("p03", "p10")


def network(name: str) -> Method:
    """A method: a network that thinks water more likely than not."""

    def water(scene: Scene) -> np.ndarray:
        dims = "time", "y", "x"
        cube = xr.Dataset({b: (dims, v[np.newaxis]) for b, v in scene.bands.items()})
        cube["observation"] = dims, scene.observation[np.newaxis]
        return predict(cube, name, device="cpu").values[0] > 0.5

    return water


def methods() -> dict[str, Method]:
    """The indices, and the networks of reflectance in the package."""
    names = [n for n, spec in registry.available().items() if spec.radiometry == "reflectance" and spec.patch is None]
    return {
        "NDWI > 0": accuracy.above("ndwi", 0), "MNDWI > 0": accuracy.above("mndwi", 0),
        **{name: network(name) for name in names},
    }  # fmt: skip


def agreement(method: Method, scenes: Iterable[Scene]) -> float:
    """IoU over the judged pixels of all scenes together."""
    both = either = 0
    for scene in scenes:
        judged = np.isin(scene.observation, accuracy.JUDGED_CODES)
        assert scene.reference is not None
        found, wet = method(scene)[judged], scene.reference[judged]
        both, either = both + int((found & wet).sum()), either + int((found | wet).sum())
    return both / either if either else float("nan")


def table(scenes: Sequence[Scene]) -> dict[str, tuple[float, float]]:
    """By method: the agreement on places held out, and on those learnt from."""
    held = [scene for scene in scenes if scene.name.partition("/")[0] in HELD_OUT]
    learnt = [scene for scene in scenes if scene.name.partition("/")[0] not in HELD_OUT]
    return {name: (agreement(method, held), agreement(method, learnt)) for name, method in methods().items()}


def main() -> None:
    if not real.is_available("places"):
        sys.exit("the places are not there: set LAKECUBE_DATA to the folder that holds them")
    scenes = list(real.places())
    print(f"IoU with Fmask, clear pixels of {len(scenes)} Landsat patches\n")
    print(f"| | {' and '.join(HELD_OUT)}, held out | the other places, learnt from |\n| --- | --- | --- |")
    for name, (held, learnt) in table(scenes).items():
        print(f"| {name} | {held:.3f} | {learnt:.3f} |")


if __name__ == "__main__":
    main()
