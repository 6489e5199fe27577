"""`lakecube lakes`, `update` and `revise`: the lakes of a store, and bringing it up to date."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from lakecube.commands.describing import open_store
from lakecube.commands.engine import engine
from lakecube.commands.reporting import runs_of
from lakecube.commands.request import values_set
from lakecube.errors import InvalidInputError, StoreError
from lakecube.lake_panels import one_lake
from lakecube.names import DATE, LAKE, LAKE_KIND, SIZE_CLASS, TIME
from lakecube.series.areas import SERIES, alerts, reliable, totals, write_series
from lakecube.series.outlines import save_outlines
from lakecube.store.commit import refuse_inside
from lakecube.store.place import place_of
from lakecube.summary import plural

_KINDS, _SIZES = ({code: word for word, code in table.items()} for table in (LAKE_KIND, SIZE_CLASS))


def lakes(given: argparse.Namespace) -> dict[str, Any]:
    """List lakes, or tell of one; write series, outlines, a picture."""
    store = open_store(given.store)
    if LAKE not in store.dims:
        raise StoreError(f"{given.store} has no lakes yet: lakecube revise {given.store} makes them")
    if given.plot and given.lake is None:
        raise InvalidInputError("--plot shows one lake: say which with --lake ID")
    one = None if given.lake is None else one_lake(store, given.lake)
    found = _one(one, given) if one is not None else _all(store, given)
    written = _write(store, given)
    if not given.json and not given.quiet:
        for line in (_lines_of_one if one is not None else _lines_of_all)(found):
            print(line)
        for path in written:
            print(f"written  {path}")
    return found | {"written": written}


def revise(given: argparse.Namespace) -> dict[str, Any]:
    """Make a new revision if the current one is not of these rows and parameters."""
    from lakecube.store import revise as make

    before = open_store(given.store).attrs.get("revision")
    parameters = values_set(given)
    with engine(given):
        store = make(given.store, registry=given.registry, progress=not given.quiet, **parameters)
    result = {
        "store": given.store,
        "revision": store.attrs["revision"],
        "made": store.attrs["revision"] != before,
        "dates": store.sizes[DATE],
        "lakes": store.sizes[LAKE],
    }
    if not given.json and not given.quiet:
        what = f"revision {result['revision']}" if result["made"] else f"revision {before} is up to date, nothing made"
        print(f"{given.store}: {what}; {result['lakes']} water {'body' if result['lakes'] == 1 else 'bodies'}")
        print(f"next: lakecube lakes {given.store}")
    return result


def update(given: argparse.Namespace) -> dict[str, Any]:
    """Add what the archive has got since, and revise."""
    from lakecube.follow import update as follow

    before, runs = open_store(given.store), len(runs_of(given.store))
    revising: bool | dict[str, Any] = False if given.no_revise else values_set(given) or True
    with engine(given):
        store = follow(
            given.store, until=given.until, source=_one_or_all(given.source), dem=given.dem, revise=revising,
            retry=given.retry, progress=not given.quiet,
        )  # fmt: skip
    added = sorted({str(d) for d in _days(store)} - {str(d) for d in _days(before)})
    result = {
        "store": given.store,
        "added": added,
        "read_anew": sum(len(run.get("superseded", ())) for run in runs_of(given.store)[runs:]),
        "dates": store.sizes[TIME],
        "revision": store.attrs.get("revision"),
        "revised": store.attrs.get("revision") != before.attrs.get("revision"),
    }
    if not given.json and not given.quiet:
        new = f"{len(added)} new {plural('date', len(added))}" if added else "no new date"
        listed = f" ({', '.join(added[:5])}{', …' if len(added) > 5 else ''})" if added else ""
        made = f"revision {result['revision']}" if result["revised"] else "no new revision"
        anew = f", {result['read_anew']} read anew" if result["read_anew"] else ""
        print(f"{given.store}: {new}{listed}{anew}, {result['dates']} in all; {made}")
        print(f"next: lakecube lakes {given.store}")
    return result


def _one_or_all(sources: list[str] | None) -> Any:
    return sources[0] if sources and len(sources) == 1 else sources


def _days(store: xr.Dataset) -> np.ndarray:
    return store[TIME].values.astype("datetime64[D]")


def _write(store: xr.Dataset, given: argparse.Namespace) -> list[str]:
    """Series, outlines and picture, as asked for."""
    out = []
    if given.series:
        some = _of_kind(store, given.kind) if given.lake is None else store.sel({LAKE: [given.lake]})
        out.append(str(write_series(some, _target(given.series), min_observed=given.min_observed)))
    if given.outlines:
        out.append(str(save_outlines(store, _target(given.outlines))))
    if given.plot:
        store.water.plot(lake=given.lake, path=_target(given.plot))
        out.append(given.plot)
    return out


def _target(path: str) -> Path:
    if not Path(path).absolute().parent.is_dir():
        raise InvalidInputError(f"cannot write {path}: the folder {Path(path).absolute().parent} does not exist")
    refuse_inside(place_of(path))
    return Path(path)


def _of_kind(store: xr.Dataset, kind: str) -> xr.Dataset:
    """The lakes of one kind that are not provisional; of "all", everything."""
    if kind == "all":
        return store
    chosen = (store["kind"].values == LAKE_KIND[kind]) & (store["provisional"].values == 0)
    return store.isel({LAKE: np.flatnonzero(chosen)})


def _all(store: xr.Dataset, given: argparse.Namespace) -> dict[str, Any]:
    some = _of_kind(store, given.kind)
    order = np.argsort(-some["max_area"].values, kind="stable")[: max(given.top, 0)]
    top = reliable(some.isel({LAKE: np.sort(order)}), min_observed=given.min_observed).compute()
    top = top.isel({LAKE: np.argsort(-top["max_area"].values, kind="stable")})
    names = None if given.kind == "all" else (given.kind,)
    sums = totals(store, min_observed=given.min_observed, kinds=names or tuple(LAKE_KIND)).compute()
    known = reliable(some, min_observed=given.min_observed)
    warned = alerts(known).compute() if known.sizes[LAKE] and known.sizes[DATE] else None
    return {
        "store": given.store,
        "lakes": int(some.sizes[LAKE]),
        "water_bodies": int(store.sizes[LAKE]),
        "kind": given.kind,
        "dates": int(store.sizes[DATE]),
        "largest": [_row(top.isel({LAKE: k})) for k in range(top.sizes[LAKE])],
        "totals": _totals(sums),
        "alerts": [] if warned is None else _alerts(warned),
    }


def _row(lake: xr.Dataset) -> dict[str, Any]:
    """One lake in plain values, with its last known area."""
    known = np.flatnonzero(lake["lake_area"].notnull().values)
    last = int(known[-1]) if known.size else -1
    found = {
        "lake": int(lake[LAKE]),
        "longitude": float(lake["longitude"]),
        "latitude": float(lake["latitude"]),
        "kind": _KINDS[int(lake["kind"])],
        "size_class": _SIZES[int(lake["size_class"])],
        "max_area_km2": float(lake["max_area"]) / 1e6,
        "shape_index": float(lake["shape_index"]),
        "touches_edge": bool(lake["touches_edge"]),
    }
    at = lake.isel({DATE: last})
    return found | {
        "last_date": str(at[DATE].values.astype("datetime64[D]")) if known.size else None,
        "last_area_km2": float(at["lake_area"]) / 1e6 if known.size else None,
        "last_q05_km2": float(at["lake_area_q05"]) / 1e6 if known.size else None,
        "last_q95_km2": float(at["lake_area_q95"]) / 1e6 if known.size else None,
    }


def _totals(sums: xr.Dataset) -> list[dict[str, Any]]:
    """Total area per size class on the last date on which each is known."""
    out = []
    for size in sums["size_class"].values.tolist():
        one = sums.sel(size_class=size)
        known = np.flatnonzero((one["lake_count"] > 0).values)
        if known.size:
            at = one.isel({DATE: int(known[-1])})
            out.append({"size_class": size, "date": str(at[DATE].values.astype("datetime64[D]")),
                        "lakes": int(at["lake_count"]), "area_km2": float(at["total_area"]) / 1e6})  # fmt: skip
    return out


def _alerts(warned: xr.Dataset) -> list[dict[str, Any]]:
    """The falls of the last month of which anything is known."""
    said = np.flatnonzero((warned["alert"] != 255).any(LAKE).values)
    if not said.size:
        return []
    at = warned.isel(year_month=int(said[-1]))
    rows = np.flatnonzero(np.isin(at["alert"].values, (1, 2)))
    return [
        {
            "lake": int(at[LAKE].values[k]),
            "month": str(at["year_month"].values.astype("datetime64[M]")),
            "change": float(at["change"].values[k]),
            "certain": bool(at["alert"].values[k] == 2),
        }
        for k in rows.tolist()
    ]


def _one(lake: xr.Dataset, given: argparse.Namespace) -> dict[str, Any]:
    shown = reliable(lake, min_observed=given.min_observed)
    dates = [
        {"date": str(at[DATE].values.astype("datetime64[D]")), **{name: float(at[name]) for name in SERIES}}
        for at in (shown.isel({DATE: k}) for k in range(shown.sizes[DATE]))
    ]
    return {"store": given.store, **_row(shown), "perimeter_km": float(lake["perimeter"]) / 1e3, "by_date": dates}


def _lines_of_all(found: dict[str, Any]) -> list[str]:
    kind = "water bodies" if found["kind"] == "all" else found["kind"].replace("_", " ")
    more = " (--kind all)" if found["kind"] != "all" and found["lakes"] < found["water_bodies"] else ""
    out = [
        f"{found['store']}  {found['lakes']} of kind {kind}, {found['water_bodies']} water bodies in all"
        f"{more}, {found['dates']} {plural('date', found['dates'])}",
        "",
        f"  {'lake':>6} {'at most':>11} {'last area':>11}  {'5 to 95 %':<21} {'on':<10}  place",
    ]
    for row in found["largest"]:
        edge = "  reaches the edge" if row["touches_edge"] else ""
        place = _place(row) + edge
        if row["last_date"] is None:
            out.append(f"  {row['lake']:>6} {row['max_area_km2']:>7.4f} km²  {'never known':<44}  {place}")
            continue
        span = f"{row['last_q05_km2']:.4f} to {row['last_q95_km2']:.4f}"
        out.append(
            f"  {row['lake']:>6} {row['max_area_km2']:>7.4f} km² {row['last_area_km2']:>7.4f} km²  {span:<21} "
            f"{row['last_date']}  {place}"
        )
    if 0 < len(found["largest"]) < found["lakes"]:
        out.append(f"  the largest {len(found['largest'])} of {found['lakes']}; --top {found['lakes']} shows all")
    out += [
        f"  {row['size_class']} ones on {row['date']}: {row['area_km2']:.4f} km² of {row['lakes']}"
        for row in found["totals"]
    ]
    for row in found["alerts"]:
        sure = "certainly " if row["certain"] else ""
        out.append(f"  alert: lake {row['lake']} {sure}fell by {-row['change']:.0%} in {row['month']}")
    return out


def _place(row: dict[str, Any]) -> str:
    """Latitude and longitude; of pictures, which have no CRS, none."""
    return "no CRS" if np.isnan(row["latitude"]) else f"{row['latitude']:.4f}, {row['longitude']:.4f}"


def _lines_of_one(found: dict[str, Any]) -> list[str]:
    out = [
        f"lake {found['lake']}  {found['kind']}, {found['size_class']}; at most {found['max_area_km2']:.4f} km², "
        f"perimeter {found['perimeter_km']:.2f} km, shape index {found['shape_index']:.2f}; "
        f"{_place(found)}",
        f"  {'date':<10} {'area':>10} {'5 to 95 %':>21} {'if hidden is land, water':>26} {'seen':>7}",
    ]
    for row in found["by_date"]:
        area, q05, q95, low, high = (row[f"lake_area{part}"] / 1e6 for part in ("", "_q05", "_q95", "_lower", "_upper"))
        shown = "         –" if np.isnan(area) else f"{area:>10.4f}"
        inner = " " * 21 if np.isnan(q05) else f"{q05:>10.4f} {q95:>10.4f}"
        out.append(f"  {row['date']} {shown} {inner} {low:>15.4f} {high:>10.4f} {row['lake_observed_fraction']:>7.1%}")
    return [*out, "  areas in km²"]
