"""`open` for every kind of source, its promises about grids, items, laziness, names, and its refusals."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pystac
import pytest
import rasterio
import xarray as xr
from rasterio.warp import transform_bounds

import lakecube
from lakecube.errors import EmptySearchError, InvalidInputError, LakecubeError, MissingBandError, UnsafeHrefError
from lakecube.io import files
from lakecube.names import BANDS, OBSERVATION
from lakecube.synthetic.archive import make_archive
from tests.imagery import LEFT, TOP
from tests.io.server import serve


@pytest.fixture(scope="module")
def opened(archive):
    return lakecube.open(archive.items_path, dem=archive.dem_path)


def box_of(west, south, east, north, crs="EPSG:32648"):
    return transform_bounds(crs, "EPSG:4326", west, south, east, north, densify_pts=2)


# --- the contract --------------------------------------------------------------------------------------------------


def test_the_cube_keeps_the_contract(opened):
    assert opened.green.dims == ("time", "y", "x")
    bands = [v for v in opened.data_vars if v in BANDS]
    assert bands == [b for b in BANDS if b in bands]
    assert all(opened[b].dtype == np.float32 for b in bands)
    assert opened.observation.dtype == np.uint8
    assert "_FillValue" not in opened.observation.attrs
    assert opened.time.dtype == "datetime64[ns]"
    np.testing.assert_array_equal(opened.time, opened.time.astype("datetime64[D]").astype("datetime64[ns]"))
    assert opened.spatial_ref.attrs["crs_wkt"]
    assert opened.elevation.dims == opened.slope.dims == ("y", "x")
    assert opened.green.attrs["grid_mapping"] == "spatial_ref"


def test_the_item_table_tells_every_item(opened, archive):
    features = json.loads(archive.items_path.read_text())["features"]
    features.sort(key=lambda f: (f["properties"]["datetime"], f["id"]))
    assert list(opened.item_id.values) == [f["id"] for f in features]
    assert set(opened.item_baseline.values) == {"03.01", "04.00"}
    old = opened.item_baseline.values == "03.01"
    assert (opened.item_offset.values[old] == 0).all()
    assert (opened.item_offset.values[~old] == -0.1).all()
    assert (opened.item_scale.values == 1e-4).all()
    np.testing.assert_array_equal(np.unique(opened.item_date), opened.time)


def test_a_day_of_two_baselines_is_right_in_every_pixel(tmp_path):
    """03.01 and 04.00 on one solar day show what one baseline shows."""
    same = {"shape": (90, 120), "dates": ["2022-02-10"], "seed": 8, "tiles": 2, "clouds": 0.0, "missing": 0.0,
            "boa_offset_applied": False, "dem": False}  # fmt: skip
    mixed = make_archive(tmp_path / "mixed", baseline="mixed", **same)
    plain = make_archive(tmp_path / "plain", baseline="03.01", **same)
    a, b = (lakecube.open(m.items_path).compute() for m in (mixed, plain))
    assert set(a.item_baseline.values) == {"03.01", "04.00"}
    for band in a.data_vars:
        if band != "observation":
            assert np.isfinite(b[band]).all()
            np.testing.assert_allclose(a[band].values, b[band].values, atol=2e-4, err_msg=str(band))
    wrong = lakecube.open(mixed.items_path, offset=0.0).compute()
    assert abs(wrong.green - b.green).max() > 0.05


def test_one_task_reads_all_bands_of_a_chunk_of_a_date(opened):
    read = [n for n in opened.green.data.dask.layers if n.startswith("lakecube-read")]
    assert len(read) == 1
    assert read[0] in opened.swir22.data.dask.layers
    assert opened.green.chunks[0] == (1, 1, 1)


# --- laziness and names --------------------------------------------------------------------------------------------


def test_open_reads_metadata_only(archive, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("a file was opened")

    monkeypatch.setattr(files, "open_source", never)
    monkeypatch.setattr(rasterio, "open", never)
    assert lakecube.open(archive.items_path).sizes["time"] == 3


def test_hrefs_that_lead_nowhere_do_not_keep_from_opening(archive, tmp_path):
    shutil.copy(archive.items_path, tmp_path / "items.json")
    cube = lakecube.open(tmp_path / "items.json", retries=0)
    one = cube.isel(time=[0], x=slice(0, 20), y=slice(0, 20))
    assert (one.observation.values == OBSERVATION["read_failed"]).all()
    out = one.water.extract().compute()
    assert (out.water_mask == 255).all()
    assert (out.reason == OBSERVATION["read_failed"]).all()


def test_names_of_tasks_are_the_same_in_another_process(archive):
    code = (
        "import sys, lakecube; c = lakecube.open(sys.argv[1]); o = c.water.extract(); "
        "print(c.green.data.name, o.water_mask.data.name, c.attrs['input_token'])"
    )
    command = [sys.executable, "-c", code, str(archive.items_path)]
    there = subprocess.run(command, capture_output=True, text=True, check=True)
    cube = lakecube.open(archive.items_path)
    mask = cube.water.extract().water_mask
    assert there.stdout.split() == [cube.green.data.name, mask.data.name, cube.attrs["input_token"]]


def test_the_token_tells_requests_apart(archive, opened):
    tokens = [
        lakecube.open(archive.items_path, **options).attrs["input_token"]
        for options in ({}, {"bands": ["green"]}, {"cloud_mask": False}, {"cloud_buffer": 0}, {"offset": 0.0},
                        {"resolution": 20}, {"dem": archive.dem_path}, {"datetime": "2022-03"})
    ]  # fmt: skip
    assert len(set(tokens)) == len(tokens)


def test_two_dems_are_two_inputs(archive):
    import rioxarray

    with rioxarray.open_rasterio(archive.dem_path) as dem:
        dem = dem.squeeze(drop=True).load()
    other = dem.copy(deep=True)
    other[20:22, 20:22] += 100
    first, second = (lakecube.open(archive.items_path, dem=d).attrs["input_token"] for d in (dem, other))
    assert first != second


# --- sources -------------------------------------------------------------------------------------------------------


def test_pystac_objects_and_paths_give_the_same(archive, opened):
    collection = pystac.ItemCollection.from_file(str(archive.items_path))
    for entry in collection:
        entry.set_self_href(str(archive.path / f"{entry.id}.json"))
    cube = lakecube.open(list(collection))
    np.testing.assert_array_equal(cube.green.values, opened.green.values)


def test_over_http_with_ranges(archive, opened):
    with serve(archive.path) as site:
        cube = lakecube.open(f"{site.url}/items.json", dem=str(archive.dem_path))
        xr.testing.assert_equal(cube.green.compute(), opened.green.compute())
        assert sum(r[2] is not None for r in site.requests) > 6


@pytest.mark.parametrize("href", ["file:///etc/passwd", "vrt:///etc/passwd"])
def test_a_remote_catalogue_cannot_name_local_files(archive, tmp_path, href):
    text = json.loads(archive.items_path.read_text())
    text["features"][0]["assets"]["green"]["href"] = href
    (tmp_path / "items.json").write_text(json.dumps(text))
    with serve(tmp_path) as site, pytest.raises(UnsafeHrefError):
        lakecube.open(f"{site.url}/items.json").green.compute()


@pytest.mark.parametrize("kind", ["memory", "zarr", "nc"])
def test_datasets_zarr_and_netcdf_come_back_as_they_went(opened, tmp_path, kind):
    whole = opened.drop_vars([c for c in opened.coords if c.startswith(("item", "source"))]).compute()
    whole.attrs = {}
    path = tmp_path / f"c.{kind}"
    if kind == "nc":
        whole.to_netcdf(path, engine="h5netcdf")
    elif kind == "zarr":
        whole.to_zarr(path, zarr_format=2)
    for cube in (lakecube.open(whole if kind == "memory" else path),):
        for name in ("green", "swir22", "observation", "slope"):
            np.testing.assert_array_equal(cube[name].values, whole[name].values)
            assert cube[name].dtype == whole[name].dtype
        assert cube.green.chunks is not None


def test_groupby_time_keeps_acquisitions_apart(archive):
    cube = lakecube.open(archive.items_path, groupby="time")
    assert cube.sizes["time"] >= 3
    np.testing.assert_array_equal(np.unique(cube.item_date), cube.time)
    with pytest.raises(InvalidInputError, match="groupby"):
        lakecube.open(archive.items_path, groupby="day")


# --- grids ---------------------------------------------------------------------------------------------------------


def test_the_grid_is_the_scenes_own(opened, archive):
    assert opened.sizes["y"] == 130  # the 60 m bands reach two pixels further; the finest bands decide
    assert opened.sizes["x"] == 142
    assert (opened.observation[:1, 128:].values != OBSERVATION["not_acquired"]).all()
    assert float(opened.x[0]) == LEFT + 5
    assert float(opened.y[0]) == TOP - 5


@pytest.mark.parametrize("width", [1.0, 9.0, 10.0])
def test_a_bbox_of_less_than_a_pixel_is_a_pixel(archive, width):
    box = box_of(LEFT + 200.2, TOP - 300.2 - width, LEFT + 200.2 + width, TOP - 300.2)
    cube = lakecube.open(archive.items_path, bbox=box)
    assert 1 <= cube.sizes["y"] <= 3
    assert 1 <= cube.sizes["x"] <= 3
    assert abs(cube.x - (LEFT + 200)).max() <= 25
    assert cube.water.extract().water_mask.compute().size >= 3


@pytest.mark.parametrize("bbox", [(0, 0, 1), (105, 27.8, 106.8, 26.3), (0, 0, 1, 1), (0, -91, 1, 0), ("a", 0, 1, 1)])
def test_a_wrong_bbox_is_refused(archive, bbox):
    with pytest.raises(LakecubeError):
        lakecube.open(archive.items_path, bbox=bbox)


def test_a_southern_zone_and_another_resolution(tmp_path):
    south = make_archive(tmp_path, shape=(60, 60), dates=["2022-02-10"], crs="EPSG:32736", origin=(300000.0, 8000040.0),
                         clouds=0.0, bands=["green", "swir16"], dem=False)  # fmt: skip
    cube = lakecube.open(south.items_path)
    assert (np.diff(cube.y) == -10).all()
    assert float(cube.y[0]) == 8000035
    coarse = lakecube.open(south.items_path, resolution=20)
    fine = cube.green.values[0, :60, :60].reshape(30, 2, 30, 2).mean((1, 3))
    np.testing.assert_allclose(coarse.green.values[0], fine, atol=1e-6)
    degrees = lakecube.open(south.items_path, crs="EPSG:4326", resolution=1e-4)
    assert degrees.green.dims == ("time", "y", "x")
    assert np.isfinite(degrees.green.values).mean() > 0.8


def test_scenes_in_two_zones_take_the_majoritys_grid_and_warn(tmp_path):
    common = {"shape": (48, 48), "clouds": 0.0, "bands": ["green", "swir16"], "dem": False, "missing": 0.0}
    a = make_archive(tmp_path / "a", dates=["2022-02-10", "2022-02-20"], **common)
    x, y = rasterio.warp.transform("EPSG:32648", "EPSG:32649", [LEFT], [TOP])
    origin = x[0] // 60 * 60, y[0] // 60 * 60
    b = make_archive(tmp_path / "b", dates=["2022-03-12"], crs="EPSG:32649", origin=origin, **common)
    items = [*pystac.ItemCollection.from_file(str(a.items_path)), *pystac.ItemCollection.from_file(str(b.items_path))]
    for entry, folder in zip(items, (a.path, a.path, b.path), strict=True):
        entry.set_self_href(str(folder / f"{entry.id}.json"))
    with pytest.warns(UserWarning, match="crs="):
        cube = lakecube.open(items)
    assert "32648" in cube.spatial_ref.attrs["crs_wkt"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lakecube.open(items, crs="EPSG:32648")


# --- refusals ------------------------------------------------------------------------------------------------------


def test_bands(archive):
    cube = lakecube.open(archive.items_path, bands=["swir16", "green"])
    assert [v for v in cube.data_vars if v != "observation"] == ["green", "swir16"]
    with pytest.raises(MissingBandError, match=r"ultraviolet.*green"):
        lakecube.open(archive.items_path, bands=["ultraviolet"])
    with pytest.raises(InvalidInputError, match="bands="):
        lakecube.open(archive.items_path, bands={"green": "green"})


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"datetime": "1999"}, "1999"), ({"resolution": -10}, "resolution"), ({"resolution": 0}, "resolution"),
        ({"chunks": 0}, "chunks"), ({"cloud_buffer": -1}, "cloud_buffer"), ({"crs": "EPSG:3857"}, "resolution"),
        ({"chunks": "auto"}, "chunks"), ({"chunks": 2.5}, "chunks"), ({"chunks": {"z": 3}}, "chunks"),
        ({"retries": -1}, "retries"), ({"retries": 2.5}, "retries"), ({"cloud_buffer": float("nan")}, "cloud_buffer"),
        ({"cloud_buffer": float("inf")}, "cloud_buffer"), ({"cloud_buffer": "40"}, "cloud_buffer"),
        ({"resolution": float("inf")}, "resolution"), ({"resolution": "10"}, "resolution"), ({"bands": []}, "bands"),
        ({"bands": 5}, "bands"), ({"bands": [5]}, "bands"), ({"resolution": 1e-9}, "coarser"),
        ({"crs": "EPSG:4326", "resolution": 60}, "give resolution="), ({"offset": 1000}, "offset"),
        ({"collections": "nope"}, "nope"), ({"collections": 5}, "collections"), ({"query": 5}, "query"),
        ({"sensor": 5}, "sensor"), ({"offset": None}, "offset"), ({"offset": []}, "offset"),
    ],
)  # fmt: skip
def test_mistakes_are_named(archive, options, match):
    with pytest.raises(LakecubeError, match=match):
        lakecube.open(archive.items_path, **options)


@pytest.mark.parametrize(
    "option", [{"crs": "EPSG:4326"}, {"resolution": 30}, {"groupby": "time"}, {"intersects": {"type": "Point"}},
               {"offset": -0.1}, {"query": {"a": 1}}, {"collections": "c"}], ids=str,
)  # fmt: skip
def test_arrays_refuse_what_they_cannot_honour(cube, option):
    with pytest.raises(InvalidInputError, match=next(iter(option))):
        lakecube.open(cube, **option)


def test_arrays_refuse_what_is_no_cube(cube):
    for wrong, match in (
        (cube.drop_vars("spatial_ref"), "CRS"), (cube.drop_vars("time"), "time"),
        (cube.assign(green=cube.green.fillna(0).astype("int16")), "int16"),
        (cube.isel(time=[0, 0]), "twice"),
    ):  # fmt: skip
        with pytest.raises(InvalidInputError, match=match):
            lakecube.open(wrong)
    with pytest.raises(MissingBandError):
        lakecube.open(cube[["observation"]])
    with pytest.raises(EmptySearchError):
        lakecube.open(cube, bbox=(0, 0, 1, 1))
    with pytest.raises(EmptySearchError):
        lakecube.open(cube, datetime="1999")


def test_an_array_is_cut_by_bbox_and_date(cube):
    x, y = cube.x.values, cube.y.values
    part = lakecube.open(cube, bbox=box_of(x[5], y[20], x[25], y[3]), datetime="2022-03/2022-04")
    assert part.sizes["time"] == 2
    assert set(np.abs(part.x.values - x[15]) < 150) == {True}
    np.testing.assert_array_equal(part.green.values, cube.green.sel(x=part.x, y=part.y, time=part.time).values)


def test_the_newer_of_two_items_of_one_id_is_read_and_the_other_named(archive, tmp_path, caplog):
    document = json.loads(archive.items_path.read_text())
    first = document["features"][0]
    document["features"] = [
        {**first, "properties": {**first["properties"], "updated": f"202{n}-01-01T00:00:00Z"}} for n in (4, 5, 3)
    ]
    for feature in document["features"]:
        feature["properties"]["s2:processing_baseline"] = "05.00"
    document["features"][1]["properties"]["s2:processing_baseline"] = "05.09"
    shutil.copytree(archive.path, tmp_path / "a")
    (tmp_path / "a" / "items.json").write_text(json.dumps(document))
    with caplog.at_level("INFO", "lakecube.io"):
        cube = lakecube.open(tmp_path / "a" / "items.json")
    assert cube.item_baseline.values.tolist() == ["05.09"]
    assert caplog.text.count("is left out") == 2


def test_bands_by_the_names_of_the_sensor(archive, tmp_path):
    cube = lakecube.open(archive.items_path, bands=["B11", "B03", "green"])
    assert [v for v in cube.data_vars if v != "observation"] == ["green", "swir16"]
    document = json.loads(archive.items_path.read_text())
    one = document["features"][0]
    (tmp_path / "one.json").write_text(json.dumps(one))
    with pytest.raises(MissingBandError, match=f"no band 'B99' in {one['id']};"):
        lakecube.open(tmp_path / "one.json", bands="B99")


def test_several_sensors_at_once_are_told(archive, tmp_path):
    document = json.loads(archive.items_path.read_text())
    for entry in document["features"]:
        for asset in entry["assets"].values():
            asset["href"] = str((archive.path / asset["href"]).resolve())
    other = document["features"][-1]
    other |= {"id": "other", "collection": "hls2-s30"}
    other["assets"] = {
        name: other["assets"][key] for name, key in (("B03", "green"), ("B11", "swir16"), ("Fmask", "scl"))
    }
    (tmp_path / "items.json").write_text(json.dumps(document))
    with pytest.warns(UserWarning, match=r"hls2-s30 of hls-s30.*left out: blue.*collections="):
        cube = lakecube.open(tmp_path / "items.json")
    assert "blue" not in cube
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lakecube.open(tmp_path / "items.json", collections="hls2-s30")
