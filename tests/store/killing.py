"""Processes for the tests of kill -9: a nursery that forks writers and kills them, and a reader that polls.

``python -m tests.store.killing nursery`` reads lines ``kind path delay`` and answers ``finished`` or ``killed``.
``python -m tests.store.killing reader FILE`` polls the store whose path FILE holds until it says stop, and keeps in
FILE.seen where it is and how many whole stores it has seen.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np

from tests.store.made import extract

#: Rows and columns in blocks of 16: four blocks a date.
SHAPE = {"rows": 20, "columns": 32, "chunks": (1, 16, 16)}
#: Dates that a store of each kind begins with, and holds at the end.
DATES = {"run": (0, 3), "append": (2, 4), "revise": (3, 3)}


def work(kind: str, path: str) -> None:
    """What is killed."""
    from lakecube.store import revise, to_zarr

    if kind == "revise":
        revise(path, progress=False, wave=2)
    elif kind == "append":
        to_zarr(extract(times=2, start=2, **SHAPE), path, mode="append", progress=False, wave=5)
    else:
        to_zarr(extract(times=3, **SHAPE), path, chunks=16, progress=False, wave=5)


def begin(kind: str, path: Path) -> None:
    """Make the store that `work` goes on from."""
    from lakecube.store import to_zarr

    if DATES[kind][0]:
        to_zarr(extract(times=DATES[kind][0], **SHAPE), path, chunks=16, revise=kind == "append", progress=False)


def nursery() -> None:
    """Fork a writer per line: everything is imported and compiled once."""
    import distributed  # noqa: F401

    import lakecube.store.write  # noqa: F401

    _compile()
    print("ready", flush=True)
    for line in sys.stdin:
        kind, path, delay = line.split()
        pid = os.fork()
        if pid == 0:
            _child(kind, path)
        begun = time.perf_counter()
        done, status = (0, 0) if float(delay) >= 0 else os.waitpid(pid, 0)
        while not done and time.perf_counter() - begun < float(delay):
            time.sleep(0.0005)
            done, status = os.waitpid(pid, os.WNOHANG)
        if not done:
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
        told = "finished" if status == 0 else "killed" if os.WIFSIGNALED(status) else "failed"
        print(told, time.perf_counter() - begun, flush=True)


def _compile() -> None:
    """Use the kernels of a revision once, without threads and without a store: a fork inherits neither."""
    import dask

    from lakecube.series.lakes import lakes
    from lakecube.series.restore import restore

    water = extract(times=3, **SHAPE)
    with dask.config.set(scheduler="synchronous"):
        found = lakes(water).compute()
        restore(water["water_mask"], "lake", lakes=found["lake_label"]).compute()


def _child(kind: str, path: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            work(kind, path)
        os._exit(0)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)


def tell(file: Path, text: str) -> None:
    """Replace the text of a file in one step."""
    new = file.with_suffix(f".{os.getpid()}")
    new.write_text(text)
    new.replace(file)


def reader(told: Path) -> None:
    """Open what is there again and again, and compare every pixel with the truth."""
    import xarray as xr

    from lakecube.errors import StoreError
    from lakecube.store import open_store

    truth = extract(times=4, **SHAPE).water_mask.load()
    polls, seen, trouble = 0, 0, []
    while (path := told.read_text()) != "stop" and len(trouble) < 5:
        polls += 1
        tell(told.with_suffix(".seen"), f"{path} {seen}")
        try:
            store = open_store(path).load()
            plain = xr.open_zarr(path)
            tree = xr.open_datatree(path, engine="zarr")
        except StoreError as error:
            if "not finished" not in str(error) and "no store at" not in str(error):
                trouble.append(f"{path}: {error!r}")
            continue
        except Exception as error:
            trouble.append(f"{path}: {error!r}")
            continue
        seen += 1
        if not np.array_equal(store.water_mask, truth.sel(time=store.time)):
            trouble.append(f"{path}: other pixels than written")
        if "date" in store and not np.array_equal(
            store.count_clear, (truth.sel(time=store.date.values) != 255).sum("time")
        ):
            trouble.append(f"{path}: counts of other dates")
        if not store.sizes["time"] <= plain.sizes["time"] <= tree.sizes["time"]:  # opened one after the other
            trouble.append(f"{path}: {plain.sizes['time']}, {tree.sizes['time']} and {store.sizes['time']} dates")
    print(json.dumps({"polls": polls, "seen": seen, "trouble": trouble}), flush=True)


if __name__ == "__main__":
    nursery() if sys.argv[1] == "nursery" else reader(Path(sys.argv[2]))
