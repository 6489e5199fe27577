"""Outlines of lakes as polygons: exact pixel edges, a batch of lakes at a time, as GeoParquet 1.1, GeoJSON, GeoPackage.

Memory holds the corners of one batch and a few tiles of labels, whatever the image. Neither tiles nor batches change a
polygon, and no file holds a clock, so the bytes depend on the lakes alone (and on the versions of the libraries).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import shapely
import xarray as xr

from lakecube.errors import InvalidInputError, MissingDependencyError
from lakecube.io.footprint import cut
from lakecube.io.out_files import outside_stores, writing
from lakecube.kernels.lakes import lake_runs
from lakecube.kernels.outline import corners_block, join_corners, trace_rings
from lakecube.names import LAKE, LAKE_KIND, SIZE_CLASS, X, Y
from lakecube.series.pixel_area import PixelGrid

#: Side of the tiles that labels are read by, and lakes whose outlines are made at once.
TILE, LAKES_AT_ONCE = 1024, 2048
#: Decimals of a degree in GeoJSON.
_DIGITS = 8
#: Tiles whose corners are kept for the next batch.
_TILES_KEPT = 32
#: Columns of the files beside `lake_id` and the geometry, if they are known.
COLUMNS = (
    "longitude", "latitude", "max_area", "perimeter", "shape_index", "size_class", "kind", "touches_edge",
    "provisional", "elevation_min", "elevation_max",
)  # fmt: skip
_MEANINGS = {"kind": LAKE_KIND, "size_class": SIZE_CLASS}
_YES_NO = ("touches_edge", "provisional")
#: One row per lake: its id, and the rows and columns it lies in (the last is inside).
BOXES = np.dtype([
    ("lake_id", "i8"), ("first_row", "i8"), ("last_row", "i8"), ("first_column", "i8"), ("last_column", "i8"),
])  # fmt: skip


@dataclass(frozen=True, slots=True)
class LabelImage:
    """Where labels come from, and where the lakes are in them.

    Parameters
    ----------
    read : callable
        ``read((row, row_stop), (column, column_stop))`` to (y, x) int64 lake ids, 0 outside.
    grid : PixelGrid
    boxes : (lakes,) BOXES
        Sorted by id.
    """

    read: Callable[[tuple[int, int], tuple[int, int]], np.ndarray]
    grid: PixelGrid
    boxes: np.ndarray

    @classmethod
    def of(cls, lake_label: xr.DataArray) -> LabelImage:
        """Of a labelled image; looks at all of it once, a tile at a time."""
        labels = lake_label.transpose(Y, X)

        def read(rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
            return np.asarray(labels[slice(*rows), slice(*columns)].values, np.int64)

        grid = PixelGrid.of(labels)
        boxes = [boxes_of(read(y, x), y[0], x[0]) for y in _steps(grid.shape[0]) for x in _steps(grid.shape[1])]
        return cls(read, grid, join_boxes(boxes))


def boxes_of(labels: np.ndarray, first_row: int, first_column: int) -> np.ndarray:
    """The `BOXES` of one block of lake ids (y, x), by the place of its first pixel in the image."""
    ids, runs = lake_runs(labels)
    out = np.empty(ids.size, BOXES)
    out["lake_id"] = ids
    row, start, stop, k = runs.astype(np.int64).T
    for name, values, reduce in (
        ("first_row", row + first_row, np.minimum), ("last_row", row + first_row, np.maximum),
        ("first_column", start + first_column, np.minimum), ("last_column", stop + first_column - 1, np.maximum),
    ):  # fmt: skip
        found = np.full(ids.size, np.iinfo(np.int64).max if reduce is np.minimum else -1)
        reduce.at(found, k, values)
        out[name] = found
    return out


def join_boxes(parts: list[np.ndarray]) -> np.ndarray:
    """The `BOXES` of several blocks as one table, sorted by id."""
    joined = np.concatenate([np.zeros(0, BOXES), *parts])
    ids, at = np.unique(joined["lake_id"], return_inverse=True)
    out = np.zeros(ids.size, BOXES)
    out["lake_id"] = ids
    for name in ("first_row", "last_row", "first_column", "last_column"):
        reduce = np.minimum if name.startswith("first") else np.maximum
        found = np.full(ids.size, np.iinfo(np.int64).max if reduce is np.minimum else -1)
        reduce.at(found, at, joined[name])
        out[name] = found
    return out


def polygons(image: LabelImage) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Ids (lakes,) int64 and outlines (lakes,) of MultiPolygons in the image's CRS, a batch at a time, in order of id.

    Shells run counterclockwise. Parts of a lake that meet at corners only are parts of its MultiPolygon.
    """
    corners = functools.lru_cache(maxsize=_TILES_KEPT)(functools.partial(_corners_of_tile, image))
    for start in range(0, len(image.boxes), LAKES_AT_ONCE):
        boxes = image.boxes[start : start + LAKES_AT_ONCE]
        parts = []
        for tile in sorted({tile for box in boxes for tile in _tiles_of(box)}):
            found = corners(tile)
            low, high = np.searchsorted(found["label"], [boxes["lake_id"][0], boxes["lake_id"][-1] + 1])
            parts.append(found[low:high])
        yield boxes["lake_id"], _build(join_corners(parts), boxes["lake_id"], image.grid)


def _steps(size: int) -> list[tuple[int, int]]:
    return [(start, min(start + TILE, size)) for start in range(0, size, TILE)]


def _tiles_of(box: np.void) -> Iterator[tuple[int, int]]:
    """Tiles of vertices that a lake's corners lie in; its lowest are one beyond its last row."""
    for i in range(box["first_row"] // TILE, (box["last_row"] + 1) // TILE + 1):
        for j in range(box["first_column"] // TILE, (box["last_column"] + 1) // TILE + 1):
            yield int(i), int(j)


def _corners_of_tile(image: LabelImage, tile: tuple[int, int]) -> np.ndarray:
    """Corners at the vertices of one tile, sorted by label; it reads one pixel above and left of them."""
    read, beyond = [], []
    for k, size in zip(tile, image.grid.shape, strict=True):
        start, stop = k * TILE - 1, min((k + 1) * TILE, size + 1)
        read.append((max(start, 0), min(stop, size)))
        beyond.append((max(-start, 0), max(stop - size, 0)))
    labels = np.pad(image.read(read[0], read[1]), beyond)
    found = corners_block(labels, tile[0] * TILE, tile[1] * TILE)
    return found[np.argsort(found["label"], kind="stable")]


def _build(corners: np.ndarray, ids: np.ndarray, grid: PixelGrid) -> np.ndarray:
    """MultiPolygons of the ids, from all of their corners."""
    vertices, starts, is_hole = trace_rings(corners)
    first = corners[vertices[starts[:-1]]]
    ring = np.repeat(np.arange(is_hole.size), np.diff(starts))
    if grid.dx * grid.dy > 0:  # rings are counterclockwise where north is up
        k = np.arange(vertices.size)
        vertices = vertices[starts[ring] + starts[ring + 1] - 1 - k]
    x = grid.x + grid.dx * corners["column"][vertices]
    y = grid.y + grid.dy * corners["row"][vertices]
    rings = shapely.linearrings(np.stack([x, y], axis=1), indices=ring)
    owner = _shells_of_holes(rings, first, is_hole, grid)
    shell = np.flatnonzero(~is_hole)
    order = np.lexsort((is_hole, owner))
    parts = shapely.polygons(rings[order], indices=np.searchsorted(shell, owner[order]))
    return shapely.multipolygons(parts, indices=np.searchsorted(ids, first["label"][shell]))


def _shells_of_holes(rings: np.ndarray, first: np.ndarray, is_hole: np.ndarray, grid: PixelGrid) -> np.ndarray:
    """The shell (ring) of each ring; a shell's is itself.

    A hole's is the smallest shell of the same lake around the pixel above the hole's first corner: that is of the lake.
    """
    owner = np.arange(is_hole.size)
    label = first["label"]
    shell, hole = np.flatnonzero(~is_hole), np.flatnonzero(is_hole)
    alone = np.bincount(np.searchsorted(np.unique(label), label[shell])) == 1  # lakes with one shell
    only = alone[np.searchsorted(np.unique(label), label[hole])]
    owner[hole] = shell[np.searchsorted(label[shell], label[hole])]
    hole = hole[~only]
    if hole.size == 0:
        return owner
    shell = shell[np.isin(label[shell], label[hole])]
    around = shapely.polygons(rings[shell])
    x = grid.x + grid.dx * (first["column"][hole] + 0.5)
    y = grid.y + grid.dy * (first["row"][hole] - 0.5)
    h, s = shapely.STRtree(around).query(shapely.points(x, y), predicate="within")
    same = label[hole[h]] == label[shell[s]]
    h, s = h[same], s[same]
    order = np.lexsort((shapely.area(around)[s], h))
    h, s = h[order], s[order]
    smallest = np.concatenate([[True], h[1:] != h[:-1]])
    owner[hole[h[smallest]]] = shell[s[smallest]]
    return owner


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
