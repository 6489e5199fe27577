"""``python -m benchmarks.assess``: `assess` and `sample_design` on large maps: speed beside SciPy, and memory.

Each size runs in a process of its own, from blocks that are made on the fly, so that its peak memory is its own.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

import dask
import dask.array as da
import numpy as np
import xarray as xr
from scipy import ndimage

from lakecube.accuracy import assess, sample_design

BLOCK = 1024


def block(block_info=None, shift=0):
    """Round lakes of many sizes, from the place alone, some of it unknown."""
    (rows, columns) = block_info[None]["array-location"]
    y, x = np.ogrid[slice(*rows), slice(*columns)]
    waves = np.sin(y / 37 + shift) * np.sin(x / 41) + np.sin(y / 173) * np.sin((x + shift) / 157 + 1)
    states = (waves > 0.9).astype(np.uint8)
    states[(y // 300 + x // 300) % 9 == 0] = 255
    return states


def image(side: int, shift: float = 0.0) -> xr.DataArray:
    """A map of `side`² px."""
    chunks = da.core.normalize_chunks(BLOCK, (side, side))
    data = da.map_blocks(block, shift=shift, chunks=chunks, dtype=np.uint8, meta=np.empty((0, 0), np.uint8))
    return xr.DataArray(data, dims=("y", "x"), coords={"y": -10.0 * np.arange(side), "x": 10.0 * np.arange(side)})


def plain(mapped: np.ndarray, reference: np.ndarray) -> None:
    """What a user writes: counts by comparing, objects by SciPy's labels and sums."""
    for m in (0, 1, 255):
        for r in (0, 1, 255):
            np.count_nonzero((mapped == m) & (reference == r))
    eight = np.ones((3, 3))
    ours, theirs = (ndimage.label(v == 1, eight)[0] for v in (mapped, reference))
    np.unique(ours.astype(np.int64) << 32 | theirs, return_counts=True)


def run(what: str, side: int) -> dict[str, float]:
    """Seconds and peak MiB of one task in this process."""
    a, b = image(side), image(side, 2.0)
    small = image(BLOCK)
    assess(small, small)
    sample_design(small, n=100)
    held = dask.compute(a.data, b.data) if what == "plain" else None
    begin = time.perf_counter()
    if what == "assess":
        assess(a, b.chunk())
    elif what == "counts":
        assess(a, b, objects=False, edge_width=None)
    elif what == "edges":
        assess(a, b, objects=False)
    elif what == "design":
        sample_design(a)
    elif held is not None:
        plain(*held)
    return {
        "seconds": time.perf_counter() - begin,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def measure(sides: tuple[int, ...] = (4096, 8192)) -> dict[str, dict[int, dict[str, float]]]:
    """Every task at every size."""
    out: dict[str, dict[int, dict[str, float]]] = {}
    for what in ("counts", "edges", "assess", "design", "plain"):
        for side in sides:
            words = [sys.executable, "-m", "benchmarks.assess", what, str(side)]
            done = subprocess.run(words, capture_output=True, text=True, check=True)
            out.setdefault(what, {})[side] = json.loads(done.stdout)
    return out


def show() -> None:
    """Print all."""
    for what, sizes in measure().items():
        for side, found in sizes.items():
            rate = side**2 / found["seconds"] / 1e6
            print(f"{what:<8} {side}²  {found['seconds']:6.2f} s  {rate:6.1f} Mpx/s  peak {found['peak_mib']:6.0f} MiB")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(run(sys.argv[1], int(sys.argv[2]))))
    else:
        show()
