"""From a STAC item to an `ItemRecord`: its bands by common name, their scale, offset and nodata, and its QA layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pystac
import shapely

from lakecube.errors import InvalidInputError, LakecubeError, MissingBandError
from lakecube.io.assets import band_fields, band_of, grid_of, is_imagery, number_of, resolution_of
from lakecube.io.hrefs import resolve_href
from lakecube.io.identity import baseline_of, datastrip_of, identity_of, select_newest, updated_of
from lakecube.io.offsets import OffsetChoice, audit_offset, sentinel2_offset, user_offset
from lakecube.io.records import BandSource, ItemRecord, QAKind
from lakecube.io.search_time import item_interval
from lakecube.io.sensor_tables import QA_NODATA, SENSORS, Sensor, collection_of, find_sensor, platform_of
from lakecube.names import BANDS

__all__ = ["SENSORS", "audit_offset", "describe_item", "select_newest", "solar_day"]

#: Years that 64 bits of nanoseconds hold in full.
_FIRST_YEAR, _LAST_YEAR = 1678, 2261

_RGBN = ("red", "green", "blue", "nir")


def describe_item(
    item: pystac.Item,
    *,
    sensor: str | None = None,
    bands: Sequence[str] | None = None,
    offset: str | float | Mapping[str, float] = "metadata",
    base_href: str | None = None,
    local: bool = False,
) -> ItemRecord:
    """Describe what an item holds, from its metadata alone.

    Parameters
    ----------
    item : pystac.Item
    sensor : str, optional
        A name of `SENSORS`, or a family ("sentinel-2", "landsat", "rgb", "rgbn"); by default recognised from the
        collection, the id, or, failing these, the names of the bands.
    bands : sequence of str, optional
        STAC common names to take; by default all the sensor has.
    offset : "metadata", "audit", float or mapping of item id to float
        Offset in reflectance of the reflectance bands. "audit" records the metadata rule; the first pass changes it.
    base_href : str, optional
        Where the item was read from; relative hrefs start there. By default the item's own `self` link.
    local : bool
        Whether the item came from the user's own disk.

    Returns
    -------
    ItemRecord
        Hrefs are absolute where a base is known; `lakecube.io.hrefs.check_href` judges them when they are read.

    Raises
    ------
    InvalidInputError
        The item has no time, or nothing in it tells which asset is which band.
    MissingBandError
        A band of `bands` is not in the item.
    """
    try:
        return _describe(item, sensor, bands, offset, base_href, local)
    except LakecubeError:
        raise
    except (TypeError, ValueError, AttributeError, KeyError, IndexError, OverflowError) as error:
        raise InvalidInputError(f"Item {item.id!r} has metadata that cannot be understood: {error}.") from error


def _describe(
    item: pystac.Item, sensor: str | None, bands: Sequence[str] | None, offset: str | float | Mapping[str, float],
    base_href: str | None, local: bool,
) -> ItemRecord:  # fmt: skip
    spec = find_sensor(item, sensor)
    # an item of the user's without a place of its own lies in the working folder: a worker may have another
    base = base_href or item.get_self_href() or ("item.json" if local else None)
    found, missing = _find_bands(item, spec, sensor)
    if not found:
        raise InvalidInputError(_unknown_item(item, spec))
    wanted = _wanted(item, spec, bands, found, missing)
    user = user_offset(offset, item.id)
    sources, choices = {}, {}
    for band in wanted:
        key, index = found[band]
        sources[band], choices[band] = _band_source(item, spec, band, key, index, user, base)
    choice = min(choices.values(), key=lambda one: one.confidence)
    time = _time(item)
    return ItemRecord(
        id=item.id,
        collection=collection_of(item),
        sensor=spec.name,
        time=time,
        solar_day=solar_day(time, _mid_longitude(item)),
        platform=platform_of(item),
        bands=sources,
        qa=_qa_sources(item, spec, base),
        baseline=baseline_of(item, spec),
        updated=updated_of(item),
        identity=identity_of(item, spec),
        offset_source=choice.source,
        offset_confidence=choice.confidence,
        bbox=_bbox(item),
        local=local,
        dropped=missing,
        datastrip=datastrip_of(item),
    )


def solar_day(time: np.datetime64, longitude: float | None) -> np.datetime64:
    """Return the solar date of a UTC time at a longitude, as odc-stac groups by it.

    Parameters
    ----------
    time : numpy.datetime64
        UTC.
    longitude : float or None
        Degrees east; None leaves the UTC date. The shift is in whole hours, cut towards zero.
    """
    hours = 0 if longitude is None else int(longitude / 15)
    return (time + np.timedelta64(hours, "h")).astype("datetime64[D]")


def _time(item: pystac.Item) -> np.datetime64:
    moment = next((moment for moment in item_interval(item) if moment is not None), None)
    if moment is None:
        raise InvalidInputError(f"Item {item.id!r} has no datetime; a cube needs the time of every item.")
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:  # nanoseconds reach no further, and would wrap around
        raise InvalidInputError(f"Item {item.id!r} is of the year {moment.year}: that is no acquisition time.")
    return np.datetime64(moment.replace(tzinfo=None), "ns")


def _bbox(item: pystac.Item) -> tuple[float, float, float, float] | None:
    box = item.bbox
    if not box:
        return None if item.geometry is None else shapely.geometry.shape(item.geometry).bounds
    if len(box) == 6:
        box = [box[0], box[1], box[3], box[4]]
    return (float(box[0]), float(box[1]), float(box[2]), float(box[3]))


def _mid_longitude(item: pystac.Item) -> float | None:
    box = _bbox(item)
    if box is None:
        return None
    west, _, east, _ = box
    middle = (west + east + (360 if west > east else 0)) / 2
    return middle - 360 if middle > 180 else middle


# --- which asset is which band -------------------------------------------------------------------------------------


def _find_bands(
    item: pystac.Item, spec: Sensor, sensor: str | None
) -> tuple[dict[str, tuple[str, int]], dict[str, str]]:
    """Map each band to its asset key and band number, and each band that is not there to the reason."""
    if spec.name == "generic":
        return _find_generic(item, (sensor or "").lower()), {}
    natives: dict[str, str] | None = None
    found: dict[str, tuple[str, int]] = {}
    missing: dict[str, str] = {}
    for band, keys in spec.keys.items():
        key = next((key for key in keys if key in item.assets), None)
        if key is None:
            natives = _native_names(item) if natives is None else natives
            key = next((natives[key] for key in keys[1:] or keys if key in natives), None)
        if key is None:
            missing[band] = f"no asset of the item is it (looked for {', '.join(keys)})"
        else:
            found[band] = (key, 1)
    for key in spec.beyond:
        if key in item.assets:
            missing[key] = "not a band of the cube"
    return found, missing


def _native_names(item: pystac.Item) -> dict[str, str]:
    """Map the name of the band that a one-band asset declares to its key; JPEG 2000 doubles never count."""
    names: dict[str, str] = {}
    for key, asset in item.assets.items():
        fields = band_fields(asset)
        if len(fields) == 1 and is_imagery(key, asset) and (name := fields[0].get("name")):
            names.setdefault(str(name), key)
    return names


def _find_generic(item: pystac.Item, sensor: str) -> dict[str, tuple[str, int]]:
    """Bands by the common names of `eo:bands` or `bands`; failing these by asset key, or by order for RGB(N)."""
    assets = {key: asset for key, asset in item.assets.items() if is_imagery(key, asset)}
    if not assets and sensor in {"rgb", "rgbn"}:  # nothing but a picture, and the user wants it
        assets = {key: asset for key, asset in item.assets.items() if key.lower().startswith("visual")}
    found: dict[str, tuple[str, int]] = {}
    for key, asset in assets.items():
        for index, fields in enumerate(band_fields(asset), start=1):
            names = (fields.get("common_name"), fields.get("eo:common_name"), fields.get("name"))
            name = next((str(name).lower() for name in names if str(name).lower() in BANDS), None)
            if name is not None:
                found.setdefault(name, (key, index))
    for key in assets:
        if key.lower() in BANDS:
            found.setdefault(key.lower(), (key, 1))
    if not found and sensor in {"rgb", "rgbn"} and len(assets) == 1:
        (key,) = assets
        found = {name: (key, index) for index, name in enumerate(_RGBN[: len(sensor)], start=1)}
    return {band: found[band] for band in BANDS if band in found}


def _wanted(
    item: pystac.Item,
    spec: Sensor,
    bands: Sequence[str] | None,
    found: Mapping[str, Any],
    missing: Mapping[str, str],
) -> list[str]:
    if bands is None:
        return [band for band in BANDS if band in found]
    if isinstance(bands, str):
        bands = [bands]
    absent = [band for band in bands if band not in found]
    if absent:
        common = {key: name for name, keys in spec.keys.items() for key in keys if key != name}
        hints = [f"{band!r} is {common[band]!r} here" for band in absent if band in common]
        reasons = [f"{band}: {missing[band]}" for band in absent if band in missing]
        raise MissingBandError(
            f"Item {item.id!r} ({spec.name}) has no band {', '.join(map(repr, absent))}"
            f"{' (' + '; '.join([*hints, *reasons]) + ')' if hints or reasons else ''}. "
            f"Pass bands= a selection of: {', '.join(band for band in BANDS if band in found)}."
        )
    return list(dict.fromkeys(bands))


def _unknown_item(item: pystac.Item, spec: Sensor) -> str:
    what = f"Item {item.id!r} of collection {collection_of(item) or '(none)'!r}"
    keys = ", ".join(item.assets) or "none"
    if spec.name != "generic":
        return f"{what} was taken for {spec.name}, but no asset is one of its bands. Assets: {keys}."
    return (
        f"{what} is of no known sensor, and no asset says by eo:bands or bands which common name it has. "
        f"Assets: {keys}. Pass sensor= one of {', '.join(SENSORS)}, or 'rgb' or 'rgbn' for one picture with its "
        "bands in that order."
    )


# --- numbers -------------------------------------------------------------------------------------------------------


def _band_source(
    item: pystac.Item, spec: Sensor, band: str, key: str, index: int, user: float | None, base: str | None
) -> tuple[BandSource, OffsetChoice]:
    asset = item.assets[key]
    fields = band_of(asset, index)
    scale, declared, nodata = (number_of(fields, name) for name in ("scale", "offset", "nodata"))
    choice = _offset(item, spec, scale, declared)
    # A scale of 1 on integers that stand for reflectance is a placeholder, not a statement.
    plausible = scale is not None and math.isfinite(scale) and (0 < scale < 1 or (spec.name == "generic" and scale > 0))
    if user is not None:
        choice = OffsetChoice(user, "user", 1.0)
    grid = grid_of(item, asset)
    source = BandSource(
        href=resolve_href(asset.href, base),
        band=index,
        scale=float(scale) if plausible and scale is not None else spec.scale,
        offset=choice.offset,
        nodata=spec.nodata if nodata is None else nodata,
        grid=grid,
        resolution=resolution_of(fields, grid, spec.resolution.get(band)),
        dtype=str(fields.get("data_type") or ""),
    )
    return source, choice


def _offset(item: pystac.Item, spec: Sensor, scale: float | None, declared: float | None) -> OffsetChoice:
    if spec.offset_rule == "sentinel-2":
        return sentinel2_offset(item, declared)
    if declared is not None and math.isfinite(declared) and scale is not None and 0 < scale < 1:
        return OffsetChoice(declared, "raster:bands", 1.0)
    if spec.offset_rule == "constant":
        return OffsetChoice(spec.offset, "sensor", 1.0)
    return OffsetChoice(declared or 0.0, "raster:bands" if declared is not None else "unknown", 0.5)


def _qa_sources(item: pystac.Item, spec: Sensor, base: str | None) -> dict[QAKind, BandSource]:
    found: dict[QAKind, BandSource] = {}
    for kind, keys in spec.qa.items():
        key = next((key for key in keys if key in item.assets), None)
        if key is not None:
            asset = item.assets[key]
            grid = grid_of(item, asset)
            finest = min(spec.resolution.values(), default=None)
            native = 20.0 if kind == "scl" else finest
            found[kind] = BandSource(
                href=resolve_href(asset.href, base),
                nodata=QA_NODATA[kind],
                grid=grid,
                resolution=resolution_of(band_of(asset, 1), grid, native),
            )
    return found
