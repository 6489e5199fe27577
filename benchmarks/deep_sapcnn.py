"""``python -m benchmarks.deep_sapcnn FOLDER --keep FOLDER``: Chen et al.'s Tables 2 to 4 on scenes labelled by hand.

FOLDER holds images/ and masks/ of the same order; bands on disk are blue, green, red. Scenes are split by their number:
trained on the even ones (of which 10, 20 and 30 tell the plateaus), tested on the odd ones. The networks are kept in
the other folder and not trained again. Per method: overall, producer's and user's accuracy of all pixels together;
edge accuracy, omission and commission within 3 px of the true edge, precision, recall, F1 and IoU as means over the
scenes that have them.
"""

from __future__ import annotations

import argparse
import functools
import json
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
import xarray as xr
from rasterio.errors import NotGeoreferencedWarning

from benchmarks.refine_esw import at_edge
from lakecube.accuracy.edges import EDGE_WIDTH
from lakecube.accuracy.measures import Confusion
from lakecube.kernels.aslic import Settings, aslic
from lakecube.kernels.edges import edge_zone
from lakecube.kernels.hsi import to_hsi
from lakecube.kernels.lab import rgb_to_lab
from lakecube.kernels.regions import number_regions
from lakecube.kernels.slic import slic
from lakecube.methods import pixelwise, sapcnn
from lakecube.models.superpixel_bands import PRICE, REGION

#: Of the training scenes, those that tell when to lower the rate.
VALIDATION = ("10", "20", "30")
#: Samples of water and of land from each scene, in the paper's proportion, about half as many as it has in all.
FROM_SCENE = (120, 200)
#: Pixels from each scene for the classifiers of pixels.
PIXELS = 300
#: Network input of red, green and blue from 0 to 1.
SCALE, OFFSET = 4.0, -1.4
#: The step of a SLIC with about as many superpixels as A-SLIC's.
STEP = 10
#: The rows of the tables: superpixels that are classified, and pooling of the network, which learnt from A-SLIC's.
ROWS = {
    "A-SLIC, self-adaptive pooling": ("aslic", "self-adaptive"),
    "A-SLIC, maximum pooling": ("aslic", "max"),
    "A-SLIC, average pooling": ("aslic", "average"),
    "SLIC, self-adaptive pooling": ("slic", "self-adaptive"),
}


class Scene(NamedTuple):
    """A picture, red, green, blue from 0 to 1, float32 (3, y, x), and its water, uint8."""

    name: str
    rgb: np.ndarray
    truth: np.ndarray


def scenes(folder: Path, odd: bool) -> Iterator[Scene]:
    """The scenes with odd or even numbers."""
    for image, mask in zip(*(sorted((folder / part).iterdir()) for part in ("images", "masks")), strict=True):
        if int(image.stem) % 2 == odd:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                with rasterio.open(image) as source:
                    rgb = source.read([3, 2, 1]).astype(np.float32) / 255
                with rasterio.open(mask) as source:
                    truth = (source.read(1) > 0).astype(np.uint8)
            yield Scene(image.stem, rgb, truth)


def middle(scene: Scene, side: int) -> Scene:
    """The middle of a scene, at most `side` pixels high and wide."""
    starts = [max(n - side, 0) // 2 for n in scene.truth.shape]
    rows, columns = (slice(start, start + side) for start in starts)
    return Scene(scene.name, scene.rgb[:, rows, columns], scene.truth[rows, columns])


def adaptive(scene: Scene) -> np.ndarray:
    """A-SLIC, as `sapcnn` takes it for pictures."""
    return aslic(to_hsi(*scene.rgb), Settings(REGION, price=PRICE, intensity=True))


def plain(scene: Scene) -> np.ndarray:
    """SLIC in CIELAB."""
    return slic(rgb_to_lab(*scene.rgb), STEP, compactness=10.0, offset=(-50.0, 0.0, 0.0))


# --- networks ------------------------------------------------------------------------------------------------------


@functools.cache
def gathered(folder: Path, seed: int = 0) -> list[tuple[Any, Any]]:
    """Patches in the network's units and their labels: those to train on, and those of the validation."""
    from lakecube.models.sapcnn_train import samples

    rng = np.random.default_rng(seed)
    parts: dict[bool, list[Any]] = {False: [], True: []}
    for scene in scenes(folder, odd=False):
        found = samples(scene.rgb, adaptive(scene), scene.truth)
        wanted = zip((1, 0), FROM_SCENE, strict=True)
        some = np.concatenate([rng.permutation(np.flatnonzero(found.classes == c))[:n] for c, n in wanted])
        parts[scene.name in VALIDATION].append((found.patches[some] * SCALE + OFFSET, found.classes[some]))
    return [tuple(np.concatenate(column) for column in zip(*part, strict=True)) for part in parts.values()]


def trained(folder: Path, keep: Path, pooling: str, epochs: int) -> Path:
    """The file of a network, trained if it is not there."""
    from lakecube.models.registry import save
    from lakecube.models.sapcnn_train import fit
    from lakecube.models.spec import ModelSpec

    path = keep / f"sapcnn-{pooling}.safetensors"
    if path.exists():
        return path
    start = time.perf_counter()
    (patches, labels), validation = gathered(folder)

    def told(row: dict[str, float]) -> None:
        print(f"  {pooling} {time.perf_counter() - start:5.0f} s",
              {k: round(v, 4) for k, v in row.items()}, flush=True)  # fmt: skip

    state, log = fit(
        patches, labels, validation=validation, pooling=pooling, epochs=epochs, patience=1, jitter=0.2, dark=OFFSET,
        bfloat16=True, progress=told,
    )  # fmt: skip
    best = min(log, key=lambda row: row["validation_loss"])
    spec = ModelSpec(
        name=path.stem, architecture="sapcnn", bands=("red", "green", "blue"), scale=(SCALE,) * 3, offset=(OFFSET,) * 3,
        stride=1, radius=14, patch=28, options={"pooling": pooling}, radiometry="display",
        training=f"{len(labels)} patches of 13 scenes, epoch {best['epoch']} of {len(log)}", metrics=best,
    )  # fmt: skip
    save(path, spec, state)
    return path


def learnt(folder: Path, keep: Path, kind: Any) -> Path:
    """The file of a classifier of pixels, from the same scenes."""
    from lakecube.methods.pixelwise import fit

    path = keep / f"{kind}.npz"
    if path.exists():
        return path
    rng = np.random.default_rng(0)
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    for scene in scenes(folder, odd=False):
        if scene.name not in VALIDATION:
            some = rng.choice(scene.truth.size, PIXELS, replace=False)
            parts.append((scene.rgb.reshape(3, -1)[:, some], scene.truth.ravel()[some]))
    bands, truth = np.concatenate([p[0] for p in parts], axis=1), np.concatenate([p[1] for p in parts])
    fit(dict(zip(("red", "green", "blue"), bands, strict=True)), truth, kind).save(path)
    return path


def by_pixel(kind: Any, path: Path) -> Callable[[Scene], np.ndarray]:
    """The method `svm` or `rf`."""

    def mask(scene: Scene) -> np.ndarray:
        return pixelwise.extract(cube_of(scene), kind=kind, model=path)["water_mask"].values[0] == 1

    return mask


def cube_of(scene: Scene) -> xr.Dataset:
    """The picture as a cube of one date."""
    y, x = (np.arange(n, dtype=float) for n in scene.truth.shape)
    bands = {
        name: (("time", "y", "x"), band[np.newaxis], {"radiometry": "display"})
        for name, band in zip(("red", "green", "blue"), scene.rgb, strict=True)
    }
    seen = np.zeros((1, *scene.truth.shape), np.uint8)
    coords = {"time": np.array(["2020-01-01"], "datetime64[ns]"), "y": -y, "x": x}
    return xr.Dataset({**bands, "observation": (("time", "y", "x"), seen)}, coords)


def by_network(kind: str, path: Path) -> Callable[[Scene], np.ndarray]:
    """The method with these weights."""
    step = REGION if kind == "aslic" else STEP

    def mask(scene: Scene) -> np.ndarray:
        out = sapcnn.extract(cube_of(scene), model=path, superpixels=kind, region=step, price=PRICE)  # type: ignore[arg-type]
        return out["water_mask"].values[0] == 1

    return mask


def by_vote(superpixels: Callable[[Scene], np.ndarray]) -> Callable[[Scene], np.ndarray]:
    """The best that any classifier of these superpixels can do: the majority of the truth."""

    def mask(scene: Scene) -> np.ndarray:
        number, n = number_regions(np.ascontiguousarray(superpixels(scene)))
        wet = np.bincount(number.ravel(), scene.truth.ravel(), minlength=n)
        return (2 * wet > np.bincount(number.ravel(), minlength=n))[number]

    return mask


# --- figures -------------------------------------------------------------------------------------------------------


def figures(ways: dict[str, Callable[[Scene], np.ndarray]], tested: list[Scene]) -> dict[str, dict[str, float]]:
    """Measures of each way over the scenes, printed as they come."""
    names = ("OA", "PA", "UA", "EOA", "EOE", "ECE", "precision", "recall", "F1", "IoU")
    print(f"\n{'per cent':<34}" + "".join(f"{name:>10}" for name in names) + "   s/Mpx")
    table = {}
    for title, way in ways.items():
        start = time.perf_counter()
        found = [way(scene) for scene in tested]
        rate = (time.perf_counter() - start) / sum(scene.truth.size for scene in tested) * 1e6
        table[title] = _measured(found, tested) | {"seconds_per_mpx": rate}
        numbers = "".join(f"{100 * table[title][name]:10.2f}" for name in names)
        print(f"{title:<34}{numbers}{rate:8.1f}", flush=True)
    return table


def _measured(found: list[np.ndarray], tested: list[Scene]) -> dict[str, float]:
    counts = np.array([_counts(mask, scene.truth > 0) for mask, scene in zip(found, tested, strict=True)])
    whole = Confusion(*counts.sum(axis=0)).measures()
    rows = [Confusion(*row).measures() for row in counts]
    at_edges = [_at_edge(mask, scene.truth > 0) for mask, scene in zip(found, tested, strict=True)]
    edges = [_mean(column) for column in zip(*at_edges, strict=True)]
    means = {n: _mean([row[m] for row in rows])
             for n, m in (("precision", "precision"), ("recall", "recall"), ("F1", "f1"), ("IoU", "iou"))}  # fmt: skip
    together = {"OA": "overall_accuracy", "PA": "producers_accuracy_water", "UA": "users_accuracy_water"}
    return {n: whole[m] for n, m in together.items()} | dict(zip(("EOA", "EOE", "ECE"), edges, strict=True)) | means


def _mean(values: Iterable[float]) -> float:
    """Of those that are defined."""
    known = [v for v in values if not np.isnan(v)]
    return float(np.mean(known)) if known else float("nan")


def _counts(mask: np.ndarray, truth: np.ndarray) -> list[int]:
    return [int((mask == m)[truth == t].sum()) for m, t in ((1, 1), (1, 0), (0, 1), (0, 0))]


def _at_edge(mask: np.ndarray, truth: np.ndarray) -> list[float]:
    return list(at_edge(mask, truth, edge_zone(truth.astype(np.uint8), EDGE_WIDTH)).measures().values())


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deep_sapcnn", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--keep", type=Path, required=True, help="folder for the networks and the figures")
    parser.add_argument("--epochs", type=int, default=15, help="at most so many")
    parser.add_argument("--side", type=int, default=768, help="of the middle of the scenes that is tested")
    parser.add_argument("--train-only", action="store_true")
    arguments = parser.parse_args(words)
    arguments.keep.mkdir(parents=True, exist_ok=True)
    networks = {
        title: (kind, trained(arguments.folder, arguments.keep, pooling, arguments.epochs))
        for title, (kind, pooling) in ROWS.items()
    }
    if arguments.train_only:
        return
    tested = [middle(scene, arguments.side) for scene in scenes(arguments.folder, odd=True)]
    print(f"{len(tested)} scenes, at most their middle {arguments.side}² px")
    ways = {title: by_network(kind, path) for title, (kind, path) in networks.items()}
    ways |= {name: by_pixel(kind, learnt(arguments.folder, arguments.keep, kind))
             for name, kind in (("SVM of pixels", "svm"), ("RF of pixels", "rf"))}  # fmt: skip
    ways |= {"truth by A-SLIC (bound)": by_vote(adaptive), "truth by SLIC (bound)": by_vote(plain)}
    found = figures(ways, tested)
    (arguments.keep / "figures.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
