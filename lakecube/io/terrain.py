"""Elevation and slope on the cube's grid: slope is taken on the DEM's own pixels, then both are interpolated."""

from __future__ import annotations

import warnings
from typing import Any

import dask.array as da
import numpy as np
import pyproj
import rasterio
import xarray as xr
from dask.base import tokenize

from lakecube import chunked
from lakecube.errors import InvalidInputError
from lakecube.io.files import GDAL_OPTIONS, open_source, with_retries
from lakecube.io.grids import Window, coordinates_in, share_inside, warp_window
from lakecube.io.hrefs import from_here, strip_signature
from lakecube.io.lazy import window_of
from lakecube.io.patience import Patience
from lakecube.io.records import SourceGrid
from lakecube.io.states import is_other, text_now
from lakecube.kernels import resample
from lakecube.kernels.terrain import REACH, metres_per_pixel, slope_horn
from lakecube.names import VARIABLES, X, Y

_PAIR = np.dtype([("elevation", "f4"), ("slope", "f4")])


def add_terrain(cube: xr.Dataset, dem: Any, grid: SourceGrid) -> xr.Dataset:
    """Add `elevation` (m) and `slope` (degree), float32 (y, x), to a cube.

    Parameters
    ----------
    cube : xr.Dataset
    dem
        Path or URL of a raster, or a 2-D DataArray with a CRS (``.rio.crs``), elevation in metres.
    grid : SourceGrid
        The cube's.

    Notes
    -----
    Chunks: those of the cube. Law: exact (every pixel is interpolated by itself). Lazy.
    """
    chunks = tuple(cube.chunksizes.get(dim) or (cube.sizes[dim],) for dim in (Y, X))
    if isinstance(dem, xr.DataArray):
        numbers, dem_grid = _from_dataarray(dem)
        _check_overlap(f"the DataArray {dem.name or ''}".strip(), dem_grid, grid)
        pair = _lazy(_block_of_array, chunks, numbers=numbers, dem_grid=dem_grid, grid=grid)
    else:
        href = from_here(str(dem))
        dem_grid = _header(href)
        _check_overlap(strip_signature(href), dem_grid, grid)
        pair = _lazy(_block_of_file, chunks, href=href, state=text_now(href), dem_grid=dem_grid, grid=grid)
    return cube.assign(
        {
            name: (VARIABLES[name].dims, chunked.field(pair, name), VARIABLES[name].attrs)
            for name in ("elevation", "slope")
        }
    )


def _lazy(function: Any, chunks: tuple[tuple[int, ...], ...], **kwargs: Any) -> da.Array:
    token = tokenize(function, chunks, kwargs)
    rows, columns = (chunked.per_chunk(sizes, chunked.spans(sizes)) for sizes in chunks)
    pairs = rows, "y", columns, "x"
    return chunked.blockwise(function, "yx", *pairs, dtype=_PAIR, name="lakecube-terrain", token=token, **kwargs)


def _check_overlap(name: str, dem_grid: SourceGrid, grid: SourceGrid) -> None:
    """Refuse a DEM of another place, and warn of one that covers the cube in part; by metadata alone."""
    share = share_inside(grid, dem_grid)
    if share == 0 and share_inside(dem_grid, grid) == 0:
        raise InvalidInputError(
            f"dem={name} does not meet the cube: it is {dem_grid.shape[0]} × {dem_grid.shape[1]} pixels in "
            f"{dem_grid.crs} from {tuple(round(v, 4) for v in dem_grid.transform[2::3])}, the cube is in {grid.crs} "
            f"from {tuple(round(v, 4) for v in grid.transform[2::3])}"
        )
    if share < 1:
        warnings.warn(
            f"dem={name} covers {100 * share:.3g} % of the cube; elevation and slope are NaN beyond it", stacklevel=4
        )


def _header(href: str) -> SourceGrid:
    def read() -> SourceGrid:
        with rasterio.Env(**GDAL_OPTIONS), open_source(href, local=True) as file:
            if file.crs is None:
                raise InvalidInputError(
                    f"the DEM {strip_signature(href)} has no CRS; write one, e.g. with rioxarray's write_crs"
                )
            return SourceGrid(file.crs.to_string(), tuple(file.transform)[:6], file.shape)

    return with_retries(read, href, Patience(), "dem")


def _from_dataarray(dem: xr.DataArray) -> tuple[np.ndarray, SourceGrid]:
    import rioxarray  # noqa: F401  registers .rio

    if dem.ndim != 2 or dem.rio.crs is None:
        raise InvalidInputError("dem= as a DataArray needs two dims (y, x) and a CRS: dem.rio.write_crs('EPSG:…')")
    numbers = np.asarray(dem.values, np.float32)
    if dem.rio.nodata is not None:
        numbers = np.where(numbers == np.float32(dem.rio.nodata), np.float32(np.nan), numbers)
    return numbers, SourceGrid(
        dem.rio.crs.to_string(), tuple(dem.rio.transform(recalc=True))[:6], (dem.shape[0], dem.shape[1])
    )


def _block_of_file(
    rows: tuple[int, int], columns: tuple[int, int], href: str, state: str, dem_grid: SourceGrid, grid: SourceGrid
) -> np.ndarray:
    window = window_of(rows, columns)
    area = _margin(warp_window(dem_grid, grid, window), dem_grid)
    if min(area.shape) == 0:
        return _empty(window)
    part = rasterio.windows.Window(area.x0, area.y0, area.x1 - area.x0, area.y1 - area.y0)

    def read() -> tuple[np.ndarray, float]:
        with rasterio.Env(**GDAL_OPTIONS), open_source(href, local=True) as file:
            return file.read(1, window=part), np.nan if file.nodata is None else float(file.nodata)

    numbers, nodata = with_retries(read, href, Patience(), "dem")
    now = text_now(href)
    if state and now and is_other(now, state):
        raise InvalidInputError(
            f"the DEM {strip_signature(href)} has another size or date than when the cube was opened, and a cube is "
            "made of one: open it again (and give all workers the same file)"
        )
    return _interpolate(resample.decode(numbers, 1.0, 0.0, nodata), area, window, dem_grid, grid)


def _block_of_array(
    rows: tuple[int, int], columns: tuple[int, int], numbers: np.ndarray, dem_grid: SourceGrid, grid: SourceGrid
) -> np.ndarray:
    window = window_of(rows, columns)
    area = _margin(warp_window(dem_grid, grid, window), dem_grid)
    if min(area.shape) == 0:
        return _empty(window)
    return _interpolate(numbers[area.y0 : area.y1, area.x0 : area.x1], area, window, dem_grid, grid)


def _margin(area: Window, dem_grid: SourceGrid) -> Window:
    return area.pad(REACH + 1).clip(dem_grid.shape) if min(area.shape) else area


def _empty(window: Window) -> np.ndarray:
    out = np.empty(window.shape, _PAIR)
    out["elevation"] = out["slope"] = np.nan
    return out


def _interpolate(
    elevation: np.ndarray, area: Window, window: Window, dem_grid: SourceGrid, grid: SourceGrid
) -> np.ndarray:
    dx, dy = _pixel_metres(dem_grid, area)
    slope = slope_horn(elevation, dx, dy)
    rows, columns = coordinates_in(dem_grid, grid, window)
    out = np.empty(window.shape, _PAIR)
    for name, values in (("elevation", elevation), ("slope", slope)):
        out[name] = resample.sample_bilinear(np.ascontiguousarray(values), rows - area.y0, columns - area.x0)
    return out


def _pixel_metres(dem_grid: SourceGrid, area: Window) -> tuple[Any, Any]:
    a, _, _, _, e, north = dem_grid.transform
    crs = pyproj.CRS.from_user_input(dem_grid.crs)
    if crs.is_geographic:
        return metres_per_pixel(north + (np.arange(area.y0, area.y1) + 0.5) * e, a, e)
    unit = crs.axis_info[0].unit_conversion_factor or 1.0
    return abs(a) * unit, abs(e) * unit
