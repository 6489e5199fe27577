"""``python -m benchmarks.predict [--images FOLDER] [--source ITEMS] [--packaged]``: seams, speed and memory.

Seams: tiles of 256 px against one pass over the whole image, by margin. Speed: processor time of `predict` per pixel
that goes through the network, against the bare forward pass of the same network at its best batch, in turns, each in a
thread of its own as Dask's tasks are; medians. Memory: what `predict` adds to a process that has the image and the
network, one tile at a time. Without models every architecture with fresh weights, whose seams say how it is built and
not what it learned. Models of pictures are shown those of `--images`, models of reflectance the middle of `--source`,
anything that `lakecube.open` takes; both what is made up where these are not given. What is found is said as it is
found, and as tables in the end.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, get_args

import numpy as np
import xarray as xr

from benchmarks.crf import synthetic
from lakecube.models import forward, registry
from lakecube.models.inputs import network_input
from lakecube.models.locality import Seam, effective_radius, seams
from lakecube.models.predictor import default_tiling, predict
from lakecube.models.registry import Weights
from lakecube.models.spec import ModelSpec

ARCHITECTURES = ("linknet18", "linknet50", "unet", "efficientnet-unet")
RGB = ("red", "green", "blue")
MARGINS = (0, 32, 64, 96, 128, 192, 256, 320)
#: Windows and batches that the bare pass may choose from.
BATCHES = ((256, 1), (256, 4), (512, 1), (1024, 1))
#: Said by a process of its own: MiB that a prediction needs at its most beyond what was there before.
MEMORY = """
import re, sys
from benchmarks import predict as this
from lakecube.models import forward, registry

def most():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024

source, side, precision = sys.argv[1], int(sys.argv[2]), sys.argv[3]
weights = registry.find(source)
image = this.made_up(weights.spec, side)
forward.network(weights, "cpu", precision)
this.predict(image.isel(y=slice(32), x=slice(32)), weights, device="cpu", precision=precision).compute()
before = most()
this.predict(image.chunk(y=1024, x=1024), weights, device="cpu", precision=precision).compute(scheduler="synchronous")
print(most() - before)
"""


def picture(numbers: np.ndarray) -> xr.Dataset:
    """A picture (3, y, x) of bytes as the cube that `lakecube.open` makes of it, without place and date."""
    bands = {name: (("time", "y", "x"), band[np.newaxis].astype(np.float32) / 255, {"radiometry": "display"})
             for name, band in zip(RGB, numbers, strict=True)}  # fmt: skip
    return xr.Dataset(bands)


def scenes(folder: Path | None, side: int, count: int, first_is_blue: bool = False) -> list[xr.Dataset]:
    """Pictures of a folder, or one that is made up."""
    if folder is None:
        return [picture(synthetic(side)[0])]
    import rasterio

    out = []
    for path in sorted(folder.iterdir())[:count]:
        with rasterio.open(path) as file:
            numbers = file.read([1, 2, 3])
        out.append(picture(numbers[::-1] if first_is_blue else numbers))
    return out


def reflectance(numbers: np.ndarray, bands: Sequence[str]) -> xr.Dataset:
    """What is made up, as reflectance of these bands: its colours in turn, white at 0.3."""
    return xr.Dataset({
        band: (("time", "y", "x"), numbers[k % len(numbers)][np.newaxis].astype(np.float32) * np.float32(0.3 / 255))
        for k, band in enumerate(bands)
    })  # fmt: skip


def middle_of(source: Path, bands: Sequence[str], side: int) -> xr.Dataset:
    """The middle of the first date of a source, in memory."""
    import lakecube

    cube = lakecube.open(source, bands=_there(lakecube.open(source), bands)).isel(time=[0])
    rows, columns = (
        slice(max((n - side) // 2, 0), max((n - side) // 2, 0) + side) for n in cube["observation"].shape[1:]
    )
    return cube.isel(y=rows, x=columns).compute()


def _there(cube: xr.Dataset, bands: Sequence[str]) -> list[str]:
    """The bands, `nir08` where there is no `nir`."""
    return ["nir08" if band == "nir" and "nir" not in cube else band for band in bands]


def fresh(architecture: str, folder: Path, bands: Sequence[str] = RGB, **options: Any) -> Weights:
    """An architecture with random weights, as a file."""
    import torch

    from lakecube.models.nets import build

    torch.manual_seed(0)
    net: Any = build(architecture, len(bands), **options)
    n = len(bands)
    spec = ModelSpec(
        architecture, architecture, tuple(bands), (4.0,) * n, (-1.5,) * n, net.stride, net.radius,
        options=options, radiometry="display",
    )  # fmt: skip
    path = folder / f"{architecture}.safetensors"
    registry.save(path, spec, net.state_dict())
    return registry.find(path)


def processor(function: Callable[[], Any]) -> float:
    """Seconds of processor time."""
    begin = time.process_time()
    function()
    return time.process_time() - begin


def forwarded(weights: Weights, shape: tuple[int, int]) -> int:
    """Pixels that go through the network for an image of this shape."""
    tiling, stride = default_tiling(weights.spec), weights.spec.stride
    sides = [
        [-(-t.read[1] // stride) * stride - t.read[0] // stride * stride for t in tiling.along(n, 0).values()]
        for n in shape
    ]
    if weights.spec.window is not None:
        sides = [[weights.spec.window] * len(side) for side in sides]
    return sum(sides[0]) * sum(sides[1])


def bare(weights: Weights, cube: xr.Dataset, precision: forward.Precision, window: int, batch: int) -> float:
    """Pixels per second of processor time of the network alone."""
    import torch

    net = forward.network(weights, "cpu", precision)
    layers = [np.resize(cube[b].values[0], (window, window)) for b in weights.spec.bands]
    image = network_input(layers, weights.spec, weights.spec.radiometry)
    images = torch.from_numpy(np.stack([image] * batch)).permute(0, 3, 1, 2).to(getattr(torch, precision))
    torch.set_num_threads(1)
    with torch.inference_mode():
        net(images[:1])
        return batch * window**2 / processor(lambda: net(images))


def speed(
    weights: Weights, cube: xr.Dataset, precision: forward.Precision = "float32",
    batches: Sequence[tuple[int, int]] = BATCHES, repeats: int = 3,
) -> dict[str, float]:  # fmt: skip
    """Mpx per second of processor time: of `predict` by what is forwarded and what is useful, and of the bare pass.

    Useful is counted far from the end of the data, where every tile has its whole margin.
    """
    lazy = predict(cube.chunk(y=1024, x=1024), weights, device="cpu", precision=precision)
    forward.network(weights, "cpu", precision)
    alone: dict[tuple[int, int], list[float]] = {b: [] for b in batches}
    mine = []
    through = forwarded(weights, (cube.sizes["y"], cube.sizes["x"]))
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lazy.isel(y=slice(64), x=slice(64)).compute, scheduler="synchronous").result()
        for _ in range(repeats):
            for b in batches:
                alone[b].append(thread.submit(bare, weights, cube, precision, *b).result())
            mine.append(through / thread.submit(processor, lambda: lazy.compute(scheduler="synchronous")).result())
    rates, best = median(mine), max(median(found) for found in alone.values())
    tiling = default_tiling(weights.spec)
    extra = (1 + 2 * tiling.margin / tiling.tile) ** 2
    return {"forwarded_mpx_s": rates / 1e6, "useful_mpx_s": rates / extra / 1e6, "bare_mpx_s": best / 1e6,
            "ratio": rates / best, "forwarded_per_useful": extra}  # fmt: skip


def memory(weights: Weights, side: int, precision: forward.Precision = "float32") -> float:
    """MiB that the prediction of one image needs at its most, one tile at a time, in a process of its own."""
    command = [sys.executable, "-c", MEMORY, weights.source, str(side), precision]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.predict", description=__doc__)
    parser.add_argument("--images", type=Path, help="folder of pictures")
    parser.add_argument("--bgr", action="store_true", help="their first channel is blue")
    parser.add_argument("--count", type=int, default=4, help="how many of them")
    parser.add_argument(
        "--side", type=int, default=1024, help="of the picture that is made up, and of that of the speed"
    )
    parser.add_argument("--source", type=Path, help="scenes of reflectance")
    parser.add_argument("--model", nargs="*", default=[], help="models by name, or files")
    parser.add_argument("--packaged", action="store_true", help="all models of pixels in the package")
    parser.add_argument("--write", action="store_true", help="measure the effective radius and write it into the files")
    parser.add_argument("--no-seams", action="store_true", help="measure speed and memory only")
    parser.add_argument("--no-speed", action="store_true", help="measure seams only")
    given = parser.parse_args()
    packaged = [name for name, spec in registry.available().items() if spec.patch is None]
    names = packaged if given.packaged else given.model
    differences: dict[str, list[Seam]] = {}
    costs: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names or ARCHITECTURES:
            weights = registry.find(name) if names else fresh(name, Path(folder))
            print(f"{weights.spec.name}: stride {weights.spec.stride}, radius {weights.spec.radius} px", flush=True)
            if weights.spec.window is None and not given.no_seams:
                differences[weights.spec.name] = seams_of(weights, shown_to(weights, given))
            if not given.no_seams:
                labels, largest = by_bfloat16(weights, shown_to(weights, given))
                print(f"  bfloat16: {labels:.3%} other labels, largest |Δp| {largest:.2g}", flush=True)
            if given.write:
                weights = with_radius(weights, shown_to(weights, given))
            if not given.no_speed:
                costs |= costs_of(weights, given.side)
    show(differences, costs)


def shown_to(weights: Weights, given: argparse.Namespace) -> list[xr.Dataset]:
    """Images of the kind that a model takes."""
    if weights.spec.radiometry == "display":
        return scenes(given.images, given.side, given.count, given.bgr)
    if given.source is None:
        return [made_up(weights.spec, given.side)]
    return [middle_of(given.source, weights.spec.bands, given.side)]


def made_up(spec: ModelSpec, side: int) -> xr.Dataset:
    """An image of the kind that a model takes."""
    numbers = synthetic(side)[0]
    return picture(numbers) if spec.radiometry == "display" else reflectance(numbers, spec.bands)


def seams_of(weights: Weights, cubes: Sequence[xr.Dataset]) -> list[Seam]:
    """The difference between tiles and whole, by margin."""
    found = seams(weights, cubes, [m for m in MARGINS if m % weights.spec.stride == 0])
    print("  margin  largest |Δp|  mean |Δp|  other labels")
    for seam in found:
        print(f"  {seam.margin:>6}  {seam.largest:12.2e}  {seam.mean:9.2e}  {seam.labels:12.4%}", flush=True)
    return found


def by_bfloat16(weights: Weights, cubes: Sequence[xr.Dataset]) -> tuple[float, float]:
    """Share of labels that bfloat16 changes, and the largest change of the probability."""
    found = [[predict(c, weights, device="cpu", precision=p) for c in cubes] for p in get_args(forward.Precision)]
    full, short = (np.concatenate([v.values[np.isfinite(v.values)] for v in each]) for each in found)
    return float(((full > 0.5) != (short > 0.5)).mean()), float(np.abs(full - short).max())


def with_radius(weights: Weights, cubes: Sequence[xr.Dataset]) -> Weights:
    """The weights, with the effective radius written into their file."""
    radius = effective_radius(weights, cubes)
    print(f"  effective radius {radius} px (at most 0.1 % of the labels differ in tiles of 256 px)", flush=True)
    found, state = registry.load(weights)
    path = Path(weights.source)
    registry.save(path, replace(found, radius=radius), state)
    return registry.find(path)


def costs_of(weights: Weights, side: int) -> dict[str, dict[str, float]]:
    """Speed and memory in both number formats."""
    image = made_up(weights.spec, side)
    found = {}
    for precision in get_args(forward.Precision):
        rates = {**speed(weights, image, precision), "peak_mib": memory(weights, side, precision)}
        print(f"  {precision}: " + "  ".join(f"{k} {v:.3g}" for k, v in rates.items()), flush=True)
        found[f"{weights.spec.name}, {precision}"] = rates
    return found


def show(differences: Mapping[str, Sequence[Seam]], costs: Mapping[str, Mapping[str, float]]) -> None:
    """What was found, as tables of Markdown."""
    if differences:
        print("\n" + row(["margin, px", *differences]) + "\n" + row(["---"] * (len(differences) + 1)))
        for margin in MARGINS:
            cells = [[s for s in found if s.margin == margin] for found in differences.values()]
            print(row([str(margin), *(f"{100 * c[0].labels:.2g} %, {c[0].largest:.1g}" if c else "" for c in cells)]))
    if costs:
        names = list(next(iter(costs.values())))
        print("\n" + row(["", *names]) + "\n" + row(["---"] * (len(names) + 1)))
        for name, rates in costs.items():
            print(row([name, *(f"{rates[n]:.3g}" for n in names)]))


def row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
