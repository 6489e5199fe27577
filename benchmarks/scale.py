"""``python -m benchmarks.scale``: an archive of more than 100 GB, processed with memory that does not grow.

Five runs of `open` → `extract` → `to_zarr` with a revision, each in a process of its own: 1, 4 and 16 times the area,
then 1, 4 and 16 times the dates of the largest. The archive is sparse (`benchmarks.sparse_archive`): its size is what
its files would hold if they were full; a sixteenth of the blocks is clear and read in all bands, the quality layer
tells that the others are cloud or were not acquired. Beside what happens stands what `plan` said before.

Every run is printed, and kept in the file of ``--json``, as it ends; the same command goes on after the last one there.
All five take about five minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import Any

from benchmarks import sparse_archive
from benchmarks.archive import archive

#: Sides (pixels of 10 m) and numbers of dates of the five runs.
FULL = ((2700, 6), (5400, 6), (10800, 6), (10800, 24), (10800, 96))
QUICK = ((540, 2), (1080, 2), (2160, 2), (2160, 8), (2160, 32))
#: Pixel size of the cube in metres.
RESOLUTION = 20


def status(name: str) -> float:
    """A line of what the system tells of this process, MiB."""
    found = re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else float("nan")


class Sampled(threading.Thread):
    """Resident memory of this process, four times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.values: list[float] = []
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.25):
            self.values.append(status("VmRSS"))

    def growth(self) -> float:
        """The peak of the last third of the time over that of the first."""
        self.over.set()
        n = max(len(self.values) // 3, 1)
        return max(self.values[-n:], default=1.0) / max(self.values[:n], default=1.0)


class Graphs:
    """The graphs that are sent out while it is entered: the largest, and the client's time of making them."""

    def __enter__(self) -> Graphs:
        from lakecube.store import waves

        self.tasks = self.bytes = self.waves = 0
        self.seconds = 0.0
        self.part = part = waves.Runner.part

        def told(runner: Any, keys: set[Any]) -> dict[Any, Any]:
            begin = time.perf_counter()
            graph = part(runner, keys)
            self.seconds += time.perf_counter() - begin
            self.waves += 1
            if len(graph) > self.tasks:
                import cloudpickle

                self.tasks, self.bytes = len(graph), len(cloudpickle.dumps(graph))
            return graph

        waves.Runner.part = told  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        from lakecube.store import waves

        waves.Runner.part = self.part  # type: ignore[method-assign]


def process(items: Path, store: Path, chunks: int, speed: float | None = None) -> dict[str, Any]:
    """One run in this process: what was planned, what happened."""
    import dask

    import lakecube

    warnings.simplefilter("ignore")
    sampled = Sampled()
    begin = time.perf_counter()
    cube = lakecube.open(items, resolution=RESOLUTION, crs="EPSG:32648", chunks=chunks)
    opened = time.perf_counter()
    with dask.config.set(num_workers=2):
        plan = cube.water.plan(chunks=chunks, speed=speed)
        planned = time.perf_counter()
        before = status("VmHWM")
        sampled.start()
        with Graphs() as graphs:
            cube.water.extract().water.to_zarr(store, chunks=chunks, progress=False)
    took = time.perf_counter() - planned
    report = json.loads((store / "_runs" / "0.json").read_text())
    passes = {name: entry.get("tasks", 0) for name, entry in report["passes"].items()}
    return {
        "scenes": plan.scenes, "pixels": plan.pixels, "blocks": plan.blocks, "open_s": opened - begin,
        "plan_s": planned - opened, "seconds": took, "start_mib": before, "peak_mib": status("VmHWM"),
        "growth": sampled.growth(), "waves": graphs.waves, "graph_tasks": graphs.tasks, "graph_bytes": graphs.bytes,
        "client_s": graphs.seconds, "tasks": sum(passes.values()), "passes": passes,
        "tasks_per_block": (passes["observed"] + passes.get("facts", 0)) / plan.blocks,
        "stored_bytes": report["bytes_written"], "unknown_share": report["unknown_share"],
        "pass_seconds": {name: entry.get("seconds") for name, entry in report["passes"].items()},
        "speed": report["speed"], "threads": report["threads"],
        "planned": {"tasks": sum(plan.tasks.values()), "peak_mib": plan.peak_memory / 2**20, "seconds": plan.seconds,
                    "bytes_raw": plan.bytes_raw},
    }  # fmt: skip


def run(
    folder: Path, side: int, dates: int, chunks: int, speed: float | None = None, **options: Any
) -> dict[str, Any]:  # fmt: skip
    """One run in a process of its own, on an archive that is removed again."""
    place = folder / f"{side}-{dates}"
    place.mkdir()
    items = sparse_archive.make(place, side, dates, **options)
    on_disk = sum(f.stat().st_size for f in place.rglob("*.tif") if not f.parent.is_symlink())
    given = [items, place / "s.zarr", chunks, speed or 0]
    command = [sys.executable, "-m", "benchmarks.scale", "--child", *map(str, given)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if done.returncode:
        raise RuntimeError(done.stderr)
    shutil.rmtree(place)
    nominal = dates * sparse_archive.nominal_bytes(side)
    return json.loads(done.stdout.splitlines()[-1]) | {
        "side": side, "dates": dates, "nominal_bytes": nominal, "disk_bytes": on_disk,
    }  # fmt: skip


def bytes_read(items: Path, folder: Path, chunks: int) -> tuple[int, int]:
    """Bytes that a plan of `items` expects to be read, and those that are: of the second of two equal runs."""
    import lakecube
    from benchmarks.pipeline import forget

    plan, before = lakecube.open(items, chunks=chunks).water.plan(chunks=chunks), 0
    for store in ("warm", "measured"):  # the first run reads modules and compiled kernels as well
        forget()
        water = lakecube.open(items, chunks=chunks).water.extract()
        before = _characters_read()
        water.water.to_zarr(folder / store, chunks=chunks, revise=False, progress=False)
    return plan.bytes_read, _characters_read() - before


def _characters_read() -> int:
    """Bytes this process has read so far, from disk or from the system's memory of it."""
    return int(Path("/proc/self/io").read_text().split()[1])


def show(found: dict[str, Any]) -> None:
    """Print one run: what happened, and what was planned."""
    planned, mpx = found["planned"], found["pixels"] / 1e6
    print(
        f"{found['side']}² × {found['dates']:<3} {found['nominal_bytes'] / 1e9:6.1f} GB nominal "
        f"(plan {planned['bytes_raw'] / 1e9:.1f})  {mpx:6.0f} Mpx  {found['seconds']:6.1f} s (plan "
        f"{planned['seconds']:.0f})  {mpx / found['seconds']:5.1f} Mpx/s  peak {found['peak_mib']:.0f} MiB (plan "
        f"{planned['peak_mib']:.0f}, start {found['start_mib']:.0f}, last third / first {found['growth']:.2f})\n"
        f"    {found['blocks']} block·dates, {found['tasks']} tasks (plan {planned['tasks']}), "
        f"{found['tasks_per_block']:.2f} per block·date; largest graph {found['graph_tasks']} tasks, "
        f"{found['graph_bytes'] / 1e3:.0f} kB; graphs made in {found['client_s']:.2f} s; open {found['open_s']:.2f} s, "
        f"plan {found['plan_s']:.2f} s; stored {found['stored_bytes'] / 1e6:.1f} MB",
        flush=True,
    )


def measure(
    folder: Path, sizes: tuple[tuple[int, int], ...], chunks: int, kept: Path | None = None, **options: Any
) -> list[dict[str, Any]]:
    """All runs but those that `kept` holds, and the ratios of the memory they took."""
    found = json.loads(kept.read_text()) if kept is not None and kept.exists() else []
    if [(one["side"], one["dates"]) for one in found] != list(sizes[: len(found)]):
        raise ValueError(f"{kept} holds other runs: give another file, or remove it")
    for one in found:
        show(one)
    for side, dates in sizes[len(found) :]:
        speed = found[-1]["speed"] if found else None  # of the run before, the most alike
        found.append(run(folder, side, dates, chunks, speed, **options))
        show(found[-1])
        if kept is not None:
            kept.write_text(json.dumps(found, indent=1))
    area, most = found[2]["peak_mib"] / found[0]["peak_mib"], found[-1]["peak_mib"] / found[2]["peak_mib"]
    print(f"16 × the area: {area:.2f} × the memory; 16 × the dates: {most:.2f} ×")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the same on scenes a fifth as wide")
    parser.add_argument("--json", type=Path, help="where the figures are kept, and gone on from")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        items, store, chunks, speed = (*given.child, 0)[:4]
        print(json.dumps(process(Path(items), Path(store), int(chunks), float(speed) or None)))
        return
    with tempfile.TemporaryDirectory() as place:
        quick = {"block": 270, "chip": 240} if given.quick else {}
        measure(Path(place), QUICK if given.quick else FULL, 135 if given.quick else 675, given.json, **quick)
        expected, read = bytes_read(archive(), Path(place), 1020)
        print(f"an archive that is not sparse: {read / 1e6:.1f} MB read (plan {expected / 1e6:.1f})")


if __name__ == "__main__":
    main()
