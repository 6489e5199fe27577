"""``python -m benchmarks.dashboard [--side 10000] [--dates 120] [--users 20] [--store PATH]``: how fast a page answers.

A store of bowls that fill and empty under clouds in every tenth block, nothing in the others. Then a server in a
process of its own: seconds until a headless Chromium has the first picture (the first visitor's, and a later one's),
from choosing a lake to its series, for each map of the whole area, and for many users at once; memory of the server.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from pyproj import CRS

from lakecube.store import to_zarr
from tests.dashboard.browser import Browser, is_there
from tests.store.bowls import bowls

#: One block in so many holds water.
SPARSE = 10
_PICTURE = "Bokeh.documents[0].get_model_by_name('map_figure').renderers[0].data_source.data.image"
_SERIES = "Bokeh.documents[0].get_model_by_name('series_figure').renderers[3].data_source.data.date"


def sparse(side: int, dates: int, chunk: int = 1024) -> xr.Dataset:
    """An extract of `dates` × `side` × `side` pixels, lazy."""
    water, _ = bowls(dates=dates, chunks=(1, 96, 80))
    small = {name: water[name].values for name in ("water_mask", "reason")}

    def block(name: str, fill: int, block_info: dict) -> np.ndarray:
        (date, _), (y, y_stop), (x, x_stop) = block_info[None]["array-location"]
        shape = (1, y_stop - y, x_stop - x)
        if (y // chunk * 7 + x // chunk * 3) % SPARSE:
            return np.full(shape, fill, np.uint8)
        return np.tile(small[name][date], (shape[1] // 96 + 1, shape[2] // 80 + 1))[None, : shape[1], : shape[2]]

    chunks = (1, chunk, chunk)
    like = da.empty((dates, side, side), chunks=chunks, dtype=np.uint8)
    options = {"chunks": like.chunks, "dtype": np.uint8, "meta": like._meta}
    pixels = {name: (("time", "y", "x"), da.map_blocks(block, name, 255, **options)) for name in small}
    coords = {
        "time": pd.date_range("2015-01-05", periods=dates, freq="30D").to_numpy("datetime64[ns]"),
        "y": 3e6 - 10 * (np.arange(side) + 0.5),
        "x": 5e5 + 10 * (np.arange(side) + 0.5),
    }
    dataset = xr.Dataset(pixels, coords=coords, attrs={k: water.attrs[k] for k in water.attrs})
    return dataset.assign_coords(spatial_ref=((), 0, CRS.from_epsg(32648).to_cf()))


class Served:
    """A server of its own process."""

    def __init__(self, store: Path) -> None:
        command = [sys.executable, "-m", "lakecube.cli", "dashboard", str(store), "--port", "0", "--no-browser"]
        begin = time.perf_counter()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        found = re.search(r"http://\S+", self.process.stdout.readline())
        assert found is not None
        self.url, self.start = found[0], time.perf_counter() - begin

    def mebibytes(self, what: str = "VmRSS") -> float:
        """Memory of the server now, or with "VmHWM" at its most."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"{what}:\s+(\d+)", status)
        assert found is not None
        return int(found[1]) / 1024

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def timed(work: Callable[[], object]) -> float:
    """Seconds that something took."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def first_map(store: Path) -> dict[str, tuple[float, float]]:
    """Megabytes decoded and read for the first map: from the overviews, and without them."""
    found = {}
    for name in ("without overviews", "with overviews"):
        code = f"""
from pathlib import Path
from lakecube.dashboard.source import Source
from lakecube.dashboard.window import Window
opened = Source({str(store)!r}).opened
opened.levels = opened.levels if {name.startswith("with ")} else ()
def read():
    return int(Path("/proc/self/io").read_text().split()[1])
begin = read()
opened.first_picture()
print(opened.cost(next(iter(opened.layers.values())), Window.of(opened.grid)) / 1e6, (read() - begin) / 1e6)
"""
        answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
        decoded, read = map(float, answer.split())
        found[name] = decoded, read
    return found


def in_browser(url: str) -> dict[str, float]:
    """Seconds of what one visitor waits for."""
    found = {}
    with tempfile.TemporaryDirectory() as folder, Browser(Path(folder), 1400, 900) as browser:
        ready = f"window.Bokeh && Bokeh.documents.length > 0 && {_PICTURE}.length > 0"
        found["first paint"] = timed(lambda: (browser.go(url), browser.wait(ready, 300)))
        browser.wait("Bokeh.documents[0].get_model_by_name('lake').options.length > 2", 300)
        for k in (1, 2):
            script = f"const s = Bokeh.documents[0].get_model_by_name('lake'); s.value = s.options[{k}][0];"
            browser.run(f"window.before = {_SERIES}; {script}")
            changed = f"{_SERIES} !== window.before && {_SERIES}.length > 0"
            found[f"lake to series, {k}"] = timed(lambda changed=changed: browser.wait(changed, 300))
        maps = browser.run("return Object.values(Bokeh.documents[0].get_model_by_name('layer').options).flat();")
        for key, title in maps[1:7]:
            words = "Water on" if key == "date" else title
            browser.run(f"Bokeh.documents[0].get_model_by_name('layer').value = '{key}';")
            status = "Bokeh.documents[0].get_model_by_name('status').text"
            shown = f"{status}.includes(arguments[0]) && !{status}.includes('reading:')"
            wait = timed(lambda w=words, shown=shown: browser.wait(shown, 300, w))
            refused = browser.run(f"return {status}.includes('zoom in');")
            found[f"map: {title}{' (asks to zoom in)' if refused else ''}"] = wait
        again = timed(lambda: (browser.go("about:blank"), browser.go(url), browser.wait(ready, 300)))
    return found | {"first paint, a later visitor": again}


def one_user(url: str, k: int) -> float:
    """Seconds until a session has the first picture and the series of its `k`-th lake."""
    from bokeh.client import pull_session

    begin = time.perf_counter()
    session = pull_session(url=url.rstrip("/"))
    while len(session.document.get_model_by_name("lake").options) <= k + 1:
        time.sleep(0.1)
        session.pull()
    document, waits = session.document, []

    def arrived(attr: str, old: object, new: object) -> None:
        waits.append(time.perf_counter() - begin)
        session.close()

    document.get_model_by_name("series_figure").renderers[3].data_source.on_change("data", arrived)
    lake = document.get_model_by_name("lake")
    lake.value = lake.options[k + 1][0]
    session._loop_until_closed()
    return waits[0]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboard", description=__doc__)
    parser.add_argument("--side", type=int, default=10_000, help="pixels along each side")
    parser.add_argument("--dates", type=int, default=120)
    parser.add_argument("--users", type=int, default=20, help="at once")
    parser.add_argument("--store", type=Path, help="a store to use, made if it is not there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = given.store or Path(folder) / "sparse.zarr"
        if not store.exists():
            print(f"made in {timed(lambda: to_zarr(sparse(given.side, given.dates), store, progress=False)):.0f} s")
        for what, (decoded, read) in first_map(store).items():
            print(f"first map, {what}: {decoded:.1f} MB decoded, {read:.2f} MB read")
        with Served(store) as served:
            print(f"start {served.start:.1f} s, {served.mebibytes():.0f} MiB", flush=True)
            if is_there():
                for what, seconds in in_browser(served.url).items():
                    print(f"  {what:<44} {seconds:6.2f} s", flush=True)
            print(f"after one visitor {served.mebibytes():.0f} MiB, at most {served.mebibytes('VmHWM'):.0f}")
            with ThreadPoolExecutor(given.users) as pool:
                waits = sorted(pool.map(lambda k: one_user(served.url, k), range(given.users)))
            print(f"{given.users} users at once, connect to series: median {statistics.median(waits):.2f} s, "
                  f"slowest {waits[-1]:.2f} s")  # fmt: skip
            print(f"then {served.mebibytes():.0f} MiB, at most {served.mebibytes('VmHWM'):.0f}")


if __name__ == "__main__":
    main()
