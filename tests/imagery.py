"""Small rasters on disk and the records that describe them: what the reader's tests are made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine

from lakecube.io.patience import Patience
from lakecube.io.reader import ReadSettings
from lakecube.io.records import BandSource, ItemRecord, SourceGrid

UTM = "EPSG:32648"
#: Upper left corner of the small rasters: a multiple of 60 m.
LEFT, TOP = 549600.0, 2986500.0


def grid(
    rows: int, columns: int, size: float = 10.0, *, left: float = LEFT, top: float = TOP, crs: str = UTM
) -> SourceGrid:
    """A north-up grid."""
    return SourceGrid(crs, (size, 0.0, left, 0.0, -size, top), (rows, columns))


def write_raster(
    path: Path, numbers: np.ndarray, where: SourceGrid, *, nodata: float | None = 0, **profile: Any
) -> str:
    """Write a GeoTIFF of (rows, columns) or (bands, rows, columns); returns its path."""
    numbers = np.asarray(numbers)
    layers = numbers if numbers.ndim == 3 else numbers[np.newaxis]
    options = {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "DEFLATE", **profile}
    descriptions = options.pop("descriptions", None)
    tags = options.pop("tags", {})
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", height=layers.shape[1], width=layers.shape[2], count=len(layers), crs=where.crs,
        dtype=layers.dtype, transform=Affine(*where.transform), nodata=nodata, **options,
    ) as file:  # fmt: skip
        file.write(layers)
        file.update_tags(**tags)
        for i, name in enumerate(descriptions or (), 1):
            file.set_band_description(i, name)
    return str(path)


def source(path: Path, numbers: np.ndarray, where: SourceGrid, **known: Any) -> BandSource:
    """Write a raster; return the source that reads it (scale 1e-4, nodata 0 unless told)."""
    nodata = known.pop("nodata", 0)
    href = write_raster(path, numbers, where, nodata=nodata)
    return BandSource(href, 1, **{"scale": 1e-4, "nodata": nodata, "grid": where, **known})


def item(id_: str = "scene", *, day: str = "2020-08-04", **known: Any) -> ItemRecord:
    """A local item."""
    time = np.datetime64(f"{day}T03:40:00", "ns")
    return ItemRecord(
        **{"id": id_, "collection": "c", "sensor": "sentinel-2-l2a", "time": time, "local": True,
           "solar_day": time.astype("datetime64[D]"), "identity": id_, **known}
    )  # fmt: skip


def settings(where: SourceGrid, *bands: str, **known: Any) -> ReadSettings:
    """Read settings without waiting between tries."""
    patience = Patience(
        times=known.pop("retries", 2), wait=known.pop("backoff", 0.001), timeout=known.pop("timeout", 30)
    )
    return ReadSettings(grid=where, bands=bands, patience=patience, **known)


def with_href(record: ItemRecord, band: str, href: str) -> ItemRecord:
    """The record with one band's href replaced."""
    return replace(record, bands={**record.bands, band: replace(record.bands[band], href=href)})
