"""``python -m benchmarks.refine_esw FOLDER [--pictures FOLDER]``: what refinement gives back to a coarse water mask.

FOLDER holds images/ and masks/ of the same order; bands on disk are blue, green, red. The true mask is blurred (sigma 8
pixels), sampled every 8 pixels and laid back in blocks: the coarse mask. Superpixel fusion, the dense CRF and both
refine it. Parameters are chosen on the middles of every other scene, the figures are those of the rest, whole. Then
superpixels are compared with those of scikit-image on the middles of all: boundary recall, under-segmentation error.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage
from skimage import morphology
from skimage.segmentation import slic as skimage_slic

from lakecube.accuracy.edges import EDGE_WIDTH, EdgeScores
from lakecube.kernels import crf
from lakecube.kernels.aslic import Settings, aslic
from lakecube.kernels.edges import count_zone, edge_zone
from lakecube.kernels.hsi import to_hsi
from lakecube.kernels.lab import rgb_to_lab
from lakecube.kernels.regions import number_regions, vote
from lakecube.kernels.slic import slic

#: Coarsening, pixels.
FACTOR = 8
#: Side of the part of a scene on which parameters are chosen, pixels.
MIDDLE = 512


class Scene(NamedTuple):
    """One picture, sRGB from 0 to 1, and what is known of its water."""

    name: str
    rgb: np.ndarray
    lab: np.ndarray
    truth: np.ndarray
    edge: np.ndarray
    zone: np.ndarray
    coarse: np.ndarray


def coarse(truth: np.ndarray) -> np.ndarray:
    """The mask blurred, sampled in the middle of 8 × 8 pixels, and laid back in such blocks."""
    small = ndimage.gaussian_filter(truth.astype(np.float32), FACTOR, mode="nearest")[
        FACTOR // 2 :: FACTOR, FACTOR // 2 :: FACTOR
    ]
    large = np.kron(small > 0.5, np.ones((FACTOR, FACTOR), bool))
    spare = [(0, max(n - have, 0)) for n, have in zip(truth.shape, large.shape, strict=True)]
    return np.pad(large, spare, mode="edge")[: truth.shape[0], : truth.shape[1]]


def read(folder: Path) -> list[Scene]:
    """All scenes, in the order of their names."""
    import rasterio

    scenes = []
    for image, mask in zip(*(sorted((folder / part).iterdir()) for part in ("images", "masks")), strict=True):
        with rasterio.open(image) as source:
            rgb = source.read([3, 2, 1]).astype(np.float32) / 255
        with rasterio.open(mask) as source:
            truth = source.read(1) > 0
        edge = edge_of(truth)
        zone = edge_zone(truth.astype(np.uint8), EDGE_WIDTH)
        scenes.append(Scene(image.stem, rgb, rgb_to_lab(*rgb), truth, edge, zone, coarse(truth)))
    return scenes


def middle(scene: Scene) -> Scene:
    """The middle of a scene, at most `MIDDLE` pixels high and wide."""
    rows, columns = (slice(max(n - MIDDLE, 0) // 2, max(n - MIDDLE, 0) // 2 + MIDDLE) for n in scene.truth.shape)
    cut = [np.ascontiguousarray(array[..., rows, columns]) for array in scene[1:]]
    return Scene(scene.name, *cut)


# --- ways to refine ------------------------------------------------------------------------------------------------


def superpixels(scene: Scene, step: int, compactness: float) -> np.ndarray:
    """SLIC of the paper: CIELAB."""
    return slic(scene.lab, step, compactness=compactness, offset=(-50.0, 0.0, 0.0))


def fused(mask: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Majority fusion."""
    return vote(mask.astype(np.uint8), labels, 0.5)[0] == 1


def by_slic(scene: Scene, step: int, compactness: float) -> np.ndarray:
    """Superpixel fusion of the coarse mask."""
    return fused(scene.coarse, superpixels(scene, step, compactness))


def by_aslic(scene: Scene, region: int, price: float) -> np.ndarray:
    """Fusion in adaptive superpixels; blue, green and red, since the pictures have no near infrared."""
    labels = aslic(to_hsi(*scene.rgb[::-1]), Settings(region=region, price=price, grid=4, intensity=True))
    return fused(scene.coarse, labels)


def field(scene: Scene, mask: np.ndarray, sure: float, srgb: float, sxy: float, weight: float) -> np.ndarray:
    """Dense CRF of a mask that is right with probability `sure`."""
    guide = scene.rgb * np.float32(255 / srgb)
    potts = crf.Potts(sxy_bilateral=sxy, weight_bilateral=weight)
    logit = np.where(mask, 1, -1).astype(np.float32) * np.float32(np.log(sure / (1 - sure)))
    return crf.mean_field(logit, guide, np.ones(mask.shape, bool), potts) > 0.5


def by_crf(scene: Scene, sure: float, srgb: float, sxy: float, weight: float) -> np.ndarray:
    """CRF of the coarse mask."""
    return field(scene, scene.coarse, sure, srgb, sxy, weight)


def by_both(scene: Scene, step: int, compactness: float, *options: float) -> np.ndarray:
    """The two-level form of Cao et al.: the fused mask, then the CRF."""
    return field(scene, by_slic(scene, step, compactness), *options)


# --- figures -------------------------------------------------------------------------------------------------------


def edge_of(mask: np.ndarray) -> np.ndarray:
    """Pixels on both sides of the edge."""
    edge = np.zeros(mask.shape, bool)
    for axis in (0, 1):
        there = np.diff(mask, axis=axis) != 0
        edge |= np.pad(there, [(0, k == axis) for k in (0, 1)]) | np.pad(there, [(k == axis, 0) for k in (0, 1)])
    return edge


def within(edge: np.ndarray, pixels: int) -> np.ndarray:
    """Pixels not farther than this from an edge."""
    return ndimage.binary_dilation(edge, morphology.disk(pixels))


def at_edge(found: np.ndarray, truth: np.ndarray, zone: np.ndarray) -> EdgeScores:
    """Edge accuracy, omission and commission of Chen et al., as `lakecube assess` tells them; NaN without a shore."""
    return EdgeScores(EDGE_WIDTH, *map(int, count_zone(found.astype(np.uint8), truth.astype(np.uint8), zone)))


def figures(found: np.ndarray, scene: Scene) -> dict[str, float]:
    """IoU; edge overall accuracy, omission and commission of Chen et al.; recall of the true edge within 2 px."""
    truth, edge = scene.truth, scene.edge
    return {
        "iou": (found & truth).sum() / max((found | truth).sum(), 1) if (found | truth).any() else 1.0,
        **at_edge(found, truth, scene.zone).measures(),
        "recall": within(edge_of(found), 2)[edge].mean() if edge.any() else 1.0,
    }


def over(scenes: Iterable[Scene], way: Callable[..., np.ndarray], *options: Any) -> dict[str, float]:
    """Means of the figures over scenes."""
    rows = [figures(way(scene, *options), scene) for scene in scenes]
    return {name: float(np.nanmean([row[name] for row in rows])) for name in rows[0]}


GRIDS: dict[str, tuple[Callable[..., np.ndarray], tuple[tuple[Any, ...], ...]]] = {
    "SLIC fusion": (by_slic, ((8, 12, 16, 24), (5.0, 10.0, 20.0))),
    "A-SLIC fusion": (by_aslic, ((8, 16), (0.01, 0.02, 0.05))),
    "CRF": (by_crf, ((0.7, 0.9), (8.0, 13.0, 20.0), (20.0, 40.0, 80.0), (5.0, 10.0))),
}


def choose(scenes: list[Scene]) -> dict[str, tuple[Callable[..., np.ndarray], tuple[Any, ...]]]:
    """The parameters of each way with the best mean of IoU and edge accuracy."""

    def score(way: Callable[..., np.ndarray], options: tuple[Any, ...]) -> float:
        found = over(scenes, way, *options)
        print(f"    {way.__name__}{options}: IoU {found['iou']:.4f}  EOA {found['eoa']:.4f}", flush=True)
        return found["iou"] + np.nan_to_num(found["eoa"])

    best = {}
    for name, (way, grid) in GRIDS.items():
        best[name] = way, max(itertools.product(*grid), key=lambda options, way=way: score(way, options))
    levels = itertools.product(
        [best["SLIC fusion"][1]], [best["CRF"][1], (0.7, 13.0, 80.0, 10.0), (0.9, 13.0, 80.0, 10.0)]
    )
    both = [(*one, *other) for one, other in levels]
    best["SLIC, then CRF"] = by_both, max(both, key=lambda options: score(by_both, options))
    return best


# --- superpixels by themselves -------------------------------------------------------------------------------------


def quality(labels: np.ndarray, truth: np.ndarray) -> tuple[float, float, int]:
    """Boundary recall within 2 px, under-segmentation error (Neubert and Protzel 2012), how many superpixels."""
    number, n = number_regions(np.ascontiguousarray(labels, np.int64))
    size = np.bincount(number.ravel(), minlength=n)
    wet = np.bincount(number[truth], minlength=n)
    edge = edge_of(truth)
    recall = within(edge_of(number), 2)[edge].mean() if edge.any() else 1.0
    return float(recall), float(np.minimum(wet, size - wet).sum() / truth.size), n


def skimage_superpixels(scene: Scene, count: float, join: bool) -> np.ndarray:
    """SLIC of scikit-image with the same compactness and iterations."""
    return skimage_slic(
        np.moveaxis(scene.rgb, 0, -1), max(round(count), 1), compactness=10.0, max_num_iter=10, convert2lab=True,
        channel_axis=-1, start_label=0, enforce_connectivity=join,
    )  # fmt: skip


def against_skimage(scenes: list[Scene], step: int) -> dict[str, np.ndarray]:
    """Mean quality of both, with fragments left and joined, at about equal numbers of superpixels.

    Joining leaves scikit-image with fewer than it was asked for, so it is asked again for as many more.
    """
    found: dict[str, list[Any]] = {}
    for scene, join in itertools.product(scenes, (False, True)):
        mine = slic(scene.lab, step, compactness=10.0, offset=(-50.0, 0.0, 0.0), enforce_connectivity=join)
        wanted = quality(mine, scene.truth)[2] if join else scene.truth.size / step**2
        theirs = skimage_superpixels(scene, wanted, join)
        if join:
            theirs = skimage_superpixels(scene, wanted**2 / quality(theirs, scene.truth)[2], join)
        for name, labels in (("lakecube", mine), ("scikit-image", theirs)):
            row = f"{name}, {'joined' if join else 'fragments left'}"
            found.setdefault(row, []).append(quality(labels, scene.truth))
    return {name: np.mean(rows, axis=0) for name, rows in found.items()}


def draw(scene: Scene, masks: dict[str, np.ndarray], path: Path) -> None:
    """The picture with the true edge (green) and each mask's (red)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(masks), figsize=(6 * len(masks), 6), layout="tight")
    for axis, (name, mask) in zip(axes, masks.items(), strict=True):
        axis.imshow(np.moveaxis(scene.rgb, 0, -1))
        axis.contour(scene.truth, [0.5], colors="lime", linewidths=0.8)
        axis.contour(mask, [0.5], colors="red", linewidths=0.8)
        axis.set_title(f"{scene.name}: {name}, IoU {figures(mask, scene)['iou']:.3f}")
        axis.axis("off")
    figure.savefig(path, dpi=70)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.refine_esw", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=Path, help="folder for some pictures")
    parser.add_argument("--steps", type=int, nargs="*", default=[16], help="of the comparison with scikit-image")
    arguments = parser.parse_args()
    scenes = read(arguments.folder)
    print(f"{len(scenes)} scenes; parameters on the middles of the even ones:", flush=True)
    best = choose([middle(scene) for scene in scenes[::2]])
    ways = {"coarse": (lambda scene: scene.coarse, ()), **best}
    print("\nMeans over the odd scenes (recall: of the true edge within 2 px)")
    for name, (way, options) in ways.items():
        found = over(scenes[1::2], way, *options)
        print(f"  {name:<16}" + "  ".join(f"{k} {v:.4f}" for k, v in found.items()) + f"  {options}", flush=True)
    if arguments.pictures:
        arguments.pictures.mkdir(parents=True, exist_ok=True)
        for scene in scenes[1::6]:
            draw(scene, {n: way(scene, *options) for n, (way, options) in ways.items()},
                 arguments.pictures / f"{scene.name}.png")  # fmt: skip
    for step in arguments.steps:
        print(
            f"\nSuperpixels of step {step}, middles of all scenes (boundary recall, under-segmentation error, how many)"
        )
        for name, (recall, error, n) in against_skimage([middle(scene) for scene in scenes], step).items():
            print(f"  {name:<30} {recall:.4f}  {error:.5f}  {n:.0f}", flush=True)


if __name__ == "__main__":
    main()
