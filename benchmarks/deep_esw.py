"""``python -m benchmarks.deep_esw FOLDER [--weights FILE …] [--train ARCH …]``: tables 5 and 6 of Cao et al.

FOLDER holds images/NN.* and masks/NN.*, bands blue, green, red on disk. Scenes with an even number may be learned from,
those with an odd one judge; nothing of these is looked at before. `--train` trains on the even ones, of which a fifth
validates, and adds a row for the best epoch of each phase (L1, L12); with `--first` each network learns from the
pictures of another folder before, for a pass. `--preset short` is the schedule of the table in the documentation, the
same for all networks. `--weights` adds files that were trained elsewhere. Superpixel fusion, the dense CRF and both are
applied to what each network says; their parameters are chosen on even scenes, by default those that validate.

Recall, precision, F1 and IoU are of all pixels of the scenes together, and means over scenes; accuracy at the edge
(EOA, omission EOE, commission ECE) is of the pixels within 3 px of the true shore, of all scenes together.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from benchmarks import refine_esw
from benchmarks.refine_esw import Scene, at_edge, fused, middle, superpixels
from lakecube.accuracy.edges import EDGE_WIDTH, EdgeScores
from lakecube.kernels import crf
from lakecube.models.presets import Phase, Preset, preset_of
from lakecube.models.samples import Samples, folder_samples
from lakecube.models.scenes import values_of
from lakecube.models.tiles import in_order

#: As the files hold them.
BANDS = ("blue", "green", "red")
#: The names that a row's measures have in the tables.
MEASURES = ("recall", "precision", "f1", "iou")
Options = tuple[float, ...]
Way = Callable[[Scene, np.ndarray, Options], np.ndarray]
#: `--preset short`: what networks without any earlier training can do in minutes.
SHORT = Preset((Phase("bce-dice", 6, 1e-3), Phase("lovasz", 2, 2e-4)), augment="strong", average=0.98)
#: Pixels of each scene that the baselines of pixels learn from.
_PIXELS = 1000
#: Probabilities nearer to 0 and 1 than this are no surer for the CRF.
_SURE = 1e-3


# --- from probability to mask ----------------------------------------------------------------------------------------


def by_network(scene: Scene, p: np.ndarray, options: Options) -> np.ndarray:
    """Where the network thinks water more likely than not."""
    return p > 0.5


def by_slic(scene: Scene, p: np.ndarray, options: Options) -> np.ndarray:
    """The same, fused by majority in superpixels: step and compactness."""
    step, compactness = options
    return fused(p > 0.5, superpixels(scene, int(step), compactness))


def by_crf(scene: Scene, p: np.ndarray, options: Options) -> np.ndarray:
    """Dense CRF whose unary term is the probability, its logit times `trust`; widths and weight of the bilateral."""
    trust, srgb, sxy, weight = options
    clipped = np.clip(p, _SURE, 1 - _SURE)
    logit = (np.float32(trust) * np.log(clipped / (1 - clipped))).astype(np.float32)
    guide, potts = scene.rgb * np.float32(255 / srgb), crf.Potts(sxy_bilateral=sxy, weight_bilateral=weight)
    return crf.mean_field(logit, guide, np.ones(p.shape, bool), potts) > 0.5


def by_both(scene: Scene, p: np.ndarray, options: Options) -> np.ndarray:
    """The two levels of the paper: what superpixels fused is the CRF's unary term, right with probability `sure`."""
    return refine_esw.field(scene, by_slic(scene, p, options[:2]), *options[2:])


#: Ways to refine with what may be chosen of their options; of both levels only what the single ones leave open.
GRIDS: Mapping[str, tuple[Way, tuple[tuple[float, ...], ...]]] = {
    "SLIC": (by_slic, ((8, 12, 16, 24), (5.0, 10.0, 20.0))),
    "CRF": (by_crf, ((0.3, 1.0), (4.0, 8.0, 13.0), (10.0, 20.0, 40.0), (2.0, 5.0, 10.0))),
}
_SURES = (0.7, 0.9)


def choose(scenes: list[Scene], maps: list[np.ndarray]) -> dict[str, tuple[Way, Options]]:
    """The options of each way with the best sum of mean IoU and accuracy at the edge."""

    def score(way: Way, options: Options) -> float:
        found = table_row(scenes, maps, way, options)
        return float(found["mean"]["iou"] + np.nan_to_num(found["eoa"]))

    best: dict[str, tuple[Way, Options]] = {}
    for name, (way, grid) in GRIDS.items():
        best[name] = way, max(itertools.product(*grid), key=lambda options, way=way: score(way, options))
    both = [(*best["SLIC"][1], sure, *best["CRF"][1][1:]) for sure in _SURES]
    best["SLIC + CRF"] = by_both, max(both, key=lambda options: score(by_both, options))
    return best


# --- figures ---------------------------------------------------------------------------------------------------------


def counts(found: np.ndarray, scene: Scene) -> np.ndarray:
    """Pixels: water in both, in the map alone, in the truth alone; near the shore the counts of `EdgeScores`."""
    truth = scene.truth
    parts = (found & truth, found & ~truth, truth & ~found)
    return np.array([*(part.sum() for part in parts), *astuple(at_edge(found, truth, scene.zone))[1:]], np.int64)


def measures(n: np.ndarray) -> dict[str, float]:
    """Of the first three counts; where there is no water on either side all are 1."""
    both, alone, missed = (float(v) for v in n[:3])
    if both + alone + missed == 0:
        return dict.fromkeys(MEASURES, 1.0)
    return {
        "recall": both / max(both + missed, 1),
        "precision": both / max(both + alone, 1),
        "f1": 2 * both / (2 * both + alone + missed),
        "iou": both / (both + alone + missed),
    }


def table_row(scenes: Iterable[Scene], maps: Iterable[np.ndarray], way: Way, options: Options) -> dict[str, Any]:
    """Measures of all pixels and their means over scenes, accuracy at the edge, and the IoU of every scene."""
    rows = {scene.name: counts(way(scene, p, options), scene) for scene, p in zip(scenes, maps, strict=True)}
    each = {name: measures(n) for name, n in rows.items()}
    total = np.sum([*rows.values()], axis=0)
    return {
        "pooled": measures(total),
        "mean": {name: float(np.mean([one[name] for one in each.values()])) for name in MEASURES},
        **EdgeScores(EDGE_WIDTH, *map(int, total[3:])).measures(),
        "iou_by_scene": {name: one["iou"] for name, one in each.items()},
        "options": list(options),
    }


# --- networks --------------------------------------------------------------------------------------------------------


def probability(scene: Scene, model: str | Path, views: int = 1) -> np.ndarray:
    """What a network says of a whole scene, through lakecube's own predictor, turned and mirrored or as it is."""
    from lakecube.models.predictor import predict

    coords = {"time": [np.datetime64("2020-01-01", "ns")]}
    values = {
        name: (("time", "y", "x"), band[None]) for name, band in zip(("red", "green", "blue"), scene.rgb, strict=True)
    }
    out: np.ndarray = predict(xr.Dataset(values, coords), model, radiometry="display", views=views).values[0]
    return out


def split(folder: Path) -> tuple[Samples, list[str]]:
    """Samples of the scenes with an even number, and the names of those that judge."""
    samples = folder_samples(folder, bands=BANDS)
    odd = [scene.name for scene in samples.scenes if int(scene.name) % 2]
    return samples.without(odd), odd


def trained(samples: Samples, architecture: str, given: argparse.Namespace) -> dict[str, Path]:
    """Rows of a network trained here: the best epoch of each phase, of the last round."""
    from lakecube.models.train import train

    preset = SHORT if given.preset == "short" else preset_of(given.preset)
    name = f"{architecture}-{Path(given.start).stem}" if given.start else architecture
    options = json.loads(given.options.get(architecture, "{}"))
    start, spent = given.start, time.process_time()
    if given.first:
        start = train(
            first_samples(given.first, given.first_scenes), architecture, first_stage(preset), start=start,
            out=given.out / f"{name}-first", options=options, precision=given.precision, training=str(given.first.name),
        ).weights  # fmt: skip
    for k in range(given.rounds):
        found = train(
            samples, architecture, preset, out=given.out / (f"{name}-{k + 1}" if k else name), minutes=given.minutes,
            start=start, name=name, options=options, precision=given.precision, seed=k, training="even scenes of esw.",
        )  # fmt: skip
        start = found.weights
    print(f"{name}: {(time.process_time() - spent) / 60:.1f} minutes of processor time", flush=True)
    return {f"{name} ({phase})": path for phase, path in zip(("L1", "L12"), found.phases, strict=False)}


def first_samples(folder: Path, n: int | None) -> Samples:
    """Pictures to learn from first, `n` of them evenly by name or all; what is black to the edge is unknown."""
    samples = folder_samples(folder, bands=("red", "green", "blue"), black=8, validation=0.0)
    every = max(len(samples.scenes) // n, 1) if n else 1
    return replace(samples, scenes=samples.scenes[::every])


def first_stage(preset: Preset) -> Preset:
    """One pass by the preset's first phase."""
    return replace(preset, phases=(replace(preset.phases[0], epochs=1),))


def of_pixels(kind: str, samples: Samples) -> Callable[[Scene], np.ndarray]:
    """A baseline that knows single pixels, learnt from pixels of all scenes with an even number."""
    from lakecube.methods.pixelwise import fit

    chance, values, labels = np.random.default_rng(0), [], []
    for scene in samples.scenes:
        picture = in_order(scene, scene.read(), BANDS)
        some = chance.permutation(picture.labels.size)[:_PIXELS]
        values.append(values_of(picture).reshape(len(BANDS), -1)[:, some])
        labels.append(picture.labels.ravel()[some])
    model = fit(dict(zip(BANDS, np.concatenate(values, axis=1), strict=True)), np.concatenate(labels), kind)

    def said(scene: Scene) -> np.ndarray:
        """Of each colour once: a scene has some ten pixels of each."""
        blue, green, red = np.rint(scene.rgb[::-1] * 255).astype(np.uint32)
        codes, of_pixel = np.unique(blue << 16 | green << 8 | red, return_inverse=True)
        colours = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1).astype(np.float32) / 255
        found = model.evaluate(colours)[of_pixel.ravel()].reshape(scene.truth.shape)
        return found > (0 if kind == "svm" else 0.5)

    return said


def judge(
    model: Path, chosen_on: list[Scene], test: list[Scene], refined: bool = True, views: int = 1
) -> dict[str, Any]:
    """All rows of one network, or the one without refinement."""
    maps = [probability(scene, model, views) for scene in test]
    ways: dict[str, tuple[Way, Options]] = {"": (by_network, ())}
    if refined:
        on_middles = [middle(scene._replace(coarse=probability(scene, model, views))) for scene in chosen_on]
        ways |= choose(on_middles, [scene.coarse for scene in on_middles])
    return {name: table_row(test, maps, way, options) for name, (way, options) in ways.items()}


def line(name: str, row: Mapping[str, Any]) -> str:
    """A row of the table, in percent."""
    groups = [[row[kind][m] for m in MEASURES] for kind in ("pooled", "mean")]
    groups.append([row[name] for name in ("eoa", "eoe", "ece")])
    cells = "  | ".join("".join(f"{100 * value:7.2f}" for value in group) for group in groups)
    return f"{name:<38}{cells}   {'  '.join(f'{v:g}' for v in row['options'])}"


HEADER = "".join((f"{'':<38}", f"{'all pixels: recall, precision, F1, IoU':<38} | ", f"{'means over scenes':<27} | ",
                  "   EOA    EOE    ECE   options"))  # fmt: skip


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deep_esw", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", type=Path, nargs="*", default=[], help="files that lakecube train wrote")
    parser.add_argument("--train", nargs="*", default=[], metavar="ARCH", help="train these here first")
    parser.add_argument("--pixels", nargs="*", default=[], choices=["svm", "rf"], help="baselines that know pixels")
    parser.add_argument("--minutes", type=float, help="for each of them, instead of the preset's epochs")
    parser.add_argument("--first", type=Path, help="folder of other pictures, red, green, blue, to learn from before")
    parser.add_argument("--first-scenes", type=int, help="so many of these")
    parser.add_argument("--rounds", type=int, default=1,
                        help="how often the schedule is run, each time from the best weights of the last")  # fmt: skip
    parser.add_argument("--preset", default="cao-2024", help="a preset of lakecube train, or short")
    parser.add_argument("--options", nargs=2, action="append", default=[], metavar=("ARCH", "JSON"),
                        help="of an architecture")  # fmt: skip
    parser.add_argument("--refine", nargs="*", metavar="NAME", help="only these, as their rows are called")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--start", help="weights that these begin with")
    parser.add_argument("--views", type=int, default=1, help="turned and mirrored copies that each network looks at")
    parser.add_argument("--choose-on", choices=["validation", "training"], default="validation",
                        help="even scenes on whose middles options are chosen")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/deep_esw"))
    given = parser.parse_args(words)
    given.options = dict(given.options)
    given.out.mkdir(parents=True, exist_ok=True)
    samples, odd = split(given.folder)
    learned, validating = ([scene.name for scene in part] for part in samples.split())
    scenes = {scene.name: scene for scene in refine_esw.read(given.folder)}
    chosen_on = [scenes[name] for name in (validating if given.choose_on == "validation" else learned)]
    networks = {path.stem: path for path in given.weights}
    test = [scenes[one] for one in odd]
    for architecture in given.train:
        networks |= trained(samples, architecture, given)
    print(
        f"{len(odd)} odd scenes judge; options chosen on {', '.join(s.name for s in chosen_on)}\n{HEADER}", flush=True
    )
    found: dict[str, Any] = {}
    for kind in given.pixels:
        said = of_pixels(kind, samples)
        found[kind] = {"": table_row(test, [said(scene) * np.float32(1) for scene in test], by_network, ())}
        print(line(kind, found[kind][""]), flush=True)
    for name, path in networks.items():
        found[name] = judge(path, chosen_on, test, given.refine is None or name in given.refine, given.views)
        for way, row in found[name].items():
            print(line(f"{name} + {way}" if way else name, row), flush=True)
    (given.out / "table.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
