"""The one reader of imagery: all bands and the state of every pixel of one block of one date, in one task.

Reading is per source: scale and offset are applied *before* items are mosaicked, one validity mask serves all
bands of an item, each band is read at its own resolution and raised to the grid here. What cannot be read
is retried, then coded `read_failed` and logged; it is never silently dry or cloudy.
"""

from __future__ import annotations

import functools
import logging

import numpy as np
import rasterio
from rasterio.errors import RasterioError

from lakecube.io.audit import with_audited_offset
from lakecube.io.files import GDAL_OPTIONS, note, reason
from lakecube.io.grids import Window, coordinates_in, place, source_window
from lakecube.io.records import ItemRecord, Period, SourceGrid
from lakecube.io.sources import ReadSettings, read_band, read_states
from lakecube.kernels import mosaic, qa
from lakecube.kernels.composite import NEEDS, reduce_dates
from lakecube.kernels.morphology import dilate_disk
from lakecube.kernels.mosaic import IS_JUDGED, RANK
from lakecube.names import OBSERVATION

logger = logging.getLogger("lakecube.io")


CLEAR, NOT_ACQUIRED = OBSERVATION["clear"], OBSERVATION["not_acquired"]

_CASTS_BUFFER = np.zeros(256, np.bool_)
_CASTS_BUFFER[[OBSERVATION[name] for name in ("cloud", "cirrus", "cloud_shadow")]] = True


#: Rows of a composite that are reduced at a time: all dates of these rows are in memory together.
_STRIP = 256


def read_block(
    records: tuple[ItemRecord, ...] | Period,
    window: Window,
    settings: ReadSettings,
    bands: tuple[str, ...] | None = None,
    skip_masked: bool = False,
) -> dict[str, np.ndarray]:
    """Read one block of one date.

    Where items overlap, each pixel comes whole from the item that saw it best (the last in
    `names.OBSERVATION_PRIORITY`), the first of equals. A pixel depends on the sources alone, not on the window.

    Parameters
    ----------
    records
        The items of the date, or the dates of a composite.
    window
        In pixels of the cube's grid; may reach beyond it.
    bands
        To return, at least ``settings.validity_bands``; by default ``settings.bands``.
    skip_masked
        Do not read bands where the quality layers leave nothing to judge (they are NaN then).

    Returns
    -------
    dict
        Band name to float32 (rows, columns) reflectance, NaN where not observed, and ``"observation"``, uint8.
    """
    bands = settings.bands if bands is None else bands
    if isinstance(records, Period):
        return _read_composite(records, window, settings, bands, skip_masked)
    return _read_date(records, window, settings, bands, skip_masked)


def _read_composite(
    period: Period, window: Window, settings: ReadSettings, bands: tuple[str, ...], skip_masked: bool
) -> dict[str, np.ndarray]:
    """Read all dates of a period strip by strip and reduce each strip to one picture."""
    needed = tuple(dict.fromkeys((*bands, *NEEDS[period.choice](settings.bands))))
    strips = []
    for top in range(window.y0, window.y1, _STRIP):
        part = Window(top, min(top + _STRIP, window.y1), window.x0, window.x1)
        dates = [_read_date(records, part, settings, needed, skip_masked) for records in period.dates]
        stacked = {name: np.stack([date[name] for date in dates]) for name in (*needed, "observation")}
        strips.append(reduce_dates(stacked, period.choice))
    return {name: np.concatenate([strip[name] for strip in strips]) for name in (*bands, "observation")}


def _read_date(
    records: tuple[ItemRecord, ...],
    window: Window,
    settings: ReadSettings,
    bands: tuple[str, ...],
    skip_masked: bool,
) -> dict[str, np.ndarray]:
    out: dict[str, np.ndarray] = {}
    state = np.full(window.shape, NOT_ACQUIRED, np.uint8)
    with rasterio.Env(**GDAL_OPTIONS):
        for record in records:
            if _touches(record, window, settings.grid):
                _add_item(record, window, settings, bands, skip_masked, state, out)
            if len(records) > 1 and (state == CLEAR).all():
                break
    for band in bands:
        if band not in out:
            out[band] = np.full(window.shape, np.nan, np.float32)
    return out | {"observation": state}


def _add_item(
    record: ItemRecord,
    window: Window,
    settings: ReadSettings,
    bands: tuple[str, ...],
    skip_masked: bool,
    state: np.ndarray,
    out: dict[str, np.ndarray],
) -> None:
    """Let one item speak for the pixels it saw better than the items before it (in place)."""
    try:
        seen = _quality(record, window, settings)
        better, count = mosaic.improves(seen, state, RANK)
        if count == 0:
            return
        if skip_masked and not mosaic.any_chosen(better, seen, IS_JUDGED):
            mosaic.take_chosen(state, seen, better)
            return
        if settings.offset_audit:
            record = with_audited_offset(record, settings)
        values = {band: read_band(record, record.bands[band], window, settings) for band in bands}
    except (RasterioError, OSError) as error:
        logger.warning("read failed: item %s: %s", record.id, reason(error))
        note(error, record.id, failed=True)
        state[_covered(record, window, settings.grid) & (state == NOT_ACQUIRED)] = OBSERVATION["read_failed"]
        return
    for band in settings.validity_bands:  # what the quality layers rule out needs no valid band, read or not
        count = mosaic.drop_invalid(better, values[band], seen, IS_JUDGED)
    mosaic.take_chosen(state, seen, better)
    for band, array in values.items():
        if band in out:
            mosaic.take_chosen(out[band], array, better)
        else:
            out[band] = array
            if count < array.size:
                mosaic.blank_unchosen(array, better)


def _touches(record: ItemRecord, window: Window, grid: SourceGrid) -> bool:
    """False where the item's rasters surely lie outside the window."""
    for source in record.bands.values():
        if source.grid is not None:
            placement = place(source.grid, grid)
            if placement.kind == "warp":
                return True
            area = source_window(placement, source.grid, window, margin=0)
            return min(area.shape) > 0
    return True


def _covered(record: ItemRecord, window: Window, grid: SourceGrid) -> np.ndarray:
    """True for the pixels of a window that lie on the item's raster; bool."""
    known = next((s.grid for s in record.bands.values() if s.grid is not None), None)
    if known is None:
        return np.ones(window.shape, np.bool_)
    rows, columns = coordinates_in(known, grid, window)
    return (rows >= 0) & (rows < known.shape[0]) & (columns >= 0) & (columns < known.shape[1])


def _quality(record: ItemRecord, window: Window, settings: ReadSettings) -> np.ndarray:
    """The state of every pixel of one item by its quality layers, buffered; uint8."""
    if not (settings.cloud_mask and record.qa):
        return np.full(window.shape, OBSERVATION["clear_cloud_unknown"], np.uint8)
    reach = settings.cloud_buffer
    padded = window.pad(reach)
    layers = [read_states(record, kind, source, padded, settings) for kind, source in record.qa.items()]
    states = functools.reduce(qa.worst, layers)
    if settings.cloud_buffer > 0:
        near = dilate_disk(mosaic.look_up(_CASTS_BUFFER, states), settings.cloud_buffer)
        mosaic.buffer_states(states, near, IS_JUDGED, np.uint8(OBSERVATION["cloud_adjacent"]))
    return np.ascontiguousarray(states[window.within(padded)])
