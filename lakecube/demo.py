"""`lakecube demo`: the whole chain on a small synthetic archive, and what it found against the truth."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from scipy import ndimage

import lakecube
from lakecube.detect.indices import index
from lakecube.errors import InvalidInputError, StoreError
from lakecube.names import OBSERVATION, TIME, UNKNOWN, WATER, X, Y
from lakecube.panels import draw_false_colour, draw_series
from lakecube.plot import Picture, add_frequency, sign
from lakecube.summary import AreaSeries, area_series
from lakecube.synthetic import Archive, make_archive

SIZE, DATES, SEED = 480, 16, 0
#: Room that the demo needs: bytes per pixel and date of the archive and the store, with a margin, and the rest.
_BYTES_PER_PIXEL, _REST = 15, 20_000_000
DPI = 150
_SHADOWS = [OBSERVATION["cloud_shadow"], OBSERVATION["terrain_shadow"]]
_CLOUDS = [OBSERVATION["cloud"], OBSERVATION["cirrus"]]


def run(out: str | os.PathLike[str], *, size: int = SIZE, dates: int = DATES, quiet: bool = False) -> dict[str, Any]:
    """Make an archive in `out`, map its water, compare with its truth, draw a picture.

    Parameters
    ----------
    out : path
        Folder; gets ``archive/``, ``water.zarr`` and ``demo.png``.
    size, dates : int
        Side of the archive in pixels of 10 m, and how many dates it has.
    quiet : bool
        Print nothing.

    Returns
    -------
    dict
        Accuracy over all dates, that of MNDWI > 0 on the same pixels, the sorts of error, a row per date, the paths.
    """
    if size < 64 or dates < 1:
        raise InvalidInputError(f"size={size}, dates={dates}: at least 64 px and one date are needed")
    folder, begin = Path(out), time.perf_counter()
    if folder.exists() and not folder.is_dir():
        raise InvalidInputError(f"{folder} is a file: give a folder with --out")
    _check_room(folder, size * size * dates * _BYTES_PER_PIXEL + _REST)
    with _explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    store_path = folder / "water.zarr"
    say = Console(quiet=quiet, highlight=False, soft_wrap=True)
    say.print(
        f"[bold]1[/] a synthetic archive with known truth: {dates} dates of {size} x {size} px, in {folder / 'archive'}"
    )
    with _explained(folder):
        archive = _make(folder / "archive", size, dates, quiet)
    say.print(
        "[bold]2[/] open it, map water on every date, write the store; the same as\n"
        f"  lakecube extract {archive.items_path} --dem {archive.dem_path} --out {store_path} --mode overwrite"
    )
    cube = lakecube.open(archive.items_path, dem=archive.dem_path)
    store = lakecube.extract(cube).water.to_zarr(store_path, mode="overwrite", progress=not quiet)
    say.print("[bold]3[/] compare with the truth\n")
    result = compare(store, cube, archive.truth)
    picture = folder / "demo.png"
    with _explained(folder):
        _draw(store, cube, archive, result).savefig(picture, dpi=DPI)
    result |= {"store": str(store_path), "picture": str(picture)}
    _report(result, say)
    say.print(f"\npicture  {picture}\nstore    {store_path}   (lakecube info {store_path})")
    say.print(f"lakes    lakecube lakes {store_path}")
    say.print(f"[dim]{time.perf_counter() - begin:.0f} s[/]")
    return result


def compare(store: xr.Dataset, cube: xr.Dataset, truth: xr.Dataset) -> dict[str, Any]:
    """Confront a store with the truth, on the pixels it calls land or water, date by date.

    Returns
    -------
    dict
        `lakecube` and `mndwi` (IoU, precision, recall; MNDWI > 0 on the same pixels), `errors` (pixels by sort),
        `unknown_water` (share of the true water that is unknown), `dates` (a row each).
    """
    at = {Y: truth[Y], X: truth[X]}
    store, cube = (d.sel(at, method="nearest", tolerance=0.1) for d in (store, cube))
    mndwi = index(cube, "mndwi")
    totals = {"lakecube": np.zeros(3, np.int64), "mndwi": np.zeros(3, np.int64)}
    errors: dict[str, int] = {}
    rows, missed, real = [], 0, 0
    pixel = float(abs(truth[X][1] - truth[X][0]) * abs(truth[Y][1] - truth[Y][0])) / 1e6
    for date in truth[TIME].values:
        true = truth.sel({TIME: date})
        is_water = true["water"].values == WATER
        mask = store["water_mask"].sel({TIME: date}).values
        known, mapped = mask != UNKNOWN, mask == WATER
        totals["lakecube"] += _confusion(mapped, is_water, known)
        totals["mndwi"] += _confusion(mndwi.sel({TIME: date}).values > 0, is_water, known)
        for sort, count in _sorts(mapped, is_water, known, true).items():
            errors[sort] = errors.get(sort, 0) + count
        missed, real = missed + int((is_water & ~known).sum()), real + int(is_water.sum())
        rows.append({
            "date": str(np.datetime_as_string(date, unit="D")),
            "seen": float(known.mean()),
            "water_km2": float(mapped.sum() * pixel),
            "truth_seen_km2": float((is_water & known).sum() * pixel),
            "truth_km2": float(is_water.sum() * pixel),
            "iou": _scores(_confusion(mapped, is_water, known))["iou"],
        })  # fmt: skip
    scores = {name: _scores(counts) for name, counts in totals.items()}
    return {**scores, "errors": errors, "unknown_water": missed / max(real, 1), "dates": rows}


def _check_room(folder: Path, needed: int) -> None:
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise StoreError(
            f"disk full: {there} has {free / 1e6:.0f} MB free, and the demo needs about {needed / 1e6:.0f} MB; "
            "give another folder with --out"
        ) from full


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn what a full or read-only disk says while files are written into a StoreError."""
    from rasterio.errors import RasterioError

    try:
        yield
    except (OSError, RasterioError) as error:
        if isinstance(error, StoreError):
            raise
        if shutil.disk_usage(next(p for p in (folder, *folder.absolute().parents) if p.exists())).free < 2_000_000:
            error = OSError(errno.ENOSPC, str(error))
        why = "disk full" if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) else str(error)
        raise StoreError(f"cannot write the demo in {folder}: {why}") from error


def _make(folder: Path, size: int, dates: int, quiet: bool) -> Archive:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("archive (dates)", total=dates)
        return make_archive(
            folder,
            shape=(size, size),
            dates=dates,
            seed=SEED,
            progress=lambda done, _: bar.update(task, completed=done),
        )


def _confusion(mapped: np.ndarray, is_water: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Right water, false water, missed water among the known pixels."""
    return np.array([(a & known).sum() for a in (mapped & is_water, mapped & ~is_water, ~mapped & is_water)], np.int64)


def _scores(counts: np.ndarray) -> dict[str, float]:
    right, false, missed = map(int, counts)
    share = [right / n if n else float("nan") for n in (right + false + missed, right + false, right + missed)]
    return dict(zip(("iou", "precision", "recall"), share, strict=True)) | {
        "right": right,
        "false": false,
        "missed": missed,
    }


def _sorts(mapped: np.ndarray, is_water: np.ndarray, known: np.ndarray, true: xr.Dataset) -> dict[str, int]:
    """Errors by what the ground and the sky were: each error is counted once, in the first that fits."""
    share, state = true["water_fraction"].values, true["observation"].values
    places = {
        "under cloud the mask missed": np.isin(state, _CLOUDS),
        "in shadow": np.isin(state, _SHADOWS),
        "within 20 m of the shore": ndimage.binary_dilation((share > 0.02) & (share < 0.98), iterations=2),
        "elsewhere": np.ones(share.shape, bool),
    }
    out = {}
    for kind, wrong in (("missed", ~mapped & is_water & known), ("false", mapped & ~is_water & known)):
        left = wrong.copy()
        for name, here in places.items():
            out[f"{kind} {name}"] = int((left & here).sum())
            left &= ~here
    return out


def _report(result: dict[str, Any], say: Console) -> None:
    table = Table(
        title="Every date: area of water, on the pixels seen, against the truth", title_justify="left", box=None
    )
    for name in ("date", "seen", "mapped km²", "truth, same pixels", "truth, all", "IoU"):
        table.add_column(name, justify="left" if name == "date" else "right")
    for row in result["dates"]:
        areas = (f"{row[name]:.3f}" for name in ("water_km2", "truth_seen_km2", "truth_km2"))
        table.add_row(row["date"], f"{row['seen']:.0%}", *areas, f"{row['iou']:.3f}")
    say.print(table)
    table = Table(title="\nAll dates together, pixels judged land or water", title_justify="left", box=None)
    for name in ("", "IoU", "precision", "recall", "false px", "missed px"):
        table.add_column(name, justify="right" if name else "left")
    for name, label in (("lakecube", "lakecube, fusion"), ("mndwi", "MNDWI > 0, same pixels")):
        score = result[name]
        table.add_row(
            label,
            *(f"{score[k]:.3f}" for k in ("iou", "precision", "recall")),
            *(f"{score[k]:,}" for k in ("false", "missed")),
        )
    say.print(table)
    table = Table(title="\nErrors of lakecube by sort, px", title_justify="left", box=None, show_header=False)
    for sort, count in result["errors"].items():
        table.add_row(sort, f"{count:>8,}")
    say.print(table)
    say.print(
        f"\n{result['unknown_water']:.1%} of the true water lay under cloud, shadow or beyond the swath: "
        "it is unknown, not land."
    )


def _draw(store: xr.Dataset, cube: xr.Dataset, archive: Archive, result: dict[str, Any]) -> Picture:
    """Frequency map, one date in false colour, and areas with the truth."""
    series, rows = area_series(store), result["dates"]
    truth, truth_seen = ([1e6 * row[name] for row in rows] for name in ("truth_km2", "truth_seen_km2"))
    shown = store[TIME].values[_best_to_show(series)]
    picture = Picture(figsize=(11, 8.6), layout="constrained")
    picture.get_layout_engine().set(rect=(0, 0.02, 1, 0.97))  # type: ignore[union-attr,call-arg]
    panels = picture.subplot_mosaic([["map", "colour"], ["series", "series"]], height_ratios=[1.75, 1])
    add_frequency(panels["map"], store["water_frequency"], store.sizes[TIME])
    draw_false_colour(panels["colour"], cube, shown, store["water_mask"])
    draw_series(panels["series"], series, truth, truth_seen)
    picture.suptitle("lakecube demo: a synthetic Sentinel-2 archive with known truth", x=0.01, ha="left", fontsize=12)
    sign(picture, xr.Dataset(), note="synthetic data")
    return picture


def _best_to_show(series: AreaSeries) -> int:
    """A date that shows much water and some cloud, and little snow."""
    unwanted = series.by_reason[:, [OBSERVATION["snow_ice"], OBSERVATION["not_acquired"]]].sum(axis=1) / series.total
    some_cloud = (series.seen > 0.5) & (series.seen < 0.97)
    return int(np.argmax(series.water * np.where(some_cloud, 1.0, 0.1) * np.where(unwanted < 0.05, 1.0, 0.01)))
