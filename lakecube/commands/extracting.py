"""`lakecube extract`, `plan` and `demo`: from imagery to a store, or what that would take."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from lakecube.commands.describing import describe, lines, written_blocks
from lakecube.commands.engine import engine
from lakecube.commands.reporting import runs_of
from lakecube.commands.request import open_request, parameters_of, water_of
from lakecube.commands.words import in_flags
from lakecube.errors import ReadError, StoreError
from lakecube.summary import AreaSeries, area_series, plural


def extract(given: argparse.Namespace) -> dict[str, Any]:
    """Open, extract, store; prints a summary."""
    out = _target(given.out)
    with engine(given):
        cube = open_request(given)
        water = water_of(cube, given)
        talks = not given.json and not given.quiet
        before = runs_of(out)
        if talks:
            print(_beginning(water, given, out), flush=True)
        store = water.water.to_zarr(out, mode=given.mode, chunks=given.chunks, progress=not given.quiet)
        if talks and runs_of(out) == before:
            print("already complete, nothing written")
        series = area_series(store)
    _check_read(series)
    result = describe(out, store, series)
    if talks:
        print("\n".join(lines(result)))
        print(_next_steps(given.out))
    return result


def plan(given: argparse.Namespace) -> dict[str, Any]:
    """Say what `extract` would do; reads metadata only."""
    from lakecube.plan import plan as make_plan

    with engine(given):
        cube = open_request(given)
        made = make_plan(
            cube, given.method, composite=given.composite, chunks=given.chunks, speed=given.speed,
            **parameters_of(given),
        )  # fmt: skip
    if not given.json:
        print(in_flags(repr(made)))
    return made.to_dict()


def demo(given: argparse.Namespace) -> dict[str, Any]:
    """Run the whole chain on a synthetic archive and compare with its truth."""
    from lakecube.demo import run

    options = {name: value for name, value in (("size", given.size), ("dates", given.dates)) if value is not None}
    return run(given.out, quiet=given.quiet or given.json, **options)


def _beginning(water: xr.Dataset, given: argparse.Namespace, out: str) -> str:
    """What is going to be done, in one line; said before the work starts, on a terminal or off."""
    dates, rows, columns = (water.sizes[dim] for dim in ("time", "y", "x"))
    unit = "month" if given.composite == "month" else "date"
    start = f"lakecube extract: {dates} {plural(unit, dates)} of {rows} x {columns} px, into {out}"
    done, total = _resumed(water, given, out)
    return f"{start}\nresuming: {done} of {total} blocks were already written" if done else start


def _resumed(water: xr.Dataset, given: argparse.Namespace, out: str) -> tuple[int, int]:
    """Blocks that an unfinished run of the same request has written, and how many there are to be."""
    from lakecube.store.commit import read_root
    from lakecube.store.contents import survey
    from lakecube.store.ledger import Ledger
    from lakecube.store.overwriting import sibling
    from lakecube.store.place import LocalPlace, place_of
    from lakecube.store.plan import make_plan

    place = place_of(out)
    visible = read_root(place)
    if given.mode == "overwrite" and visible is not None and isinstance(place, LocalPlace):
        place, visible = LocalPlace(sibling(place.root, "overwriting")), None
    ledger = Ledger(place.files)
    pending = ledger.pending() if ledger.is_pending() else None
    if pending is None:
        return 0, 0
    keys = ledger.rows(visible.rows) if visible is not None else []
    plan = make_plan(survey(water), visible, keys or [], given.mode, given.chunks, pending)
    if plan.hash != pending:
        return 0, 0
    return written_blocks(ledger), len(plan.positions) * int(np.prod(plan.blocks))


def _next_steps(out: str) -> str:
    return (
        f"\nnext: lakecube lakes {out}\n"
        f"  or: lakecube info {out} --dates\n"
        f"  or: import lakecube; store = lakecube.open_store({out!r}); store.water.plot(path='water.png')"
    )


def _check_read(series: AreaSeries) -> None:
    """Raise ReadError if nothing could be read; the writer has told of what could not in part."""
    share = series.unknown.get("read_failed", 0.0)
    acquired = 1 - series.unknown.get("not_acquired", 0.0)
    if share and share >= 0.999 * acquired:
        raise ReadError("no scene could be read (see the messages above); every pixel is coded read_failed")


def _target(out: str) -> str:
    """Where to write, as it was given; of a directory the one above must be there."""
    from lakecube.store.objects import is_object_url

    path = Path(out)
    if not is_object_url(out) and (not path.name or not path.absolute().parent.is_dir()):
        raise StoreError(f"cannot write {out}: the folder {path.absolute().parent} does not exist")
    return out
