"""``python -m benchmarks.store``: what one date more costs, and what a revision costs by the number of dates.

Ratios of one run: the observed row appended to a store of 60 dates against the same date processed alone.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import dask.array as da
import numpy as np
import xarray as xr

from lakecube.store import revise, to_zarr


def water(times: int, size: int) -> xr.Dataset:
    """A lazy extract whose every block is made when asked for."""

    def block(t: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        shape = (1, int(y.size), int(x.size))
        rng = np.random.default_rng([int(t[0]), int(y[0]), int(x[0])])
        level = np.repeat(rng.integers(0, 3, (1, -(-shape[1] // 16), shape[2]), dtype=np.uint8), 16, axis=1)
        return np.where(level == 2, 255, level)[:, : shape[1]].astype(np.uint8)

    axes = [da.arange(n, chunks=chunk) for n, chunk in ((times, 1), (size, min(size, 1024)), (size, min(size, 1024)))]
    mask = da.blockwise(
        block, "tyx", axes[0], "t", axes[1], "y", axes[2], "x", dtype="u1", meta=np.empty((0,) * 3, "u1")
    )
    days = np.datetime64("2000-01-01", "ns") + np.arange(times) * np.timedelta64(5, "D")
    return xr.Dataset(
        {"water_mask": (("time", "y", "x"), mask), "reason": (("time", "y", "x"), mask)},
        coords={"time": days, "y": -10.0 * np.arange(size), "x": 10.0 * np.arange(size)},
    ).assign_coords(item_id=("item", [f"i{t}" for t in range(times)]), item_time_index=("item", np.arange(times)))


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def measure(folder: Path, size: int, repeats: int, dates: list[int]) -> None:
    to_zarr(water(60, size), folder / "sixty", progress=False, revise=False)
    alone, more = [], []
    date = water(61, size).isel(time=[60]).assign_coords(item_time_index=("item", [0] * 61)).isel(item=[60])
    for k in range(repeats):
        shutil.copytree(folder / "sixty", folder / f"s{k}")
        alone.append(seconds(lambda k=k: to_zarr(date, folder / f"a{k}", progress=False, revise=False)))
        more.append(seconds(lambda k=k: to_zarr(date, folder / f"s{k}", mode="append", progress=False, revise=False)))
    ratio = statistics.median(more) / statistics.median(alone)
    print(f"one date of {size}²: alone {statistics.median(alone):.2f} s, appended to 60 {ratio:.2f} ×")
    for n in dates:
        path = folder / f"d{n}"
        to_zarr(water(n, size), path, progress=False, revise=False)
        took = seconds(lambda path=path: revise(path, progress=False))
        print(f"a revision of {n} dates of {size}²: {took:.2f} s, {n * size**2 / took / 1e6:.0f} million states/s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store", description=__doc__)
    parser.add_argument("--size", type=int, default=2048, help="rows and columns")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dates", type=int, nargs="*", default=[60, 240, 960], help="lengths of the revised stores")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        measure(Path(place), given.size, given.repeats, given.dates)
