"""``python -m benchmarks.revision [--size 1024] [--dates 60 240 960]``: what revising costs, and what it holds.

Every store is made of bowls that fill and empty under drifting clouds (`tests.store.bowls`, tiled), each run in a
process of its own: seconds of a revision, per date, and peak memory; then memory for 8 × the dates and 8 × the area.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

_RUN = """
import json, re, sys, time, warnings
warnings.simplefilter("ignore")
import dask, dask.array as da, numpy as np
from lakecube.store import revise, to_zarr
from tests.store.bowls import bowls
path, dates, height, width, chunk = sys.argv[1], *map(int, sys.argv[2:])
def grown(times):
    water, _ = bowls(dates=times, chunks=(1, 96, 80))
    y, x = -(-height // 96), -(-width // 80)
    out = {n: ("time y x".split(), da.tile(v.data, (1, y, x))[:, :height, :width].rechunk((1, chunk, chunk)))
           for n, v in water.items()}
    axes = {"y": 3e6 - 10 * (np.arange(height) + 0.5), "x": 5e5 + 10 * (np.arange(width) + 0.5)}
    return water.drop_vars(list(out)).drop_vars(["y", "x"]).assign(out).assign_coords(axes)
with dask.config.set(num_workers=2):
    to_zarr(bowls(dates=3)[0], path + "-warm", chunks=48, progress=False)  # compiles
    to_zarr(grown(dates), path, chunks=chunk, progress=False, revise=False)
    begin = time.perf_counter()
    store = revise(path, progress=False)
    seconds = time.perf_counter() - begin
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
print(json.dumps({"seconds": seconds, "peak_mib": peak, "lakes": store.sizes["lake"]}))
"""


def revise_cost(dates: int, height: int, width: int, chunk: int = 512) -> dict[str, float]:
    """Seconds, peak memory and lakes of one revision, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [sys.executable, "-c", _RUN, f"{folder}/s", *map(str, (dates, height, width, chunk))]
        done = subprocess.run(arguments, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.revision", description=__doc__)
    parser.add_argument("--size", type=int, default=1024, help="side of the image in pixels")
    parser.add_argument("--dates", type=int, nargs="+", default=[60, 240, 960])
    given = parser.parse_args()
    for dates in given.dates:
        found = revise_cost(dates, given.size, given.size)
        per = 1000 * found["seconds"] / dates / (given.size**2 / 1e6)
        print(f"{dates:>5} dates of {given.size}²: {found['seconds']:7.1f} s, {per:6.1f} ms per date and megapixel, "
              f"{found['peak_mib']:.0f} MiB, {found['lakes']:.0f} water bodies", flush=True)  # fmt: skip
    base, more, wide = (revise_cost(*shape, chunk=256) for shape in ((10, 512, 512), (80, 512, 512), (10, 1024, 2048)))
    print(f"memory: {base['peak_mib']:.0f} MiB; 8 × the dates {more['peak_mib'] / base['peak_mib']:.2f} ×, "
          f"8 × the area {wide['peak_mib'] / base['peak_mib']:.2f} ×")  # fmt: skip


if __name__ == "__main__":
    main()
