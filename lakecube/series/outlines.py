"""Outlines of lakes in files: GeoParquet 1.1, GeoJSON, GeoPackage.

No file holds a clock, so the bytes depend on the lakes alone (and on the versions of the libraries).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import shapely
import xarray as xr

from lakecube.errors import InvalidInputError, MissingDependencyError
from lakecube.io.footprint import cut
from lakecube.io.out_files import outside_stores
from lakecube.names import LAKE, LAKE_KIND, SIZE_CLASS
from lakecube.series.label_polygons import LabelImage, polygons
from lakecube.whole_files import writing

#: Decimals of a degree in GeoJSON.
_DIGITS = 8
#: Columns of the files beside `lake_id` and the geometry, if they are known.
COLUMNS = (
    "longitude", "latitude", "max_area", "perimeter", "shape_index", "size_class", "kind", "touches_edge",
    "provisional", "elevation_min", "elevation_max",
)  # fmt: skip
_MEANINGS = {"kind": LAKE_KIND, "size_class": SIZE_CLASS}
_YES_NO = ("touches_edge", "provisional")


def write_outlines(path: str | Path, image: LabelImage, columns: Mapping[str, np.ndarray]) -> Path:
    """Write the outlines of lakes: GeoParquet 1.1 (``.parquet``), GeoPackage (``.gpkg``), or GeoJSON (``.geojson``).

    Parameters
    ----------
    path : path
        Its suffix tells the format. The file is replaced.
    image : LabelImage
    columns : mapping
        Name to (lakes,) values, in the order of the ids: those of `COLUMNS` that are known.

    Raises
    ------
    InvalidInputError
        If the suffix is another one, there is no CRS, or `path` lies in a store.
    MissingDependencyError
        If the extra ``geoparquet`` is not installed (GeoJSON needs none).
    StoreError
        If the file cannot be written; nothing half-written stays.
    """
    path = outside_stores(path)
    writers = {".parquet": _write_parquet, ".gpkg": _write_geopackage, ".geojson": _write_geojson}
    if path.suffix not in writers:
        raise InvalidInputError(
            f"{path.name}: outlines are written as {', '.join(writers)}; choose one of these suffixes"
        )
    if image.grid.system is None:
        raise InvalidInputError(
            "the lakes have no CRS (spatial_ref), so their outlines would be nowhere; set one first"
        )
    with writing(path) as partial:
        writers[path.suffix](partial, image, {name: columns[name] for name in COLUMNS if name in columns})
    return path


def save_outlines(lakes: xr.Dataset, path: str | Path) -> Path:
    """Write the outlines of the lakes of a Dataset: `write_outlines` of its `lake_label` and its variables by lake.

    Parameters
    ----------
    lakes : xr.Dataset
        `lake_label` (y, x) and `lake`: what `lakes()` returns, or a store. A lazy `lake_label` is computed tile by
        tile, twice or more: compute it first if it fits in memory.
    path : path
        ``.parquet``, ``.gpkg`` or ``.geojson``.
    """
    if "lake_label" not in lakes or LAKE not in lakes.coords:
        raise InvalidInputError("no lake_label here; find the lakes first: water.water.lakes()")
    image = LabelImage.of(lakes["lake_label"])
    at = np.searchsorted(lakes[LAKE].values, image.boxes["lake_id"])
    return write_outlines(path, image, {n: lakes[n].values[at] for n in COLUMNS if n in lakes})


def _batches(image: LabelImage, columns: Mapping[str, np.ndarray]) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """Outlines and columns of one batch, with words for flags; one empty batch if there are no lakes."""
    start = 0
    nothing = (np.zeros(0, np.int64), np.zeros(0, object))
    for ids, shapes in polygons(image) if len(image.boxes) else (nothing,):
        some: dict[str, Any] = {"lake_id": ids}
        for name, values in columns.items():
            part = np.asarray(values)[start : start + len(ids)]
            if name in _MEANINGS:
                words = {code: word for word, code in _MEANINGS[name].items()}
                part = np.array([words[int(code)] for code in part], object)
            some[name] = part.astype(bool) if name in _YES_NO else part
        start += len(ids)
        yield shapes, some


def _need(module: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as e:
        raise MissingDependencyError(
            f"{module} is needed to write outlines; install it with: pip install -c constraints.txt '.[geoparquet]'"
        ) from e


def _extent(image: LabelImage) -> list[float]:
    """Least and greatest x and y of all outlines, from the boxes alone."""
    grid, boxes = image.grid, image.boxes
    if not len(boxes):
        return [0.0, 0.0, 0.0, 0.0]
    x = [grid.x + grid.dx * int(v) for v in (boxes["first_column"].min(), boxes["last_column"].max() + 1)]
    y = [grid.y + grid.dy * int(v) for v in (boxes["first_row"].min(), boxes["last_row"].max() + 1)]
    return [min(x), min(y), max(x), max(y)]


def _write_parquet(path: Path, image: LabelImage, columns: Mapping[str, np.ndarray]) -> None:
    pa, parquet = _need("pyarrow"), _need("pyarrow.parquet")
    assert image.grid.system is not None
    box = pa.struct([(name, pa.float64()) for name in ("xmin", "ymin", "xmax", "ymax")])
    fields = [("lake_id", pa.int64())]
    for name, values in columns.items():
        word = name in _MEANINGS
        fields.append(
            (name, pa.string() if word else pa.bool_() if name in _YES_NO else pa.from_numpy_dtype(values.dtype))
        )
    schema = pa.schema([*fields, ("geometry", pa.binary()), ("bbox", box)], metadata={"geo": _geo_metadata(image)})
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for shapes, some in _batches(image, columns):
            bounds = shapely.bounds(shapes).T
            some["geometry"] = shapely.to_wkb(shapes, byte_order=1)
            some["bbox"] = pa.StructArray.from_arrays([pa.array(b) for b in bounds], fields=list(box))
            arrays = [v if isinstance(v, pa.Array) else pa.array(v, schema.field(n).type) for n, v in some.items()]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _geo_metadata(image: LabelImage) -> str:
    """The key ``geo`` of GeoParquet 1.1."""
    assert image.grid.system is not None
    covering = {"bbox": {name: ["bbox", name] for name in ("xmin", "ymin", "xmax", "ymax")}}
    column = {
        "encoding": "WKB",
        "geometry_types": ["MultiPolygon"] if len(image.boxes) else [],
        "crs": image.grid.system.to_json_dict(),
        "orientation": "counterclockwise",
        "edges": "planar",
        "bbox": _extent(image),
        "covering": covering,
    }
    return json.dumps({"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}})


def _write_geojson(path: Path, image: LabelImage, columns: Mapping[str, np.ndarray]) -> None:
    """RFC 7946: WGS84 to 1e-8 of a degree, cut at the antimeridian, one feature on a line."""
    assert image.grid.system is not None
    degrees = pyproj.Transformer.from_crs(image.grid.system, "EPSG:4326", always_xy=True)

    def project(points: np.ndarray) -> np.ndarray:
        return np.round(np.stack(degrees.transform(points[:, 0], points[:, 1]), axis=1), _DIGITS)

    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        separator = "\n"
        for shapes, some in _batches(image, columns):
            shapes = shapely.transform(shapes, project)
            west, _, east, _ = shapely.bounds(shapes).T
            for k in np.flatnonzero((west < -180) | (east > 180) | (east - west > 180)).tolist():
                shapes[k] = cut(shapes[k], _DIGITS)
            geometries = shapely.to_geojson(shapes)
            for k, geometry in enumerate(geometries):
                properties = {name: _plain(values[k]) for name, values in some.items()}
                lake = properties["lake_id"]
                head = {"type": "Feature", "id": lake, "properties": properties}
                file.write(f'{separator}{json.dumps(head)[:-1]}, "geometry": {geometry}}}')
                separator = ",\n"
        file.write("\n]}\n")


def _plain(value: Any) -> Any:
    """A value as JSON knows it; NaN becomes null."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _write_geopackage(path: Path, image: LabelImage, columns: Mapping[str, np.ndarray]) -> None:
    """Layer ``lakes`` in the image's CRS; the date of the layer is fixed, for files hold no clocks."""
    pyogrio, pandas = _need("pyogrio"), _need("geopandas")
    path.unlink(missing_ok=True)
    before = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "1970-01-01T00:00:00.000Z"})
    try:
        for n, (shapes, some) in enumerate(_batches(image, columns)):
            frame = pandas.GeoDataFrame(some, geometry=shapes, crs=image.grid.system)
            pyogrio.write_dataframe(
                frame,
                path,
                layer="lakes",
                driver="GPKG",
                append=n > 0,
                geometry_type="MultiPolygon",
                promote_to_multi=True,
            )
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise OSError(str(error)) from error
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": before})
