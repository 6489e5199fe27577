"""``python -m benchmarks.crf [--side N] [--images FOLDER]``: the dense CRF against pydensecrf2, and seams by margin.

Same image, same parameters (sxy 3 / 80, srgb 13, weights 3 / 10, 5 iterations, 2 classes), one thread, in turns,
compared by processor time. Without a folder of pictures the image is synthetic.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from scipy import ndimage

from lakecube.kernels import crf
from lakecube.refine.crf import refine
from lakecube.refine.crf_tiles import CrfSettings, refine_tile
from lakecube.tiling import Tiling


def synthetic(side: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture (3, y, x) of water and land, texture and noise; a coarse probability of water."""
    generator = np.random.default_rng(0)
    height = ndimage.gaussian_filter(generator.normal(size=(side, side)), side / 20)
    water = height > np.quantile(height, 0.7)
    texture = ndimage.gaussian_filter(generator.normal(size=(3, side, side)), (0, 4, 4))
    colour = np.where(water, np.reshape([30, 60, 80], (3, 1, 1)), np.reshape([110, 100, 80], (3, 1, 1)))
    picture = colour + 12 * texture / texture.std() + generator.normal(0, 2, texture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8), coarse(water)


def real(image: Path, mask: Path) -> tuple[np.ndarray, np.ndarray]:
    """A picture on disk, and its true mask made coarse."""
    import rasterio

    with rasterio.open(image) as source:
        picture = source.read([1, 2, 3])
    with rasterio.open(mask) as source:
        return picture, coarse(source.read(1) > 0)


def coarse(water: np.ndarray) -> np.ndarray:
    """Probability from a mask blurred 8-fold and kept away from certainty."""
    return (0.05 + 0.9 * ndimage.uniform_filter(ndimage.uniform_filter(water.astype(np.float32), 9), 9)).astype("f4")


def ours(picture: np.ndarray, probability: np.ndarray) -> np.ndarray:
    guide = picture * np.float32(1 / 13)
    return crf.mean_field(crf.logit_of_probability(probability), guide, np.ones(probability.shape, bool))


def theirs(picture: np.ndarray, probability: np.ndarray) -> np.ndarray:
    from pydensecrf import densecrf

    rows, columns = probability.shape
    model = densecrf.DenseCRF2D(columns, rows, 2)
    unary = np.stack([-np.log1p(-probability), -np.log(probability)]).reshape(2, -1)
    model.setUnaryEnergy(np.ascontiguousarray(unary, np.float32))
    model.addPairwiseGaussian(sxy=3, compat=3)
    rgb = np.ascontiguousarray(picture.transpose(1, 2, 0))
    model.addPairwiseBilateral(sxy=80, srgb=13, rgbim=rgb, compat=10)
    return np.array(model.inference(5)).reshape(2, rows, columns)[1]


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.process_time()
    out = function()
    return time.process_time() - begin, out


def compare(picture: np.ndarray, probability: np.ndarray, repeats: int = 3) -> dict[str, float]:
    """Speed of both, best of `repeats` in turns, and how far they agree."""
    small = np.s_[..., :64, :64]
    ours(picture[small], probability[small])
    runs = [(timed(lambda: ours(picture, probability)), timed(lambda: theirs(picture, probability)))
            for _ in range(repeats)]  # fmt: skip
    a, b = (min(run[k][0] for run in runs) for k in (0, 1))
    mine, other = runs[0][0][1], runs[0][1][1]
    mega = probability.size / 1e6
    return {"lakecube_mpx_s": mega / a, "pydensecrf2_mpx_s": mega / b, "ratio": b / a,
            "mean_dq": float(np.abs(mine - other).mean()),
            "labels_equal": float(((mine > 0.5) == (other > 0.5)).mean())}  # fmt: skip


def noisy(picture: np.ndarray, grey: float) -> np.ndarray:
    """The picture with more noise (standard deviation in grey levels), so that few pixels share a group."""
    noise = np.random.default_rng(1).normal(0, grey, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


_CHILD = """
import sys, pathlib, numpy as np
from benchmarks import crf

def kib(name):
    text = pathlib.Path("/proc/self/status").read_text()
    return int(text.split(name + ":")[1].split()[0])

picture, probability = (np.load(path) for path in sys.argv[2:])
run = getattr(crf, sys.argv[1])
run(picture[:, :64, :64].copy(), probability[:64, :64].copy())
before = kib("VmRSS")
pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
run(picture, probability)
print(1024 * (kib("VmHWM") - before) / probability.size)
"""


def memory(picture: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """Peak bytes per pixel of both beyond their inputs, each in a process of its own (Linux)."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / name) for name in ("picture.npy", "probability.npy")]
        for path, array in zip(paths, (picture, probability), strict=True):
            np.save(path, array)
        return {
            name: float(
                subprocess.run([sys.executable, "-c", _CHILD, name, *paths], check=True, capture_output=True).stdout
            )
            for name in ("ours", "theirs")
        }


def tiled(picture: np.ndarray, probability: np.ndarray, tile: int) -> dict[str, float]:
    """pydensecrf2's time on the whole, over ours in tiles with margins of 3 sigma: per useful pixel; and agreement."""
    water = xr.DataArray(probability, dims=("y", "x"))
    guide = xr.DataArray(picture, dims=("band", "y", "x"), coords={"band": list("rgb")})
    runs = [(timed(lambda: refine(water, guide, tile=tile).compute(scheduler="synchronous").values),
             timed(lambda: theirs(picture, probability))) for _ in range(2)]  # fmt: skip
    a, b = (min(run[k][0] for run in runs) for k in (0, 1))
    mine, other = runs[0][0][1], runs[0][1][1]
    return {"ratio": b / a, "mean_dq": float(np.abs(mine - other).mean()),
            "labels_equal": float(((mine > 0.5) == (other > 0.5)).mean())}  # fmt: skip


def surrounded(picture: np.ndarray, probability: np.ndarray, tile: int, margin: int = 240, repeats: int = 3) -> float:
    """As the ratio of `tiled` for one tile with its margin on all four sides, as most tiles of a large run have it.

    Picture and probability are of tile + 2 · margin pixels a side; pydensecrf2's time is per pixel of them.
    """
    side = probability.shape[0]
    tiling = Tiling(tile, margin, margin // 8)
    tiles = (tiling.along(side, tile - margin),) * 2
    settings = CrfSettings(crf.Potts(), (13.0,) * 3, 5, 0.7, "numba", tiling)
    pieces = [probability[np.newaxis], *picture]
    runs = [(timed(lambda: refine_tile(pieces, 1, 1, tiles=tiles, anchor=(tile - margin,) * 2, settings=settings))[0],
             timed(lambda: theirs(picture, probability))[0]) for _ in range(repeats)]  # fmt: skip
    mine, other = np.min(runs, axis=0)
    return float((other / side**2) / (mine / tile**2))


def spread(image: np.ndarray, side: int) -> np.ndarray:
    """An image (…, y, x) repeated, every second time mirrored, to so many pixels a side."""
    rows, columns = (np.pad(np.arange(n), (0, max(0, side - n)), mode="symmetric")[:side] for n in image.shape[-2:])
    return np.ascontiguousarray(image[..., rows[:, np.newaxis], columns])


def seams(picture: np.ndarray, probability: np.ndarray, tile: int = 256) -> dict[int, tuple[float, float, float]]:
    """By margin in pixels: mean |ΔQ|, share of other labels, and seconds relative to one run on the whole image."""
    water = xr.DataArray(probability, dims=("y", "x"))
    guide = xr.DataArray(picture, dims=("band", "y", "x"), coords={"band": list("rgb")})
    alone, whole = timed(lambda: refine(water, guide, tile=1 << 20).values)
    out = {}
    for margin in (0, 40, 80, 160, 240):
        seconds, found = timed(lambda margin=margin: refine(water, guide, tile=tile, margin=margin).values)
        other = float(((found > 0.5) != (whole > 0.5)).mean())
        out[margin] = float(np.abs(found - whole).mean()), other, seconds / alone
    return out


def report_tiles(scenes: dict[str, tuple[np.ndarray, np.ndarray]], tile: int, large: bool) -> None:
    picture, probability = scenes["synthetic"]
    noise = {"noise of 25": (noisy(picture, 25), probability)}
    frame = tile + 2 * 240
    for name, (image, given) in (scenes | noise).items():
        ratio = surrounded(spread(image, frame), spread(given, frame), tile)
        print(f"  per useful pixel of a tile of {tile}, margins on all sides, {name}: {ratio:.2f} ×", flush=True)
    for side in (tile, 2 * tile) if large else (tile,):
        found = tiled(spread(picture, 2 * side), spread(probability, 2 * side), side)
        print(
            f"  {2 * side}² in tiles of {side} against pydensecrf2 on the whole: "
            + "  ".join(f"{k} {v:.4g}" for k, v in found.items()),
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crf", description=__doc__)
    parser.add_argument("--side", type=int, default=1024, help="of the synthetic image")
    parser.add_argument("--images", type=Path, help="folder with images/ and masks/ of the same order")
    parser.add_argument("--tile", type=int, default=1024, help="of the tiled runs")
    parser.add_argument("--large", action="store_true", help="also tiles twice as large (2 GB)")
    parser.add_argument("--count", type=int, default=4, help="how many of them")
    arguments = parser.parse_args()
    scenes = {"synthetic": synthetic(arguments.side)}
    if arguments.images:
        pairs = zip(*(sorted((arguments.images / n).iterdir()) for n in ("images", "masks")), strict=True)
        scenes |= {image.stem: real(image, mask) for image, mask in list(pairs)[: arguments.count]}
    for name, (picture, probability) in scenes.items():
        found = compare(picture, probability)
        print(
            f"{name:<24} {'×'.join(map(str, probability.shape))}  "
            + "  ".join(f"{k} {v:.4g}" for k, v in found.items())
        )
    picture, probability = scenes["synthetic"]
    for grey in (8, 25):
        found = compare(noisy(picture, grey), probability)
        print(f"  noise of {grey} grey levels   " + "  ".join(f"{k} {v:.4g}" for k, v in found.items()))
    for name, image in (("synthetic", picture), ("noise of 25", noisy(picture, 25))):
        print(
            f"  peak bytes per pixel, {name}: "
            + "  ".join(f"{k} {v:.0f}" for k, v in memory(image, probability).items())
        )
    report_tiles(scenes, arguments.tile, arguments.large)
    name, (picture, probability) = list(scenes.items())[-1]
    print(f"\nSeams of {name}, tiles of 256 px, against the whole image (margin: mean |ΔQ|, other labels, work)")
    for margin, (error, other, work) in seams(picture, probability).items():
        print(f"  {margin:>4} px  {error:.4f}  {other:.4%}  {work:.2f} ×")


if __name__ == "__main__":
    main()
