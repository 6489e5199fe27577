"""A small archive of real COG files and STAC items on disk, with known truth."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from lakecube.errors import InvalidInputError
from lakecube.synthetic.items import Tile, mgrs_code, named_style
from lakecube.synthetic.scene import Landscape, make_landscape
from lakecube.synthetic.truth import truth_dataset
from lakecube.synthetic.writing import Day, Plan, write_day, write_dem, write_truth

DEFAULT_DATES = 16
_REPEAT = np.timedelta64(5, "D")


@dataclass(frozen=True)
class Archive:
    """An archive that `make_archive` wrote.

    `items_path` is the ItemCollection to open, `dem_path` the elevation model (None without), `truth_path`
    the Zarr store of `truth`, `items` the ids in order of time, `landscape` what any further date can be
    rendered from. Say ``truth["water"]``: ``truth.water`` is the accessor.
    """

    path: Path
    items_path: Path
    dem_path: Path | None
    truth_path: Path
    truth: xr.Dataset
    items: tuple[str, ...]
    landscape: Landscape

    @property
    def bbox(self) -> tuple[float, float, float, float]:
        """Longitudes and latitudes that enclose the archive (west, south, east, north)."""
        boxes = np.array([feature["bbox"] for feature in json.loads(self.items_path.read_text())["features"]])
        west, south = boxes[:, :2].min(axis=0)
        east, north = boxes[:, 2:].max(axis=0)
        return float(west), float(south), float(east), float(north)


def make_archive(
    path: str | os.PathLike[str],
    *,
    shape: tuple[int, int] = (512, 512),
    dates: int | Sequence[Any] = DEFAULT_DATES,
    seed: int = 0,
    crs: str = "EPSG:32648",
    origin: tuple[float, float] = (549600.0, 2986500.0),
    style: str = "earth-search-v1",
    baseline: str | Sequence[str | Sequence[str]] = "04.00",
    boa_offset_applied: bool | Sequence[bool] | None = None,
    offset_flag: bool | None = None,
    clouds: float | Sequence[float] | None = None,
    haze: float | Sequence[float] | None = None,
    missing: float | Sequence[float] | None = None,
    scl_errors: float = 1.0,
    qa: bool = True,
    bands: Sequence[str] | None = None,
    tiles: int = 1,
    overlap: int = 60,
    dem: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Archive:
    """Write a small archive of COG files and STAC items with known truth.

    Parameters
    ----------
    path : path
        Folder to write into; made if needed, files of the same name are replaced.
    shape : (int, int)
        Rows and columns of 10 m pixels, at least 32 each; any number, multiples of 6 or not.
    dates : int or sequence of dates
        Solar dates, or how many to spread over 2022 and 2023. What a date shows depends on the date and the
        seed alone, not on the other dates.
    seed : int
        The same call gives the same bytes.
    crs, origin
        A projected CRS in metres, and the upper left corner.
    style : {"earth-search-v1", "planetary-computer", "landsat-c2"}
        Whose asset keys, metadata and numbers to follow.
    baseline : str or sequence
        Processing baseline of all dates, or of each; one date may give a sequence, one for each tile;
        "mixed" alternates 03.01 and 04.00 from tile to tile.
    boa_offset_applied : bool or sequence of bool, optional
        Whether the offset of 1000 has been taken off the numbers of baselines from 04.00 on. By default as the
        collection does it: taken off by earth-search, still there in the Planetary Computer.
    offset_flag : bool, optional
        What the items claim in ``earthsearch:boa_offset_applied``; by default the truth.
    clouds, haze, missing : float or sequence of float, optional
        Share of cloud, opacity of unflagged haze, share beyond the swath edge: for all dates or each. By default
        they differ from date to date (a third of the dates cloudless).
    scl_errors : float
        0: the mask layer is the truth; 1: the usual mistakes of a processor.
    qa : bool
        Write the mask layer (SCL or QA_PIXEL).
    bands : sequence of str, optional
        Bands to write; by default all of the style.
    tiles : int
        Items per date, side by side.
    overlap : int
        Pixels that neighbouring tiles share (multiple of 12); 0: they abut.
    dem : bool
        Write an elevation model at 30 m.
    progress : callable, optional
        Called as ``progress(done, total)`` after each date.

    Returns
    -------
    Archive

    Examples
    --------
    >>> import tempfile
    >>> archive = make_archive(tempfile.mkdtemp(), shape=(48, 48), dates=["2022-07-09"], bands=["green", "swir16"])
    >>> archive.items
    ('S2A_48RWQ_20220709_0_L2A',)
    >>> archive.truth["water"].shape
    (1, 48, 48)
    """
    chosen = named_style(style)
    known = tuple(chosen.assets)
    wanted = known if bands is None else tuple(bands)
    if unknown := [band for band in wanted if band not in known]:
        raise InvalidInputError(f"{style} has no band {', '.join(unknown)}; it has {', '.join(known)}")
    landscape = make_landscape(shape, seed=seed, crs=crs, origin=origin)
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    plan = Plan(folder, landscape, chosen, _tiles(landscape, tiles, overlap), wanted, scl_errors, qa, offset_flag)
    days = _days(dates, plan, baseline, boa_offset_applied, clouds, haze, missing)
    features, truths = _write_all(plan, days, progress)
    truth = truth_dataset(landscape, truths, chosen.truth_factor)
    truth_path, items_path = folder / "truth.zarr", folder / "items.json"
    write_truth(truth, truth_path)
    collection = {"type": "FeatureCollection", "features": features}
    items_path.write_text(json.dumps(collection, indent=1) + "\n")
    dem_path = write_dem(landscape, folder / "dem.tif") if dem else None
    return Archive(folder, items_path, dem_path, truth_path, truth, tuple(f["id"] for f in features), landscape)


def _write_all(
    plan: Plan, days: list[Day], progress: Callable[[int, int], None] | None
) -> tuple[list[dict], list[dict]]:
    """Render and write the dates, two at a time; results in order of time."""
    features: list[dict] = []
    truths: list[dict] = []
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        for done, (items, truth) in enumerate(pool.map(lambda day: write_day(plan, day), days), start=1):
            features += items
            truths.append(truth)
            if progress is not None:
                progress(done, len(days))
    return features, truths


def _tiles(landscape: Landscape, count: int, overlap: int) -> tuple[Tile, ...]:
    """Cut the canvas into `count` tiles side by side, on multiples of 60 m."""
    cols = landscape.canvas[1]
    if count < 1 or cols // 6 < count or overlap < 0 or overlap % 12:
        raise InvalidInputError(f"tiles={count}, overlap={overlap}: needs at least one tile and a multiple of 12")
    cuts = [round(i * cols / count / 6) * 6 for i in range(count + 1)]
    first = mgrs_code(landscape.crs, *landscape.origin)
    letters = "ABCDEFGHJKLMNPQRSTUVWXYZ"
    codes = [first[:3] + letters[(letters.index(first[3]) + i) % 24] + first[4:] for i in range(count)]
    return tuple(
        Tile(code, max(a - overlap // 2, 0), min(b + overlap // 2, cols))
        for code, a, b in zip(codes, cuts[:-1], cuts[1:], strict=True)
    )


def _each(value: Any, count: int, name: str) -> list[Any]:
    """One value for each date."""
    values = [value] * count if isinstance(value, str | bool | int | float) else list(value)
    if len(values) != count:
        raise InvalidInputError(f"{name} has {len(values)} entries for {count} dates; give one value or one per date")
    return values


def _default_weather(day: np.datetime64) -> tuple[float, float, float]:
    """Cloud cover, haze and missing share of a date: evenly spread sequences of the day number."""
    overpass = int(day.astype("int64")) // 5
    cloudy, hazy, cut = (overpass * step % 1.0 for step in (0.6180339887, 0.7548776662, 0.5698402910))
    cover = 0.0 if cloudy < 0.36 else 0.8 * ((cloudy - 0.36) / 0.64) ** 1.7
    return cover, 0.13 if hazy < 0.1 else 0.0, 0.28 if cut < 0.15 else 0.0


def _days(
    dates: Any, plan: Plan, baseline: Any, applied: Any, clouds: Any, haze: Any, missing: Any
) -> list[Day]:  # fmt: skip
    """Bring all that may be given once or per date to one record for each date, in order of time."""
    if isinstance(dates, int):
        steps = np.arange(dates) * (146 / max(dates, 1))
        dates = [np.datetime64("2022-01-10") + int(step) * _REPEAT for step in steps]
    days = [np.datetime64(date, "D") for date in dates]
    count, tiles = len(days), len(plan.tiles)
    if count == 0 or len(set(days)) < count:
        raise InvalidInputError(f"dates holds {count} dates, {len(set(days))} of them different; give each date once")
    if baseline == "mixed":
        baseline = [tuple(("03.01", "04.00")[t % 2] for t in range(tiles))] * count
    baselines = [tuple(_each(b, tiles, "a date's baseline")) for b in _each(baseline, count, "baseline")]
    if applied is None:
        applied = plan.style.name == "earth-search-v1"
    weather = [_default_weather(day) for day in days]
    columns = [
        [w[i] for w in weather] if given is None else _each(given, count, name)
        for i, (given, name) in enumerate([(clouds, "clouds"), (haze, "haze"), (missing, "missing")])
    ]
    rows = zip(days, baselines, _each(applied, count, "boa_offset_applied"), *columns, strict=True)
    return sorted((Day(*row) for row in rows), key=lambda row: row.day)
