"""Memory and graphs depend on the block, not on the area or the number of dates."""

import json
import os
import subprocess
import sys
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from lakecube.store import to_zarr
from lakecube.store.waves import Box, Runner, boxes
from tests.store.made import extract

CHILD = """
import resource, sys
import dask, dask.array as da, numpy as np, xarray as xr
from lakecube.store import to_zarr
path, times, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
def block(t, y, x):
    rng = np.random.default_rng([int(t[0]), int(y[0]), int(x[0])])
    return np.repeat(rng.integers(0, 2, (1, 1, 256), dtype=np.uint8), 256, axis=1)
def axis(n):
    return da.from_array(np.arange(n), chunks=1)
n = size // 256
mask = da.blockwise(block, "tyx", axis(times), "t", axis(n), "y", axis(n), "x", dtype="uint8",
                    meta=np.empty((0, 0, 0), "uint8"), align_arrays=False)
mask._chunks = ((1,) * times, (256,) * n, (256,) * n)
water = xr.Dataset(
    {"water_mask": (("time", "y", "x"), mask), "reason": (("time", "y", "x"), mask)},
    coords={"time": np.datetime64("2020-01-01", "ns") + np.arange(times) * np.timedelta64(1, "D"),
            "y": -10.0 * np.arange(size), "x": 10.0 * np.arange(size)},
)
with dask.config.set(num_workers=2):
    to_zarr(water.isel(time=slice(0, 2)), path + "-warm", chunks=256)
    to_zarr(water, path, chunks=256, wave=64)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def peak(path, times, size):
    """Peak resident memory of a process that stores `times` dates of `size`² pixels, MB."""
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(root), "PYTHONWARNINGS": "ignore"}
    args = [sys.executable, "-c", CHILD, str(path), str(times), str(size)]
    return float(subprocess.run(args, cwd=root, env=env, check=True, capture_output=True, text=True).stdout)


@pytest.mark.slow
def test_memory_does_not_grow_with_dates_or_area(tmp_path):
    few = peak(tmp_path / "few", 40, 512)
    many = peak(tmp_path / "many", 320, 512)
    large = peak(tmp_path / "large", 40, 1536)
    assert many <= 1.2 * few and large <= 1.2 * few


def test_tasks_per_block_and_date(tmp_path):
    water = extract(times=6, rows=64, columns=64, chunks=(1, 16, 16))
    to_zarr(water, tmp_path / "s", chunks=16)
    run = json.loads((tmp_path / "s/_runs/0.json").read_text())
    blocks = 6 * 16
    assert run["passes"]["observed"]["blocks"] == blocks
    assert run["passes"]["observed"]["tasks"] / blocks <= 3
    assert run["passes"]["counts"]["blocks"] == 16


def test_pixels_do_not_compute_their_thresholds_again(tmp_path):
    calls = []

    def seen(block):
        calls.append(block.shape)
        return block.mean(axis=(1, 2), dtype="float64").astype("float32")[:, None]

    data = da.from_array(np.random.default_rng(0).random((3, 8, 8)).astype("float32"), chunks=(1, 4, 4))
    whole = data.rechunk((1, 8, 8))
    threshold = whole.map_blocks(
        seen, drop_axis=2, chunks=((1, 1, 1), (1,)), dtype="float32", meta=np.empty((0, 0), "f4")
    )
    mask = (data > threshold[:, :, None]).astype("uint8")
    water = xr.Dataset(
        {
            "water_mask": (("time", "y", "x"), mask),
            "reason": (("time", "y", "x"), mask),
            "threshold": (("time", "index"), threshold),
        },
        coords={"time": np.arange(3).astype("M8[D]").astype("M8[ns]"), "y": np.arange(8.0), "x": np.arange(8.0)},
    )
    out = to_zarr(water, tmp_path / "s", chunks=4)
    assert calls == [(1, 8, 8)] * 3
    np.testing.assert_array_equal(out.threshold, water.threshold)


def test_a_part_of_a_large_graph_is_cut_without_making_the_whole():
    n = 400_000
    source = da.ones((n, 2, 2), chunks=(1, 1, 1), dtype="float32")
    runner = Runner([(source + 1) * 2])
    keys = [(runner.names[0], n - 1, 0, 1), (runner.names[0], 5, 1, 1)]
    assert len(runner.part(set(keys))) == 2
    assert [float(v.item()) for v in runner.run(keys)] == [4.0, 4.0]
    assert not any(layer.is_materialized() for layer in runner.graph.layers.values())


@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 3, 4), (2, 7, 11), (9, 1, 1)])
@pytest.mark.parametrize("wave", [1, 2, 5, 12, 1000])
def test_boxes_cover_every_block_once(shape, wave):
    hits = np.zeros(shape, int)
    for box in boxes(shape, wave):
        assert isinstance(box, Box) and 1 <= hits[box.index].size <= wave
        hits[box.index] += 1
    assert (hits == 1).all()
