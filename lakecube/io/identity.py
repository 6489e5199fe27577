"""Which items are copies of one scene, and which copy to keep."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC

import pystac

from lakecube.io.offsets import processing_baseline
from lakecube.io.records import ItemRecord
from lakecube.io.sensor_tables import Sensor, collection_of, platform_of

_PRODUCT = re.compile(r"(S2[A-D])_MSIL(1C|2A)_(\d{8}T\d{6})_(?:N\d{4}_)?R\d{3}_T(\d{2}[A-Z]{3})")
_GRANULE = re.compile(r"^(S2[A-D])_T?(\d{1,2}[A-Z]{3})_(\d{8})(?:T\d{6})?_(?:\d+_)?L(1C|2A)$")
_LANDSAT = re.compile(r"^(L[COTE]0\d)_L\d\w{2}_(\d{3})(\d{3})_(\d{8})_(?:(\d{8})_)?(\d{2})_(RT|T1|T2)")
_HLS = re.compile(r"^HLS\.([SL]30)\.T(\d{2}[A-Z]{3})\.(\d{7}T\d{6})")
_CATEGORY_RANK = {"RT": 0, "T2": 1, "T1": 2}


def identity_of(item: pystac.Item, sensor: Sensor) -> str:
    """Name the datatake and tile of an item: equal for reprocessed copies of one scene, whoever published them."""
    if sensor.name in {"sentinel-2-l2a", "sentinel-2-l1c"}:
        return _sentinel2(item, sensor.name[-3:])
    if sensor.name.startswith("landsat"):
        return _landsat(item)
    if match := _HLS.match(item.id):
        return f"HLS.{match[1]}/{match[2]}/{match[3]}"
    if sensor.name == "ga-landsat-ard" and "landsat:wrs_path" in item.properties:
        return f"ga:{_landsat(item)}"
    return f"{collection_of(item)}/{item.id}"


def _sentinel2(item: pystac.Item, level: str) -> str:
    properties = item.properties
    for text in (properties.get("s2:product_uri"), properties.get("sentinel:product_id"), item.id):
        if match := _PRODUCT.search(str(text)):
            return f"{match[1]}/{match[3]}/{match[4]}/{level}"
    tile = _mgrs_tile(item)
    take = re.search(r"G(S2[A-D])_(\d{8}T\d{6})", str(properties.get("s2:datatake_id", "")))
    if take and tile:
        return f"{take[1]}/{take[2]}/{tile}/{level}"
    if match := _GRANULE.match(item.id):  # no datatake: one satellite sees a tile in at most one datatake of a day
        return f"{match[1]}/{match[3]}/{match[2].zfill(5)}/{level}"
    if tile and item.datetime is not None:
        return f"{platform_of(item)}/{item.datetime:%Y%m%d}/{tile}/{level}"
    return f"{collection_of(item)}/{item.id}"


def _mgrs_tile(item: pystac.Item) -> str:
    properties = item.properties
    if code := str(properties.get("grid:code", "")).removeprefix("MGRS-"):
        return code.zfill(5)
    if tile := str(properties.get("s2:mgrs_tile", "")).removeprefix("T"):
        return tile.zfill(5)
    for prefix in ("mgrs", "sentinel"):
        zone, band, square = (properties.get(f"{prefix}:{key}") for key in ("utm_zone", "latitude_band", "grid_square"))
        if zone and band and square:
            return f"{int(zone):02d}{band}{square}"
    match = _GRANULE.match(item.id)
    return match[2].zfill(5) if match else ""


def _landsat(item: pystac.Item) -> str:
    if match := _LANDSAT.match(item.id):
        return f"{match[1]}/{match[2]}{match[3]}/{match[4]}"
    path, row = item.properties.get("landsat:wrs_path"), item.properties.get("landsat:wrs_row")
    if path and row and item.datetime is not None:
        return f"{platform_of(item)}/{int(path):03d}{int(row):03d}/{item.datetime:%Y%m%d}"
    return f"{collection_of(item)}/{item.id}"


def datastrip_of(item: pystac.Item) -> str:
    """Return the sensing start of the datastrip, or "".

    Where a datatake was received by two stations, one tile comes as two items that each hold a part of it.
    """
    match = re.search(r"_S(\d{8}T\d{6})", str(item.properties.get("s2:datastrip_id", "")))
    return match[1] if match else ""


def baseline_of(item: pystac.Item, sensor: Sensor) -> str:
    """Return what orders reprocessed copies: the Sentinel-2 baseline, or collection and category of Landsat."""
    if sensor.name.startswith("sentinel-2"):
        return processing_baseline(item)
    if sensor.name.startswith("landsat"):
        match = _LANDSAT.match(item.id)
        number = item.properties.get("landsat:collection_number") or (match[6] if match else "")
        category = item.properties.get("landsat:collection_category") or (match[7] if match else "")
        return f"{number}_{category}".strip("_")
    return ""


def updated_of(item: pystac.Item) -> str:
    """Return when this copy was made, as a string that sorts: `updated`, `created`, or the processing date."""
    for key in ("updated", "created", "s2:generation_time", "odc:processing_datetime"):
        if value := item.properties.get(key):
            return str(value)
    match = _LANDSAT.match(item.id)
    return match[5] or "" if match else ""


def _rank(record: ItemRecord) -> tuple[tuple[int, ...], int, str, str, str]:
    numbers = tuple(int(number) for number in re.findall(r"\d+", record.baseline.split("_")[0]))
    category = _CATEGORY_RANK.get(record.baseline.rpartition("_")[2], 0)
    return numbers, category, _in_utc(record.updated), record.id, record.collection


def _in_utc(text: str) -> str:
    """A time stamp, with any zone or fraction, as text that sorts; what is none is left as it is."""
    try:
        return pystac.utils.str_to_datetime(text).astimezone(UTC).isoformat(timespec="microseconds")
    except (ValueError, OverflowError):
        return text


def select_newest(records: Iterable[ItemRecord]) -> tuple[list[ItemRecord], list[tuple[str, str]]]:
    """Keep the newest copy of every scene: highest baseline, then `updated`, then id.

    Parameters
    ----------
    records : iterable of ItemRecord

    Returns
    -------
    kept : list of ItemRecord
        In the order given.
    superseded : list of (str, str)
        For each record left out, ``collection/id`` of it and of the one kept instead; in the order given.

    Notes
    -----
    Two parts of one tile (same identity, different datastrip) are both kept.
    """
    given: Sequence[ItemRecord] = list(records)
    keys = _keys(given)
    newest: dict[tuple[str, str], int] = {}
    for index, key in enumerate(keys):
        # The earlier of two equal records wins, so that the answer never depends on chance.
        if key not in newest or _rank(given[index]) > _rank(given[newest[key]]):
            newest[key] = index
    chosen = set(newest.values())
    superseded = [
        (_label(given[index]), _label(given[newest[key]])) for index, key in enumerate(keys) if index not in chosen
    ]
    return [record for index, record in enumerate(given) if index in chosen], superseded


def _label(record: ItemRecord) -> str:
    return f"{record.collection}/{record.id}"


def _keys(records: Sequence[ItemRecord]) -> list[tuple[str, str]]:
    """Identity and datastrip; a copy that does not name its datastrip belongs to the only one there is."""
    strips: dict[str, set[str]] = {}
    for record in records:
        if record.datastrip:
            strips.setdefault(record.identity, set()).add(record.datastrip)
    return [
        (record.identity or _label(record), record.datastrip if len(strips.get(record.identity, ())) > 1 else "")
        for record in records
    ]
