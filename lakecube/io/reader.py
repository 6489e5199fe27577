"""The one reader of imagery: all bands and the state of every pixel of one block of one date, in one task.

Reading is per source: scale and offset are applied *before* items are mosaicked, one validity mask serves all
bands of an item, each band is read at its own resolution and raised to the grid here. What cannot be read
is retried, then coded `read_failed` and logged; it is never silently dry or cloudy.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.windows
from affine import Affine
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from lakecube.errors import ReadError
from lakecube.io.audit import with_audited_offset
from lakecube.io.files import GDAL_OPTIONS, open_source, with_retries
from lakecube.io.grids import Placement, Window, apply_affine, coordinates_in, place, source_window, warp_window
from lakecube.io.hrefs import gdal_path, is_remote, strip_signature
from lakecube.io.raw_cache import RAW
from lakecube.io.records import BandSource, ItemRecord, Period, SourceGrid
from lakecube.kernels import mosaic, qa, resample
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

#: Shape of the tiles of each file that this process has opened.
_FILE_BLOCKS: dict[str, tuple[int, int]] = {}


@dataclass(frozen=True, slots=True)
class ReadSettings:
    """How blocks are read.

    Parameters
    ----------
    grid : SourceGrid
        The cube's grid.
    bands : tuple of str
        STAC common names, in the cube's order.
    cloud_mask : bool
        Decode the quality layers; without, every valid pixel is ``clear_cloud_unknown``.
    cloud_buffer : int
        Distance around cloud, cirrus and their shadow that is ``cloud_adjacent``, in pixels of the grid.
    retries : int
        Further tries after a failed read, with exponential backoff from `backoff` seconds and jitter.
    sign : callable or None
        Called with a remote href just before it is read, returns the href to read.
    offset_audit : bool
        Decode with the offset that the data say, where they contradict the metadata strongly.
    """

    grid: SourceGrid
    bands: tuple[str, ...]
    cloud_mask: bool = True
    cloud_buffer: int = 0
    retries: int = 3
    backoff: float = 0.5
    sign: Callable[[str], str] | None = None
    offset_audit: bool = False

    @property
    def validity_bands(self) -> tuple[str, ...]:
        """Bands whose joint validity makes a pixel of an item valid: those of the water indices, else all."""
        return tuple(b for b in ("blue", "green", "nir", "nir08", "swir16", "swir22") if b in self.bands) or self.bands


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
            record = with_audited_offset(record, settings.sign)
        values = {band: _read_band(record, record.bands[band], window, settings) for band in bands}
    except (RasterioError, OSError) as error:
        logger.warning("read failed: item %s: %s", record.id, error)
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
    layers = [_read_states(record, kind, source, padded, settings) for kind, source in record.qa.items()]
    states = functools.reduce(qa.worst, layers)
    if settings.cloud_buffer > 0:
        near = dilate_disk(mosaic.look_up(_CASTS_BUFFER, states), settings.cloud_buffer)
        mosaic.buffer_states(states, near, IS_JUDGED, np.uint8(OBSERVATION["cloud_adjacent"]))
    return np.ascontiguousarray(states[window.within(padded)])


def _read_states(
    record: ItemRecord, kind: str, source: BandSource, window: Window, settings: ReadSettings
) -> np.ndarray:
    grid, numbers, area, placement = _read_source(record, source, window, settings)
    states = qa.decode(kind, numbers, record.sensor)
    outside = NOT_ACQUIRED
    if placement.kind == "warp":
        rows, columns = coordinates_in(grid, settings.grid, window)
        return resample.sample_nearest(states, rows - area.y0, columns - area.x0, np.uint8(outside))
    placed = _place_states(states, placement, window, area)
    _blank_outside(placed, outside, grid, placement, window)
    return placed


def _place_states(states: np.ndarray, placement: Placement, window: Window, area: Window) -> np.ndarray:
    if 0 in states.shape:
        return np.full(window.shape, NOT_ACQUIRED, np.uint8)
    (fy, fx), height, width = placement.factor, *window.shape
    if placement.kind == "raise":
        top, left = window.y0 - placement.top - area.y0 * fy, window.x0 - placement.left - area.x0 * fx
        return resample.raise_nearest(states, fy, fx, top, left, height, width)
    top = window.y0 * fy - placement.top - area.y0
    left = window.x0 * fx - placement.left - area.x0
    return resample.coarsen_first(states, RANK, NOT_ACQUIRED, fy, fx, top, left, height, width)


def _read_band(record: ItemRecord, source: BandSource, window: Window, settings: ReadSettings) -> np.ndarray:
    """One band of one item on the cube's grid: reflectance, float32, NaN where the file has no number."""
    grid, numbers, area, placement = _read_source(record, source, window, settings)
    nodata = np.nan if source.nodata is None else float(source.nodata)
    values = resample.decode(numbers, source.scale, source.offset, nodata)
    if placement.kind == "warp":
        rows, columns = coordinates_in(grid, settings.grid, window)
        return resample.sample_bilinear(values, rows - area.y0, columns - area.x0)
    if 0 in values.shape:
        return np.full(window.shape, np.nan, np.float32)
    (fy, fx), height, width = placement.factor, *window.shape
    if placement.kind == "raise":
        top, left = window.y0 - placement.top - area.y0 * fy, window.x0 - placement.left - area.x0 * fx
        if (fy, fx) == (1, 1) and values.shape == window.shape:
            return values
        raised = resample.raise_bilinear(values, fy, fx, top, left, height, width)
        _blank_outside(raised, np.nan, grid, placement, window)
        return raised
    top = window.y0 * fy - placement.top - area.y0
    left = window.x0 * fx - placement.left - area.x0
    return resample.coarsen_mean(values, fy, fx, top, left, height, width)


def _blank_outside(placed: np.ndarray, blank: float, grid: SourceGrid, placement: Placement, window: Window) -> None:
    """Blank the pixels of a raised array that lie outside the source (in place)."""
    if placement.kind != "raise":
        return
    (fy, fx), (height, width) = placement.factor, grid.shape
    rows, columns = window.shape
    first, last = placement.top - window.y0, placement.top + height * fy - window.y0
    placed[: min(max(first, 0), rows)] = blank
    placed[min(max(last, 0), rows) :] = blank
    first, last = placement.left - window.x0, placement.left + width * fx - window.x0
    placed[:, : min(max(first, 0), columns)] = blank
    placed[:, min(max(last, 0), columns) :] = blank


def _read_source(
    record: ItemRecord, source: BandSource, window: Window, settings: ReadSettings
) -> tuple[SourceGrid, np.ndarray, Window, Placement]:
    """The raw numbers of a source under a window: its grid, the numbers, the source window, the placement."""
    grid = source.grid
    if grid is None:
        raise ReadError(f"{record.id}: the grid of {strip_signature(source.href)} is unknown")
    placement = place(grid, settings.grid)
    if placement.kind == "warp":
        area = warp_window(grid, settings.grid, window)
    else:
        area = source_window(placement, grid, window)
    if min(area.shape) == 0:
        return grid, np.empty(area.shape, np.uint8), area, placement
    numbers = with_retries(
        lambda: _read_numbers(record, source, grid, area, settings), source.href, settings.retries, settings.backoff
    )
    return grid, numbers, area, placement


def _state_of(href: str, record: ItemRecord) -> tuple[Any, ...]:
    """What tells a changed file from the one whose numbers are held."""
    if is_remote(href):
        return record.id, record.updated
    try:
        status = Path(gdal_path(href)).stat()
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read_numbers(
    record: ItemRecord, source: BandSource, grid: SourceGrid, area: Window, settings: ReadSettings
) -> np.ndarray:
    key = (source.href, source.band, _state_of(source.href, record))

    def read(window: Window) -> np.ndarray:
        with open_source(source.href, local=record.local, sign=settings.sign) as file:
            _check_header(file, source, grid)
            _FILE_BLOCKS[source.href] = file.block_shapes[source.band - 1]
            rows, columns = (window.y0, window.y1), (window.x0, window.x1)
            return file.read(source.band, window=rasterio.windows.Window.from_slices(rows, columns))

    block = _FILE_BLOCKS.get(source.href)
    if block is None:  # the first read of a file finds out how it is tiled
        return read(area)
    return RAW.read(key, area, grid.shape, block, read)


def _check_header(file: DatasetReader, source: BandSource, grid: SourceGrid) -> None:
    """Raise ReadError if a file is not what the metadata say: another shape, another place, fewer bands."""
    if file.shape != grid.shape or source.band > file.count:
        seen, said = f"{file.count} × {file.shape} pixels", f"band {source.band} of {grid.shape}"
    elif file.crs is not None and _shift(file.transform, Affine(*grid.transform), grid.shape) > 0.25:
        seen, said = f"at {tuple(file.transform)[:6]}", f"{grid.transform}"
    else:
        return
    raise ReadError(f"{strip_signature(source.href)} is {seen}, its metadata say {said}")


def _shift(found: Affine, said: Affine, shape: tuple[int, int]) -> float:
    """How far two placements of a raster lie apart at its corners, in pixels."""
    u, v = np.array([(0, 0), (shape[1], 0), (0, shape[0]), shape[::-1]]).T
    rows, columns = apply_affine(~said, *apply_affine(found, u, v))[::-1]
    return float(max(np.abs(columns - u).max(), np.abs(rows - v).max()))
