"""``python -m benchmarks.slic [--side N] [--repeats N] [--costs] [--largest MPX]``: SLIC against scikit-image.

Same image, same parameters: 2048² pixels, 3 bands, about 2,800 superpixels, 10 iterations. The sides take turns, the
best run of each counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import dask
import numpy as np
import xarray as xr
from dask.callbacks import Callback
from scipy.ndimage import gaussian_filter
from skimage.segmentation import slic as skimage_slic

from lakecube.kernels.slic import slic
from lakecube.refine.superpixels import superpixels


def picture(side: int, bands: int = 3) -> np.ndarray:
    """Smooth patches of several sizes with noise, in units of CIELAB."""
    rng = np.random.default_rng(0)
    layers = [gaussian_filter(rng.normal(size=(side, side)), 3 * 2 ** (k % 3)) for k in range(bands)]
    return np.stack([15 * v / v.std() + rng.normal(0, 2, v.shape) for v in layers]).astype(np.float32)


def measure(side: int = 2048, repeats: int = 3) -> dict[str, dict[str, float]]:
    """Mpx/s by wall clock and per second of processor time."""
    step = max(round(side / 2800**0.5), 2)
    image = picture(side)
    last = np.moveaxis(image, 0, -1).copy()
    same = 10 / float(np.ptp(image))  # scikit-image scales an image by its own range
    cut = xr.DataArray(image, dims=("band", "y", "x")).chunk({"y": -(-side // 2), "x": -1})

    def lazily() -> Any:
        with dask.config.set(scheduler="threads", num_workers=2):
            return superpixels(cut, step=step, scale=1.0).compute()

    sides: dict[str, Callable[[], Any]] = {
        "scikit-image": lambda: skimage_slic(
            last, 2800, compactness=same, max_num_iter=10, convert2lab=False, channel_axis=-1, start_label=0
        ),
        "lakecube, one thread": lambda: slic(image, step),
        "lakecube, two threads": lambda: slic(image, step, threads=2),
        "lakecube, one, fragments left": lambda: slic(image, step, enforce_connectivity=False),
        "lakecube, chunks on two threads of dask": lazily,
    }
    found: dict[str, dict[str, float]] = {name: {"wall": 0.0, "processor": 0.0} for name in sides}
    for k in range(repeats + 1):
        for name, run in sides.items():
            if k == 0 and name == "scikit-image":
                continue  # nothing to compile
            wall, processor = time.perf_counter(), time.process_time()
            run()
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
            if k:
                rates = {"wall": side * side / 1e6 / wall, "processor": side * side / 1e6 / processor}
                found[name] = {key: max(found[name][key], rate) for key, rate in rates.items()}
    return found


def seconds(run: Callable[[], Any], repeats: int = 3) -> float:
    """Processor time, best of several."""
    best = float("inf")
    for _ in range(repeats):
        begin = time.process_time()
        run()
        best = min(best, time.process_time() - begin)
    return best


def costs(side: int = 1024) -> dict[str, dict[str, float]]:
    """Nanoseconds of processor time per pixel on one thread: by size of superpixel, number of bands, iterations."""
    image = picture(side, 12)
    cases: dict[str, dict[str, Callable[[], Any]]] = {
        "step": {str(k): partial(slic, image[:3], k) for k in (4, 8, 16, 32, 64, 128)},
        "bands": {str(k): partial(slic, image[:k], 32) for k in (1, 2, 3, 4, 6, 12)},
        "iterations": {str(k): partial(slic, image[:3], 32, iterations=k) for k in (1, 2, 5, 10, 20)},
        "fragments left": {"10": partial(slic, image[:3], 32, enforce_connectivity=False)},
    }
    for group in cases.values():
        for run in group.values():
            run()
    return {name: {k: seconds(run) / side**2 * 1e9 for k, run in group.items()} for name, group in cases.items()}


def sizes(largest: int = 64) -> dict[int, dict[str, float]]:
    """By Mpx: what one thread makes, and two (Mpx/s by wall clock); the largest needs 4 GB."""
    ground = picture(1024)
    out = {}
    for times in (1, 2, 4, 8):
        if times**2 > largest:
            break
        image = np.tile(ground, (1, times, times))
        rates = {}
        for threads in (1, 2):
            begin = time.perf_counter()
            slic(image, 39, threads=threads)
            rates[f"threads {threads}"] = image[0].size / 1e6 / (time.perf_counter() - begin)
        out[times**2] = rates
    return out


class Inside(Callback):  # type: ignore[misc]
    """Processor time spent inside tasks, and how many there are."""

    def __init__(self) -> None:
        self.seconds, self.tasks, self.begin = 0.0, 0, 0.0
        super().__init__()

    def _pretask(self, key: Any, dsk: Any, state: Any) -> None:
        self.begin = time.process_time()

    def _posttask(self, key: Any, result: Any, dsk: Any, state: Any, worker_id: Any) -> None:
        self.seconds += time.process_time() - self.begin
        self.tasks += 1


def overhead(side: int = 2048, chunk: int = 1024) -> dict[str, float]:
    """Processor time of superpixels on chunks, over that of the kernel on the whole; and the share of each part."""
    image = picture(side)
    cut = xr.DataArray(image, dims=("band", "y", "x")).chunk({"y": chunk, "x": chunk})
    kernel = seconds(lambda: slic(image, 39))
    found: dict[str, float] = {}
    for name, options in (("exchange", {"exchange": True}), ("halo", {"exchange": False})):
        lazy = superpixels(cut, step=39, scale=1.0, **options)
        lazy.compute(scheduler="synchronous")
        found[name] = seconds(partial(lazy.compute, scheduler="synchronous")) / kernel
        with Inside() as inside:
            outside = seconds(partial(lazy.compute, scheduler="synchronous"), 1) - inside.seconds
        found[f"{name}: tasks"] = inside.tasks
        found[f"{name}: share outside of tasks"] = outside / (outside + inside.seconds)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slic", description=__doc__)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--costs", action="store_true", help="also what a pixel costs, by parameter, and Dask's share")
    parser.add_argument("--largest", type=int, default=0, help="also larger images, up to so many Mpx (64: 4 GB)")
    arguments = parser.parse_args()
    found = measure(arguments.side, arguments.repeats)
    base = found["scikit-image"]
    print(f"SLIC, {arguments.side}² px, 3 bands, about 2,800 superpixels, 10 iterations; Mpx/s and × scikit-image\n")
    for name, rates in found.items():
        shown = "   ".join(f"{key} {rate:6.2f} ({rate / base[key]:5.1f} ×)" for key, rate in rates.items())
        print(f"  {name:<40} {shown}")
    if arguments.costs:
        print("\nProcessor time per pixel, ns (3 bands, step 32, 10 iterations but where told)")
        for name, row in costs().items():
            print(f"  {name:<16}" + "  ".join(f"{k}: {v:.1f}" for k, v in row.items()))
        print("\nChunks of 1024² of 2048², over the kernel on the whole")
        for name, ratio in overhead().items():
            print(f"  {name:<30} {ratio:.3g}")
    if arguments.largest:
        print("\nMpx/s by wall clock, by size of the image")
        for mega, rates in sizes(arguments.largest).items():
            print(f"  {mega:>3} Mpx  " + "  ".join(f"{k}: {v:.1f}" for k, v in rates.items()), flush=True)


if __name__ == "__main__":
    main()
