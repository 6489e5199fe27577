"""What an archive writes: COG files of one date, the elevation model, the truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import xarray as xr
from affine import Affine
from scipy import ndimage

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
)
from lakecube.synthetic.noise import block_mean, generator
from lakecube.synthetic.quality import QA_FILL, qa_pixel, scene_classification
from lakecube.synthetic.scene import Landscape, Scene, render
from lakecube.synthetic.terrain import PIXEL, flood, levels_on
from lakecube.synthetic.truth import scene_truth


@dataclass(frozen=True)
class Plan:
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
class Day:
    """One date: baselines, whether the offset is off, and the weather."""

    day: np.datetime64
    baselines: tuple[str, ...]  #: one for each tile
    applied: bool
    clouds: float
    haze: float
    missing: float


def write_day(plan: Plan, day: Day) -> tuple[list[dict], dict]:
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
        if scene.valid[:, tile.start : tile.stop].any()  # a tile that the swath misses has no item
    ]
    return items, scene_truth(plan.landscape, scene, plan.style.truth_factor)


def _write_item(
    plan: Plan, day: Day, tile: Tile, baseline: str, scene: Scene, native: dict[str, np.ndarray],
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


def _write_asset(plan: Plan, file: str, values: np.ndarray, tile: Tile, metres: int, nodata: int) -> dict[str, Any]:
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


def write_dem(landscape: Landscape, path: Path) -> Path:
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


def write_truth(truth: xr.Dataset, path: Path) -> None:
    """Write the truth as Zarr, a chunk for each date and variable."""
    chunks = {name: {"chunks": (1, *v.shape[1:])} for name, v in truth.data_vars.items() if v.dims[0] == "time"}
    time = {"time": {"units": "days since 1970-01-01", "dtype": "int64"}}
    truth.to_zarr(path, mode="w", zarr_format=3, consolidated=False, encoding=chunks | time)
