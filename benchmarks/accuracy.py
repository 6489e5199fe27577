"""Accuracy on real scenes: ``python -m benchmarks.accuracy [--json PATH]``.

One row per scene, one column per method. IoU of water against the scene's reference (see
`benchmarks.real_scenes`); false pixels where a scene has no water. One default for all scenes. Measured on the
kernels: no cloud buffer, every tile counted; `tests/test_real_scenes.py` goes through `open`
and `extract`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from benchmarks import real_scenes as real
from benchmarks.real_scenes import Scene
from lakecube.kernels import indices
from lakecube.kernels.histogram import count_tiles, decide_thresholds
from lakecube.kernels.rules import RuleParams, classify
from lakecube.names import JUDGED, OBSERVATION

JUDGED_CODES = [OBSERVATION[name] for name in sorted(JUDGED)]
Method = Callable[[Scene], np.ndarray]


def thresholds(scene: Scene, method: str) -> np.ndarray:
    """Decide the thresholds of one scene by the package's own histogram kernels."""
    bands = with_nir(scene.bands)
    first, second = indices.CATALOGUE["mndwi"](bands), indices.CATALOGUE["awei_sh"](bands)
    counts = count_tiles(first, second, scene.observation, 0, 0)[1]
    return decide_thresholds(counts, method)[0]


def with_nir(bands: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Call the narrow NIR ``nir`` where there is no other."""
    return bands if "nir" in bands else bands | {"nir": bands["nir08"]}


def hard(params: RuleParams, threshold: str | tuple[float, float]) -> Method:
    """Return a method: `classify` with thresholds decided by a method or given."""

    def water(scene: Scene) -> np.ndarray:
        pair = thresholds(scene, threshold) if isinstance(threshold, str) else threshold
        return classify(scene.bands, scene.observation, scene.slope, pair, params)[0] == 1

    return water


def above(index: str, threshold: float) -> Method:
    """Return a method: one index above a number, on judged pixels."""

    def water(scene: Scene) -> np.ndarray:
        values = indices.CATALOGUE[index](with_nir(scene.bands))
        return (values > np.float32(threshold)) & np.isin(scene.observation, JUDGED_CODES)

    return water


METHODS: dict[str, Method] = {
    "mndwi>0": above("mndwi", 0.0),
    "ndwi>0": above("ndwi", 0.0),
    "awei_sh>0": above("awei_sh", 0.0),
    "wi2015>0": above("wi2015", 0.0),
    "mndwi>.124&awei>0": hard(RuleParams(rules="none", combine="intersection"), (0.124, 0.0)),
    "otsu mndwi": hard(RuleParams(rules="none", combine="mndwi"), "otsu"),
    "paper": hard(RuleParams.paper(), "otsu"),
    "paper, fixed": hard(RuleParams.paper(), "fixed"),
    "default, fixed": hard(RuleParams(), "fixed"),
    "default": hard(RuleParams(), "guarded"),
}


def iou(water: np.ndarray, scene: Scene) -> float:
    """Intersection over union with the reference on judged pixels; NaN without any water."""
    seen = np.isin(scene.observation, JUDGED_CODES)
    a, b = water & seen, scene.reference & seen
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else float("nan")


def unmasked(scene: Scene) -> Scene:
    """The same scene with every pixel declared clear."""
    return replace(scene, observation=np.zeros_like(scene.observation))


def largest_area(water: np.ndarray, pixel_area: float) -> float:
    """Area of the largest 8-connected component, km²."""
    labels, n = ndimage.label(water, np.ones((3, 3)))
    return float(np.bincount(labels.ravel())[1:].max() * pixel_area / 1e6) if n else 0.0


def _t11upt(water: Method) -> dict[str, float]:
    sentinel, landsat = real.t11upt_sentinel2(), real.t11upt_landsat8()
    found = water(sentinel)
    a, b = largest_area(found, sentinel.pixel_area), largest_area(water(landsat), landsat.pixel_area)
    shadow = (water(unmasked(sentinel)) & (sentinel.extra["scl"] == 3)).sum()
    return {
        "t11upt IoU": iou(found, sentinel), "t11upt S2 km2": a, "t11upt L8 km2": b,
        "t11upt area difference %": 100 * abs(a - b) / b, "t11upt false px in cloud shadow, unmasked": int(shadow),
    }  # fmt: skip


def _cloud(water: Method) -> dict[str, float]:
    scene = real.cloud_patch()
    bare = unmasked(scene)
    return {"cloud IoU, clear": iou(water(scene), scene), "cloud IoU, unmasked": iou(water(bare), bare)}


def _nowater(water: Method) -> dict[str, float]:
    clear = cloudy = 0
    for scene in real.nowater():
        clear += int(water(scene).sum())
        cloudy += int((water(unmasked(scene)) & (scene.observation != 0)).sum())
    return {"nowater false px, clear": clear, "nowater false px, cloudy dates unmasked": cloudy}


def _places(water: Method) -> dict[str, float]:
    scores, false = [], 0
    for scene in real.places():
        found, seen = water(scene), np.isin(scene.observation, JUDGED_CODES)
        if (scene.reference & seen).sum() > 0.05 * seen.sum():
            scores.append(iou(found, scene))
        else:
            false += int((found & ~scene.reference).sum())
    return {
        "places IoU, median": float(np.median(scores)), "places IoU, mean": float(np.mean(scores)),
        "places IoU, lower quarter": float(np.percentile(scores, 25)), "places false px, dry dates": false,
    }  # fmt: skip


def _barbellino(water: Method) -> dict[str, float]:
    out = {}
    for scene in real.barbellino():
        product = replace(scene, reference=scene.extra["scl"] == 6)
        out[f"barbellino {scene.name} IoU with SCL 6"] = iou(water(product), product)
    return out


GROUPS = {"t11upt": _t11upt, "cloud": _cloud, "nowater": _nowater, "places": _places, "barbellino": _barbellino}


def measure(methods: dict[str, Method] | None = None, groups: dict | None = None) -> dict[str, dict[str, float]]:
    """Measure every method on every group of scenes that is there: ``{method: {figure: value}}``."""
    out: dict[str, dict[str, float]] = {}
    for name, water in (methods or METHODS).items():
        out[name] = {}
        for group, figures in (groups or GROUPS).items():
            if real.is_available(group):
                with np.errstate(invalid="ignore", divide="ignore"):
                    out[name] |= figures(water)
    return out


def format_table(table: dict[str, dict[str, float]]) -> str:
    """Lay the table out with a row per figure and a column per method."""
    figures = list(next(iter(table.values())))
    width = max(map(len, figures))
    lines = [" " * width + "".join(f"{name:>19}" for name in table)]
    for figure in figures:
        values = [row[figure] for row in table.values()]
        cells = "".join(f"{v:19d}" if isinstance(v, int) else f"{v:19.3f}" for v in values)
        lines.append(f"{figure:<{width}}{cells}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    for group in GROUPS:
        if not real.is_available(group):
            print(f"{group}: not found under {real.folder()}; skipped (set LAKECUBE_DATA)")
    table = measure()
    if any(table.values()):
        print(format_table(table))
    if args.json:
        args.json.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
