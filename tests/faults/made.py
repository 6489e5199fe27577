"""A synthetic archive behind a server that fails, the run over it, and what a run is compared with."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import lakecube
from lakecube.io import audit, sources
from lakecube.io.ranges import KNOWN
from lakecube.io.raw_cache import RAW
from lakecube.names import REASON
from lakecube.store.write import ReadFailedWarning
from lakecube.synthetic.archive import make_archive

DATES = [f"2022-{month:02d}-{day:02d}" for month in (3, 4, 5) for day in (1, 11, 21)]
BANDS = ["green", "nir", "swir16"]
#: Short waits, so that a test of minutes takes a second.
QUICK = {"times": 3, "wait": 0.01, "longest_wait": 0.3, "total": 20, "timeout": 0.6}


def archive(folder: Path, dates: list[str] = DATES, shape: tuple[int, int] = (264, 300)) -> list[str]:
    """Write the archive; the ids of its items, one a date."""
    made = make_archive(folder, shape=shape, dates=dates, bands=BANDS, clouds=0.1, seed=4, dem=False)
    return list(made.items)


def forget() -> None:
    """As a new process: nothing remembered of any file."""
    RAW.clear()
    KNOWN.clear()
    sources._HEADERS.clear()
    audit.forget_samples()


def extract(url: str, **options: Any) -> xr.Dataset:
    """The lazy extract of what a server holds."""
    forget()
    return lakecube.open(
        f"{url}/items.json", **{"bands": BANDS, "chunks": 128, "retries": QUICK} | options
    ).water.extract()


def run(url: str, path: Path, **options: Any) -> list[str]:
    """Write a store of what a server holds; the warnings."""
    how = {name: options.pop(name) for name in ("mode", "retry", "revise") if name in options}
    water = extract(url, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        water.water.to_zarr(path, progress=False, chunks=options.get("chunks", 128), **how)
    return [str(one.message) for one in caught if issubclass(one.category, ReadFailedWarning)]


def report(path: Path) -> dict[str, Any]:
    """The report of the last run."""
    return json.loads(max((path / "_runs").glob("*.json"), key=lambda file: int(file.stem)).read_text())


def by_date(path: Path) -> dict[str, str]:
    """Per date the hash of all that was observed on it."""
    store = lakecube.open_store(path)
    names = sorted(n for n in ("water_mask", "reason", "rules_fired", "threshold", "threshold_source") if n in store)
    found = {}
    for time in store.time.values:
        one = store[names].sel(time=time)
        found[str(time)[:10]] = hashlib.sha256(b"".join(one[n].values.tobytes() for n in names)).hexdigest()
    return found


def unread(path: Path) -> dict[str, float]:
    """Per date the share of pixels that could not be read, where there are any."""
    store = lakecube.open_store(path)
    shares = (store.reason == REASON["read_failed"]).mean(("y", "x")).values
    return {str(t)[:10]: float(s) for t, s in zip(store.time.values, shares, strict=True) if s > 0}


def neighbours_changed(path: Path, base: Path) -> int:
    """Pixels that are neither as in the undisturbed store nor unknown because they could not be read."""
    mine, theirs = lakecube.open_store(path), lakecube.open_store(base)
    failed = mine.reason.values == REASON["read_failed"]
    wrong = failed & (mine.water_mask.values != 255)
    for name in ("water_mask", "reason", "rules_fired"):
        wrong |= ~failed & (mine[name].values != theirs[name].values)
    return int(np.count_nonzero(wrong))
