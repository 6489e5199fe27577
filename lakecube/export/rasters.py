"""Maps as Cloud Optimized GeoTIFFs: a block at a time, whole under their name or not there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal
from xml.sax.saxutils import escape
from zlib import crc32

import dask.array as da
import numpy as np
import rasterio
import rasterio.shutil
import xarray as xr
from rasterio._err import CPLE_BaseError
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window

from lakecube.errors import InvalidInputError
from lakecube.export.products import Product, chosen_dates, day_of, product_of
from lakecube.io.out_files import outside_stores
from lakecube.names import COLOURS, LAKE, TIME, VariableSpec, X, Y
from lakecube.series.pixel_area import PixelGrid
from lakecube.store.waves import Runner, threads
from lakecube.summary import north_up
from lakecube.whole_files import replacing, writing

Compression = Literal["deflate", "zstd"]

#: Side of the tiles of a file, and of the smallest overview.
TILE = 512
_CHUNK = 2 * TILE
#: Bytes that GDAL may keep in memory.
_CACHE = 64 * 2**20


def to_cog(
    water: xr.Dataset, path: str | Path, *, product: str = "frequency", date: Any = None,
    compress: Compression = "deflate",
) -> list[Path]:  # fmt: skip
    """Write a map as a Cloud Optimized GeoTIFF, or one of every date.

    Parameters
    ----------
    water : xr.Dataset
        A store or an extract, with a CRS.
    path : path
        A ``.tif`` file for one map, or a folder, in which files are ``<product>.tif`` or ``<product>-<date>.tif``.
    product : str
        One of `PRODUCTS`; ``mask``, ``filled``, ``reason`` and ``rules`` are of dates.
    date : str, date or list of these, optional
        Of a map of dates: a date, month, year or interval as in `open`; all by default.
    compress : {"deflate", "zstd"}
        ``"zstd"`` is smaller and needs a GDAL built with it.

    Returns
    -------
    list of Path
        The files, which replace those that were there.

    Raises
    ------
    InvalidInputError
        If there is no such product, date or CRS, several maps for one file, or `path` lies in a store.
    StoreError
        If the file cannot be written; nothing half-written stays.

    Notes
    -----
    Chunks: any. Memory holds a few blocks. Unknown, and for lakes 0, is no data, never land. Overviews take the most
    frequent class (unknown counts as one), the mean of shares over what is known, and the nearest count, id or bits.
    Flags have a colour table, names in ``<file>.aux.xml``, and `flag_values`, `flag_meanings` as tags of the band.
    """
    return [file for file, _ in write_maps(water, path, product, date, compress)]


def write_maps(
    water: xr.Dataset, path: str | Path, product: str, date: Any = None, compress: Compression = "deflate"
) -> Iterator[tuple[Path, int | None]]:
    """As `to_cog`: each file as it is done, with the position of its date."""
    made, path = product_of(product), outside_stores(path)
    if not made.dated and date is not None:
        raise InvalidInputError(f"product={product!r} is of all dates together: leave date out")
    if compress not in ("deflate", "zstd"):
        raise InvalidInputError(f"compress={compress!r}: use 'deflate' or 'zstd'")
    maps = made.make(water)
    positions = chosen_dates(water, date).tolist() if made.dated else [None]
    if path.suffix == ".tif" and len(positions) != 1:
        raise InvalidInputError(
            f"{path.name} is one file, and there are {len(positions)} dates: choose one with date=, or give a folder"
        )
    for k in positions:
        file = path if path.suffix == ".tif" else path / f"{product}{'' if k is None else f'-{day_of(water, k)}'}.tif"
        file.parent.mkdir(parents=True, exist_ok=True)
        layer = maps if k is None else maps.isel({TIME: k})
        _write(_prepared(layer, water), file, made, _tags(water, made, product, k), compress)
        yield file, k


def dtype_of(layer: xr.DataArray, water: xr.Dataset) -> np.dtype:
    """The type in the file: ids of lakes in 32 bits where they fit, as old readers know no integers of 64."""
    if layer.dtype == np.int64 and LAKE in water.coords and water[LAKE].values.max(initial=0) < 2**32:
        return np.dtype("uint32")
    return layer.dtype


def _prepared(layer: xr.DataArray, water: xr.Dataset) -> xr.DataArray:
    """(y, x) with north up and east right, in blocks that are whole tiles, in the type of the file."""
    layer = north_up(layer.transpose(Y, X))
    whole = layer.chunks is not None and all(n % TILE == 0 for sizes in layer.chunks for n in sizes[:-1])
    return (layer if whole else layer.chunk({Y: _CHUNK, X: _CHUNK})).astype(dtype_of(layer, water))


def _write(layer: xr.DataArray, path: Path, product: Product, tags: dict[str, str], compress: Compression) -> None:
    grid, spec = PixelGrid.of(layer), product.spec
    if grid.system is None:
        raise InvalidInputError("there is no CRS (spatial_ref), so the map would be nowhere; set one first")
    profile: dict[str, Any] = {
        "driver": "GTiff", "width": layer.sizes[X], "height": layer.sizes[Y], "count": 1, "dtype": layer.dtype.name,
        "crs": rasterio.CRS.from_wkt(grid.system.to_wkt()), "tiled": True, "blockxsize": TILE, "blockysize": TILE,
        "transform": rasterio.Affine(grid.dx, 0, grid.x, 0, grid.dy, grid.y), "compress": "lzw", "bigtiff": "if_safer",
    }  # fmt: skip
    options = {"blocksize": TILE, "compress": compress, "overviews": "force_use_existing", "bigtiff": "if_safer",
               "predictor": "no" if spec.flags else "yes"}  # fmt: skip
    # rasterio raises TypeError where it finds no raster to go on with, and GDAL's own errors where it fails to write
    with (
        writing(path, RasterioError, CPLE_BaseError, TypeError) as partial,
        rasterio.Env(GDAL_CACHEMAX=_CACHE),
        tempfile.TemporaryDirectory(dir=path.parent, prefix=".lakecube-") as at,
    ):
        draft = Path(at) / "draft.tif"
        sums = _draw(layer, draft, profile, spec)
        with rasterio.open(draft, "r+") as file:
            _describe(file, product, tags)
        rasterio.shutil.copy(draft, partial, driver="COG", **options)
        _check_whole(partial, sums)
        _name_classes(path, spec)


def _check_whole(path: Path, sums: Sequence[tuple[Window, int]]) -> None:
    """Read a file back: of a disk that fills while it closes a file, GDAL tells nobody."""
    try:
        with rasterio.open(path) as file:
            levels = len(file.overviews(1))
            is_same = all(crc32(file.read(1, window=window).tobytes()) == told for window, told in sums)
        for level in range(levels):
            with rasterio.open(path, overview_level=level) as file:
                for _, window in file.block_windows(1):
                    file.read(1, window=window)
    except RasterioError as error:
        raise OSError("it cannot be read back") from error
    if not is_same:
        raise OSError("it reads back as something else")


def _draw(layer: xr.DataArray, draft: Path, profile: dict[str, Any], spec: VariableSpec) -> list[tuple[Window, int]]:
    """Pixels and overviews; returns checksums of the pixels by window.

    NaN is no data before overviews are made; a class of unknown is so only afterwards.
    """
    assert isinstance(layer.data, da.Array)
    sums = []
    shares = spec.dtype.startswith("float")
    with rasterio.open(draft, "w", **profile, nodata=np.nan if shares else None) as file:
        for window, values in _blocks(layer.data):
            file.write(values, 1, window=window)
            sums.append((window, crc32(values.tobytes())))
    levels = [2**k for k in range(1, 20) if max(layer.shape) > TILE * 2 ** (k - 1)]
    how = Resampling.average if shares else Resampling.nearest if spec.flags is None or spec.masks else Resampling.mode
    if levels:
        with rasterio.open(draft, "r+") as file:
            file.build_overviews(levels, how)
    return sums


def _blocks(data: da.Array) -> Iterator[tuple[Window, np.ndarray]]:
    """Blocks of (y, x), some at a time."""
    runner = Runner([data])
    rows, columns = (np.concatenate([[0], np.cumsum(sizes)]).tolist() for sizes in data.chunks)
    places = [(i, j) for i in range(len(rows) - 1) for j in range(len(columns) - 1)]
    wave = 2 * threads()
    for start in range(0, len(places), wave):
        some = places[start : start + wave]
        for (i, j), values in zip(some, runner.run([(data.name, i, j) for i, j in some]), strict=True):
            yield Window.from_slices((rows[i], rows[i + 1]), (columns[j], columns[j + 1])), np.asarray(values)


def _describe(file: Any, product: Product, tags: dict[str, str]) -> None:
    spec = product.spec
    if spec.nodata is not None:
        file.nodata = spec.nodata
    file.set_band_description(1, spec.name)
    if spec.units is not None:
        file.set_band_unit(1, spec.units)
    file.update_tags(**tags)
    file.update_tags(1, **_band_tags(product))
    if spec.name in COLOURS:
        assert spec.flags is not None
        file.write_colormap(1, {code: _rgba(COLOURS[spec.name][name]) for name, code in spec.flags.items()})


def _rgba(colour: str) -> tuple[int, int, int, int]:
    red, green, blue = bytes.fromhex(colour)
    return red, green, blue, 255


def _band_tags(product: Product) -> dict[str, str]:
    spec = product.spec
    told = {"long_name": product.title or spec.long_name}
    for key in ("flag_values", "flag_masks", "flag_meanings"):
        if key in spec.attrs:
            value = spec.attrs[key]
            told[key] = value if isinstance(value, str) else " ".join(str(code) for code in value.tolist())
    return told


def _tags(water: xr.Dataset, product: Product, name: str, k: int | None) -> dict[str, str]:
    """What the file is, without a clock: the same store gives the same tags."""
    kept = ("method", "references", "lakecube_version", "revision", "collections")
    told = {key: str(water.attrs[key]) for key in kept if str(water.attrs.get(key, "")) != ""}
    when = {} if k is None else {"date": day_of(water, k)}
    return {"TIFFTAG_SOFTWARE": "lakecube", "TIFFTAG_IMAGEDESCRIPTION": product.title or product.spec.long_name,
            "product": name, **when, **told}  # fmt: skip


def _name_classes(path: Path, spec: VariableSpec) -> None:
    """Names of the classes beside the file, where GDAL and QGIS look for them; none are left of an older file."""
    aside = path.with_name(f"{path.name}.aux.xml")
    if spec.flags is None or spec.masks:
        aside.unlink(missing_ok=True)
        return
    names = [""] * (max(spec.flags.values()) + 1)
    for name, code in spec.flags.items():
        names[code] = name.replace("_", " ")
    listed = "".join(f"<Category>{escape(name)}</Category>" for name in names)
    with replacing(aside) as partial:
        partial.write_text(
            f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{listed}</CategoryNames></PAMRasterBand></PAMDataset>',
            encoding="utf-8",
        )
