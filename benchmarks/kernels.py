"""Kernels against the libraries a user would call instead: Mpx/s, side by side."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

from benchmarks.lakes import classes_of
from lakecube.kernels import histogram, indices, resample, rules
from lakecube.kernels.label import label_block
from lakecube.kernels.lake_areas import lake_runs, pack_area, sum_states
from lakecube.kernels.lakes import measure_block
from lakecube.kernels.morphology import dilate_disk
from lakecube.names import OBSERVATION

N = 4096


def rate(function: Callable[[], Any], pixels: int = N * N, repeats: int = 5) -> float:
    """Best of some runs, in Mpx/s, after one to compile."""
    function()
    best = min(_seconds(function) for _ in range(repeats))
    return pixels / best / 1e6


def _seconds(function: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def measure() -> dict[str, dict[str, float]]:
    """Mpx/s of each kernel and of its reference."""
    generator = np.random.default_rng(0)
    a, b = generator.uniform(0.01, 0.4, (2, N, N)).astype(np.float32)
    small = (slice(0, 1024), slice(0, 1024))
    names = ("blue", "green", "red", "nir", "rededge1", "nir09", "swir16", "swir22")
    bands = {name: generator.uniform(0.01, 0.3, (1024, 1024)).astype(np.float32) for name in names}
    clear = np.full((1024, 1024), OBSERVATION["clear"], np.uint8)
    numbers = generator.integers(1, 4000, (1024, 1024)).astype(np.uint16)
    clouds = ndimage.gaussian_filter(a[small], 20) > 0.205
    disk = np.hypot(*np.mgrid[-4:5, -4:5]) <= 4
    mndwi = indices.mndwi(a, b)
    state = np.zeros((N, N), np.uint8)
    water = classes_of(N, 0.1)
    halo, labels, square = np.pad(water, 1, constant_values=255), label_block(water, 0, 0, N), np.ones((3, 3), bool)
    area, edges = np.full((N, N), 819_200), np.full((N + 1, N + 1), 10 << 20)
    ids, runs = lake_runs(labels)
    packed = pack_area(area, runs)
    mega = 1024 * 1024
    return {
        "normalised difference": {
            "lakecube": rate(lambda: indices.mndwi(a, b)),
            "numpy": rate(lambda: (a - b) / (a + b)),
        },
        "histogram Otsu": {
            "lakecube": rate(
                lambda: histogram.otsu(
                    histogram.count_tiles(mndwi, None, state, 0, 0)[1].sum(0)[0], histogram.bin_centers(0)
                )
            ),
            "scikit-image": rate(lambda: threshold_otsu(mndwi)),
        },
        "decode uint16 to reflectance": {
            "lakecube": rate(lambda: resample.decode(numbers, 1e-4, -0.1, 0.0), mega),
            "numpy": rate(lambda: np.where(numbers == 0, np.nan, numbers * np.float32(1e-4) - np.float32(0.1)), mega),
        },
        "raise 20 m to 10 m, bilinear": {
            "lakecube": rate(lambda: resample.raise_bilinear(a[small], 2, 2, 0, 0, 2048, 2048), 4 * mega),
            "scipy zoom": rate(lambda: ndimage.zoom(a[small], 2, order=1, mode="nearest", grid_mode=True), 4 * mega),
        },
        "cloud buffer, 4 px": {
            "lakecube": rate(lambda: dilate_disk(clouds, 4), mega),
            "scipy": rate(lambda: ndimage.binary_dilation(clouds, disk), mega),
        },
        "connected components, 10 % water": {
            "lakecube": rate(lambda: label_block(water, 0, 0, N)),
            "scipy label": rate(lambda: ndimage.label(water, square)),
        },
        "lakes: area, perimeter, box, …": {
            "lakecube": rate(lambda: measure_block(halo, labels, 0, 0, area, edges[:, 1:], edges[1:])),
            "scipy label": rate(lambda: ndimage.label(water, square)),
        },
        "areas of the lakes on a date": {
            "lakecube": rate(lambda: sum_states(water[None], None, runs, ids.size, packed)),
            "scipy label": rate(lambda: ndimage.label(water, square)),
        },
        "fusion's judgement, eight bands": {
            "lakecube": rate(lambda: rules.classify(bands, clear, None, np.float32([0.1, 0.0])), mega),
        },
    }
