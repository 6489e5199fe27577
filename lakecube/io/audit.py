"""The audit of the radiometric offset: what a fixed sample of each item's own numbers says of its metadata."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import replace

import numpy as np
import rasterio
from rasterio.errors import RasterioError

from lakecube.io.files import GDAL_OPTIONS, note, open_source, reason, with_retries
from lakecube.io.offsets import OffsetAudit, audit_offset
from lakecube.io.records import BandSource, ItemRecord
from lakecube.io.sources import ReadSettings, state_of
from lakecube.io.states import told_state

logger = logging.getLogger("lakecube.io")

#: Bands looked at, where an item has them: one near and one short-wave infrared decide, coarse ones are cheap.
_NEAR, _SHORT = ("nir08", "nir"), ("swir16", "swir22")
#: Windows per side of a raster, and pixels per side of a window.
_WINDOWS, _SIDE = 3, 64
#: Windows of a band that is sampled.
SAMPLES = _WINDOWS**2

#: Bands whose sample is held, about 70 kB each.
_MOST_SAMPLES = 512

_samples: OrderedDict[Hashable, np.ndarray] = OrderedDict()
_told: set[tuple[str, str]] = set()
_lock = threading.Lock()


class OffsetConflictWarning(UserWarning):
    """An item's numbers contradict the radiometric offset that was declared for it."""


def audit_item(record: ItemRecord, settings: ReadSettings) -> OffsetAudit:
    """Audit one item from nine fixed windows of a near and a short-wave infrared band.

    The windows are read once per process and state of the file; what they say is decided for every record anew,
    since two records of one file may declare different offsets. A failure is logged, and not remembered.
    """
    try:
        return _decide(record, settings)
    except (RasterioError, OSError) as error:
        why = reason(error)
        note(error, record.id, failed=True)
        _tell(record, "failed", f"item {record.id}: the sample for the audit of its offset could not be read: {why}")
        return OffsetAudit(np.nan, 0.0, f"the sample could not be read: {why}", False)


def with_audited_offset(record: ItemRecord, settings: ReadSettings) -> ItemRecord:
    """The record with the offset that the data say, where they contradict the metadata strongly.

    Raises
    ------
    ReadError
        The sample cannot be read, so which offset applies is unknown.
    """
    found = _decide(record, settings)
    if not found.conflict:
        return record
    bands = {name: replace(source, offset=found.offset) for name, source in record.bands.items()}
    return replace(record, bands=bands, offset_source="audit", offset_confidence=found.confidence)


def applied_offset(record: ItemRecord, found: OffsetAudit, settings: ReadSettings) -> float:
    """The offset that the reader decodes an item with; NaN where its bands differ or no pixel can be decoded."""
    if settings.offset_audit and (found.conflict or np.isnan(found.offset)):
        return found.offset
    declared = {source.offset for source in record.bands.values()}
    return declared.pop() if len(declared) == 1 else np.nan


def audited_bands(record: ItemRecord) -> list[str]:
    """Bands of an item that are sampled; none but of Sentinel-2."""
    groups = (_NEAR, _SHORT) if record.sensor.startswith("sentinel-2") else ()
    bands = [next((b for b in group if b in record.bands), None) for group in groups]
    return [band for band in bands if band is not None]


def _decide(record: ItemRecord, settings: ReadSettings) -> OffsetAudit:
    bands = audited_bands(record)
    found = audit_offset({b: _sample_once(record.bands[b], record, settings) for b in bands}, record)
    if found.conflict:
        _tell(record, "conflict", _conflict(record, found, settings))
    return found


def _conflict(record: ItemRecord, found: OffsetAudit, settings: ReadSettings) -> str:
    declared = next(iter(record.bands.values())).offset
    says = f"the imagery says {found.offset:g} ({found.evidence})"
    if record.offset_source == "user":
        return f"item {record.id}: you gave offset {declared:g}; {says}; yours was used"
    fate = "the imagery's was used"
    if not settings.offset_audit:
        fate = "the metadata's was used; offset='audit' uses the imagery's"
    return f"item {record.id}: the metadata ({record.offset_source}) give offset {declared:g}; {says}; {fate}"


def _tell(record: ItemRecord, what: str, message: str) -> None:
    """Log a message once per item and kind, in this process."""
    with _lock:
        known = (record.id, what) in _told
        _told.add((record.id, what))
    if not known:
        logger.warning(message)


def _sample_once(source: BandSource, record: ItemRecord, settings: ReadSettings) -> np.ndarray:
    with told_state(record.id, source.href):
        return _held_sample(source, record, settings)


def _held_sample(source: BandSource, record: ItemRecord, settings: ReadSettings) -> np.ndarray:
    state = state_of(source.href, record)
    key = (source.href, source.band, state)
    with _lock:
        held = _samples.get(key)
        if held is not None:
            _samples.move_to_end(key)
            return held
    sample = with_retries(lambda: _sample(source, record, settings), source.href, settings.patience, record.id)
    if state:
        with _lock:
            _samples[key] = sample
            while len(_samples) > _MOST_SAMPLES:
                _samples.popitem(last=False)
    return sample


def _sample(source: BandSource, record: ItemRecord, settings: ReadSettings) -> np.ndarray:
    opened = open_source(source.href, local=record.local, sign=settings.sign, patience=settings.patience)
    with rasterio.Env(**GDAL_OPTIONS), opened as file:
        rows, columns = file.shape
        parts = []
        for i in range(_WINDOWS):
            for j in range(_WINDOWS):
                y, x = ((2 * k + 1) * n // (2 * _WINDOWS) for k, n in ((i, rows), (j, columns)))
                height, width = min(_SIDE, rows), min(_SIDE, columns)
                y, x = min(max(y - height // 2, 0), rows - height), min(max(x - width // 2, 0), columns - width)
                parts.append(file.read(source.band, window=rasterio.windows.Window(x, y, width, height)).ravel())
    return np.concatenate(parts)


def forget_samples() -> None:
    """Forget the samples this process holds."""
    with _lock:
        _samples.clear()
