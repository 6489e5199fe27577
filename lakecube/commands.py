"""What each command of the command line does: from parsed arguments to a result and a summary on stdout."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import lakecube
import lakecube.accessor  # registers `.water`, which the console script leaves to here
from lakecube.errors import InvalidInputError, ReadError, StoreError
from lakecube.summary import AreaSeries, area_series, block_count, bytes_on_disk, crs_of

#: Blocks that `info` counts without being asked to.
QUICK_BLOCKS = 4096


def extract(given: argparse.Namespace) -> dict[str, Any]:
    """Open, extract, store; prints a summary."""
    out = _target(given.out)
    with _engine(given):
        cube = _open(given)
        water = _water(cube, given)
        store = water.water.to_zarr(out, mode=given.mode, chunks=given.chunks, progress=not given.quiet)
        series = area_series(store)
    _check_read(series)
    result = describe(out, store, series)
    if not given.json and not given.quiet:
        print("\n".join(_lines(result)))
        print(_next_steps(given.out))
    return result


def plan(given: argparse.Namespace) -> dict[str, Any]:
    """Say what `extract` would do; reads metadata only."""
    from lakecube.plan import plan as make_plan

    with _engine(given):
        cube = _open(given)
        made = make_plan(cube, given.method, composite=given.composite, chunks=given.chunks, **_parameters(given))
    if not given.json:
        print(made)
    return made.to_dict()


def info(given: argparse.Namespace) -> dict[str, Any]:
    """Say what a store holds."""
    store = lakecube.open_store(given.store)
    counted = given.dates or block_count(store) <= QUICK_BLOCKS
    series = area_series(store) if counted else None
    result = describe(Path(given.store), store, series)
    if given.dates and series is not None:
        result["by_date"] = [
            {"date": _day(d), "water_km2": w / 1e6, "seen": float(s)}
            for d, w, s in zip(series.dates, series.water, series.seen, strict=True)
        ]
    if not given.json:
        print("\n".join(_lines(result)))
        for row in result.get("by_date", []):
            print(f"  {row['date']}  {row['water_km2']:12.4f} km²  seen {row['seen']:6.1%}")
    return result


def demo(given: argparse.Namespace) -> dict[str, Any]:
    """Run the whole chain on a synthetic archive and compare with its truth."""
    from lakecube.demo import run

    options = {name: value for name, value in (("size", given.size), ("dates", given.dates)) if value is not None}
    return run(given.out, quiet=given.quiet or given.json, **options)


def describe(path: Path, store: xr.Dataset, series: AreaSeries | None) -> dict[str, Any]:
    """What a store holds, as plain values."""
    crs = crs_of(store)
    out: dict[str, Any] = {
        "store": str(path),
        "size_bytes": bytes_on_disk(path),
        "method": store.attrs.get("method", ""),
        "revision": store.attrs.get("revision"),
        "collections": store.attrs.get("collections", ""),
        "dates": store.sizes["time"],
        "first": _day(store["time"].values.min()),
        "last": _day(store["time"].values.max()),
        "shape": [store.sizes["y"], store.sizes["x"]],
        "crs": crs.to_string() if crs else "",
        "items": store.sizes.get("item", 0),
        "rules_skipped": store.attrs.get("rules_skipped", "").split(),
        "lakecube_version": store.attrs.get("lakecube_version", ""),
        "parameters": json.loads(store.attrs.get("parameters", "{}")),
    }
    return out | (_areas(series) if series is not None else {})


def _areas(series: AreaSeries) -> dict[str, Any]:
    water, best = series.water / 1e6, int(series.seen.argmax())
    return {
        "area_km2": float(series.total.max() / 1e6),
        "seen": float(1 - sum(series.unknown.values())),
        "unknown": dict(series.unknown),
        "dates_half_seen": int((series.seen >= 0.5).sum()),
        "water_km2": {"least": float(water.min()), "most": float(water.max())},
        "best_seen": {
            "date": _day(series.dates[best]),
            "seen": float(series.seen[best]),
            "water_km2": float(water[best]),
        },
    }


def _lines(found: dict[str, Any]) -> Iterator[str]:
    """The description as text."""
    yield f"{found['store']}  ({found['size_bytes'] / 1e6:,.1f} MB, revision {found['revision']}, {found['method']})"
    scenes = f"{found['items']} scenes of {found['collections'] or 'files'}"
    yield f"  dates     {found['dates']}, {found['first']} to {found['last']}; {scenes}"
    rows, columns = found["shape"]
    size = f", {found['area_km2']:,.1f} km²" if "area_km2" in found else ""
    yield f"  grid      {rows} x {columns} px in {found['crs'] or 'no CRS'}{size}"
    if found["rules_skipped"]:
        yield f"  skipped   rules without their band: {', '.join(found['rules_skipped'])}"
    if "seen" not in found:
        yield "  areas     not counted (--dates reads the whole store)"
        return
    why = ", ".join(f"{name} {share:.1%}" for name, share in list(found["unknown"].items())[:5])
    yield f"  seen      {found['seen']:.1%} of all pixels; {found['dates_half_seen']} dates at least half seen"
    yield f"  unknown   {1 - found['seen']:.1%}{': ' + why if why else ''}"
    least, most, best = found["water_km2"]["least"], found["water_km2"]["most"], found["best_seen"]
    on_best = f"{best['water_km2']:,.4g} km² on {best['date']} ({best['seen']:.0%} seen)"
    yield f"  water     {least:,.4g} to {most:,.4g} km² visible; {on_best}"


def _next_steps(out: str) -> str:
    return (
        f"\nnext: lakecube info {out} --dates\n"
        f"  or: import lakecube; store = lakecube.open_store({out!r}); store.water.plot(path='water.png')"
    )


def _check_read(series: AreaSeries) -> None:
    """Say what could not be read; raise ReadError if it was all of it."""
    import warnings

    share = series.unknown.get("read_failed", 0.0)
    acquired = 1 - series.unknown.get("not_acquired", 0.0)
    if share and share >= 0.999 * acquired:
        raise ReadError("no scene could be read (see the messages above); every pixel is coded read_failed")
    if share:
        warnings.warn(
            f"{share:.1%} of the pixels could not be read; they are unknown, reason read_failed. When the files are "
            "well again, --mode overwrite makes the store anew",
            stacklevel=2,
        )


def _target(out: str) -> Path:
    path = Path(out)
    if not path.name or not path.absolute().parent.is_dir():
        raise StoreError(f"cannot write {out}: the folder {path.absolute().parent} does not exist")
    return path


def _open(given: argparse.Namespace) -> xr.Dataset:
    source = given.source[0] if len(given.source) == 1 else given.source
    return lakecube.open(
        source,
        collections=given.collection,
        bbox=given.bbox,
        datetime=given.datetime,
        query=given.query,
        sensor=given.sensor,
        bands=_bands(given.bands),
        crs=given.crs,
        resolution=given.resolution,
        chunks=given.chunks,
        dem=given.dem,
        offset=_value(given.offset),
        cloud_mask=not given.no_cloud_mask,
        cloud_buffer=given.cloud_buffer,
    )


def _water(cube: xr.Dataset, given: argparse.Namespace) -> xr.Dataset:
    return lakecube.extract(cube, given.method, composite=given.composite, **_parameters(given))


def _bands(words: list[str] | None) -> Any:
    if words is None or not any("=" in word for word in words):
        return words
    return dict(_pair(word, "--bands") for word in words)


def _parameters(given: argparse.Namespace) -> dict[str, Any]:
    """Parameters of the method: --threshold, --rules and every --set."""
    out: dict[str, Any] = {name: _value(text) for name, text in (_pair(p, "--set") for p in given.parameters)}
    if given.threshold is not None:
        pairs = [_pair(part, "--threshold") for part in given.threshold.split(",")] if "=" in given.threshold else None
        out["threshold"] = {n: _value(v) for n, v in pairs} if pairs else given.threshold
    if given.rules is not None:
        out["rules"] = given.rules
    return out


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InvalidInputError(f"{option} {text}: write NAME=VALUE")
    return name.strip(), value.strip()


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


@contextlib.contextmanager
def _engine(given: argparse.Namespace) -> Iterator[None]:
    """The Dask cluster or the threads that were asked for."""
    import dask

    if given.workers is not None and given.workers < 1:
        raise InvalidInputError(f"--workers {given.workers}: a number of threads is needed, 1 or more")
    if given.scheduler is None:
        with dask.config.set(num_workers=given.workers) if given.workers else contextlib.nullcontext():
            yield
        return
    from distributed import Client

    try:
        client = Client(given.scheduler, timeout=15)
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"no Dask cluster answers at {given.scheduler}: {error}") from error
    with client:
        yield


def _day(moment: Any) -> str:
    return str(np.datetime_as_string(np.datetime64(moment, "ns"), unit="D"))
