"""What a map is judged by: points, polygons, or another raster, brought to the map's grid block by block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import dask.array as da
import numpy as np
import pandas as pd
import rasterio
import xarray as xr
from dask.base import tokenize

from lakecube.chunked import blockwise, per_chunk, spans
from lakecube.errors import InvalidInputError, MissingDependencyError, ReadError
from lakecube.io.files import GDAL_OPTIONS, open_source
from lakecube.io.grids import coordinates_in, share_inside, warp_window
from lakecube.io.hrefs import from_here
from lakecube.io.lazy import window_of
from lakecube.io.records import SourceGrid
from lakecube.kernels.resample import sample_nearest
from lakecube.names import LAND, UNKNOWN, WATER, X, Y
from lakecube.series.pixel_area import PixelGrid

Kind = Literal["points", "polygons", "raster"]
#: How numbers of known rasters are read: which are water, and which unknown; all others are land.
CODES: Mapping[str, Mapping[str, Sequence[int]]] = {
    "mask": {"water": (1,), "land": (0,)},
    "worldcover": {"water": (80,), "unknown": (0,)},
    "jrc-monthly": {"water": (2,), "land": (1,)},
}
OCCURRENCE = "jrc-occurrence"
_TABLES, _RASTERS = (".csv", ".txt"), (".tif", ".tiff", ".vrt", ".img", ".jp2", ".png", ".jpg", ".jpeg")
_WORDS = {
    "water": WATER, "wet": WATER, "1": WATER, "1.0": WATER, "true": WATER, "yes": WATER,
    "land": LAND, "dry": LAND, "0": LAND, "0.0": LAND, "false": LAND, "no": LAND, "not_water": LAND, "non-water": LAND,
    "": UNKNOWN, "nan": UNKNOWN, "none": UNKNOWN, "<na>": UNKNOWN, "unknown": UNKNOWN, "255": UNKNOWN, "255.0": UNKNOWN,
}  # fmt: skip
_COLUMNS = {"lon": ("lon", "longitude"), "lat": ("lat", "latitude"), "class": ("class", "label", "reference", "water")}


def opened(reference: Any, kind: Kind | None) -> Any:
    """A reference in a vector file as a GeoDataFrame, so that it is read once; anything else as it is."""
    if isinstance(reference, pd.DataFrame | xr.DataArray) or kind == "raster":
        return reference
    return reference if _suffix(reference) in (*_TABLES, *_RASTERS) else read_vector(reference)


def kind_of(reference: Any) -> Kind:
    """Whether a reference is points, polygons or a raster, by its suffix or its geometries."""
    if isinstance(reference, xr.DataArray):
        return "raster"
    if isinstance(reference, pd.DataFrame):
        return _kind_of_frame(reference)
    return "points" if _suffix(reference) in _TABLES else "raster"


def _suffix(reference: Any) -> str:
    return Path(str(reference).split("?")[0]).suffix.lower()


def _kind_of_frame(frame: pd.DataFrame) -> Kind:
    kinds = set(getattr(frame, "geom_type", pd.Series(["Point"])).dropna()) if hasattr(frame, "geometry") else {"Point"}
    if not kinds:
        raise InvalidInputError("the reference is empty: it holds neither points nor polygons")
    if kinds <= {"Point"}:
        return "points"
    if kinds <= {"Polygon", "MultiPolygon"}:
        return "polygons"
    raise InvalidInputError(f"a reference is of points or of polygons, not of {', '.join(sorted(kinds))}")


def read_vector(source: Any) -> Any:
    """A GeoDataFrame from one, or from a file that GeoPandas reads.

    Raises
    ------
    MissingDependencyError
        Without GeoPandas.
    InvalidInputError
        If there is no such file, or it is none of vectors.
    """
    if isinstance(source, pd.DataFrame):
        return source
    try:
        import geopandas
    except ImportError as error:
        raise MissingDependencyError(
            "vector files are read by GeoPandas: pip install -c constraints.txt '.[geoparquet]'"
        ) from error
    path = _there(source)
    try:
        if _suffix(path) in (".parquet", ".geoparquet"):
            return geopandas.read_parquet(path)
        return geopandas.read_file(path)
    except Exception as error:  # of GDAL, pyogrio, Arrow or GeoPandas, with no base in common
        raise InvalidInputError(f"{path} cannot be read as vectors: {error}") from error


def read_points(source: Any) -> pd.DataFrame:
    """Points as a table: `lon`, `lat` (degrees), `truth` (uint8 state), and every other column as it was.

    Raises
    ------
    InvalidInputError
        If a column is missing or a class is neither water nor land.
    """
    if isinstance(source, pd.DataFrame):
        frame = source
    elif _suffix(source) in _TABLES:
        path = _there(source)
        try:
            frame = pd.read_csv(path)
        except (ValueError, OSError) as error:  # pandas' own errors are ValueErrors
            raise InvalidInputError(f"{source} cannot be read as CSV: {error}") from error
    else:
        frame = read_vector(source)
    lower = {str(name).strip().lower(): name for name in frame.columns}
    table = frame.rename(columns={lower[name]: name for name in ("date", "stratum", "stratum_area") if name in lower})
    table = pd.DataFrame(table.drop(columns="geometry", errors="ignore")).reset_index(drop=True)
    if hasattr(frame, "geometry"):
        if frame.crs is None:
            raise InvalidInputError("the points have no CRS: set it, for example points.set_crs('EPSG:4326')")
        at = frame.geometry.to_crs("EPSG:4326")
        table["lon"], table["lat"] = at.x.to_numpy(), at.y.to_numpy()
    else:
        table["lon"], table["lat"] = (_numbers(_column(frame, lower, name)) for name in ("lon", "lat"))
    table["truth"] = [_state(v) for v in _column(frame, lower, "class")]
    if "date" in table:
        table["date"] = table["date"].where(table["date"].notna(), None)
        table = table.drop(columns="date") if table["date"].isna().all() else table
    return table


def polygon_ids(source: Any, like: xr.DataArray) -> da.Array:
    """Which polygon holds each pixel's centre: (y, x) int64, 1 + its position in the file, 0 outside all.

    Where polygons lie over each other the last one counts.
    """
    frame, grid = read_vector(source), PixelGrid.of(like)
    if frame.crs is None:
        raise InvalidInputError("the polygons have no CRS: set it, for example polygons.set_crs('EPSG:4326')")
    if grid.system is None:
        raise InvalidInputError("the map has no CRS in spatial_ref, so polygons cannot be placed on it")
    shapes = frame.geometry.to_crs(grid.system)
    shapes = shapes[shapes.notna() & ~shapes.is_empty]
    shapes.index = np.flatnonzero(frame.geometry.notna() & ~frame.geometry.is_empty)
    west, north = grid.x, grid.y
    east, south = west + grid.dx * grid.shape[1], north + grid.dy * grid.shape[0]
    near = shapes.cx[min(west, east) : max(west, east), min(south, north) : max(south, north)]
    if near.empty:
        raise InvalidInputError(f"none of the {len(frame)} polygons lies on the map: is their CRS right ({frame.crs})?")
    return _block_by_block(_burn, like, np.int64, shapes=near.to_numpy(), ids=near.index.to_numpy() + 1, grid=grid)


def raster_states(
    source: Any, like: xr.DataArray, codes: str | Mapping[str, Sequence[int]] = "mask", share: float = 0.5
) -> da.Array:
    """States of another raster on the map's grid, from the pixel that holds each centre: (y, x) uint8."""
    if isinstance(codes, str) and codes not in (*CODES, OCCURRENCE):
        raise InvalidInputError(
            f"codes={codes!r}: use {', '.join((*CODES, OCCURRENCE))} or {{'water': [80], 'unknown': [0]}}"
        )
    table = CODES.get(codes, OCCURRENCE) if isinstance(codes, str) else codes
    if not isinstance(table, str) and not _are_codes(table):
        raise InvalidInputError(
            f"codes={codes!r}: map 'water' to its numbers, and 'unknown' or 'land' if need be, as {{'water': [80]}}"
        )
    if isinstance(source, xr.DataArray):
        return _states_of_array(source, like, table, share)
    _there(source)
    href, grid = from_here(str(source)), PixelGrid.of(like)
    target = SourceGrid(grid.crs or "", grid.transform, grid.shape)
    header = _header(href)
    if not header.crs and grid.system is None and header.shape == grid.shape:
        return _block_by_block(_read_window, like, np.uint8, href=href, codes=table, share=share)  # pixel on pixel
    if not header.crs or grid.system is None:
        raise InvalidInputError(
            f"{href} ({_size(header.shape)} px) or the map ({_size(grid.shape)} px) has no CRS, so one cannot be laid "
            "on the other; a mask of a picture has as many pixels as the picture"
        )
    if share_inside(target, header) == 0 and share_inside(header, target) == 0:
        raise InvalidInputError(f"{href} does not meet the map")
    settings = {"href": href, "header": header, "target": target, "codes": table, "share": share}
    return _block_by_block(_read_states, like, np.uint8, **settings)


def _size(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


def _are_codes(table: Any) -> bool:
    """Whether it maps water, and perhaps land and unknown, to numbers."""
    if not isinstance(table, Mapping) or "water" not in table or set(table) - {"water", "land", "unknown"}:
        return False
    return all(np.asarray(numbers).dtype.kind in "iuf" for numbers in table.values())


def _header(href: str) -> SourceGrid:
    try:
        with rasterio.Env(**GDAL_OPTIONS), open_source(href, local=True) as file:
            crs = "" if file.crs is None else file.crs.to_wkt()
            return SourceGrid(crs, tuple(file.transform)[:6], file.shape)
    except (
        ReadError
    ) as error:  # a file of ours that is no raster is a mistake of the request, a server's failure is not
        if "://" in href:
            raise
        raise InvalidInputError(str(error)) from error


def states_of(numbers: np.ndarray, codes: str | Mapping[str, Sequence[int]], share: float) -> np.ndarray:
    """Numbers of a raster as states: uint8, 0 land, 1 water, 255 unknown. Floats are frequencies: else unknown."""
    if codes == OCCURRENCE:
        known = (numbers >= 0) & (numbers <= 100)
        return np.where(known, np.where(numbers >= 100 * share, WATER, LAND), UNKNOWN).astype(np.uint8)
    if numbers.dtype.kind == "f" and codes == CODES["mask"]:
        known = (numbers >= 0) & (numbers <= 1)
        return np.where(known, np.where(numbers >= share, WATER, LAND), UNKNOWN).astype(np.uint8)
    assert isinstance(codes, Mapping)
    out = np.full(numbers.shape, UNKNOWN if "land" in codes else LAND, np.uint8)
    for name, state in (("land", LAND), ("water", WATER), ("unknown", UNKNOWN)):
        out[np.isin(numbers, codes.get(name, ()))] = state
    return out


def _block_by_block(function: Any, like: xr.DataArray, dtype: Any, **settings: Any) -> da.Array:
    """`function(rows, columns, **settings)` for every block of the map."""
    chunks = like.data.chunks
    rows, columns = (per_chunk(sizes, spans(sizes)) for sizes in chunks)
    token = tokenize(function, chunks, settings)
    return blockwise(function, "yx", rows, "y", columns, "x", dtype=dtype, name="reference", token=token, **settings)


def _read_states(
    rows: tuple[int, int], columns: tuple[int, int], href: str, header: SourceGrid, target: SourceGrid,
    codes: Any, share: float,
) -> np.ndarray:  # fmt: skip
    window = window_of(rows, columns)
    area = warp_window(header, target, window)
    if min(area.shape) == 0:
        return np.full(window.shape, UNKNOWN, np.uint8)
    states = _read_window((area.y0, area.y1), (area.x0, area.x1), href, codes, share)
    y, x = coordinates_in(header, target, window)
    return sample_nearest(states, y - area.y0, x - area.x0, np.uint8(UNKNOWN))


def _read_window(rows: tuple[int, int], columns: tuple[int, int], href: str, codes: Any, share: float) -> np.ndarray:
    """States of a file's pixels from, to along both axes; what it declares as nodata is unknown."""
    with rasterio.Env(**GDAL_OPTIONS), open_source(href, local=True) as file:
        part = rasterio.windows.Window.from_slices(rows, columns)
        numbers, nodata = file.read(1, window=part), file.nodata
    states = states_of(numbers, codes, share)
    if nodata is not None:
        states[numbers == nodata] = UNKNOWN
    return states


def _states_of_array(source: xr.DataArray, like: xr.DataArray, codes: Any, share: float) -> da.Array:
    if set(source.dims) != {Y, X} or any(not np.array_equal(source[dim], like[dim]) for dim in (Y, X)):
        raise InvalidInputError(
            "a reference in memory has dims (y, x) and the coordinates of the map; bring it there first, "
            "for example reference.rio.reproject_match(map)"
        )
    array = source.transpose(Y, X).data
    array = array.rechunk(like.data.chunks) if isinstance(array, da.Array) else da.from_array(array, like.data.chunks)
    return blockwise(states_of, "yx", array, "yx", dtype=np.uint8, name="reference", codes=codes, share=share)


def _burn(
    rows: tuple[int, int], columns: tuple[int, int], shapes: np.ndarray, ids: np.ndarray, grid: PixelGrid
) -> np.ndarray:
    """Every centre is looked up by itself: a scan of the window would make outlines depend on the block."""
    import shapely

    out = np.zeros((rows[1] - rows[0], columns[1] - columns[0]), np.int64)
    x, y = grid.centres(np.arange(*rows), np.arange(*columns))
    boxes = shapely.bounds(shapes)
    near = (boxes[:, 0] <= x.max()) & (boxes[:, 2] >= x.min()) & (boxes[:, 1] <= y.max()) & (boxes[:, 3] >= y.min())
    for k in np.flatnonzero(near):
        west, south, east, north = boxes[k]
        i, j = np.flatnonzero((y >= south) & (y <= north)), np.flatnonzero((x >= west) & (x <= east))
        if i.size and j.size:
            window = out[i[0] : i[-1] + 1, j[0] : j[-1] + 1]
            shapely.prepare(shapes[k])
            window[shapely.contains_xy(shapes[k], *np.meshgrid(x[j], y[i]))] = ids[k]
    return out


def _there(source: Any) -> str:
    if "://" not in str(source) and not Path(str(source)).exists():
        raise InvalidInputError(f"there is no file {source}")
    return str(source)


def _column(frame: pd.DataFrame, lower: Mapping[str, Any], name: str) -> Any:
    for one in _COLUMNS[name]:
        if one in lower:
            return frame[lower[one]]
    raise InvalidInputError(
        f"points need a column {' or '.join(_COLUMNS[name])}; there are {', '.join(map(str, frame.columns))}"
    )


def _numbers(column: Any) -> np.ndarray:
    try:
        return np.asarray(column, np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{column.name} holds degrees; {error}") from error


def _state(value: Any) -> int:
    word = str(value).strip().lower()
    if word not in _WORDS:
        raise InvalidInputError(f"class holds {str(value)!r}: use water or land, 1 or 0, and nothing for unknown")
    return _WORDS[word]
