"""GeoTIFFs (and other rasters) as items: which band is which, which date, how the numbers become reflectance."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import rasterio

from lakecube.errors import InvalidInputError, ReadError
from lakecube.io.files import GDAL_OPTIONS, open_source
from lakecube.io.records import BandSource, ItemRecord, QAKind, SourceGrid
from lakecube.io.sensor_tables import SENSORS, sensor_name
from lakecube.names import BANDS

SUFFIXES = (".tif", ".tiff", ".jp2", ".img", ".vrt")

#: Names of bands in files, besides the STAC common names: Sentinel-2's and everyday ones.
ALIASES = {
    "b01": "coastal", "b1": "coastal", "b02": "blue", "b2": "blue", "b03": "green", "b3": "green", "b04": "red",
    "b4": "red", "b05": "rededge1", "b5": "rededge1", "rededge": "rededge1", "b06": "rededge2", "b07": "rededge3",
    "b08": "nir", "b8": "nir", "b8a": "nir08", "b09": "nir09", "b9": "nir09", "b11": "swir16", "b12": "swir22",
    "swir1": "swir16", "swir2": "swir22", "nir2": "nir08", **{name: name for name in BANDS},
}  # fmt: skip

QA_ALIASES: dict[str, QAKind] = {
    "scl": "scl", "qa_pixel": "qa_pixel", "qa_radsat": "qa_radsat", "fmask": "fmask", "cloud": "cloud_mask",
    "clm": "cloud_mask", "cloud_mask": "cloud_mask",
}  # fmt: skip

_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_]?(0[1-9]|1[0-2])[-_]?(0[1-9]|[12]\d|3[01])(?!\d)")


@dataclass(frozen=True, slots=True)
class _Layer:
    """One raster band of one file: its name there and where it lies."""

    name: str
    source: BandSource


def is_raster_source(source: Any) -> bool:
    """True for a path (or a list of paths) of rasters."""
    paths = source if isinstance(source, list | tuple) else [source]
    return bool(paths) and all(
        isinstance(p, str | Path) and Path(str(p).split("?")[0]).suffix.lower() in SUFFIXES for p in paths
    )


def describe_rasters(
    source: str | Path | Sequence[str | Path],
    *,
    bands: Sequence[str] | Mapping[str, str] | None = None,
    datetime: Any = None,
    sensor: str | None = None,
    scale: float | None = None,
    offset: float = 0.0,
) -> list[ItemRecord]:
    """One item per date from raster files of one or many bands.

    Parameters
    ----------
    source
        Path(s). Files of one date with different bands (or a quality layer) become one item.
    bands
        Mapping from the bands' names in the files (descriptions, or ``"1"``, ``"2"``, … by position) to STAC
        common names, or to the kind of a quality layer (``"scl"``, ``"cloud_mask"``, …). Otherwise descriptions are
        matched to known names, red, green and blue by their colour interpretation, a single band by the file's name.
    datetime
        Date of the files, or one per file, where neither their tags nor their names tell.
    sensor
        Name in `SENSORS`; its scale applies where the file has none.
    scale, offset
        ``reflectance = number * scale + offset``; by default the file's own, then the sensor's.

    Raises
    ------
    InvalidInputError
        No known band, or no date.
    ReadError
        Not a raster that can be read.
    """
    if sensor is not None:
        sensor = {"landsat-c2-l2": "landsat-oli-c2-l2"}.get(sensor_name(sensor), sensor_name(sensor))
    paths = [str(p) for p in (source if isinstance(source, list | tuple) else [source])]
    dates = _given_dates(datetime, len(paths))
    mapping = {str(k).lower(): v for k, v in bands.items()} if isinstance(bands, Mapping) else None
    items: dict[np.datetime64, ItemRecord] = {}
    for path, date in zip(paths, dates, strict=True):
        record = _describe_file(path, date, mapping, sensor, scale, offset)
        kept = items.get(record.time)
        items[record.time] = record if kept is None else _merge(kept, record)
    if not any(record.bands for record in items.values()):
        raise InvalidInputError(f"no reflectance band in {', '.join(Path(p).name for p in paths)}")
    return [record for record in items.values() if record.bands]


def _given_dates(datetime: Any, n: int) -> list[np.datetime64 | None]:
    if datetime is None:
        return [None] * n
    values = list(datetime) if isinstance(datetime, list | tuple | np.ndarray) else [datetime] * n
    if len(values) != n:
        raise InvalidInputError(f"datetime= has {len(values)} dates for {n} files; give one date, or one per file")
    try:
        return [np.datetime64(str(v).removesuffix("Z"), "ns") for v in values]
    except ValueError as error:
        raise InvalidInputError(f"datetime={datetime!r}: raster files need dates like '2020-08-04'") from error


def _describe_file(
    path: str, date: np.datetime64 | None, mapping: Mapping[str, str] | None, sensor: str | None, scale: float | None,
    offset: float,
) -> ItemRecord:  # fmt: skip
    with rasterio.Env(**GDAL_OPTIONS), open_source(path, local=True) as file:
        if file.crs is None:
            raise ReadError(f"{Path(path).name} has no CRS: write one, for example with rioxarray's write_crs")
        time = date if date is not None else _date_of(path, file.tags())
        layers = _layers(path, file, mapping, sensor, scale, offset)
    named = {layer.name: layer.source for layer in layers}
    kinds = get_args(QAKind)
    time = time.astype("datetime64[ns]")
    return ItemRecord(
        id=Path(path).name,
        collection="",
        sensor=sensor or "rasters",
        time=time,
        solar_day=time.astype("datetime64[D]"),
        bands={b: named[b] for b in BANDS if b in named},
        qa={k: named[k] for k in kinds if k in named},
        identity=str(time),
        offset_source="file",
        local=True,
    )


def _date_of(path: str, tags: Mapping[str, str]) -> np.datetime64:
    for key in ("DATETIME_UTC", "DATE", "ACQUISITION_DATE", "TIFFTAG_DATETIME", "ASSIGNED_DATE"):
        found = _DATE.search(tags.get(key, "").replace(":", "-"))
        if found:
            return np.datetime64("-".join(found.groups()))
    found = _DATE.search(Path(path).name)
    if found:
        return np.datetime64("-".join(found.groups()))
    raise InvalidInputError(
        f"cannot tell the date of {Path(path).name} from its tags or its name: "
        "pass datetime='2020-08-04', or a date per file"
    )


def _layers(
    path: str, file: Any, mapping: Mapping[str, str] | None, sensor: str | None, scale: float | None, offset: float
) -> list[_Layer]:
    grid = SourceGrid(file.crs.to_string(), tuple(file.transform)[:6], file.shape)
    layers = []
    for i, (names, dtype) in enumerate(zip(_names(path, file), file.dtypes, strict=True), 1):
        name = _match(names, mapping)
        if name is None:
            continue
        factor, shift = (1.0, 0.0) if name in QA_ALIASES.values() else _decoding(file, i, dtype, sensor, scale, offset)
        layers.append(_Layer(name, BandSource(path, i, factor, shift, file.nodata, grid)))
    if not layers:
        raise InvalidInputError(
            f"{Path(path).name}: none of its bands {[n[0] for n in _names(path, file)]} is known; pass "
            f"bands={{'name or position in the file': 'green', …}} with STAC common names: {', '.join(BANDS)}"
        )
    return layers


def _names(path: str, file: Any) -> list[list[str]]:
    """Per band the names it may go by: description, position, colour, and (for a single band) the file's name."""
    names = []
    for i, (description, colour) in enumerate(zip(file.descriptions, file.colorinterp, strict=True), 1):
        options = [description or "", str(i), colour.name]
        if file.count == 1:
            options += re.split(r"[^A-Za-z0-9]+", Path(path).stem)[::-1]
        names.append([o.lower() for o in options if o])
    return names


def _match(names: list[str], mapping: Mapping[str, str] | None) -> str | None:
    if mapping is not None:
        hit = next((mapping[n] for n in names if n in mapping), None)
        if hit is not None and hit not in BANDS and hit not in get_args(QAKind):
            raise InvalidInputError(
                f"bands= maps to {hit!r}; use STAC common names ({', '.join(BANDS)}) or {get_args(QAKind)}"
            )
        return hit
    return next((ALIASES.get(n) or QA_ALIASES.get(n) for n in names if n in ALIASES or n in QA_ALIASES), None)


def _decoding(
    file: Any, i: int, dtype: str, sensor: str | None, scale: float | None, offset: float
) -> tuple[float, float]:
    """(scale, offset): given, of the file, of the sensor, or by the field's habit for the dtype (with a warning)."""
    if scale is not None:
        return scale, offset
    if (file.scales[i - 1], file.offsets[i - 1]) != (1.0, 0.0):
        return file.scales[i - 1], file.offsets[i - 1]
    if sensor is not None and sensor in SENSORS:
        return SENSORS[sensor].scale, SENSORS[sensor].offset + offset
    if dtype == "uint8":
        return 1.0 / 255.0, 0.0
    if np.dtype(dtype).kind in "ui":
        warnings.warn(
            f"{Path(file.name).name} holds {dtype} without a scale: taken as reflectance × 10000; "
            "write the scale into the file, or pass sensor=, if that is wrong",
            stacklevel=8,
        )
        return 1e-4, offset
    return 1.0, offset


def _merge(a: ItemRecord, b: ItemRecord) -> ItemRecord:
    twice = sorted((a.bands.keys() & b.bands.keys()) | (a.qa.keys() & b.qa.keys()))
    if twice:
        raise InvalidInputError(f"{a.id} and {b.id} both hold {', '.join(twice)} for {a.time.astype('datetime64[D]')}")
    merged = {**a.bands, **b.bands}
    return replace(a, bands={n: merged[n] for n in BANDS if n in merged}, qa={**a.qa, **b.qa})
