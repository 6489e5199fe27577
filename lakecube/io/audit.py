"""The audit of the radiometric offset: what a fixed sample of each item's own numbers says of its metadata."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import rasterio
from dask.base import tokenize
from rasterio.errors import RasterioError

from lakecube.io.files import GDAL_OPTIONS, open_source
from lakecube.io.offsets import OffsetAudit, audit_offset
from lakecube.io.records import BandSource, ItemRecord

logger = logging.getLogger("lakecube.io")

#: Bands looked at, where an item has them: one near and one short-wave infrared decide, coarse ones are cheap.
_NEAR, _SHORT = ("nir08", "nir"), ("swir16", "swir22")
#: Windows per side of a raster, and pixels per side of a window.
_WINDOWS, _SIDE = 3, 64

_known: dict[str, OffsetAudit] = {}
_lock = threading.Lock()


class OffsetConflictWarning(UserWarning):
    """An item's numbers contradict the radiometric offset that its metadata declare."""


Sign = Callable[[str], str] | None


def audit_item(record: ItemRecord, sign: Sign, applied: bool = False) -> OffsetAudit:
    """Audit one item from nine fixed windows of a near and a short-wave infrared band; once per process."""
    key = tokenize(record.id, [source.href for source in record.bands.values()], record.updated)
    with _lock:
        found = _known.get(key)
    if found is None:
        bands = [next((b for b in group if b in record.bands), None) for group in (_NEAR, _SHORT)]
        try:
            samples = {b: _sample(record.bands[b], record, sign) for b in bands if b is not None}
            found = audit_offset(samples, record)
        except (RasterioError, OSError) as error:
            found = OffsetAudit(np.nan, 0.0, f"the sample could not be read: {error}", False)
        with _lock:
            _known[key] = found
        if found.conflict:
            _warn(record, found, applied)
    return found


def _sample(source: BandSource, record: ItemRecord, sign: Sign) -> np.ndarray:
    with rasterio.Env(**GDAL_OPTIONS), open_source(source.href, local=record.local, sign=sign) as file:
        rows, columns = file.shape
        parts = []
        for i in range(_WINDOWS):
            for j in range(_WINDOWS):
                y, x = ((2 * k + 1) * n // (2 * _WINDOWS) for k, n in ((i, rows), (j, columns)))
                height, width = min(_SIDE, rows), min(_SIDE, columns)
                y, x = min(max(y - height // 2, 0), rows - height), min(max(x - width // 2, 0), columns - width)
                parts.append(file.read(source.band, window=rasterio.windows.Window(x, y, width, height)).ravel())
    return np.concatenate(parts)


def _warn(record: ItemRecord, found: OffsetAudit, applied: bool) -> None:
    declared = next(iter(record.bands.values())).offset
    fate = "applied the data's" if applied else "kept the metadata's; offset='audit' applies the data's"
    message = (
        f"item {record.id}: the metadata ({record.offset_source}) give a radiometric offset of {declared:g}, "
        f"the data say {found.offset:g} ({found.evidence}); {fate}"
    )
    logger.warning(message)
    warnings.warn(message, OffsetConflictWarning, stacklevel=2)


def with_audited_offset(record: ItemRecord, sign: Sign) -> ItemRecord:
    """The record with the offset that the data say, where they contradict the metadata strongly."""
    found = audit_item(record, sign, applied=True)
    if not found.conflict:
        return record
    bands = {name: replace(source, offset=found.offset) for name, source in record.bands.items()}
    return replace(record, bands=bands, offset_source="audit", offset_confidence=found.confidence)
