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
import rasterio
import xarray as xr
from affine import Affine
from scipy import ndimage

from lakecube.errors import InvalidInputError
from lakecube.names import OBSERVATION
from lakecube.synthetic.items import (
    LANDSAT_OFFSET,
    LANDSAT_SCALE,
    S2_BANDS,
    ItemFacts,
    Style,
    Tile,
    adds_offset,
    band_asset,
    item,
    mask_asset,
    mgrs_code,
    named_style,
)  # fmt: skip
from lakecube.synthetic.noise import block_mean, generator
from lakecube.synthetic.quality import QA_FILL, qa_pixel, scene_classification
from lakecube.synthetic.scene import Landscape, Scene, make_landscape, render
from lakecube.synthetic.terrain import PIXEL, flood, levels_on
from lakecube.synthetic.truth import scene_truth, truth_dataset

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


@dataclass(frozen=True)
class _Plan:
    """Everything one date needs, so that dates can be written in any order."""

    folder: Path
    landscape: Landscape
    style: Style
    tiles: tuple[Tile, ...]
    bands: tuple[str, ...]
    scl_errors: float
    qa: bool
    offset_flag: bool | None


@dataclass(frozen=True)
class _Day:
    day: np.datetime64
    baselines: tuple[str, ...]  #: one for each tile
    applied: bool
    clouds: float
    haze: float
    missing: float


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
    plan = _Plan(folder, landscape, chosen, _tiles(landscape, tiles, overlap), wanted, scl_errors, qa, offset_flag)
    days = _days(dates, plan, baseline, boa_offset_applied, clouds, haze, missing)
    features, truths = _write_all(plan, days, progress)
    truth = truth_dataset(landscape, truths, chosen.truth_factor)
    truth_path, items_path = folder / "truth.zarr", folder / "items.json"
    _write_truth(truth, truth_path)
    collection = {"type": "FeatureCollection", "features": features}
    items_path.write_text(json.dumps(collection, indent=1) + "\n")
    dem_path = _write_dem(landscape, folder / "dem.tif") if dem else None
    return Archive(folder, items_path, dem_path, truth_path, truth, tuple(f["id"] for f in features), landscape)


def _write_all(
    plan: _Plan, days: list[_Day], progress: Callable[[int, int], None] | None
) -> tuple[list[dict], list[dict]]:
    """Render and write the dates, two at a time; results in order of time."""
    features: list[dict] = []
    truths: list[dict] = []
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        for done, (items, truth) in enumerate(pool.map(lambda day: _write_day(plan, day), days), start=1):
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
    dates: Any, plan: _Plan, baseline: Any, applied: Any, clouds: Any, haze: Any, missing: Any
) -> list[_Day]:  # fmt: skip
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
    return sorted((_Day(*row) for row in rows), key=lambda row: row.day)


def _write_day(plan: _Plan, day: _Day) -> tuple[list[dict], dict]:
    """Render one date and write its items."""
    scene = render(plan.landscape, day.day, clouds=day.clouds, haze=day.haze, missing=day.missing)
    is_landsat = plan.style.name == "landsat-c2"
    native = {band: scene.native(band, plan.style.pixel[band] // int(PIXEL)) for band in plan.bands}
    mask = None
    if plan.qa:
        mask = qa_pixel(scene, plan.scl_errors) if is_landsat else scene_classification(scene, plan.scl_errors)
    items = [
        _write_item(plan, day, tile, baseline, scene, native, mask)
        for tile, baseline in zip(plan.tiles, day.baselines, strict=True)
    ]
    return items, scene_truth(plan.landscape, scene, plan.style.truth_factor)


def _write_item(
    plan: _Plan, day: _Day, tile: Tile, baseline: str, scene: Scene, native: dict[str, np.ndarray],
    mask: np.ndarray | None,
) -> dict[str, Any]:  # fmt: skip
    """Write the files of one item; return its STAC item with hrefs relative to the collection."""
    columns = slice(tile.start, tile.stop)
    acquired = scene.valid[:, columns]
    cloudy = np.isin(scene.observation[:, columns], [OBSERVATION["cloud"], OBSERVATION["cirrus"]])
    applied = day.applied and adds_offset(baseline)
    claimed = applied if plan.offset_flag is None else plan.offset_flag
    cover = float(cloudy.sum() / max(acquired.sum(), 1))
    facts = ItemFacts(day.day, scene.time, tile, baseline, claimed, cover, float(1 - acquired.mean()), scene.sun)
    name = facts.name(plan.style)
    (plan.folder / name).mkdir(exist_ok=True)
    carries = adds_offset(baseline) and not applied
    assets = {}
    for band in plan.bands:
        metres = plan.style.pixel[band]
        number = _encode(native[band], scene.seen(metres // int(PIXEL)), plan.style, carries)
        file = f"{name}/{S2_BANDS[band][0]}.tif" if plan.style.name != "landsat-c2" else f"{name}/{band}.tif"
        grid = _write_asset(plan, file, number, tile, metres, 0)
        assets[plan.style.assets[band]] = {"href": f"./{file}"} | band_asset(band, facts, plan.style) | grid
    if mask is not None:
        file = f"{name}/{plan.style.mask}.tif"
        grid = _write_asset(plan, file, mask, tile, plan.style.mask_pixel, QA_FILL if mask.itemsize > 1 else 0)
        assets[plan.style.mask] = {"href": f"./{file}"} | mask_asset(plan.style) | grid
    left, top = plan.landscape.origin
    rows, cols = plan.landscape.shape
    bounds = (left + tile.start * PIXEL, top - rows * PIXEL, left + min(tile.stop, cols) * PIXEL, top)
    return item(facts, plan.style, plan.landscape.crs, bounds, assets)


def _encode(reflectance: np.ndarray, seen: np.ndarray, style: Style, carries_offset: bool) -> np.ndarray:
    """Reflectance to digital numbers (uint16): 0 where nothing was acquired, at least 1 elsewhere."""
    if style.name == "landsat-c2":
        number = np.rint((reflectance - LANDSAT_OFFSET) / LANDSAT_SCALE)
    else:
        number = np.rint(reflectance * 10000) + (1000 if carries_offset else 0)
    return np.where(seen, np.clip(number, 1, 65535), 0).astype(np.uint16)


def _write_asset(plan: _Plan, file: str, values: np.ndarray, tile: Tile, metres: int, nodata: int) -> dict[str, Any]:
    """Write the tile's part of a canvas-wide array; return where it lies."""
    factor = metres // int(PIXEL)
    rows, cols = (-(-n // factor) for n in plan.landscape.shape)
    part = values[:rows, tile.start // factor : min(-(-tile.stop // factor), cols)]
    left, top = plan.landscape.origin
    transform = Affine(metres, 0, left + tile.start * PIXEL, 0, -metres, top)
    _write_cog(plan.folder / file, part, transform, plan.landscape.crs, nodata)
    return {
        "proj:code": plan.landscape.crs,
        "proj:shape": list(part.shape),
        "proj:transform": list(transform)[:6],
    }


def _write_cog(path: Path, values: np.ndarray, transform: Any, crs: str, nodata: float) -> None:
    """Write one COG: DEFLATE with predictor, internal tiles, overviews from 1024 pixels on."""
    large = max(values.shape) >= 1024
    profile = {
        "driver": "COG", "height": values.shape[0], "width": values.shape[1], "count": 1, "dtype": values.dtype,
        "crs": crs, "transform": transform, "nodata": nodata, "compress": "DEFLATE", "predictor": "YES",
        "level": 6, "blocksize": 512 if large else 256, "overviews": "AUTO" if large else "NONE",
        "overview_resampling": "AVERAGE" if values.dtype == np.float32 else "NEAREST",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(values, 1)


def _write_dem(landscape: Landscape, path: Path) -> Path:
    """Write the elevation model at 30 m: lakes flat at a mid level, half a metre of noise on land."""
    terrain = landscape.terrain
    levels = levels_on(terrain, np.datetime64("2011-12-20"))
    water = flood(terrain, levels)
    surface = np.append(np.float32(-np.inf), np.array(levels, np.float32))[water.lake]
    ground = ndimage.gaussian_filter(terrain.elevation, 1.0)
    noise = 0.5 * generator(landscape.seed, 2, 1).standard_normal(ground.shape, dtype=np.float32)
    height = block_mean(np.where(water.lake > 0, surface, ground + noise).astype(np.float32), 3)
    _write_cog(path, height, Affine(30, 0, landscape.origin[0], 0, -30, landscape.origin[1]), landscape.crs, -32767)
    return path


def _write_truth(truth: xr.Dataset, path: Path) -> None:
    """Write the truth as Zarr, a chunk for each date and variable."""
    chunks = {name: {"chunks": (1, *v.shape[1:])} for name, v in truth.data_vars.items() if v.dims[0] == "time"}
    time = {"time": {"units": "days since 1970-01-01", "dtype": "int64"}}
    truth.to_zarr(path, mode="w", zarr_format=3, consolidated=False, encoding=chunks | time)
