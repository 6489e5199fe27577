"""`lakecube info`: what a store holds, as plain values and as text."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import lakecube
from lakecube.commands.reporting import run_lines, runs_of
from lakecube.commands.words import day
from lakecube.errors import StoreError
from lakecube.store.objects import is_object_url
from lakecube.summary import (
    QUICK_BLOCKS,
    AreaSeries,
    area_series,
    block_count,
    bytes_on_disk,
    cloud_doubt,
    crs_of,
    in_km2,
    plural,
)

#: What a rule needs to speak.
_NEEDS = {"slope": "--dem", "ndvi": "red and nir", "ndbi": "nir", "ndrei": "rededge1 and nir"}


def info(given: argparse.Namespace) -> dict[str, Any]:
    """Say what a store holds."""
    store = open_store(given.store)
    counted = given.dates or block_count(store) <= QUICK_BLOCKS
    series = area_series(store) if counted else None
    result = describe(given.store, store, series)
    if given.dates and series is not None:
        result["by_date"] = [
            {"date": day(d, result["unit"]), "water_km2": w / 1e6, "seen": float(s)}
            for d, w, s in zip(series.dates, series.water, series.seen, strict=True)
        ]
    if given.runs:
        result["runs"] = runs_of(given.store)
    if not given.json:
        print("\n".join(lines(result)))
        for row in result.get("by_date", []):
            print(f"  {row['date']}  {row['water_km2']:12.4f} km²  seen {row['seen']:6.1%}")
        for number, run in enumerate(result.get("runs", []), 1):
            print("\n" + "\n".join(run_lines(number, run)))
    return result


def describe(path: str, store: xr.Dataset, series: AreaSeries | None) -> dict[str, Any]:
    """What a store holds, as plain values."""
    crs = crs_of(store)
    parameters = json.loads(store.attrs.get("parameters", "{}"))
    unit = "month" if parameters.get("composite") == "month" else "date"
    out: dict[str, Any] = {
        "store": path,
        "size_bytes": None if is_object_url(path) else bytes_on_disk(path),
        "method": store.attrs.get("method", ""),
        "revision": store.attrs.get("revision"),
        "collections": store.attrs.get("collections", ""),
        "unit": unit,
        "dates": store.sizes["time"],
        "first": day(store["time"].values.min(), unit),
        "last": day(store["time"].values.max(), unit),
        "shape": [store.sizes["y"], store.sizes["x"]],
        "pixel": _pixel(store),
        "crs": crs.to_string() if crs else "",
        "crs_unit": "" if crs is None else "°" if crs.is_geographic else f" {_unit_of(crs)}",
        "items": store.sizes.get("item", 0),
        "rules_skipped": store.attrs.get("rules_skipped", "").split(),
        "cloud": cloud_doubt(store, series),
        "how": _how(store, parameters),
        "lakecube_version": store.attrs.get("lakecube_version", ""),
        "parameters": parameters,
    }
    return out | (_areas(series, unit) if series is not None else {})


def lines(found: dict[str, Any]) -> Iterator[str]:
    """The description as text."""
    size = "" if found["size_bytes"] is None else f"{found['size_bytes'] / 1e6:,.1f} MB, "
    yield f"{found['store']}  ({size}revision {found['revision']}, {found['method']})"
    scenes = f"{found['items']} {plural('scene', found['items'])} of {found['collections'] or 'files'}"
    span = found["first"] if found["dates"] == 1 else f"{found['first']} to {found['last']}"
    yield f"  {plural(found['unit'], 2):<10}{found['dates']}, {span}; {scenes}"
    rows, columns = found["shape"]
    pixel = f" of {found['pixel']:g}{found['crs_unit']}" if found["pixel"] else ""
    size = f", {in_km2(found['area_km2'])}" if "area_km2" in found else ""
    yield f"  grid      {rows} x {columns} px{pixel} in {found['crs'] or 'no CRS'}{size}"
    yield f"  method    {_method_in_words(found)}"
    if found["rules_skipped"]:
        why = (f"{rule} (needs {_NEEDS.get(rule, rule)})" for rule in found["rules_skipped"])
        yield f"  skipped   {plural('rule', len(found['rules_skipped']))}: {', '.join(why)}"
    if found["cloud"]:
        yield f"  cloud:    {found['cloud']}"
    if "seen" not in found:
        yield "  areas     not counted (--dates reads the whole store)"
        return
    why_not = ", ".join(f"{name} {share:.1%}" for name, share in list(found["unknown"].items())[:5])
    half = f"{found['dates_half_seen']} {plural(found['unit'], found['dates_half_seen'])} at least half seen"
    yield f"  seen      {found['seen']:.1%} of all pixels; {half}"
    yield f"  unknown   {1 - found['seen']:.1%}{': ' + why_not if why_not else ''}"
    least, most = (in_km2(found["water_km2"][name]) for name in ("least", "most"))
    best = found["best_seen"]
    on_best = f"{in_km2(best['water_km2'])} on {best['date']} ({best['seen']:.0%} seen)"
    between = most if least == most else f"{least.removesuffix(' km²')} to {most}"
    yield f"  water     {between} visible" + (f"; best seen: {on_best}" if found["dates"] > 1 else "")


def _pixel(store: xr.Dataset) -> float | None:
    """Pixel size along x; None for a single column."""
    x = store["x"].values
    return float(np.round(abs(x[-1] - x[0]) / (x.size - 1), 9)) if x.size > 1 else None


def _unit_of(crs: Any) -> str:
    name = crs.axis_info[0].unit_name
    return "m" if name in ("metre", "meter") else name


def _how(store: xr.Dataset, parameters: dict[str, Any]) -> dict[str, Any]:
    """What was chosen: model, thresholds, rules, cloud mask, DEM, radiometric offset."""
    opened = json.loads(store.attrs.get("configuration", "{}") or "{}")
    opened = opened.get("cube", opened) if isinstance(opened, dict) else {}
    buffer, pixel = opened.get("cloud_buffer_pixels", store.attrs.get("cloud_buffer_pixels")), _pixel(store)
    sources = store["item_offset_source"].values.tolist() if "item_offset_source" in store.variables else []
    judged_by_slope = "rules" in parameters and "slope" not in store.attrs.get("rules_skipped", "").split()
    return {
        "model": parameters.get("model"),
        "refine": parameters.get("refine"),
        "threshold": parameters.get("threshold"),
        "rules": parameters.get("rules"),
        "composite": parameters.get("composite"),
        "cloud_mask": opened.get("cloud_mask"),
        "cloud_buffer": None if buffer is None or pixel is None else buffer * pixel,
        "dem": opened.get("dem") or ("yes" if judged_by_slope else None),
        "offset": opened.get("offset", "metadata"),
        "offset_source": sorted({str(source) for source in sources} - {""}),
    }


def _areas(series: AreaSeries, unit: str) -> dict[str, Any]:
    water, best = series.water / 1e6, int(series.seen.argmax())
    return {
        "area_km2": float(series.total.max() / 1e6),
        "seen": float(1 - sum(series.unknown.values())),
        "unknown": dict(series.unknown),
        "dates_half_seen": int((series.seen >= 0.5).sum()),
        "water_km2": {"least": float(water.min()), "most": float(water.max())},
        "best_seen": {
            "date": day(series.dates[best], unit),
            "seen": float(series.seen[best]),
            "water_km2": float(water[best]),
        },
    }


def _method_in_words(found: dict[str, Any]) -> str:
    how = found["how"]
    threshold = how["threshold"]
    if isinstance(threshold, dict):
        threshold = " ".join(f"{name}={value:g}" for name, value in threshold.items())
    named = {"model": how["model"], "refine": how["refine"], "threshold": threshold, "rules": how["rules"]}
    parts = [f"{name} {value}" for name, value in named.items() if value is not None]
    parts[:1] = [f"{found['method']}: {part}" for part in parts[:1]]
    parts.append("monthly composites" if how["composite"] else "every date by itself")
    if how["cloud_mask"] is False:
        parts.append("no cloud mask")
    elif how["cloud_buffer"] is not None:
        metres = how["cloud_buffer"] * (111_320 if found["crs_unit"] == "°" else 1)
        parts.append(f"cloud buffer {metres:.0f} m")
    parts.append("no DEM" if not how["dem"] else f"DEM {Path(how['dem']).name}" if how["dem"] != "yes" else "with DEM")
    if how["offset"] != "metadata":
        parts.append(f"offset {how['offset']}")
    elif how["offset_source"]:
        parts.append(f"offset by {', '.join(how['offset_source'])}")
    return ", ".join(parts)


def open_store(path: str) -> xr.Dataset:
    """Open a store, and say of an unfinished one how far it came."""
    try:
        return lakecube.open_store(path)
    except StoreError as error:
        from lakecube.store.files import LocalFiles
        from lakecube.store.ledger import Ledger

        ledger = Ledger(LocalFiles(Path(path)))
        if is_object_url(path) or not Path(path).is_dir() or not ledger.is_pending():
            raise
        done = written_blocks(ledger)
        raise StoreError(
            f"{path} is unfinished ({done} {plural('block', done)} written so far): "
            "run the same lakecube extract again, it continues from there"
        ) from error


def written_blocks(ledger: Any) -> int:
    """Blocks of observed rows that an unfinished run has written."""
    boxes = [record["box"] for record in ledger.done("observed")]
    return int(sum(np.prod([end - begin for begin, end in box]) for box in boxes))
