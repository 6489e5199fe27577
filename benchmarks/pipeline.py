"""The pipeline against `odc.stac.load`: time, tasks per chunk·date, memory; every ratio from one run."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.archive import BANDS, archive, repeated

STORE = Path(tempfile.gettempdir()) / "lakecube-bench.zarr"


def odc_load(items_path: Path) -> Any:
    """`odc.stac.load` of the nine bands to 10 m, bilinear (SCL nearest), on threads."""
    import odc.stac
    import pystac

    items = list(pystac.ItemCollection.from_file(str(items_path)))
    for item in items:
        for asset in item.assets.values():
            asset.href = os.path.normpath(items_path.parent / asset.href)
    cube = odc.stac.load(
        items, bands=BANDS, resolution=10, crs="EPSG:32648", resampling={"*": "bilinear", "scl": "nearest"},
        chunks={"y": 1024, "x": 1024}, groupby="solar_day",
    )  # fmt: skip
    return cube.compute()


def read(items_path: Path) -> Any:
    """`lakecube.open` of the same bands to the same grid, computed."""
    import lakecube

    forget()
    return lakecube.open(str(items_path)).compute()


def fusion(items_path: Path) -> Any:
    """`fusion` from COGs to a committed store."""
    import lakecube

    forget()
    shutil.rmtree(STORE, ignore_errors=True)
    return lakecube.open(str(items_path)).water.extract().water.to_zarr(STORE, progress=False)


def forget() -> None:
    """Start without tiles or samples of the audit in memory."""
    from lakecube.io.audit import forget_samples
    from lakecube.io.raw_cache import RAW

    RAW.clear()
    forget_samples()


def timed(functions: dict[str, Callable[[Path], Any]], items_path: Path, repeats: int) -> dict[str, list[float]]:
    """Seconds of each function, taken in turns after one warm-up each."""
    for function in functions.values():
        function(items_path)
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            begin = time.perf_counter()
            function(items_path)
            seconds[name].append(time.perf_counter() - begin)
    return seconds


def tasks_per_block() -> dict[str, float]:
    """Tasks that the passes of the last `fusion` ran, per chunk·date, reading and writing included."""
    report = json.loads(max((STORE / "_runs").glob("*.json")).read_text())
    blocks = report["passes"]["observed"]["blocks"]
    return {name: entry["tasks"] / blocks for name, entry in report["passes"].items() if "tasks" in entry}


_PEAK = """
import re, sys, warnings
warnings.simplefilter("ignore")
import dask, lakecube
dask.config.set(num_workers=2)
cube = lakecube.open(sys.argv[1], chunks=512)
water = cube.water.extract()
if sys.argv[2]:
    water.water.to_zarr(sys.argv[2], progress=False, chunks=512)
# not ru_maxrss: that is handed on from the parent process
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024)
"""


def peak_memory(items_path: Path, run: bool = True) -> float:
    """Peak resident MiB of a process that runs `fusion` to a store; without `run` it stops before any pixel."""
    shutil.rmtree(STORE, ignore_errors=True)
    command = [sys.executable, "-c", _PEAK, str(items_path), str(STORE) if run else ""]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def graph_figures(dates: int = 600) -> dict[str, float]:
    """What a lazy `fusion` over `dates` dates of 64 chunks costs before anything runs."""
    import cloudpickle

    import lakecube

    path = repeated(archive(), dates // 6)
    begin = time.perf_counter()
    cube = lakecube.open(str(path), chunks=255)
    opened = time.perf_counter()
    graph = cube.water.extract().water_mask.data.dask
    built = time.perf_counter()
    size = len(cloudpickle.dumps(graph)) / 2**20
    return {"open_s": opened - begin, "extract_s": built - opened, "pickled_mib": size, "layers": len(graph.layers)}


def measure(repeats: int) -> dict[str, Any]:
    """All figures of the pipeline."""
    warnings.simplefilter("ignore")
    path = archive()
    seconds = timed({"odc.stac.load": odc_load, "lakecube.open": read, "fusion to store": fusion}, path, repeats)
    tasks = tasks_per_block()
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    peaks = {
        "nothing read": peak_memory(path, run=False),
        "1020² × 6": peak_memory(archive(1020, 6)),
        "2040² × 6": peak_memory(path),
        "2040² × 48": peak_memory(repeated(path, 8)),
    }
    return {
        "seconds": seconds,
        "median_s": medians,
        "ratio_read": medians["lakecube.open"] / medians["odc.stac.load"],
        "ratio_fusion": medians["fusion to store"] / medians["odc.stac.load"],
        "tasks_per_chunk_date": tasks,
        "peak_mib": peaks,
        "ratio_memory_8x_dates": peaks["2040² × 48"] / peaks["2040² × 6"],
        "ratio_memory_4x_area": peaks["2040² × 6"] / peaks["1020² × 6"],
        "graph": graph_figures(),
    }
