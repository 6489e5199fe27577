"""``python -m benchmarks.slic [--side N] [--repeats N]``: SLIC against scikit-image, same image and parameters.

2048² pixels, 3 bands, about 2,800 superpixels, 10 iterations. The sides take turns, the best run of each counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import dask
import numpy as np
import xarray as xr
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
    cut = xr.DataArray(image, dims=("band", "y", "x")).chunk({"y": -(-side // 4), "x": -1})

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


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slic", description=__doc__)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    found = measure(arguments.side, arguments.repeats)
    base = found["scikit-image"]
    print(f"SLIC, {arguments.side}² px, 3 bands, about 2,800 superpixels, 10 iterations; Mpx/s and × scikit-image\n")
    for name, rates in found.items():
        shown = "   ".join(f"{key} {rate:6.2f} ({rate / base[key]:5.1f} ×)" for key, rate in rates.items())
        print(f"  {name:<40} {shown}")


if __name__ == "__main__":
    main()
