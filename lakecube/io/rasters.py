"""GeoTIFFs (and other rasters) as items: which band is which, which date, how the numbers become reflectance."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import rasterio

from lakecube.errors import InvalidInputError, ReadError
from lakecube.io.files import GDAL_OPTIONS, open_source, with_retries
from lakecube.io.grids import PICTURE
from lakecube.io.hrefs import from_here, strip_signature
from lakecube.io.nodata import has_mask, range_of, with_blanks
from lakecube.io.offsets import user_offset
from lakecube.io.patience import Patience
from lakecube.io.records import BandSource, ItemRecord, QAKind, SourceGrid
from lakecube.io.sensor_tables import SENSORS, sensor_name
from lakecube.names import BANDS

SUFFIXES = (".tif", ".tiff", ".jp2", ".img", ".vrt", ".jpg", ".jpeg", ".png")

#: Date of a picture that tells none.
NO_DATE = np.datetime64("1970-01-01")

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

_NUMBERED = re.compile(r"b\d+a?")
_TM_FILE = re.compile(r"L[TE]0[457]_")

_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_]?(0[1-9]|1[0-2])[-_]?(0[1-9]|[12]\d|3[01])(?!\d)")


@dataclass(frozen=True, slots=True)
class _Layer:
    """One raster band of one file: its name there and where it lies; `habit`, its dtype if no scale is told."""

    name: str
    source: BandSource
    habit: str = ""


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
    offset: str | float | Mapping[str, float] = "metadata",
    nodata: float | Sequence[float] | None = None,
    patience: Patience | None = None,
) -> list[ItemRecord]:
    """One item per date from raster files of one or many bands.

    Parameters
    ----------
    source
        Path(s). Files of one date with different bands (or a quality layer) become one item.
    bands
        Mapping from the bands' names in the files (descriptions, or ``"1"``, ``"2"``, … by position) to STAC
        common names, or to the kind of a quality layer (``"scl"``, ``"cloud_mask"``, …); a list only chooses, and of a
        picture that it seems to name in another order it is warned. Otherwise descriptions are
        matched to known names, red, green and blue by their colour interpretation, a single band by the file's name.
        Known quality layers are taken whether they are mapped or not.
    datetime
        Date of the files, or one per file, where neither their tags nor their names tell. Pictures of bytes may do
        without (1970-01-01, with a warning).
    sensor
        Name in `SENSORS`: whose band ``B3`` is meant; its scale, offset and nodata apply to integers where the file
        has none. Floats without a scale are reflectance already.
    scale
        ``reflectance = number * scale + offset``; by default the file's own, then the sensor's. Bytes without one are
        a picture as it is shown: number / 255, which is no reflectance (band attribute ``radiometry="display"``).
    offset
        As in `open`; a number, or one per file name, replaces that of the file or sensor.
    nodata
        As in `open`; by default the file's own, then the sensor's.
    patience
        How headers that cannot be read are tried again.

    Raises
    ------
    InvalidInputError
        No known band, no band of the name that `bands` maps, an offset that is none, or no date.
    ReadError
        Not a raster that can be read.
    """
    sensor = None if sensor is None else sensor_name(sensor)
    empty = range_of(nodata)
    paths = [from_here(str(p)) for p in (source if isinstance(source, list | tuple) else [source])]
    dates = _given_dates(datetime, len(paths))
    mapping = {str(k).lower(): v for k, v in bands.items()} if isinstance(bands, Mapping) else None
    _check_mapping(mapping)
    asked = [] if bands is None or isinstance(bands, str | Mapping) else list(bands)
    items: dict[np.datetime64, ItemRecord] = {}
    held: dict[np.datetime64, list[str]] = {}
    unscaled: dict[str, str] = {}
    for path, date in zip(paths, dates, strict=True):
        shift = user_offset(offset, _name(path))

        def describe(path: str = path, date: Any = date, shift: Any = shift) -> tuple[ItemRecord, list[str], str]:
            return _describe_file(path, date, mapping, sensor, scale, shift, empty, asked)

        record, names, habit = with_retries(describe, path, patience or Patience(), _name(path))
        if habit:
            unscaled[_name(path)] = habit
        kept = items.get(record.time)
        items[record.time] = record if kept is None else _merge(kept, record)
        held.setdefault(record.time, []).extend(names)
    _warn_of_habit(unscaled)
    described = [record for record in items.values() if record.bands]
    if not described:
        raise InvalidInputError(f"no reflectance band in {', '.join(_name(p) for p in paths)}")
    for record in described:
        absent = [key for key, name in (mapping or {}).items() if name not in {*record.bands, *record.qa}]
        if absent:
            raise InvalidInputError(
                f"no band {', '.join(map(repr, absent))} in {record.id}; it has {', '.join(held[record.time])} "
                "(name or position in the file)"
            )
    return described


def _warn_of_habit(unscaled: Mapping[str, str]) -> None:
    """Once for all files: that their integers are taken as reflectance by the habit of the field."""
    if unscaled:
        (first, dtype), more = next(iter(unscaled.items())), len(unscaled) - 1
        who = f"{first} and {more} more hold" if more else f"{first} holds"
        warnings.warn(
            f"{who} {dtype} without a scale: taken as reflectance × 10000; "
            "write the scale into the file, or pass sensor=, if that is wrong",
            stacklevel=4,
        )


def _warn_of_order(name: str, channels: Sequence[str], asked: Sequence[str]) -> None:
    """Where a list names all channels of a picture, but in another order: a list chooses, and names nothing."""
    if sorted(asked) == sorted(channels) and list(asked) != list(channels):
        mapping = {str(i): band for i, band in enumerate(asked, 1)}
        warnings.warn(
            f"{name} is read as {', '.join(channels)}, since a list of bands only chooses; if its channels are "
            f"{', '.join(asked)} in this order, say bands={mapping}",
            stacklevel=6,
        )


def _name(path: str) -> str:
    return Path(strip_signature(path)).name


def _check_mapping(mapping: Mapping[str, Any] | None) -> None:
    for name in (mapping or {}).values():
        if name not in BANDS and name not in get_args(QAKind):
            raise InvalidInputError(
                f"bands= maps to {name!r}, but the name in the file comes first, as in 1=blue; "
                f"use STAC common names ({', '.join(BANDS)}) or {get_args(QAKind)}"
            )


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
    offset: float | None, empty: tuple[float, float] | None, asked: Sequence[str],
) -> tuple[ItemRecord, list[str], str]:  # fmt: skip
    if sensor == "landsat-c2-l2":
        sensor = "landsat-tm-c2-l2" if _TM_FILE.match(_name(path)) else "landsat-oli-c2-l2"
    with rasterio.Env(**GDAL_OPTIONS), open_source(path, local=True) as file:
        layers = _layers(path, file, mapping, sensor, scale, offset, empty)
        is_picture = all(layer.source.display for layer in layers if layer.name in BANDS)
        if is_picture and not any(file.descriptions):
            _warn_of_order(_name(path), [layer.name for layer in layers if layer.name in BANDS], asked)
        if file.crs is None and not is_picture:
            raise ReadError(f"{_name(path)} has no CRS: write one, for example with rioxarray's write_crs")
        if file.crs is None:
            warnings.warn(
                f"{_name(path)} tells no CRS: it has no place, and its pixels count as squares of one metre",
                stacklevel=5,
            )
        time = date if date is not None else _date_of(path, file.tags(), is_picture)
        held = [f"{i} ({name})" if name else str(i) for i, name in enumerate(file.descriptions, 1)]
    named = {layer.name: layer.source for layer in layers}
    kinds = get_args(QAKind)
    time = time.astype("datetime64[ns]")
    record = ItemRecord(
        id=_name(path),
        collection="",
        sensor=sensor or "rasters",
        time=time,
        solar_day=time.astype("datetime64[D]"),
        bands={b: named[b] for b in BANDS if b in named},
        qa={k: named[k] for k in kinds if k in named},
        identity=str(time),
        offset_source="file" if offset is None else "user",
        local=True,
    )
    return record, held, next((layer.habit for layer in layers if layer.habit), "")


def _date_of(path: str, tags: Mapping[str, str], is_picture: bool) -> np.datetime64:
    for key in ("DATETIME_UTC", "DATE", "ACQUISITION_DATE", "TIFFTAG_DATETIME", "ASSIGNED_DATE"):
        found = _DATE.search(tags.get(key, "").replace(":", "-"))
        if found:
            return np.datetime64("-".join(found.groups()))
    found = _DATE.search(_name(path))
    if found:
        return np.datetime64("-".join(found.groups()))
    if is_picture:
        warnings.warn(
            f"{_name(path)} tells no date: it is kept under {NO_DATE}; pass datetime='2020-08-04' if that matters",
            stacklevel=6,
        )
        return NO_DATE
    raise InvalidInputError(
        f"cannot tell the date of {_name(path)} from its tags or its name: "
        "pass datetime='2020-08-04', or a date per file"
    )


def _layers(
    path: str, file: Any, mapping: Mapping[str, str] | None, sensor: str | None, scale: float | None,
    offset: float | None, empty: tuple[float, float] | None,
) -> list[_Layer]:  # fmt: skip
    grid = _grid_of(file)
    layers = []
    for i, (names, dtype) in enumerate(zip(_names(path, file), file.dtypes, strict=True), 1):
        name = _match(names, mapping, sensor)
        if name is None:
            continue
        source, habit = BandSource(path, i, nodata=file.nodata, grid=grid), ""
        if name in BANDS:
            factor, shift, display, habit = _decoding(file, i, dtype, sensor, scale, offset)
            if source.nodata is None and sensor is not None and np.dtype(dtype).kind in "ui":
                source = replace(source, nodata=SENSORS[sensor].nodata)
            source = replace(source, scale=factor, offset=shift, display=display, masked=has_mask(file, i))
        layers.append(_Layer(name, source, habit))
    if not layers:
        raise InvalidInputError(
            f"{_name(path)}: none of its bands {', '.join(repr(n[0]) for n in _names(path, file))} is known; tell "
            "which is which by position or name in the file, for example bands={'2': 'green', '5': 'swir16'}, "
            f"with STAC common names: {', '.join(BANDS)}"
        )
    sources = with_blanks({layer.name: layer.source for layer in layers if layer.name in BANDS}, empty)
    return [replace(layer, source=sources.get(layer.name, layer.source)) for layer in layers]


def _grid_of(file: Any) -> SourceGrid:
    """Where the pixels lie; of a file without a CRS, counted from its upper left corner, one unit to a pixel."""
    a, b, c, d, e, f = tuple(file.transform)[:6]
    if file.crs is not None:
        return SourceGrid(file.crs.to_string(), (a, b, c, d, e, f), file.shape)
    return SourceGrid(PICTURE, (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), file.shape)


def _names(path: str, file: Any) -> list[list[str]]:
    """Per band the names it may go by: description, position, colour, and (for a single band) the file's name."""
    names = []
    for i, (description, colour) in enumerate(zip(file.descriptions, file.colorinterp, strict=True), 1):
        options = [description or "", str(i), colour.name]
        if file.count == 1:
            words = re.split(r"[^A-Za-z0-9]+", Path(_name(path)).stem)[::-1]
            options += [f"{a}_{b}" for b, a in pairwise(words)] + words  # QA_PIXEL, SR_B3
        names.append([o.lower() for o in options if o])
    return names


def _match(names: list[str], mapping: Mapping[str, str] | None, sensor: str | None) -> str | None:
    """The common name of a band, or the kind of a quality layer, that goes by some names in its file."""
    bands, qa = known_names(sensor)
    if mapping is None:
        return next((bands.get(n) or qa.get(n) for n in names if n in bands or n in qa), None)
    hit = next((mapping[n] for n in names if n in mapping), None)
    if hit is None:
        hit = next((qa[n] for n in names if n in qa and qa[n] not in mapping.values()), None)
    return hit


@lru_cache(maxsize=32)
def known_names(sensor: str | None) -> tuple[dict[str, str], dict[str, str]]:
    """Names in files to common names, and to kinds of quality layers; what the sensor calls B3 goes before others."""
    if sensor is None:
        return ALIASES, dict(QA_ALIASES)
    own = {key.lower(): band for band, keys in SENSORS[sensor].keys.items() for key in keys}
    own |= {key.removeprefix("sr_"): band for key, band in own.items()}
    own |= {re.sub(r"^b0", "b", key): band for key, band in own.items() if _NUMBERED.fullmatch(key)}
    # B3 of Sentinel-2 is green, B3 of another sensor is not.
    others = "sentinel-2" not in sensor and sensor not in {"hls-s30", "generic"}
    general = {key: band for key, band in ALIASES.items() if not (others and _NUMBERED.fullmatch(key))}
    kinds = {key.lower(): kind for kind, keys in SENSORS[sensor].qa.items() for key in keys}
    return general | own, {**QA_ALIASES, **kinds}


def _decoding(
    file: Any, i: int, dtype: str, sensor: str | None, scale: float | None, offset: float | None
) -> tuple[float, float, bool, str]:
    """(scale, offset, display, habit): given, of the file, of the sensor, or by the field's habit for the dtype.

    Bytes without a scale are a picture as it is shown, from 0 to 1; of wider integers the dtype is told as `habit`.
    """
    factor, shift, display, habit = 1.0, 0.0, False, ""
    if scale is not None:
        factor = scale
    elif (file.scales[i - 1], file.offsets[i - 1]) != (1.0, 0.0):
        factor, shift = file.scales[i - 1], file.offsets[i - 1]
    elif np.dtype(dtype).kind not in "ui":
        pass  # reflectance already: a sensor's scale is for its integers
    elif sensor is not None and SENSORS[sensor].offset_rule != "metadata":
        factor, shift = SENSORS[sensor].scale, SENSORS[sensor].offset
    elif dtype == "uint8":
        factor, display = 1.0 / 255.0, True
    else:
        factor, habit = 1e-4, str(dtype)
    return factor, shift if offset is None else offset, display, habit


def _merge(a: ItemRecord, b: ItemRecord) -> ItemRecord:
    twice = sorted((a.bands.keys() & b.bands.keys()) | (a.qa.keys() & b.qa.keys()))
    if twice:
        raise InvalidInputError(f"{a.id} and {b.id} both hold {', '.join(twice)} for {a.time.astype('datetime64[D]')}")
    merged = {**a.bands, **b.bands}
    return replace(a, bands={n: merged[n] for n in BANDS if n in merged}, qa={**a.qa, **b.qa})
