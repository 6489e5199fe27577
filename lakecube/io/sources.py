"""One source on the cube's grid: the settings of a read, one band or one quality layer of one item.

Files are opened under the rules of `lakecube.io.files`; every file that is opened is held against what its item
says of it. What a header told is remembered for that state of the file and that declared grid only.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio.windows
from affine import Affine
from pyproj import Transformer
from pyproj.exceptions import ProjError
from rasterio.io import DatasetReader

from lakecube.errors import ReadError
from lakecube.io import limits, messages
from lakecube.io.files import open_source, with_retries
from lakecube.io.grids import (
    Placement,
    Window,
    apply_affine,
    coordinates_in,
    place,
    same_crs,
    source_window,
    warp_window,
)
from lakecube.io.hrefs import file_of, gdal_path, is_remote, strip_signature
from lakecube.io.patience import Patience
from lakecube.io.ranges import KNOWN
from lakecube.io.raw_cache import RAW
from lakecube.io.records import BandSource, ItemRecord, SourceGrid
from lakecube.io.states import told_state
from lakecube.kernels import qa, resample
from lakecube.kernels.mosaic import RANK
from lakecube.names import OBSERVATION

NOT_ACQUIRED = OBSERVATION["not_acquired"]


@dataclass(frozen=True, slots=True)
class _Header:
    """What the header of a file tells of one band: the shape of its tiles, and its nodata."""

    block: tuple[int, int]
    nodata: float | None


#: Headers this process has read and found to agree with their items, by `_key`.
_HEADERS: dict[Hashable, _Header] = {}
_MOST_HEADERS = 2**16


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
    patience : Patience
        How failed reads are tried again.
    sign : callable or None
        Called with a remote href just before it is read, returns the href to read.
    offset_audit : bool
        Decode with the offset that the data say, where they contradict the metadata strongly.
    """

    grid: SourceGrid
    bands: tuple[str, ...]
    cloud_mask: bool = True
    cloud_buffer: int = 0
    patience: Patience = field(default_factory=Patience)
    sign: Callable[[str], str] | None = None
    offset_audit: bool = False

    @property
    def validity_bands(self) -> tuple[str, ...]:
        """Bands whose joint validity makes a pixel of an item valid: those of the water indices, else all."""
        return tuple(b for b in ("blue", "green", "nir", "nir08", "swir16", "swir22") if b in self.bands) or self.bands


def read_states(
    record: ItemRecord, kind: str, source: BandSource, window: Window, settings: ReadSettings
) -> np.ndarray:
    """One quality layer of one item on the cube's grid: states of `names.OBSERVATION`, uint8."""
    grid, numbers, area, placement, _ = _read_source(record, source, window, settings)
    states = qa.decode(kind, numbers, record.sensor)
    if placement.kind == "warp":
        rows, columns = coordinates_in(grid, settings.grid, window)
        return resample.sample_nearest(states, rows - area.y0, columns - area.x0, np.uint8(NOT_ACQUIRED))
    placed = _place_states(states, placement, window, area)
    _blank_outside(placed, NOT_ACQUIRED, grid, placement, window)
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


def read_band(record: ItemRecord, source: BandSource, window: Window, settings: ReadSettings) -> np.ndarray:
    """One band of one item on the cube's grid: reflectance, float32, NaN where the file has no number."""
    grid, numbers, area, placement, in_file = _read_source(record, source, window, settings)
    values = _decoded(numbers, source, in_file)
    if (source.blank or source.masked) and numbers.size:
        values[_is_blank(record, source, numbers, window, settings)] = np.nan
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


def _decoded(numbers: np.ndarray, source: BandSource, in_file: float | None) -> np.ndarray:
    """Values, NaN where the number is the item's nodata or the file's own; what is blank is not looked for here."""
    if source.blank is not None:
        return resample.decode(numbers, source.scale, source.offset, np.nan)
    nodata = in_file if source.nodata is None else source.nodata
    values = resample.decode(numbers, source.scale, source.offset, np.nan if nodata is None else float(nodata))
    if in_file is not None and in_file != nodata and np.isfinite(in_file):  # the item lies, or both are in use
        values[numbers == in_file] = np.nan
    return values


def _is_blank(
    record: ItemRecord, source: BandSource, numbers: np.ndarray, window: Window, settings: ReadSettings
) -> np.ndarray:
    """Where all bands of a picture, its alpha band or its mask say that nothing was observed; as `numbers`."""

    def read(band: int, mask: bool = False) -> np.ndarray:
        return _read_source(record, replace(source, band=band), window, settings, mask)[1]

    out = np.zeros(numbers.shape, bool)
    if source.masked:
        out |= read(source.band, True) == 0
    if source.blank is not None:
        out |= source.blank.holds(numbers if band == source.band else read(band) for band in source.blank.bands)
    return out


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
    record: ItemRecord, source: BandSource, window: Window, settings: ReadSettings, mask: bool = False
) -> tuple[SourceGrid, np.ndarray, Window, Placement, float | None]:
    """The raw numbers of a source under a window: its grid, numbers, source window, placement, the file's nodata."""
    grid = source.grid
    if grid is None:
        raise ReadError(f"{record.id}: the grid of {strip_signature(source.href)} is unknown")
    placement = place(grid, settings.grid)
    if placement.kind == "warp":
        area = warp_window(grid, settings.grid, window)
    else:
        area = source_window(placement, grid, window)
    if min(area.shape) == 0:
        return grid, np.empty(area.shape, np.uint8), area, placement, None

    def read() -> tuple[np.ndarray, float | None]:
        with told_state(record.id, source.href):
            return _read_numbers(record, source, grid, area, settings, mask)

    numbers, nodata = with_retries(read, source.href, settings.patience, record.id)
    return grid, numbers, area, placement, nodata


def state_of(href: str, record: ItemRecord) -> tuple[Any, ...]:
    """What tells a changed file from the one whose numbers are held; empty where nothing does."""
    if is_remote(href):
        return record.id, record.updated, KNOWN.changes(file_of(href))
    try:
        status = Path(gdal_path(href)).stat()
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read_numbers(
    record: ItemRecord, source: BandSource, grid: SourceGrid, area: Window, settings: ReadSettings, mask: bool
) -> tuple[np.ndarray, float | None]:
    """The numbers of an area, or its mask, and the nodata that the file itself declares.

    What is remembered holds for one state of the file *and* one declared grid, so an item that says something else
    of a file than the item before it has that checked against the header again.
    """
    state = state_of(source.href, record)
    key = (source.href, source.band, state, grid, source.dtype, mask)
    found: list[_Header] = []

    def read(window: Window) -> np.ndarray:
        opened = open_source(source.href, local=record.local, sign=settings.sign, patience=settings.patience)
        with opened as file:
            _check_header(file, source, grid)
            _check_block(file, source)
            found.append(_Header(file.block_shapes[source.band - 1], file.nodatavals[source.band - 1]))
            rows, columns = (window.y0, window.y1), (window.x0, window.x1)
            pixels_of = file.read_masks if mask else file.read
            pixels = pixels_of(source.band, window=rasterio.windows.Window.from_slices(rows, columns))
            messages.decoded(pixels.nbytes)
            return pixels

    known = _HEADERS.get(key) if state else None
    # the first read of a file finds out how it is tiled
    numbers = read(area) if known is None else RAW.read(key, area, grid.shape, known.block, read)
    if found and state:
        if len(_HEADERS) >= _MOST_HEADERS:
            _HEADERS.clear()
        _HEADERS[key] = found[-1]
    header = found[-1] if found else known
    return numbers, None if header is None else header.nodata


def _check_header(file: DatasetReader, source: BandSource, grid: SourceGrid) -> None:
    """Raise ReadError if a file is not what the metadata say: another shape, CRS or place, fewer bands."""
    if file.shape != grid.shape or source.band > file.count:
        seen, said = f"{file.count} × {file.shape} pixels", f"band {source.band} of {grid.shape}"
    elif _is_other_kind(file.dtypes[source.band - 1], source.dtype):
        seen, said = file.dtypes[source.band - 1], source.dtype
    elif file.crs is None:
        return
    else:
        crs, transform = file.crs.to_string(), tuple(file.transform)[:6]
        if _shift(SourceGrid(crs, transform, file.shape), grid) <= 0.25:
            return
        seen, said = f"at {transform} in {crs[:60]}", f"{grid.transform} in {grid.crs[:60]}"
    raise ReadError(f"{strip_signature(source.href)} is {seen}, its metadata say {said}")


def _is_other_kind(found: str, said: str) -> bool:
    """Whether numbers are integers where the metadata say floats, or the other way: then scale and offset are wrong."""
    try:
        return bool(said) and (np.dtype(found).kind == "f") != (np.dtype(said).kind == "f")
    except TypeError:  # "other", and complex numbers of GDAL
        return False


def _check_block(file: DatasetReader, source: BandSource) -> None:
    """Raise ReadError if no pixel of a file can be had without unpacking more than there can be."""
    rows, columns = file.block_shapes[source.band - 1]
    if rows * columns * np.dtype(file.dtypes[source.band - 1]).itemsize > limits.MOST_BLOCK:
        raise ReadError(
            f"{strip_signature(source.href)} has tiles of {rows} × {columns} pixels, each over "
            f"{limits.MOST_BLOCK / 2**30:g} GiB: write it with smaller ones"
        )


@lru_cache(maxsize=256)
def _shift(found: SourceGrid, said: SourceGrid) -> float:
    """How far two placements of a raster lie apart at its corners, in pixels; infinite if they cannot be compared.

    Files name their CRS in many ways (an unknown datum upon the ellipsoid of WGS 84, north for south), so two that
    are not equal by name are compared by where they put the corners.
    """
    rows, columns = said.shape
    u, v = np.array([(0, 0), (columns, 0), (0, rows), (columns, rows)]).T
    x, y = apply_affine(Affine(*found.transform), u, v)
    try:
        if not same_crs(found.crs, said.crs):
            x, y = Transformer.from_crs(found.crs, said.crs, always_xy=True).transform(x, y)
    except ProjError:
        return np.inf
    columns_there, rows_there = apply_affine(~Affine(*said.transform), x, y)
    apart = float(max(np.abs(columns_there - u).max(), np.abs(rows_there - v).max()))
    return apart if np.isfinite(apart) else np.inf
