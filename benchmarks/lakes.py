"""``python -m benchmarks.lakes [--side N] [--repeats N] [--extent]``: lakes against SciPy, and the default extent.

Labels, measures and areas of one image, Mpx/s beside `scipy.ndimage.label` and `sum_labels`, the sides in turns, the
best run of each; how long 10⁶ lakes take to identify; memory of `lakes()` when dates and area grow. With ``--extent``:
lakes found, missed and invented on a synthetic archive for several `min_frequency`, which takes minutes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr
from scipy import ndimage

import lakecube
from lakecube.kernels.label import label_block, merge_pairs, relabel, touching_pairs
from lakecube.kernels.lake_areas import lake_runs, pack_area, sum_states
from lakecube.kernels.lake_overlap import OVERLAP_TABLE, overlap_block
from lakecube.kernels.lakes import LAKE_TABLE, measure_block
from lakecube.kernels.outline import corners_block, join_corners, trace_rings
from lakecube.series.lakes import lakes
from lakecube.series.registry import Registry, identify
from lakecube.synthetic import make_archive


def classes_of(side: int, water: float) -> np.ndarray:
    """Lakes of many sizes that cover a share of an image: 0 and 1."""
    rng = np.random.default_rng(0)
    ground = sum(ndimage.gaussian_filter(rng.normal(size=(side, side)).astype(np.float32), s) * s for s in (3, 12))
    return (ground > np.quantile(ground[::8, ::8], 1 - water)).astype(np.uint8)


def in_turns(sides: dict[str, Callable[[], Any]], pixels: int, repeats: int) -> dict[str, float]:
    """Mpx/s of the best run of each side, after one to compile: of processor time, for all have one thread."""
    best = dict.fromkeys(sides, np.inf)
    for k in range(repeats + 1):
        for name, run in sides.items():
            begin = time.thread_time()
            run()
            if k:
                best[name] = min(best[name], time.thread_time() - begin)
    return {name: pixels / seconds / 1e6 for name, seconds in best.items()}


def joined(classes: np.ndarray, block: int) -> np.ndarray:
    """Labels of an image in blocks, as the store makes them."""
    side = classes.shape[0]
    labels = np.empty(classes.shape, np.int64)
    for y in range(0, side, block):
        for x in range(0, side, block):
            part = np.s_[y : y + block, x : x + block]
            labels[part] = label_block(classes[part], y, x, side)
    cuts = range(block, side, block)
    pairs = [touching_pairs(labels[k - 1], classes[k - 1], labels[k], classes[k]) for k in cuts]
    pairs += [touching_pairs(labels[:, k - 1], classes[:, k - 1], labels[:, k], classes[:, k]) for k in cuts]
    old, new = merge_pairs(pairs)
    for y in range(0, side, block):
        for x in range(0, side, block):
            part = np.s_[y : y + block, x : x + block]
            labels[part] = relabel(labels[part], old, new)
    return labels


def kernels(side: int, water: float, repeats: int) -> dict[str, float]:
    """Mpx/s of every step on one image."""
    classes = classes_of(side, water)
    halo = np.pad(classes, 1, constant_values=255)
    labels = label_block(classes, 0, 0, side)
    theirs, n = ndimage.label(classes)
    area, edges = np.full((side, side), 819_200), np.full((side + 1, side + 1), 10 << 20)
    ids, runs = lake_runs(labels)
    packed = pack_area(area, runs)
    wide = np.pad(labels, 1)
    corners = join_corners([corners_block(wide, 0, 0)])
    square = np.ones((3, 3), bool)
    sides: dict[str, Callable[[], Any]] = {
        "scipy.ndimage.label": lambda: ndimage.label(classes, square),
        "lakecube labels": lambda: label_block(classes, 0, 0, side),
        "lakecube labels, in blocks of 1024": lambda: joined(classes, 1024),
        "scipy.ndimage.sum_labels (area)": lambda: ndimage.sum_labels(area, theirs, np.arange(n + 1)),
        "lakecube measures (area, perimeter, …)": lambda: measure_block(
            halo, labels, 0, 0, area, edges[:, 1:], edges[1:]
        ),
        "lakecube overlaps": lambda: overlap_block(labels, labels),
        "lakecube areas of a date": lambda: sum_states(classes[None], None, runs, ids.size, packed),
        "lakecube outlines": lambda: trace_rings(join_corners([corners_block(wide, 0, 0)])),
    }
    found = in_turns(sides, side * side, repeats)
    print(f"\n{side}² px, {water:.0%} water, {n} lakes, {len(corners)} corners")
    for name, rate in found.items():
        print(f"  {name:<42} {rate:7.0f} Mpx/s   {rate / found['scipy.ndimage.label']:5.2f} × scipy.ndimage.label")
    return found


def registry(lakes_of: int = 10**6) -> float:
    """Seconds to identify lakes that all have a past."""
    table = np.zeros(lakes_of, LAKE_TABLE)
    table["label"], table["class"], table["pixels"] = np.arange(1, lakes_of + 1), 1, 100
    none = np.zeros(0, OVERLAP_TABLE)
    ids, first, _ = identify(table, none, Registry.empty(), 1)
    overlaps = np.zeros(lakes_of, OVERLAP_TABLE)
    overlaps["label"], overlaps["previous"], overlaps["pixels"] = table["label"], ids[::-1], 90
    begin = time.perf_counter()
    identify(table, overlaps, first, 2)
    seconds = time.perf_counter() - begin
    print(f"\n{lakes_of:,} lakes matched to their past: {seconds:.1f} s")
    return seconds


def memory(side: int, dates: int) -> float:
    """Peak MiB while finding lakes and adding up their areas, one chunk and date at a time."""
    chunk = 512
    classes = classes_of(1024, 0.05)

    def one(block_info: Any = None) -> np.ndarray:
        (_, (y, _), (x, _)) = block_info[None]["array-location"]
        return classes[y % 1024 : y % 1024 + chunk, x % 1024 : x % 1024 + chunk][None]

    whole = da.map_blocks(
        one, chunks=((1,) * dates, (chunk,) * (side // chunk), (chunk,) * (side // chunk)), dtype="u1"
    )
    axis = 10.0 * np.arange(side)
    mask = xr.DataArray(whole, dims=("time", "y", "x"), coords={"y": -axis, "x": axis}, name="water_mask")
    with dask.config.set(scheduler="synchronous"):
        tracemalloc.start()
        lakes(mask)["lake_area_observed"].sum("lake").compute()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak / 2**20


def extent_table(shape: tuple[int, int] = (384, 384), dates: int = 30, seed: int = 0) -> None:
    """Lakes found, missed, invented, and pixels of the reference extent, against what was truly wet."""
    with tempfile.TemporaryDirectory() as folder:
        archive = make_archive(folder, shape=shape, dates=dates, seed=seed)
        mask = lakecube.open(archive.items_path, dem=archive.dem_path).water.extract()["water_mask"].compute()
    wet = archive.truth["water"].values == 1
    ever, share = wet.any(axis=0), wet.mean(axis=0)
    basins = archive.truth["lake_id"].values
    print(f"\nReference extent on a synthetic archive, {shape[0]}² px, {dates} dates, seed {seed}")
    print("  min_frequency  recall, precision of  lakes found,   bodies,  invented,  of these  provisional")
    print("  min_wet        what was ever wet     in pieces                          >= 10 px  bodies")
    for min_frequency, min_wet in ((0, 1), (0.05, 2), (0.1, 1), (0.1, 2), (0.15, 2), (0.2, 2), (0.3, 2), (0.5, 2)):
        found = lakes(mask, min_frequency=min_frequency, min_wet=min_wet).compute()
        label = found["lake_label"].values
        reference = np.isin(label, found["lake"].values[found["provisional"].values == 0])
        names = [np.unique(label[(basins == k) & reference & (share > 0.2)]) for k in np.unique(basins[basins > 0])]
        bodies, pixels = np.unique(label[reference], return_counts=True)
        invented = np.array([not (ever & (label == body)).any() for body in bodies])
        recall, precision = (reference & ever).sum() / ever.sum(), (reference & ever).sum() / max(reference.sum(), 1)
        found_of = f"{sum(len(n) > 0 for n in names)} of {len(names)}, {sum(len(n) > 1 for n in names)}"
        large = (invented & (pixels >= 10)).sum()
        print(
            f"  {min_frequency:<5} {min_wet:<8}  {recall:.3f}, {precision:.3f}         {found_of:<14} {len(bodies):<8} "
            f"{invented.sum():<10} {large:<9} {int(found['provisional'].sum())}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lakes", description=__doc__)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--extent", action="store_true", help="measure the default of min_frequency instead")
    arguments = parser.parse_args()
    if arguments.extent:
        for seed in (0, 1):
            extent_table(seed=seed)
        return
    for water in (0.03, 0.1, 0.5):
        kernels(arguments.side, water, arguments.repeats)
    registry()
    base = memory(1024, 10)
    grown = {"8 × the dates": memory(1024, 80), "4 × the area": memory(2048, 10), "16 × the area": memory(4096, 10)}
    print(f"\nlakes(), peak of Python's memory: {base:.1f} MiB for 1024² px × 10 dates")
    for name, peak in grown.items():
        print(f"  {name:<16} {peak:6.1f} MiB   {peak / base:.2f} ×")


if __name__ == "__main__":
    main()
