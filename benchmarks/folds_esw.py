"""``python -m benchmarks.folds_esw FOLDER [--start NAME] [--epochs N] [--views N]``: judged by folds.

FOLDER is as for `benchmarks.deep_esw`. The scenes with an odd number are dealt to folds; those of a fold judge a
network that has learnt from all scenes with an even number and from the other folds. The networks begin with weights
that know even scenes at most. No scene of a fold chooses anything: no epoch is picked, the last weights (their moving
average) count, and the CRF has the options that the method has by default.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import refine_esw
from benchmarks.deep_esw import BANDS, HEADER, by_crf, by_network, line, probability, table_row
from benchmarks.refine_esw import Scene
from lakecube.kernels.crf import Potts
from lakecube.methods.linknet50 import SCALES, SXY
from lakecube.models.presets import Phase, Preset
from lakecube.models.samples import folder_samples
from lakecube.models.train import train

#: Trust in the network, grey levels, pixels and weight of the CRF that `method="linknet50"` has by default.
CRF = (1.0, SCALES["display"] * 255, SXY, Potts().weight_bilateral)
#: Share of the tiles without water that is learnt from too.
_KEEP_EMPTY = 0.3


def dealt(names: list[str], folds: int) -> list[list[str]]:
    """Names with an odd number, one after the other to each fold."""
    odd = [name for name in names if int(name) % 2]
    return [odd[k::folds] for k in range(folds)]


def preset(epochs: int, rate: float) -> Preset:
    """One phase, changed strongly, the weights averaged over some ten epochs."""
    return Preset((Phase("bce-dice", epochs, rate),), batch=8, augment="strong", average=0.998)


def fold_weights(given: argparse.Namespace, judges: list[str], name: str) -> Path:
    """Train on all scenes but those that judge."""
    samples = folder_samples(given.folder, bands=BANDS, validation=0.0, keep_empty=_KEEP_EMPTY)
    return train(
        samples.without(judges), given.architecture, preset(given.epochs, given.rate),
        out=given.out / name, name=name, start=given.start, precision=given.precision, seed=given.seed,
        training=f"scenes of esw but {', '.join(judges) or 'none'}.",
    ).weights  # fmt: skip


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.folds_esw", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--start", default="rgb-efficientnet-unet-even", help="weights that know even scenes at most")
    parser.add_argument("--architecture", default="efficientnet-unet")
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--only", type=int, nargs="*", help="these folds, from 0")
    parser.add_argument("--whole", action="store_true", help="train on all scenes as well, which nothing judges")
    parser.add_argument("--epochs", type=int, default=35)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--views", type=int, default=1, help="turned and mirrored copies that each network looks at")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/folds_esw"))
    given = parser.parse_args(words)
    given.out.mkdir(parents=True, exist_ok=True)
    scenes = {scene.name: scene for scene in refine_esw.read(given.folder)}
    folds = dealt([*scenes], given.folds)
    test: list[Scene] = []
    before: list[np.ndarray] = []
    after: list[np.ndarray] = []
    for k in range(given.folds) if given.only is None else given.only:
        weights = fold_weights(given, folds[k], f"fold-{k}")
        here = [scenes[name] for name in folds[k]]
        test += here
        before += [probability(scene, given.start, given.views) for scene in here]
        after += [probability(scene, weights, given.views) for scene in here]
    print(HEADER)
    found: dict[str, Any] = {}
    for name, maps in ((f"{given.start}", before), ("of the folds", after)):
        for way, row in (("", (by_network, ())), (" + CRF", (by_crf, CRF))):
            found[name + way] = table_row(test, maps, *row)
            print(line(name + way, found[name + way]), flush=True)
    (given.out / "table.json").write_text(json.dumps(found, indent=1))
    if given.whole:
        fold_weights(given, [], "whole")


if __name__ == "__main__":
    main()
