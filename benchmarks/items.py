"""``python -m benchmarks.items [--items N] [--per-date N]``: many STAC items opened, and a store of them updated.

Generated items in a folder of item collections of 1,000: no network, and one small scene for all of them. The first
process opens them; the second maps all dates and stores them; the third calls `update`, which finds nothing new. It
tells processor seconds (of the process: others do not count, though a busy machine makes them dearer) and memory.
``--profile`` prints where the time of opening and of the update goes. A hundred thousand items take ten minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import io
import json
import os
import pstats
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scale import status
from lakecube.synthetic import make_archive

#: Items in a file.
_FILE = 1000
_BANDS = ["green", "nir", "swir16"]
_LETTERS = "ABCDEFGHJKLMNPQRSTUV"


def make(folder: Path, items: int, per_date: int) -> Path:
    """A folder of generated items, `per_date` tiles on each date, all of one small scene; its path."""
    archive = make_archive(folder, shape=(60, 66), dates=["2017-03-01"], bands=_BANDS, clouds=0, dem=False)
    (feature,) = json.loads(archive.items_path.read_text())["features"]
    for asset in feature["assets"].values():
        asset["href"] = str((archive.items_path.parent / asset["href"]).resolve())
    place = folder / "many"
    place.mkdir()
    for start in range(0, items, _FILE):
        features = [_item(feature, *divmod(k, per_date)) for k in range(start, min(start + _FILE, items))]
        text = json.dumps({"type": "FeatureCollection", "features": features})
        (place / f"{start:07d}.json").write_text(text)
    return place


def _item(feature: dict[str, Any], date: int, tile: int) -> dict[str, Any]:
    """One tile of one date."""
    code = f"48{_LETTERS[tile // 400 % 20]}{_LETTERS[tile // 20 % 20]}{_LETTERS[tile % 20]}"
    moment = f"{np.datetime64('1990-01-01') + date}T03:40:00Z"
    said = {"datetime": moment, "updated": moment, "created": moment, "grid:code": f"MGRS-{code}"}
    properties = {k: v for k, v in feature["properties"].items() if not k.startswith("s2:")} | said
    return {**feature, "id": f"S2A_{code}_{moment[:10]}", "properties": properties}


def run(what: str, items: Path, store: Path, profile: bool) -> dict[str, Any]:
    """One step in this process: seconds of processor and memory, besides those of imports."""
    import lakecube

    warnings.simplefilter("ignore")
    if what == "update":  # imports and kernels
        lakecube.open_store(store)
    before, begin = status("VmRSS"), time.process_time()
    with cProfile.Profile(time.process_time) if profile else contextlib.nullcontext() as told:
        kept = lakecube.update(store, progress=False) if what == "update" else lakecube.open(items, bands=_BANDS)
    seconds = time.process_time() - begin
    found = {"what": what, "seconds": seconds, "kept_mib": status("VmRSS") - before, "peak_mib": status("VmHWM")}
    if what == "write":
        begin = time.process_time()
        kept.water.extract().water.to_zarr(store, progress=False, revise=False)
        found |= {"seconds": time.process_time() - begin, "peak_mib": status("VmHWM")}
    if told is not None:
        out = io.StringIO()
        pstats.Stats(told, stream=out).sort_stats("cumulative").print_stats(60)
        print(out.getvalue(), file=sys.stderr)
    return found | {"dates": kept.sizes["time"], "items": kept.sizes["item"]}


def measure(folder: Path, items: int, per_date: int, *, profile: bool = False) -> list[dict[str, Any]]:
    """All steps, each in a process of its own."""
    given, store, found = make(folder, items, per_date), folder / "s.zarr", []
    for what in ("open", "write", "update"):
        command = [sys.executable, "-m", "benchmarks.items", "--child", what, str(given), str(store)]
        command += ["--profile"] if profile and what != "write" else []
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
        show(found[-1])
    return found


def show(found: dict[str, Any]) -> None:
    """Print one step."""
    print(
        f"{found['what']:<7} {found['items']:>7} items on {found['dates']:>6} dates  {found['seconds']:7.1f} s  "
        f"{1e3 * found['seconds'] / found['items']:.2f} ms an item  kept {found['kept_mib']:.0f} MiB  "
        f"peak {found['peak_mib']:.0f} MiB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.items", description=__doc__)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--per-date", type=int, default=100)
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        what, items, store = given.child
        print(json.dumps(run(what, Path(items), Path(store), given.profile)))
        return
    with tempfile.TemporaryDirectory() as place:
        measure(Path(place), given.items, given.per_date, profile=given.profile)


if __name__ == "__main__":
    main()
