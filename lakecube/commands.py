"""What each command of the command line does: from parsed arguments to a result and a summary on stdout."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import lakecube
import lakecube.accessor  # registers `.water`, which the console script leaves to here
from lakecube.errors import InvalidInputError, ReadError, StoreError
from lakecube.summary import AreaSeries, area_series, block_count, bytes_on_disk, cloud_doubt, crs_of, plural

#: Blocks that `info` counts without being asked to.
QUICK_BLOCKS = 4096
#: Arguments in Python whose flag is another word than theirs.
_FLAGS = {"collections": "--collection", "cloud_buffer": "--cloud-buffer"}
_SAME = ("bbox", "datetime", "query", "sensor", "bands", "crs", "resolution", "chunks", "dem", "offset", "method",
         "composite", "threshold", "rules", "mode")  # fmt: skip
_ARGUMENT = re.compile(
    rf"""(?<![\w-])({"|".join((*_FLAGS, *_SAME))})=(?:'([^']*)'|"([^"]*)"|(-?[\w+/]+(?:\.\w+)*)|(?![\w=]))"""
)
#: What a rule needs to speak.
_NEEDS = {"slope": "--dem", "ndvi": "red and nir", "ndbi": "nir", "ndrei": "rededge1 and nir"}


def in_flags(text: str) -> str:
    """A message that speaks of Python arguments, in the words of the command line."""
    text = text.replace("cloud_mask=False", "--no-cloud-mask")
    text = re.sub(r"make the same (to_zarr )?call again", "run the same lakecube extract again", text)

    def flag(found: re.Match[str]) -> str:
        value = found[2] or found[3] or found[4] or ""
        return f"{_FLAGS.get(found[1], f'--{found[1]}')} {value}".rstrip()

    return _ARGUMENT.sub(flag, text)


def extract(given: argparse.Namespace) -> dict[str, Any]:
    """Open, extract, store; prints a summary."""
    out = _target(given.out)
    with _engine(given):
        cube = _open(given)
        water = _water(cube, given)
        talks = not given.json and not given.quiet
        before = _runs(out)
        if talks:
            print(_beginning(water, given, out), flush=True)
        store = water.water.to_zarr(out, mode=given.mode, chunks=given.chunks, progress=not given.quiet)
        if talks and _runs(out) == before:
            print("already complete, nothing written")
        series = area_series(store)
    _check_read(series)
    result = describe(out, store, series)
    if talks:
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
        print(in_flags(repr(made)))
    return made.to_dict()


def info(given: argparse.Namespace) -> dict[str, Any]:
    """Say what a store holds."""
    store = _open_store(Path(given.store))
    counted = given.dates or block_count(store) <= QUICK_BLOCKS
    series = area_series(store) if counted else None
    result = describe(Path(given.store), store, series)
    if given.dates and series is not None:
        result["by_date"] = [
            {"date": _day(d, result["unit"]), "water_km2": w / 1e6, "seen": float(s)}
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


def list_parameters() -> str:
    """Every parameter of `fusion`: name, default, value in the paper, meaning."""
    from lakecube.kernels.histogram import ThresholdParams
    from lakecube.kernels.rules import RuleParams
    from lakecube.methods import fusion

    front = {"composite": None, "threshold": "guarded", "rules": "evidence", "sample": fusion.SAMPLE_TILES,
             "probability": False}  # fmt: skip
    paper: dict[str, Any] = {"composite": "month", "threshold": "otsu"}
    published = RuleParams.paper()
    limits = [name for name in _fields(published) if name.endswith("_max")]
    paper |= {name: getattr(published, name) for name in ("rules", "combine", *limits)}
    parts = (
        ("The method (--composite, --threshold, --rules, the others by --set NAME=VALUE)", front, fusion.extract),
        ("Thresholds (--set NAME=VALUE); pairs are [MNDWI, AWEIsh]", _fields(ThresholdParams()), ThresholdParams),
        ("Rules (--set NAME=VALUE)", {n: v for n, v in _fields(RuleParams()).items() if n != "rules"}, RuleParams),
    )
    lines = []
    for title, defaults, told in parts:
        lines += [title, ""]
        for names, meaning in _documented(told.__doc__ or "", defaults):
            for name in names:
                told_by_paper = f"   (paper: {_shown(paper[name])})" if name in paper else ""
                lines.append(f"  {name} = {_shown(defaults[name])}{told_by_paper}")
            lines += [*(f"      {line}" for line in meaning), ""]
    return "\n".join(lines).rstrip()


def _fields(instance: Any) -> dict[str, Any]:
    """Fields of a dataclass, with or without slots."""
    from dataclasses import fields

    return {field.name: getattr(instance, field.name) for field in fields(instance)}


def _documented(text: str, defaults: dict[str, Any]) -> Iterator[tuple[list[str], list[str]]]:
    """Names and meaning of each entry of the Parameters section of a docstring, as far as they have a default."""
    import inspect

    section = inspect.cleandoc(text).partition("Parameters\n----------\n")[2]
    section = re.split(r"\n\n\S[^\n]*\n-{3,}", section)[0]
    for entry in re.findall(r"^(\S[^\n]*)\n((?:[ ]+[^\n]*\n?)+)", section + "\n", re.MULTILINE):
        names = [name for name in re.split(r"[,\s]+", entry[0].partition(" :")[0]) if name in defaults]
        if names:
            yield names, [line.strip().replace("``", "") for line in entry[1].splitlines()]


def _shown(value: Any) -> str:
    return json.dumps(value) if isinstance(value, tuple | bool) or value is None else str(value)


def describe(path: Path, store: xr.Dataset, series: AreaSeries | None) -> dict[str, Any]:
    """What a store holds, as plain values."""
    crs = crs_of(store)
    parameters = json.loads(store.attrs.get("parameters", "{}"))
    unit = "month" if parameters.get("composite") == "month" else "date"
    out: dict[str, Any] = {
        "store": str(path),
        "size_bytes": bytes_on_disk(path),
        "method": store.attrs.get("method", ""),
        "revision": store.attrs.get("revision"),
        "collections": store.attrs.get("collections", ""),
        "unit": unit,
        "dates": store.sizes["time"],
        "first": _day(store["time"].values.min(), unit),
        "last": _day(store["time"].values.max(), unit),
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


def _pixel(store: xr.Dataset) -> float | None:
    """Pixel size along x; None for a single column."""
    x = store["x"].values
    return float(np.round(abs(x[-1] - x[0]) / (x.size - 1), 9)) if x.size > 1 else None


def _unit_of(crs: Any) -> str:
    name = crs.axis_info[0].unit_name
    return "m" if name in ("metre", "meter") else name


def _how(store: xr.Dataset, parameters: dict[str, Any]) -> dict[str, Any]:
    """What was chosen: thresholds, rules, cloud mask, DEM, radiometric offset."""
    opened = json.loads(store.attrs.get("configuration", "{}") or "{}")
    opened = opened.get("cube", opened) if isinstance(opened, dict) else {}
    buffer, pixel = opened.get("cloud_buffer_pixels", store.attrs.get("cloud_buffer_pixels")), _pixel(store)
    sources = store["item_offset_source"].values.tolist() if "item_offset_source" in store.variables else []
    return {
        "threshold": parameters.get("threshold"),
        "rules": parameters.get("rules"),
        "composite": parameters.get("composite"),
        "cloud_mask": opened.get("cloud_mask"),
        "cloud_buffer": None if buffer is None or pixel is None else buffer * pixel,
        "dem": opened.get("dem") or ("yes" if "slope" not in store.attrs.get("rules_skipped", "").split() else None),
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
            "date": _day(series.dates[best], unit),
            "seen": float(series.seen[best]),
            "water_km2": float(water[best]),
        },
    }


def _lines(found: dict[str, Any]) -> Iterator[str]:
    """The description as text."""
    yield f"{found['store']}  ({found['size_bytes'] / 1e6:,.1f} MB, revision {found['revision']}, {found['method']})"
    scenes = f"{found['items']} {plural('scene', found['items'])} of {found['collections'] or 'files'}"
    span = found["first"] if found["dates"] == 1 else f"{found['first']} to {found['last']}"
    yield f"  {plural(found['unit'], 2):<10}{found['dates']}, {span}; {scenes}"
    rows, columns = found["shape"]
    pixel = f" of {found['pixel']:g}{found['crs_unit']}" if found["pixel"] else ""
    size = f", {found['area_km2']:,.4g} km²" if "area_km2" in found else ""
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
    least, most = (f"{found['water_km2'][name]:,.4g}" for name in ("least", "most"))
    best = found["best_seen"]
    on_best = f"{best['water_km2']:,.4g} km² on {best['date']} ({best['seen']:.0%} seen)"
    between = most if least == most else f"{least} to {most}"
    yield f"  water     {between} km² visible" + (f"; best seen: {on_best}" if found["dates"] > 1 else "")


def _method_in_words(found: dict[str, Any]) -> str:
    how = found["how"]
    threshold = how["threshold"]
    if isinstance(threshold, dict):
        threshold = " ".join(f"{name}={value:g}" for name, value in threshold.items())
    parts = [f"{found['method']}: threshold {threshold}", f"rules {how['rules']}"]
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


def _runs(path: Path) -> set[tuple[str, int]]:
    """The reports of the runs that finished: one that had nothing to do leaves none."""
    return {(file.name, file.stat().st_mtime_ns) for file in (path / "_runs").glob("*.json")}


def _beginning(water: xr.Dataset, given: argparse.Namespace, out: Path) -> str:
    """What is going to be done, in one line; said before the work starts, on a terminal or off."""
    dates, rows, columns = (water.sizes[dim] for dim in ("time", "y", "x"))
    unit = "month" if given.composite == "month" else "date"
    start = f"lakecube extract: {dates} {plural(unit, dates)} of {rows} x {columns} px, into {out}"
    done, total = _resumed(water, given, out)
    return f"{start}\nresuming: {done} of {total} blocks were already written" if done else start


def _resumed(water: xr.Dataset, given: argparse.Namespace, out: Path) -> tuple[int, int]:
    """Blocks that an unfinished run of the same request has written, and how many there are to be."""
    from lakecube.store.commit import read_root, sibling
    from lakecube.store.contents import survey
    from lakecube.store.files import LocalFiles
    from lakecube.store.ledger import Ledger
    from lakecube.store.plan import make_plan

    visible = read_root(out) if out.is_dir() else None
    if given.mode == "overwrite" and visible is not None:
        out, visible = sibling(out, "overwriting"), None
    ledger = Ledger(LocalFiles(out))
    pending = ledger.pending() if out.is_dir() and ledger.is_pending() else None
    if pending is None:
        return 0, 0
    keys = ledger.rows(visible.rows) if visible is not None else []
    plan = make_plan(survey(water), visible, keys or [], given.mode, given.chunks, pending)
    if plan.hash != pending:
        return 0, 0
    return _written(ledger), len(plan.positions) * int(np.prod(plan.blocks))


def _written(ledger: Any) -> int:
    boxes = [record["box"] for record in ledger.done("observed")]
    return int(sum(np.prod([end - begin for begin, end in box]) for box in boxes))


def _open_store(path: Path) -> xr.Dataset:
    """Open a store, and say of an unfinished one how far it came."""
    try:
        return lakecube.open_store(path)
    except StoreError as error:
        from lakecube.store.files import LocalFiles
        from lakecube.store.ledger import Ledger

        ledger = Ledger(LocalFiles(path))
        if not path.is_dir() or not ledger.is_pending():
            raise
        done = _written(ledger)
        raise StoreError(
            f"{path} is unfinished ({done} {plural('block', done)} written so far): "
            "run the same lakecube extract again, it continues from there"
        ) from error


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
    """The cube that was asked for; a source or DEM that is not there, or is none, is a mistake of the request."""
    try:
        return _opened(given)
    except ReadError as error:
        text = str(error)
        if given.dem is not None and _is_about(text, given.dem):
            kind = ReadError if "://" in given.dem else InvalidInputError
            raise kind(f"dem: {text}") from error
        if any("://" not in source and _is_about(text, source) for source in given.source):
            raise InvalidInputError(text) from error
        raise
    except InvalidInputError as error:
        if given.dem is not None and "DEM" not in str(error) and _is_about(str(error), given.dem):
            raise InvalidInputError(f"dem: {error}") from error
        raise


def _is_about(text: str, path: str) -> bool:
    return text.startswith((path, Path(path).name, repr(path)))


def _opened(given: argparse.Namespace) -> xr.Dataset:
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


def _day(moment: Any, unit: str = "date") -> str:
    """A date; of a composite its month."""
    return str(np.datetime_as_string(np.datetime64(moment, "ns"), unit="M" if unit == "month" else "D"))
