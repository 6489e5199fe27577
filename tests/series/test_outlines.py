"""Polygons of lakes: valid, exact, the same bytes from any tiles, and open in what people use."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyproj
import pytest
import shapely
import xarray as xr

from lakecube.errors import InvalidInputError, MissingDependencyError, StoreError
from lakecube.series import label_polygons as module
from lakecube.series.label_polygons import LabelImage, polygons
from lakecube.series.lakes import lakes
from lakecube.series.outlines import save_outlines
from tests.series.test_lakes import stack

geopandas = pytest.importorskip("geopandas")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(scope="module")
def found():
    return lakes(stack(2), min_frequency=0.5).compute()


def all_of(labels):
    parts = list(polygons(LabelImage.of(labels)))
    return np.concatenate([ids for ids, _ in parts]), np.concatenate([shapes for _, shapes in parts])


@pytest.mark.parametrize("north_up", [True, False])
def test_polygons_are_the_pixels(found, north_up):
    labels = found["lake_label"] if north_up else found["lake_label"].isel(y=slice(None, None, -1))
    ids, shapes = all_of(labels)
    assert ids.tolist() == found["lake"].values.tolist()
    assert shapely.is_valid(shapes).all()
    assert (shapely.get_type_id(shapes) == shapely.GeometryType.MULTIPOLYGON).all()
    pixels = np.bincount(labels.values.ravel())[1:]
    np.testing.assert_array_equal(shapely.area(shapes), pixels * 100.0)
    shells = shapely.get_exterior_ring(shapely.get_parts(shapes))
    assert shapely.is_ccw(shells).all()
    x, y = np.meshgrid(labels["x"], labels["y"])
    for lake, shape in zip(ids, shapes, strict=True):
        np.testing.assert_array_equal(shapely.contains_xy(shape, x, y), labels.values == lake)


def nested(levels=4, size=41):
    """One lake of rings within rings that touch at corners, with holes and islands of its own."""
    labels = np.zeros((size, size), np.int64)
    for k in range(levels):
        labels[4 * k : size - 4 * k, 4 * k : size - 4 * k] = 1
        inner = slice(4 * k + 2, size - 4 * k - 2)
        labels[inner, inner] = 0
        labels[4 * k + 2, 4 * k + 2] = labels[4 * k + 3, 4 * k + 3] = 1  # a diagonal bridge to the next ring
    labels[20, 20] = 1
    labels[1, 20] = 0
    coords = {"y": -0.5 - np.arange(size), "x": 0.5 + np.arange(size)}
    return xr.DataArray(labels, dims=("y", "x"), coords=coords)


def test_holes_find_their_shells():
    labels = nested()
    _, (shape,) = all_of(labels)
    assert shape.is_valid
    assert len(shape.geoms) > 3
    x, y = np.meshgrid(labels["x"], labels["y"])
    np.testing.assert_array_equal(shapely.contains_xy(shape, x, y), labels.values == 1)


@pytest.mark.parametrize(("tile", "at_once"), [(7, 3), (16, 1), (48, 2048), (5, 1000)])
def test_tiles_and_batches_do_not_matter(found, tile, at_once, monkeypatch, tmp_path):
    whole = save_outlines(found, tmp_path / "whole.geojson").read_bytes()
    monkeypatch.setattr(module, "TILE", tile)
    monkeypatch.setattr(module, "LAKES_AT_ONCE", at_once)
    assert save_outlines(found.chunk({"y": 11}), tmp_path / "tiles.geojson").read_bytes() == whole


@pytest.mark.parametrize("suffix", [".parquet", ".geojson", ".gpkg"])
def test_files_open_in_geopandas_and_hold_no_clock(found, suffix, tmp_path):
    path = save_outlines(found, tmp_path / f"a{suffix}")
    frame = geopandas.read_parquet(path) if suffix == ".parquet" else geopandas.read_file(path)
    assert frame["lake_id"].tolist() == found["lake"].values.tolist()
    assert frame.crs == pyproj.CRS("EPSG:4326" if suffix == ".geojson" else "EPSG:32648")
    local = frame.to_crs("EPSG:32648")
    pixels = np.bincount(found["lake_label"].values.ravel())[1:]
    np.testing.assert_allclose(local.area, pixels * 100.0, rtol=0 if suffix != ".geojson" else 1e-3)
    assert frame["kind"].isin(["lake", "river", "too_small"]).all()
    assert frame["touches_edge"].astype(int).tolist() == found["touches_edge"].values.tolist()
    np.testing.assert_allclose(frame["max_area"], found["max_area"])
    assert frame["elevation_min"].isna().all()
    again = save_outlines(found, tmp_path / f"b{suffix}")
    assert again.read_bytes() == path.read_bytes()
    save_outlines(found, path)
    assert again.read_bytes() == path.read_bytes(), "a file is replaced"


def test_geoparquet_says_what_it_is(found, tmp_path):
    path = save_outlines(found, tmp_path / "a.parquet")
    geo = json.loads(parquet.read_metadata(path).metadata[b"geo"])
    column = geo["columns"][geo["primary_column"]]
    assert geo["version"] == "1.1.0"
    assert column["encoding"] == "WKB"
    assert column["geometry_types"] == ["MultiPolygon"]
    assert column["crs"]["id"] == {"authority": "EPSG", "code": 32648}
    frame = geopandas.read_parquet(path)
    np.testing.assert_array_equal(column["bbox"], frame.total_bounds)
    table = parquet.read_table(path)
    np.testing.assert_array_equal(table["bbox"].combine_chunks().field("xmin"), frame.bounds["minx"])
    x0, y0, x1, y1 = frame.geometry.iloc[5].bounds
    near = geopandas.read_parquet(path, bbox=(x0, y0, x1, y1))  # through the covering
    assert 1 <= len(near) < len(frame)


def islands(crs, west, north, size):
    """A ring of water around an island with a pond, in the middle of a grid of 60 × 60 pixels."""
    y, x = np.mgrid[:60, :60] - 29.5
    from_middle = np.hypot(y, x)
    water = (from_middle < 20) & ((from_middle > 12) | (from_middle < 4))
    coords = {"y": north - size * (np.arange(60) + 0.5), "x": west + size * (np.arange(60) + 0.5)}
    labels = xr.DataArray(np.where(water, 5, 0), dims=("y", "x"), coords=coords, name="lake_label")
    system = pyproj.CRS.from_user_input(crs)
    labels = labels.assign_coords(spatial_ref=((), 0, system.to_cf()))
    return xr.Dataset({"lake_label": labels}).assign_coords(lake=[5]), system


@pytest.mark.parametrize(("crs", "west", "north", "size"), [
    (32760, 790_000.0, 8_150_000.0, 1000.0), (32701, 180_000.0, 8_150_000.0, 1000.0), (4326, 179.99, -16.0, 1e-3),
    (3031, -30_500.0, 30_200.0, 1000.0), (3413, -302.0, 299.0, 10.0),
])  # fmt: skip
def test_geojson_is_cut_at_the_antimeridian_and_whole_around_a_pole(crs, west, north, size, tmp_path):
    data, system = islands(crs, west, north, size)
    (shape,) = geopandas.read_file(save_outlines(data, tmp_path / "a.geojson")).geometry
    assert shape.is_valid
    assert shape.geom_type == "MultiPolygon"
    assert shape.bounds[0] >= -180 and shape.bounds[2] <= 180
    labels = data["lake_label"]
    x, y = np.meshgrid(labels["x"], labels["y"])
    lon, lat = pyproj.Transformer.from_crs(system, 4326, always_xy=True).transform(x, y)
    lon = (lon + 180) % 360 - 180
    inside = shapely.contains_xy(shape, lon, lat)
    assert (inside == (labels.values == 5)).mean() > 0.995  # edges of pixels near a pole are no straight lines


def test_a_geopackage_that_gdal_cannot_finish_is_said_and_not_there(found, tmp_path, monkeypatch):
    pyogrio = pytest.importorskip("pyogrio")

    def full(frame, path, **_):
        Path(path).write_bytes(b"half")
        raise pyogrio.errors.FeatureError("Could not add feature to layer at index 0")

    monkeypatch.setattr(pyogrio, "write_dataframe", full)
    with pytest.raises(StoreError, match=r"a\.gpkg stopped: Could not add .* \(is the disk full\?\)"):
        save_outlines(found, tmp_path / "a.gpkg")
    assert not list(tmp_path.iterdir())


def test_no_lakes_make_an_empty_file(tmp_path):
    empty = lakes(xr.zeros_like(stack())).compute()
    path = save_outlines(empty, tmp_path / "a.parquet")
    assert len(geopandas.read_parquet(path)) == 0
    assert json.loads(save_outlines(empty, tmp_path / "a.geojson").read_text())["features"] == []
    assert len(geopandas.read_file(save_outlines(empty, tmp_path / "a.gpkg"))) == 0


def test_what_cannot_be_written_is_said(found, tmp_path, monkeypatch):
    with pytest.raises(InvalidInputError, match=r"written as \.parquet, \.gpkg, \.geojson"):
        save_outlines(found, tmp_path / "a.shp")
    with pytest.raises(InvalidInputError, match="no CRS"):
        save_outlines(found.drop_vars("spatial_ref"), tmp_path / "a.parquet")
    with pytest.raises(InvalidInputError, match="find the lakes first"):
        save_outlines(found.drop_vars("lake_label"), tmp_path / "a.parquet")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"\.\[geoparquet\]"):
        save_outlines(found, tmp_path / "a.parquet")
